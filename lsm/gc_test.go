package lsm_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/lsm/kv"
	"github.com/varvedb/varve/lsm/layer"
	"github.com/varvedb/varve/lsm/manifest"
	"github.com/varvedb/varve/lsm/remote"
	"github.com/varvedb/varve/wal"
)

// readable lists the versions of a history that any read can meet: the least that a
// collection of a root must keep, but for tombstones that hide nothing.
func readable(log []lsm.Version, cutoff wal.LSN, pins []wal.LSN) (kept []lsm.Version) {
	keep := make([]bool, len(log))
	for _, at := range append(slices.Clone(pins), cutoff) {
		done := map[lsm.Key]bool{}
		for i, v := range slices.Backward(log) {
			if v.LSN <= at && !done[v.Key] {
				keep[i] = true
				done[v.Key] = v.Kind != lsm.Delta
			}
		}
	}
	for i, v := range log {
		if keep[i] || v.LSN > cutoff {
			kept = append(kept, v)
		}
	}
	return kept
}

// hiding leaves out the tombstones of a root that hide nothing. It sorts.
func hiding(versions []lsm.Version) (kept []lsm.Version) {
	slices.SortFunc(versions, kv.Version.Compare)
	for i, v := range versions {
		if n := len(kept); v.Kind == lsm.Tombstone && (n == 0 || kept[n-1].Key != v.Key) {
			continue
		}
		kept = append(kept, versions[i])
	}
	return kept
}

// stored lists the versions in all layers that a timeline's index names.
func stored(t require.TestingT, b *memBucket, id wal.TimelineID) (versions []lsm.Version) {
	for _, object := range b.keys(id.String() + "/index") {
		x, err := manifest.Decode(object, b.objects[object])
		require.NoError(t, err)
		for i := range x.Layers {
			key := remote.LayerKey(tenant, x.Layers[i].ID)
			_, err := layer.Check(key, b.objects[key], func(v kv.Version) error {
				versions = append(versions, v)
				return nil
			})
			require.NoError(t, err)
		}
	}
	return versions
}

// TestCollectKeepsWhatIsReadableAndNoMore: after a collection the layers hold exactly
// the versions that some read can meet.
func TestCollectKeepsWhatIsReadableAndNoMore(t *testing.T) {
	ctx := context.Background()
	rapid.Check(t, func(t *rapid.T) {
		b := newMemBucket()
		e := hostEnv
		e.Bucket, e.FS = b, newMemFS()
		s, err := lsm.Open(ctx, e, lsm.Options{
			Tenant: tenant, HistoryBytes: -1, MemtableBytes: 1 << 20, BlockBytes: 100,
			// What is merged in the background would be seen half done.
			FlushedMax: 32, TierFanout: 64, LayerBytes: rapid.Int64Range(100, 3000).Draw(t, "layer bytes"),
		})
		require.NoError(t, err)
		s.SetKeyBytesMax(rapid.IntRange(0, 60).Draw(t, "key bytes max"))
		require.NoError(t, s.Create(ctx, timelineID(0), historyStart, nil))
		m := &twin{id: timelineID(0), at: historyStart, last: historyStart, leased: map[lsm.LeaseID]wal.LSN{}, batched: true}
		m.open = attach(t, s, m.id)
		h := &history{timelines: []*twin{m}}
		var pins []wal.LSN
		cutoff := historyStart
		for n := range rapid.IntRange(1, 8).Draw(t, "rounds") {
			h.applyMore(t)
			flush(t, m.open)
			at := wal.LSN(rapid.Uint64Range(uint64(cutoff), uint64(m.last)).Draw(t, "pin"))
			switch rapid.IntRange(0, 3).Draw(t, "act") {
			case 0:
				require.NoError(t, s.Branch(ctx, m.id, timelineID(n+1), at, nil))
				pins = append(pins, at)
			case 1:
				require.NoError(t, m.open.Lease(ctx, leaseID(n), at, time.Now().Add(time.Hour)))
				pins = append(pins, at)
			case 2:
				require.NoError(t, m.open.Compact(ctx))
			}
			if rapid.Bool().Draw(t, "collect") {
				cutoff = wal.LSN(rapid.Uint64Range(uint64(cutoff), uint64(m.last)).Draw(t, "cutoff"))
				_, err := m.open.Collect(ctx, lsm.CollectOptions{Cutoff: cutoff})
				require.NoError(t, err)
				require.Equal(t, hiding(readable(m.log, cutoff, pins)), hiding(stored(t, b, m.id)))
			}
		}
		require.NoError(t, s.Close(ctx))
	})
}

