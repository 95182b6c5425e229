package remote

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/varvedb/varve/lsm/layer"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env"
)

// filesMax bounds the files kept, all of them open: half of what a process may
// usually open, and 32 GiB of full layers.
const filesMax = 512

// Files keeps open what layers are read from, the recently used: local copies of their
// bytes, up to a number of bytes; or, where the bucket is near, the objects themselves. It
// is safe for use by many tasks. Make it with [OpenFiles].
type Files struct {
	env      env.Env
	near     env.Near // nil if the bucket is not near
	dir      string   // of the copies
	maxBytes int64
	change   *env.Lock // held while files are made and removed

	mu    sync.Mutex
	byKey map[string]*openFile
	list  []*openFile
	bytes int64
	clock uint64 // counts uses
	stats FileStats
}

// FileStats counts reads of layers.
type FileStats struct {
	Hits    uint64 // ranges served from local files, those of a near bucket among them
	Fetches uint64 // ranges asked of the bucket
	Errors  uint64 // local errors, none of which mattered
}

// openFile is an open file. Guarded by Files.mu but for what was opened.
type openFile struct {
	name   string
	opened env.Object
	copy   env.File // the same, to be written, if it is a copy; nil if it is the object
	bytes  int64    // written, at most
	used   uint64
	refs   int
	gone   bool // close when refs falls to zero
}

// OpenFiles opens the directory of copies, making it if it is missing, and takes over
// the files in it. If the bucket is near it removes them: they are in vain.
func OpenFiles(ctx context.Context, e env.Env, dir string, maxBytes int64) (*Files, error) {
	f := &Files{env: e, dir: dir, maxBytes: maxBytes, change: env.NewLock(e.Tasks), byKey: make(map[string]*openFile)}
	if near, ok := e.Bucket.(env.Near); ok {
		f.near = near
		f.removeCopies(ctx)
		return f, nil
	}
	if err := e.FS.MkdirAll(ctx, dir); err != nil {
		return nil, fmt.Errorf("make layer cache %s: %w", dir, err)
	}
	names, err := e.FS.List(ctx, dir)
	if err != nil {
		return nil, fmt.Errorf("list layer cache %s: %w", dir, err)
	}
	for _, name := range names {
		if !isLocalName(name) {
			continue
		}
		if entry := f.acquire(ctx, name); entry != nil {
			size, err := entry.copy.Size(ctx)
			f.noteError(name, err)
			f.grow(ctx, entry, size)
			f.release(entry)
		}
	}
	return f, nil
}

// removeCopies removes what was copied while the bucket was not near.
func (f *Files) removeCopies(ctx context.Context) {
	names, err := f.env.FS.List(ctx, f.dir)
	if errors.Is(err, env.ErrNotExist) {
		return
	}
	f.noteError(f.dir, err)
	for _, name := range names {
		if isLocalName(name) {
			f.noteError(name, f.env.FS.Remove(ctx, f.dir+"/"+name))
		}
	}
}

func localName(id *layer.ID) string { return id.Timeline.String() + "_" + id.Name() }

func isLocalName(name string) bool {
	timeline, rest, _ := strings.Cut(name, "_")
	if _, err := wal.ParseTimelineID(timeline); err != nil {
		return false
	}
	_, err := layer.ParseName(rest)
	return err == nil
}

// Stats returns the counters.
func (f *Files) Stats() FileStats {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.stats
}

// Close closes the files. Nothing may be in use.
func (f *Files) Close(ctx context.Context) error {
	if err := f.change.Lock(ctx); err != nil {
		return err
	}
	defer f.change.Unlock()
	f.mu.Lock()
	files := f.list
	f.list, f.byKey, f.bytes = nil, make(map[string]*openFile), 0
	f.mu.Unlock()
	for _, entry := range files {
		f.noteError(entry.name, entry.opened.Close())
	}
	return nil
}

// Source returns the layer object as a source that goes through what is open.
func (f *Files) Source(key string, desc *layer.Desc) layer.Source {
	return &object{files: f, key: key, name: localName(&desc.ID), size: desc.Size}
}

// Put keeps a copy of a whole layer that was just written, unless it is here anyway.
func (f *Files) Put(ctx context.Context, desc *layer.Desc, data []byte) {
	if f.near == nil {
		f.keep(ctx, localName(&desc.ID), 0, data)
	}
}

// Forget closes what is open of a layer that will not be read again, and removes the copy
// of it.
func (f *Files) Forget(ctx context.Context, id *layer.ID) { f.forget(ctx, localName(id)) }

func (f *Files) forget(ctx context.Context, name string) {
	if entry := f.lookup(name); entry != nil {
		f.drop(ctx, entry)
		f.release(entry)
	}
}

// mend replaces a range that could not be read, or was not what it should be, by what
// the bucket has.
func (f *Files) mend(ctx context.Context, name string, off int64, data []byte) {
	if f.near != nil {
		f.forget(ctx, name) // what is there now is another file: the next read opens it
		return
	}
	f.keep(ctx, name, off, data)
}

func (f *Files) keep(ctx context.Context, name string, off int64, data []byte) {
	if int64(len(data)) > f.maxBytes {
		return
	}
	entry := f.acquire(ctx, name)
	if entry == nil {
		return
	}
	defer f.release(entry)
	if _, err := entry.copy.WriteAt(ctx, data, off); err != nil {
		f.noteError(name, err)
		f.drop(ctx, entry)
		return
	}
	f.grow(ctx, entry, int64(len(data)))
}

