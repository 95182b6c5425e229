package redo

import (
	"encoding/binary"

	"github.com/varvedb/varve/wal/pgwal"
)

// The special space of a B-tree page:
//
//	| left sibling (4) | right sibling (4) | level (4) | flags (2) | vacuum cycle (2) |
//
// On a page with a right sibling the first tuple is the high key, a bound, and the
// second the first one with data. A vacuum's cycle id, and the flag of the last page
// that it saw split, are not in the log: redo sets them to 0.
const (
	btreeSpecial = 16
	btreeLeft    = 0
	btreeRight   = 4
	btreeLevel   = 8
	btreeFlags   = 12
	btreeCycle   = 14

	btreeLeaf            = 1 << 0
	btreeRoot            = 1 << 1
	btreeDeleted         = 1 << 2
	btreeMeta            = 1 << 3
	btreeHalfDead        = 1 << 4
	btreeHasGarbage      = 1 << 6
	btreeIncompleteSplit = 1 << 7
	btreeHasFullXID      = 1 << 8

	btreeNoBlock = 0 // P_NONE: no sibling
)

// btree applies a Btree record to the page that is ref.
func btree(page []byte, rec *pgwal.Record, ref *pgwal.BlockRef) error {
	switch rec.Op() {
	case pgwal.OpBtreeInsertLeaf, pgwal.OpBtreeInsertUpper, pgwal.OpBtreeInsertMeta, pgwal.OpBtreeInsertPost:
		return btreeInsert(page, rec, ref)
	case pgwal.OpBtreeSplitL, pgwal.OpBtreeSplitR:
		return btreeSplit(page, rec, ref)
	case pgwal.OpBtreeDedup:
		return btreeDedup(page, rec, ref)
	case pgwal.OpBtreeDelete:
		d, err := pgwal.ParseBtreeDelete(rec)
		if err != nil {
			return err
		}
		return btreeRemove(page, d, ref)
	case pgwal.OpBtreeVacuum:
		v, err := pgwal.ParseBtreeVacuum(rec)
		if err != nil {
			return err
		}
		return btreeRemove(page, v, ref)
	case pgwal.OpBtreeMarkPageHalfDead:
		return btreeHalfDeadPage(page, rec, ref)
	case pgwal.OpBtreeUnlinkPage, pgwal.OpBtreeUnlinkPageMeta:
		return btreeUnlink(page, rec, ref)
	case pgwal.OpBtreeNewRoot:
		return btreeNewRoot(page, rec, ref)
	case pgwal.OpBtreeMetaCleanup:
		return btreeMetaPage(page, ref)
	}
	return unknownKind(rec)
}

// opaque is the special space of a B-tree page.
type opaque []byte

func (o opaque) flags() uint16     { return binary.LittleEndian.Uint16(o[btreeFlags:]) }
func (o opaque) setFlags(f uint16) { binary.LittleEndian.PutUint16(o[btreeFlags:], f) }

// firstData is the number of the first tuple with data.
func (o opaque) firstData() int {
	if get32(o, btreeRight) == btreeNoBlock {
		return 1
	}
	return 2
}

// btreeFrame checks a B-tree page.
func btreeFrame(page []byte) (frame, opaque, error) {
	f, err := frameOf(page)
	if err != nil {
		return f, nil, err
	}
	if f.special != pgwal.PageSize-btreeSpecial {
		return f, nil, corrupt("pd_special of a B-tree page", pgwal.PageSize-btreeSpecial, f.special)
	}
	return f, page[f.special:], nil
}

// btreeInit starts a page from nothing.
func btreeInit(page []byte, left, right, level uint32, pageFlags uint16) (frame, opaque) {
	initPageSpecial(page, btreeSpecial)
	o := opaque(page[pgwal.PageSize-btreeSpecial:])
	put32(o, btreeLeft, left)
	put32(o, btreeRight, right)
	put32(o, btreeLevel, level)
	o.setFlags(pageFlags)
	return frame{lower: pageHeaderBytes, upper: pgwal.PageSize - btreeSpecial, special: pgwal.PageSize - btreeSpecial}, o
}

