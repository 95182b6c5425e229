package lsm_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/wal/env"
)

// startBranch makes timeline 2 of timeline 1 at LSN 20, with a version of its own at 30.
func startBranch(t *testing.T, b *memBucket) (*lsm.Store, *lsm.Timeline) {
	s, tl := start(t, withBucket(t, b))
	apply(t, tl, put(1, 20, "Ia"))
	flush(t, tl)
	require.NoError(t, s.Branch(context.Background(), timelineID(1), timelineID(2), 20, nil))
	child := attach(t, s, timelineID(2))
	apply(t, child, put(1, 30, "Db"))
	return s, child
}

func isBranchsIndex(key string) bool { return strings.HasSuffix(key, timelineID(2).String()+"/index") }

// TestALeaveThatNobodyHeardOfEndsTheAttachment: the bucket says that the branch has left, so
// its parent may be deleted; nothing that was made from the index before may name that again.
func TestALeaveThatNobodyHeardOfEndsTheAttachment(t *testing.T) {
	ctx := context.Background()
	b := newMemBucket()
	s, child := startBranch(t, b)
	require.NoError(t, s.Branch(ctx, timelineID(2), timelineID(3), 30, nil))
	grandchild := attach(t, s, timelineID(3))
	var ill atomic.Bool
	ill.Store(true)
	b.setFate(func(_, key string) fate {
		if ill.Load() && isBranchsIndex(key) {
			return unheard
		}
		return succeeds
	})
	b.setBefore(func(op, key string, _ []byte) error {
		if ill.Load() && op == "get" && isBranchsIndex(key) {
			return errBucket
		}
		return nil
	})
	require.ErrorIs(t, child.DetachFromParent(ctx), errBucket)
	ill.Store(false)
	require.NoError(t, s.Delete(ctx, timelineID(1)))

	require.ErrorIs(t, child.Flush(ctx), lsm.ErrFenced)
	require.ErrorIs(t, child.Confirm(ctx), lsm.ErrFenced, "so it is taken back")
	require.NoError(t, child.Detach(ctx))
	child = attach(t, s, timelineID(2))
	require.True(t, child.Info().Parent.IsZero())
	require.NoError(t, child.DetachFromParent(ctx), "once more changes nothing")
	require.Equal(t, "Ia", get(t, child, 1, 20))
	apply(t, child, put(1, 30, "Db"))
	flush(t, child)
	require.NoError(t, child.Compact(ctx))
	require.Equal(t, "Ia+Db", get(t, child, 1, 30))
	require.Equal(t, "Ia+Db", get(t, grandchild, 1, 30))
	require.NoError(t, s.Close(ctx))

	s = withBucket(t, b).openSmall()
	require.Equal(t, "Ia+Db", get(t, attach(t, s, timelineID(2)), 1, 30))
	require.NoError(t, s.Close(ctx))
}

// TestALeaveOutlivesItsRequest: who asked for it goes while the index is written.
func TestALeaveOutlivesItsRequest(t *testing.T) {
	b := newMemBucket()
	s, child := startBranch(t, b)
	ctx, cancel := context.WithCancel(context.Background())
	b.setFate(func(_, key string) fate {
		if isBranchsIndex(key) && ctx.Err() == nil {
			cancel()
			return unheard
		}
		return succeeds
	})
	require.NoError(t, child.DetachFromParent(ctx))
	flush(t, child)
	require.NoError(t, s.Delete(context.Background(), timelineID(1)))
	require.Equal(t, "Ia+Db", get(t, child, 1, 30))
	require.NoError(t, s.Close(context.Background()))

	s = withBucket(t, b).openSmall()
	require.Equal(t, "Ia+Db", get(t, attach(t, s, timelineID(2)), 1, 30))
	require.NoError(t, s.Close(context.Background()))
}

// TestALeaveHoldsUpNobody: while a branch's index is written, others are made and attached.
func TestALeaveHoldsUpNobody(t *testing.T) {
	ctx := context.Background()
	b := newMemBucket()
	s, child := startBranch(t, b)
	impatient, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	b.setBefore(func(op, key string, _ []byte) error {
		if op == "put" && isBranchsIndex(key) {
			b.setBefore(nil)
			require.NoError(t, s.Branch(impatient, timelineID(2), timelineID(3), 30, nil))
			_, err := s.Attach(impatient, timelineID(3))
			require.NoError(t, err)
		}
		return nil
	})
	require.NoError(t, child.DetachFromParent(ctx))
	require.NoError(t, s.Delete(ctx, timelineID(1)))
	require.Equal(t, "Ia+Db", get(t, s.Attached(timelineID(3)), 1, 30))
	require.NoError(t, s.Close(ctx))
}

// onMap is a trace that is called by whoever is about to make a map that was left to be made.
type onMap struct {
	env.Trace
	call func()
}

func (o onMap) Cover(label string) {
	if label == "lsm map made when it was needed" {
		o.call()
	}
	o.Trace.Cover(label)
}

// TestALeaveMakesNoMapUnderTheLock: a branch whose parent has no layers of its own may be the
// first to need the map of those that the parent has from its parents.
func TestALeaveMakesNoMapUnderTheLock(t *testing.T) {
	ctx := context.Background()
	w := withBucket(t, newMemBucket())
	var s *lsm.Store
	var leaving atomic.Bool
	var made atomic.Int32
	w.env.Trace = onMap{w.env.Trace, func() {
		if leaving.Load() {
			made.Add(1)
			// Others hold the locks for a moment; who makes the map would until it is made.
			assert.Eventually(t, s.LocksAreFree, 10*time.Second, time.Millisecond)
		}
	}}
	s, tl := start(t, w)
	apply(t, tl, put(1, 20, "Ia"))
	flush(t, tl)
	require.NoError(t, s.Branch(ctx, timelineID(1), timelineID(2), 20, nil))
	attach(t, s, timelineID(2))
	require.NoError(t, s.Branch(ctx, timelineID(2), timelineID(3), 20, nil))
	grandchild := attach(t, s, timelineID(3))
	leaving.Store(true)
	require.NoError(t, grandchild.DetachFromParent(ctx))
	leaving.Store(false)
	require.Positive(t, made.Load())
	require.Equal(t, "Ia", get(t, grandchild, 1, 20))
	require.NoError(t, s.Close(ctx))
}
