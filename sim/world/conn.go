package world

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"
)

// conn is one end of a connection.
type conn struct {
	l       *life
	addr    string
	in, out *pipe
	closed  bool
	gone    bool  // its process is dead or has closed it: what arrives is answered by a reset
	broken  error // why it is dead

	prev, next *conn // among its life's open ones
}

// pipe is one direction of a connection: bytes that arrived and were not read, and
// bytes under way. Both lie in one buffer, so that sending makes no garbage.
type pipe struct {
	link     *link
	from, to *conn
	way      fifo[parcel] // under way, in order
	last     time.Duration
	armed    bool   // a moment of the queue is for the first of way
	stuck    uint64 // not 0: waits for its link or for the node's power; counts the stalls
	stalls   uint64
	hole     bool   // what goes in vanishes
	bytes    []byte // that were read, arrived, and are under way
	done     int    // of bytes: were read
	unread   int    // of bytes: arrived and were not read
	flying   int    // were sent and did not arrive: the window has no room for them
	ended    bool   // nothing comes after what is here
	reader   waiter
	writer   waiter
}

// parcel is what one write gave the network, or the end of the stream.
type parcel struct {
	at    time.Duration // when it arrives
	sent  time.Duration
	size  int // of the pipe's bytes
	end   bool
	reset bool
}

// connect makes a connection between two lives.
func (w *World) connect(a, b *life, addr string) (mine, theirs *conn) {
	mine, theirs = &conn{l: a, addr: addr}, &conn{l: b, addr: addr}
	there := &pipe{link: w.link(a.n.id, b.n.id), from: mine, to: theirs}
	back := &pipe{link: w.link(b.n.id, a.n.id), from: theirs, to: mine}
	mine.out, mine.in, theirs.out, theirs.in = there, back, back, there
	a.conns.push(mine)
	b.conns.push(theirs)
	return mine, theirs
}

func (c *conn) Read(ctx context.Context, p []byte) (int, error) {
	call, err := c.l.begin(ctx, ConnRead)
	if err != nil {
		return 0, err
	}
	for {
		if c.closed {
			return 0, fmt.Errorf("read from %s: %w", c.addr, ErrClosed)
		}
		if len(p) == 0 || c.in.unread > 0 {
			break
		}
		if c.broken != nil {
			return 0, fmt.Errorf("read from %s: %w", c.addr, c.broken)
		}
		if c.in.ended {
			return 0, io.EOF
		}
		c.in.reader = c.l.n.w.prepare()
		if err := c.l.n.w.park(scopeOf(ctx)); err != nil {
			return 0, err
		}
	}
	n := c.l.n
	if most := min(len(p), c.in.unread); most > 1 && n.hit(NetShortRead, c.in.link.choices) {
		p = p[:1+c.in.link.choices.Below(uint32(most-1))]
	}
	return c.in.read(p), call.end()
}

// read takes what is here, and gives the writer room.
func (p *pipe) read(dst []byte) (total int) {
	total = copy(dst, p.bytes[p.done:][:p.unread])
	p.done += total
	p.unread -= total
	if p.done == len(p.bytes) {
		p.bytes, p.done = p.bytes[:0], 0
	}
	p.writer.wake(nil)
	return total
}

func (c *conn) Write(ctx context.Context, p []byte) (int, error) {
	call, err := c.l.begin(ctx, ConnWrite)
	if err != nil {
		return 0, c.spoil(err)
	}
	written := 0
	for written < len(p) {
		if c.closed {
			return written, fmt.Errorf("write to %s: %w", c.addr, ErrClosed)
		}
		if c.broken != nil {
			return written, fmt.Errorf("write to %s: %w", c.addr, c.broken)
		}
		room := windowSize - c.out.unread - c.out.flying
		if room > 0 {
			n := min(room, len(p)-written)
			c.out.send(p[written : written+n])
			written += n
			continue
		}
		c.out.writer = c.l.n.w.prepare()
		if err := c.l.n.w.park(scopeOf(ctx)); err != nil {
			return written, c.spoil(err)
		}
	}
	return written, call.end()
}

// spoil makes later writes fail after one that gave up half-way.
func (c *conn) spoil(err error) error {
	if c.broken == nil && !c.l.dead {
		c.broken = err
	}
	return err
}

// send gives bytes to the network.
func (p *pipe) send(data []byte) {
	n := p.from.l.n
	choices := p.link.choices
	if p.link.id.from != p.link.id.to {
		if len(data) > 1 && n.hit(NetTorn, choices) {
			p.put(data[:1+choices.Below(uint32(len(data)-1))])
			p.from.in.reset(choices)
			p.ship(parcel{reset: true})
			return
		}
		if n.hit(NetReset, choices) {
			p.reset(choices)
			p.from.in.reset(choices)
			return
		}
		if n.hit(NetHalfOpen, choices) {
			p.hole = true
			p.from.in.hole = p.from.in.hole || choices.Below(2) == 1
		}
	}
	p.put(data)
}

