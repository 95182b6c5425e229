package redo

import (
	"encoding/binary"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
)

// Flags of a GiST page; image.go draws its special space.
const (
	gistRight = 8 // in the special space

	gistLeaf       = 1 << 0
	gistDeleted    = 1 << 1
	gistHasGarbage = 1 << 4
	// The flag between them, that tuples were deleted, nobody reads, and minor releases
	// differ on who sets it: it stays as it is.

	gistRoot    = 0
	gistNoBlock = 0xFFFFFFFF
)

// gist applies a Gist record to the page that is ref.
func gist(page []byte, rec *pgwal.Record, ref *pgwal.BlockRef) error {
	if child := pgwal.GistSplitChild(rec); child != nil && child.ID == ref.ID {
		return finishGistSplit(page, rec.End)
	}
	switch rec.Op() {
	case pgwal.OpGistPageUpdate:
		return gistUpdate(page, rec, ref)
	case pgwal.OpGistDelete:
		gone, err := pgwal.ParseGistDelete(rec)
		if err != nil {
			return err
		}
		f, err := gistFrame(page)
		if err != nil {
			return err
		}
		if err := f.deleteIndexes(page, gone); err != nil {
			return err
		}
		gistFlag(page, 0, gistHasGarbage)
		return nil
	case pgwal.OpGistPageSplit:
		return gistSplit(page, rec, ref)
	case pgwal.OpGistPageDelete:
		return gistPageDelete(page, rec, ref)
	}
	return unknownKind(rec)
}

// gistFrame checks a GiST page.
func gistFrame(page []byte) (frame, error) {
	f, err := frameOf(page)
	if err == nil && f.special != pgwal.PageSize-gistOpaqueBytes {
		err = corrupt("pd_special of a GiST page", pgwal.PageSize-gistOpaqueBytes, f.special)
	}
	return f, err
}

// gistFlag changes the page's flags.
func gistFlag(page []byte, set, unset uint16) {
	at := pgwal.PageSize - gistOpaqueBytes + gistFlagsOffset
	put16(page, at, get16(page, at)&^unset|set)
}

// gistUpdate removes tuples from block 0 and adds others behind the rest; but one for
// one takes its place.
func gistUpdate(page []byte, rec *pgwal.Record, ref *pgwal.BlockRef) error {
	deleted, inserted, err := pgwal.ParseGistUpdate(rec)
	if err != nil {
		return err
	}
	f, err := gistFrame(page)
	if err != nil {
		return err
	}
	if len(ref.Data) < 2*int(deleted) {
		return corrupt("tuples to remove", 2*int(deleted), len(ref.Data))
	}
	gone, tuples := numbers(ref.Data[:2*int(deleted)]), ref.Data[2*int(deleted):]
	if deleted == 1 && inserted == 1 {
		if size, err := indexTupleSize(tuples); err != nil || size != len(tuples) {
			return corrupt("tuple that takes another's place", size, len(tuples))
		}
		return f.replaceIndex(page, gone.at(0), tuples)
	}
	if deleted > 0 {
		if err := f.deleteIndexes(page, gone); err != nil {
			return err
		}
	}
	return f.appendAll(page, int(inserted), tuples)
}

// appendAll adds so many tuples behind the others.
func (f *frame) appendAll(page []byte, count int, tuples []byte) error {
	for range count {
		size, err := indexTupleSize(tuples)
		if err != nil {
			return err
		}
		if err := f.append(page, tuples[:size]); err != nil {
			return err
		}
		tuples = tuples[size:]
	}
	if len(tuples) > 0 {
		return corrupt("new tuples", count, "more")
	}
	return nil
}

// gistSplit builds one of the pages that a page became.
func gistSplit(page []byte, rec *pgwal.Record, ref *pgwal.BlockRef) error {
	s, err := pgwal.ParseGistSplit(rec)
	if err != nil {
		return err
	}
	first := rec.Block(1)
	if first == nil || len(ref.Data) < 4 || ref.ID > uint8(min(s.Pages, 32)) {
		return corrupt("page of a split", s.Pages, ref.ID)
	}
	isRoot, last := ref.Block == gistRoot, ref.ID == uint8(s.Pages)
	right, pageFlags := s.Right, uint16(0)
	switch next := rec.Block(ref.ID + 1); {
	case isRoot:
		right = gistNoBlock
	case !last && next == nil:
		return corrupt("right sibling of a page of a split", "a block reference", "none")
	case !last:
		right = next.Block
		if s.FollowRight && first.Block != gistRoot {
			pageFlags = gistFlagFollowRight
		}
	}
	if s.Leaf && !isRoot {
		pageFlags |= gistLeaf
	}
	initPageSpecial(page, gistOpaqueBytes)
	o := page[pgwal.PageSize-gistOpaqueBytes:]
	SetPageLSN(o, wal.LSN(s.NSN)) // The NSN is written as pd_lsn is.
	put32(o, gistRight, right)
	put16(o, gistFlagsOffset, pageFlags)
	put16(o, gistPageIDOffset, gistPageID)
	f, err := gistFrame(page)
	if err != nil {
		return err
	}
	return f.appendAll(page, int(min(get32(ref.Data, 0), pgwal.PageSize)), ref.Data[4:])
}

// gistPageDelete marks block 0 as deleted and takes its downlink out of block 1.
func gistPageDelete(page []byte, rec *pgwal.Record, ref *pgwal.BlockRef) error {
	const deletedBytes = 8
	d, err := pgwal.ParseGistPageDelete(rec)
	if err != nil {
		return err
	}
	f, err := gistFrame(page)
	switch {
	case err != nil:
		return err
	case ref.ID == 1:
		return f.deleteIndex(page, int(d.Downlink))
	case f.upper < pageHeaderBytes+deletedBytes:
		return corrupt("room in a deleted page", deletedBytes, f.upper-pageHeaderBytes)
	}
	binary.LittleEndian.PutUint64(page[pageHeaderBytes:], uint64(d.DeleteXID))
	f.lower = pageHeaderBytes + deletedBytes
	f.store(page)
	gistFlag(page, gistDeleted, 0)
	return nil
}
