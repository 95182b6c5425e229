package osenv

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/varvedb/varve/wal/env"
	"github.com/varvedb/varve/wal/env/s3"
)

const (
	lockName = ".lock" // in the bucket's directory
	// partialPrefix and a number name the temporary files of Puts, in the bucket's directory.
	// A Put takes the first that no other holds, so that what killed ones leave is there to
	// be overwritten, and there are never more than Puts have been at one time.
	partialPrefix = ".partial"
)

type bucket struct {
	dir  string
	sync func(*os.File) error // (*os.File).Sync; a test may hold it up

	mu      sync.Mutex
	durable map[string]bool // directories whose entries, up to dir, were synced; named from dir on
}

func newBucket(location string) (env.Bucket, error) {
	if location == "" {
		return noBucket{}, nil
	}
	if strings.HasPrefix(location, s3.Scheme) {
		return s3.Open(location)
	}
	dir, err := filepath.Abs(location)
	if err != nil {
		return nil, fmt.Errorf("find bucket directory: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make bucket directory: %w", err)
	}
	return &bucket{dir: dir, sync: (*os.File).Sync, durable: map[string]bool{}}, nil
}

// path refuses keys that would leave the bucket or meet its own files.
func (b *bucket) path(key string) (string, error) {
	for _, part := range strings.Split(key, "/") {
		if part == "" || strings.HasPrefix(part, ".") {
			return "", fmt.Errorf("object key %q: a part is empty or begins with a dot", key)
		}
	}
	return filepath.Join(b.dir, filepath.FromSlash(key)), nil
}

func etagOf(body []byte) env.ETag {
	sum := sha256.Sum256(body)
	return env.ETag(hex.EncodeToString(sum[:]))
}

// Put's errors are definite up to the rename and unknown after it: the new
// content is then in place, but may not outlive a crash. Only looking at the condition and
// renaming exclude other Puts: a small object does not wait until a large one is durable.
func (b *bucket) Put(_ context.Context, key string, body []byte, cond env.Condition) (env.ETag, error) {
	path, err := b.path(key)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", fmt.Errorf("put %s: %w", key, err)
	}
	if err := b.replace(path, body, cond); err != nil {
		return "", fmt.Errorf("put %s: %w", key, err)
	}
	if err := b.syncAround(path); err != nil {
		return "", &env.UnknownError{Err: fmt.Errorf("put %s: %w", key, err)}
	}
	return etagOf(body), nil
}

// replace puts a file with a body in path's place if the condition holds.
func (b *bucket) replace(path string, body []byte, cond env.Condition) error {
	partial, err := b.claimPartial()
	if err != nil {
		return err
	}
	defer partial.Close()
	err = b.write(partial, body)
	if err == nil {
		err = b.rename(partial.Name(), path, cond)
	}
	if err != nil {
		os.Remove(partial.Name())
	}
	return err
}

