package lsm_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/wal"
)

// TestADamagedBranchHoldsUpNoMerge: its parent's history is not collected, for it might need
// any of it; but layers are merged, and nothing of them is dropped.
func TestADamagedBranchHoldsUpNoMerge(t *testing.T) {
	ctx := t.Context()
	b := newMemBucket()
	w := withBucket(t, b)
	s := w.openWith(w.env, lsm.Options{FlushedMax: 4, HistoryBytes: -1})
	require.NoError(t, s.Create(ctx, timelineID(1), 10, nil))
	tl := attach(t, s, timelineID(1))
	apply(t, tl, put(1, 20, "Ia"), put(1, 30, "Ib"), put(1, 40, "Ic"))
	flush(t, tl)
	require.NoError(t, s.Branch(ctx, timelineID(1), timelineID(2), 25, nil))
	_, err := tl.Collect(ctx, lsm.CollectOptions{Cutoff: 40})
	require.NoError(t, err)
	index := b.keys("/" + timelineID(2).String() + "/index")[0]
	flip := func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.objects[index] = bytes.Clone(b.objects[index])
		b.objects[index][100] ^= 1
	}
	flip()
	dropped := tl.Stats().Dropped
	for lsn := wal.LSN(50); lsn < 200; lsn += 10 {
		apply(t, tl, put(1, lsn, "Ix"))
		flush(t, tl)
	}
	require.NoError(t, tl.Compact(ctx))
	require.Zero(t, tl.Stats().Flushed)
	_, err = tl.Collect(ctx, lsm.CollectOptions{Cutoff: 190})
	require.ErrorIs(t, err, wal.ErrCorruption)
	require.ErrorContains(t, err, index)
	err = tl.Compact(ctx)
	require.ErrorIs(t, err, wal.ErrCorruption, "the cutoff was raised, and nothing collected")
	require.ErrorContains(t, err, index)
	for lsn := wal.LSN(200); lsn < 280; lsn += 10 {
		apply(t, tl, put(1, lsn, "Iy"))
		flush(t, tl)
	}
	if err = tl.Compact(ctx); err != nil {
		require.ErrorIs(t, err, wal.ErrCorruption)
	}
	require.Less(t, tl.Stats().Flushed, 4)
	require.Equal(t, dropped, tl.Stats().Dropped)

	flip()
	_, err = tl.Collect(ctx, lsm.CollectOptions{})
	require.NoError(t, err)
	require.Greater(t, tl.Stats().Dropped, dropped)
	require.Equal(t, "Ia", get(t, attach(t, s, timelineID(2)), 1, 25))
	require.Equal(t, "Ix", get(t, tl, 1, 190))
	require.Equal(t, "Iy", get(t, tl, 1, 270))
	require.NoError(t, s.Close(ctx))
}
