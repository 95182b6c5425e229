package pgwal

// GinMetaBytes is the size of what a GIN index's metapage holds (GinMetaPageData).
const GinMetaBytes = 56

// GinInsert is the body of a GIN INSERT.
type GinInsert struct {
	Data  bool // into a posting tree, not into the tree of entries
	Leaf  bool
	Right BlockNumber // not of a leaf: the right half of the child whose split this finishes
}

// ParseGinInsert reads an INSERT record.
func ParseGinInsert(rec *Record) (GinInsert, error) {
	const isData, isLeaf = 1 << 0, 1 << 1
	f := mainData(rec)
	flags := f.u16()
	i := GinInsert{Data: flags&isData != 0, Leaf: flags&isLeaf != 0}
	if !i.Leaf {
		f.blockID() // the left half, block 1 of the record
		i.Right = f.blockID()
	}
	return i, f.done()
}

// blockID reads a block number as items hold it: the upper half first.
func (f *fields) blockID() BlockNumber {
	upper := BlockNumber(f.u16())
	return upper<<16 | BlockNumber(f.u16())
}

// ParseGinCreatePtree reads a CREATE_PTREE record: the posting lists of the new root.
func ParseGinCreatePtree(rec *Record) (lists []byte, err error) {
	f := mainData(rec)
	lists = f.take(f.count(1))
	return lists, f.done()
}

// GinDeletePage is the body of a DELETE_PAGE.
type GinDeletePage struct {
	ParentOffset uint16      // number of the downlink in the parent, block 1
	Right        BlockNumber // the new right link of the left sibling, block 2
	DeleteXID    XID         // newest transaction that may still be on the page, block 0
}

// ParseGinDeletePage reads a DELETE_PAGE record.
func ParseGinDeletePage(rec *Record) (GinDeletePage, error) {
	f := mainData(rec)
	d := GinDeletePage{ParentOffset: f.u16()}
	f.take(2) // padding
	d.Right, d.DeleteXID = f.u32(), f.u32()
	return d, f.done()
}

// GinUpdateMeta is the body of an UPDATE_META_PAGE. With tuples they go to block 1, the
// tail of the pending list; without, block 1, if there is one, gets a new right link.
type GinUpdateMeta struct {
	Meta   []byte // GinMetaBytes of them
	Right  BlockNumber
	Tuples int32
}

// ParseGinUpdateMeta reads an UPDATE_META_PAGE record.
func ParseGinUpdateMeta(rec *Record) (GinUpdateMeta, error) {
	f := mainData(rec)
	f.rel()
	f.align()
	u := GinUpdateMeta{Meta: f.take(GinMetaBytes)}
	f.u32() // the old tail, block 1
	u.Right, u.Tuples = f.u32(), int32(f.u32())
	f.align()
	return u, f.done()
}

// ParseGinInsertListPage reads an INSERT_LISTPAGE record.
func ParseGinInsertListPage(rec *Record) (right BlockNumber, tuples int32, err error) {
	f := mainData(rec)
	right, tuples = f.u32(), int32(f.u32())
	return right, tuples, f.done()
}

// ParseGinDeleteListPage reads a DELETE_LISTPAGE record: what the metapage then holds.
func ParseGinDeleteListPage(rec *Record) (meta []byte, err error) {
	f := mainData(rec)
	meta = f.take(GinMetaBytes)
	f.u32() // how many pages go: blocks 1 and following
	f.align()
	return meta, f.done()
}
