package lsm

import (
	"context"

	"github.com/varvedb/varve/wal"
)

// Redo is what the store cannot know of values. With it, a merge puts the value in the
// place of a long chain's newest delta, and drops what belongs to an earlier life of a
// key.
//
// It must agree with the reads: where Floor says f for a key at an LSN, whoever reads
// the key there asks with [Read.Floor] f, or not at all if it says that the key has no
// value there. Along a history, a key's floor stays what it was or rises to an LSN
// above the read that it stayed for.
type Redo interface {
	// Floor returns the LSN at or below which versions of key do not belong to its value
	// at lsn, and whether the key can have a value there. read reads another key.
	Floor(ctx context.Context, key Key, lsn wal.LSN, read func(ctx context.Context, key Key) (Chain, error)) (floor wal.LSN, exists bool, err error)
	// Apply appends to dst the value that a chain determines.
	Apply(dst []byte, key Key, chain *Chain) ([]byte, error)
}
