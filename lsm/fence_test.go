package lsm_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/lsm/manifest"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env"
)

// start makes a root timeline and attaches it.
func start(t *testing.T, w *world) (*lsm.Store, *lsm.Timeline) {
	s := w.openSmall()
	require.NoError(t, s.Create(context.Background(), timelineID(1), 10, nil))
	return s, attach(t, s, timelineID(1))
}

func TestOfTwoAttachmentsOnlyTheLaterCommits(t *testing.T) {
	ctx := context.Background()
	b := newMemBucket()
	oldStore, old := start(t, withBucket(t, b))
	apply(t, old, put(1, 20, "Ia"))
	flush(t, old)
	apply(t, old, put(1, 30, "Db"), put(1, 40, "Dc"))

	newStore := withBucket(t, b).openSmall()
	young := attach(t, newStore, timelineID(1))
	require.Equal(t, wal.LSN(20), young.LastLSN())
	require.Equal(t, wal.Generation(2), young.Generation())

	// The zombie's layer lands, and may be swept at once; its index does not.
	require.ErrorIs(t, old.Flush(ctx), lsm.ErrFenced)
	require.Equal(t, wal.LSN(20), old.DurableLSN())
	require.NotEmpty(t, b.keys("-00000001-000000"))
	require.ErrorIs(t, old.Apply(ctx, 50, nil), lsm.ErrFenced)
	require.ErrorIs(t, old.SetMeta(ctx, nil), lsm.ErrFenced)
	require.ErrorIs(t, old.Flush(ctx), lsm.ErrFenced)
	require.ErrorIs(t, old.WaitLSN(ctx, 50), lsm.ErrFenced)
	require.Equal(t, "Ia+Db+Dc", get(t, old, 1, 40), "it may serve what it has")

	// The young one writes layers of the same ranges, with other content.
	apply(t, young, put(1, 30, "Dx"), put(1, 40, "Dy"))
	flush(t, young)
	require.Equal(t, "Ia+Dx+Dy", get(t, young, 1, 40))
	require.Len(t, b.keys("-00000002-000000"), 1)

	require.NoError(t, oldStore.Close(ctx))
	require.NoError(t, newStore.Close(ctx))
	last := withBucket(t, b).openSmall()
	require.Equal(t, "Ia+Dx+Dy", get(t, attach(t, last, timelineID(1)), 1, 40))
	require.NoError(t, last.Close(ctx))
}

func TestALateIndexPutOfAFencedWriterDoesNothing(t *testing.T) {
	ctx := context.Background()
	b := newMemBucket()
	oldStore, old := start(t, withBucket(t, b))
	apply(t, old, put(1, 20, "Ia"))
	// The old writer's index PUT hangs in the network.
	b.setFate(func(_, key string) fate {
		if strings.HasSuffix(key, "index") {
			return arrivesLate
		}
		return succeeds
	})
	reads := 0
	b.setBefore(func(op, key string, _ []byte) error {
		if op != "get" {
			return nil
		}
		// Instead of settling, the old writer is cut off and a young one attaches.
		if reads++; reads == 1 {
			b.mu.Lock()
			late := b.late
			b.late, b.fate = nil, nil
			b.mu.Unlock()
			b.setBefore(nil)
			youngStore := withBucket(t, b).openSmall()
			young := attach(t, youngStore, timelineID(1))
			require.Equal(t, wal.LSN(10), young.LastLSN())
			b.mu.Lock()
			for _, fn := range late {
				fn()
			}
			b.mu.Unlock()
			apply(t, young, put(1, 20, "Ib"))
			flush(t, young)
			require.NoError(t, youngStore.Close(ctx))
		}
		return nil
	})
	require.ErrorIs(t, old.Flush(ctx), lsm.ErrFenced)
	require.NoError(t, oldStore.Close(ctx))
	last := withBucket(t, b).openSmall()
	require.Equal(t, "Ib", get(t, attach(t, last, timelineID(1)), 1, 20))
	require.NoError(t, last.Close(ctx))
}

