package lsm_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/wal"
)

// withDamagedLayer opens a timeline whose first layer, of the given batch, is damaged, and
// has eight more above it.
func withDamagedLayer(t *testing.T, flushedMax int, first ...lsm.Version) (s *lsm.Store, tl *lsm.Timeline, damaged string) {
	t.Helper()
	ctx := context.Background()
	b := newMemBucket()
	w := withBucket(t, b)
	// No copy hides the damage, and nothing is merged before it is done.
	s = w.openWith(w.env, lsm.Options{CacheBytes: 1, BlockCacheBytes: 1, IndexCacheBytes: 1, FlushedMax: flushedMax})
	require.NoError(t, s.Create(ctx, timelineID(1), 10, nil))
	tl = attach(t, s, timelineID(1))
	apply(t, tl, first...)
	flush(t, tl)
	damaged = b.keys("/layers/")[0]
	b.mu.Lock()
	for at := range b.objects[damaged] {
		b.objects[damaged][at] ^= 1
	}
	b.mu.Unlock()
	for lsn := wal.LSN(30); lsn < 110; lsn += 10 {
		apply(t, tl, put(2, lsn, "Ix"))
		flush(t, tl)
	}
	return s, tl, damaged
}

// TestADamagedLayerHoldsUpNoMerge: it is set aside, and named; what lies above it is
// merged, and what does not need it is read.
func TestADamagedLayerHoldsUpNoMerge(t *testing.T) {
	ctx := context.Background()
	s, tl, damaged := withDamagedLayer(t, 4, put(1, 20, "Ia"), put(2, 21, "Ib"))
	require.NoError(t, tl.Compact(ctx))
	aside := tl.Aside()
	require.Len(t, aside, 1)
	require.Equal(t, damaged, aside[0].Object)
	require.ErrorIs(t, aside[0].Cause, wal.ErrCorruption)
	st := tl.Stats()
	require.Equal(t, 1, st.Flushed, "it alone was not merged")
	require.Equal(t, 1, st.Aside)
	require.LessOrEqual(t, st.Layers, 4)
	require.Equal(t, "Ix", get(t, tl, 2, 100))
	_, err := tl.Collect(ctx, lsm.CollectOptions{Cutoff: 90})
	require.NoError(t, err, "it is not met")
	require.Zero(t, tl.Stats().Dead, "all that was merged is deleted")
	err = tl.Get(ctx, []lsm.Read{{Key: key(1), LSN: 100}}, make([]lsm.Chain, 1))
	require.ErrorIs(t, err, wal.ErrCorruption)
	require.ErrorContains(t, err, damaged)
	require.NoError(t, s.Close(ctx))
}

// TestACollectionGoesRoundDamage: it collects what can be read, and says what it left out.
func TestACollectionGoesRoundDamage(t *testing.T) {
	ctx := context.Background()
	s, tl, damaged := withDamagedLayer(t, 32, put(1, 20, "Ia"), put(1, 21, "Ib"))
	for i := range 3 {
		c, err := tl.Collect(ctx, lsm.CollectOptions{Cutoff: 95})
		if i == 0 {
			require.ErrorIs(t, err, wal.ErrCorruption)
			require.ErrorContains(t, err, damaged)
			require.ErrorContains(t, err, "given up")
		} else {
			require.NoError(t, err)
		}
		require.Equal(t, wal.LSN(95), c.Cutoff)
		require.Len(t, tl.Aside(), 1)
		require.Zero(t, tl.Stats().Dead)
	}
	require.Positive(t, tl.Stats().Dropped)
	require.Equal(t, "Ix", get(t, tl, 2, 100))
	require.NoError(t, s.Close(ctx))
}
