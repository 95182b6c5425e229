package lsm_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env"
)

// requireFree demands that nobody holds a lock for as long as the call that this is part of
// takes: others hold one for moments.
func requireFree(t *testing.T, s *lsm.Store, where string) {
	for patience := time.Now().Add(time.Minute); !s.LocksAreFree(); {
		if time.Now().After(patience) {
			t.Errorf("a lock is held over %s", where)
			return
		}
	}
}

// watchedFS is a disk at which locks are looked at.
type watchedFS struct {
	*memFS
	look func(where string)
}

func (fs watchedFS) Create(ctx context.Context, name string) (env.File, error) {
	fs.look("the creation of a file")
	return fs.memFS.Create(ctx, name)
}

func (fs watchedFS) Remove(ctx context.Context, name string) error {
	fs.look("the removal of a file")
	return fs.memFS.Remove(ctx, name)
}

// watchedTasks looks at locks where work is given away.
type watchedTasks struct {
	env.Tasks
	look func(where string)
}

func (w watchedTasks) Offload(ctx context.Context, fn func()) error {
	w.look("the making of a layer")
	return w.Tasks.Offload(ctx, fn)
}

// TestNoLockIsHeldOverIO: whatever the store does, at no call to bucket and disk, and while
// no layer is made, does anybody hold what a read or Apply waits for. What is done under a
// lock is little: see TestALeaveMakesNoMapUnderTheLock.
func TestNoLockIsHeldOverIO(t *testing.T) {
	var s atomic.Pointer[lsm.Store]
	var looks atomic.Int64
	look := func(where string) {
		if s := s.Load(); s != nil {
			looks.Add(1)
			requireFree(t, s, where)
		}
	}
	b, e := newMemBucket(), hostEnv
	b.setBefore(func(op, key string, _ []byte) error {
		look(op + " of " + key)
		return nil
	})
	e.Bucket, e.FS, e.Tasks = b, watchedFS{newMemFS(), look}, watchedTasks{hostEnv.Tasks, look}
	opts := lsm.Options{Tenant: tenant, BlockBytes: 64, LayerBytes: 300, FlushedMax: 2, HistoryBytes: -1, ChainMax: 3, Redo: textRedoWithoutFloors{}}
	for range 2 { // from nothing, and from what is there
		opened, err := lsm.Open(t.Context(), e, opts)
		require.NoError(t, err)
		s.Store(opened)
		tl, err := advance(opened)
		require.NoError(t, err)
		dev := attach(t, opened, timelineID(2))
		require.NoError(t, tl.Apply(t.Context(), tl.LastLSN()+10, nil))
		require.NoError(t, dev.DetachFromParent(t.Context()))
		require.NoError(t, opened.Close(t.Context()))
		s.Store(nil)
	}
	require.Greater(t, looks.Load(), int64(100))
}

// TestReadsAndApplyDoNotWaitForAMerge: while the bucket keeps a merge waiting, at each of its
// calls, reads are answered and records applied.
func TestReadsAndApplyDoNotWaitForAMerge(t *testing.T) {
	ctx, b := t.Context(), newMemBucket()
	s := withoutCaches(t, b)
	tl := create(t, s, 1, 10)
	for lsn := wal.LSN(20); lsn < 60; lsn += 10 {
		apply(t, tl, put(1, lsn, "Ia"), put(2, lsn, "Ib"))
		flush(t, tl)
	}
	calls := map[string]int{}
	inside := false
	b.setBefore(func(op, key string, _ []byte) error {
		if inside {
			return nil // a read's own
		}
		inside = true
		defer func() { inside = false }()
		what := "index"
		if strings.Contains(key, "/layers/") {
			what = "layer"
		}
		calls[op+" "+what]++
		next := tl.LastLSN() + 1
		apply(t, tl, put(3, next, "Ic"))
		require.Equal(t, "Ic", get(t, tl, 3, next))
		if op != "delete" { // from here on the old layers are not read
			require.Equal(t, "Ia", get(t, tl, 1, 50))
		}
		return nil
	})
	require.NoError(t, tl.Compact(ctx))
	b.setBefore(nil)
	require.Positive(t, calls["range layer"])
	require.Positive(t, calls["put layer"])
	require.Positive(t, calls["put index"])
	require.Positive(t, calls["delete layer"])
	require.Equal(t, "Ia", get(t, tl, 1, tl.LastLSN()))
	require.NoError(t, s.Close(ctx))
}
