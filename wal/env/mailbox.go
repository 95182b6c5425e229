package env

import (
	"context"
	"errors"
	"sync"

	"github.com/varvedb/varve/wal/assert"
)

// ErrClosed is returned by a mailbox that was closed.
var ErrClosed = errors.New("mailbox closed")

// Mailbox is a bounded queue between tasks. Make it with [NewMailbox].
type Mailbox[T any] struct {
	mu       sync.Mutex
	notEmpty Cond
	notFull  Cond
	ring     []T
	head     int
	count    int
	closed   bool
}

// NewMailbox makes a mailbox that holds at most capacity messages.
func NewMailbox[T any](tasks Tasks, capacity int) *Mailbox[T] {
	assert.That(capacity > 0, "a mailbox's capacity %d is positive", capacity)
	m := &Mailbox[T]{ring: make([]T, capacity)}
	m.notEmpty = tasks.NewCond(&m.mu)
	m.notFull = tasks.NewCond(&m.mu)
	return m
}

// Put adds a message, waiting while the mailbox is full. It returns ErrClosed
// after Close.
func (m *Mailbox[T]) Put(ctx context.Context, message T) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for m.count == len(m.ring) && !m.closed {
		if err := m.notFull.Wait(ctx); err != nil {
			return err
		}
	}
	if m.closed {
		return ErrClosed
	}
	m.push(message)
	return nil
}

// TryPut adds a message if there is room, and reports whether it did.
func (m *Mailbox[T]) TryPut(message T) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || m.count == len(m.ring) {
		return false
	}
	m.push(message)
	return true
}

// Take removes the oldest message, waiting while there is none. After Close it
// gives what is left, then ErrClosed.
func (m *Mailbox[T]) Take(ctx context.Context) (message T, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for m.count == 0 && !m.closed {
		if err := m.notEmpty.Wait(ctx); err != nil {
			return message, err
		}
	}
	if m.count == 0 {
		return message, ErrClosed
	}
	return m.pop(), nil
}

// TryTake removes the oldest message if there is one, and reports whether it did.
func (m *Mailbox[T]) TryTake() (message T, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.count == 0 {
		return message, false
	}
	return m.pop(), true
}

// Close refuses further messages and wakes everyone who waits.
func (m *Mailbox[T]) Close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	m.notEmpty.Broadcast()
	m.notFull.Broadcast()
}

func (m *Mailbox[T]) push(message T) {
	m.ring[(m.head+m.count)%len(m.ring)] = message
	m.count++
	m.notEmpty.Signal()
}

func (m *Mailbox[T]) pop() T {
	var zero T
	message := m.ring[m.head]
	m.ring[m.head] = zero
	m.head = (m.head + 1) % len(m.ring)
	m.count--
	m.notFull.Signal()
	return message
}
