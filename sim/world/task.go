package world

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime/debug"
	"sync"
	"time"

	"github.com/varvedb/varve/wal/assert"
	"github.com/varvedb/varve/wal/env"
)

// task is a thread of a node's life.
type task struct {
	l    *life
	id   uint64 // counts the world's tasks
	name string
	slot int // among its life's tasks

	fn func()
	on *coroutine // nil before it first runs, and when it has ended

	// While it waits: which wait it is, so that a late wake-up of an earlier wait
	// is told apart; and under which scope.
	parked          bool
	wait            uint64
	under           *scope
	prev, following *task
	result          error // what its wait ends with

	fenced int // calls of Env since its node's death

	promised bool // a turn on its slow node is for it
}

// spawn makes a task and puts it among the ready.
func (l *life) spawn(name string, fn func()) {
	w := l.n.w
	w.tasks++
	t := &task{l: l, id: w.tasks, name: name, fn: fn, slot: len(l.tasks)}
	l.tasks = append(l.tasks, t)
	w.ready.push(t)
}

// goOn runs the task until it parks or ends.
func (t *task) goOn() {
	if t.on == nil {
		t.on = t.l.n.w.coroutine()
		t.on.runs = t
	}
	t.on.next()
}

func (t *task) run() {
	defer t.finish()
	t.fn()
}

// coroutine runs tasks, one after the other: to make one and to grow its stack costs
// more than most tasks do.
type coroutine struct {
	next  func() (struct{}, bool)
	stop  func()
	yield func(struct{}) bool
	runs  *task // nil while it is idle
}

// coroutine is an idle one, or a new one. One that is ended by runtime.Goexit, as a
// failed test does, never becomes idle again.
func (w *World) coroutine() *coroutine {
	if last := len(w.idle) - 1; last >= 0 {
		c := w.idle[last]
		w.idle = w.idle[:last]
		return c
	}
	c := &coroutine{}
	c.next, c.stop = iter.Pull(func(yield func(struct{}) bool) {
		c.yield = yield
		for goOn := true; goOn; goOn = yield(struct{}{}) {
			t := c.runs
			t.run()
			c.runs, t.on = nil, nil
			w.idle = append(w.idle, c)
		}
	})
	return c
}

// finish runs at the end of a task, however it ends. A panic of a node that was
// killed is of no account: its memory does not exist any more.
func (t *task) finish() {
	if r := recover(); r != nil && !t.l.dead {
		err, ok := r.(error)
		if !ok {
			err = fmt.Errorf("%v", r)
		}
		t.l.n.w.fail(fmt.Errorf("node %s, task %s: panic: %w\n%s", t.l.n.name, t.name, err, debug.Stack()))
	}
	t.leave()
}

// leave takes the task from its life's list.
func (t *task) leave() {
	tasks := t.l.tasks
	last := tasks[len(tasks)-1]
	tasks[t.slot], last.slot = last, t.slot
	tasks[len(tasks)-1] = nil
	t.l.tasks = tasks[:len(tasks)-1]
}

// fire ends the wait that the token names, if the task is still in it.
func (t *task) fire(token uint64) {
	if t.parked && t.wait == token {
		t.wake(nil)
	}
}

// wake ends the task's wait with a result.
func (t *task) wake(result error) {
	t.parked = false
	t.result = result
	if t.under != nil {
		t.under.waiting.remove(t)
		t.under = nil
	}
	n := t.l.n
	if !n.hit(SchedWake, n.sched) {
		n.w.ready.push(t)
		return
	}
	n.w.After(n.sched.Skewed(n.faults[SchedWake].Lasts), func() { n.w.ready.push(t) })
}

// prepare begins a wait of the running task; what is to wake it may then be told
// of it, before it parks.
func (w *World) prepare() waiter {
	t := w.current
	t.wait++
	return waiter{t, t.wait}
}

// waiter names one wait of a task.
type waiter struct {
	t    *task
	wait uint64
}

// waits reports whether the task is still in that wait.
func (x waiter) waits() bool { return x.t != nil && x.t.parked && x.t.wait == x.wait }

// wake ends that wait if the task is still in it, and reports whether it was.
func (x waiter) wake(result error) bool {
	if !x.waits() {
		return false
	}
	x.t.wake(result)
	return true
}

// park gives up control until the prepared wait ends: by a wake-up, with its
// result; by the end of s, with its cause; by the node's death. s may be nil.
func (w *World) park(s *scope) error {
	t := w.current
	if t.l.dead {
		return t.l.refuse() // nobody would ever go on with it
	}
	if err := s.ended(); err != nil {
		return err
	}
	t.parked = true
	if s != nil {
		t.under = s
		s.waiting.push(t)
	}
	t.on.yield(struct{}{})
	if t.l.dead {
		return t.l.refuse()
	}
	return t.result
}

// sleep waits for a time of the world's own clock.
func (w *World) sleep(s *scope, d time.Duration) error {
	x := w.prepare()
	w.at(w.now+max(d, 0), x.t, x.wait)
	return w.park(s)
}

// ErrKilled is what every call of Env returns in a node that was killed.
var ErrKilled = errors.New("the node was killed")