func TestEveryFateOfEveryPutEndsWellOrWithAnError(t *testing.T) {
	ctx := context.Background()
	for bad := refused; bad < fates; bad++ {
		for nth := range 8 {
			t.Run(fmt.Sprintf("fate %d of call %d", bad, nth), func(t *testing.T) {
				b := newMemBucket()
				calls := 0
				b.setFate(func(string, string) fate {
					if calls++; calls-1 == nth {
						return bad
					}
					return succeeds
				})
				w := withBucket(t, b)
				s := w.openSmall()
				require.NoError(t, untilKnown(func() error { return s.Create(ctx, timelineID(1), 10, nil) }))
				tl := attach(t, s, timelineID(1))
				apply(t, tl, put(1, 20, "Ia"))
				flush(t, tl)
				require.NoError(t, untilKnown(func() error { return s.Branch(ctx, timelineID(1), timelineID(2), 20, nil) }))
				require.NoError(t, tl.SetMeta(ctx, []byte("meta")))
				apply(t, tl, put(1, 30, "Db"))
				flush(t, tl)
				require.Greater(t, calls, nth)
				require.NoError(t, s.Close(ctx))

				s = w.openSmall()
				tl = attach(t, s, timelineID(1))
				require.Equal(t, wal.Generation(2), tl.Generation())
				require.Equal(t, []byte("meta"), tl.Meta())
				require.Equal(t, "Ia+Db", get(t, tl, 1, 30))
				require.Equal(t, "Ia", get(t, attach(t, s, timelineID(2)), 1, 20))
				require.NoError(t, s.Delete(ctx, timelineID(2)))
				require.NoError(t, s.Close(ctx))
			})
		}
	}
}

// A request to create a timeline's index that hangs in the network is the only one: or it
// would bring the timeline back when that was made by another and deleted since.
func TestALateCreationDoesNotBringADeletedTimelineBack(t *testing.T) {
	ctx := context.Background()
	b := newMemBucket()
	s, tl := start(t, withBucket(t, b))
	apply(t, tl, put(1, 20, "Ia"))
	flush(t, tl)
	sent := 0
	b.setFate(func(op, key string) fate {
		if op == "put" && strings.HasSuffix(key, "index") {
			if sent++; sent == 1 {
				return arrivesLate
			}
		}
		return succeeds
	})
	var hanging []func()
	b.setBefore(func(op, _ string, _ []byte) error {
		b.mu.Lock()
		defer b.mu.Unlock()
		hanging = append(hanging, b.late...)
		b.late = nil
		return nil
	})
	err := s.Branch(ctx, timelineID(1), timelineID(2), 20, nil)
	require.True(t, env.IsUnknown(err), "%v", err)
	require.Equal(t, 1, sent)
	require.Len(t, hanging, 1)
	_, err = s.Attach(ctx, timelineID(2))
	require.ErrorIs(t, err, lsm.ErrNoTimeline)
	hanging[0]()
	require.Equal(t, "Ia", get(t, attach(t, s, timelineID(2)), 1, 20), "it came to be after all")
	require.NoError(t, s.Delete(ctx, timelineID(2)))
	_, err = s.Attach(ctx, timelineID(2))
	require.ErrorIs(t, err, lsm.ErrNoTimeline)
	require.NoError(t, s.Close(ctx))
}

func TestAFailedCommitThatLandedIsBuiltOn(t *testing.T) {
	ctx := context.Background()
	b := newMemBucket()
	w := withBucket(t, b)
	s, tl := start(t, w)
	apply(t, tl, put(1, 20, "Ia"))
	// The PUT lands unheard, and the bucket cannot be read for as long as the
	// store tries to settle it.
	var ill atomic.Bool
	ill.Store(true)
	b.setFate(func(_, key string) fate {
		if ill.Load() && strings.HasSuffix(key, "index") {
			return unheard
		}
		return succeeds
	})
	b.setBefore(func(op, _ string, _ []byte) error {
		if ill.Load() && op == "get" {
			return errBucket
		}
		return nil
	})
	err := tl.Flush(ctx)
	require.ErrorIs(t, err, errBucket)
	require.NotErrorIs(t, err, lsm.ErrFenced)
	require.Equal(t, wal.LSN(10), tl.DurableLSN())
	ill.Store(false)
	require.NoError(t, tl.Flush(ctx))
	require.Equal(t, wal.LSN(20), tl.DurableLSN())
	require.NoError(t, s.Close(ctx))
}