// btreeSibling changes one link of a page.
func btreeSibling(page []byte, link int, to uint32) error {
	_, o, err := btreeFrame(page)
	if err != nil {
		return err
	}
	put32(o, link, to)
	return nil
}

// btreeSplitDone notes that a page's new right sibling has its downlink.
func btreeSplitDone(page []byte) error {
	_, o, err := btreeFrame(page)
	if err != nil {
		return err
	}
	o.setFlags(o.flags() &^ btreeIncompleteSplit)
	return nil
}

// btreeInsert adds a tuple to block 0, finishes the split of the child that it leads
// to, block 1, and rewrites the metapage, block 2.
func btreeInsert(page []byte, rec *pgwal.Record, ref *pgwal.BlockRef) error {
	switch ref.ID {
	case 1:
		return btreeSplitDone(page)
	case 2:
		return btreeMetaPage(page, ref)
	}
	n, err := pgwal.ParseBtreeInsert(rec)
	if err != nil {
		return err
	}
	f, _, err := btreeFrame(page)
	if err != nil {
		return err
	}
	if rec.Op() == pgwal.OpBtreeInsertPost {
		return insertSplitting(page, f, int(n), ref.Data)
	}
	return f.addIndex(page, int(n), ref.Data)
}

// insertSplitting inserts a tuple whose row lies among those of the posting list
// before it. The data are the place in that list (2), then the tuple.
func insertSplitting(page []byte, f frame, n int, data []byte) error {
	if len(data) < 2+tupleIDsAndInfo {
		return corrupt("data of the new tuple", 2+tupleIDsAndInfo, len(data))
	}
	var room [indexTupleMax]byte
	if len(data)-2 > len(room) {
		return corrupt("length of the new tuple", len(room), len(data)-2)
	}
	tuple := room[:copy(room[:], data[2:])]
	posting, err := f.stored(page, n-1, tupleIDsAndInfo)
	if err != nil {
		return err
	}
	if err := swapPosting(tuple, posting, int(get16(data, 0))); err != nil {
		return err
	}
	return f.addIndex(page, n, tuple)
}

// btreeSplit splits block 0. Block 1 is its new right sibling, block 2 the one behind
// that, block 3 a child whose split is finished by what is inserted here.
func btreeSplit(page []byte, rec *pgwal.Record, ref *pgwal.BlockRef) error {
	s, err := pgwal.ParseBtreeSplit(rec)
	if err != nil {
		return err
	}
	left, right := rec.Block(0), rec.Block(1)
	if left == nil || right == nil {
		return corrupt("pages of a split", 2, len(rec.Blocks))
	}
	switch ref.ID {
	case 0:
		return splitLeft(page, rec, &s, ref.Data, right.Block)
	case 1:
		behind := uint32(btreeNoBlock)
		if third := rec.Block(2); third != nil {
			behind = third.Block
		}
		f, _ := btreeInit(page, left.Block, behind, s.Level, leafFlag(s.Level))
		return f.restore(page, ref.Data)
	case 2:
		return btreeSibling(page, btreeLeft, right.Block)
	}
	return btreeSplitDone(page)
}

func leafFlag(level uint32) uint16 {
	if level == 0 {
		return btreeLeaf
	}
	return 0
}

// restore fills an empty page with tuples as they lay on another one: the last first.
func (f *frame) restore(page, tuples []byte) error {
	if len(tuples) > f.special-f.lower {
		return corrupt("tuples of the new page", f.special-f.lower, len(tuples))
	}
	count := 0
	for at := 0; at < len(tuples); count++ {
		size, err := indexTupleSize(tuples[at:])
		if err != nil {
			return err
		}
		at += align(size)
	}
	lower, upper := f.lower+count*pointerBytes, f.special-len(tuples)
	if lower > upper {
		return corrupt("tuples of the new page", upper, lower)
	}
	for at := 0; at < len(tuples); count-- {
		size, _ := indexTupleSize(tuples[at:])
		setPointer(page, count, pointer{offset: upper + at, state: pointerNormal, length: align(size)})
		at += align(size)
	}
	copy(page[upper:], tuples)
	f.lower, f.upper = lower, upper
	f.store(page)
	return nil
}

