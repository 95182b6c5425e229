package control

import (
	"context"
	"sync"
	"time"
)

// restartPause is the least time between two starts of a role, so that one that
// cannot start does not spin.
const restartPause = time.Second

// role is a process that is started again whenever it dies: a safekeeper or the
// pageserver.
type role struct {
	name  string
	addr  string
	start func() (*process, error)

	mu      sync.Mutex
	process *process      // nil between two lives
	changed chan struct{} // closed, and replaced, when process changes
	done    chan struct{}
}

// startRole starts a role, waits until it serves for the first time, and keeps it
// alive until ctx ends.
func startRole(ctx context.Context, name, addr string, start func() (*process, error)) (*role, error) {
	r := &role{name: name, addr: addr, start: start, changed: make(chan struct{}), done: make(chan struct{})}
	p, err := start()
	if err != nil {
		return nil, err
	}
	if _, err := p.waitReady(ctx); err != nil {
		p.terminate()
		return nil, err
	}
	r.process = p
	go r.keepAlive(ctx, p)
	return r, nil
}

func (r *role) keepAlive(ctx context.Context, p *process) {
	defer close(r.done)
	for {
		select {
		case <-p.ended:
		case <-ctx.Done():
			p.terminate()
			r.set(nil)
			return
		}
		r.set(nil)
		if p = r.restart(ctx); p == nil {
			return
		}
		r.set(p)
	}
}

// restart starts the role until that works; it returns nil once ctx ends.
func (r *role) restart(ctx context.Context) *process {
	for {
		timer := time.NewTimer(restartPause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
		p, err := r.start()
		if err == nil {
			if _, err = p.waitReady(ctx); err == nil {
				return p
			}
			// Its log says why.
			p.terminate()
		}
	}
}

func (r *role) set(p *process) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.process = p
	close(r.changed)
	r.changed = make(chan struct{})
}

// awaitChange returns when the process has died or another has taken its place, or
// after restartPause, whichever comes first: a caller that could not reach the role
// then tries again.
func (r *role) awaitChange(ctx context.Context) error {
	r.mu.Lock()
	changed := r.changed
	r.mu.Unlock()
	timer := time.NewTimer(restartPause)
	defer timer.Stop()
	select {
	case <-changed:
	case <-timer.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

// wait returns once the role has ended, after its context did.
func (r *role) wait() { <-r.done }

func (r *role) status() Process {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := Process{Name: r.name, Addr: r.addr, State: StateFailed}
	if r.process != nil {
		s.State, s.PID = StateRunning, r.process.pid()
	}
	return s
}
