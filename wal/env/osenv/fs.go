package osenv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/varvedb/varve/wal/env"
)

type fileSystem struct{ root string }

func (s *fileSystem) path(name string) string {
	return filepath.Join(s.root, filepath.FromSlash(name))
}

func (s *fileSystem) Create(_ context.Context, name string) (env.File, error) {
	return open(s.path(name), os.O_RDWR|os.O_CREATE|os.O_EXCL)
}

func (s *fileSystem) Open(_ context.Context, name string) (env.File, error) {
	return open(s.path(name), os.O_RDWR)
}

func open(path string, flags int) (env.File, error) {
	f, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return nil, mapError(err)
	}
	return &file{f}, nil
}

// mapError adds env's names for the conditions that callers test for.
func mapError(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: %w", env.ErrNotExist, err)
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("%w: %w", env.ErrExist, err)
	}
	return err
}

func (s *fileSystem) Rename(_ context.Context, from, to string) error {
	return mapError(os.Rename(s.path(from), s.path(to)))
}

func (s *fileSystem) Remove(_ context.Context, name string) error {
	return mapError(os.Remove(s.path(name)))
}

func (s *fileSystem) List(_ context.Context, dir string) ([]string, error) {
	entries, err := os.ReadDir(s.path(dir)) // sorted by name
	if err != nil {
		return nil, mapError(err)
	}
	names := make([]string, len(entries))
	for i, entry := range entries {
		names[i] = entry.Name()
	}
	return names, nil
}

func (s *fileSystem) MkdirAll(_ context.Context, dir string) error {
	if err := os.MkdirAll(s.path(dir), 0o700); err != nil {
		return mapError(err)
	}
	return syncUpTo(s.root, s.path(dir))
}

// syncUpTo syncs every directory from the parent of dir up to root, so that each
// new entry on the way is durable.
func syncUpTo(root, dir string) error {
	for dir != root && len(dir) > len(root) {
		dir = filepath.Dir(dir)
		if err := syncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

func (s *fileSystem) SyncDir(_ context.Context, dir string) error {
	return mapError(syncDir(s.path(dir)))
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

func (s *fileSystem) Lock(_ context.Context, name string) (env.Unlocker, error) {
	f, err := os.OpenFile(s.path(name), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, mapError(err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", name, env.ErrLocked)
		}
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	return fileLock{f}, nil
}

type fileLock struct{ f *os.File }

// Unlock closes the file, which frees the lock; the file itself stays, since
// removing it would let two holders lock two different files of one name.
func (l fileLock) Unlock() error { return l.f.Close() }

type file struct{ f *os.File }

func (f *file) ReadAt(_ context.Context, p []byte, off int64) (int, error) {
	return f.f.ReadAt(p, off)
}

func (f *file) WriteAt(_ context.Context, p []byte, off int64) (int, error) {
	return f.f.WriteAt(p, off)
}

// Sync uses fdatasync: sizes are durable with it, times need not be.
func (f *file) Sync(context.Context) error {
	for {
		err := unix.Fdatasync(int(f.f.Fd()))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("sync %s: %w", f.f.Name(), err)
		}
		return nil
	}
}

func (f *file) Truncate(_ context.Context, size int64) error { return f.f.Truncate(size) }

func (f *file) Allocate(ctx context.Context, size int64) error {
	now, err := f.Size(ctx)
	if err != nil || now >= size {
		return err
	}
	err = unix.Fallocate(int(f.f.Fd()), 0, now, size-now)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return f.writeZeros(now, size)
	}
	if err != nil {
		return fmt.Errorf("allocate %d bytes for %s: %w", size, f.f.Name(), err)
	}
	return nil
}

// writeZeros is Allocate for file systems without fallocate.
func (f *file) writeZeros(from, to int64) error {
	_, err := io.Copy(io.NewOffsetWriter(f.f, from), io.LimitReader(zeros{}, to-from))
	return err
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func (f *file) Size(context.Context) (int64, error) {
	info, err := f.f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (f *file) Close() error { return f.f.Close() }