// refusalsMax is how many calls a task of a dead node may make while it unwinds. One
// that makes more retries without end, and is ended by a panic.
const refusalsMax = 1000

// refuse is the answer of a fenced Env.
func (l *life) refuse() error {
	if t := l.n.w.current; t != nil && t.l == l {
		t.fenced++
		if t.fenced > refusalsMax {
			panic(ErrKilled)
		}
	}
	return ErrKilled
}

// tasks is a life's env.Tasks.
type tasks struct{ l *life }

func (t tasks) WithCancel(ctx context.Context) (context.Context, context.CancelFunc) {
	s := newScope(ctx)
	return s, func() { s.end(context.Canceled, context.Canceled) }
}

func (t tasks) WithTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	s, w := newScope(ctx), t.l.n.w
	if s.err == nil {
		w.at(t.l.n.clock.moment(d), s, 0)
	}
	return s, func() {
		if s.err == nil {
			s.end(context.Canceled, context.Canceled)
			w.callOff()
		}
	}
}

func (t tasks) NewCond(l sync.Locker) env.Cond {
	c := &cond{l: t.l, guard: l}
	c.tried, _ = l.(tryLocker)
	return c
}

// Offload runs fn at once, and lets its time pass after it.
func (t tasks) Offload(ctx context.Context, fn func()) error {
	c, err := t.l.begin(ctx, TasksOffload)
	if err != nil {
		return err
	}
	fn()
	n := t.l.n
	delay := offloadTime
	if n.hit(SchedOffload, n.sched) {
		delay = n.sched.Skewed(n.faults[SchedOffload].Lasts)
	}
	delay += n.slow * turnsOfWork
	// Having been run, fn is not undone by the end of ctx.
	if err := n.w.sleep(nil, delay); err != nil {
		return err
	}
	return c.end()
}

// offloadTime is how long CPU work takes when nothing slows it.
const offloadTime = 20 * time.Microsecond

func (t tasks) NewGroup(ctx context.Context) env.Group {
	return &group{l: t.l, scope: newScope(ctx)}
}

// errStopped is the cause of a scope that Stop ended.
var errStopped = fmt.Errorf("group stopped: %w", context.Canceled)

type group struct {
	l       *life
	scope   *scope
	running int
	first   error
	waiters []waiter
}

func (g *group) Go(name string, fn func(ctx context.Context) error) {
	c, err := g.l.beginAlways(TasksGo)
	if err != nil {
		return
	}
	g.running++
	g.l.spawn(name, func() {
		// Deferred, so that a task which ends its coroutine by runtime.Goexit, as a
		// failed test does, is counted out as well.
		var err error
		defer func() { g.ended(name, err) }()
		err = fn(g.scope)
	})
	_ = c.end()
}

func (g *group) ended(name string, err error) {
	// A task that returns because the group was stopped has not failed.
	stopped := errors.Is(err, context.Canceled) && g.scope.err != nil
	if err != nil && !stopped && g.first == nil {
		g.first = fmt.Errorf("task %s: %w", name, err)
		g.scope.end(context.Canceled, g.first)
	}
	g.running--
	if g.running == 0 {
		for _, x := range g.waiters {
			x.wake(nil)
		}
		g.waiters = nil
	}
}

func (g *group) Stop() { g.scope.end(context.Canceled, errStopped) }

func (g *group) Wait() error {
	c, err := g.l.beginAlways(TasksGroupWait)
	if err != nil {
		return err
	}
	for g.running > 0 {
		g.waiters = append(g.waiters, g.l.n.w.prepare())
		if err := g.l.n.w.park(nil); err != nil {
			return err
		}
	}
	g.Stop()
	if err := c.end(); err != nil {
		return err
	}
	return g.first
}

// cond keeps its waiters in order of arrival, so that Signal wakes the eldest.
type cond struct {
	l       *life
	guard   sync.Locker
	tried   tryLocker // guard, if it is one
	waiters fifo[waiter]
}

type tryLocker interface{ TryLock() bool }

func (c *cond) Wait(ctx context.Context) error {
	call, err := c.l.begin(ctx, TasksCondWait)
	if err != nil {
		return err
	}
	x := c.l.n.w.prepare()
	c.waiters.push(x)
	c.guard.Unlock()
	err = c.l.n.w.park(scopeOf(ctx))
	c.relock()
	if err != nil {
		c.waiters.forget(func(o waiter) bool { return o == x })
		return err
	}
	return call.end()
}

// relock takes the guard again. Nobody can hold it, for whoever runs holds it across
// no call of Env; who does would wait here for ever.
func (c *cond) relock() {
	if c.tried != nil {
		assert.That(c.tried.TryLock(), "the guard of a Cond is not held across a call of Env")
		return
	}
	c.guard.Lock()
}

// Signal passes over waiters whose context has ended: they do not wait any more.
func (c *cond) Signal() {
	for c.waiters.len() > 0 {
		if c.waiters.pop().wake(nil) {
			return
		}
	}
}

func (c *cond) Broadcast() {
	for _, x := range c.waiters.rest() {
		x.wake(nil)
	}
	c.waiters.clear()
}
