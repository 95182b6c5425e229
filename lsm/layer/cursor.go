package layer

import (
	"context"
	"math/bits"
	"sync"

	"github.com/varvedb/varve/lsm/kv"
	"github.com/varvedb/varve/wal/assert"
)

// cursorBytes is how much a cursor reads at a time: where a request to an object store
// costs about what its bytes do. It is also how much of that is decoded at a time, which
// may come to 255 times as much. A block that is larger is read, and decoded, alone.
//
// So a cursor holds three times as much: what was read, while not all of it is decoded, what
// is decoded, and what was before that, until it is settled.
const cursorBytes = 256 << 10

// Cursor reads a layer's versions in order, past the cache: what is merged is not read
// again. Make it with [Reader.Cursor].
type Cursor struct {
	r       *Reader
	index   indexBlock
	next    int         // block to be decoded
	stored  blockRun    // next and those after it that were read
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

// load decodes the next blocks, and reads them before if it has to. There are some.
func (c *Cursor) load(ctx context.Context) (err error) {
	if c.next >= c.stored.end() {
		if c.stored, err = c.r.read(ctx, c.index, c.next, c.reach()); err != nil {
			return err
		}
	}
	end, bytes := c.next, 0
	for ; end < c.stored.end(); end++ {
		_, block := c.stored.block(end)
		if end > c.next && bytes+decodedSize(block) > cursorBytes {
			break
		}
		bytes += decodedSize(block)
	}
	c.past, c.memory = c.memory, takeMemory(bytes) // what was past and not settled is garbage
	c.blocks, err = c.r.decode(&c.stored, c.next, end-1, c.memory)
	if c.next = end; end == c.stored.end() {
		c.stored = blockRun{}
	}
	return err
}

// reach is the last block that is read together with the next one.
func (c *Cursor) reach() int {
	last := c.next
	begin, _ := c.index.place(last)
	for last+1 < c.index.len() {
		if off, size := c.index.place(last + 1); off+int64(size)-begin > cursorBytes {
			break
		}
		last++
	}
	return last
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

// memories are pieces of memory that settled cursors have left, of a power of two bytes each,
// up to cursorBytes.
var memories sync.Pool

// takeMemory returns bytes of any content.
func takeMemory(bytes int) []byte {
	if m, _ := memories.Get().(*[]byte); m != nil && cap(*m) >= bytes {
		return (*m)[:bytes]
	}
	return make([]byte, bytes, 1<<bits.Len(uint(bytes-1)))
}

func giveMemory(m []byte) {
	if cap(m) == 0 || cap(m) > cursorBytes {
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
