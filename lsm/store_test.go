package lsm_test

import (
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env"
	"github.com/varvedb/varve/wal/env/osenv"
)

var tenant = wal.TenantID{0xaa}

// hostEnv is the tasks, clock and randomness of tests that bring their own bucket and
// disk.
var hostEnv = func() env.Env {
	e, err := osenv.New(osenv.Config{Root: os.TempDir()})
	if err != nil {
		panic(err)
	}
	return e
}()

func timelineID(n int) wal.TimelineID { return wal.TimelineID{0xbb, byte(n)} }

func key(n int) (k lsm.Key) {
	binary.BigEndian.PutUint64(k[10:], uint64(n))
	return k
}

// world is a bucket and a local disk.
type world struct {
	t   require.TestingT
	dir string
	env env.Env
}

func newWorld(t *testing.T) *world {
	return openWorld(t, t.TempDir())
}

func openWorld(t require.TestingT, dir string) *world {
	e, err := osenv.New(osenv.Config{Root: filepath.Join(dir, "local"), Bucket: filepath.Join(dir, "bucket")})
	require.NoError(t, err)
	return &world{t: t, dir: dir, env: e}
}

func (w *world) open() *lsm.Store { return w.openWith(w.env, lsm.Options{}) }

func (w *world) openWith(e env.Env, opts lsm.Options) *lsm.Store {
	opts.Tenant = tenant
	s, err := lsm.Open(context.Background(), e, opts)
	require.NoError(w.t, err)
	return s
}

func (w *world) wipeLocal() {
	require.NoError(w.t, os.RemoveAll(filepath.Join(w.dir, "local", "layers")))
}

func attach(t require.TestingT, s *lsm.Store, id wal.TimelineID) *lsm.Timeline {
	tl, err := s.Attach(context.Background(), id)
	require.NoError(t, err)
	return tl
}

// put is one version: its kind by the first letter of value, I, D or T.
func put(n int, lsn wal.LSN, value string) lsm.Version {
	v := lsm.Version{Key: key(n), LSN: lsn, Kind: lsm.Delta, Value: []byte(value)}
	switch value[0] {
	case 'I':
		v.Kind = lsm.Image
	case 'T':
		v.Kind, v.Value = lsm.Tombstone, nil
	}
	return v
}

func apply(t require.TestingT, tl *lsm.Timeline, versions ...lsm.Version) {
	require.NoError(t, tl.Apply(context.Background(), versions[len(versions)-1].LSN, versions))
}

// text renders a chain as its base and deltas.
func text(c lsm.Chain) string {
	s := ""
	if c.HasBase {
		s = string(c.Base)
	}
	for _, d := range c.Deltas {
		s += "+" + string(d.Value)
	}
	return s
}

func get(t require.TestingT, tl *lsm.Timeline, n int, lsn wal.LSN) string {
	out := make([]lsm.Chain, 1)
	require.NoError(t, tl.Get(context.Background(), []lsm.Read{{Key: key(n), LSN: lsn}}, out))
	return text(out[0])
}

func scan(t require.TestingT, tl *lsm.Timeline, at wal.LSN) (keys []int) {
	err := tl.Scan(context.Background(), key(0), key(1000), at, func(k lsm.Key, _ lsm.Chain) error {
		keys = append(keys, int(binary.BigEndian.Uint64(k[10:])))
		return nil
	})
	require.NoError(t, err)
	return keys
}

func flush(t require.TestingT, tl *lsm.Timeline) {
	require.NoError(t, tl.Flush(context.Background()))
	require.Equal(t, tl.LastLSN(), tl.DurableLSN())
}

func TestStoryOfOneTimeline(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t)
	s := w.open()
	main := timelineID(1)
	require.NoError(t, s.Create(ctx, main, 10, []byte("meta")))
	require.ErrorIs(t, s.Create(ctx, main, 10, nil), lsm.ErrTimelineExists)
	tl := attach(t, s, main)
	_, err := s.Attach(ctx, main)
	require.ErrorIs(t, err, lsm.ErrAttached)

	pages := [][2]string{{"1", "Ione"}, {"3", "Ithree"}}
	require.NoError(t, tl.ImportImages(ctx, 20, func() (k lsm.Key, v []byte, ok bool, err error) {
		if len(pages) == 0 {
			return k, nil, false, nil
		}
		p := pages[0]
		pages = pages[1:]
		return key(int(p[0][0] - '0')), []byte(p[1]), true, nil
	}))
	require.Equal(t, wal.LSN(20), tl.LastLSN())
	require.Equal(t, "Ione", get(t, tl, 1, 20))
	require.Equal(t, "", get(t, tl, 2, 20))

	apply(t, tl, put(1, 21, "Da"), put(2, 21, "Itwo"))
	apply(t, tl, put(1, 25, "Db"), put(3, 26, "T"))
	check := func(tl *lsm.Timeline) {
		require.Equal(t, "Ione+Da", get(t, tl, 1, 24))
		require.Equal(t, "Ione+Da+Db", get(t, tl, 1, 26))
		require.Equal(t, "Itwo", get(t, tl, 2, 26))
		require.Equal(t, "Ithree", get(t, tl, 3, 25))
		require.Equal(t, "", get(t, tl, 3, 26))
		require.Equal(t, []int{1, 2}, scan(t, tl, 26))
		require.Equal(t, []int{1, 2, 3}, scan(t, tl, 25))
		require.Equal(t, []int{1, 3}, scan(t, tl, 20))
	}
	check(tl)
	flush(t, tl)
	check(tl)
	require.Equal(t, 2, tl.Stats().Layers)

	out := make([]lsm.Chain, 1)
	require.ErrorIs(t, tl.Get(ctx, []lsm.Read{{Key: key(1), LSN: 27}}, out), lsm.ErrFutureLSN)
	require.ErrorIs(t, tl.Get(ctx, []lsm.Read{{Key: key(1), LSN: 19}}, out), lsm.ErrBelowHorizon)
	require.NoError(t, tl.Get(ctx, []lsm.Read{{Key: key(1), LSN: 26, Floor: 21}}, out))
	require.Equal(t, "+Db", text(out[0]))
	require.ErrorIs(t, tl.ImportImages(ctx, 30, nil), lsm.ErrNotEmpty)

	require.NoError(t, s.Close(ctx))
	require.ErrorIs(t, tl.Get(ctx, []lsm.Read{{Key: key(1), LSN: 26}}, out), lsm.ErrDetached)
	require.ErrorIs(t, tl.Apply(ctx, 99, nil), lsm.ErrDetached)

	w.wipeLocal()
	s = w.open()
	infos, err := s.List(ctx)
	require.NoError(t, err)
	require.Len(t, infos, 1)
	require.Equal(t, lsm.Info{ID: main, Start: 20, Durable: 26, Cutoff: 20, Generation: 1, Layers: 2, Bytes: infos[0].Bytes, Meta: []byte("meta")}, infos[0])
	tl = attach(t, s, main)
	require.Equal(t, wal.Generation(2), tl.Generation())
	check(tl)
	require.NoError(t, tl.SetMeta(ctx, []byte("new meta")))
	require.Equal(t, []byte("new meta"), tl.Meta())
	require.NoError(t, s.Close(ctx))
}