// claimPartial opens an empty temporary file, which is the caller's alone until he closes it.
func (b *bucket) claimPartial() (*os.File, error) {
	for n := 0; ; n++ {
		f, err := os.OpenFile(filepath.Join(b.dir, partialPrefix+strconv.Itoa(n)), os.O_WRONLY|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		free, err := isFree(f)
		if err == nil && free {
			err = f.Truncate(0)
		}
		if err == nil && free {
			return f, nil
		}
		f.Close()
		if err != nil {
			return nil, err
		}
	}
}

// isFree locks a temporary file, unless another has it, or has made an object of it since
// it was opened.
func isFree(f *os.File) (bool, error) {
	err := flock(f, unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("lock temporary file: %w", err)
	}
	opened, err := f.Stat()
	if err != nil {
		return false, err
	}
	there, err := os.Stat(f.Name())
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(opened, there), err
}

func (b *bucket) write(f *os.File, body []byte) error {
	if _, err := f.Write(body); err != nil {
		return err
	}
	return b.sync(f)
}

// rename puts the file from in path's place if the condition holds.
func (b *bucket) rename(from, path string, cond env.Condition) error {
	unlock, err := b.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if err := check(path, cond); err != nil {
		return err
	}
	return os.Rename(from, path)
}

func (b *bucket) lock() (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(b.dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock bucket: %w", err)
	}
	if err := flock(f, unix.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock bucket: %w", err)
	}
	return func() { f.Close() }, nil
}

// flock locks a file until it is closed.
func flock(f *os.File, how int) error {
	for {
		if err := unix.Flock(int(f.Fd()), how); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func check(path string, cond env.Condition) error {
	if cond == (env.Condition{}) {
		return nil
	}
	if cond.IfAbsent {
		_, err := os.Lstat(path)
		if err == nil {
			err = fmt.Errorf("%w: the object exists", env.ErrPrecondition)
		} else if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return err
	}
	body, err := os.ReadFile(path)
	absent := errors.Is(err, fs.ErrNotExist)
	if err != nil && !absent {
		return err
	}
	if cond.IfMatch != "" && absent {
		return fmt.Errorf("%w: the object does not exist", env.ErrPrecondition)
	}
	if cond.IfMatch != "" && etagOf(body) != cond.IfMatch {
		return fmt.Errorf("%w: the object has other content", env.ErrPrecondition)
	}
	return nil
}

// durableMax bounds the directories that are remembered to be durable, at some hundred
// bytes each. Fewer: what is put into others costs a flush for each directory above it.
const durableMax = 4096

// syncAround makes the entry of path durable, and those of its directories. A directory
// that was there may have been made by a process that ended before it had synced it, so
// only what this process has synced needs no more: no directory is ever removed.
func (b *bucket) syncAround(path string) error {
	dir := filepath.Dir(path)
	for at := dir; ; at = filepath.Dir(at) {
		if err := syncDir(at); err != nil {
			return err
		}
		if at == b.dir || b.isDurable(at) {
			break
		}
	}
	b.noteDurable(dir)
	return nil
}

func (b *bucket) isDurable(dir string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.durable[b.within(dir)]
}

// noteDurable remembers a directory and those above it.
func (b *bucket) noteDurable(dir string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.durable) >= durableMax {
		clear(b.durable)
	}
	for ; dir != b.dir && !b.durable[b.within(dir)]; dir = filepath.Dir(dir) {
		b.durable[b.within(dir)] = true
	}
}

func (b *bucket) within(dir string) string { return strings.TrimPrefix(dir, b.dir) }

func (b *bucket) Get(_ context.Context, key string) ([]byte, env.ETag, error) {
	path, err := b.path(key)
	if err != nil {
		return nil, "", err
	}
	body, err := os.ReadFile(path)
	if err != nil {
		return nil, "", objectError("get", key, err)
	}
	return body, etagOf(body), nil
}

func (b *bucket) GetRange(_ context.Context, key string, off, size int64) ([]byte, error) {
	path, err := b.path(key)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, objectError("get range of", key, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, objectError("get range of", key, err)
	}
	// Compared this way round, a huge off or size cannot overflow.
	if off < 0 || size < 0 || off > info.Size() || size > info.Size()-off {
		return nil, fmt.Errorf("get range of %s: %d bytes from %d do not lie inside the object's %d", key, size, off, info.Size())
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(io.NewSectionReader(f, off, size), body); err != nil {
		return nil, objectError("get range of", key, err)
	}
	return body, nil
}

// Open makes the bucket an env.Near. A file that is replaced or removed stays as it was
// for whoever has it open.
func (b *bucket) Open(_ context.Context, key string) (env.Object, error) {
	path, err := b.path(key)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, objectError("open", key, err)
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = fs.ErrNotExist
	}
	if err != nil {
		f.Close()
		return nil, objectError("open", key, err)
	}
	return &file{f}, nil
}

func (b *bucket) Head(_ context.Context, key string) (env.ObjectInfo, error) {
	path, err := b.path(key)
	if err != nil {
		return env.ObjectInfo{}, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return env.ObjectInfo{}, objectError("head", key, err)
	}
	if info.IsDir() {
		return env.ObjectInfo{}, objectError("head", key, fs.ErrNotExist)
	}
	return env.ObjectInfo{Key: key, Size: info.Size()}, nil
}

func (b *bucket) List(_ context.Context, prefix string) ([]env.ObjectInfo, error) {
	// Only the directory that the prefix lies in can hold matches.
	dir := b.dir
	if i := strings.LastIndexByte(prefix, '/'); i >= 0 {
		dir = filepath.Join(b.dir, filepath.FromSlash(prefix[:i]))
	}
	var found []env.ObjectInfo
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed while we walked, or nothing by this prefix
		}
		if err != nil || entry.IsDir() || strings.HasPrefix(entry.Name(), ".") {
			return err
		}
		key := filepath.ToSlash(strings.TrimPrefix(path, b.dir+string(filepath.Separator)))
		if !strings.HasPrefix(key, prefix) {
			return nil
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		found = append(found, env.ObjectInfo{Key: key, Size: info.Size()})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list %q: %w", prefix, err)
	}
	// The walk orders by path component; keys are ordered as strings.
	sort.Slice(found, func(i, j int) bool { return found[i].Key < found[j].Key })
	return found, nil
}

func (b *bucket) Delete(_ context.Context, key string) error {
	path, err := b.path(key)
	if err != nil {
		return err
	}
	// Who removed what is not there may not have made that durable yet.
	if err := b.remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	if err := syncDir(filepath.Dir(path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return &env.UnknownError{Err: fmt.Errorf("delete %s: %w", key, err)}
	}
	return nil
}

func (b *bucket) remove(path string) error {
	unlock, err := b.lock()
	if err != nil {
		return err
	}
	defer unlock()
	return os.Remove(path)
}

func objectError(verb, key string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s %s: %w", verb, key, env.ErrNoObject)
	}
	return fmt.Errorf("%s %s: %w", verb, key, err)
}

// noBucket belongs to a process that was given no object store.
type noBucket struct{}

var errNoBucket = errors.New("this process has no bucket")

func (noBucket) Put(context.Context, string, []byte, env.Condition) (env.ETag, error) {
	return "", errNoBucket
}
func (noBucket) Get(context.Context, string) ([]byte, env.ETag, error) { return nil, "", errNoBucket }
func (noBucket) GetRange(context.Context, string, int64, int64) ([]byte, error) {
	return nil, errNoBucket
}
func (noBucket) Head(context.Context, string) (env.ObjectInfo, error) {
	return env.ObjectInfo{}, errNoBucket
}
func (noBucket) List(context.Context, string) ([]env.ObjectInfo, error) { return nil, errNoBucket }
func (noBucket) Delete(context.Context, string) error                   { return errNoBucket }
