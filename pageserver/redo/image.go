package redo

import (
	"encoding/binary"
	"fmt"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
)

// Image writes to page, 8192 bytes, the page after the record, from the image in
// ref. It is right for images that PostgreSQL restores and for those attached for
// consistency checking.
func Image(rec *pgwal.Record, ref *pgwal.BlockRef, page []byte) error {
	if err := rec.Restore(ref, page); err != nil {
		return fmt.Errorf("restore image of %v fork %v block %d: %w", ref.Rel, ref.Fork, ref.Block, err)
	}
	if IsNew(page) {
		return nil
	}
	SetPageLSN(page, rec.End)
	if child := pgwal.GistSplitChild(rec); child != nil && child.ID == ref.ID {
		return finishGistSplit(page, rec.End)
	}
	return nil
}

// GiST's opaque data, at the end of its pages, and the flag of a left child whose
// split has no downlink in the parent yet.
//
//	| NSN (4 high, 4 low) | right link (4) | flags (2) | page id (2) |
const (
	gistOpaqueBytes     = 16
	gistFlagsOffset     = 12
	gistFlagFollowRight = 1 << 3
	gistPageID          = 0xFF81
	gistPageIDOffset    = 14
)

// finishGistSplit clears the follow-right flag and sets the NSN to the record's end.
// GiST's redo does so even after it has restored the page, for the image shows the
// page as it was before.
func finishGistSplit(page []byte, end wal.LSN) error {
	special := int(binary.LittleEndian.Uint16(page[offSpecial:]))
	if special != pgwal.PageSize-gistOpaqueBytes {
		return wal.Corruptf("image of a GiST page", offSpecial, "pd_special", pgwal.PageSize-gistOpaqueBytes, special)
	}
	opaque := page[special:]
	if id := binary.LittleEndian.Uint16(opaque[gistPageIDOffset:]); id != gistPageID {
		return wal.Corruptf("image of a GiST page", int64(special+gistPageIDOffset), "page id", gistPageID, id)
	}
	SetPageLSN(opaque, end) // The NSN is written as pd_lsn is.
	flags := binary.LittleEndian.Uint16(opaque[gistFlagsOffset:])
	binary.LittleEndian.PutUint16(opaque[gistFlagsOffset:], flags&^gistFlagFollowRight)
	return nil
}