func TestStoryOfBranches(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t)
	s := w.open()
	main, dev, sub := timelineID(1), timelineID(2), timelineID(3)
	require.NoError(t, s.Create(ctx, main, 10, nil))
	tl := attach(t, s, main)
	apply(t, tl, put(1, 20, "Ia"), put(1, 30, "Db"), put(2, 40, "Ic"))

	// The branch point may be ahead of the parent: the child waits for it.
	require.NoError(t, s.Branch(ctx, main, dev, 45, []byte("m")))
	require.NoError(t, s.Branch(ctx, dev, sub, 30, nil), "below the parent's own branch point")
	child := attach(t, s, dev)
	require.Equal(t, wal.LSN(45), child.LastLSN())
	out := make([]lsm.Chain, 1)
	require.ErrorIs(t, child.Get(ctx, []lsm.Read{{Key: key(1), LSN: 45}}, out), lsm.ErrAncestorNotReady)
	require.Equal(t, "Ia+Db", get(t, child, 1, 40), "up to what the parent has, the child can be read")
	apply(t, tl, put(2, 45, "Dd"), put(2, 46, "De"))
	require.NoError(t, child.AncestorReady(ctx, 45))
	require.Equal(t, "Ic+Dd", get(t, child, 2, 45))

	apply(t, child, put(2, 50, "Df"))
	apply(t, tl, put(1, 60, "T"))
	grandchild := attach(t, s, sub)
	check := func(tl, child, grandchild *lsm.Timeline) {
		require.Equal(t, "Ic+Dd+Df", get(t, child, 2, 50))
		require.Equal(t, "Ic+Dd+De", get(t, tl, 2, 60))
		require.Equal(t, []int{1, 2}, scan(t, child, 50))
		require.Equal(t, []int{2}, scan(t, tl, 60))
		require.Equal(t, []int{1}, scan(t, grandchild, 30))
		require.Equal(t, "Ia", get(t, grandchild, 1, 29))
	}
	check(tl, child, grandchild)
	flush(t, child) // the parent's memtable reaches past the branch point
	check(tl, child, grandchild)
	flush(t, tl) // and so does its layer
	check(tl, child, grandchild)

	var children *lsm.HasChildrenError
	require.ErrorAs(t, s.Delete(ctx, main), &children)
	require.Equal(t, []wal.TimelineID{dev, sub}, children.Children)
	require.Equal(t, "Ic+Dd+De", get(t, tl, 2, 60), "a refused delete harms nothing")

	require.NoError(t, s.Close(ctx))
	s = w.open()
	child = attach(t, s, dev)
	require.Equal(t, "Ic+Dd+Df", get(t, child, 2, 50), "the parent is not attached")
	infos, err := s.List(ctx)
	require.NoError(t, err)
	require.Equal(t, main, infos[2].Parent)
	require.Equal(t, wal.LSN(30), infos[2].BranchLSN)

	attach(t, s, main)
	require.ErrorIs(t, s.Branch(ctx, main, timelineID(4), 9, nil), lsm.ErrBelowHorizon)
	require.ErrorIs(t, s.Branch(ctx, timelineID(9), timelineID(4), 9, nil), lsm.ErrNoTimeline)
	require.ErrorIs(t, s.Branch(ctx, main, dev, 20, nil), lsm.ErrTimelineExists)
	require.NoError(t, s.Delete(ctx, dev))
	require.NoError(t, s.Delete(ctx, sub))
	require.NoError(t, s.Delete(ctx, main))
	objects, err := w.env.Bucket.List(ctx, "")
	require.NoError(t, err)
	require.Empty(t, objects)
	_, err = s.Attach(ctx, main)
	require.ErrorIs(t, err, lsm.ErrNoTimeline)
	require.NoError(t, s.Close(ctx))
}
