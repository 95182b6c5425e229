package osenv_test

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
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
	envtest.Run(t, envtest.World{Run: run, Addr: func(t *testing.T) string {
		return "unix:" + filepath.Join(t.TempDir(), "s")
	}})
}

func TestConformanceOverTCP(t *testing.T) {
	envtest.Run(t, envtest.World{Run: run, Addr: func(*testing.T) string { return "tcp:127.0.0.1:0" }})
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
	dir := t.TempDir()
	e, err := osenv.New(osenv.Config{Root: filepath.Join(dir, "disk"), Bucket: filepath.Join(dir, "bucket")})
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "bucket", "a"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "bucket", ".partial"), []byte("half"), 0o600))
	infos, err := e.Bucket.List(t.Context(), "")
	require.NoError(t, err)
	require.Empty(t, infos)
}

func TestWhatAKilledPutLeftIsOverwritten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "bucket")
	e, err := osenv.New(osenv.Config{Root: t.TempDir(), Bucket: dir})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, ".partial"), []byte("half of something larger"), 0o600))
	_, err = e.Bucket.Put(t.Context(), "a/b/c", []byte("whole"), env.Condition{})
	require.NoError(t, err)
	body, _, err := e.Bucket.Get(t.Context(), "a/b/c")
	require.NoError(t, err)
	require.Equal(t, "whole", string(body))
	var files []string
	require.NoError(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			files = append(files, entry.Name())
		}
		return err
	}))
	require.Equal(t, []string{".lock", "c"}, files)
}

func TestWithoutBucketEveryCallSaysSo(t *testing.T) {
	e, err := osenv.New(osenv.Config{Root: t.TempDir()})
	require.NoError(t, err)
	_, err = e.Bucket.List(t.Context(), "")
	require.EqualError(t, err, "this process has no bucket")
}
