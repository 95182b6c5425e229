package lsm_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/lsm/layer"
	"github.com/varvedb/varve/wal"
)

func create(t *testing.T, s *lsm.Store, n int, start wal.LSN) *lsm.Timeline {
	require.NoError(t, s.Create(t.Context(), timelineID(n), start, nil))
	return attach(t, s, timelineID(n))
}

// stream applies versions of keys [from, to) at end.
func stream(tl *lsm.Timeline, end wal.LSN, from, to int) error {
	return tl.ApplyStream(context.Background(), end, func(put func(*lsm.Version) error) error {
		for k := from; k < to; k++ {
			v := lsm.Version{Key: key(k), LSN: end, Kind: lsm.Image, Value: fmt.Appendf(nil, "%d at %d", k, end)}
			if k%2 == 1 {
				v.Kind, v.Value = lsm.Tombstone, nil
			}
			if err := put(&v); err != nil {
				return err
			}
		}
		return nil
	})
}

// TestAStreamIsNotHeldInMemory streams a record that is fifty times as large as a memtable
// and a layer may be: at no moment does the memtable hold any of it, nor is there a layer
// larger than its bound and what one version more makes of it.
func TestAStreamIsNotHeldInMemory(t *testing.T) {
	const layerBytes = 8 << 10
	ctx, w := t.Context(), newWorld(t)
	s := w.openWith(w.env, lsm.Options{MemtableBytes: layerBytes, LayerBytes: layerBytes, BlockBytes: 512, HistoryBytes: -1})
	tl := create(t, s, 1, 10)
	require.NoError(t, tl.Apply(ctx, 20, []lsm.Version{put(3, 20, "I before"), put(4, 20, "I before")}))
	idle := int64(0)
	err := tl.ApplyStream(ctx, 30, func(put func(*lsm.Version) error) error {
		idle = tl.Stats().MemtableBytes
		for k := range 40_000 {
			v := lsm.Version{Key: key(k), LSN: 30, Kind: lsm.Tombstone}
			if err := put(&v); err != nil {
				return err
			}
			if k%1000 == 0 {
				require.Equal(t, idle, tl.Stats().MemtableBytes)
				require.Equal(t, wal.LSN(20), tl.LastLSN(), "nothing is seen before all is there")
				require.Equal(t, "I before", get(t, tl, 3, 20))
			}
		}
		return nil
	})
	require.NoError(t, err)
	require.Zero(t, idle, "what was there before was flushed")
	require.Equal(t, wal.LSN(30), tl.DurableLSN())
	st := tl.Stats()
	require.Equal(t, uint64(40_002), st.Versions)
	require.Greater(t, st.Layers, 40)
	var versions int64
	for _, l := range tl.Layers() {
		if l.LSNHi == 30 {
			versions += l.Versions
			require.LessOrEqual(t, l.Size, int64(layerBytes+2048), "of a layer in memory: %s", l.Name())
			require.Equal(t, layer.Delta, l.Kind)
			require.Equal(t, uint8(1), l.Level)
		}
	}
	require.Equal(t, int64(40_000), versions)
	require.Empty(t, get(t, tl, 3, 30))
	require.Equal(t, "I before", get(t, tl, 3, 29))
	require.NoError(t, s.Close(ctx))
}

// TestAStreamBetweenRecords: history before, at and after it, on a branch below and above
// it, merged, collected and opened anew.
func TestAStreamBetweenRecords(t *testing.T) {
	ctx, w := t.Context(), newWorld(t)
	opts := lsm.Options{LayerBytes: 300, BlockBytes: 64, HistoryBytes: -1, FlushedMax: 2}
	s := w.openWith(w.env, opts)
	tl := create(t, s, 1, 10)
	require.NoError(t, tl.Apply(ctx, 20, []lsm.Version{put(0, 20, "I0"), put(1, 20, "I1"), put(90, 20, "I90")}))
	require.NoError(t, s.Branch(ctx, timelineID(1), timelineID(2), 25, nil))
	require.NoError(t, stream(tl, 30, 0, 60))
	require.NoError(t, tl.Apply(ctx, 40, []lsm.Version{put(0, 40, "D0"), put(1, 40, "I1 again")}))
	require.NoError(t, s.Branch(ctx, timelineID(1), timelineID(3), 30, nil))
	require.NoError(t, stream(tl, 50, 58, 70))
	check := func() {
		t.Helper()
		below, above := attach(t, s, timelineID(2)), attach(t, s, timelineID(3))
		require.Equal(t, "I1", get(t, below, 1, 25))
		require.Empty(t, get(t, below, 2, 25))
		require.Empty(t, get(t, above, 1, 30))
		require.Equal(t, "2 at 30", get(t, above, 2, 30))
		require.Equal(t, "I90", get(t, above, 90, 30))
		require.Equal(t, "0 at 30+D0", get(t, tl, 0, 50))
		require.Equal(t, "I1 again", get(t, tl, 1, 50))
		require.Equal(t, "58 at 50", get(t, tl, 58, 50))
		require.Equal(t, "58 at 30", get(t, tl, 58, 49))
		require.NoError(t, below.Detach(ctx))
		require.NoError(t, above.Detach(ctx))
	}
	check()
	require.NoError(t, s.Close(ctx))
	s = w.openWith(w.env, opts)
	tl = attach(t, s, timelineID(1))
	require.Equal(t, wal.LSN(50), tl.LastLSN())
	check()
	require.NoError(t, tl.Compact(ctx))
	check()
	_, err := tl.Collect(ctx, lsm.CollectOptions{Cutoff: 49})
	require.NoError(t, err)
	check()
	require.NoError(t, s.Close(ctx))
}

// TestAStreamThatFails leaves nothing that is read, nothing in the bucket, and may be had
// again.
func TestAStreamThatFails(t *testing.T) {
	ctx, bucket := t.Context(), newMemBucket()
	e := hostEnv
	e.Bucket, e.FS = bucket, newMemFS()
	s, err := lsm.Open(ctx, e, lsm.Options{Tenant: tenant, LayerBytes: 300, BlockBytes: 64, HistoryBytes: -1})
	require.NoError(t, err)
	tl := create(t, s, 1, 10)
	broken := errors.New("broken")
	err = tl.ApplyStream(ctx, 20, func(put func(*lsm.Version) error) error {
		for k := range 200 {
			require.NoError(t, put(&lsm.Version{Key: key(k), LSN: 20, Kind: lsm.Image, Value: []byte("never")}))
		}
		require.NotEmpty(t, bucket.keys("/layers/"))
		return broken
	})
	require.ErrorIs(t, err, broken)
	require.Empty(t, bucket.keys("/layers/"))
	require.Equal(t, wal.LSN(10), tl.LastLSN())
	require.NoError(t, stream(tl, 20, 0, 100))
	require.Equal(t, "8 at 20", get(t, tl, 8, 20))
	require.NoError(t, s.Close(ctx))
}
