package env

import (
	"context"
	"errors"
)

// ErrNotExist and ErrExist are matched (errors.Is) by the errors of [FS] for a
// missing file and for one that should not be there; ErrLocked by the error of
// FS.Lock for a lock that another process holds.
var (
	ErrNotExist = errors.New("file does not exist")
	ErrExist    = errors.New("file exists")
	ErrLocked   = errors.New("locked by another process")
)

// FS is a node's disk. Names are slash-separated and relative to its root.
//
// What is durable: bytes after File.Sync; a file's presence or absence under a
// name after SyncDir of its directory. Nothing else is, whatever was seen before.
type FS interface {
	// Create makes a new empty file, open for reading and writing.
	// It matches ErrExist if there is one already.
	Create(ctx context.Context, name string) (File, error)
	// Open opens an existing file for reading and writing.
	Open(ctx context.Context, name string) (File, error)
	// Rename replaces to by from, atomically.
	Rename(ctx context.Context, from, to string) error
	Remove(ctx context.Context, name string) error
	// List returns the sorted names of a directory's entries.
	List(ctx context.Context, dir string) ([]string, error)
	// MkdirAll makes a directory and its parents; it is no error if they are there.
	// The new entries are durable when it returns.
	MkdirAll(ctx context.Context, dir string) error
	SyncDir(ctx context.Context, dir string) error
	// Lock takes an exclusive lock by a name until Unlock or the node's death.
	// It does not wait: a lock held elsewhere matches ErrLocked.
	Lock(ctx context.Context, name string) (Unlocker, error)
}

// Unlocker gives a lock back.
type Unlocker interface {
	Unlock() error
}

// File is an open file.
type File interface {
	// ReadAt fills p from offset off. Fewer bytes come with io.EOF.
	ReadAt(ctx context.Context, p []byte, off int64) (int, error)
	// WriteAt writes all of p or returns an error, after which any part of it
	// may have been written.
	WriteAt(ctx context.Context, p []byte, off int64) (int, error)
	// Sync makes all earlier writes durable. After an error nothing may be
	// assumed of any write since the last Sync that succeeded.
	Sync(ctx context.Context) error
	Truncate(ctx context.Context, size int64) error
	// Allocate reserves space and extends the file to at least size bytes, zeros
	// where nothing was written.
	Allocate(ctx context.Context, size int64) error
	Size(ctx context.Context) (int64, error)
	Close() error
}