// TestACollectionThatLandedUnheardIsUndone: the next index names the inputs again, which are
// there, and has the cutoff that was before.
func TestACollectionThatLandedUnheardIsUndone(t *testing.T) {
	ctx := context.Background()
	b := newMemBucket()
	s, tl := start(t, withBucket(t, b))
	for i, v := range []string{"Ia", "Ib", "Ic"} {
		apply(t, tl, put(1, wal.LSN(20+10*i), v))
		flush(t, tl)
	}
	index := b.keys("/root/")[0]
	inBucket := func() *manifest.Index {
		x, err := manifest.Decode(index, b.objects[index])
		require.NoError(t, err)
		return x
	}
	var ill atomic.Bool
	landing := 0 // which PUT of the index from now on is the unheard one
	b.setFate(func(_, key string) fate {
		if key != index || landing == 0 {
			return succeeds
		}
		if landing--; landing > 0 {
			return succeeds
		}
		ill.Store(true)
		return unheard
	})
	b.setBefore(func(op, _ string, _ []byte) error {
		if ill.Load() && op == "get" {
			return errBucket
		}
		return nil
	})
	setMeta := func() {
		ill.Store(false)
		require.NoError(t, tl.SetMeta(ctx, nil))
	}
	landing = 1
	_, err := tl.Collect(ctx, lsm.CollectOptions{Cutoff: 35})
	require.ErrorIs(t, err, errBucket)
	require.Equal(t, wal.LSN(35), inBucket().Cutoff)
	setMeta()
	require.Equal(t, wal.LSN(10), inBucket().Cutoff)
	require.Equal(t, "Ia", get(t, tl, 1, 25))

	landing = 2 // the cutoff is heard, and the merge is not
	before := inBucket().Layers
	_, err = tl.Collect(ctx, lsm.CollectOptions{Cutoff: 35})
	require.ErrorIs(t, err, errBucket)
	require.Len(t, inBucket().Dead, len(before))
	setMeta()
	require.Equal(t, before, inBucket().Layers)
	require.Equal(t, wal.LSN(35), inBucket().Cutoff)
	_, err = tl.Collect(ctx, lsm.CollectOptions{Cutoff: 35})
	require.NoError(t, err)
	require.Equal(t, "Ib", get(t, tl, 1, 35))
	require.Equal(t, "Ic", get(t, tl, 1, 40))
	require.NoError(t, s.Close(ctx))
}

func TestACrashBetweenLayerAndIndexLosesNothingDurable(t *testing.T) {
	ctx := context.Background()
	b := newMemBucket()
	w := withBucket(t, b)
	s, tl := start(t, w)
	apply(t, tl, put(1, 20, "Ia"))
	flush(t, tl)
	apply(t, tl, put(1, 30, "Db"))
	b.setFate(func(_, key string) fate {
		if strings.HasSuffix(key, "index") {
			return refused
		}
		return succeeds
	})
	require.ErrorIs(t, tl.Flush(ctx), errBucket)
	require.Len(t, b.keys(".delta"), 2)
	require.NoError(t, s.Close(ctx))

	b.setFate(nil)
	s = withBucket(t, b).openSmall()
	tl = attach(t, s, timelineID(1))
	require.Equal(t, wal.LSN(20), tl.LastLSN())
	require.Equal(t, "Ia", get(t, tl, 1, 20))
	apply(t, tl, put(1, 30, "Db"))
	flush(t, tl)
	require.Equal(t, "Ia+Db", get(t, tl, 1, 30))
	require.NoError(t, tl.Compact(ctx))
	require.Len(t, b.keys(".delta"), 1, "the orphan is swept, and what the index names is merged")
	require.Equal(t, "Ia+Db", get(t, tl, 1, 30))
	require.NoError(t, s.Close(ctx))
}

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