// TestAHotKeyIsCollected: a key with more versions than a merge takes into memory leaves no
// more behind than another.
func TestAHotKeyIsCollected(t *testing.T) {
	ctx := context.Background()
	b := newMemBucket()
	w := withBucket(t, b)
	s := w.openWith(w.env, lsm.Options{BlockBytes: 64, HistoryBytes: -1})
	s.SetKeyBytesMax(100)
	require.NoError(t, s.Create(ctx, timelineID(1), 10, nil))
	tl := attach(t, s, timelineID(1))
	for lsn := wal.LSN(11); lsn < 200; lsn++ {
		apply(t, tl, put(1, lsn, "Ivalue"))
		if lsn%50 == 0 {
			flush(t, tl)
			require.NoError(t, tl.Compact(ctx))
			_, err := tl.Collect(ctx, lsm.CollectOptions{Cutoff: lsn})
			require.NoError(t, err)
			require.Len(t, stored(t, b, timelineID(1)), 1)
		}
	}
	require.NoError(t, s.Close(ctx))
}

// TestAnIdleTimelineWritesNothing: when there is nothing left to merge or to collect,
// neither time nor waking the compaction makes a request to the bucket.
func TestAnIdleTimelineWritesNothing(t *testing.T) {
	ctx := context.Background()
	b := newMemBucket()
	w := withBucket(t, b)
	s := w.openWith(w.env, lsm.Options{BlockBytes: 64, FlushedMax: 2, HistoryBytes: 10, HistoryTime: 1})
	require.NoError(t, s.Create(ctx, timelineID(1), 10, nil))
	tl := attach(t, s, timelineID(1))
	for lsn := wal.LSN(11); lsn < 100; lsn++ {
		apply(t, tl, put(int(lsn%5), lsn, "Dvalue"))
		if lsn%10 == 0 {
			flush(t, tl)
		}
	}
	flush(t, tl)
	require.NoError(t, tl.Compact(ctx))
	requests := 0
	b.setBefore(func(string, string, []byte) error {
		requests++
		return nil
	})
	for range 3 {
		require.NoError(t, tl.Compact(ctx))
	}
	require.Zero(t, requests)
	b.setBefore(nil)
	require.NoError(t, s.Close(ctx))
}

// TestAnExplanationBeginsAgainWhenAnAncestorMerges: what its own keys have floors by is
// the parent's, whose layers are merged and deleted when they are about to be read.
func TestAnExplanationBeginsAgainWhenAnAncestorMerges(t *testing.T) {
	ctx := context.Background()
	b := newMemBucket()
	w := withBucket(t, b)
	opts := lsm.Options{Redo: textRedo{}, CacheBytes: 1}
	s := w.openWith(w.env, opts)
	require.NoError(t, s.Create(ctx, timelineID(1), 10, nil))
	tl := attach(t, s, timelineID(1))
	apply(t, tl, put(0, 20, "Ia"))
	flush(t, tl)
	apply(t, tl, put(0, 30, "Db"))
	flush(t, tl)
	require.NoError(t, s.Branch(ctx, timelineID(1), timelineID(2), 30, nil))
	child := attach(t, s, timelineID(2))
	apply(t, child, put(mortalKey, 40, "Ic"), put(mortalKey, 50, "Id"))
	flush(t, child)
	want, err := child.Explain(ctx, 50)
	require.NoError(t, err)
	require.EqualValues(t, 2, want.Versions)
	require.NoError(t, s.Close(ctx))

	s = w.openWith(w.env, opts) // with nothing in memory
	tl, child = attach(t, s, timelineID(1)), attach(t, s, timelineID(2))
	merged := false
	b.setBefore(func(op, key string, _ []byte) error {
		if op == "range" && strings.Contains(key, "/layers/"+timelineID(1).String()) {
			b.setBefore(nil)
			merged = true
			require.NoError(t, tl.Compact(ctx))
		}
		return nil
	})
	e, err := child.Explain(ctx, 50)
	require.NoError(t, err)
	require.True(t, merged)
	require.Equal(t, want, e)
	require.EqualValues(t, 1, child.Stats().ReadsAgain)
	require.NoError(t, s.Close(ctx))
}
