package meter

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/varvedb/varve/wal/env"
)

// Files is a disk that counts. It passes everything on to the FS below it.
type Files struct {
	env.FS
	Syncs        atomic.Int64 // of files
	DirSyncs     atomic.Int64
	Writes       atomic.Int64
	BytesWritten atomic.Int64
	Reads        atomic.Int64
	BytesRead    atomic.Int64
	SyncDelay    atomic.Int64 // nanoseconds by which each sync of a file is made longer
}

// WrapFiles puts a counter over a disk.
func WrapFiles(fs env.FS) *Files { return &Files{FS: fs} }

// Create implements env.FS.
func (f *Files) Create(ctx context.Context, name string) (env.File, error) {
	file, err := f.FS.Create(ctx, name)
	return f.wrap(file, err)
}

// Open implements env.FS.
func (f *Files) Open(ctx context.Context, name string) (env.File, error) {
	file, err := f.FS.Open(ctx, name)
	return f.wrap(file, err)
}

// SyncDir implements env.FS.
func (f *Files) SyncDir(ctx context.Context, dir string) error {
	f.DirSyncs.Add(1)
	return f.FS.SyncDir(ctx, dir)
}

func (f *Files) wrap(file env.File, err error) (env.File, error) {
	if err != nil {
		return nil, err
	}
	return &countedFile{File: file, of: f}, nil
}

type countedFile struct {
	env.File
	of *Files
}

func (c *countedFile) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	n, err := c.File.ReadAt(ctx, p, off)
	c.of.Reads.Add(1)
	c.of.BytesRead.Add(int64(n))
	return n, err
}

func (c *countedFile) WriteAt(ctx context.Context, p []byte, off int64) (int, error) {
	n, err := c.File.WriteAt(ctx, p, off)
	c.of.Writes.Add(1)
	c.of.BytesWritten.Add(int64(n))
	return n, err
}

func (c *countedFile) Sync(ctx context.Context) error {
	c.of.Syncs.Add(1)
	if delay := c.of.SyncDelay.Load(); delay > 0 {
		time.Sleep(time.Duration(delay))
	}
	return c.File.Sync(ctx)
}

// Objects is a bucket that counts. It passes everything on to the Bucket below it.
type Objects struct {
	env.Bucket
	Puts      atomic.Int64
	BytesPut  atomic.Int64
	Gets      atomic.Int64 // whole objects and ranges
	BytesGot  atomic.Int64
	Reads     atomic.Int64 // of opened objects
	BytesRead atomic.Int64
	Lists     atomic.Int64
	Listed    atomic.Int64 // objects that lists returned
	Deletions atomic.Int64
}

// WrapBucket puts a counter over a bucket, which stays near if it is.
func WrapBucket(b env.Bucket) (env.Bucket, *Objects) {
	o := &Objects{Bucket: b}
	if near, ok := b.(env.Near); ok {
		return nearObjects{o, near}, o
	}
	return o, o
}

type nearObjects struct {
	*Objects
	near env.Near
}

func (o nearObjects) Open(ctx context.Context, key string) (env.Object, error) {
	object, err := o.near.Open(ctx, key)
	if err != nil {
		return nil, err
	}
	return countedObject{object, o.Objects}, nil
}

type countedObject struct {
	env.Object
	of *Objects
}

func (c countedObject) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	n, err := c.Object.ReadAt(ctx, p, off)
	c.of.Reads.Add(1)
	c.of.BytesRead.Add(int64(n))
	return n, err
}

// Put implements env.Bucket.
func (o *Objects) Put(ctx context.Context, key string, body []byte, cond env.Condition) (env.ETag, error) {
	o.Puts.Add(1)
	o.BytesPut.Add(int64(len(body)))
	return o.Bucket.Put(ctx, key, body, cond)
}

// Get implements env.Bucket.
func (o *Objects) Get(ctx context.Context, key string) ([]byte, env.ETag, error) {
	body, tag, err := o.Bucket.Get(ctx, key)
	o.Gets.Add(1)
	o.BytesGot.Add(int64(len(body)))
	return body, tag, err
}

// GetRange implements env.Bucket.
func (o *Objects) GetRange(ctx context.Context, key string, off, size int64) ([]byte, error) {
	body, err := o.Bucket.GetRange(ctx, key, off, size)
	o.Gets.Add(1)
	o.BytesGot.Add(int64(len(body)))
	return body, err
}

// List implements env.Bucket.
func (o *Objects) List(ctx context.Context, prefix string) ([]env.ObjectInfo, error) {
	objects, err := o.Bucket.List(ctx, prefix)
	o.Lists.Add(1)
	o.Listed.Add(int64(len(objects)))
	return objects, err
}

// Delete implements env.Bucket.
func (o *Objects) Delete(ctx context.Context, key string) error {
	o.Deletions.Add(1)
	return o.Bucket.Delete(ctx, key)
}

// World is an environment of this process with counters in it.
type World struct {
	env.Env
	Files   *Files
	Objects *Objects
}

// Wrap puts counters into an environment.
func Wrap(e env.Env) *World {
	w := &World{Env: e, Files: WrapFiles(e.FS)}
	w.FS = w.Files
	w.Bucket, w.Objects = WrapBucket(e.Bucket)
	return w
}

// Reads counts the reads of files and of opened objects.
func (w *World) Reads() int64 { return w.Files.Reads.Load() + w.Objects.Reads.Load() }

// BytesWritten is what went to files and bucket: what devices were given to write, where
// the bucket is a directory.
func (w *World) BytesWritten() int64 {
	return w.Files.BytesWritten.Load() + w.Objects.BytesPut.Load()
}
