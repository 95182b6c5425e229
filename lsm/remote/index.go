package remote

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/varvedb/varve/lsm/layer"
	"github.com/varvedb/varve/lsm/manifest"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env"
)

const (
	// attemptsMax bounds how often a PUT is sent. With the pauses below it gives
	// the bucket about five seconds to come back; whoever flushes tries again later.
	attemptsMax = 9
	pauseMin    = 10 * time.Millisecond
)

// ErrTaken says that an index object is not in the state that its writer expects:
// it exists already, or another writer replaced it.
var ErrTaken = errors.New("index was written by another")

// Index is a timeline's index object in the bucket.
type Index struct {
	Env env.Env
	Key string

	// An object of another timeline is damage, and so is one of another parent, if it has one.
	Timeline, Parent wal.TimelineID
}

// Load reads the object. It matches env.ErrNoObject if there is none.
func (o Index) Load(ctx context.Context) (*manifest.Index, env.ETag, error) {
	body, tag, err := o.Env.Bucket.Get(ctx, o.Key)
	if err != nil {
		return nil, "", fmt.Errorf("read index: %w", err)
	}
	x, err := manifest.Decode(o.Key, body)
	if err == nil {
		err = o.CheckIdentity(&x.Head)
	}
	if err != nil {
		return nil, "", err
	}
	return x, tag, nil
}

// LoadHead reads the head of the object, which is as small however many layers the
// timeline has. It matches env.ErrNoObject if there is none. What else fails is left to the
// whole object to explain: it may be too short, or of another version, or damaged, or be
// sound and that answer alone was not.
func (o Index) LoadHead(ctx context.Context) (*manifest.Head, error) {
	head, err := o.loadHead(ctx)
	if err == nil || errors.Is(err, env.ErrNoObject) {
		return head, err
	}
	o.Env.Trace.Cover("lsm index read whole for its head")
	x, _, err := o.Load(ctx)
	if err != nil {
		return nil, err
	}
	return &x.Head, nil
}

func (o Index) loadHead(ctx context.Context) (*manifest.Head, error) {
	body, err := o.Env.Bucket.GetRange(ctx, o.Key, 0, manifest.HeadSize)
	if err != nil {
		return nil, fmt.Errorf("read head of index: %w", err)
	}
	head, err := manifest.DecodeHead(o.Key, body)
	if err != nil {
		return nil, err
	}
	return head, o.CheckIdentity(head)
}

// CheckIdentity says whether the head is of the timeline whose object it is to be. One that
// has left its parent keeps its object where it was made.
func (o Index) CheckIdentity(head *manifest.Head) error {
	switch {
	case head.Timeline != o.Timeline:
		return wal.Corruptf(o.Key, 16, "timeline", o.Timeline, head.Timeline)
	case head.Parent != o.Parent && !head.IsRoot():
		return wal.Corruptf(o.Key, 32, "parent", o.Parent, head.Parent)
	}
	return nil
}

// Create writes the object if there is none yet, else it matches ErrTaken. It sends no
// second request once the outcome of one is unknown, but waits for the object: the first
// might arrive when the object was made by the second and deleted again, and nothing tells
// that from a new one. If it does not come, the error is env.IsUnknown, and it may yet.
func (o Index) Create(ctx context.Context, x *manifest.Index) (env.ETag, error) {
	return o.put(ctx, x, env.IfAbsent())
}

// Replace writes the object in place of the content that tag names. It matches
// ErrTaken if another writer came before.
//
// If it fails otherwise, the PUT may still arrive: the same writer's next Replace
// finds that out and builds on it.
func (o Index) Replace(ctx context.Context, x *manifest.Index, tag env.ETag) (env.ETag, error) {
	return o.put(ctx, x, env.IfMatch(tag))
}

func (o Index) put(ctx context.Context, x *manifest.Index, cond env.Condition) (env.ETag, error) {
	body := x.AppendTo(nil)
	var landed env.ETag
	var unsure error // of a creation that may yet arrive
	err := retry(ctx, o.Env, func() (again bool, err error) {
		cause := unsure
		if cause == nil {
			landed, cause = o.Env.Bucket.Put(ctx, o.Key, body, cond)
		}
		switch {
		case cause == nil:
			return false, nil
		case env.IsUnknown(cause) && cond.IfAbsent:
			unsure = cause
		case !env.IsUnknown(cause) && !errors.Is(cause, env.ErrPrecondition):
			return true, cause
		}
		landed, cond, err = o.settle(ctx, x, cond, cause)
		return landed == "" && !errors.Is(err, ErrTaken), err
	})
	if err != nil {
		return "", fmt.Errorf("write index %s: %w", o.Key, err)
	}
	return landed, nil
}

// settle reads the object back after a PUT that failed with cause. It returns the
// tag of what landed if that is x, and else the condition to try again with and
// an error, which matches ErrTaken if trying again is no use.
func (o Index) settle(ctx context.Context, x *manifest.Index, cond env.Condition, cause error) (env.ETag, env.Condition, error) {
	o.Env.Trace.Cover("lsm index put settled by reading back")
	current, tag, err := o.Load(ctx)
	switch {
	case errors.Is(err, env.ErrNoObject) && cond.IfAbsent:
		return "", cond, cause
	case errors.Is(err, env.ErrNoObject):
		return "", cond, fmt.Errorf("%w: the object was deleted", ErrTaken)
	case err != nil:
		return "", cond, fmt.Errorf("%w, then %w", cause, err)
	case current.Writer == x.Writer && current.Sequence == x.Sequence:
		return tag, cond, nil
	case !cond.IfAbsent && tag == cond.IfMatch:
		return "", cond, cause
	case !cond.IfAbsent && current.Writer == x.Writer && current.Sequence < x.Sequence:
		// An earlier PUT of this writer, given up on, arrived late.
		return "", env.IfMatch(tag), cause
	}
	return "", cond, fmt.Errorf("%w: writer %x, generation %d", ErrTaken, current.Writer[:4], current.Generation)
}

// Delete removes the object, sending the request until it succeeds.
func (o Index) Delete(ctx context.Context) error {
	return Delete(ctx, o.Env, o.Key)
}

// Delete removes an object, sending the request until it succeeds: deleting twice
// is deleting once, so an unknown outcome needs no settling.
func Delete(ctx context.Context, e env.Env, key string) error {
	err := retry(ctx, e, func() (bool, error) {
		return true, e.Bucket.Delete(ctx, key)
	})
	if err != nil {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	return nil
}

// PutLayer writes a layer object. Sending it again under the same name with the
// same bytes changes nothing, so an unknown outcome needs no settling.
func PutLayer(ctx context.Context, e env.Env, key string, desc *layer.Desc, data []byte) error {
	err := retry(ctx, e, func() (bool, error) {
		_, err := e.Bucket.Put(ctx, key, data, env.Condition{})
		return true, err
	})
	if err != nil {
		return fmt.Errorf("write layer %s of %d bytes: %w", key, desc.Size, err)
	}
	return nil
}

// retry calls fn until it succeeds, says that again is no use, the context ends,
// or attemptsMax calls were made, with growing pauses between them.
func retry(ctx context.Context, e env.Env, fn func() (again bool, err error)) error {
	for attempt := 1; ; attempt++ {
		again, err := fn()
		if err == nil || !again || attempt == attemptsMax {
			return err
		}
		if ctx.Err() != nil {
			return err
		}
		if sleepErr := e.Clock.Sleep(ctx, pauseMin<<attempt); sleepErr != nil {
			return err
		}
	}
}
