package pgwal

// The bodies of Btree records (nbtxlog.h). What they do to each of their pages is in
// the data of the block references.

// ParseBtreeInsert reads an INSERT_LEAF, INSERT_UPPER, INSERT_META or INSERT_POST
// record: the number of the new tuple in block 0.
func ParseBtreeInsert(rec *Record) (offset uint16, err error) { return parseOffset(rec) }

// BtreeSplit is the body of a SPLIT_L or SPLIT_R.
type BtreeSplit struct {
	Level         uint32
	FirstRight    uint16 // of the old page's tuples, the first that went to the new page
	NewItem       uint16 // number of the new tuple, before the split
	PostingOffset uint16 // where the new tuple's row lies in the posting list before it, 0 if it splits none
}

// ParseBtreeSplit reads a SPLIT_L or SPLIT_R record.
func ParseBtreeSplit(rec *Record) (BtreeSplit, error) {
	f := mainData(rec)
	s := BtreeSplit{Level: f.u32(), FirstRight: f.u16(), NewItem: f.u16(), PostingOffset: f.u16()}
	return s, f.done()
}

// ParseBtreeDedup reads a DEDUP record: how many intervals the data of block 0 are.
func ParseBtreeDedup(rec *Record) (intervals uint16, err error) { return parseOffset(rec) }

// BtreeRemoval says how many tuples a DELETE or VACUUM removes, and of how many it
// removes rows. The data of block 0 are their numbers, then the rows.
type BtreeRemoval struct{ Deleted, Updated uint16 }

// ParseBtreeVacuum reads a VACUUM record.
func ParseBtreeVacuum(rec *Record) (BtreeRemoval, error) {
	f := mainData(rec)
	r := BtreeRemoval{Deleted: f.u16(), Updated: f.u16()}
	return r, f.done()
}

// ParseBtreeDelete reads a DELETE record.
func ParseBtreeDelete(rec *Record) (BtreeRemoval, error) {
	f := mainData(rec)
	f.u32() // the newest transaction whose rows go: a conflict for standbys
	r := BtreeRemoval{Deleted: f.u16(), Updated: f.u16()}
	return r, f.done()
}

// BtreeHalfDead is the body of a MARK_PAGE_HALFDEAD.
type BtreeHalfDead struct {
	ParentOffset uint16 // number of the downlink in the parent, block 1
	Leaf         BlockNumber
	Left, Right  BlockNumber // siblings of the leaf
	TopParent    BlockNumber // topmost page that goes with the leaf
}

// ParseBtreeHalfDead reads a MARK_PAGE_HALFDEAD record.
func ParseBtreeHalfDead(rec *Record) (BtreeHalfDead, error) {
	f := mainData(rec)
	h := BtreeHalfDead{ParentOffset: f.u16()}
	f.take(2) // padding
	h.Leaf, h.Left, h.Right, h.TopParent = f.u32(), f.u32(), f.u32(), f.u32()
	return h, f.done()
}

// BtreeUnlink is the body of an UNLINK_PAGE or UNLINK_PAGE_META.
type BtreeUnlink struct {
	Left, Right         BlockNumber // siblings
	Level               uint32
	SafeXID             FullXID // the page is free once no older transaction runs
	LeafLeft, LeafRight BlockNumber
	LeafTopParent       BlockNumber
}

// ParseBtreeUnlink reads an UNLINK_PAGE or UNLINK_PAGE_META record.
func ParseBtreeUnlink(rec *Record) (BtreeUnlink, error) {
	f := mainData(rec)
	u := BtreeUnlink{Left: f.u32(), Right: f.u32(), Level: f.u32()}
	f.take(4) // padding
	u.SafeXID = FullXID(f.u64())
	u.LeafLeft, u.LeafRight, u.LeafTopParent = f.u32(), f.u32(), f.u32()
	return u, f.done()
}

// BtreeNewRoot is the body of a NEWROOT.
type BtreeNewRoot struct {
	Root  BlockNumber
	Level uint32
}

// ParseBtreeNewRoot reads a NEWROOT record.
func ParseBtreeNewRoot(rec *Record) (BtreeNewRoot, error) {
	f := mainData(rec)
	r := BtreeNewRoot{Root: f.u32(), Level: f.u32()}
	return r, f.done()
}
