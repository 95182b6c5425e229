package lsm_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env"
)

// mortalBucket and mortalFS die at a call: that one and all later ones fail. Whether
// the call at which they die happens is drawn beforehand.
type mortal struct {
	left    atomic.Int64 // calls before the last
	happens bool
}

var errKilled = errors.New("killed")

// call runs fn while there is life.
func (m *mortal) call(fn func() error) error {
	switch left := m.left.Add(-1); {
	case left > 0:
		return fn()
	case left == 0 && m.happens:
		_ = fn()
	}
	return errKilled
}

type mortalBucket struct {
	env.Bucket
	*mortal
}

func (b mortalBucket) Put(ctx context.Context, key string, body []byte, cond env.Condition) (tag env.ETag, err error) {
	err = b.call(func() error { tag, err = b.Bucket.Put(ctx, key, body, cond); return err })
	return tag, err
}

func (b mortalBucket) Get(ctx context.Context, key string) (body []byte, tag env.ETag, err error) {
	err = b.call(func() error { body, tag, err = b.Bucket.Get(ctx, key); return err })
	return body, tag, err
}

func (b mortalBucket) GetRange(ctx context.Context, key string, off, size int64) (data []byte, err error) {
	err = b.call(func() error { data, err = b.Bucket.GetRange(ctx, key, off, size); return err })
	return data, err
}

func (b mortalBucket) List(ctx context.Context, prefix string) (infos []env.ObjectInfo, err error) {
	err = b.call(func() error { infos, err = b.Bucket.List(ctx, prefix); return err })
	return infos, err
}

func (b mortalBucket) Delete(ctx context.Context, key string) error {
	return b.call(func() error { return b.Bucket.Delete(ctx, key) })
}

// mortalNear is a mortalBucket whose objects can be opened.
type mortalNear struct{ mortalBucket }

func (b mortalNear) Open(ctx context.Context, key string) (object env.Object, err error) {
	err = b.call(func() error { object, err = nearBucket{b.Bucket.(*memBucket)}.Open(ctx, key); return err })
	return object, err
}

type mortalFS struct {
	*memFS
	*mortal
}

func (fs mortalFS) Create(ctx context.Context, name string) (f env.File, err error) {
	err = fs.call(func() error { f, err = fs.memFS.Create(ctx, name); return err })
	return f, err
}

func (fs mortalFS) Remove(ctx context.Context, name string) error {
	return fs.call(func() error { return fs.memFS.Remove(ctx, name) })
}

// crashLog is the history that is crashed in: versions of five keys.
func crashLog(from, to wal.LSN) (versions []lsm.Version) {
	for lsn := from + 1; lsn <= to; lsn++ {
		value := fmt.Sprintf("D%d", lsn)
		if lsn%7 == 0 {
			value = fmt.Sprintf("I%d", lsn)
		}
		versions = append(versions, put(int(lsn*lsn%5), lsn, value))
	}
	return versions
}

func crashAnswer(k int, at wal.LSN) (answer string) {
	for _, v := range crashLog(10, at) {
		if v.Key != key(k) {
			continue
		}
		if v.Kind == lsm.Image {
			answer = ""
		} else {
			answer += "+"
		}
		answer += string(v.Value)
	}
	return answer
}

// advance does everything once, from wherever the bucket stands, until something
// fails.
func advance(s *lsm.Store) (*lsm.Timeline, error) {
	ctx := context.Background()
	main, dev := timelineID(1), timelineID(2)
	if err := s.Create(ctx, main, 10, nil); err != nil && !errors.Is(err, lsm.ErrTimelineExists) {
		return nil, err
	}
	tl, err := s.Attach(ctx, main)
	if err != nil {
		return nil, err
	}
	step := func(end wal.LSN, then func() error) {
		if err == nil && tl.LastLSN() < end {
			err = tl.Apply(ctx, end, crashLog(tl.LastLSN(), end))
		}
		if err == nil {
			err = then()
		}
	}
	collect := func(cutoff wal.LSN) error {
		_, err := tl.Collect(ctx, lsm.CollectOptions{Cutoff: cutoff})
		return err
	}
	step(20, func() error { return tl.Flush(ctx) })
	step(30, func() error { return tl.Flush(ctx) })
	step(30, func() error {
		if err := s.Branch(ctx, main, dev, 25, nil); err != nil && !errors.Is(err, lsm.ErrTimelineExists) && !errors.Is(err, lsm.ErrBelowHorizon) {
			return err
		}
		return nil
	})
	step(40, func() error { return tl.Compact(ctx) })
	step(40, func() error { return tl.Lease(ctx, lsm.LeaseID{1}, 38, time.Now().Add(time.Hour)) })
	step(50, func() error { return tl.Flush(ctx) })
	step(50, func() error { return collect(45) })
	step(60, func() error { return tl.Flush(ctx) })
	step(60, func() error { return tl.Compact(ctx) })
	step(60, func() error { return collect(55) })
	step(60, func() error {
		if tl.LastLSN() == 70 {
			return nil
		}
		return stream(tl, 70, 0, 12)
	})
	step(70, func() error { return tl.Compact(ctx) })
	return tl, err
}

