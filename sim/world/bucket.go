package world

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"time"

	"github.com/varvedb/varve/wal/env"
)

// How long the bucket's calls take when nothing slows them: the way there, and back.
const (
	bucketThere = 2 * time.Millisecond
	bucketBack  = time.Millisecond

	// bucketPatience is when a client gives up a call without an answer.
	bucketPatience = 30 * time.Second
)

// ErrUnavailable is matched by the error of a bucket that refuses to serve.
var ErrUnavailable = errors.New("bucket unavailable")

// bucket is the one object store of the world.
type bucket struct {
	keys    []string // sorted
	objects map[string]object
}

type object struct {
	body []byte
	tag  env.ETag
}

func newBucket() bucket { return bucket{objects: map[string]object{}} }

// Objects is the sorted keys of all objects.
func (w *World) Objects() []string { return slices.Clone(w.bucket.keys) }

// Object is an object's content, not to be changed; false if there is none.
func (w *World) Object(key string) ([]byte, bool) {
	o, ok := w.bucket.objects[key]
	return o.body, ok
}

// SetObject replaces an object's content behind everyone's back.
func (w *World) SetObject(key string, body []byte) { w.bucket.set(key, slices.Clone(body)) }

// etagOf is of the content, as that of the common stores is.
func etagOf(body []byte) env.ETag {
	return env.ETag(fmt.Sprintf("%08x%08x%x", crc32.Checksum(body, castagnoli), crc32.ChecksumIEEE(body), len(body)))
}

func (b *bucket) set(key string, body []byte) env.ETag {
	if at, ok := slices.BinarySearch(b.keys, key); !ok {
		b.keys = slices.Insert(b.keys, at, key)
	}
	o := object{body, etagOf(body)}
	b.objects[key] = o
	return o.tag
}

func (b *bucket) remove(key string) {
	if at, ok := slices.BinarySearch(b.keys, key); ok {
		b.keys = slices.Delete(b.keys, at, at+1)
		delete(b.objects, key)
	}
}

func (b *bucket) get(key string) (object, error) {
	o, ok := b.objects[key]
	if !ok {
		return o, env.ErrNoObject
	}
	return o, nil
}

func (b *bucket) check(key string, cond env.Condition) error {
	o, ok := b.objects[key]
	switch {
	case cond.IfAbsent && ok:
		return fmt.Errorf("%w: the object exists", env.ErrPrecondition)
	case cond.IfMatch != "" && !ok:
		return fmt.Errorf("%w: the object does not exist", env.ErrPrecondition)
	case cond.IfMatch != "" && o.tag != cond.IfMatch:
		return fmt.Errorf("%w: the object has other content", env.ErrPrecondition)
	}
	return nil
}

func checkKey(key string) error {
	for _, part := range strings.Split(key, "/") {
		if part == "" || strings.HasPrefix(part, ".") {
			return fmt.Errorf("object key %q: a part is empty or begins with a dot", key)
		}
	}
	return nil
}

// bucketOf is a life's env.Bucket.
type bucketOf struct{ l *life }

func (b bucketOf) Put(ctx context.Context, key string, body []byte, cond env.Condition) (tag env.ETag, err error) {
	if err := checkKey(key); err != nil {
		return "", err
	}
	w := b.l.n.w
	body = slices.Clone(body)
	err = b.change(ctx, BucketPut, "put "+key, func() error {
		if err := w.bucket.check(key, cond); err != nil {
			return err
		}
		tag = w.bucket.set(key, body)
		w.note(b.l.n, KindPut, crcOf([]byte(key))<<32|crcOf(body), key)
		return nil
	})
	if err != nil {
		return "", err
	}
	return tag, nil
}

func (b bucketOf) Delete(ctx context.Context, key string) error {
	if err := checkKey(key); err != nil {
		return err
	}
	w := b.l.n.w
	return b.change(ctx, BucketDelete, "delete "+key, func() error {
		w.bucket.remove(key)
		w.note(b.l.n, KindDelete, crcOf([]byte(key)), key)
		return nil
	})
}

func (b bucketOf) Get(ctx context.Context, key string) ([]byte, env.ETag, error) {
	var found object
	err := b.read(ctx, BucketGet, key, "get", func() (err error) {
		found, err = b.l.n.w.bucket.get(key)
		return err
	})
	if err != nil {
		return nil, "", err
	}
	return b.carried(found.body), found.tag, nil
}

func (b bucketOf) GetRange(ctx context.Context, key string, off, size int64) ([]byte, error) {
	var part []byte
	err := b.read(ctx, BucketGetRange, key, "get range of", func() error {
		o, err := b.l.n.w.bucket.get(key)
		if err != nil {
			return err
		}
		// Compared this way round, a huge off or size cannot overflow.
		if whole := int64(len(o.body)); off < 0 || size < 0 || off > whole || size > whole-off {
			return fmt.Errorf("%d bytes from %d do not lie inside the object's %d", size, off, whole)
		}
		part = o.body[off : off+size]
		return nil
	})
	if err != nil {
		return nil, err
	}
	return b.carried(part), nil
}

