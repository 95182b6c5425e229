package lsm_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/lsm/manifest"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env"
)

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

// TestALateIndexDoesNotFailADeletion: a PUT of the attachment that the deletion ends hangs in
// the network, and lands after the deletion has read the index.
func TestALateIndexDoesNotFailADeletion(t *testing.T) {
	ctx := context.Background()
	b := newMemBucket()
	s, tl := start(t, withBucket(t, b))
	apply(t, tl, put(1, 20, "Ia"))
	flush(t, tl)
	index := b.keys("/root/")[0]
	b.setFate(func(op, key string) fate {
		if op == "put" && key == index {
			return arrivesLate
		}
		return succeeds
	})
	var hanging []func()
	b.setBefore(func(op, key string, _ []byte) error {
		b.mu.Lock()
		defer b.mu.Unlock()
		hanging = append(hanging, b.late...)
		b.late = nil
		if op == "get" && key == index {
			return errBucket
		}
		return nil
	})
	require.ErrorIs(t, tl.SetMeta(ctx, []byte("meta")), errBucket)
	require.NotEmpty(t, hanging)
	b.setFate(nil)
	b.setBefore(func(op, key string, _ []byte) error {
		if op == "put" && key == index && len(hanging) > 0 {
			b.mu.Lock()
			defer b.mu.Unlock()
			hanging[0]()
			hanging = nil
		}
		return nil
	})
	require.NoError(t, s.Delete(ctx, timelineID(1)))
	require.Empty(t, hanging)
	require.Empty(t, b.keys(""))
	require.NoError(t, s.Close(ctx))
}

func TestADeletedTimelineLeavesNoCopies(t *testing.T) {
	ctx := context.Background()
	w := withBucket(t, newMemBucket())
	s, tl := start(t, w)
	apply(t, tl, put(1, 20, "Ia"))
	flush(t, tl)
	copies := func() []os.DirEntry {
		entries, err := os.ReadDir(filepath.Join(w.dir, "local", "layers"))
		require.NoError(t, err)
		return entries
	}
	require.Len(t, copies(), 1)
	require.NoError(t, s.Delete(ctx, timelineID(1)))
	require.Empty(t, copies())
	require.NoError(t, s.Close(ctx))
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
