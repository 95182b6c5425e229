package timeline

import (
	"context"
	"fmt"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/pageserver/pgkey"
	"github.com/varvedb/varve/pageserver/redo"
	"github.com/varvedb/varve/wal"
)

// Redo tells the store what it cannot know of values: to which life of its fork a page
// belongs, and how deltas are applied. It agrees with [Timeline.GetPages].
type Redo struct{}

var _ lsm.Redo = Redo{}

// Floor implements lsm.Redo. A page of a fork that does not exist has no value; one
// beyond the fork's end had its end written as a tombstone.
func (Redo) Floor(ctx context.Context, key lsm.Key, _ wal.LSN, read func(context.Context, lsm.Key) (lsm.Chain, error)) (floor wal.LSN, exists bool, err error) {
	parsed, err := pgkey.ParseKey(key)
	if err != nil {
		return 0, false, err
	}
	if parsed.Class != pgkey.ClassBlock {
		return 0, true, nil
	}
	chain, err := read(ctx, pgkey.Size(parsed.RelFileNode(), parsed.Fork))
	if err != nil || chain.Empty() {
		return 0, false, err
	}
	size, err := pgkey.DecodeSize(chain.Base)
	if err != nil {
		return 0, false, fmt.Errorf("read the size of the fork of %v: %w", parsed, err)
	}
	return size.Since, true, nil
}

// Apply implements lsm.Redo.
func (Redo) Apply(dst []byte, key lsm.Key, chain *lsm.Chain) ([]byte, error) {
	return redo.Apply(dst, key, chain)
}