func (b bucketOf) Head(ctx context.Context, key string) (info env.ObjectInfo, err error) {
	err = b.read(ctx, BucketHead, key, "head", func() error {
		o, err := b.l.n.w.bucket.get(key)
		info = env.ObjectInfo{Key: key, Size: int64(len(o.body))}
		return err
	})
	if err != nil {
		return env.ObjectInfo{}, err
	}
	return info, nil
}

func (b bucketOf) List(ctx context.Context, prefix string) (found []env.ObjectInfo, err error) {
	of := &b.l.n.w.bucket
	err = b.call(ctx, BucketList, "list "+prefix, &request{do: func() error {
		found = nil
		from, _ := slices.BinarySearch(of.keys, prefix)
		for _, key := range of.keys[from:] {
			if !strings.HasPrefix(key, prefix) {
				break
			}
			found = append(found, env.ObjectInfo{Key: key, Size: int64(len(of.objects[key].body))})
		}
		return nil
	}})
	if err != nil {
		return nil, err
	}
	return found, nil
}

// carried is a copy of a body as it comes through the network.
func (b bucketOf) carried(body []byte) []byte {
	body = slices.Clone(body)
	if c := b.choices(); len(body) > 0 && b.l.n.hit(BucketCorrupt, c) {
		body[c.Below(uint32(len(body)))] ^= 1 << c.Below(8)
	}
	if body == nil {
		return []byte{}
	}
	return body
}

func (b bucketOf) choices() *Choices { return b.l.n.w.Choices("bucket/" + b.l.n.name) }

// request is one call under way. Once sent it does not depend on its caller.
type request struct {
	do        func() error
	changes   bool
	fate      fate
	sent      bool
	withdrawn bool
	answered  bool
	err       error // of do
	caller    waiter
}

// fate is what is to become of a request.
type fate struct {
	refused     bool // it is answered, but not carried out
	lost, mute  bool // it never arrives; its answer never does
	there, back time.Duration
	patience    time.Duration // until the caller gives up
}

// read is a call that changes nothing.
func (b bucketOf) read(ctx context.Context, kind CallKind, key, verb string, do func() error) error {
	if err := checkKey(key); err != nil {
		return err
	}
	return b.call(ctx, kind, verb+" "+key, &request{do: do})
}

// change is a call whose outcome is unknown when it was sent and not answered.
func (b bucketOf) change(ctx context.Context, kind CallKind, what string, do func() error) error {
	r := &request{do: do, changes: true}
	err := b.call(ctx, kind, what, r)
	if err == nil || r.answered || !r.sent || b.l.dead {
		return err
	}
	return &env.UnknownError{Err: err}
}

func (b bucketOf) call(ctx context.Context, kind CallKind, what string, r *request) error {
	call, err := b.l.begin(ctx, kind)
	if err != nil {
		return err
	}
	n := b.l.n
	r.fate = n.fateOf(r, b.choices())
	if r.fate.refused {
		if err := n.w.sleep(nil, r.fate.there+r.fate.back); err != nil {
			return err
		}
		return &env.DefiniteError{Err: fmt.Errorf("%s: %w", what, ErrUnavailable)}
	}
	if err := b.send(scopeOf(ctx), r); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if err := call.end(); err != nil {
		return err
	}
	if r.err != nil {
		return fmt.Errorf("%s: %w", what, r.err)
	}
	return nil
}

// fateOf draws what is to become of a request of the node.
func (n *Node) fateOf(r *request, c *Choices) fate {
	w := n.w
	to, from := w.link(n.id, 0), w.link(0, n.id)
	f := fate{there: bucketThere + max(0, to.clogged-w.now), back: bucketBack, patience: bucketPatience}
	if from.clogged > w.now {
		f.back += max(0, from.clogged-w.now-f.there) // as if it were sent now: a request that takes long meets it no more
	}
	if n.hit(BucketSlow, c) {
		f.there += c.Skewed(n.faults[BucketSlow].Lasts)
	}
	f.lost, f.mute = to.cut, from.cut
	switch {
	case f.lost || f.mute:
	case n.throttled || n.hit(BucketError, c):
		f.refused = true
	case !r.changes:
	case n.hit(BucketUnknown, c):
		f.mute, f.lost = true, c.Below(2) == 0
		f.patience = f.there + f.back
	case n.hit(BucketLate, c):
		f.mute = true
		f.patience = f.there + f.back
		f.there = f.patience + c.Between(n.faults[BucketLate].Lasts)
	}
	return f
}

// send sends a request and waits for its answer; its error is why there is none.
func (b bucketOf) send(s *scope, r *request) error {
	w := b.l.n.w
	r.sent = true
	r.caller = w.prepare()
	if !r.fate.lost {
		w.After(r.fate.there, func() { w.arrive(r) })
	}
	w.After(r.fate.patience, func() { r.caller.wake(ErrTimeout) })
	err := w.park(s)
	if err != nil && s.ended() != nil && b.choices().Below(2) == 0 {
		r.withdrawn = true // the caller gave up before it had left
	}
	return err
}

// arrive carries a request out and sends the answer.
func (w *World) arrive(r *request) {
	if r.withdrawn {
		return
	}
	w.events++
	r.err = r.do()
	if r.fate.mute {
		return
	}
	w.After(r.fate.back, func() { r.answered = r.caller.wake(nil) || r.answered })
}
