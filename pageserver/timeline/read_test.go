package timeline_test

import (
	"math/rand"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/pageserver/timeline"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
)

// Sizes that reads found are kept for later reads. The naive twin keeps the size at every
// LSN; relations are dropped, made again and cut, and are more than there is room for.
func TestKeptSizesAreThoseOfTheirLSN(t *testing.T) {
	w := newWorld(t, nil)
	random := rand.New(rand.NewSource(1))
	const relations, absent = 150, -1
	type state struct {
		lsn  wal.LSN
		size int
	}
	history, lsns := make([][]state, relations), []wal.LSN{}
	for n := range relations {
		history[n] = []state{{0, absent}}
	}
	relOf := func(n int) pgwal.RelFileNode {
		return pgwal.RelFileNode{Spc: 1663, DB: uint32(5 + n%2), Rel: uint32(16384 + n/2)}
	}
	check := func() {
		n, lsn, want := random.Intn(relations), lsns[random.Intn(len(lsns))], absent
		for _, s := range history[n] {
			if s.lsn <= lsn {
				want = s.size
			}
		}
		got, err := w.tl.RelSize(w.ctx, relOf(n), pgwal.MainFork, lsn)
		if want == absent {
			require.ErrorIs(t, err, timeline.ErrNoRelation)
			return
		}
		require.NoError(t, err)
		require.Equal(t, want, int(got), "relation %d at %v", n, lsn)
	}
	for xid := range uint32(2000) {
		n := random.Intn(relations)
		size := history[n][len(history[n])-1].size
		switch random.Intn(4) {
		case 0:
			w.ingest(commit(ending{XID: 1000 + xid, Time: importStamp, Dropped: []pgwal.RelFileNode{relOf(n)}}))
			size = absent
		case 1:
			if size > 0 {
				size = random.Intn(size)
				w.ingest(truncate(relOf(n), uint32(size)))
			}
		default:
			block := random.Intn(20)
			w.ingest(fpi(relOf(n), pgwal.MainFork, uint32(block), 1))
			size = max(size, block+1)
		}
		history[n] = append(history[n], state{w.end, size})
		lsns = append(lsns, w.end)
		for range 5 {
			check()
		}
	}
}

func TestNoSizeIsKnownBeforeItIsRead(t *testing.T) {
	w := newWorld(t, nil)
	_, err := w.tl.RelSize(w.ctx, other, pgwal.MainFork, w.ingest(create(other, pgwal.MainFork)))
	require.NoError(t, err)
	none := timeline.PageRead{} // relation 0/0/0 at LSN 0
	_, err = w.tl.RelSize(w.ctx, none.Rel, none.Fork, none.LSN)
	require.ErrorIs(t, err, lsm.ErrBelowHorizon)
	require.ErrorIs(t, w.tl.GetPages(w.ctx, []timeline.PageRead{none}, make([][]byte, 1)), lsm.ErrBelowHorizon)
	require.False(t, w.tl.SizeKnown(none.Rel, none.Fork, none.LSN))
}

func TestWhatIsKnownIsNotToldBelowTheHorizon(t *testing.T) {
	w := newWorld(t, nil)
	w.ingest(fpi(rel, pgwal.MainFork, 0, 1))
	old := w.ingest(fpi(other, pgwal.MainFork, 0, 1))
	size, err := w.tl.RelSize(w.ctx, rel, pgwal.MainFork, old)
	require.NoError(t, err)
	require.EqualValues(t, 1, size)
	_, err = w.page(rel, pgwal.MainFork, 1, old)
	require.ErrorIs(t, err, timeline.ErrBeyondEnd)

	w.ingest(fpi(rel, pgwal.MainFork, 0, 2))
	require.NoError(t, w.tl.Flush(w.ctx))
	_, err = w.under.Collect(w.ctx, lsm.CollectOptions{Cutoff: w.end})
	require.NoError(t, err)
	require.True(t, w.tl.SizeKnown(rel, pgwal.MainFork, old))
	for _, of := range []pgwal.RelFileNode{rel, other} {
		_, err = w.tl.RelSize(w.ctx, of, pgwal.MainFork, old)
		require.ErrorIs(t, err, lsm.ErrBelowHorizon)
		for block := range uint32(2) {
			_, err = w.page(of, pgwal.MainFork, block, old)
			require.ErrorIs(t, err, lsm.ErrBelowHorizon)
		}
	}
}
