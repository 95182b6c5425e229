package world

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"time"

	"github.com/varvedb/varve/wal/env"
)

// How long the disk's calls take when nothing slows them.
const (
	readTime  = 20 * time.Microsecond
	writeTime = 10 * time.Microsecond
	entryTime = 10 * time.Microsecond
	syncTime  = 500 * time.Microsecond
)

// ErrIO is matched by the error of a disk that fails, ErrNoSpace by that of a full
// one, ErrClosed by that of a file, listener or connection that its owner closed.
var (
	ErrIO      = errors.New("input/output error")
	ErrNoSpace = errors.New("no space left on device")
	ErrClosed  = errors.New("use of what was closed")
)

// fileSystem is a life's env.FS.
type fileSystem struct{ l *life }

// enter begins a call of the disk and lets its time pass.
func (l *life) enter(ctx context.Context, kind CallKind, takes time.Duration) (envCall, error) {
	c, err := l.begin(ctx, kind)
	if err != nil {
		return c, err
	}
	n := l.n
	if n.hit(DiskSlow, n.files) {
		takes += n.files.Skewed(n.faults[DiskSlow].Lasts)
	}
	// What the disk was told to do is not undone by the end of ctx.
	return c, n.w.sleep(nil, takes)
}

// named begins a call on an entry.
func (s fileSystem) named(ctx context.Context, kind CallKind, name string) (string, envCall, error) {
	clean, err := cleanName(name)
	if err != nil {
		return "", envCall{}, err
	}
	c, err := s.l.enter(ctx, kind, entryTime)
	return clean, c, err
}

func (s fileSystem) Create(ctx context.Context, name string) (env.File, error) {
	clean, c, err := s.named(ctx, FSCreate, name)
	if err != nil {
		return nil, err
	}
	d := s.l.n.disk
	if d.lookup(clean) != nil {
		return nil, fmt.Errorf("create %s: %w", name, env.ErrExist)
	}
	if d.dirs[path.Dir(clean)] == nil {
		return nil, fmt.Errorf("create %s: %w", name, env.ErrNotExist)
	}
	if d.full {
		return nil, fmt.Errorf("create %s: %w", name, ErrNoSpace)
	}
	if err := s.l.n.entryError("create " + name); err != nil {
		return nil, err
	}
	i := d.newFile()
	d.do(change{node: i, to: clean})
	if err := c.end(); err != nil {
		return nil, err
	}
	return &file{l: s.l, i: i, name: clean}, nil
}

func (s fileSystem) Open(ctx context.Context, name string) (env.File, error) {
	clean, c, err := s.named(ctx, FSOpen, name)
	if err != nil {
		return nil, err
	}
	i := s.l.n.disk.lookup(clean)
	if i == nil {
		return nil, fmt.Errorf("open %s: %w", name, env.ErrNotExist)
	}
	if i.dir {
		return nil, fmt.Errorf("open %s: is a directory", name)
	}
	if err := c.end(); err != nil {
		return nil, err
	}
	return &file{l: s.l, i: i, name: clean}, nil
}

func (s fileSystem) Rename(ctx context.Context, from, to string) error {
	cleanTo, err := cleanName(to)
	if err != nil {
		return err
	}
	clean, c, err := s.named(ctx, FSRename, from)
	if err != nil {
		return err
	}
	d := s.l.n.disk
	i := d.lookup(clean)
	if i == nil || d.dirs[path.Dir(cleanTo)] == nil {
		return fmt.Errorf("rename %s to %s: %w", from, to, env.ErrNotExist)
	}
	if old := d.lookup(cleanTo); i.dir || old != nil && old.dir {
		return fmt.Errorf("rename %s to %s: is a directory", from, to)
	}
	if err := s.l.n.entryError("rename " + from + " to " + to); err != nil {
		return err
	}
	if clean != cleanTo {
		d.do(change{node: i, from: clean, to: cleanTo})
	}
	return c.end()
}