// TestABranchIsMadeUnderTheParentsGeneration: who took the parent over looks for its
// children after that, so a branch made later by the one before it would be nobody's.
func TestABranchIsMadeUnderTheParentsGeneration(t *testing.T) {
	ctx := context.Background()
	b := newMemBucket()
	s, tl := start(t, withBucket(t, b))
	require.NoError(t, s.Branch(ctx, timelineID(1), timelineID(2), 20, nil))
	require.NoError(t, tl.Confirm(ctx))
	other := withBucket(t, b).openSmall()
	require.ErrorIs(t, other.Branch(ctx, timelineID(1), timelineID(3), 20, nil), lsm.ErrNotAttached)
	attach(t, other, timelineID(1))
	require.ErrorIs(t, s.Branch(ctx, timelineID(1), timelineID(3), 20, nil), lsm.ErrFenced)
	require.NoError(t, other.Branch(ctx, timelineID(1), timelineID(3), 20, nil))
	require.ErrorIs(t, tl.Confirm(ctx), lsm.ErrFenced)
	require.ErrorIs(t, tl.Apply(ctx, 50, nil), lsm.ErrFenced, "it knows now")

	// Taken over between the child's index and the second look: undone.
	b.setBefore(func(op, key string, _ []byte) error {
		if op == "put" && strings.Contains(key, timelineID(4).String()) {
			b.setBefore(nil)
			attach(t, withBucket(t, b).openSmall(), timelineID(1))
		}
		return nil
	})
	require.ErrorIs(t, other.Branch(ctx, timelineID(1), timelineID(4), 20, nil), lsm.ErrFenced)
	require.Empty(t, b.keys("/"+timelineID(4).String()+"/index"))
	require.NoError(t, s.Close(ctx))
	require.NoError(t, other.Close(ctx))
}

func TestADeleteThatMeetsABranchGivesWay(t *testing.T) {
	ctx := context.Background()
	b := newMemBucket()
	w := withBucket(t, b)
	s, tl := start(t, w)
	apply(t, tl, put(1, 20, "Ia"))
	flush(t, tl)
	other := withBucket(t, b).openSmall()
	attach(t, other, timelineID(1))
	var deleting atomic.Bool
	b.setBefore(func(op, key string, body []byte) error {
		if deleting.Load() || op != "put" {
			return nil
		}
		if x, err := manifest.Decode(key, body); err == nil && x.State == manifest.Deleting {
			deleting.Store(true)
			require.NoError(t, other.Branch(ctx, timelineID(1), timelineID(2), 20, nil))
		}
		return nil
	})
	var children *lsm.HasChildrenError
	require.ErrorAs(t, s.Delete(ctx, timelineID(1)), &children)
	require.True(t, deleting.Load())
	require.Equal(t, "Ia", get(t, attach(t, s, timelineID(1)), 1, 20), "it lives on")
	require.Equal(t, "Ia", get(t, attach(t, s, timelineID(2)), 1, 20))
	require.NoError(t, s.Close(ctx))
	require.NoError(t, other.Close(ctx))
}

