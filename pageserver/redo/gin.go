package redo

import "github.com/varvedb/varve/wal/pgwal"

// The special space of a GIN page:
//
//	| right link (4) | maxoff (2) | flags (2) |
//
// maxoff counts the downlinks of an inner page of a posting tree, and the heap rows of
// a page of the pending list. Entry pages and list pages hold index tuples. Pages of
// posting trees hold a right bound (6, padded to 8) and then
//
//	leaf   posting lists, one after another (ginposting.go), up to pd_lower
//	inner  downlinks: | block (4) | key (6) |, up to pd_lower
const (
	ginSpecial = 8
	ginRight   = 0
	ginMaxOff  = 4
	ginFlags   = 6

	ginData            = 1 << 0
	ginLeaf            = 1 << 1
	ginDeleted         = 1 << 2
	ginMeta            = 1 << 3
	ginList            = 1 << 4
	ginListFullRow     = 1 << 5
	ginIncompleteSplit = 1 << 6
	ginCompressed      = 1 << 7

	ginDataStart     = pageHeaderBytes + 8
	ginDataEnd       = pgwal.PageSize - ginSpecial
	ginDownlinkBytes = 10
)

// gin applies a Gin record to the page that is ref. SPLIT and VACUUM_PAGE carry images of
// the pages that they change, but for a child whose split is finished.
func gin(page []byte, rec *pgwal.Record, ref *pgwal.BlockRef) error {
	switch rec.Op() {
	case pgwal.OpGinCreatePtree:
		lists, err := pgwal.ParseGinCreatePtree(rec)
		if err != nil {
			return err
		}
		ginInit(page, ginData|ginLeaf|ginCompressed)
		return ginStoreLists(page, lists)
	case pgwal.OpGinInsert:
		return ginInsert(page, rec, ref)
	case pgwal.OpGinSplit:
		const leftChild = 3
		if ref.ID != leftChild {
			return corrupt("page of a split", "an image", ref.ID)
		}
		return ginSplitDone(page)
	case pgwal.OpGinVacuumDataLeafPage:
		return ginRecompress(page, ref.Data)
	case pgwal.OpGinDeletePage:
		return ginDeletePage(page, rec, ref)
	case pgwal.OpGinUpdateMetaPage:
		return ginUpdateMeta(page, rec, ref)
	case pgwal.OpGinInsertListPage:
		return ginInsertListPage(page, rec, ref)
	case pgwal.OpGinDeleteListPage:
		meta, err := pgwal.ParseGinDeleteListPage(rec)
		if err != nil {
			return err
		}
		if ref.ID == 0 {
			ginMetaPage(page, meta)
		} else {
			ginInit(page, ginDeleted)
		}
		return nil
	}
	return unknownKind(rec)
}

// ginFrame checks a GIN page.
func ginFrame(page []byte) (frame, ginOpaque, error) {
	f, err := frameOf(page)
	if err != nil {
		return f, nil, err
	}
	if f.special != ginDataEnd {
		return f, nil, corrupt("pd_special of a GIN page", ginDataEnd, f.special)
	}
	return f, ginOpaque(page[f.special:]), nil
}

// ginOpaque is the special space of a GIN page.
type ginOpaque []byte

func (o ginOpaque) has(flags uint16) bool { return get16(o, ginFlags)&flags == flags }

// ginInit starts a page from nothing.
func ginInit(page []byte, flags uint16) (frame, ginOpaque) {
	initPageSpecial(page, ginSpecial)
	o := ginOpaque(page[ginDataEnd:])
	put32(o, ginRight, invalidBlock)
	put16(o, ginFlags, flags)
	return frame{lower: pageHeaderBytes, upper: ginDataEnd, special: ginDataEnd}, o
}

// ginMetaPage rebuilds the metapage.
func ginMetaPage(page, meta []byte) {
	f, _ := ginInit(page, ginMeta)
	f.lower += copy(page[f.lower:], meta)
	f.store(page)
}

func ginSplitDone(page []byte) error {
	_, o, err := ginFrame(page)
	if err != nil {
		return err
	}
	put16(o, ginFlags, get16(o, ginFlags)&^ginIncompleteSplit)
	return nil
}

// ginInsert inserts into block 0, and finishes the split of block 1, a child.
func ginInsert(page []byte, rec *pgwal.Record, ref *pgwal.BlockRef) error {
	if ref.ID == 1 {
		return ginSplitDone(page)
	}
	i, err := pgwal.ParseGinInsert(rec)
	if err != nil {
		return err
	}
	switch {
	case !i.Data:
		return ginInsertEntry(page, &i, ref.Data)
	case i.Leaf:
		return ginRecompress(page, ref.Data)
	}
	return ginInsertDownlink(page, i.Right, ref.Data)
}

// ginInsertEntry inserts a tuple. The data are its number (2), whether the tuple of that
// number goes (1), padding (1) and the tuple. On an inner page the tuple is the downlink
// of a left half, and the one of that number now leads to the right half.
func ginInsertEntry(page []byte, i *pgwal.GinInsert, data []byte) error {
	const fixed = 4
	f, _, err := ginFrame(page)
	if err != nil {
		return err
	}
	if len(data) < fixed {
		return corrupt("data of the new tuple", fixed, len(data))
	}
	n := int(get16(data, 0))
	if !i.Leaf {
		next, err := f.tuple(page, n, tupleIDsAndInfo)
		if err != nil {
			return err
		}
		putTID(next, i.Right, 0)
	}
	if data[2] != 0 {
		if err := f.deleteIndex(page, n); err != nil {
			return err
		}
	}
	tuple := data[fixed:]
	size, err := unpaddedTupleSize(tuple)
	if err != nil {
		return err
	}
	return f.addIndex(page, n, tuple[:size])
}

