package lsm_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/lsm/manifest"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env"
)

// raiseCutoff changes an index object as one who collects history does.
func raiseCutoff(t *testing.T, b *memBucket, key string, cutoff wal.LSN) {
	x, err := manifest.Decode(key, b.objects[key])
	require.NoError(t, err)
	x.Cutoff = cutoff
	x.Writer[0]++
	b.objects[key] = x.AppendTo(nil)
}

func TestABranchThatMeetsTheCollectorIsUndone(t *testing.T) {
	ctx := context.Background()
	b := newMemBucket()
	s, tl := start(t, withBucket(t, b))
	apply(t, tl, put(1, 20, "Ia"), put(1, 30, "Ib"))
	flush(t, tl)
	parent := b.keys("/root/")[0]
	b.setBefore(func(op, key string, _ []byte) error {
		if op == "put" && key != parent {
			raiseCutoff(t, b, parent, 25)
		}
		return nil
	})
	require.ErrorIs(t, s.Branch(ctx, timelineID(1), timelineID(2), 20, nil), lsm.ErrBelowHorizon)
	require.Empty(t, b.keys("/"+timelineID(2).String()+"/index"))
	b.setBefore(nil)
	require.ErrorIs(t, s.Branch(ctx, timelineID(1), timelineID(2), 24, nil), lsm.ErrBelowHorizon)
	require.NoError(t, s.Branch(ctx, timelineID(1), timelineID(2), 25, nil))
	require.NoError(t, s.Close(ctx))

	raiseCutoff(t, b, parent, 28)
	s = withBucket(t, b).openSmall()
	child := attach(t, s, timelineID(2))
	require.Equal(t, "Ia", get(t, child, 1, 25), "the branch point is kept")
	err := child.Get(ctx, []lsm.Read{{Key: key(1), LSN: 24}}, make([]lsm.Chain, 1))
	require.ErrorIs(t, err, lsm.ErrBelowHorizon)
	require.NoError(t, s.Close(ctx))
}

// TestALateIndexOfTheParentDoesNotFailAnAttach: a PUT of an attachment of the parent that has
// ended lands after a branch below the cutoff has read the parent's index, to write it.
func TestALateIndexOfTheParentDoesNotFailAnAttach(t *testing.T) {
	ctx := context.Background()
	b := newMemBucket()
	s, tl := start(t, withBucket(t, b))
	apply(t, tl, put(1, 20, "Ia"), put(1, 30, "Ib"))
	flush(t, tl)
	require.NoError(t, s.Branch(ctx, timelineID(1), timelineID(2), 25, nil))
	require.NoError(t, s.Close(ctx))
	parent := b.keys("/root/")[0]
	raiseCutoff(t, b, parent, 27)
	s = withBucket(t, b).openSmall()
	landed := false
	b.setBefore(func(op, key string, _ []byte) error {
		if op == "put" && key == parent && !landed {
			landed = true
			raiseCutoff(t, b, parent, 28)
		}
		return nil
	})
	require.Equal(t, "Ia", get(t, attach(t, s, timelineID(2)), 1, 25))
	require.True(t, landed)
	require.NoError(t, s.Close(ctx))
}

// startLayers makes timeline 1 with versions of key 1 at 20, 30, and so on, each in a layer.
func startLayers(t *testing.T, b *memBucket, versions ...string) (*lsm.Store, *lsm.Timeline) {
	s, tl := start(t, withBucket(t, b))
	for i, v := range versions {
		apply(t, tl, put(1, wal.LSN(20+10*i), v))
		flush(t, tl)
	}
	return s, tl
}

// collectLeased collects up to 50, while a lease keeps what is read at 35.
func collectLeased(t *testing.T, tl *lsm.Timeline) {
	ctx := context.Background()
	require.NoError(t, tl.Lease(ctx, lsm.LeaseID{1}, 35, time.Now().Add(time.Hour)))
	_, err := tl.Collect(ctx, lsm.CollectOptions{Cutoff: 50})
	require.NoError(t, err)
	require.NoError(t, tl.Release(ctx, lsm.LeaseID{1}))
}

