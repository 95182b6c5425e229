package frame

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/varvedb/varve/wal/env"
)

// readChunk is how much a Conn asks the network for at once, in bytes: enough for
// a batch of small frames in one call, little beside the frames of a busy log.
const readChunk = 64 << 10

const (
	// keptBytesMax is the largest buffer that a Conn keeps for the next frame. An answer
	// of 1 MiB of log, or of the pages of one request, grows it to that: grown anew for
	// each, it would be half of what a batch costs.
	keptBytesMax = 2 << 20
	// smallFramesMax is after how many frames in a row that do without a grown buffer a
	// Conn lets go of it.
	smallFramesMax = 64
)

// Conn is a connection of frames. One task may read while another writes. After
// an error of either it is dead.
type Conn struct {
	conn   env.Conn
	in     []byte // bytes received; in[read:] is not returned yet
	read   int
	offset int64 // of in[read] in the stream
	small  int   // frames in a row, up to the last, that a chunk has room for
	out    []byte
}

// NewConn puts frames on a connection, which it owns from then on.
func NewConn(conn env.Conn) *Conn { return &Conn{conn: conn} }

// Read returns the next frame, or io.EOF if the peer closed the connection
// between two frames. The payload is valid until the next Read.
func (c *Conn) Read(ctx context.Context) (Frame, error) {
	f, size, err := c.next(ctx)
	c.read += size
	c.offset += int64(size)
	if c.small++; size > readChunk {
		c.small = 0
	}
	return f, err
}

// Peek returns the frame that the next Read will return.
func (c *Conn) Peek(ctx context.Context) (Frame, error) {
	f, _, err := c.next(ctx)
	return f, err
}

// next returns the next frame and the bytes it takes.
func (c *Conn) next(ctx context.Context) (Frame, int, error) {
	for {
		f, size, err := Decode(c.in[c.read:], c.offset)
		if err != nil || size > 0 {
			return f, size, err
		}
		if err := c.fill(ctx); err != nil {
			return Frame{}, 0, err
		}
	}
}

func (c *Conn) fill(ctx context.Context) error {
	c.makeRoom()
	n, err := c.conn.Read(ctx, c.in[len(c.in):cap(c.in)])
	c.in = c.in[:len(c.in)+n]
	if n > 0 {
		return nil
	}
	defer c.release()
	switch {
	case errors.Is(err, io.EOF) && c.read == len(c.in):
		return io.EOF
	case errors.Is(err, io.EOF):
		return fmt.Errorf("read frame: %w", io.ErrUnexpectedEOF)
	case err == nil:
		return fmt.Errorf("read frame: %w", io.ErrNoProgress)
	}
	return fmt.Errorf("read frame: %w", err)
}

// chunks are the buffers of connections that have ended.
var chunks = sync.Pool{New: func() any { return new([readChunk]byte) }}

// release lets go of an empty buffer: no payload in it is valid any more.
func (c *Conn) release() {
	if len(c.in) == 0 && cap(c.in) == readChunk {
		chunks.Put((*[readChunk]byte)(c.in[:readChunk]))
		c.in = nil
	}
}

// keeps reports whether there is a grown buffer that is kept, though it is empty.
func (c *Conn) keeps() bool {
	return cap(c.in) > readChunk && cap(c.in) <= keptBytesMax && c.small <= smallFramesMax
}

// makeRoom leaves free space behind what was received: it drops what was
// returned, and doubles the buffer when a frame has filled it. So the buffer
// grows with what the peer has sent, never with what it merely announced.
func (c *Conn) makeRoom() {
	c.in = c.in[:copy(c.in, c.in[c.read:])]
	c.read = 0
	switch {
	case len(c.in) == 0 && cap(c.in) != readChunk && !c.keeps():
		c.in = chunks.Get().(*[readChunk]byte)[:0]
	case len(c.in) == cap(c.in):
		c.in = append(make([]byte, 0, 2*cap(c.in)), c.in...)
	}
}

// Write sends frames with one call of the network.
func (c *Conn) Write(ctx context.Context, frames ...Frame) error {
	c.out = c.out[:0]
	for i := range frames {
		c.out = frames[i].AppendTo(c.out)
	}
	return c.writeRaw(ctx, c.out)
}

// writeRaw sends encoded frames.
func (c *Conn) writeRaw(ctx context.Context, encoded []byte) error {
	if _, err := c.conn.Write(ctx, encoded); err != nil {
		return fmt.Errorf("write frame: %w", err)
	}
	return nil
}

// Close ends the connection and makes pending calls return.
func (c *Conn) Close() error { return c.conn.Close() }
