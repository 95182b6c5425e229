package world

import (
	"context"
	"fmt"
	"time"

	"github.com/varvedb/varve/wal/assert"
	"github.com/varvedb/varve/wal/env"
)

// Node is one machine: a disk, a clock and a place in the network, and at most one
// process. Its methods are called by whoever drives the world, or by a task.
type Node struct {
	w       *World
	id      int // from 1
	name    string
	disk    *Disk
	clock   timepiece
	faults  Faults
	sched   *Choices
	crashes *Choices
	files   *Choices
	text    []byte

	life    *life // nil while there is no process
	starts  uint32
	program func(context.Context, env.Env) error
	off     bool // without power: nobody answers in its name
	stormy  bool // a storm blows at it
	fallen  bool // taken down by a fault, to be restarted
	err     error
	onEnd   func(error)

	throttled bool // the bucket refuses it

	paused bool
	held   []*task // whose turn came during the pause

	slow time.Duration // how long each turn takes; 0: no time
	busy time.Duration // until when the turns take that were given out

	calls      uint64
	stormCalls [callKinds]uint64
	crashAt    uint64
	point      CrashPoint
	loop       uint32  // crashes of a crash loop still to come
	downed     []*pipe // whose bytes wait for the power to return
}

// life is one process of a node, from its start to its death.
type life struct {
	n       *Node
	number  uint32
	dead    bool
	env     env.Env
	scope   *scope
	tasks   []*task
	streams map[string]uint32
	conns   connList
	listens []*listener
	locks   map[string]bool
}

// Node is the node by a name, made at its first mention.
func (w *World) Node(name string) *Node {
	if n := w.byName[name]; n != nil {
		return n
	}
	n := &Node{
		w: w, id: len(w.nodes) + 1, name: name, faults: w.cfg.Faults,
		sched: w.Choices("sched/" + name), crashes: w.Choices("crash/" + name), files: w.Choices("disk/" + name),
	}
	n.disk = newDisk(n)
	n.clock = timepiece{w: w}
	c := w.Choices("clock/" + name)
	if r := n.faults[ClockOffset].Lasts; c.Hit(n.faults[ClockOffset].PerMillion) {
		n.clock.offset = c.Between(Range{-r.Hi, r.Hi})
		w.count(n, ClockOffset)
	}
	if c.Hit(n.faults[ClockDrift].PerMillion) {
		n.clock.drift = int64(c.Below(2*driftMax+1)) - driftMax
		w.count(n, ClockDrift)
	}
	w.nodes = append(w.nodes, n)
	w.byName[name] = n
	return n
}

// driftMax is the fastest drift in parts per million: some ten times what a
// machine's crystal does.
const driftMax = 500

// Name is the node's name.
func (n *Node) Name() string { return n.name }

// Running reports whether the node has a process.
func (n *Node) Running() bool { return n.life != nil }

// Paused reports whether the node stands still.
func (n *Node) Paused() bool { return n.paused }

// Err is what the program returned when it last ended by itself.
func (n *Node) Err() error { return n.err }

// Calls counts the calls of Env that the node's processes made.
func (n *Node) Calls() uint64 { return n.calls }

// Starts counts how often the node was started.
func (n *Node) Starts() int { return int(n.starts) }

// Disk is the node's disk.
func (n *Node) Disk() *Disk { return n.disk }

// Env is the environment of the node's process. The node must be running.
func (n *Node) Env() env.Env {
	assert.That(n.life != nil, "node %s runs", n.name)
	return n.life.env
}

// OnEnd has fn called, outside any task, when the program has returned by itself.
// Without it, a program that ends with an error in a storm is restarted.
func (n *Node) OnEnd(fn func(err error)) { n.onEnd = fn }

// Start starts a process that runs fn as its first task. The node must not be
// running. When fn returns the process ends, and its other tasks with it.
func (n *Node) Start(fn func(ctx context.Context, e env.Env) error) {
	assert.That(n.life == nil, "node %s is not running when it is started", n.name)
	n.starts++
	n.program, n.off, n.err = fn, false, nil
	n.clock.born = n.w.now
	l := &life{n: n, number: n.starts, streams: map[string]uint32{}, locks: map[string]bool{}}
	l.scope = newScope(context.Background())
	l.env = env.Env{
		Clock: clock{l}, Tasks: tasks{l}, FS: fileSystem{l}, Net: netOf{l}, Bucket: l.bucket(),
		Rand: randomness{l}, Trace: tracer{l},
	}
	n.life = l
	n.w.note(n, KindStart, uint64(n.starts), "")
	n.armLoop()
	n.powered()
	l.spawn("main", func() { n.main(l, fn) })
}

func (n *Node) main(l *life, fn func(context.Context, env.Env) error) {
	err := fn(l.scope, l.env)
	if l.dead {
		return
	}
	n.err = err
	n.w.note(n, KindEnd, 0, fmt.Sprint(err))
	n.die(KindCrash)
	if n.onEnd != nil {
		n.w.After(0, func() { n.onEnd(err) })
	} else if err != nil {
		n.w.storm.revive(n)
	}
}

