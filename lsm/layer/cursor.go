package layer

import (
	"context"

	"github.com/varvedb/varve/lsm/kv"
)

// cursorReadBytes is about how much a cursor reads at a time: where a request to an
// object store costs about what its bytes do. The cursor holds that much, decoded.
const cursorReadBytes = 256 << 10

// Cursor reads a layer's versions in order, past the cache: what is merged is not read
// again. Make it with [Reader.Cursor].
type Cursor struct {
	r       *Reader
	index   indexBlock
	next    int         // block to be read
	blocks  []dataBlock // after block
	block   blockCursor // after current
	current kv.Version
	done    bool
}

// Cursor returns a cursor at the first version whose key is from or later. It reads
// nothing if there is none.
func (r *Reader) Cursor(ctx context.Context, from kv.Key) (*Cursor, error) {
	index, _, err := r.tail(ctx)
	if err != nil {
		return nil, err
	}
	c := &Cursor{r: r, index: index, next: max(index.find(from, 0), 0)}
	if r.desc.KeyHi.Less(from) {
		c.next = index.len()
	}
	for {
		if err := c.Next(ctx); err != nil || c.Done() || !c.current.Key.Less(from) {
			return c, err
		}
	}
}

// Done reports whether there are no more versions.
func (c *Cursor) Done() bool { return c.done }

// Version is the current version, while the cursor is not done. Its value stays valid.
func (c *Cursor) Version() kv.Version { return c.current }

// Next goes to the next version, or is done.
func (c *Cursor) Next(ctx context.Context) error {
	if c.block.done() && len(c.blocks) == 0 {
		if c.next == c.index.len() {
			c.done = true
			return nil
		}
		if err := c.load(ctx); err != nil {
			return err
		}
	}
	if c.block.done() {
		c.block, c.blocks = c.blocks[0].cursor(), c.blocks[1:]
	}
	c.current = c.block.take()
	return nil
}

// load reads the next blocks. There are some.
func (c *Cursor) load(ctx context.Context) (err error) {
	last, bytes := c.next, 0
	for ; last < c.index.len(); last++ {
		_, size := c.index.place(last)
		if bytes += size; bytes >= cursorReadBytes {
			break
		}
	}
	last = min(last, c.index.len()-1)
	c.blocks, err = c.r.load(ctx, c.index, c.next, last, nil)
	c.next = last + 1
	return err
}
