package lsm_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/wal"
)

// TestABranchIsOnePutHoweverManyThereAre: making one asks the bucket for the same, whether
// it is the first or has a hundred siblings.
func TestABranchIsOnePutHoweverManyThereAre(t *testing.T) {
	ctx := context.Background()
	b := newMemBucket()
	s, tl := start(t, withBucket(t, b))
	apply(t, tl, put(1, 20, "Ia"))
	var asked []string
	b.setBefore(func(op, _ string, body []byte) error {
		asked = append(asked, fmt.Sprintf("%s %d", op, len(body)))
		return nil
	})
	for n := 2; n < 100; n++ {
		asked = nil
		require.NoError(t, s.Branch(ctx, timelineID(1), timelineID(n), 20, nil))
		require.Equal(t, []string{"range 0", "put 136", "range 0"}, asked, "the child's index, and before and after whether the parent's allows it")
	}
	require.NoError(t, s.Close(ctx))
}

// TestAnIdleBranchHasNoTask: only what is written to, or has something to merge, has any.
func TestAnIdleBranchHasNoTask(t *testing.T) {
	ctx := context.Background()
	s, tl := start(t, withBucket(t, newMemBucket()))
	apply(t, tl, put(1, 20, "Ia"))
	before := runtime.NumGoroutine()
	for n := 2; n < 50; n++ {
		require.NoError(t, s.Branch(ctx, timelineID(1), timelineID(n), 20, nil))
		attach(t, s, timelineID(n))
	}
	require.Less(t, runtime.NumGoroutine(), before+10)
	child := s.Attached(timelineID(2))
	require.Equal(t, "Ia", get(t, child, 1, 20))
	apply(t, child, put(1, 30, "Db"))
	flush(t, child)
	require.Equal(t, "Ia+Db", get(t, child, 1, 30))
	require.NoError(t, s.Close(ctx))
}

// TestReadsAreTheSameWheneverABranchsMapIsMade: a branch that was never read has no map of its
// ancestors' layers; those that are read see the same whenever theirs was made.
func TestReadsAreTheSameWheneverABranchsMapIsMade(t *testing.T) {
	ctx := context.Background()
	s, tl := start(t, withBucket(t, newMemBucket()))
	apply(t, tl, put(1, 20, "Ia"))
	flush(t, tl)
	apply(t, tl, put(1, 30, "Db"), put(1, 40, "Dc"))
	require.NoError(t, s.Branch(ctx, timelineID(1), timelineID(2), 30, nil))
	early := attach(t, s, timelineID(2))
	require.NoError(t, s.Branch(ctx, timelineID(2), timelineID(3), 30, nil))
	require.NoError(t, s.Branch(ctx, timelineID(1), timelineID(4), 20, nil))
	late, low := attach(t, s, timelineID(3)), attach(t, s, timelineID(4))
	check := func() {
		require.Equal(t, "Ia+Db", get(t, early, 1, 30))
		require.Equal(t, "Ia", get(t, early, 1, 20))
	}
	check()
	flush(t, tl) // one layer reaches above the branch points
	check()
	apply(t, tl, put(1, 50, "Dd"))
	flush(t, tl)
	check()
	require.NoError(t, tl.Compact(ctx))
	check()
	require.Equal(t, "Ia+Db", get(t, late, 1, 30))
	require.Equal(t, "Ia", get(t, low, 1, 20))
	require.Equal(t, "Ia+Db+Dc+Dd", get(t, tl, 1, 50))
	require.NoError(t, s.Close(ctx))
}

// TestABranchIsMadeAtALeaseBelowTheHorizon: a lease keeps its LSN whole, so a branch can
// be made there, and reads it when the lease has gone.
func TestABranchIsMadeAtALeaseBelowTheHorizon(t *testing.T) {
	ctx := context.Background()
	s, tl := start(t, withBucket(t, newMemBucket()))
	apply(t, tl, put(1, 20, "Ia"), put(1, 30, "Ib"), put(1, 40, "Ic"))
	collect := func(cutoff wal.LSN) lsm.Collection {
		flush(t, tl)
		c, err := tl.Collect(ctx, lsm.CollectOptions{Cutoff: cutoff})
		require.NoError(t, err)
		return c
	}
	require.NoError(t, tl.Lease(ctx, leaseID(1), 30, time.Now().Add(time.Hour)))
	collect(40)
	require.ErrorIs(t, s.Branch(ctx, timelineID(1), timelineID(2), 29, nil), lsm.ErrBelowHorizon)
	require.NoError(t, s.Branch(ctx, timelineID(1), timelineID(2), 30, nil))
	require.NoError(t, tl.Release(ctx, leaseID(1)))

	// What is merged from here on is merged for the branch, whose children were listed last
	// when it was not there.
	apply(t, tl, put(1, 50, "Id"))
	flush(t, tl)
	require.NoError(t, tl.Compact(ctx))
	collect(40)
	child := attach(t, s, timelineID(2))
	require.Equal(t, "Ib", get(t, child, 1, 30))
	require.ErrorIs(t, s.Branch(ctx, timelineID(1), timelineID(3), 30, nil), lsm.ErrBelowHorizon)
	require.NoError(t, s.Close(ctx))
}

// TestNobodyWaitsForTheLayersOfADeletedTimeline: while they are deleted, other timelines are
// made and attached, and the deleted one is for nobody.
func TestNobodyWaitsForTheLayersOfADeletedTimeline(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	b := newMemBucket()
	s, tl := start(t, withBucket(t, b))
	apply(t, tl, put(1, 20, "Ia"))
	flush(t, tl)
	require.NoError(t, s.Create(ctx, timelineID(2), 10, nil))
	met := false
	b.setBefore(func(op, key string, _ []byte) error {
		if op != "delete" {
			return nil
		}
		require.Contains(t, key, "/layers/")
		b.setBefore(nil)
		met = true
		_, err := s.Attach(ctx, timelineID(2))
		require.NoError(t, err)
		require.NoError(t, s.Branch(ctx, timelineID(2), timelineID(3), 10, nil))
		_, err = s.Attach(ctx, timelineID(1))
		require.ErrorIs(t, err, lsm.ErrNoTimeline)
		require.ErrorIs(t, s.Branch(ctx, timelineID(1), timelineID(4), 20, nil), lsm.ErrNoTimeline)
		require.ErrorIs(t, s.Create(ctx, timelineID(1), 10, nil), lsm.ErrTimelineExists)
		require.NoError(t, s.Delete(ctx, timelineID(1)), "by another at the same time")
		return nil
	})
	require.NoError(t, s.Delete(ctx, timelineID(1)))
	require.True(t, met)
	ids, err := s.Timelines(ctx)
	require.NoError(t, err)
	require.Equal(t, []wal.TimelineID{timelineID(2), timelineID(3)}, ids)
	require.Empty(t, b.keys("/layers/"))
	require.NoError(t, s.Close(ctx))
}
