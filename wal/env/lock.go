package env

import (
	"context"
	"sync"

	"github.com/varvedb/varve/wal/assert"
)

// Lock is a mutex that may be held across calls of Env. Make it with [NewLock].
type Lock struct {
	mu   sync.Mutex
	free Cond
	held bool
}

// NewLock makes a free lock.
func NewLock(tasks Tasks) *Lock {
	l := &Lock{}
	l.free = tasks.NewCond(&l.mu)
	return l
}

// Lock takes the lock, or returns the context's error without it.
func (l *Lock) Lock(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.held {
		if err := l.free.Wait(ctx); err != nil {
			return err
		}
	}
	l.held = true
	return nil
}

// Unlock gives the lock back. It must be held.
func (l *Lock) Unlock() {
	l.mu.Lock()
	defer l.mu.Unlock()
	assert.That(l.held, "a lock is held when it is given back")
	l.held = false
	l.free.Signal()
}