// splitLeft rebuilds the page that was split: high key and what stays of its tuples.
// The data are the new tuple, if it came here or split a posting list, and the high key.
func splitLeft(page []byte, rec *pgwal.Record, s *pgwal.BtreeSplit, data []byte, right uint32) error {
	f, o, err := btreeFrame(page)
	if err != nil {
		return err
	}
	here := rec.Op() == pgwal.OpBtreeSplitL
	var room [2 * indexTupleMax]byte
	var added, posting []byte // the new tuple, and the posting list that it split
	replaced := 0
	if here || s.PostingOffset != 0 {
		size, err := indexTupleSize(data)
		if err != nil {
			return err
		}
		added, data = data[:align(size)], data[align(size):]
	}
	if s.PostingOffset != 0 {
		replaced = int(s.NewItem) - 1
		if added, posting, err = f.split(page, replaced, added, int(s.PostingOffset), &room); err != nil {
			return err
		}
	}
	if size, err := indexTupleSize(data); err != nil || align(size) != len(data) {
		return corrupt("high key of a split", "a tuple", len(data))
	}
	var to [pgwal.PageSize]byte
	t, _ := btreeInit(to[:], 0, 0, 0, 0)
	copy(to[f.special:], o)
	if err := t.append(to[:], data); err != nil {
		return err
	}
	last := int(s.FirstRight)
	for n := o.firstData(); n < last; n++ {
		if here && n == int(s.NewItem) {
			if err := t.append(to[:], added); err != nil {
				return err
			}
		}
		tuple, err := f.stored(page, n, tupleIDsAndInfo)
		if err != nil {
			return err
		}
		if n == replaced {
			tuple = posting
		}
		if err := t.append(to[:], tuple); err != nil {
			return err
		}
	}
	if here && int(s.NewItem) == last {
		if err := t.append(to[:], added); err != nil {
			return err
		}
	}
	copy(page, to[:])
	put32(o, btreeRight, right)
	put16(o, btreeCycle, 0)
	o.setFlags(btreeIncompleteSplit | leafFlag(s.Level))
	return nil
}

// append adds a tuple behind the others.
func (f *frame) append(page, tuple []byte) error { return f.addIndex(page, f.count()+1, tuple) }

// btreeRemove removes whole tuples, and rows from posting lists.
func btreeRemove(page []byte, r pgwal.BtreeRemoval, ref *pgwal.BlockRef) error {
	f, o, err := btreeFrame(page)
	if err != nil {
		return err
	}
	deleted, updated := 2*int(r.Deleted), 2*int(r.Updated)
	if deleted+updated > len(ref.Data) {
		return corrupt("tuples to remove", deleted+updated, len(ref.Data))
	}
	changes := ref.Data[deleted+updated:]
	for which := numbers(ref.Data[deleted : deleted+updated]); len(which) > 0; which = which[2:] {
		if changes, err = f.shorten(page, which.at(0), changes); err != nil {
			return err
		}
	}
	if len(changes) > 0 {
		return corrupt("rows to remove from posting lists", 0, len(changes))
	}
	if err := f.deleteIndexes(page, ref.Data[:deleted]); err != nil {
		return err
	}
	o.setFlags(o.flags() &^ btreeHasGarbage)
	return nil
}

