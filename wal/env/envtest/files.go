package envtest

import (
	"context"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/wal/env"
)

func testFiles(t *testing.T, w World) {
	w.Run(t, func(ctx context.Context, e env.Env) {
		fileBytes(t, ctx, e)
		fileNames(t, ctx, e)
		fileLocks(t, ctx, e)
	})
}

func fileBytes(t *testing.T, ctx context.Context, e env.Env) {
	f, err := e.FS.Create(ctx, "a")
	require.NoError(t, err)
	_, err = f.WriteAt(ctx, []byte("hello"), 3)
	require.NoError(t, err)
	require.NoError(t, f.Sync(ctx))
	size, err := f.Size(ctx)
	require.NoError(t, err)
	require.Equal(t, int64(8), size)

	p := make([]byte, 10)
	n, err := f.ReadAt(ctx, p, 0)
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, []byte("\x00\x00\x00hello"), p[:n])

	require.NoError(t, f.Allocate(ctx, 100))
	require.NoError(t, f.Allocate(ctx, 50), "a smaller size than the file's is no error")
	size, err = f.Size(ctx)
	require.NoError(t, err)
	require.Equal(t, int64(100), size)
	n, err = f.ReadAt(ctx, p, 5)
	require.NoError(t, err)
	require.Equal(t, []byte("llo\x00\x00\x00\x00\x00\x00\x00"), p[:n])

	require.NoError(t, f.Truncate(ctx, 4))
	require.NoError(t, f.Close())
	f, err = e.FS.Open(ctx, "a")
	require.NoError(t, err)
	size, err = f.Size(ctx)
	require.NoError(t, err)
	require.Equal(t, int64(4), size)
	require.NoError(t, f.Close())
}

func fileNames(t *testing.T, ctx context.Context, e env.Env) {
	_, err := e.FS.Create(ctx, "a")
	require.ErrorIs(t, err, env.ErrExist)
	_, err = e.FS.Open(ctx, "missing")
	require.ErrorIs(t, err, env.ErrNotExist)
	_, err = e.FS.List(ctx, "missing")
	require.ErrorIs(t, err, env.ErrNotExist)
	require.ErrorIs(t, e.FS.Remove(ctx, "missing"), env.ErrNotExist)

	require.NoError(t, e.FS.MkdirAll(ctx, "d/e"))
	require.NoError(t, e.FS.MkdirAll(ctx, "d/e"))
	for _, name := range []string{"d/z", "d/b"} {
		f, err := e.FS.Create(ctx, name)
		require.NoError(t, err)
		require.NoError(t, f.Close())
	}
	require.NoError(t, e.FS.Rename(ctx, "d/z", "d/b"), "rename replaces")
	require.NoError(t, e.FS.SyncDir(ctx, "d"))
	names, err := e.FS.List(ctx, "d")
	require.NoError(t, err)
	require.Equal(t, []string{"b", "e"}, names)
	require.NoError(t, e.FS.Remove(ctx, "d/b"))
}

func fileLocks(t *testing.T, ctx context.Context, e env.Env) {
	lock, err := e.FS.Lock(ctx, "lock")
	require.NoError(t, err)
	_, err = e.FS.Lock(ctx, "lock")
	require.ErrorIs(t, err, env.ErrLocked)
	require.NoError(t, lock.Unlock())
	lock, err = e.FS.Lock(ctx, "lock")
	require.NoError(t, err)
	require.NoError(t, lock.Unlock())
}