func (s fileSystem) Remove(ctx context.Context, name string) error {
	clean, c, err := s.named(ctx, FSRemove, name)
	if err != nil {
		return err
	}
	d := s.l.n.disk
	i := d.lookup(clean)
	if i == nil {
		return fmt.Errorf("remove %s: %w", name, env.ErrNotExist)
	}
	if i.dir && len(d.dirs[clean].entries) > 0 {
		return fmt.Errorf("remove %s: directory not empty", name)
	}
	if i.dir {
		d.syncDir(clean, d.changes)
		delete(d.dirs, clean)
		delete(d.dirs[path.Dir(clean)].entries, path.Base(clean))
		delete(d.dirs[path.Dir(clean)].durable, path.Base(clean))
		return c.end()
	}
	if err := s.l.n.entryError("remove " + name); err != nil {
		return err
	}
	d.do(change{node: i, from: clean})
	return c.end()
}

func (s fileSystem) List(ctx context.Context, dir string) ([]string, error) {
	clean, c, err := s.named(ctx, FSList, dir)
	if err != nil {
		return nil, err
	}
	of := s.l.n.disk.dirs[clean]
	if of == nil {
		return nil, fmt.Errorf("list %s: %w", dir, env.ErrNotExist)
	}
	if s.l.n.hit(DiskReadError, s.l.n.files) {
		return nil, fmt.Errorf("list %s: %w", dir, ErrIO)
	}
	return slices.Sorted(maps.Keys(of.entries)), c.end()
}

func (s fileSystem) MkdirAll(ctx context.Context, dir string) error {
	clean, c, err := s.named(ctx, FSMkdirAll, dir)
	if err != nil {
		return err
	}
	if err := s.l.n.disk.mkdirAll(clean); err != nil {
		return err
	}
	return c.end()
}

func (s fileSystem) SyncDir(ctx context.Context, dir string) error {
	clean, err := cleanName(dir)
	if err != nil {
		return err
	}
	n := s.l.n
	// What is changed while the sync is under way is not part of it.
	last := n.disk.changes
	c, err := s.l.enter(ctx, FSSyncDir, syncTime)
	if err != nil {
		return err
	}
	if n.disk.dirs[clean] == nil {
		return fmt.Errorf("sync %s: %w", dir, env.ErrNotExist)
	}
	if n.hit(DiskSyncError, n.files) {
		return fmt.Errorf("sync %s: %w", dir, ErrIO)
	}
	if !n.hit(DiskLie, n.files) {
		n.w.note(n, KindSync, uint64(n.disk.syncDir(clean, last)), clean)
	}
	return c.end()
}

// Lock makes the file that carries the lock, as a real one does.
func (s fileSystem) Lock(ctx context.Context, name string) (env.Unlocker, error) {
	clean, c, err := s.named(ctx, FSLock, name)
	if err != nil {
		return nil, err
	}
	d := s.l.n.disk
	if d.dirs[path.Dir(clean)] == nil {
		return nil, fmt.Errorf("lock %s: %w", name, env.ErrNotExist)
	}
	if s.l.locks[clean] {
		return nil, fmt.Errorf("lock %s: %w", name, env.ErrLocked)
	}
	if d.lookup(clean) == nil {
		d.do(change{node: d.newFile(), to: clean})
	}
	s.l.locks[clean] = true
	return &fileLock{s.l, clean}, c.end()
}

// entryError is an error of the disk on its way to what it keeps of a file beyond bytes.
func (n *Node) entryError(what string) error {
	if n.hit(DiskEntryError, n.files) {
		return fmt.Errorf("%s: %w", what, ErrIO)
	}
	return nil
}

type fileLock struct {
	l    *life
	name string
}

func (f *fileLock) Unlock() error {
	delete(f.l.locks, f.name)
	return nil
}

// file is an open file of a life.
type file struct {
	l      *life
	i      *inode
	name   string
	closed bool
}

func (f *file) enter(ctx context.Context, kind CallKind, takes time.Duration) (envCall, error) {
	c, err := f.l.enter(ctx, kind, takes)
	if err == nil && f.closed {
		err = fmt.Errorf("file %s: %w", f.name, ErrClosed)
	}
	return c, err
}

