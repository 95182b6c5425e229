package osenv

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/varvedb/varve/wal/env"
)

type tasks struct{ workers chan struct{} }

func newTasks() *tasks {
	return &tasks{workers: make(chan struct{}, runtime.GOMAXPROCS(0))}
}

func (t *tasks) WithCancel(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithCancel(ctx)
}

func (t *tasks) WithTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, d)
}

func (t *tasks) NewCond(l sync.Locker) env.Cond { return &cond{l: l} }

// Offload runs fn on the caller's own goroutine once one of as many places as there are
// cores is free: a place is what bounds the pool, and the caller would wait anyway.
func (t *tasks) Offload(ctx context.Context, fn func()) error {
	select {
	case t.workers <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-t.workers }()
	fn()
	return nil
}

func (t *tasks) NewGroup(ctx context.Context) env.Group {
	ctx, cancel := context.WithCancelCause(ctx)
	return &group{ctx: ctx, cancel: cancel}
}

// errStopped is the cause of a context that Stop ended.
var errStopped = fmt.Errorf("group stopped: %w", context.Canceled)

type group struct {
	ctx     context.Context
	cancel  context.CancelCauseFunc
	running sync.WaitGroup
	mu      sync.Mutex
	first   error
}

func (g *group) Go(name string, fn func(ctx context.Context) error) {
	g.running.Add(1)
	go func() {
		defer g.running.Done()
		if err := fn(g.ctx); err != nil {
			g.fail(name, err)
		}
	}()
}

func (g *group) fail(name string, err error) {
	// A task that returns because the group was stopped has not failed.
	if errors.Is(err, context.Canceled) && g.ctx.Err() != nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.first == nil {
		g.first = fmt.Errorf("task %s: %w", name, err)
		g.cancel(g.first)
	}
}

func (g *group) Stop() { g.cancel(errStopped) }

func (g *group) Wait() error {
	g.running.Wait()
	g.cancel(errStopped)
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.first
}

// cond keeps its waiters in order of arrival, so that Signal wakes the eldest.
type cond struct {
	l       sync.Locker
	waiters []chan struct{}
}

func (c *cond) Wait(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	wake := make(chan struct{}, 1)
	c.waiters = append(c.waiters, wake)
	c.l.Unlock()
	var err error
	select {
	case <-wake:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	c.l.Lock()
	if err != nil {
		c.forget(wake)
	}
	return err
}

// forget removes a waiter that gave up. If a signal reached it all the same, the
// signal goes to the next one.
func (c *cond) forget(wake chan struct{}) {
	for i, w := range c.waiters {
		if w == wake {
			c.waiters = append(c.waiters[:i], c.waiters[i+1:]...)
			return
		}
	}
	c.Signal()
}

func (c *cond) Signal() {
	if len(c.waiters) == 0 {
		return
	}
	c.waiters[0] <- struct{}{}
	c.waiters = c.waiters[1:]
}

func (c *cond) Broadcast() {
	for len(c.waiters) > 0 {
		c.Signal()
	}
}
