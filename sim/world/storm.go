package world

import (
	"time"

	"github.com/varvedb/varve/wal/assert"
)

// storm is what brings the episodes of faults, and the fallen back.
type storm struct {
	number int // counts the storms
	blows  bool
	calm   bool // no fault of any kind happens
	among  []*Node

	calls   uint64 // of Env, by nodes that it blows at
	crashAt uint64 // the call at which one of them falls
	point   CrashPoint
	fell    *Node    // that made it
	fellAt  CallKind // which it is
}

// Storm begins the episodes of faults among some nodes, and has a node that a fault
// has taken down restarted after a while.
func (w *World) Storm(among ...*Node) {
	assert.That(len(among) > 0, "a storm has nodes to blow at")
	w.storm = storm{number: w.storm.number + 1, blows: true, among: among}
	for _, n := range w.nodes {
		n.stormy = false
	}
	for _, n := range among {
		n.stormy = true
	}
	for _, e := range []struct {
		kind    FaultKind
		episode func(c *Choices, lasts time.Duration)
	}{
		{NetPartition, w.partition}, {NetOneWay, w.oneWay}, {NetIsolate, w.isolateOne},
		{NetRing, w.ring}, {NetClog, w.clogOne}, {NetSwizzle, w.swizzle},
		{CrashNode, w.crashOne((*Node).Kill)}, {CrashProcess, w.crashOne((*Node).Crash)},
		{PauseNode, w.pauseOne}, {CPUSlow, w.slowOne}, {DiskFull, w.fillOne}, {ClockStep, w.stepOne}, {BucketThrottle, w.throttleOne},
	} {
		if w.cfg.Faults[e.kind].Every.Hi > 0 {
			w.episodes(e.kind, w.Choices("storm/"+menu[e.kind].name), e.episode)
		}
	}
}

// KillAtCall has the node fall that makes call number k of Env in the storm, counted
// from 1 over all nodes that it blows at. Call 0 is none.
func (w *World) KillAtCall(k uint64, point CrashPoint) { w.storm.crashAt, w.storm.point = k, point }

// StormCalls counts the calls of Env of the nodes that the storm blew at.
func (w *World) StormCalls() uint64 { return w.storm.calls }

// Calm ends all faults: links heal, disks have space, paused nodes run on, fallen
// ones are restarted. What the faults have done to disks and bucket stays.
func (w *World) Calm() {
	w.storm.blows, w.storm.calm = false, true
	w.HealAll()
	for _, n := range w.nodes {
		n.loop, n.crashAt = 0, 0
		n.fill(false)
		n.throttle(false)
		n.slowDown(0)
		n.Resume()
		if n.life == nil && n.fallen {
			n.Restart()
		}
	}
}

// episodes has episodes of a kind come one after the other.
func (w *World) episodes(kind FaultKind, c *Choices, episode func(*Choices, time.Duration)) {
	f, number := w.cfg.Faults[kind], w.storm.number
	w.After(c.Between(f.Every), func() {
		if !w.storm.blows || w.storm.number != number {
			return
		}
		w.count(nil, kind)
		episode(c, c.Between(f.Lasts))
		w.episodes(kind, c, episode)
	})
}

func (w *World) pick(c *Choices) *Node {
	return w.storm.among[c.Below(uint32(len(w.storm.among)))]
}

// partition puts each node, and the bucket, on one of two sides.
func (w *World) partition(c *Choices, lasts time.Duration) {
	all := append([]*Node{nil}, w.nodes...)
	side := make([]bool, len(all))
	for i := range side {
		side[i] = c.Below(2) == 1
	}
	for i, a := range all {
		for j, b := range all {
			if side[i] != side[j] {
				w.cutFor(a, b, lasts)
			}
		}
	}
}

func (w *World) oneWay(c *Choices, lasts time.Duration) {
	a := w.pick(c)
	to := c.Below(uint32(len(w.nodes) + 1))
	var b *Node
	if to > 0 {
		b = w.nodes[to-1]
	}
	if c.Below(2) == 1 {
		a, b = b, a
	}
	w.cutFor(a, b, lasts)
}

func (w *World) isolateOne(c *Choices, lasts time.Duration) {
	w.isolate(w.pick(c), func(from, to *Node) { w.cutFor(from, to, lasts) })
}

// ring puts nodes and bucket in a ring and cuts every link but those between neighbours.
func (w *World) ring(c *Choices, lasts time.Duration) {
	all := append([]*Node{nil}, w.nodes...)
	for i := len(all) - 1; i > 0; i-- {
		j := c.Below(uint32(i + 1))
		all[i], all[j] = all[j], all[i]
	}
	for i, a := range all {
		for j, b := range all {
			if d := (j - i + len(all)) % len(all); d > 1 && d < len(all)-1 {
				w.cutFor(a, b, lasts)
			}
		}
	}
}

// clogOne clogs one link of a node, one way.
func (w *World) clogOne(c *Choices, lasts time.Duration) {
	n := w.pick(c)
	a, b := n.id, int(c.Below(uint32(len(w.nodes)+1)))
	if c.Below(2) == 1 {
		a, b = b, a
	}
	if a != b {
		w.clog(n, w.nameOf(a)+">"+w.nameOf(b), lasts, w.link(a, b))
	}
}