// btreeHalfDeadPage empties a leaf, block 0, after its downlink has gone from its
// parent, block 1. There the downlink takes over the next one's page, and the next
// tuple goes: so the key space falls to the right.
func btreeHalfDeadPage(page []byte, rec *pgwal.Record, ref *pgwal.BlockRef) error {
	h, err := pgwal.ParseBtreeHalfDead(rec)
	if err != nil {
		return err
	}
	if ref.ID == 0 {
		return halfDead(page, h.Left, h.Right, h.TopParent)
	}
	f, _, err := btreeFrame(page)
	if err != nil {
		return err
	}
	n := int(h.ParentOffset)
	gone, err := f.stored(page, n, tupleIDsAndInfo)
	if err != nil {
		return err
	}
	next, err := f.stored(page, n+1, tupleIDsAndInfo)
	if err != nil {
		return err
	}
	copy(gone[:4], next[:4])
	return f.deleteIndex(page, n+1)
}

// halfDead makes an empty leaf whose high key holds the page that is the top of what
// is to be deleted with it.
func halfDead(page []byte, left, right, top uint32) error {
	f, _ := btreeInit(page, left, right, 0, btreeHalfDead|btreeLeaf)
	var key [tupleIDsAndInfo]byte
	putTID(key[:], top, 0)
	put16(key[:], tupleInfo, tupleIDsAndInfo|tupleAltTID)
	return f.addIndex(page, 1, key[:])
}

// btreeUnlink takes a page, block 0, out of its level: blocks 1 and 2 are its siblings.
// If it was an inner page, block 3 is the leaf below it; block 4 is the metapage.
func btreeUnlink(page []byte, rec *pgwal.Record, ref *pgwal.BlockRef) error {
	const deletedBytes = 8 // of a deleted page's content: the transaction after which it is free
	u, err := pgwal.ParseBtreeUnlink(rec)
	if err != nil {
		return err
	}
	switch ref.ID {
	case 0:
		f, _ := btreeInit(page, u.Left, u.Right, u.Level, btreeDeleted|btreeHasFullXID|leafFlag(u.Level))
		binary.LittleEndian.PutUint64(page[f.lower:], uint64(u.SafeXID))
		f.lower += deletedBytes
		f.store(page)
		return nil
	case 1:
		return btreeSibling(page, btreeRight, u.Right)
	case 2:
		return btreeSibling(page, btreeLeft, u.Left)
	case 3:
		return halfDead(page, u.LeafLeft, u.LeafRight, u.LeafTopParent)
	}
	return btreeMetaPage(page, ref)
}

// btreeNewRoot makes a root, block 0, above block 1; block 2 is the metapage.
func btreeNewRoot(page []byte, rec *pgwal.Record, ref *pgwal.BlockRef) error {
	r, err := pgwal.ParseBtreeNewRoot(rec)
	if err != nil {
		return err
	}
	switch ref.ID {
	case 0:
		f, _ := btreeInit(page, btreeNoBlock, btreeNoBlock, r.Level, btreeRoot|leafFlag(r.Level))
		return f.restore(page, ref.Data)
	case 1:
		return btreeSplitDone(page)
	}
	return btreeMetaPage(page, ref)
}

// btreeMetaPage rebuilds the metapage. The data are version, root, its level, fast
// root, its level, deleted pages at the last cleanup (each 4), and whether all keys
// that are equal look the same (1); on the page a magic number comes first, and a
// count of rows that is no longer kept, -1, before the last.
func btreeMetaPage(page []byte, ref *pgwal.BlockRef) error {
	const (
		loggedBytes = 28
		magic       = 0x053162
		metaBytes   = 48
		rows        = 32
		minusOne    = 0xBFF0_0000_0000_0000 // as a float64
	)
	if len(ref.Data) != loggedBytes {
		return corrupt("data of the metapage", loggedBytes, len(ref.Data))
	}
	f, _ := btreeInit(page, 0, 0, 0, btreeMeta)
	meta := page[f.lower:]
	put32(meta, 0, magic)
	copy(meta[4:rows], ref.Data[:24])
	binary.LittleEndian.PutUint64(meta[rows:], minusOne)
	meta[rows+8] = ref.Data[24]
	f.lower += metaBytes
	f.store(page)
	return nil
}
