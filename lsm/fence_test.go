package lsm_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

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

// TestAnIndexOfAnotherTimelineIsDamage: it says nothing of this one, which is neither
// deleted nor another's, and goes on when its own is back.
func TestAnIndexOfAnotherTimelineIsDamage(t *testing.T) {
	ctx := context.Background()
	b := newMemBucket()
	w := withBucket(t, b)
	noted := &notes{Trace: w.env.Trace}
	w.env.Trace = noted
	s, tl := start(t, w)
	index := b.keys("/root/")[0]
	own := b.objects[index]
	for name, other := range map[string]manifest.Head{
		"deleted":    {Timeline: timelineID(2), State: manifest.Doomed, Generation: 1},
		"taken over": {Timeline: timelineID(2), Generation: 7},
		"the same":   {Timeline: timelineID(2), Generation: 1},
	} {
		t.Run(name, func(t *testing.T) {
			b.objects[index] = (&manifest.Index{Head: other}).AppendTo(nil)
			for _, err := range []error{tl.Confirm(ctx), tl.SetMeta(ctx, nil)} {
				require.ErrorIs(t, err, wal.ErrCorruption)
				require.NotErrorIs(t, err, lsm.ErrFenced)
				require.ErrorContains(t, err, "corruption in "+index+" at offset 16: timeline")
			}
			noted.lines = nil
			require.NoError(t, tl.Exists(ctx, 0), "what it has is right")
			require.Len(t, noted.lines, 1)
			require.Contains(t, noted.lines[0], "corruption in "+index+" at offset 16: timeline")
			b.objects[index] = own
		})
	}
	require.NoError(t, tl.Confirm(ctx))
	require.NoError(t, tl.SetMeta(ctx, nil))
	require.NoError(t, s.Close(ctx))
}