// swizzle clogs some nodes, each from a moment of the first half up to one of the second.
func (w *World) swizzle(c *Choices, lasts time.Duration) {
	number := w.storm.number
	for _, n := range w.nodes {
		if c.Below(2) == 0 {
			continue
		}
		from := c.Between(Range{0, lasts / 2})
		until := c.Between(Range{lasts / 2, lasts})
		w.After(from, func() {
			if !w.storm.blows || w.storm.number != number {
				return
			}
			var links []*link
			for other := range len(w.nodes) + 1 {
				if other != n.id {
					links = append(links, w.link(n.id, other), w.link(other, n.id))
				}
			}
			w.clog(n, "all links", until-from, links...)
		})
	}
}

// clog has all that is sent on links of a node arrive no earlier than after a time.
func (w *World) clog(n *Node, what string, lasts time.Duration, links ...*link) {
	for _, l := range links {
		l.clogged = max(l.clogged, w.now+lasts)
	}
	w.note(n, KindClog, 1, what)
	w.After(lasts, func() { w.note(n, KindClog, 0, what) })
}

// cutFor cuts a link for a time, unless it is cut already.
func (w *World) cutFor(from, to *Node, lasts time.Duration) {
	l := w.link(idOf(from), idOf(to))
	if l.cut {
		return
	}
	w.setLink(l, true)
	w.After(lasts, func() { w.setLink(l, false) })
}

func (w *World) crashOne(how func(*Node)) func(*Choices, time.Duration) {
	return func(c *Choices, lasts time.Duration) {
		if n := w.pick(c); n.life != nil {
			how(n)
			n.fallen = true
			w.After(lasts, n.rise)
		}
	}
}

// downTime is how long a node is down that fell at a call of Env.
var downTime = Range{10 * time.Millisecond, 5 * time.Second}

// revive has a node that fell at a call of Env come back, if a storm blows.
func (s *storm) revive(n *Node) {
	if s.blows && n.stormy {
		n.fallen = true
		n.w.After(n.crashes.Between(downTime), n.rise)
	}
}

// rise restarts a fallen node, unless someone has done so.
func (n *Node) rise() {
	if n.life == nil && n.fallen {
		n.Restart()
	}
}

const (
	loopMax      = 5    // crashes of a crash loop
	loopCallsMax = 2000 // calls of Env between two of them
)

// armLoop decides at a start whether the node is to die soon again.
func (n *Node) armLoop() {
	n.fallen = false
	if !n.w.storm.blows || !n.stormy {
		return
	}
	if n.loop == 0 && n.hit(CrashLoop, n.crashes) {
		n.loop = 1 + n.crashes.Below(loopMax)
	}
	if n.loop > 0 {
		n.loop--
		n.KillAtCall(n.calls+1+uint64(n.crashes.Below(loopCallsMax)), CrashPoint(n.crashes.Below(2)))
	}
}

func (w *World) pauseOne(c *Choices, lasts time.Duration) {
	n := w.pick(c)
	n.Pause()
	w.After(lasts, n.Resume)
}

const (
	// turnTime is about how long the CPU work of one turn of a task takes on a fast node.
	turnTime = 2 * time.Microsecond

	// slownessMax is how many times slower a slow node is at most. At a hundred it
	// serves some thousand turns a second.
	slownessMin, slownessMax = 10, 500

	// turnsOfWork is how many turns' time CPU work takes that is given to Offload.
	turnsOfWork = 10
)

func (w *World) slowOne(c *Choices, lasts time.Duration) {
	n := w.pick(c)
	n.slowDown(turnTime * time.Duration(slownessMin+c.Below(slownessMax-slownessMin+1)))
	w.After(lasts, func() { n.slowDown(0) })
}

// slowDown has each turn of the node's tasks take a time from now on. It has one CPU:
// they come one after the other.
func (n *Node) slowDown(turn time.Duration) {
	if n.slow != turn {
		n.slow = turn
		n.w.note(n, KindSlow, uint64(turn), "")
	}
}

// queued reports whether a task has to wait for its turn on a slow node's CPU, and if so
// has it come back then.
func (n *Node) queued(t *task) bool {
	if t.promised || n.slow == 0 {
		t.promised = false
		return false
	}
	at := max(n.busy, n.w.now)
	n.busy = at + n.slow
	if at == n.w.now {
		return false
	}
	t.promised = true
	n.w.After(at-n.w.now, func() { n.w.ready.push(t) })
	return true
}

func (w *World) fillOne(c *Choices, lasts time.Duration) {
	n := w.pick(c)
	n.fill(true)
	w.After(lasts, func() { n.fill(false) })
}

// fill says whether the node's disk has no space to grow.
func (n *Node) fill(full bool) {
	if n.disk.full != full {
		n.disk.full = full
		n.w.note(n, KindFull, toggle(full), "")
	}
}

// toggle is the payload of what begins and ends.
func toggle(begins bool) uint64 {
	if begins {
		return 1
	}
	return 0
}

func (w *World) stepOne(c *Choices, lasts time.Duration) {
	n := w.pick(c)
	if c.Below(2) == 1 {
		lasts = -lasts
	}
	n.StepClock(lasts)
}

func (w *World) throttleOne(c *Choices, lasts time.Duration) {
	n := w.pick(c)
	n.throttle(true)
	w.After(lasts, func() { n.throttle(false) })
}

// throttle says whether the bucket refuses the node.
func (n *Node) throttle(refused bool) {
	if n.throttled != refused {
		n.throttled = refused
		n.w.note(n, KindThrottle, toggle(refused), "")
	}
}
