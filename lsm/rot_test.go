package lsm_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/lsm/remote"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env"
)

// rotWorld has an image layer, a merged delta layer, a lease and a branch with a layer,
// all of few bytes.
func rotWorld(t *testing.T) (*memBucket, *world) {
	ctx := context.Background()
	b := newMemBucket()
	w := withBucket(t, b)
	s, tl := start(t, w)
	n := 0
	require.NoError(t, tl.ImportImages(ctx, 20, func() (lsm.Key, []byte, bool, error) {
		n++
		return key(n), fmt.Appendf(nil, "I%d %s", n, strings.Repeat("x", 40)), n < 4, nil
	}))
	apply(t, tl, put(1, 30, "Da"), put(2, 31, "T"))
	flush(t, tl)
	apply(t, tl, put(5, 32, "Inew"))
	flush(t, tl)
	require.NoError(t, tl.Compact(ctx))
	require.NoError(t, tl.Lease(ctx, lsm.LeaseID{1}, 31, time.Now().Add(time.Hour)))
	require.NoError(t, s.Branch(ctx, timelineID(1), timelineID(2), 31, nil))
	child := attach(t, s, timelineID(2))
	apply(t, child, put(1, 40, "Dchild"))
	flush(t, child)
	require.NoError(t, s.Close(ctx))
	return b, w
}

// answers reads everything there is, as text; corruption is an answer too, so
// long as it names the object.
func answers(t *testing.T, w *world, bad string) (all []string) {
	ctx := context.Background()
	s := w.openSmall()
	defer func() { require.NoError(t, s.Close(ctx)) }()
	refuse := func(err error) bool {
		if err != nil {
			require.ErrorIs(t, err, wal.ErrCorruption)
			require.ErrorContains(t, err, "corruption in "+bad+" at offset ")
		}
		return err != nil
	}
	for i := 1; i <= 2; i++ {
		tl, err := s.Attach(ctx, timelineID(i))
		if refuse(err) {
			all = append(all, "")
			continue
		}
		for k := range 7 {
			out := make([]lsm.Chain, 1)
			if refuse(tl.Get(ctx, []lsm.Read{{Key: key(k), LSN: tl.LastLSN()}}, out)) {
				all = append(all, "")
				continue
			}
			all = append(all, fmt.Sprintf("timeline %d key %d: %s", i, k, text(out[0])))
		}
		err = tl.Scan(ctx, key(0), key(9), tl.LastLSN(), func(k lsm.Key, c lsm.Chain) error {
			all = append(all, fmt.Sprintf("timeline %d scan %v: %s", i, k, text(c)))
			return nil
		})
		if refuse(err) {
			all = append(all, "")
		}
	}
	return all
}

// bothWays has layers read through copies, and where they are.
func bothWays(t *testing.T, test func(*testing.T, *memBucket, *world)) {
	t.Run("Far", func(t *testing.T) {
		b, w := rotWorld(t)
		test(t, b, w)
	})
	t.Run("Near", func(t *testing.T) {
		b, w := rotWorld(t)
		w.env.Bucket = nearBucket{b}
		test(t, b, w)
	})
}

func TestNoFlippedOrMissingByteInTheBucketIsServed(t *testing.T) {
	bothWays(t, sweepBytes)
}

func sweepBytes(t *testing.T, b *memBucket, w *world) {
	good := answers(t, w, "nothing")
	require.NotContains(t, good, "")
	found := 0
	keys := b.keys("")
	require.Len(t, keys, 5, "two indexes, three layers")
	for _, object := range keys {
		sound := b.objects[object]
		for at := range sound {
			damaged := bytes.Clone(sound)
			damaged[at] ^= 1 << (at % 8)
			found += damage(t, b, w, object, damaged, good)
		}
		for _, size := range []int{0, 1, len(sound) / 2, len(sound) - 1} {
			found += damage(t, b, w, object, sound[:size], good)
		}
		if strings.Contains(object, "/layers/") {
			found += damage(t, b, w, object, nil, good)
		}
		b.objects[object] = sound
	}
	require.Greater(t, found, 1000)
}

