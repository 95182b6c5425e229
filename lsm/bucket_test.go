package lsm_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/wal/env"
)

// memBucket is a bucket in memory that can be told to misbehave.
type memBucket struct {
	mu      sync.Mutex
	objects map[string][]byte
	late    []func() // PUTs of unknown outcome that are still to arrive
	before  func(op, key string, body []byte) error
	fate    func(op, key string) fate
}

// fate is what becomes of a PUT or DELETE.
type fate int

const (
	succeeds    fate = iota
	refused          // a definite error
	lost             // unknown: it did not happen and will not
	unheard          // unknown: it happened
	arrivesLate      // unknown: it happens before the next call but one
	fates
)

var errBucket = errors.New("bucket is ill")

var tagSeed = maphash.MakeSeed()

func newMemBucket() *memBucket { return &memBucket{objects: make(map[string][]byte)} }

// setBefore has fn called before every call, without the mutex; its error is the call's.
func (b *memBucket) setBefore(fn func(op, key string, body []byte) error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.before = fn
}

// setFate has fn decide on PUTs and DELETEs, with the mutex held.
func (b *memBucket) setFate(fn func(op, key string) fate) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fate = fn
}

func (b *memBucket) tag(body []byte) env.ETag {
	return env.ETag(fmt.Sprintf("%d-%x", len(body), maphash.Bytes(tagSeed, body)))
}

// do runs fn, or does not, as fate has it.
func (b *memBucket) do(ctx context.Context, op, key string, body []byte, fn func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	b.mu.Lock()
	before := b.before
	b.mu.Unlock()
	if before != nil {
		if err := before(op, key, body); err != nil {
			return err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	pending := b.late
	b.late = nil
	outcome := succeeds
	if b.fate != nil && (op == "put" || op == "delete") {
		outcome = b.fate(op, key)
	}
	var err error
	switch outcome {
	case succeeds:
		err = fn()
	case refused:
		err = errBucket
	case lost:
		err = &env.UnknownError{Err: errBucket}
	case unheard:
		if err = fn(); err == nil {
			err = &env.UnknownError{Err: errBucket}
		}
	case arrivesLate:
		b.late = append(b.late, func() { _ = fn() })
		err = &env.UnknownError{Err: errBucket}
	}
	for _, fn := range pending {
		fn()
	}
	return err
}

func (b *memBucket) Put(ctx context.Context, key string, body []byte, cond env.Condition) (env.ETag, error) {
	body = bytes.Clone(body)
	err := b.do(ctx, "put", key, body, func() error {
		old, found := b.objects[key]
		if cond.IfAbsent && found || cond.IfMatch != "" && (!found || cond.IfMatch != b.tag(old)) {
			return env.ErrPrecondition
		}
		b.objects[key] = body
		return nil
	})
	return b.tag(body), err
}

func (b *memBucket) Get(ctx context.Context, key string) (body []byte, tag env.ETag, err error) {
	err = b.do(ctx, "get", key, nil, func() error {
		found, ok := b.objects[key]
		if !ok {
			return fmt.Errorf("get %s: %w", key, env.ErrNoObject)
		}
		body, tag = bytes.Clone(found), b.tag(found)
		return nil
	})
	return body, tag, err
}

func (b *memBucket) GetRange(ctx context.Context, key string, off, size int64) (data []byte, err error) {
	err = b.do(ctx, "range", key, nil, func() error {
		body, ok := b.objects[key]
		if !ok {
			return fmt.Errorf("get %s: %w", key, env.ErrNoObject)
		}
		if off < 0 || size < 0 || off+size > int64(len(body)) {
			return fmt.Errorf("get %s: range %d+%d of %d bytes", key, off, size, len(body))
		}
		data = bytes.Clone(body[off : off+size])
		return nil
	})
	return data, err
}

func (b *memBucket) Head(ctx context.Context, key string) (info env.ObjectInfo, err error) {
	err = b.do(ctx, "head", key, nil, func() error {
		body, ok := b.objects[key]
		if !ok {
			return env.ErrNoObject
		}
		info = env.ObjectInfo{Key: key, Size: int64(len(body))}
		return nil
	})
	return info, err
}

func (b *memBucket) List(ctx context.Context, prefix string) (infos []env.ObjectInfo, err error) {
	err = b.do(ctx, "list", prefix, nil, func() error {
		for key, body := range b.objects {
			if strings.HasPrefix(key, prefix) {
				infos = append(infos, env.ObjectInfo{Key: key, Size: int64(len(body))})
			}
		}
		slices.SortFunc(infos, func(a, b env.ObjectInfo) int { return strings.Compare(a.Key, b.Key) })
		return nil
	})
	return infos, err
}

func (b *memBucket) Delete(ctx context.Context, key string) error {
	return b.do(ctx, "delete", key, nil, func() error {
		delete(b.objects, key)
		return nil
	})
}

// nearBucket is a bucket in memory whose objects can be opened.
type nearBucket struct{ *memBucket }

func (b nearBucket) Open(ctx context.Context, key string) (env.Object, error) {
	f := &memFile{}
	err := b.do(ctx, "open", key, nil, func() error {
		body, ok := b.objects[key]
		if !ok {
			return fmt.Errorf("open %s: %w", key, env.ErrNoObject)
		}
		f.data = bytes.Clone(body)
		return nil
	})
	return f, err
}

// keys lists the objects whose keys contain part.
func (b *memBucket) keys(part string) (keys []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for key := range b.objects {
		if strings.Contains(key, part) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// randomFates draws fates from a seed; at most three calls in a row that write one object
// go wrong, whatever other tasks write meanwhile: who sends a request a few times more
// succeeds.
func randomFates(seed uint64) func(op, key string) fate {
	draw, rows := rand.New(rand.NewPCG(seed, seed)), map[string]int{}
	return func(_, key string) fate {
		if draw.IntN(3) > 0 || rows[key] == 3 {
			delete(rows, key)
			return succeeds
		}
		rows[key]++
		return fate(draw.IntN(int(fates)))
	}
}

// hastyClock does not sleep.
type hastyClock struct{ env.Clock }

func (hastyClock) Sleep(ctx context.Context, _ time.Duration) error { return ctx.Err() }

// withBucket is a world of its own on the bucket: another node.
func withBucket(t *testing.T, b *memBucket) *world {
	w := newWorld(t)
	w.env.Bucket, w.env.Clock = b, hastyClock{w.env.Clock}
	return w
}

func (w *world) openSmall() *lsm.Store {
	return w.openWith(w.env, lsm.Options{BlockBytes: 64})
}
