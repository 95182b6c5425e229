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

// Files keeps local copies of layers' bytes, the recently used ones, up to a
// number of bytes. It is safe for use by many tasks. Make it with [OpenFiles].
type Files struct {
	env      env.Env
	dir      string
	maxBytes int64
	change   *env.Lock // held while files are made and removed

	mu    sync.Mutex
	byKey map[string]*localFile
	list  []*localFile
	bytes int64
	clock uint64 // counts uses
	stats FileStats
}

// FileStats counts reads of layers.
type FileStats struct {
	Hits    uint64 // ranges served from local files
	Fetches uint64 // ranges fetched from the bucket
	Errors  uint64 // local errors, none of which mattered
}

// localFile is an open file. Guarded by Files.mu but for its File.
type localFile struct {
	name  string
	file  env.File
	bytes int64 // written, at most
	used  uint64
	refs  int
	gone  bool // close when refs falls to zero
}

// OpenFiles opens the directory, making it if it is missing, and takes over the
// files in it.
func OpenFiles(ctx context.Context, e env.Env, dir string, maxBytes int64) (*Files, error) {
	f := &Files{env: e, dir: dir, maxBytes: maxBytes, change: env.NewLock(e.Tasks), byKey: make(map[string]*localFile)}
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
			size, err := entry.file.Size(ctx)
			f.noteError(name, err)
			f.grow(ctx, entry, size)
			f.release(entry)
		}
	}
	return f, nil
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
	f.list, f.byKey, f.bytes = nil, make(map[string]*localFile), 0
	f.mu.Unlock()
	for _, entry := range files {
		f.noteError(entry.name, entry.file.Close())
	}
	return nil
}

// Source returns the layer object as a source that goes through local files.
func (f *Files) Source(key string, desc *layer.Desc) layer.Source {
	return &object{files: f, key: key, name: localName(&desc.ID), size: desc.Size}
}

// Put keeps a whole layer that was just written.
func (f *Files) Put(ctx context.Context, desc *layer.Desc, data []byte) {
	f.keep(ctx, localName(&desc.ID), 0, data)
}

// Forget removes the copy of a layer that will not be read again.
func (f *Files) Forget(ctx context.Context, id *layer.ID) {
	if entry := f.lookup(localName(id)); entry != nil {
		f.drop(ctx, entry)
		f.release(entry)
	}
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
	if _, err := entry.file.WriteAt(ctx, data, off); err != nil {
		f.noteError(name, err)
		f.drop(ctx, entry)
		return
	}
	f.grow(ctx, entry, int64(len(data)))
}

// acquire returns the file, made if need be, for use until release; nil if that
// fails.
func (f *Files) acquire(ctx context.Context, name string) *localFile {
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
	f.mu.Lock()
	f.clock++
	entry := &localFile{name: name, file: file, refs: 1, used: f.clock}
	f.byKey[name] = entry
	f.list = append(f.list, entry)
	f.mu.Unlock()
	f.evict(ctx, entry)
	return entry
}

func (f *Files) lookup(name string) *localFile {
	f.mu.Lock()
	defer f.mu.Unlock()
	entry := f.byKey[name]
	if entry != nil {
		f.clock++
		entry.used = f.clock
		entry.refs++
	}
	return entry
}

func (f *Files) release(entry *localFile) {
	f.mu.Lock()
	entry.refs--
	last := entry.gone && entry.refs == 0
	f.mu.Unlock()
	if last {
		f.noteError(entry.name, entry.file.Close())
	}
}

// grow counts bytes written to the file and makes room for them.
func (f *Files) grow(ctx context.Context, entry *localFile, n int64) {
	f.mu.Lock()
	if !entry.gone {
		entry.bytes += n
		f.bytes += n
	}
	full := f.bytes > f.maxBytes
	f.mu.Unlock()
	if !full || f.change.Lock(ctx) != nil {
		return
	}
	defer f.change.Unlock()
	f.evict(ctx, entry)
}

// evict removes the files that were used longest ago until the bounds hold, but
// not keep. The caller holds f.change.
func (f *Files) evict(ctx context.Context, keep *localFile) {
	for {
		f.mu.Lock()
		var oldest *localFile
		if f.bytes > f.maxBytes || len(f.list) > filesMax {
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

// drop removes a file that gave an error.
func (f *Files) drop(ctx context.Context, entry *localFile) {
	if f.change.Lock(ctx) != nil {
		return
	}
	defer f.change.Unlock()
	f.remove(ctx, entry)
}

// remove forgets and removes the file; who uses it now may go on. The caller
// holds f.change.
func (f *Files) remove(ctx context.Context, entry *localFile) {
	f.mu.Lock()
	if entry.gone {
		f.mu.Unlock()
		return
	}
	entry.gone = true
	delete(f.byKey, entry.name)
	f.list = slices.DeleteFunc(f.list, func(e *localFile) bool { return e == entry })
	f.bytes -= entry.bytes
	unused := entry.refs == 0
	f.mu.Unlock()
	if err := f.env.FS.Remove(ctx, f.dir+"/"+entry.name); !errors.Is(err, env.ErrNotExist) {
		f.noteError(entry.name, err)
	}
	if unused {
		f.noteError(entry.name, entry.file.Close())
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
