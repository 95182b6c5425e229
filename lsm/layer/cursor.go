package layer

import (
	"context"
	"math/bits"
	"sync"

	"github.com/varvedb/varve/lsm/kv"
	"github.com/varvedb/varve/wal/assert"
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

	memory []byte // of blocks and block
	past   []byte // of those before, whose values the caller may still use
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

// Version is the current version, while the cursor is not done. Its value stays valid until
// [Cursor.Settle].
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
	c.blocks, err = c.r.load(ctx, c.index, c.next, last, func(bytes int) []byte {
		c.past, c.memory = c.memory, takeMemory(bytes) // what was past and not settled is garbage
		return c.memory
	})
	c.next = last + 1
	return err
}

// Settle tells that no value of a version before the current one is used any more: their
// memory is used again. Once the cursor is done that is all values.
func (c *Cursor) Settle() {
	giveMemory(c.past)
	c.past = nil
	if c.done {
		giveMemory(c.memory)
		c.memory = nil
	}
}

// memoryBytesMax is the largest piece of memory that is used again: what a cursor reads at a
// time, of pages that compress to a thirtieth.
const memoryBytesMax = 8 << 20

// memories are pieces of memory that settled cursors have left, of a power of two bytes each.
var memories sync.Pool

// takeMemory returns bytes of any content.
func takeMemory(bytes int) []byte {
	if m, _ := memories.Get().(*[]byte); m != nil && cap(*m) >= bytes {
		return (*m)[:bytes]
	}
	return make([]byte, bytes, 1<<bits.Len(uint(bytes-1)))
}

func giveMemory(m []byte) {
	if cap(m) == 0 || cap(m) > memoryBytesMax {
		return
	}
	if assert.Costly {
		// Who still uses it shall be found out.
		for i := range m {
			m[i] = 0xDB
		}
	}
	memories.Put(&m)
}
