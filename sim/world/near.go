package world

import (
	"context"
	"fmt"
	"io"

	"github.com/varvedb/varve/wal/env"
)

// bucket is what the life has of the world's bucket.
func (l *life) bucket() env.Bucket {
	if l.n.w.cfg.Near {
		return nearBucket{bucketOf{l}}
	}
	return bucketOf{l}
}

// nearBucket is a life's env.Near. Opening is a request as any other; what is open is read
// as files are, with the faults of the disk's reads and without the network's.
type nearBucket struct{ bucketOf }

func (b nearBucket) Open(ctx context.Context, key string) (env.Object, error) {
	var found object
	err := b.read(ctx, BucketOpen, key, "open", func() (err error) {
		found, err = b.l.n.w.bucket.get(key)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &openObject{b: b.bucketOf, key: key, body: found.body}, nil
}

// openObject is an object as it was when it was opened: bodies are replaced, not changed.
type openObject struct {
	b      bucketOf
	key    string
	body   []byte
	closed bool
}

func (o *openObject) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read %s: negative offset %d", o.key, off)
	}
	c, err := o.b.l.enter(ctx, ObjectReadAt, readTime)
	if err != nil {
		return 0, err
	}
	if o.closed {
		return 0, fmt.Errorf("object %s: %w", o.key, ErrClosed)
	}
	n := o.b.l.n
	if n.hit(DiskReadError, n.files) {
		return 0, fmt.Errorf("read %s at %d: %w", o.key, off, ErrIO)
	}
	part := o.body[min(off, int64(len(o.body))):]
	part = part[:min(len(p), len(part))]
	if len(part) > 1 && n.hit(DiskShortRead, n.files) {
		part = part[:1+int(n.files.Below(uint32(len(part)-1)))]
		return copy(p, part), fmt.Errorf("read %s at %d: %w after %d bytes", o.key, off, ErrIO, len(part))
	}
	copy(p, o.b.carried(part))
	if err := c.end(); err != nil {
		return 0, err
	}
	if len(part) < len(p) {
		return len(part), io.EOF
	}
	return len(part), nil
}

func (o *openObject) Close() error {
	if o.closed {
		return fmt.Errorf("object %s: %w", o.key, ErrClosed)
	}
	o.closed = true
	return nil
}