func TestABucketThatIsAwayIsNoChild(t *testing.T) {
	ctx := context.Background()
	b := newMemBucket()
	s, tl := start(t, withBucket(t, b))
	apply(t, tl, put(1, 20, "Ia"))
	flush(t, tl)
	require.NoError(t, s.Branch(ctx, timelineID(1), timelineID(2), 20, nil))
	require.NoError(t, attach(t, s, timelineID(2)).DetachFromParent(ctx))
	away := errors.New("the bucket is away")
	b.setBefore(func(op, key string, _ []byte) error {
		if op == "get" && strings.Contains(key, timelineID(2).String()) {
			return away
		}
		return nil
	})
	err := s.Delete(ctx, timelineID(1))
	require.ErrorIs(t, err, away)
	var children *lsm.HasChildrenError
	require.False(t, errors.As(err, &children), "%v", err)
	b.setBefore(nil)
	require.NoError(t, s.Delete(ctx, timelineID(1)))
	require.Equal(t, "Ia", get(t, s.Attached(timelineID(2)), 1, 20))
	require.NoError(t, s.Close(ctx))
}

// TestARefusedDeletionThatIsNotUndoneIsUndoneLater: the PUT that makes the timeline live
// again fails for good. Whoever attaches it does that.
func TestARefusedDeletionThatIsNotUndoneIsUndoneLater(t *testing.T) {
	ctx := context.Background()
	b := newMemBucket()
	s, tl := start(t, withBucket(t, b))
	apply(t, tl, put(1, 20, "Ia"))
	flush(t, tl)
	other := withBucket(t, b).openSmall()
	attach(t, other, timelineID(1))
	var deleting atomic.Bool
	b.setBefore(func(op, key string, body []byte) error {
		if op != "put" {
			return nil
		}
		switch x, err := manifest.Decode(key, body); {
		case err != nil || x.Timeline != timelineID(1):
		case x.State == manifest.Deleting && !deleting.Load():
			deleting.Store(true)
			require.NoError(t, other.Branch(ctx, timelineID(1), timelineID(2), 20, nil))
		case x.State == manifest.Live:
			return errBucket
		}
		return nil
	})
	var children *lsm.HasChildrenError
	require.ErrorAs(t, s.Delete(ctx, timelineID(1)), &children)
	require.True(t, deleting.Load())
	b.setBefore(nil)
	require.Equal(t, "Ia", get(t, attach(t, s, timelineID(1)), 1, 20), "it lives on")
	require.Equal(t, "Ia", get(t, attach(t, s, timelineID(2)), 1, 20))
	require.NoError(t, s.Branch(ctx, timelineID(1), timelineID(3), 20, nil))
	require.NoError(t, s.Close(ctx))
	require.NoError(t, other.Close(ctx))
}

// TestADeletionThatIsNotDecidedChangesNothing: wherever it fails before, the timeline lives
// on for who makes a branch of it, or else for who attaches it. After that nobody can.
func TestADeletionThatIsNotDecidedChangesNothing(t *testing.T) {
	ctx := context.Background()
	lists := func(n int) func(string, manifest.State) bool {
		return func(op string, _ manifest.State) bool {
			if op == "list" {
				n--
			}
			return op == "list" && n == 0
		}
	}
	puts := func(state manifest.State) func(string, manifest.State) bool {
		return func(op string, to manifest.State) bool { return op == "put" && to == state }
	}
	for name, is := range map[string]struct {
		refuses func(op string, to manifest.State) bool
		branch  error // of it, before it is attached
	}{
		"first look for children":  {lists(2), lsm.ErrNotAttached},
		"begun":                    {puts(manifest.Deleting), lsm.ErrNotAttached},
		"second look for children": {lists(3), lsm.ErrNotAttached},
		"decided":                  {puts(manifest.Doomed), lsm.ErrNoTimeline},
	} {
		t.Run(name, func(t *testing.T) {
			b := newMemBucket()
			s, tl := start(t, withBucket(t, b))
			apply(t, tl, put(1, 20, "Ia"))
			flush(t, tl)
			b.setBefore(func(op, key string, body []byte) error {
				var to manifest.State
				if x, err := manifest.Decode(key, body); err == nil {
					to = x.State
				}
				if is.refuses(op, to) {
					return errBucket
				}
				return nil
			})
			require.ErrorIs(t, s.Delete(ctx, timelineID(1)), errBucket)
			b.setBefore(nil)
			require.ErrorIs(t, s.Branch(ctx, timelineID(1), timelineID(2), 20, nil), is.branch)
			require.Equal(t, "Ia", get(t, attach(t, s, timelineID(1)), 1, 20))
			require.NoError(t, s.Branch(ctx, timelineID(1), timelineID(2), 20, nil))
			require.NoError(t, s.Close(ctx))
		})
	}
}

