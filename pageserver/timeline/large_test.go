package timeline_test

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/pageserver/pgkey"
	"github.com/varvedb/varve/pageserver/redo"
	"github.com/varvedb/varve/pageserver/timeline"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
)

// largeLayerBytes is small beside what the records of these tests change.
const largeLayerBytes = 64 << 10

func newLargeWorld(t *testing.T) *world {
	return newWorldWith(t, lsm.Options{Tenant: tenant, LayerBytes: largeLayerBytes, MemtableBytes: 8 << 20, HistoryBytes: -1}, func(images map[lsm.Key][]byte) {
		images[pgkey.Database(1663, 5)] = []byte("15\n")
		images[pgkey.RelMap(1663, 5)] = make([]byte, pgwal.RelMapSize)
	})
}

// requireStreamed demands that of the record that ends at lsn nothing went through memory
// but what its layers of bounded size took, one after another.
func (w *world) requireStreamed(lsn wal.LSN, versions int64, atLeast int) {
	w.t.Helper()
	var got int64
	layers := 0
	for _, l := range w.under.Layers() {
		if l.LSNHi == lsn {
			layers++
			got += l.Versions
			require.LessOrEqual(w.t, l.Size, int64(largeLayerBytes+32<<10))
		}
	}
	require.Equal(w.t, versions, got)
	require.GreaterOrEqual(w.t, layers, atLeast)
	require.Equal(w.t, lsn, w.under.DurableLSN(), "it was durable at once")
	require.Zero(w.t, w.under.Stats().MemtableBytes)
	require.Zero(w.t, w.under.Stats().Frozen)
	require.LessOrEqual(w.t, w.tl.BatchMost(), timeline.ManyKeys)
}

// TestALargeTruncationIsNotHeldInMemory cuts a million blocks, which as a batch would take
// some 200 MB.
func TestALargeTruncationIsNotHeldInMemory(t *testing.T) {
	const blocks = 1_000_000
	w := newLargeWorld(t)
	w.ingest(fpi(rel, pgwal.MainFork, 0, 1), fpi(rel, pgwal.MainFork, 1, 2), fpi(rel, pgwal.MainFork, 77, 3))
	full := w.ingest(fpi(rel, pgwal.MainFork, blocks-1, 4))
	w.write(fpi(other, pgwal.MainFork, 0, 5)) // in the batch when the large one comes
	cut := w.ingest(truncate(rel, 1))
	w.requireStreamed(cut, blocks-1+2, 100) // its size, and which record was the last
	require.Equal(t, byte(5), w.mustPage(other, pgwal.MainFork, 0, cut)[24])
	_, err := w.page(rel, pgwal.MainFork, 1, cut)
	require.ErrorIs(t, err, timeline.ErrBeyondEnd)
	long := w.ingest(fpi(rel, pgwal.MainFork, 100, 6))
	check := func() {
		t.Helper()
		require.Equal(t, byte(1), w.mustPage(rel, pgwal.MainFork, 0, long)[24])
		for _, block := range []uint32{1, 77, 99} {
			require.True(t, redo.IsZero(w.mustPage(rel, pgwal.MainFork, block, long)), "block %d", block)
		}
		require.Equal(t, byte(6), w.mustPage(rel, pgwal.MainFork, 100, long)[24])
		for _, at := range []wal.LSN{full, cut - 1} { // whoever reads before the end of the record sees nothing of it
			require.Equal(t, byte(3), w.mustPage(rel, pgwal.MainFork, 77, at)[24])
			require.Equal(t, byte(4), w.mustPage(rel, pgwal.MainFork, blocks-1, at)[24])
		}
	}
	check()
	require.NoError(t, w.tl.Flush(w.ctx))
	require.NoError(t, w.under.Compact(w.ctx))
	check()
	w.restart()
	check()
	start, err := w.tl.PrevRecord(w.ctx, cut)
	require.NoError(t, err)
	require.Less(t, start, cut)
	require.Greater(t, start, full)
}

// TestALargeDatabaseIsCopiedAndDroppedInPieces copies and drops a database of 60 MB with more
// forks than are listed at a time, over one of which something was left.
func TestALargeDatabaseIsCopiedAndDroppedInPieces(t *testing.T) {
	const relations, pages = 2500, 3
	w := newLargeWorld(t)
	relation := func(db, n uint32) pgwal.RelFileNode { return pgwal.RelFileNode{Spc: 1663, DB: db, Rel: 20000 + n} }
	for n := range uint32(relations) {
		for block := range uint32(pages) {
			w.write(fpi(relation(5, n), pgwal.MainFork, block, byte(n+block)))
		}
	}
	w.ingest()
	for _, n := range []uint32{1, relations - 1, relations, relations + 7} { // of a copy that was begun and crashed
		w.write(fpi(relation(99, n), pgwal.MainFork, pages+1, 1))
	}
	before := w.ingest()
	copied := w.ingest(words(pgwal.RMgrDatabase, pgwal.OpDatabaseCreateFileCopy, 99, 1663, 5, 1663))
	w.requireStreamed(copied, relations*(pages+1)+2+2+1, 2) // two ended; database and its relation map; the last record
	sizes := func(db uint32, lsn wal.LSN) (n int) {
		require.NoError(t, w.tl.DatabaseRelations(w.ctx, 1663, db, lsn, func(r timeline.RelationSize) error {
			n++
			if db == 99 && lsn >= copied {
				require.Equal(t, uint32(pages), r.Blocks)
			}
			return nil
		}))
		return n
	}
	require.Equal(t, relations, sizes(99, copied))
	require.Equal(t, 4, sizes(99, copied-1))
	w.ingest(fpi(relation(5, 3), pgwal.MainFork, 0, 200))
	for _, n := range []uint32{0, 1, 3, 1024, relations - 1} {
		for block := range uint32(pages) {
			require.Equal(t, byte(n+block), w.mustPage(relation(99, n), pgwal.MainFork, block, w.end)[24])
		}
	}
	require.NoError(t, w.tl.Flush(w.ctx))
	w.restart()
	require.Equal(t, "15\n", string(w.value(pgkey.Database(1663, 99), copied)))
	require.Nil(t, w.value(pgkey.Database(1663, 99), before))
	body := binary.LittleEndian.AppendUint32(nil, 99)
	for _, word := range []uint32{1, 1663} {
		body = binary.LittleEndian.AppendUint32(body, word)
	}
	dropped := w.ingest(pgwal.RecordSpec{RMgr: pgwal.RMgrDatabase, Info: pgwal.OpDatabaseDrop, MainData: body})
	w.requireStreamed(dropped, relations+2+1, 1)
	require.Zero(t, sizes(99, dropped))
	require.Equal(t, relations, sizes(99, dropped-1))
	require.Equal(t, relations, sizes(5, dropped))
}