// attachInMerge has timeline 2 arrive, and attaches it, when the next merge writes a layer.
func attachInMerge(t *testing.T, b *memBucket, s *lsm.Store, arrive func()) **lsm.Timeline {
	var branch *lsm.Timeline
	b.setBefore(func(op, key string, _ []byte) error {
		if op == "put" && strings.Contains(key, "/layers/") {
			b.setBefore(nil)
			arrive()
			branch = attach(t, s, timelineID(2))
		}
		return nil
	})
	return &branch
}

// branchLate makes timeline 2 of timeline 1 at an LSN, with an index that is there only when
// arrive is called.
func branchLate(t *testing.T, b *memBucket, s *lsm.Store, at wal.LSN) (arrive func()) {
	t.Helper()
	ctx := context.Background()
	var key string
	var late []byte
	b.setBefore(func(op, k string, body []byte) error {
		if op == "put" && strings.Contains(k, timelineID(2).String()) {
			key, late = k, body
			return &env.UnknownError{Err: errBucket}
		}
		return nil
	})
	require.Error(t, s.Branch(ctx, timelineID(1), timelineID(2), at, nil))
	b.setBefore(nil)
	return func() {
		_, err := b.Put(ctx, key, late, env.IfAbsent())
		require.NoError(t, err)
	}
}

// TestALateBranchIsNotKeptByOtherCollections: what a branch reads is kept if every collection
// kept it, not one before that dropped it, nor one after.
func TestALateBranchIsNotKeptByOtherCollections(t *testing.T) {
	ctx := context.Background()
	for name, is := range map[string]struct{ leased, again bool }{
		"before": {leased: true}, "after": {again: true}, "before and after": {true, true},
	} {
		t.Run(name, func(t *testing.T) {
			b := newMemBucket()
			s, tl := startLayers(t, b, "Ia", "Ib", "Ic", "Id", "Ie")
			collect := func(cutoff wal.LSN) {
				_, err := tl.Collect(ctx, lsm.CollectOptions{Cutoff: cutoff})
				require.NoError(t, err)
			}
			arrive := branchLate(t, b, s, 35)
			if is.leased {
				require.NoError(t, tl.Lease(ctx, lsm.LeaseID{1}, 35, time.Now().Add(time.Hour)))
				collect(45)
				require.NoError(t, tl.Release(ctx, lsm.LeaseID{1}))
			}
			collect(50)
			arrive()
			if is.again {
				collect(60)
			}
			_, err := s.Attach(ctx, timelineID(2))
			require.ErrorIs(t, err, lsm.ErrNoTimeline)
			require.Empty(t, b.keys("/"+timelineID(2).String()+"/index"))
			require.NoError(t, s.Close(ctx))
		})
	}
}

// TestAMergeIsMadeAgainForALateBranch: a lease kept what it reads; the merge that drops it
// had listed the branches when that arrived, and it was attached before the merge's end.
func TestAMergeIsMadeAgainForALateBranch(t *testing.T) {
	ctx := context.Background()
	b := newMemBucket()
	s, tl := startLayers(t, b, "Ia", "Ib", "Ic", "Id")
	arrive := branchLate(t, b, s, 35)
	collectLeased(t, tl)
	branch := attachInMerge(t, b, s, arrive)
	_, err := tl.Collect(ctx, lsm.CollectOptions{Cutoff: 50})
	require.NoError(t, err)
	require.NotNil(t, *branch)
	require.Equal(t, "Ib", get(t, *branch, 1, 35))
	require.NoError(t, s.Close(ctx))
}