// TestACrashAtAnyCallLosesNothing kills the store at every call to bucket and disk of a
// short history, with the call done or not, lets another finish what it began, and
// reads everything.
func TestACrashAtAnyCallLosesNothing(t *testing.T) {
	t.Run("Far", func(t *testing.T) { crashEverywhere(t, func(b mortalBucket) env.Bucket { return b }) })
	t.Run("Near", func(t *testing.T) { crashEverywhere(t, func(b mortalBucket) env.Bucket { return mortalNear{b} }) })
}

func crashEverywhere(t *testing.T, of func(mortalBucket) env.Bucket) {
	ctx := context.Background()
	opts := lsm.Options{Tenant: tenant, BlockBytes: 64, LayerBytes: 300, FlushedMax: 32, HistoryBytes: -1, ChainMax: 3, Redo: textRedoWithoutFloors{}}
	for calls, finished := int64(1), false; !finished; calls++ {
		for _, happens := range []bool{false, true} {
			bucket, disk := newMemBucket(), newMemFS()
			e := hostEnv
			e.Clock = hastyClock{e.Clock}
			life := &mortal{happens: happens}
			life.left.Store(calls)
			e.Bucket, e.FS = of(mortalBucket{bucket, life}), mortalFS{disk, life}
			if s, err := lsm.Open(ctx, e, opts); err == nil {
				_, err = advance(s)
				finished = err == nil
				_ = s.Close(ctx)
			}
			e.Bucket, e.FS = bucket, disk
			s, err := lsm.Open(ctx, e, opts)
			require.NoError(t, err)
			tl, err := advance(s)
			require.NoError(t, err, "after a crash at call %d", calls)
			checkAfterCrash(t, s, tl, calls)
			require.NoError(t, s.Close(ctx))
		}
		require.Less(t, calls, int64(2000))
	}
}

// checkAfterCrash reads what is promised: everything from the cutoff on, the branch
// and the lease.
func checkAfterCrash(t *testing.T, s *lsm.Store, tl *lsm.Timeline, calls int64) {
	ctx := context.Background()
	infos, err := s.List(ctx)
	require.NoError(t, err)
	require.Len(t, infos, 2, "after a crash at call %d", calls)
	dev := attach(t, s, timelineID(2))
	require.Equal(t, infos[1].BranchLSN, dev.LastLSN())
	require.NoError(t, dev.AncestorReady(ctx, 25))
	for k := range 5 {
		require.Equal(t, crashAnswer(k, 25), get(t, dev, k, 25), "key %d of the branch after a crash at call %d", k, calls)
	}
	require.NoError(t, dev.Detach(ctx))
	require.Equal(t, wal.LSN(55), infos[0].Cutoff)
	for _, at := range []wal.LSN{38, 55, 56, 60} {
		for k := range 5 {
			require.Equal(t, crashAnswer(k, at), get(t, tl, k, at), "key %d at %d after a crash at call %d", k, at, calls)
		}
	}
	for k := range 12 {
		want := ""
		if k%2 == 0 {
			want = fmt.Sprintf("%d at 70", k)
		}
		require.Equal(t, want, get(t, tl, k, 70), "key %d after a crash at call %d", k, calls)
	}
}

// textRedoWithoutFloors makes text of chains.
type textRedoWithoutFloors struct{ textRedo }

func (textRedoWithoutFloors) Floor(context.Context, lsm.Key, wal.LSN, func(context.Context, lsm.Key) (lsm.Chain, error)) (wal.LSN, bool, error) {
	return 0, true, nil
}
