//go:build !race

// Under the race detector a sync.Pool drops some of what it is given.

package timeline_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/pageserver/timeline"
	"github.com/varvedb/varve/wal/pgwal"
)

// What a read of pages that were read before allocates is nothing.
func TestReadsAllocateNothing(t *testing.T) {
	w := newWorld(t, nil)
	for block := range uint32(8) {
		w.write(fpi(rel, pgwal.MainFork, block, byte(block)))
	}
	for n := range 200 {
		w.write(pgwal.Generic(0, pgwal.BlockChange{Rel: rel, Block: uint32(n % 8), Changes: []pgwal.PageChange{{Offset: 100, Data: []byte{byte(n)}}}}))
	}
	w.ingest()
	require.NoError(t, w.tl.Flush(w.ctx))
	reads, pages := make([]timeline.PageRead, 8), make([][]byte, 8)
	for i := range reads {
		reads[i] = timeline.PageRead{Rel: rel, Block: uint32(i), LSN: w.end}
	}
	read := func() {
		if err := w.tl.GetPages(w.ctx, reads, pages); err != nil {
			panic(err)
		}
	}
	read()
	require.Less(t, testing.AllocsPerRun(1000, read), 1.0)
}