// TestWhatIsBeingDeletedIsNotAttached: once it is certain that it has no children. Before
// that it may be; and who finds it live again, deletes nothing of it.
func TestWhatIsBeingDeletedIsNotAttached(t *testing.T) {
	ctx := context.Background()
	for _, decided := range []bool{false, true} {
		b := newMemBucket()
		s, tl := start(t, withBucket(t, b))
		apply(t, tl, put(1, 20, "Ia"))
		flush(t, tl)
		other := withBucket(t, b).openSmall()
		b.setBefore(func(op, key string, body []byte) error {
			if x, err := manifest.Decode(key, body); op == "put" && err == nil && x.State == manifest.Doomed && !decided {
				return errBucket
			}
			if op == "delete" {
				return errBucket
			}
			return nil
		})
		require.ErrorIs(t, s.Delete(ctx, timelineID(1)), errBucket)
		b.setBefore(nil)
		_, err := other.Attach(ctx, timelineID(1))
		if !decided {
			require.NoError(t, err)
			require.Equal(t, "Ia", get(t, other.Attached(timelineID(1)), 1, 20))
		} else {
			require.ErrorIs(t, err, lsm.ErrNoTimeline)
		}
		require.NoError(t, s.Delete(ctx, timelineID(1)), "it is taken up again")
		require.Empty(t, b.keys(""))
		require.NoError(t, s.Close(ctx))
		require.NoError(t, other.Close(ctx))
	}
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
			s, tl := start(t, withBucket(t, b))
			for i, v := range []string{"Ia", "Ib", "Ic", "Id", "Ie"} {
				apply(t, tl, put(1, wal.LSN(20+10*i), v))
				flush(t, tl)
			}
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
	s, tl := start(t, withBucket(t, b))
	for i, v := range []string{"Ia", "Ib", "Ic", "Id"} {
		apply(t, tl, put(1, wal.LSN(20+10*i), v))
		flush(t, tl)
	}
	arrive := branchLate(t, b, s, 35)
	require.NoError(t, tl.Lease(ctx, lsm.LeaseID{1}, 35, time.Now().Add(time.Hour)))
	_, err := tl.Collect(ctx, lsm.CollectOptions{Cutoff: 50})
	require.NoError(t, err)
	require.NoError(t, tl.Release(ctx, lsm.LeaseID{1}))
	var branch *lsm.Timeline
	b.setBefore(func(op, key string, _ []byte) error {
		if op == "put" && strings.Contains(key, "/layers/") {
			b.setBefore(nil)
			arrive()
			branch = attach(t, s, timelineID(2))
		}
		return nil
	})
	_, err = tl.Collect(ctx, lsm.CollectOptions{Cutoff: 50})
	require.NoError(t, err)
	require.NotNil(t, branch)
	require.Equal(t, "Ib", get(t, branch, 1, 35))
	require.NoError(t, s.Close(ctx))
}