// Restart starts the node again with the program that it ran last.
func (n *Node) Restart() { n.Start(n.program) }

// Crash ends the process as the operating system does: its connections are closed
// by the kernel, and what it wrote stays, synced or not. It does nothing if there
// is no process.
func (n *Node) Crash() { n.die(KindCrash) }

// Kill takes the node's power away: nobody hears of it, and bytes and directory
// entries that were not synced are lost as the faults have it. It does nothing if
// there is no process.
func (n *Node) Kill() { n.die(KindKill) }

func (n *Node) die(kind Kind) {
	if n.life == nil {
		return
	}
	n.w.note(n, kind, n.calls, "")
	l := n.part()
	if kind == KindKill {
		n.off = true
		n.disk.lose()
		if n.hit(DiskWipe, n.files) {
			n.disk.wipe()
		}
	}
	l.hangUp(kind)
	n.w.doomed = append(n.w.doomed, l)
}

// part fences the process and takes it from its node.
func (n *Node) part() *life {
	l := n.life
	l.dead = true
	n.life, n.held = nil, nil
	if n.paused {
		n.paused = false
	}
	return l
}

// unwind ends the tasks of a dead life. They find Env fenced.
func (l *life) unwind() {
	w := l.n.w
	before := w.current
	for len(l.tasks) > 0 {
		t := l.tasks[0]
		w.current = t
		t.parked = false
		if t.on == nil {
			t.leave() // it had not begun to run
		} else {
			t.goOn()
		}
	}
	w.current = before
}

// Wipe empties the node's disk. The node must not be running.
func (n *Node) Wipe() {
	assert.That(n.life == nil, "node %s is not running when its disk is wiped", n.name)
	n.w.note(n, KindWipe, 0, "")
	n.disk.wipe()
}

// Pause makes the process stand still, connections and all, until Resume.
func (n *Node) Pause() {
	if n.life != nil && !n.paused {
		n.paused = true
		n.w.note(n, KindPause, 0, "")
	}
}

// Resume lets a paused process run on.
func (n *Node) Resume() {
	if !n.paused {
		return
	}
	n.paused = false
	n.w.note(n, KindResume, 0, "")
	for _, t := range n.held {
		n.w.ready.push(t)
	}
	n.held = nil
}

// StepClock moves the node's time of day.
func (n *Node) StepClock(d time.Duration) {
	n.clock.offset += d
	n.w.note(n, KindClock, uint64(d), "")
}

// CrashPoint is where in a call of Env a process dies.
type CrashPoint uint8

// The points of a call.
const (
	Before CrashPoint = iota // nothing of the call has happened
	After                    // all of it has, but the caller never learns
)

// KillAtCall has the node lose its power at its call number k of Env, counted from 1
// over all its processes. Call 0 is none.
func (n *Node) KillAtCall(k uint64, point CrashPoint) { n.crashAt, n.point = k, point }

// envCall is one call of Env under way.
type envCall struct {
	l      *life
	number uint64
}

// begin admits a call: the task must be the life's, the life alive, and ctx not ended.
func (l *life) begin(ctx context.Context, kind CallKind) (envCall, error) {
	if err := l.mayCall(); err != nil {
		return envCall{}, err
	}
	if err := scopeOf(ctx).ended(); err != nil {
		return envCall{}, err
	}
	return l.count(kind)
}

// beginAlways opens a call that has no context which could have ended.
func (l *life) beginAlways(kind CallKind) (envCall, error) {
	if err := l.mayCall(); err != nil {
		return envCall{}, err
	}
	return l.count(kind)
}

func (l *life) mayCall() error {
	if l.dead {
		return l.refuse()
	}
	w := l.n.w
	if w.current == nil || w.current.l != l {
		assert.Failf("an Env of %s is called by a task of its own process", l.n.name)
	}
	return nil
}

// count counts a call that may begin, and lets the process die before it.
func (l *life) count(kind CallKind) (envCall, error) {
	n := l.n
	n.calls++
	if n.stormy && n.w.storm.blows {
		n.stormCall(kind)
	}
	if n.calls == n.crashAt && n.point == Before {
		n.fall()
		return envCall{}, l.refuse()
	}
	return envCall{l, n.calls}, nil
}

// stormCall counts a call in a storm, and decides whether the node is to die at it.
func (n *Node) stormCall(kind CallKind) {
	s := &n.w.storm
	n.stormCalls[kind]++
	if s.calls++; s.calls == s.crashAt {
		s.fell, s.fellAt = n, kind
		n.crashAt, n.point = n.calls, s.point
		n.w.count(n, CrashCall)
	}
	if n.hit(CrashCall, n.crashes) {
		n.crashAt, n.point = n.calls, CrashPoint(n.crashes.Below(2))
	}
}

// end closes a call that was carried out; its error says that the process died.
func (c envCall) end() error {
	if c.l.dead {
		return c.l.refuse()
	}
	if n := c.l.n; c.number == n.crashAt && n.point == After {
		n.fall()
		return c.l.refuse()
	}
	return nil
}

// fall is a death at a call of Env. In a storm the node comes back.
func (n *Node) fall() {
	n.die(KindKill)
	n.w.storm.revive(n)
}
