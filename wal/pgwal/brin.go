package pgwal

// The bodies of BRIN records (brin_xlog.h).

// BRINCreate is the body of a CREATE_INDEX.
type BRINCreate struct {
	PagesPerRange uint32
	Version       uint16
}

// ParseBRINCreate reads a CREATE_INDEX record.
func ParseBRINCreate(rec *Record) (BRINCreate, error) {
	f := mainData(rec)
	c := BRINCreate{PagesPerRange: f.u32(), Version: f.u16()}
	return c, f.done()
}

// BRINInsert is the body of an INSERT, and of an UPDATE that moves a tuple to another
// page: block 0, whose data are the tuple. Block 1 is the range map; block 2, of an
// update only, the old page.
type BRINInsert struct {
	OldOffset     uint16 // of the tuple on the old page
	HeapBlock     BlockNumber
	PagesPerRange uint32
	Offset        uint16
}

// ParseBRINInsert reads an INSERT record.
func ParseBRINInsert(rec *Record) (BRINInsert, error) {
	f := mainData(rec)
	i := BRINInsert{HeapBlock: f.u32(), PagesPerRange: f.u32(), Offset: f.u16()}
	return i, f.done()
}

// ParseBRINUpdate reads an UPDATE record.
func ParseBRINUpdate(rec *Record) (BRINInsert, error) {
	f := mainData(rec)
	i := BRINInsert{OldOffset: f.u16()}
	f.take(2) // padding
	i.HeapBlock, i.PagesPerRange, i.Offset = f.u32(), f.u32(), f.u16()
	return i, f.done()
}

// ParseBRINSamePageUpdate reads a SAMEPAGE_UPDATE record: the number of the tuple that
// the data of block 0 replace.
func ParseBRINSamePageUpdate(rec *Record) (offset uint16, err error) { return parseOffset(rec) }

// ParseBRINRevmapExtend reads a REVMAP_EXTEND record: the new page of the range map.
func ParseBRINRevmapExtend(rec *Record) (target BlockNumber, err error) {
	f := mainData(rec)
	target = f.u32()
	return target, f.done()
}

// BRINDesummarize is the body of a DESUMMARIZE. Block 0 is the range map, block 1 the
// page of the tuple that goes.
type BRINDesummarize struct {
	PagesPerRange uint32
	HeapBlock     BlockNumber
	Offset        uint16
}

// ParseBRINDesummarize reads a DESUMMARIZE record.
func ParseBRINDesummarize(rec *Record) (BRINDesummarize, error) {
	f := mainData(rec)
	d := BRINDesummarize{PagesPerRange: f.u32(), HeapBlock: f.u32(), Offset: f.u16()}
	return d, f.done()
}