// unpaddedTupleSize is the size of the index tuple at the start of b, whose padding need
// not be there.
func unpaddedTupleSize(b []byte) (int, error) {
	if len(b) < tupleIDsAndInfo {
		return 0, corrupt("index tuple", tupleIDsAndInfo, len(b))
	}
	size := int(get16(b, tupleInfo)) & tupleSizeMask
	if size < tupleIDsAndInfo || size > len(b) {
		return 0, corrupt("size of an index tuple", len(b), size)
	}
	return size, nil
}

// ginInsertDownlink inserts a downlink to a left half into an inner page of a posting
// tree. The data are its number (2) and it; the one of that number before now leads to
// the right half.
func ginInsertDownlink(page []byte, right uint32, data []byte) error {
	if len(data) != 2+ginDownlinkBytes {
		return corrupt("data of the new downlink", 2+ginDownlinkBytes, len(data))
	}
	_, o, err := ginFrame(page)
	if err != nil {
		return err
	}
	n, count := int(get16(data, 0)), int(get16(o, ginMaxOff))
	if n < 1 || n > count || ginDownlink(count+2) > ginDataEnd {
		return corrupt("number of the new downlink", count, n)
	}
	at := ginDownlink(n)
	put16(page, at, uint16(right>>16))
	put16(page, at+2, uint16(right))
	copy(page[at+ginDownlinkBytes:], page[at:ginDownlink(count+1)])
	copy(page[at:], data[2:])
	return ginStoreCount(page, o, count+1)
}

// ginDownlink is where downlink n stands in an inner page of a posting tree.
func ginDownlink(n int) int { return ginDataStart + (n-1)*ginDownlinkBytes }

func ginStoreCount(page []byte, o ginOpaque, count int) error {
	put16(o, ginMaxOff, uint16(count))
	put16(page, offLower, uint16(ginDownlink(count+1)))
	return nil
}

// ginDeletePage takes block 0 out of its posting tree: block 1 is its parent, block 2 its
// left sibling.
func ginDeletePage(page []byte, rec *pgwal.Record, ref *pgwal.BlockRef) error {
	d, err := pgwal.ParseGinDeletePage(rec)
	if err != nil {
		return err
	}
	_, o, err := ginFrame(page)
	if err != nil {
		return err
	}
	switch ref.ID {
	case 0:
		put16(o, ginFlags, get16(o, ginFlags)|ginDeleted)
		put32(page, offPrune, d.DeleteXID)
		return nil
	case 1:
		n, count := int(d.ParentOffset), int(get16(o, ginMaxOff))
		if n < 1 || n > count || ginDownlink(count+1) > ginDataEnd {
			return corrupt("number of the downlink to delete", count, n)
		}
		copy(page[ginDownlink(n):], page[ginDownlink(n+1):ginDownlink(count+1)])
		clear(page[ginDownlink(count):ginDownlink(count+1)])
		return ginStoreCount(page, o, count-1)
	}
	put32(o, ginRight, d.Right)
	return nil
}

// ginUpdateMeta rewrites the metapage, block 0, and appends to the pending list: tuples
// to its tail, or a list behind it.
func ginUpdateMeta(page []byte, rec *pgwal.Record, ref *pgwal.BlockRef) error {
	u, err := pgwal.ParseGinUpdateMeta(rec)
	if err != nil {
		return err
	}
	if ref.ID == 0 {
		ginMetaPage(page, u.Meta)
		return nil
	}
	f, o, err := ginFrame(page)
	if err != nil {
		return err
	}
	if u.Tuples <= 0 {
		put32(o, ginRight, u.Right)
		return nil
	}
	put16(o, ginMaxOff, get16(o, ginMaxOff)+1)
	return f.appendTuples(page, ref.Data, u.Tuples)
}

// ginInsertListPage makes a page of the pending list. The last one of a list counts one
// row, all of whose tuples are on it.
func ginInsertListPage(page []byte, rec *pgwal.Record, ref *pgwal.BlockRef) error {
	right, tuples, err := pgwal.ParseGinInsertListPage(rec)
	if err != nil {
		return err
	}
	flags, rows := uint16(ginList), uint16(0)
	if right == invalidBlock {
		flags, rows = flags|ginListFullRow, 1
	}
	f, o := ginInit(page, flags)
	put32(o, ginRight, right)
	put16(o, ginMaxOff, rows)
	return f.appendTuples(page, ref.Data, tuples)
}

// appendTuples adds so many index tuples, which follow each other without padding.
func (f *frame) appendTuples(page, tuples []byte, count int32) error {
	for range count {
		size, err := unpaddedTupleSize(tuples)
		if err != nil {
			return err
		}
		if err := f.append(page, tuples[:size]); err != nil {
			return err
		}
		tuples = tuples[size:]
	}
	if len(tuples) > 0 {
		return corrupt("tuples for the pending list", count, "more")
	}
	return nil
}
