package remote_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/lsm/kv"
	"github.com/varvedb/varve/lsm/layer"
	"github.com/varvedb/varve/lsm/remote"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env"
	"github.com/varvedb/varve/wal/env/osenv"
)

var tenant, timeline = wal.TenantID{1}, wal.TimelineID{2}

// newEnv is an environment with a bucket that is not near, and where its copies go.
func newEnv(t *testing.T) (env.Env, string) {
	e, dir := nearEnv(t)
	e.Bucket = struct{ env.Bucket }{e.Bucket}
	return e, filepath.Join(dir, "local", "cache")
}

// nearEnv is an environment with a directory as its bucket, and where all of it lies.
func nearEnv(t *testing.T) (env.Env, string) {
	dir := t.TempDir()
	e, err := osenv.New(osenv.Config{Root: filepath.Join(dir, "local"), Bucket: filepath.Join(dir, "bucket")})
	require.NoError(t, err)
	return e, dir
}

// blob is a layer object in name only: size bytes, each its number.
func blob(n, size int) (layer.Desc, []byte) {
	id := layer.ID{Timeline: timeline, Kind: layer.Delta, KeyHi: kv.MaxKey, LSNLo: wal.LSN(n), LSNHi: wal.LSN(n + 1)}
	return layer.Desc{ID: id, Size: int64(size)}, bytes.Repeat([]byte{byte(n)}, size)
}

// sound accepts bytes that are all n.
func sound(n int) func([]byte) error {
	return func(data []byte) error {
		if len(bytes.Trim(data, string([]byte{byte(n)}))) > 0 {
			return errors.New("not sound")
		}
		return nil
	}
}

func TestFilesStayWithinTheirBytes(t *testing.T) {
	ctx := context.Background()
	e, dir := newEnv(t)
	const maxBytes, size = 10_000, 1000
	files, err := remote.OpenFiles(ctx, e, "cache", maxBytes)
	require.NoError(t, err)
	for n := 1; n <= 50; n++ {
		desc, data := blob(n, size)
		key := remote.LayerKey(tenant, desc.ID)
		require.NoError(t, remote.PutLayer(ctx, e, key, &desc, data))
		files.Put(ctx, &desc, data)
		first, _ := blob(1, size)
		_, err := files.Source(remote.LayerKey(tenant, first.ID), &first).ReadRange(ctx, 10, 20, sound(1))
		require.NoError(t, err)
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.LessOrEqual(t, len(entries), maxBytes/size)
	}
	require.Equal(t, remote.FileStats{Hits: 50}, files.Stats(), "what is used all the time stays")

	// Ranges come from the bucket once, then from the file.
	desc, _ := blob(2, size)
	source := files.Source(remote.LayerKey(tenant, desc.ID), &desc)
	for range 3 {
		data, err := source.ReadRange(ctx, 100, 300, sound(2))
		require.NoError(t, err)
		require.Len(t, data, 300)
	}
	require.Equal(t, remote.FileStats{Hits: 52, Fetches: 1}, files.Stats())
	require.NoError(t, files.Close(ctx))

	// What is there is taken over, other files are left alone.
	require.NoError(t, os.WriteFile(filepath.Join(dir, "notes.txt"), []byte("mine"), 0o600))
	files, err = remote.OpenFiles(ctx, e, "cache", 3*size)
	require.NoError(t, err)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 4)
	require.NoError(t, files.Close(ctx))
}

func TestAWipedDirectoryIsFilledAgain(t *testing.T) {
	ctx := context.Background()
	e, dir := newEnv(t)
	files, err := remote.OpenFiles(ctx, e, "cache", 1<<20)
	require.NoError(t, err)
	desc, data := blob(7, 1000)
	key := remote.LayerKey(tenant, desc.ID)
	require.NoError(t, remote.PutLayer(ctx, e, key, &desc, data))
	files.Put(ctx, &desc, data)
	require.NoError(t, os.RemoveAll(dir))
	_, err = files.Source(key, &desc).ReadRange(ctx, 0, 1000, sound(7))
	require.NoError(t, err)
	require.NoError(t, files.Close(ctx))
}

func TestWhatTheBucketHasWrongIsNotKept(t *testing.T) {
	ctx := context.Background()
	e, _ := newEnv(t)
	files, err := remote.OpenFiles(ctx, e, "cache", 1<<20)
	require.NoError(t, err)
	desc, data := blob(7, 1000)
	key := remote.LayerKey(tenant, desc.ID)
	data[500] = 0
	require.NoError(t, remote.PutLayer(ctx, e, key, &desc, data))
	source := files.Source(key, &desc)
	_, err = source.ReadRange(ctx, 0, 1000, sound(7))
	require.ErrorContains(t, err, "not sound")
	data[500] = 7
	require.NoError(t, remote.PutLayer(ctx, e, key, &desc, data))
	_, err = source.ReadRange(ctx, 0, 1000, sound(7))
	require.NoError(t, err)

	require.NoError(t, remote.PutLayer(ctx, e, key, &desc, data[:900]))
	_, err = files.Source(key, &layer.Desc{ID: desc.ID, Size: 1000}).ReadRange(ctx, 950, 50, func([]byte) error { return nil })
	require.NoError(t, err, "the copy is there still")
	require.NoError(t, files.Close(ctx))
}