// TestALateBranchFencesAParentElsewhere: its parent is attached in another store, where a
// merge that is under way does not know of the branch.
func TestALateBranchFencesAParentElsewhere(t *testing.T) {
	ctx := context.Background()
	b := newMemBucket()
	s, tl := startLayers(t, b, "Ia", "Ib", "Ic", "Id")
	arrive := branchLate(t, b, s, 35)
	collectLeased(t, tl)
	other := withBucket(t, b).openSmall()
	branch := attachInMerge(t, b, other, arrive)
	_, err := tl.Collect(ctx, lsm.CollectOptions{Cutoff: 50})
	require.ErrorIs(t, err, lsm.ErrFenced)
	require.NotNil(t, *branch)
	require.Equal(t, "Ib", get(t, *branch, 1, 35))

	tl = attach(t, other, timelineID(1))
	_, err = tl.Collect(ctx, lsm.CollectOptions{Cutoff: 50})
	require.NoError(t, err)
	require.Equal(t, "Ib", get(t, *branch, 1, 35))
	require.NoError(t, (*branch).Detach(ctx))
	require.NoError(t, tl.Detach(ctx))
	parent := b.keys("/root/" + timelineID(1).String())[0]
	require.Equal(t, "Ib", get(t, attach(t, other, timelineID(2)), 1, 35))
	fenced := b.objects[parent]
	require.NoError(t, other.Attached(timelineID(2)).Detach(ctx))
	attach(t, other, timelineID(2))
	require.Equal(t, fenced, b.objects[parent], "nobody has attached it since")
	require.NoError(t, s.Close(ctx))
	require.NoError(t, other.Close(ctx))
}

// TestALateBranchIsJudgedByItsParentsIndex: not by an attachment of the parent that was fenced
// and does not know.
func TestALateBranchIsJudgedByItsParentsIndex(t *testing.T) {
	ctx := context.Background()
	b := newMemBucket()
	s, _ := startLayers(t, b, "Ia", "Ib", "Ic", "Id")
	arrive := branchLate(t, b, s, 35)
	other := withBucket(t, b).openSmall()
	_, err := attach(t, other, timelineID(1)).Collect(ctx, lsm.CollectOptions{Cutoff: 50})
	require.NoError(t, err)
	arrive()
	_, err = s.Attach(ctx, timelineID(2))
	require.ErrorIs(t, err, lsm.ErrNoTimeline)
	require.NoError(t, s.Close(ctx))
	require.NoError(t, other.Close(ctx))
}

func TestABranchThatArrivesLateIsUndone(t *testing.T) {
	ctx := context.Background()
	b := newMemBucket()
	s, tl := startLayers(t, b, "Ia", "Ib", "Ic", "Id")
	require.Equal(t, "Ib", get(t, tl, 1, 35))
	require.NoError(t, s.Branch(ctx, timelineID(1), timelineID(3), 25, nil)) // which keeps Ia
	arrive := branchLate(t, b, s, 35)
	_, err := tl.Collect(ctx, lsm.CollectOptions{Cutoff: 50})
	require.NoError(t, err)
	arrive()
	_, err = s.Attach(ctx, timelineID(2))
	require.ErrorIs(t, err, lsm.ErrNoTimeline)
	require.Empty(t, b.keys("/"+timelineID(2).String()+"/index"))
	require.Equal(t, "Ia", get(t, attach(t, s, timelineID(3)), 1, 25), "one that was made, and is attached only now")
	require.NoError(t, s.Close(ctx))
}

// TestALateBranchWhoseParentIsGoneCanBeDeleted: nobody can attach it, and is told why. It is not
// deleted for that: an index that was lost may be found again.
func TestALateBranchWhoseParentIsGoneCanBeDeleted(t *testing.T) {
	ctx, b := t.Context(), newMemBucket()
	s, _ := startLayers(t, b, "Ia", "Ib")
	arrive := branchLate(t, b, s, 25)
	require.NoError(t, s.Delete(ctx, timelineID(1)))
	arrive()
	_, err := s.Attach(ctx, timelineID(2))
	require.ErrorIs(t, err, lsm.ErrNoTimeline)
	require.ErrorContains(t, err, "the parent of timeline "+timelineID(2).String()+" is gone")
	infos, err := s.List(ctx)
	require.NoError(t, err)
	require.Len(t, infos, 1)
	require.NoError(t, s.Delete(ctx, timelineID(2)))
	require.Empty(t, b.keys(""))
	require.NoError(t, s.Close(ctx))
}

