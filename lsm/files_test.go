package lsm_test

import (
	"context"
	"io"
	"path"
	"slices"
	"sync"

	"github.com/varvedb/varve/wal/env"
)

// memFS is a disk in memory, for tests that run thousands of histories.
type memFS struct {
	env.FS
	mu    sync.Mutex
	files map[string]*memFile
}

func newMemFS() *memFS { return &memFS{files: map[string]*memFile{}} }

type memFile struct {
	mu   sync.Mutex
	data []byte
}

func (fs *memFS) Create(_ context.Context, name string) (env.File, error) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.files[name] != nil {
		return nil, env.ErrExist
	}
	fs.files[name] = &memFile{}
	return fs.files[name], nil
}

func (fs *memFS) Open(_ context.Context, name string) (env.File, error) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if f := fs.files[name]; f != nil {
		return f, nil
	}
	return nil, env.ErrNotExist
}

func (fs *memFS) Remove(_ context.Context, name string) error {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	delete(fs.files, name)
	return nil
}

func (fs *memFS) List(_ context.Context, dir string) (names []string, err error) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for name := range fs.files {
		if path.Dir(name) == dir {
			names = append(names, path.Base(name))
		}
	}
	slices.Sort(names)
	return names, nil
}

func (fs *memFS) MkdirAll(context.Context, string) error { return nil }

func (fs *memFS) wipe() {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	clear(fs.files)
}

func (f *memFile) ReadAt(_ context.Context, p []byte, off int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if off >= int64(len(f.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) WriteAt(_ context.Context, p []byte, off int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if end := int(off) + len(p); end > len(f.data) {
		f.data = append(f.data, make([]byte, end-len(f.data))...)
	}
	return copy(f.data[off:], p), nil
}

func (f *memFile) Sync(context.Context) error            { return nil }
func (f *memFile) Truncate(context.Context, int64) error { return nil }
func (f *memFile) Allocate(context.Context, int64) error { return nil }
func (f *memFile) Close() error                          { return nil }

func (f *memFile) Size(context.Context) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return int64(len(f.data)), nil
}