// TestALateBranchFencesAParentElsewhere: its parent is attached in another store, where a
// merge that is under way does not know of the branch.
func TestALateBranchFencesAParentElsewhere(t *testing.T) {
	ctx := context.Background()
	b := newMemBucket()
	s, tl := start(t, withBucket(t, b))
	for i, v := range []string{"Ia", "Ib", "Ic", "Id"} {
		apply(t, tl, put(1, wal.LSN(20+10*i), v))
		flush(t, tl)
	}
	arrive := branchLate(t, b, s, 35)
	require.NoError(t, tl.Lease(ctx, lsm.LeaseID{1}, 35, time.Now().Add(time.Hour)))
	_, err := tl.Collect(ctx, lsm.CollectOptions{Cutoff: 50})
	require.NoError(t, err)
	require.NoError(t, tl.Release(ctx, lsm.LeaseID{1}))
	other := withBucket(t, b).openSmall()
	var branch *lsm.Timeline
	b.setBefore(func(op, key string, _ []byte) error {
		if op == "put" && strings.Contains(key, "/layers/") {
			b.setBefore(nil)
			arrive()
			branch = attach(t, other, timelineID(2))
		}
		return nil
	})
	_, err = tl.Collect(ctx, lsm.CollectOptions{Cutoff: 50})
	require.ErrorIs(t, err, lsm.ErrFenced)
	require.NotNil(t, branch)
	require.Equal(t, "Ib", get(t, branch, 1, 35))

	tl = attach(t, other, timelineID(1))
	_, err = tl.Collect(ctx, lsm.CollectOptions{Cutoff: 50})
	require.NoError(t, err)
	require.Equal(t, "Ib", get(t, branch, 1, 35))
	require.NoError(t, branch.Detach(ctx))
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
	s, tl := start(t, withBucket(t, b))
	for i, v := range []string{"Ia", "Ib", "Ic", "Id"} {
		apply(t, tl, put(1, wal.LSN(20+10*i), v))
		flush(t, tl)
	}
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

// TestADamagedIndexMayBeAChild: nothing is deleted above it, and that it is a child is not
// said. Nor does it keep what is to be deleted from living on.
func TestADamagedIndexMayBeAChild(t *testing.T) {
	ctx := context.Background()
	b := newMemBucket()
	s, tl := start(t, withBucket(t, b))
	apply(t, tl, put(1, 20, "Ia"))
	flush(t, tl)
	require.NoError(t, s.Branch(ctx, timelineID(1), timelineID(2), 20, nil))
	require.NoError(t, attach(t, s, timelineID(2)).DetachFromParent(ctx))
	flip := func() {
		for _, key := range b.keys("/" + timelineID(2).String() + "/index") {
			b.mu.Lock()
			b.objects[key] = bytes.Clone(b.objects[key])
			b.objects[key][100] ^= 1
			b.mu.Unlock()
		}
	}
	refused := func() {
		err := s.Delete(ctx, timelineID(1))
		require.ErrorIs(t, err, wal.ErrCorruption)
		var children *lsm.HasChildrenError
		require.False(t, errors.As(err, &children), "%v", err)
	}
	flip()
	refused()
	flip()
	require.NoError(t, tl.Detach(ctx))
	b.setBefore(func(op, key string, body []byte) error {
		if x, err := manifest.Decode(key, body); op == "put" && err == nil && x.State == manifest.Deleting {
			b.setBefore(nil)
			flip()
		}
		return nil
	})
	refused()
	require.Equal(t, "Ia", get(t, attach(t, s, timelineID(1)), 1, 20), "it lives on")
	flip()
	require.NoError(t, s.Delete(ctx, timelineID(1)))
	require.Equal(t, "Ia", get(t, s.Attached(timelineID(2)), 1, 20))
	require.NoError(t, s.Close(ctx))
}

// TestAnIndexOfAnotherTimelineMayBeAChild: its bytes are sound and name no such parent, but
// they are not those of the branch that the object is of.
func TestAnIndexOfAnotherTimelineMayBeAChild(t *testing.T) {
	ctx := context.Background()
	b := newMemBucket()
	s, tl := start(t, withBucket(t, b))
	apply(t, tl, put(1, 20, "Ia"), put(1, 30, "Ib"), put(1, 40, "Ic"))
	flush(t, tl)
	require.NoError(t, s.Create(ctx, timelineID(3), 10, nil))
	require.NoError(t, s.Branch(ctx, timelineID(1), timelineID(2), 20, nil))
	child, other := b.keys("/" + timelineID(2).String() + "/index")[0], b.keys("/" + timelineID(3).String() + "/index")[0]
	own := b.objects[child]
	b.objects[child] = b.objects[other]

	err := s.Delete(ctx, timelineID(1))
	require.ErrorIs(t, err, wal.ErrCorruption)
	require.ErrorContains(t, err, child)
	_, err = tl.Collect(ctx, lsm.CollectOptions{Cutoff: 40})
	require.ErrorIs(t, err, wal.ErrCorruption)
	require.ErrorContains(t, err, child)

	b.objects[child] = own
	_, err = tl.Collect(ctx, lsm.CollectOptions{Cutoff: 40})
	require.NoError(t, err)
	require.Equal(t, "Ia", get(t, attach(t, s, timelineID(2)), 1, 20))
	require.NoError(t, s.Close(ctx))
}

func TestABranchThatArrivesLateIsUndone(t *testing.T) {
	ctx := context.Background()
	b := newMemBucket()
	s, tl := start(t, withBucket(t, b))
	for i, v := range []string{"Ia", "Ib", "Ic", "Id"} {
		apply(t, tl, put(1, wal.LSN(20+10*i), v))
		flush(t, tl)
	}
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

func TestABranchThatMeetsADeleteIsUndone(t *testing.T) {
	ctx := context.Background()
	b := newMemBucket()
	s, _ := start(t, withBucket(t, b))
	other := withBucket(t, b).openSmall()
	attach(t, other, timelineID(1))
	b.setBefore(func(op, key string, _ []byte) error {
		if op == "put" && strings.Contains(key, timelineID(2).String()) {
			b.setBefore(nil)
			require.NoError(t, s.Delete(ctx, timelineID(1)))
		}
		return nil
	})
	require.ErrorIs(t, other.Branch(ctx, timelineID(1), timelineID(2), 20, nil), lsm.ErrNoTimeline)
	require.Empty(t, b.keys(""))
	require.NoError(t, s.Close(ctx))
	require.NoError(t, other.Close(ctx))
}

func TestApplyWaitsForABucketThatDoesNotKeepUp(t *testing.T) {
	ctx := context.Background()
	b := newMemBucket()
	w := withBucket(t, b)
	s := w.openWith(w.env, lsm.Options{MemtableBytes: 1, FrozenMax: 1})
	require.NoError(t, s.Create(ctx, timelineID(1), 10, nil))
	tl := attach(t, s, timelineID(1))
	b.mu.Lock() // every PUT hangs
	apply(t, tl, put(1, 20, "Ia"))
	apply(t, tl, put(1, 30, "Db"))
	impatient, cancel := w.env.Tasks.WithCancel(ctx)
	cancel()
	err := tl.Apply(impatient, 40, nil)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "wait for a memtable to be written")
	require.Equal(t, 1, tl.Stats().Frozen)
	require.Equal(t, "Ia+Db", get(t, tl, 1, 30), "reads go on")
	b.mu.Unlock()
	require.NoError(t, tl.Apply(ctx, 40, nil))
	flush(t, tl)
	require.Equal(t, "Ia+Db", get(t, tl, 1, 40))
	require.NoError(t, s.Close(ctx))
}

func TestAnErrorOfTheBucketIsNotCorruption(t *testing.T) {
	ctx := context.Background()
	b := newMemBucket()
	w := withBucket(t, b)
	s, tl := start(t, w)
	apply(t, tl, put(1, 20, "Ia"))
	flush(t, tl)
	require.NoError(t, s.Close(ctx))
	w.wipeLocal()
	s = w.openSmall()
	tl = attach(t, s, timelineID(1))
	b.setBefore(func(op, _ string, _ []byte) error {
		if op == "range" {
			return &env.DefiniteError{Err: errBucket}
		}
		return nil
	})
	err := tl.Get(ctx, []lsm.Read{{Key: key(1), LSN: 20}}, make([]lsm.Chain, 1))
	require.ErrorIs(t, err, errBucket)
	require.NotErrorIs(t, err, wal.ErrCorruption)
	require.ErrorContains(t, err, "get "+key(1).String()+" at 0/14 of timeline")
	require.NoError(t, s.Close(ctx))
}
