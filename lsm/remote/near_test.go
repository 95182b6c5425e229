package remote_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/lsm/layer"
	"github.com/varvedb/varve/lsm/remote"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env"
)

func TestOfANearBucketNothingIsCopied(t *testing.T) {
	ctx := context.Background()
	e, dir := nearEnv(t)
	files, err := remote.OpenFiles(ctx, e, "cache", 1<<20)
	require.NoError(t, err)
	desc, data := blob(7, 1000)
	key := remote.LayerKey(tenant, desc.ID)
	require.NoError(t, remote.PutLayer(ctx, e, key, &desc, data))
	files.Put(ctx, &desc, data)
	for range 3 {
		data, err := files.Source(key, &desc).ReadRange(ctx, 100, 300, sound(7))
		require.NoError(t, err)
		require.Len(t, data, 300)
	}
	require.Equal(t, remote.FileStats{Hits: 3}, files.Stats())
	entries, err := os.ReadDir(filepath.Join(dir, "local"))
	require.NoError(t, err)
	require.Empty(t, entries)
	require.NoError(t, files.Close(ctx))
}

// TestAnOpenObjectIsCheckedAndMended: what is open is damaged, and then replaced.
func TestAnOpenObjectIsCheckedAndMended(t *testing.T) {
	ctx := context.Background()
	e, dir := nearEnv(t)
	files, err := remote.OpenFiles(ctx, e, "cache", 1<<20)
	require.NoError(t, err)
	desc, data := blob(7, 1000)
	key := remote.LayerKey(tenant, desc.ID)
	path := filepath.Join(dir, "bucket", filepath.FromSlash(key))
	require.NoError(t, remote.PutLayer(ctx, e, key, &desc, data))
	source := files.Source(key, &desc)
	read := func(off int64) error {
		_, err := source.ReadRange(ctx, off, 100, sound(7))
		return err
	}
	require.NoError(t, read(450))

	data[500] = 0
	require.NoError(t, os.WriteFile(path, data, 0o600))
	require.ErrorContains(t, read(450), "not sound")
	require.NoError(t, read(600), "the rest is sound")
	data[500] = 7
	require.NoError(t, remote.PutLayer(ctx, e, key, &desc, data), "a sound object in its place")
	before := files.Stats().Fetches
	require.NoError(t, read(450), "though the damaged one is open")
	require.NoError(t, read(450))
	require.Equal(t, before+1, files.Stats().Fetches, "the second time the sound one is open")

	require.NoError(t, os.Truncate(path, 500))
	require.NoError(t, read(300))
	require.ErrorIs(t, read(450), wal.ErrCorruption)
	require.ErrorContains(t, read(450), "corruption in "+key)
	require.NoError(t, os.Remove(path))
	files.Forget(ctx, &desc.ID)
	require.ErrorIs(t, read(300), remote.ErrGone)
	require.NoError(t, files.Close(ctx))
}

// shelf is a near bucket of objects of sevens, of which there are as many as one asks for.
type shelf struct {
	env.Bucket
	open, opened, most int
}

type shelved struct{ of *shelf }

func (s *shelf) Open(context.Context, string) (env.Object, error) {
	s.open++
	s.opened++
	s.most = max(s.most, s.open)
	return shelved{s}, nil
}

func (shelved) ReadAt(_ context.Context, p []byte, _ int64) (int, error) {
	for i := range p {
		p[i] = 7
	}
	return len(p), nil
}

func (o shelved) Close() error {
	o.of.open--
	return nil
}

func TestFewObjectsAreOpen(t *testing.T) {
	ctx := context.Background()
	e, _ := nearEnv(t)
	s := &shelf{Bucket: e.Bucket}
	e.Bucket = s
	files, err := remote.OpenFiles(ctx, e, "cache", 1<<20)
	require.NoError(t, err)
	read := func(n int) layer.ID {
		desc, _ := blob(n, 1000)
		_, err := files.Source(remote.LayerKey(tenant, desc.ID), &desc).ReadRange(ctx, 0, 10, sound(7))
		require.NoError(t, err)
		return desc.ID
	}
	for n := range 1500 {
		read(n)
		read(0)
	}
	require.LessOrEqual(t, s.most, 600)
	require.Equal(t, 1500, s.opened, "what is used all the time stays open")
	open := s.open
	id := read(0)
	files.Forget(ctx, &id)
	require.Equal(t, open-1, s.open)
	require.NoError(t, files.Close(ctx))
	require.Zero(t, s.open)
}

// TestCopiesOfABucketThatHasComeNearAreRemoved, and nothing else that lies there.
func TestCopiesOfABucketThatHasComeNearAreRemoved(t *testing.T) {
	ctx := context.Background()
	e, dir := nearEnv(t)
	far := e
	far.Bucket = struct{ env.Bucket }{e.Bucket}
	files, err := remote.OpenFiles(ctx, far, "cache", 1<<20)
	require.NoError(t, err)
	desc, data := blob(7, 1000)
	files.Put(ctx, &desc, data)
	require.NoError(t, files.Close(ctx))
	cache := filepath.Join(dir, "local", "cache")
	require.NoError(t, os.WriteFile(filepath.Join(cache, "notes.txt"), []byte("mine"), 0o600))
	entries, err := os.ReadDir(cache)
	require.NoError(t, err)
	require.Len(t, entries, 2)
	files, err = remote.OpenFiles(ctx, e, "cache", 1<<20)
	require.NoError(t, err)
	entries, err = os.ReadDir(cache)
	require.NoError(t, err)
	require.Len(t, entries, 1)
	require.Equal(t, "notes.txt", entries[0].Name())
	require.NoError(t, files.Close(ctx))
}

func TestACountedBucketStaysNear(t *testing.T) {
	ctx := context.Background()
	e, _ := nearEnv(t)
	bucket, calls := remote.Count(e.Bucket)
	_, err := bucket.Put(ctx, "a", []byte("7"), env.Condition{})
	require.NoError(t, err)
	near, ok := bucket.(env.Near)
	require.True(t, ok)
	object, err := near.Open(ctx, "a")
	require.NoError(t, err)
	require.NoError(t, object.Close())
	require.Equal(t, remote.Calls{Puts: 1, BytesPut: 1}, calls.Calls())

	bucket, _ = remote.Count(struct{ env.Bucket }{e.Bucket})
	_, ok = bucket.(env.Near)
	require.False(t, ok)
}
