package pgwal

// OpGenericDelta is the one operation of Generic records (generic_xlog.h), which
// extensions write.
const OpGenericDelta = 0x00

// GenericFragment is a run of bytes that a Generic record puts into a page.
type GenericFragment struct {
	Offset uint16 // in the page; Offset + len(Bytes) is at most PageSize
	Bytes  []byte // points into the record
}

// AppendGenericFragments appends to dst what a Generic record puts into one of its
// pages. Bytes of the page that no fragment names stay, but the hole between pd_lower
// and pd_upper is zeroed afterwards.
func AppendGenericFragments(dst []GenericFragment, rec *Record, block *BlockRef) ([]GenericFragment, error) {
	f := fields{rec: rec, src: block.Data}
	for !f.failed && f.at < len(f.src) {
		g := GenericFragment{Offset: f.u16()}
		g.Bytes = f.take(int(f.u16()))
		if int(g.Offset)+len(g.Bytes) > PageSize {
			return dst, f.corrupt("end of a fragment in its page", PageSize, int(g.Offset)+len(g.Bytes))
		}
		dst = append(dst, g)
	}
	return dst, f.done()
}
