package frame

import (
	"context"
	"sync"

	"github.com/varvedb/varve/wal/env"
)

// senderBytes is how many encoded bytes a Sender queues before Send waits: a few
// round trips' worth on a fast network, and little enough to hold per connection.
// One frame may exceed it if the queue is empty.
const senderBytes = 4 << 20

// queueBytesMax is how many encoded bytes Queue may bring together: some times the
// window of the log's own flow control, which is what usually bounds it.
const queueBytesMax = 64 << 20

// spareBytesMax is the largest buffer that a Sender keeps when it is idle.
const spareBytesMax = 1 << 20

// Sender queues frames from many tasks for one connection. Frames leave in the
// order of the calls of Send.
type Sender struct {
	conn     *Conn
	mu       sync.Mutex
	notEmpty env.Cond
	notFull  env.Cond
	queued   []byte // encoded frames
	spare    []byte // the buffer that was written last
	err      error
}

// NewSender makes the queue; Run empties it.
func NewSender(e env.Env, conn *Conn) *Sender {
	s := &Sender{conn: conn}
	s.notEmpty = e.Tasks.NewCond(&s.mu)
	s.notFull = e.Tasks.NewCond(&s.mu)
	return s
}

// Send queues a frame, waiting while the queue is full. The payload may be reused
// when it returns. After Run has ended it returns Run's error.
func (s *Sender) Send(ctx context.Context, f Frame) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.err == nil && s.isFullFor(f) {
		if err := s.notFull.Wait(ctx); err != nil {
			return err
		}
	}
	return s.put(f)
}

// Offer is Send that does not wait: false means that the queue is full.
func (s *Sender) Offer(f Frame) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil && s.isFullFor(f) {
		return false, nil
	}
	return true, s.put(f)
}

func (s *Sender) isFullFor(f Frame) bool {
	return len(s.queued) > 0 && len(s.queued)+len(f.Payload) > senderBytes
}

func (s *Sender) put(f Frame) error {
	if s.err != nil {
		return s.err
	}
	s.queued = f.AppendTo(s.queued)
	s.notEmpty.Signal()
	return nil
}

// Message is a payload that is encoded where it is sent from.
type Message interface {
	// AppendTo appends at most MaxPayload bytes to dst.
	AppendTo(dst []byte) []byte
}

// Queue queues a frame without waiting, for callers that bound what they queue by
// other means. False means that the frame was not queued: the queue is full, or Run
// has ended. The caller then closes the connection, since a frame is missing.
func (s *Sender) Queue(typ uint8, m Message) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return false
	}
	start := len(s.queued)
	s.queued = finish(m.AppendTo(appendHeader(s.queued, typ, 0)), start)
	if len(s.queued) > queueBytesMax {
		s.queued = s.queued[:start]
		return false
	}
	s.notEmpty.Signal()
	return true
}

// Run writes what is queued until the connection or ctx ends.
func (s *Sender) Run(ctx context.Context) error {
	for {
		batch, err := s.take(ctx)
		if err == nil {
			err = s.conn.writeRaw(ctx, batch)
		}
		if err != nil {
			s.fail(err)
			return err
		}
	}
}

func (s *Sender) take(ctx context.Context) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.queued) == 0 {
		if err := s.notEmpty.Wait(ctx); err != nil {
			return nil, err
		}
	}
	batch := s.queued
	s.queued, s.spare = s.spare[:0], batch
	if cap(s.spare) > spareBytesMax {
		s.spare = nil
	}
	s.notFull.Broadcast()
	return batch, nil
}

func (s *Sender) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
	s.notFull.Broadcast()
}
