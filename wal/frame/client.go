package frame

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/varvedb/varve/wal/env"
)

// Client sends requests over one connection and matches answers to them. Many
// requests may be in flight, from many tasks or from one. When the connection
// fails every request in flight fails with it, and the client is dead.
type Client struct {
	conn   *Conn
	sender *Sender
	group  env.Group
	tasks  env.Tasks

	mu      sync.Mutex
	waiting map[uint64]*Pending
	lastID  uint64
	err     error
}

const (
	// AnswerMax bounds how long a request waits to be sent, and how long for its answer:
	// well above what any of our servers waits before it answers. A peer that is silent
	// for longer is taken for gone.
	AnswerMax = 2 * time.Minute
)

// ErrSilent is matched by the error of a request whose answer did not come in time, and
// of all others on that connection, which is dead from then on.
var ErrSilent = errors.New("no answer in time")

// Pending is a request whose answer has not been taken yet.
type Pending struct {
	client *Client
	id     uint64
	max    time.Duration // how long the answer is waited for
	take   func([]byte) error
	answer Frame
	err    error
	done   bool
	ready  env.Cond
}

// DialClient connects to a service. The client lives until ctx ends or Close.
func DialClient(ctx context.Context, e env.Env, addr, service string) (*Client, error) {
	conn, err := Dial(ctx, e, addr, service)
	if err != nil {
		return nil, err
	}
	return NewClient(ctx, e, conn), nil
}

// NewClient makes a client of a connection that has exchanged hellos, and owns it.
func NewClient(ctx context.Context, e env.Env, conn *Conn) *Client {
	c := &Client{
		conn:    conn,
		sender:  NewSender(e, conn),
		group:   e.Tasks.NewGroup(ctx),
		tasks:   e.Tasks,
		waiting: map[uint64]*Pending{},
	}
	c.group.Go("write requests", c.sender.Run)
	c.group.Go("read answers", c.readAnswers)
	return c
}

// Call sends a request and waits for its answer, whose payload the caller owns, for at
// most AnswerMax. A *RemoteError in the error's chain is the server's answer; any other
// error leaves open whether the request was carried out. When ctx ends first, a late
// answer is dropped.
func (c *Client) Call(ctx context.Context, typ uint8, payload []byte) (Frame, error) {
	return c.CallWithin(ctx, AnswerMax, typ, payload)
}

// CallWithin is Call for a request whose answer may take longer, or must come sooner.
func (c *Client) CallWithin(ctx context.Context, limit time.Duration, typ uint8, payload []byte) (Frame, error) {
	p, err := c.start(ctx, limit, typ, payload, nil)
	if err != nil {
		return Frame{}, err
	}
	return p.Wait(ctx)
}

// Start sends a request. The payload may be reused when it returns.
func (c *Client) Start(ctx context.Context, typ uint8, payload []byte) (*Pending, error) {
	return c.start(ctx, AnswerMax, typ, payload, nil)
}

// StartTaking is Start for an answer that is not kept as it is: take gets its payload,
// which is valid during the call, unless the answer is an error. It is called by the
// task that reads, once, and not after Wait or Drop; it must not wait. Its error is Wait's.
func (c *Client) StartTaking(ctx context.Context, typ uint8, payload []byte, take func(answer []byte) error) (*Pending, error) {
	return c.start(ctx, AnswerMax, typ, payload, take)
}

func (c *Client) start(ctx context.Context, limit time.Duration, typ uint8, payload []byte, take func([]byte) error) (*Pending, error) {
	p, err := c.register(limit, take)
	if err != nil {
		return nil, err
	}
	if err := c.send(ctx, limit, Frame{Type: typ, ID: p.id, Payload: payload}); err != nil {
		p.Drop()
		return nil, err
	}
	return p, nil
}

// send queues a request, and sets a deadline only if it has to wait for that.
func (c *Client) send(ctx context.Context, limit time.Duration, f Frame) error {
	if queued, err := c.sender.Offer(f); queued {
		return err
	}
	limited, cancel := c.tasks.WithTimeout(ctx, limit)
	defer cancel()
	if err := c.sender.Send(limited, f); err != nil {
		return c.silent(ctx, limited, limit, err)
	}
	return nil
}

// silent makes the client dead if what ended with err did so because the peer was silent
// for too long, and says so.
func (c *Client) silent(ctx, limited context.Context, limit time.Duration, err error) error {
	if limited.Err() == nil || ctx.Err() != nil || c.Err() != nil {
		return err
	}
	err = fmt.Errorf("%w: %v: %w", ErrSilent, limit, context.DeadlineExceeded)
	c.fail(err)
	c.group.Stop()
	return err
}

func (c *Client) register(limit time.Duration, take func([]byte) error) (*Pending, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return nil, c.err
	}
	c.lastID++
	p := &Pending{client: c, id: c.lastID, max: limit, take: take, ready: c.tasks.NewCond(&c.mu)}
	c.waiting[p.id] = p
	return p, nil
}

// Wait returns the answer, once.
func (p *Pending) Wait(ctx context.Context) (Frame, error) {
	limited, cancel := p.client.tasks.WithTimeout(ctx, p.max)
	defer cancel()
	if err := p.await(limited); err != nil {
		return Frame{}, p.client.silent(ctx, limited, p.max, err)
	}
	if p.err != nil {
		return Frame{}, p.err
	}
	return p.answer, AsError(p.answer)
}

// await waits until the answer, or the reason why there is none, is there.
func (p *Pending) await(ctx context.Context) error {
	p.client.mu.Lock()
	defer p.client.mu.Unlock()
	for !p.done {
		if err := p.ready.Wait(ctx); err != nil {
			delete(p.client.waiting, p.id)
			return err
		}
	}
	return nil
}

// Drop gives up the answer, if it has not come.
func (p *Pending) Drop() {
	p.client.mu.Lock()
	defer p.client.mu.Unlock()
	delete(p.client.waiting, p.id)
}

func (c *Client) readAnswers(ctx context.Context) error {
	for {
		f, err := c.conn.Read(ctx)
		if err != nil {
			err = fmt.Errorf("wait for an answer: %w", err)
			c.fail(err)
			return err
		}
		c.deliver(f)
	}
}

// deliver hands an answer to who waits. Nobody does if its caller gave up.
func (c *Client) deliver(f Frame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.waiting[f.ID]
	if p == nil {
		return
	}
	delete(c.waiting, f.ID)
	if p.take != nil && f.Type != TypeError {
		// Under the lock, so that nothing is taken any more when Wait or Drop has returned.
		p.err, f.Payload = p.take(f.Payload), nil
	} else {
		f.Payload = bytes.Clone(f.Payload)
	}
	p.answer, p.done = f, true
	p.ready.Signal()
}

// fail makes the client dead; the first reason stays.
func (c *Client) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
	}
	// Woken in the order of their ids, which is the order they were sent in.
	for _, id := range slices.Sorted(maps.Keys(c.waiting)) {
		p := c.waiting[id]
		delete(c.waiting, id)
		p.err, p.done = err, true
		p.ready.Signal()
	}
}

// Err returns why the client is dead, nil while it lives.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Close ends the connection; requests in flight fail.
func (c *Client) Close() error {
	c.group.Stop()
	err := c.conn.Close()
	// What its tasks ended with was told to those who waited.
	_ = c.group.Wait()
	return err
}