// put has bytes be under way.
func (p *pipe) put(data []byte) {
	if len(p.bytes)+len(data) > cap(p.bytes) {
		p.bytes, p.done = p.bytes[:copy(p.bytes, p.bytes[p.done:])], 0
	}
	p.bytes = append(p.bytes, data...)
	p.flying += len(data)
	p.ship(parcel{size: len(data)})
}

// reset resets one direction of the connection from within the network. What is under
// way is lost, or arrives late all the same.
func (p *pipe) reset(choices *Choices) {
	n := p.from.l.n
	if !n.hit(NetLate, choices) {
		p.way.clear()
		p.bytes = p.bytes[:p.done+p.unread]
		p.last = 0
	} else if p.way.len() > 0 {
		p.last = max(p.last, n.w.now+choices.Between(n.faults[NetLate].Lasts))
		late := p.way.rest()
		for i := range late {
			late[i].at = max(late[i].at, p.last)
		}
	}
	p.ship(parcel{reset: true})
}

// ship puts a parcel behind those under way.
func (p *pipe) ship(x parcel) {
	n := p.from.l.n
	x.sent = n.w.now
	x.at = max(p.last, x.sent+n.way(p.link))
	p.last = x.at
	p.way.push(x)
	p.arm()
}

func (p *pipe) arm() {
	if !p.armed && p.stuck == 0 && p.way.len() > 0 {
		p.armed = true
		p.from.l.n.w.at(p.way.first().at, p, 0)
	}
}

// fire is the arrival of the first parcel, if nothing stands in its way.
func (p *pipe) fire(uint64) {
	w := p.from.l.n.w
	p.armed = false
	if p.way.len() == 0 || p.stuck != 0 {
		return
	}
	if p.way.first().at > w.now {
		p.arm()
		return
	}
	switch to := p.to.l.n; {
	case p.hole:
		p.stall(nil)
	case p.link.cut:
		p.stall(&p.link.stuck)
	case to.off:
		p.stall(&to.downed)
	default:
		p.deliver(p.way.pop())
		p.arm()
	}
}

// stall waits for what stands in the way to go. Its sender loses patience in the end.
func (p *pipe) stall(until *[]*pipe) {
	w := p.from.l.n.w
	p.stalls++
	p.stuck = p.stalls
	stall := p.stuck
	if until != nil {
		*until = append(*until, p)
	}
	w.After(unheardMax, func() {
		if p.stuck == stall {
			p.from.fail(ErrTimeout)
		}
	})
}

func (p *pipe) deliver(x parcel) {
	n := p.to.l.n
	n.w.events++
	p.flying -= x.size
	arrived := p.done + p.unread
	switch {
	case x.reset:
		n.w.note(n, KindReset, 0, p.to.addr)
		p.to.fail(ErrReset)
	case p.to.gone:
		// Nobody is here any more: the sender hears that.
		p.bytes = slices.Delete(p.bytes, arrived, arrived+x.size)
		if !x.end {
			p.to.out.ship(parcel{reset: true})
		}
	case x.end:
		n.w.noteArrival(n, p.from.l.n, x.sent, 0, p.to.addr)
		p.ended = true
		p.reader.wake(nil)
	default:
		n.w.noteArrival(n, p.from.l.n, x.sent, crcOf(p.bytes[arrived:][:x.size]), p.to.addr)
		p.unread += x.size
		p.reader.wake(nil)
	}
}

// fail makes a connection dead for its end. What has arrived can still be read.
func (c *conn) fail(err error) {
	if c.broken == nil {
		c.broken = err
	}
	c.in.reader.wake(nil)
	c.out.writer.wake(nil)
}

func (c *conn) Close() error {
	if c.l.dead || c.closed {
		return fmt.Errorf("connection to %s: %w", c.addr, ErrClosed)
	}
	c.abandon(false)
	c.in.reader.wake(nil)
	c.out.writer.wake(nil)
	return nil
}

// abandon closes one end: the other reads its end of stream after all that was
// sent; or a reset, if asked for, or if there is something that was not read.
func (c *conn) abandon(reset bool) {
	c.vanish()
	c.closed = true
	if c.broken == nil {
		rude := reset || c.in.unread > 0
		c.out.ship(parcel{end: !rude, reset: rude})
	}
}

// vanish takes one end away without a word.
func (c *conn) vanish() {
	if !c.gone {
		c.gone = true
		c.l.conns.remove(c)
	}
}

// connList is a life's open connections, in the order in which they were made.
type connList struct{ first, last *conn }

func (l *connList) push(c *conn) {
	c.prev = l.last
	if l.last != nil {
		l.last.next = c
	} else {
		l.first = c
	}
	l.last = c
}

func (l *connList) remove(c *conn) {
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		l.first = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	} else {
		l.last = c.prev
	}
	c.prev, c.next = nil, nil
}
