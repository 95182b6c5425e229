package lsm_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/wal"
)

// forkRedo has one fork, whose size is a key like any other: without it its pages are
// those of no fork.
type forkRedo struct{ textRedo }

var (
	sizeKey = key(0)
	pageKey = key(1)
)

func (forkRedo) Floor(ctx context.Context, k lsm.Key, _ wal.LSN, read func(context.Context, lsm.Key) (lsm.Chain, error)) (wal.LSN, bool, error) {
	if k == sizeKey {
		return 0, true, nil
	}
	size, err := read(ctx, sizeKey)
	return 0, err == nil && !size.Empty(), err
}

// TestMergesDoNotTrustAncestorsThatLag collects history of a branch whose parent has made
// the fork, and has to read its log again after a restart: until it has, the parent
// looks as if there were no fork.
func TestMergesDoNotTrustAncestorsThatLag(t *testing.T) {
	ctx := context.Background()
	e := hostEnv
	e.Bucket, e.FS = newMemBucket(), newMemFS()
	open := func() *lsm.Store {
		s, err := lsm.Open(ctx, e, lsm.Options{Tenant: tenant, Redo: forkRedo{}})
		require.NoError(t, err)
		return s
	}
	size := []lsm.Version{{Key: sizeKey, LSN: 20, Kind: lsm.Image, Value: []byte("one page")}}

	s := open()
	require.NoError(t, s.Create(ctx, timelineID(1), 10, nil))
	parent := attach(t, s, timelineID(1))
	require.NoError(t, parent.Apply(ctx, 20, size))
	require.NoError(t, s.Branch(ctx, timelineID(1), timelineID(2), 20, nil))
	child := attach(t, s, timelineID(2))
	require.NoError(t, child.Apply(ctx, 30, []lsm.Version{{Key: pageKey, LSN: 30, Kind: lsm.Image, Value: []byte("old")}}))
	require.NoError(t, child.Apply(ctx, 40, []lsm.Version{{Key: pageKey, LSN: 40, Kind: lsm.Image, Value: []byte("new")}}))
	require.NoError(t, child.Flush(ctx))
	require.NoError(t, s.Close(ctx))

	s = open()
	parent, child = attach(t, s, timelineID(1)), attach(t, s, timelineID(2))
	require.EqualValues(t, 10, parent.LastLSN(), "the parent's memtable is gone")
	_, err := child.Collect(ctx, lsm.CollectOptions{Cutoff: 40})
	require.NoError(t, err)
	require.NoError(t, parent.Apply(ctx, 20, size))
	chains := make([]lsm.Chain, 1)
	require.NoError(t, child.Get(ctx, []lsm.Read{{Key: pageKey, LSN: 40}}, chains))
	require.Equal(t, "new", string(chains[0].Base))
	require.NoError(t, s.Close(ctx))
}

// TestATombstoneOfALongKeyHidesWhatWentOutBeforeIt merges a key of more bytes than a merge
// has in memory.
func TestATombstoneOfALongKeyHidesWhatWentOutBeforeIt(t *testing.T) {
	ctx := context.Background()
	e := hostEnv
	e.Bucket, e.FS = newMemBucket(), newMemFS()
	s, err := lsm.Open(ctx, e, lsm.Options{Tenant: tenant, Redo: textRedo{}})
	require.NoError(t, err)
	require.NoError(t, s.Create(ctx, timelineID(1), 10, nil))
	tl := attach(t, s, timelineID(1))
	for _, v := range []lsm.Version{
		{Key: pageKey, LSN: 20, Kind: lsm.Image, Value: make([]byte, 9<<20)},
		{Key: pageKey, LSN: 30, Kind: lsm.Image, Value: make([]byte, 9<<20)},
		{Key: pageKey, LSN: 40, Kind: lsm.Tombstone},
	} {
		require.NoError(t, tl.Apply(ctx, v.LSN, []lsm.Version{v}))
	}
	require.NoError(t, tl.Flush(ctx))
	_, err = tl.Collect(ctx, lsm.CollectOptions{Cutoff: 40})
	require.NoError(t, err)
	chains := make([]lsm.Chain, 1)
	require.NoError(t, tl.Get(ctx, []lsm.Read{{Key: pageKey, LSN: 40}}, chains))
	require.True(t, chains[0].Empty(), "it was deleted at 40")
	require.NoError(t, s.Close(ctx))
}

// brokenRedo finds no sense in the changes of one page.
type brokenRedo struct{ textRedoWithoutFloors }

func (r brokenRedo) Apply(dst []byte, k lsm.Key, c *lsm.Chain) ([]byte, error) {
	if k == pageKey {
		return nil, wal.Corruptf("a delta", 0, "change", "one that makes sense", "none")
	}
	return r.textRedoWithoutFloors.Apply(dst, k, c)
}

// TestAPageThatCannotBeMadeHoldsUpNoMerge: who reads the page is told; the timeline's
// layers are merged, and other pages get their images.
func TestAPageThatCannotBeMadeHoldsUpNoMerge(t *testing.T) {
	ctx := context.Background()
	e := hostEnv
	e.Bucket, e.FS = newMemBucket(), newMemFS()
	s, err := lsm.Open(ctx, e, lsm.Options{Tenant: tenant, Redo: brokenRedo{}, ChainMax: 4})
	require.NoError(t, err)
	require.NoError(t, s.Create(ctx, timelineID(1), 10, nil))
	tl := attach(t, s, timelineID(1))
	for lsn := wal.LSN(20); lsn < 120; lsn += 10 {
		require.NoError(t, tl.Apply(ctx, lsn, []lsm.Version{
			{Key: pageKey, LSN: lsn, Kind: lsm.Delta, Value: []byte("b")},
			{Key: key(2), LSN: lsn, Kind: lsm.Delta, Value: []byte("c")},
		}))
	}
	require.NoError(t, tl.Flush(ctx))
	require.NoError(t, tl.Compact(ctx))
	require.EqualValues(t, 1, tl.Stats().Images)
	chains := make([]lsm.Chain, 2)
	require.NoError(t, tl.Get(ctx, []lsm.Read{{Key: pageKey, LSN: 110}, {Key: key(2), LSN: 110}}, chains))
	require.Len(t, chains[0].Deltas, 10, "its chain is as it was")
	require.Empty(t, chains[1].Deltas)
	require.NoError(t, s.Close(ctx))
}

// TestReadsThroughBranchesPayForImagesOfTheirParent: most of what a branch reads is its
// parent's, which nobody else may read; and none of many branches may read much.
func TestReadsThroughBranchesPayForImagesOfTheirParent(t *testing.T) {
	ctx := context.Background()
	_, s, parent := compacted(t, lsm.Options{MemtableBytes: 200_000, LayerBytes: 1 << 20, ChainMax: 64}, 100, 5000)
	reads, chains := make([]lsm.Read, 100), make([]lsm.Chain, 100)
	for i := range reads {
		reads[i] = lsm.Read{Key: key(i), LSN: parent.LastLSN()}
	}
	before := parent.Stats().Images
	for n := 2; n < 40; n++ {
		require.NoError(t, s.Branch(ctx, timelineID(1), timelineID(n), parent.LastLSN(), nil))
		require.NoError(t, attach(t, s, timelineID(n)).Get(ctx, reads, chains))
	}
	require.Eventually(t, func() bool { return parent.Stats().Images > before }, 10*time.Second, time.Millisecond)
	require.NoError(t, s.Close(ctx))
}