func (f *file) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read %s: negative offset %d", f.name, off)
	}
	c, err := f.enter(ctx, FileReadAt, readTime)
	if err != nil {
		return 0, err
	}
	n := f.l.n
	if n.hit(DiskReadError, n.files) {
		return 0, fmt.Errorf("read %s at %d: %w", f.name, off, ErrIO)
	}
	size := max(0, min(int64(len(p)), f.i.size-off))
	if size > 1 && n.hit(DiskShortRead, n.files) {
		part := 1 + int(n.files.Below(uint32(size-1)))
		f.i.read(p[:part], off)
		return part, fmt.Errorf("read %s at %d: %w after %d bytes", f.name, off, ErrIO, part)
	}
	if size > 0 && n.hit(DiskRot, n.files) {
		f.i.flip(off+int64(n.files.Below(uint32(size))), uint(n.files.Below(8)))
	}
	f.i.read(p[:size], off)
	if err := c.end(); err != nil {
		return 0, err
	}
	if size < int64(len(p)) {
		return int(size), io.EOF
	}
	return int(size), nil
}

func (f *file) WriteAt(ctx context.Context, p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("write %s: negative offset %d", f.name, off)
	}
	c, err := f.enter(ctx, FileWriteAt, writeTime)
	if err != nil {
		return 0, err
	}
	n := f.l.n
	if room := max(0, f.i.size-off); n.disk.full && int64(len(p)) > room {
		f.i.write(p[:room], off)
		return int(room), fmt.Errorf("write %s at %d: %w after %d bytes", f.name, off, ErrNoSpace, room)
	}
	if len(p) > 0 && n.hit(DiskWriteError, n.files) {
		part := int(n.files.Below(uint32(len(p))))
		f.i.write(p[:part], off)
		return part, fmt.Errorf("write %s at %d: %w", f.name, off, ErrIO)
	}
	n.w.note(n, KindWrite, uint64(f.i.write(p, off)), f.name)
	if len(p) > 0 && n.hit(DiskEarly, n.files) {
		at := int(off / pageSize)
		f.i.put(at, wholeOf(f.i.pages[at]))
	}
	return len(p), c.end()
}

func (f *file) Sync(ctx context.Context) error {
	c, err := f.l.begin(ctx, FileSync)
	if err != nil {
		return err
	}
	if f.closed {
		return fmt.Errorf("sync %s: %w", f.name, ErrClosed)
	}
	n := f.l.n
	if n.hit(DiskLie, n.files) {
		return c.end()
	}
	flight := f.i.beginSync()
	takes := syncTime
	if n.hit(DiskSlow, n.files) {
		takes += n.files.Skewed(n.faults[DiskSlow].Lasts)
	}
	if err := n.w.sleep(nil, takes); err != nil {
		return err
	}
	if n.hit(DiskSyncError, n.files) {
		f.i.failSync(flight, n)
		return fmt.Errorf("sync %s: %w", f.name, ErrIO)
	}
	n.w.note(n, KindSync, uint64(len(flight.at)), f.name)
	f.i.sync(flight, n)
	return c.end()
}

func (f *file) Truncate(ctx context.Context, size int64) error {
	if size < 0 {
		return fmt.Errorf("truncate %s: negative size %d", f.name, size)
	}
	c, err := f.enter(ctx, FileTruncate, writeTime)
	if err != nil {
		return err
	}
	if f.l.n.disk.full && size > f.i.size {
		return fmt.Errorf("truncate %s: %w", f.name, ErrNoSpace)
	}
	if err := f.l.n.entryError("truncate " + f.name); err != nil {
		return err
	}
	f.i.truncate(size)
	return c.end()
}

func (f *file) Allocate(ctx context.Context, size int64) error {
	c, err := f.enter(ctx, FileAllocate, writeTime)
	if err != nil {
		return err
	}
	if size > f.i.size {
		if f.l.n.disk.full {
			return fmt.Errorf("allocate %d bytes for %s: %w", size, f.name, ErrNoSpace)
		}
		if err := f.l.n.entryError("allocate for " + f.name); err != nil {
			return err
		}
		f.i.truncate(size)
	}
	return c.end()
}

func (f *file) Size(ctx context.Context) (int64, error) {
	c, err := f.l.begin(ctx, FileSize)
	if err != nil {
		return 0, err
	}
	if f.closed {
		return 0, fmt.Errorf("file %s: %w", f.name, ErrClosed)
	}
	return f.i.size, c.end()
}

func (f *file) Close() error {
	if f.closed {
		return fmt.Errorf("file %s: %w", f.name, ErrClosed)
	}
	f.closed = true
	return nil
}
