package redo

import "github.com/varvedb/varve/wal/pgwal"

// sequenceMagic is what a sequence's page has in its special space.
const (
	sequenceMagic   = 0x1717
	sequenceSpecial = 8 // 4 bytes of magic, aligned
)

// sequence rebuilds the one page of a sequence around its tuple.
func sequence(page []byte, rec *pgwal.Record, _ *pgwal.BlockRef) error {
	s, err := pgwal.ParseSequenceLog(rec)
	if err != nil {
		return err
	}
	initPageSpecial(page, sequenceSpecial)
	put32(page, pgwal.PageSize-sequenceSpecial, sequenceMagic)
	f, err := frameOf(page)
	if err != nil {
		return err
	}
	tuple, err := f.addHeap(page, 1, len(s.Tuple))
	if err != nil {
		return err
	}
	copy(tuple, s.Tuple)
	return nil
}
