package remote

import (
	"context"
	"sync/atomic"

	"github.com/varvedb/varve/wal/env"
)

// Counted is a bucket that counts what is asked of it.
type Counted struct {
	env.Bucket
	puts, gets, ranges, heads, lists, deletes, failures, bytesPut, bytesGot atomic.Uint64
}

// Count counts what is asked of a bucket, which stays near if it is: what is read of an
// opened object is no request.
func Count(b env.Bucket) (env.Bucket, *Counted) {
	c := &Counted{Bucket: b}
	if near, ok := b.(env.Near); ok {
		return countedNear{c, near}, c
	}
	return c, c
}

type countedNear struct {
	*Counted
	near env.Near
}

func (c countedNear) Open(ctx context.Context, key string) (env.Object, error) {
	return c.near.Open(ctx, key)
}

// Calls are requests to a bucket, and the bytes that they carried.
type Calls struct {
	Puts, Gets, Ranges, Heads, Lists, Deletes uint64
	Failures                                  uint64 // of all these: errors, absences and failed conditions too
	BytesPut, BytesGot                        uint64
}

// Calls returns the counters.
func (c *Counted) Calls() Calls {
	return Calls{
		Puts: c.puts.Load(), Gets: c.gets.Load(), Ranges: c.ranges.Load(), Heads: c.heads.Load(), Lists: c.lists.Load(), Deletes: c.deletes.Load(),
		Failures: c.failures.Load(), BytesPut: c.bytesPut.Load(), BytesGot: c.bytesGot.Load(),
	}
}

// note counts a request that has ended.
func (c *Counted) note(calls *atomic.Uint64, err error) {
	calls.Add(1)
	if err != nil {
		c.failures.Add(1)
	}
}

// Put is the bucket's.
func (c *Counted) Put(ctx context.Context, key string, body []byte, cond env.Condition) (env.ETag, error) {
	tag, err := c.Bucket.Put(ctx, key, body, cond)
	c.note(&c.puts, err)
	c.bytesPut.Add(uint64(len(body)))
	return tag, err
}

// Get is the bucket's.
func (c *Counted) Get(ctx context.Context, key string) ([]byte, env.ETag, error) {
	body, tag, err := c.Bucket.Get(ctx, key)
	c.note(&c.gets, err)
	c.bytesGot.Add(uint64(len(body)))
	return body, tag, err
}

// GetRange is the bucket's.
func (c *Counted) GetRange(ctx context.Context, key string, off, size int64) ([]byte, error) {
	body, err := c.Bucket.GetRange(ctx, key, off, size)
	c.note(&c.ranges, err)
	c.bytesGot.Add(uint64(len(body)))
	return body, err
}

// Head is the bucket's.
func (c *Counted) Head(ctx context.Context, key string) (env.ObjectInfo, error) {
	info, err := c.Bucket.Head(ctx, key)
	c.note(&c.heads, err)
	return info, err
}

// List is the bucket's.
func (c *Counted) List(ctx context.Context, prefix string) ([]env.ObjectInfo, error) {
	objects, err := c.Bucket.List(ctx, prefix)
	c.note(&c.lists, err)
	return objects, err
}

// Delete is the bucket's.
func (c *Counted) Delete(ctx context.Context, key string) error {
	err := c.Bucket.Delete(ctx, key)
	c.note(&c.deletes, err)
	return err
}
