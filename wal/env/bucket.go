package env

import (
	"context"
	"errors"
)

// Errors of a bucket that are answers rather than failures: nothing was changed.
var (
	// ErrNoObject: there is no object by that key.
	ErrNoObject = errors.New("no such object")
	// ErrPrecondition: the object is not in the state that Put's condition asks for.
	ErrPrecondition = errors.New("precondition failed")
)

// ETag identifies one content of an object.
type ETag string

// Condition says what must hold for a Put to happen. The zero Condition asks nothing.
type Condition struct {
	IfAbsent bool // there is no object by the key
	IfMatch  ETag // if not empty: the object's content is this one
}

// IfAbsent is the condition that no object has the key yet.
func IfAbsent() Condition { return Condition{IfAbsent: true} }

// IfMatch is the condition that the object's content is the one that tag names.
func IfMatch(tag ETag) Condition { return Condition{IfMatch: tag} }

// ObjectInfo describes an object.
type ObjectInfo struct {
	Key  string
	Size int64 // bytes
}

// Bucket is an object store. Get, GetRange, Head and List see every Put and Delete that
// returned before they were called (strong consistency is required of the store).
//
// An error of Put or Delete is definite unless [IsUnknown] says otherwise.
type Bucket interface {
	// Put stores body under key if the condition holds, all of it or nothing.
	// It matches ErrPrecondition if the condition does not hold.
	Put(ctx context.Context, key string, body []byte, cond Condition) (ETag, error)
	// Get returns an object's whole content. It matches ErrNoObject if there is none.
	Get(ctx context.Context, key string) ([]byte, ETag, error)
	// GetRange returns size bytes from offset off. A range that does not lie inside
	// the object is an error.
	GetRange(ctx context.Context, key string, off, size int64) ([]byte, error)
	Head(ctx context.Context, key string) (ObjectInfo, error)
	// List returns the objects whose keys begin with prefix, sorted by key.
	List(ctx context.Context, prefix string) ([]ObjectInfo, error)
	// Delete removes an object; it is no error if there is none.
	Delete(ctx context.Context, key string) error
}

// Near is a bucket that lies where it is read, as a directory does: an opened object costs
// no more to read than a local file, so that nothing is won by a copy of it.
type Near interface {
	Bucket
	// Open opens an object for reading, as it is now: what replaces or deletes it later is
	// not seen. It matches ErrNoObject if there is none.
	Open(ctx context.Context, key string) (Object, error)
}

// Object is an opened object.
type Object interface {
	// ReadAt fills p from offset off. Fewer bytes come with io.EOF.
	ReadAt(ctx context.Context, p []byte, off int64) (int, error)
	Close() error
}

// UnknownError wraps the failure of a call whose effect is unknown: it may have
// happened, or may happen yet.
type UnknownError struct{ Err error }

func (e *UnknownError) Error() string { return "unknown outcome: " + e.Err.Error() }

func (e *UnknownError) Unwrap() error { return e.Err }

// DefiniteError wraps the failure of a call that had no effect and will have none.
type DefiniteError struct{ Err error }

func (e *DefiniteError) Error() string { return e.Err.Error() }

func (e *DefiniteError) Unwrap() error { return e.Err }

// IsUnknown reports whether err leaves the effect of the failed call open.
func IsUnknown(err error) bool {
	var unknown *UnknownError
	return errors.As(err, &unknown)
}