// damage puts bad bytes in an object's place, the local copies being gone, and
// asks for everything. It returns how many answers were corruption.
func damage(t *testing.T, b *memBucket, w *world, object string, damaged []byte, good []string) (found int) {
	saved := make(map[string][]byte)
	for key, body := range b.objects {
		saved[key] = body
	}
	defer func() { b.objects = saved }()
	b.objects[object] = damaged
	if damaged == nil {
		delete(b.objects, object)
	}
	w.wipeLocal()
	for _, answer := range answers(t, w, object) {
		if answer == "" {
			found++
		} else {
			require.Contains(t, good, answer, "%s", object)
		}
	}
	return found
}

func TestADamagedCacheIsReadAroundAndMended(t *testing.T) {
	b, w := rotWorld(t)
	good := answers(t, w, "nothing")
	dir := filepath.Join(w.dir, "local", "layers")
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, files, 3)
	fetches := 0
	b.setBefore(func(op, _ string, _ []byte) error {
		if op == "range" {
			fetches++
		}
		return nil
	})
	require.Equal(t, good, answers(t, w, "nothing"))
	require.Zero(t, fetches, "a sound cache suffices")
	for _, f := range files {
		path := filepath.Join(dir, f.Name())
		sound, err := os.ReadFile(path)
		require.NoError(t, err)
		for at := range sound {
			damaged := bytes.Clone(sound)
			damaged[at] ^= 0x40
			require.NoError(t, os.WriteFile(path, damaged, 0o600))
			require.Equal(t, good, answers(t, w, "nothing"))
		}
		require.NoError(t, os.WriteFile(path, sound[:len(sound)/2], 0o600))
		require.Equal(t, good, answers(t, w, "nothing"))
	}
	require.Positive(t, fetches)
	fetches = 0
	require.Equal(t, good, answers(t, w, "nothing"))
	require.Zero(t, fetches, "what was fetched is kept again")
}

// brokenFS can neither make nor write files.
type brokenFS struct{ env.FS }

func (brokenFS) Create(context.Context, string) (env.File, error) { return nil, errBucket }

func TestAStoreWithoutALocalDiskServesAll(t *testing.T) {
	_, w := rotWorld(t)
	good := answers(t, w, "nothing")
	w.wipeLocal()
	w.env.FS = brokenFS{w.env.FS}
	require.Equal(t, good, answers(t, w, "nothing"))
}

func TestALayerOfAnotherTimelineIsNotServed(t *testing.T) {
	bothWays(t, func(t *testing.T, b *memBucket, w *world) {
		good := answers(t, w, "nothing")
		deltas := b.keys(".delta")
		require.Len(t, deltas, 2)
		require.Positive(t, damage(t, b, w, deltas[0], b.objects[deltas[1]], good))
	})
}

// notes is a Trace that keeps what was noted.
type notes struct {
	env.Trace
	lines []string
}

func (n *notes) Event(name string, attrs ...any) {
	n.lines = append(n.lines, fmt.Sprint(name, attrs))
	n.Trace.Event(name, attrs...)
}

func TestAStrayObjectIsNamedAndHidesNoTimeline(t *testing.T) {
	ctx := context.Background()
	b, w := rotWorld(t)
	stray := remote.TimelinesPrefix(tenant) + "root/of-somebody-else"
	b.objects[stray] = []byte("what?")
	n := &notes{Trace: w.env.Trace}
	w.env.Trace = n
	s := w.openSmall()
	for range 2 {
		infos, err := s.List(ctx)
		require.NoError(t, err)
		require.Len(t, infos, 2)
	}
	var named []string
	for _, line := range n.lines {
		if strings.Contains(line, stray) {
			named = append(named, line)
		}
	}
	require.Len(t, named, 1, "it is named once")
	require.Contains(t, named[0], "corruption in "+stray)
	attach(t, s, timelineID(2))
	require.NoError(t, s.Close(ctx))

	report, err := lsm.Scrub(ctx, w.env, lsm.ScrubOptions{Tenant: tenant})
	require.NoError(t, err)
	require.Len(t, report.Flaws, 1)
	require.Equal(t, stray, report.Flaws[0].Object)
}