// open returns what the object can be read from, for use until release: the object, or
// a copy if there is one; nil if there is nothing.
func (f *Files) open(ctx context.Context, o *object) *openFile {
	if entry := f.lookup(o.name); entry != nil || f.near == nil {
		return entry
	}
	opened, err := f.near.Open(ctx, o.key)
	if err != nil {
		return nil // who asks for the range hears why
	}
	mine := &openFile{name: o.name, opened: opened}
	entry := f.add(mine)
	if entry != mine {
		f.noteError(o.name, opened.Close()) // another task was faster
	}
	f.grow(ctx, entry, 0)
	return entry
}

// add returns the open file of the entry's name, which is the entry if there was none, for
// use until release.
func (f *Files) add(entry *openFile) *openFile {
	f.mu.Lock()
	defer f.mu.Unlock()
	if other := f.byKey[entry.name]; other != nil {
		entry = other
	} else {
		f.byKey[entry.name] = entry
		f.list = append(f.list, entry)
	}
	f.use(entry)
	return entry
}

// use counts a use of the file until its release. The caller holds f.mu.
func (f *Files) use(entry *openFile) {
	f.clock++
	entry.used = f.clock
	entry.refs++
}

// acquire returns the copy, made if need be, for use until release; nil if that
// fails.
func (f *Files) acquire(ctx context.Context, name string) *openFile {
	if entry := f.lookup(name); entry != nil {
		return entry
	}
	if err := f.change.Lock(ctx); err != nil {
		return nil
	}
	defer f.change.Unlock()
	if entry := f.lookup(name); entry != nil {
		return entry
	}
	path := f.dir + "/" + name
	file, err := f.env.FS.Open(ctx, path)
	if errors.Is(err, env.ErrNotExist) {
		file, err = f.env.FS.Create(ctx, path)
	}
	if err != nil {
		f.noteError(name, err)
		return nil
	}
	entry := f.add(&openFile{name: name, opened: file, copy: file})
	f.evict(ctx, entry)
	return entry
}

func (f *Files) lookup(name string) *openFile {
	f.mu.Lock()
	defer f.mu.Unlock()
	entry := f.byKey[name]
	if entry != nil {
		f.use(entry)
	}
	return entry
}

func (f *Files) release(entry *openFile) {
	f.mu.Lock()
	entry.refs--
	last := entry.gone && entry.refs == 0
	f.mu.Unlock()
	if last {
		f.noteError(entry.name, entry.opened.Close())
	}
}

// grow counts bytes written to the file and makes room for them, and for the file.
func (f *Files) grow(ctx context.Context, entry *openFile, n int64) {
	f.mu.Lock()
	if !entry.gone {
		entry.bytes += n
		f.bytes += n
	}
	full := f.isFull()
	f.mu.Unlock()
	if !full || f.change.Lock(ctx) != nil {
		return
	}
	defer f.change.Unlock()
	f.evict(ctx, entry)
}

// isFull reports whether a bound does not hold. The caller holds f.mu.
func (f *Files) isFull() bool { return f.bytes > f.maxBytes || len(f.list) > filesMax }

// evict removes the files that were used longest ago until the bounds hold, but
// not keep. The caller holds f.change.
func (f *Files) evict(ctx context.Context, keep *openFile) {
	for {
		f.mu.Lock()
		var oldest *openFile
		if f.isFull() {
			for _, entry := range f.list {
				if entry != keep && (oldest == nil || entry.used < oldest.used) {
					oldest = entry
				}
			}
		}
		f.mu.Unlock()
		if oldest == nil {
			return
		}
		f.remove(ctx, oldest)
	}
}

// drop removes a file that is of no use.
func (f *Files) drop(ctx context.Context, entry *openFile) {
	if f.change.Lock(ctx) != nil {
		return
	}
	defer f.change.Unlock()
	f.remove(ctx, entry)
}

// remove forgets the file, and removes it if it is a copy; who uses it now may go on. The
// caller holds f.change.
func (f *Files) remove(ctx context.Context, entry *openFile) {
	f.mu.Lock()
	if entry.gone {
		f.mu.Unlock()
		return
	}
	entry.gone = true
	delete(f.byKey, entry.name)
	f.list = slices.DeleteFunc(f.list, func(e *openFile) bool { return e == entry })
	f.bytes -= entry.bytes
	unused := entry.refs == 0
	f.mu.Unlock()
	if entry.copy != nil {
		if err := f.env.FS.Remove(ctx, f.dir+"/"+entry.name); !errors.Is(err, env.ErrNotExist) {
			f.noteError(entry.name, err)
		}
	}
	if unused {
		f.noteError(entry.name, entry.opened.Close())
	}
}

// noteError notes an error of the local disk, which costs only time.
func (f *Files) noteError(name string, err error) {
	if err == nil {
		return
	}
	f.mu.Lock()
	f.stats.Errors++
	f.mu.Unlock()
	f.env.Trace.Event("lsm.cache.error", "file", name, "error", err)
}

func (f *Files) count(field *uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	*field++
}
