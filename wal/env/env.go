package env

import (
	"context"
	"sync"
	"time"
)

// Env is one node's world. Its fields are never nil.
type Env struct {
	Clock  Clock
	Tasks  Tasks
	FS     FS
	Net    Net
	Bucket Bucket
	Rand   Rand
	Trace  Trace
}

// Clock tells time. A simulated node's clock has an offset, drifts and steps.
type Clock interface {
	// Now is monotonic: the time since some fixed moment of this process.
	Now() time.Duration
	// Wall is the time of day. It may jump.
	Wall() time.Time
	// Sleep returns nil after d, or the context's error if that ends first.
	Sleep(ctx context.Context, d time.Duration) error
}

// Tasks starts tasks and makes the things they wait on.
type Tasks interface {
	// NewGroup makes a group whose tasks see a context that ends when ctx does,
	// when Stop is called, or when a task of the group returns an error.
	NewGroup(ctx context.Context) Group
	WithCancel(ctx context.Context) (context.Context, context.CancelFunc)
	WithTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc)
	// NewCond makes a condition variable guarded by l, a plain mutex that is
	// never held across a call of Env other than Cond.Wait.
	NewCond(l sync.Locker) Cond
	// Offload runs fn, pure CPU work that calls no Env, on a bounded pool.
	Offload(ctx context.Context, fn func()) error
}

// Group owns tasks that live and end together.
type Group interface {
	// Go starts a task. The name appears in traces and errors.
	Go(name string, fn func(ctx context.Context) error)
	// Stop ends the group's context; it does not wait.
	Stop()
	// Wait returns when every task has ended, with the first error other than
	// the cancellation that Stop caused.
	Wait() error
}

// Cond is a condition variable.
type Cond interface {
	// Wait releases the guarding lock, waits for a wake-up or the context's end,
	// and takes the lock again before it returns. It may wake for no reason, so
	// the caller tests its condition in a loop. A signal that reaches a waiter
	// whose context has ended goes on to the next one.
	Wait(ctx context.Context) error
	// Signal wakes the eldest waiter. The guarding lock is held.
	Signal()
	// Broadcast wakes every waiter. The guarding lock is held.
	Broadcast()
}

// Rand gives named streams of random numbers. In the simulator each is hashed
// from the seed and its name, so that one more draw here moves nothing there.
type Rand interface {
	Stream(name string) Stream
}

// Stream is one stream of random numbers, for use by one task.
type Stream interface {
	Uint64() uint64
}

// Trace takes notes of what happens. Attributes come in pairs of name and value,
// as in log/slog.
type Trace interface {
	Event(name string, attrs ...any)
	// Cover marks that a rare and interesting place was reached.
	Cover(label string)
	// Yield is a free point of pre-emption: nothing in production.
	Yield(ctx context.Context, label string)
}

// IntN draws a number in [0, n). n must be positive.
func IntN(s Stream, n int) int { return int(s.Uint64() % uint64(n)) }

// FillRandom fills p with random bytes.
func FillRandom(s Stream, p []byte) {
	for len(p) > 0 {
		word := s.Uint64()
		for i := 0; i < 8 && len(p) > 0; i++ {
			p[0] = byte(word >> (8 * i))
			p = p[1:]
		}
	}
}