// besideWorld is a branch that leaves its parent at 25, both with histories from 50 on only.
func besideWorld(t *testing.T) (*memBucket, *lsm.Store, *lsm.Timeline, *lsm.Timeline) {
	ctx, b := t.Context(), newMemBucket()
	s, tl := startLayers(t, b, "Ia", "Ib", "Ic", "Id")
	require.NoError(t, s.Branch(ctx, timelineID(1), timelineID(2), 25, nil))
	child := attach(t, s, timelineID(2))
	apply(t, child, put(2, 50, "Ix"))
	flush(t, child)
	for _, tl := range []*lsm.Timeline{tl, child} {
		_, err := tl.Collect(ctx, lsm.CollectOptions{Cutoff: 50})
		require.NoError(t, err)
	}
	return b, s, tl, child
}

// TestABranchWhereItsParentLeaves: an LSN that is read through a branch is branched from
// through it, though neither it nor its parent has history from there on; not through the
// parent, where nobody can read it.
func TestABranchWhereItsParentLeaves(t *testing.T) {
	ctx := t.Context()
	_, s, tl, child := besideWorld(t)
	require.Equal(t, "Ia", get(t, child, 1, 25))
	require.ErrorIs(t, s.Branch(ctx, timelineID(1), timelineID(3), 25, nil), lsm.ErrBelowHorizon)
	require.ErrorIs(t, s.Branch(ctx, timelineID(2), timelineID(3), 26, nil), lsm.ErrBelowHorizon)
	require.ErrorIs(t, s.Branch(ctx, timelineID(2), timelineID(3), 24, nil), lsm.ErrBelowHorizon)
	require.NoError(t, s.Branch(ctx, timelineID(2), timelineID(3), 25, nil))
	require.NoError(t, s.Delete(ctx, timelineID(2)))
	_, err := tl.Collect(ctx, lsm.CollectOptions{})
	require.NoError(t, err)
	again := attach(t, s, timelineID(3))
	require.Equal(t, timelineID(1), again.Info().Parent)
	require.Equal(t, "Ia", get(t, again, 1, 25), "kept for it alone")
	require.NoError(t, s.Close(ctx))
}

// TestABranchWhereItsParentHasLeft: the branch beside is deleted by another store, or is
// made a root, and what it read collected, between the first look and the second: the new one
// is undone.
func TestABranchWhereItsParentHasLeft(t *testing.T) {
	ctx := t.Context()
	for _, deleted := range []bool{true, false} {
		b, s, tl, _ := besideWorld(t)
		other := withBucket(t, b).openSmall()
		b.setBefore(func(op, key string, _ []byte) error {
			if op != "put" || !strings.Contains(key, "/"+timelineID(3).String()+"/") {
				return nil
			}
			b.setBefore(nil)
			if deleted {
				require.NoError(t, other.Delete(ctx, timelineID(2)))
			} else {
				index := b.keys("/" + timelineID(2).String() + "/index")[0]
				x, err := manifest.Decode(index, b.objects[index])
				require.NoError(t, err)
				x.Parent, x.BranchLSN = wal.TimelineID{}, 0
				b.objects[index] = x.AppendTo(nil)
			}
			_, err := tl.Collect(ctx, lsm.CollectOptions{})
			require.NoError(t, err)
			return nil
		})
		require.ErrorIs(t, s.Branch(ctx, timelineID(2), timelineID(3), 25, nil), lsm.ErrBelowHorizon)
		require.Empty(t, b.keys("/"+timelineID(3).String()+"/"))
		require.NoError(t, s.Close(ctx))
		require.NoError(t, other.Close(ctx))
	}
}
