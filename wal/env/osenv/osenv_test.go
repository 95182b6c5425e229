package osenv_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/wal/env"
	"github.com/varvedb/varve/wal/env/envtest"
	"github.com/varvedb/varve/wal/env/osenv"
)

func newEnv(t *testing.T) env.Env {
	dir := t.TempDir()
	e, err := osenv.New(osenv.Config{Root: filepath.Join(dir, "disk"), Bucket: filepath.Join(dir, "bucket")})
	require.NoError(t, err)
	return e
}

func run(t *testing.T, body func(context.Context, env.Env)) { body(t.Context(), newEnv(t)) }

func TestConformanceOverUnixSockets(t *testing.T) {
	envtest.Run(t, envtest.World{Run: run, Near: true, Addr: func(t *testing.T) string {
		return "unix:" + filepath.Join(t.TempDir(), "s")
	}})
}

func TestConformanceOverTCP(t *testing.T) {
	envtest.Run(t, envtest.World{Run: run, Near: true, Addr: func(*testing.T) string { return "tcp:127.0.0.1:0" }})
}

func TestListenReplacesADeadSocketOnly(t *testing.T) {
	run(t, func(ctx context.Context, e env.Env) {
		path := filepath.Join(t.TempDir(), "s")
		require.NoError(t, os.WriteFile(path, nil, 0o600))
		listener, err := e.Net.Listen(ctx, "unix:"+path)
		require.NoError(t, err, "what a killed process left behind is in nobody's way")
		defer listener.Close()
		_, err = e.Net.Listen(ctx, "unix:"+path)
		require.ErrorContains(t, err, "another process serves this socket")
	})
}

func TestBucketIgnoresWhatAKilledPutLeft(t *testing.T) {
	e, dir := newBucket(t)
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "a"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, ".partial0"), []byte("half"), 0o600))
	infos, err := e.Bucket.List(t.Context(), "")
	require.NoError(t, err)
	require.Empty(t, infos)
}

func TestWhatAKilledPutLeftIsOverwritten(t *testing.T) {
	e, dir := newBucket(t)
	require.NoError(t, os.WriteFile(filepath.Join(dir, ".partial0"), []byte("half of something larger"), 0o600))
	_, err := e.Bucket.Put(t.Context(), "a/b/c", []byte("whole"), env.Condition{})
	require.NoError(t, err)
	requireObject(t, e, "a/b/c", "whole")
	require.Equal(t, []string{".lock", "a/b/c"}, filesBelow(t, dir))
}

// TestASmallPutDoesNotWaitForALargeOne: that is being made durable all the while, and
// another process may be making it.
func TestASmallPutDoesNotWaitForALargeOne(t *testing.T) {
	for name, other := range map[string]bool{"same process": false, "another": true} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			small, dir := newBucket(t)
			large := small
			if other {
				var err error
				large, err = osenv.New(osenv.Config{Root: t.TempDir(), Bucket: dir})
				require.NoError(t, err)
			}
			syncing, durable := make(chan bool), make(chan bool)
			osenv.HoldSync(large.Bucket, func(size int64) {
				if size == 1<<20 {
					syncing <- true
					<-durable
				}
			})
			done := make(chan error)
			go func() {
				_, err := large.Bucket.Put(ctx, "layers/large", make([]byte, 1<<20), env.Condition{})
				done <- err
			}()
			<-syncing
			tag, err := small.Bucket.Put(ctx, "index", []byte("one"), env.IfAbsent())
			require.NoError(t, err)
			_, err = small.Bucket.Put(ctx, "index", []byte("two"), env.IfMatch(tag))
			require.NoError(t, err)
			_, err = small.Bucket.Put(ctx, "index", []byte("three"), env.IfMatch(tag))
			require.ErrorIs(t, err, env.ErrPrecondition)
			require.NoError(t, small.Bucket.Delete(ctx, "nothing"))
			require.Equal(t, []string{".lock", ".partial0", "index"}, filesBelow(t, dir))
			durable <- true
			require.NoError(t, <-done)
			requireObject(t, small, "index", "two")
			require.Equal(t, []string{".lock", "index", "layers/large"}, filesBelow(t, dir))
		})
	}
}

func TestAPutThatIsNotMadeDurableChangesNothing(t *testing.T) {
	e, dir := newBucket(t)
	_, err := e.Bucket.Put(t.Context(), "a", []byte("old"), env.Condition{})
	require.NoError(t, err)
	osenv.FailSync(e.Bucket, fs.ErrClosed)
	_, err = e.Bucket.Put(t.Context(), "a", []byte("new"), env.Condition{})
	require.ErrorIs(t, err, fs.ErrClosed)
	require.False(t, env.IsUnknown(err))
	requireObject(t, e, "a", "old")
	require.Equal(t, []string{".lock", "a"}, filesBelow(t, dir))
}

// TestAReplacementMeetsADeletion: an object that is deleted and made anew while others would
// replace the first one is theirs no more.
func TestAReplacementMeetsADeletion(t *testing.T) {
	ctx := t.Context()
	e, _ := newBucket(t)
	old, err := e.Bucket.Put(ctx, "a", []byte("old"), env.IfAbsent())
	require.NoError(t, err)
	g := e.Tasks.NewGroup(ctx)
	g.Go("owner", func(ctx context.Context) error {
		if err := e.Bucket.Delete(ctx, "a"); err != nil {
			return err
		}
		_, err := e.Bucket.Put(ctx, "a", []byte("new"), env.IfAbsent())
		return err
	})
	for range 4 {
		g.Go("late", func(ctx context.Context) error {
			_, err := e.Bucket.Put(ctx, "a", []byte("old"), env.IfMatch(old))
			if errors.Is(err, env.ErrPrecondition) {
				err = nil
			}
			return err
		})
	}
	require.NoError(t, g.Wait())
	requireObject(t, e, "a", "new")
}

func newBucket(t *testing.T) (e env.Env, dir string) {
	dir = filepath.Join(t.TempDir(), "bucket")
	e, err := osenv.New(osenv.Config{Root: t.TempDir(), Bucket: dir})
	require.NoError(t, err)
	return e, dir
}

func requireObject(t *testing.T, e env.Env, key, want string) {
	t.Helper()
	body, _, err := e.Bucket.Get(t.Context(), key)
	require.NoError(t, err)
	require.Equal(t, want, string(body))
}

func filesBelow(t *testing.T, dir string) (files []string) {
	require.NoError(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			files = append(files, strings.TrimPrefix(path, dir+"/"))
		}
		return err
	}))
	return files
}

func TestWithoutBucketEveryCallSaysSo(t *testing.T) {
	e, err := osenv.New(osenv.Config{Root: t.TempDir()})
	require.NoError(t, err)
	_, err = e.Bucket.List(t.Context(), "")
	require.EqualError(t, err, "this process has no bucket")
}
