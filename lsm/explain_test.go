package lsm_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/wal"
)

// flipByte changes a byte of an object; twice, and it is as it was.
func (b *memBucket) flipByte(object string, at int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.objects[object] = bytes.Clone(b.objects[object])
	b.objects[object][at] ^= 1
}

// flipAll changes every byte of an object; twice, and it is as it was.
func (b *memBucket) flipAll(object string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.objects[object] = bytes.Clone(b.objects[object])
	for at := range b.objects[object] {
		b.objects[object][at] ^= 1
	}
}

// withoutCaches opens a store that reads everything from the bucket.
func withoutCaches(t *testing.T, b *memBucket) *lsm.Store {
	return withBucket(t, b).openWith(withBucket(t, b).env, lsm.Options{
		CacheBytes: 1, BlockCacheBytes: 1, IndexCacheBytes: 1, FlushedMax: 32, HistoryBytes: -1, Redo: pagedRedo{}})
}

// TestExplainGoesRoundDamage: what can be read is told, and each object that cannot is named,
// be it the layer with what says which page versions are dead, or with those.
func TestExplainGoesRoundDamage(t *testing.T) {
	ctx, b := t.Context(), newMemBucket()
	s := withoutCaches(t, b)
	tl := create(t, s, 1, 10)
	apply(t, tl, put(forkKey, 20, "I2 at 20"))
	flush(t, tl)
	forks := b.keys("/layers/")[0]
	apply(t, tl, put(pageOfFork, 30, "Iold"), put(pageOfFork, 40, "Inew"))
	flush(t, tl)
	pages := slices.DeleteFunc(b.keys("/layers/"), func(k string) bool { return k == forks })[0]
	apply(t, tl, put(1, 41, "Iother"))
	flush(t, tl)
	explain := func() lsm.Explanation {
		t.Helper()
		e, err := tl.Explain(ctx, 41)
		require.NoError(t, err)
		require.Equal(t, 3, e.Layers)
		return e
	}
	bytesOf := func(values ...string) (n int64) {
		for _, v := range values {
			n += int64(18 + 8 + len(v))
		}
		return n
	}
	e := explain()
	require.Empty(t, e.Damage)
	require.Equal(t, bytesOf("I2 at 20", "Inew", "Iother"), e.Current)
	require.Equal(t, bytesOf("Iold"), e.Garbage)

	b.flipAll(forks)
	e = explain()
	require.Len(t, e.Damage, 1, "read in vain by two pages, and by itself")
	require.Contains(t, e.Damage[0], "corruption in "+forks)
	require.Equal(t, bytesOf("Inew", "Iother"), e.Current)
	require.Equal(t, bytesOf("Iold"), e.Garbage)

	b.flipAll(pages)
	e = explain()
	require.Len(t, e.Damage, 2)
	require.Contains(t, e.Damage[1], "corruption in "+pages)
	require.Equal(t, bytesOf("Iother"), e.Current)
	require.EqualValues(t, 1, e.Versions)

	b.flipAll(forks)
	b.flipAll(pages)
	b.mu.Lock()
	delete(b.objects, forks)
	b.mu.Unlock()
	e = explain()
	require.Len(t, e.Damage, 1)
	require.Contains(t, e.Damage[0], forks)
	require.Equal(t, bytesOf("Inew", "Iother"), e.Current)
	require.NoError(t, s.Close(ctx))
}

// TestExplainGoesRoundADamagedBranch: it is named, and the others have their share.
func TestExplainGoesRoundADamagedBranch(t *testing.T) {
	ctx, b := t.Context(), newMemBucket()
	s := withoutCaches(t, b)
	tl := create(t, s, 1, 10)
	apply(t, tl, put(1, 20, "Ia"), put(1, 30, "Ibb"), put(1, 40, "Iccc"))
	flush(t, tl)
	require.NoError(t, s.Branch(ctx, timelineID(1), timelineID(2), 25, nil))
	require.NoError(t, s.Branch(ctx, timelineID(1), timelineID(3), 35, nil))
	index := b.keys("/" + timelineID(3).String() + "/index")[0]
	b.flipByte(index, 100)
	e, err := tl.Explain(ctx, 40)
	require.NoError(t, err)
	require.Len(t, e.Damage, 1)
	require.Contains(t, e.Damage[0], "corruption in "+index)
	require.Equal(t, []lsm.PinCost{{Pin: lsm.Pin{LSN: 25, Branch: timelineID(2)}, Bytes: 28, Only: 28}}, e.Pins)
	require.EqualValues(t, 29, e.Garbage, "what the damaged one reads")
	b.flipByte(index, 100)
	e, err = tl.Explain(ctx, 40)
	require.NoError(t, err)
	require.Empty(t, e.Damage)
	require.Len(t, e.Pins, 2)
	require.Zero(t, e.Garbage)
	require.NoError(t, s.Close(ctx))
}

// TestTombstonesAtTheBottomAreGarbage: a root's hide nothing, a branch's hide what its
// parent has. What is called garbage is what a collection drops.
func TestTombstonesAtTheBottomAreGarbage(t *testing.T) {
	ctx, b := t.Context(), newMemBucket()
	s := withoutCaches(t, b)
	tl := create(t, s, 1, 10)
	apply(t, tl, put(0, 20, "T"), put(1, 20, "Ia"), put(1, 21, "T"), put(1, 22, "Ib"), put(1, 23, "T"), put(5, 24, "T"), put(0, 25, "T"))
	flush(t, tl)
	require.NoError(t, s.Branch(ctx, timelineID(1), timelineID(2), 22, nil))
	child := attach(t, s, timelineID(2))
	apply(t, child, put(1, 30, "T"))
	flush(t, child)
	for _, c := range []struct {
		tl      *lsm.Timeline
		cutoff  wal.LSN
		garbage int64
		current int64
	}{{tl, 25, 5*26 + 2, 26}, {child, 30, 0, 26}} {
		e, err := c.tl.Explain(ctx, c.cutoff)
		require.NoError(t, err)
		require.Equal(t, c.current, e.Current)
		done, err := c.tl.Collect(ctx, lsm.CollectOptions{Cutoff: c.cutoff})
		require.NoError(t, err)
		require.Equal(t, done.Dropped, e.Garbage)
		require.Equal(t, c.garbage, e.Garbage)
	}
	require.NoError(t, s.Close(ctx))
}
