package world

import (
	"errors"
	"fmt"
	"time"
)

// Config says what world to make.
type Config struct {
	Seed   uint64
	Tape   *Tape       // if not nil: decide as it says; Seed is then the tape's
	Faults Faults      // what may go wrong; the zero value: nothing
	Near   bool        // the bucket is one that is near its readers ([env.Near])
	Log    func(Entry) // if not nil: receives every entry of the trace
	Upset  func(Entry) // if not nil: receives what faults do and what ends them, at less cost
}

// World is one simulated world. It is used by one goroutine at a time: the one that
// calls Run, and within Run the task that runs.
type World struct {
	cfg  Config
	seed uint64
	deck *deck

	now    time.Duration
	serial uint64 // counts the queue's entries
	queue  queue
	vain   int // time limits that were called off since the queue was rid of them
	ready  readyList
	sched  *Choices

	current *task
	idle    []*coroutine
	doomed  []*life // dead, not unwound yet
	tasks   uint64
	events  uint64
	still   uint64 // steps since the clock last moved
	hash    uint64
	failure error

	nodes   []*Node // by id-1
	byName  map[string]*Node
	covered map[string]uint64
	fired   [faultCount]uint64
	network network
	bucket  bucket
	storm   storm
}

// New makes a world with nobody in it.
func New(cfg Config) *World {
	w := &World{
		cfg: cfg, seed: cfg.Seed, byName: map[string]*Node{}, covered: map[string]uint64{},
		network: newNetwork(), bucket: newBucket(),
	}
	if cfg.Tape != nil {
		w.seed = cfg.Tape.Seed
	}
	w.deck = newDeck(w.seed, cfg.Tape)
	w.sched = w.Choices("sched")
	return w
}

// Choices is the named sub-stream of decisions, for a workload's own.
func (w *World) Choices(name string) *Choices { return w.deck.stream(name) }

// Tape is every decision made so far.
func (w *World) Tape() *Tape { return w.deck.tape() }

// Now is the virtual time.
func (w *World) Now() time.Duration { return w.now }

// Hash is the rolling hash of the trace: of the time, node, kind and payload of all
// that happened.
func (w *World) Hash() uint64 { return w.hash }

// Events counts the steps: tasks resumed, bytes delivered, objects changed.
func (w *World) Events() uint64 { return w.events }

// Covered is how often each label was reached.
func (w *World) Covered() map[string]uint64 { return w.covered }

// ErrStuck is matched by the error of a run in which time stands still.
var ErrStuck = errors.New("time stands still")

// stillMax is how many steps may happen at one moment: far more than any program
// needs, and few enough to be reached in seconds.
const stillMax = 5_000_000

// Run lets the world run until the given virtual time, or until a task panics,
// which is the error. It may be called again.
func (w *World) Run(until time.Duration) error {
	return w.RunWhile(until, func() bool { return true })
}

// RunWhile is Run that also ends when goOn, asked before each step, says no.
func (w *World) RunWhile(until time.Duration, goOn func() bool) error {
	for w.failure == nil && goOn() && w.step(until) {
		if w.still++; w.still > stillMax {
			w.fail(fmt.Errorf("at %v: %w for %d steps", w.now, ErrStuck, stillMax))
		}
	}
	return w.failure
}

// step does one thing, and reports whether there was one to do before until.
func (w *World) step(until time.Duration) bool {
	w.bury()
	for w.ready.empty() {
		if len(w.queue) == 0 || w.queue[0].at > until {
			w.now = max(w.now, until)
			return false
		}
		w.advance()
	}
	w.resume(w.ready.take(w.sched))
	return true
}

// bury unwinds the dead.
func (w *World) bury() {
	for len(w.doomed) > 0 {
		l := w.doomed[0]
		w.doomed = w.doomed[1:]
		l.unwind()
	}
}

// advance moves the clock to the next entry of the queue and fires all of that
// moment, so that the tasks they wake are chosen among together.
func (w *World) advance() {
	if at := w.queue[0].at; at > w.now {
		w.now = at
		w.still = 0
	}
	for len(w.queue) > 0 && w.queue[0].at == w.now {
		e := w.queue.pop()
		e.who.fire(e.token)
	}
}

// resume runs a task until it parks or ends. A paused node's task keeps its turn.
func (w *World) resume(t *task) {
	if t.l.dead {
		return
	}
	if n := t.l.n; n.paused {
		n.held = append(n.held, t)
		return
	}
	if t.l.n.queued(t) {
		return
	}
	w.events++
	w.note(t.l.n, KindStep, t.id, t.name)
	w.current = t
	// Deferred, since a failed test ends its task's coroutine, and with it this
	// goroutine, by runtime.Goexit.
	defer func() { w.current = nil }()
	t.goOn()
}

func (w *World) fail(err error) {
	if w.failure == nil {
		w.failure = err
	}
}

// Close ends every node without a trace and unwinds all tasks. The world's state can
// still be looked at.
func (w *World) Close() {
	for _, n := range w.nodes {
		if n.life != nil {
			l := n.life
			n.part()
			l.unwind()
		}
	}
	w.bury()
	for _, c := range w.idle {
		c.stop()
	}
	w.idle = nil
}

// firer is something that a moment of the queue is for.
type firer interface{ fire(token uint64) }

// at has who fired at a moment, with a token of its own.
func (w *World) at(moment time.Duration, who firer, token uint64) {
	w.serial++
	w.queue.push(entry{at: max(moment, w.now), serial: w.serial, who: who, token: token})
}

// callOff notes that an entry of the queue is in vain. Most time limits are called off long
// before they come: the queue would be full of them.
func (w *World) callOff() {
	if w.vain++; w.vain > len(w.queue)/2 {
		w.queue.forget(func(e entry) bool {
			s, ok := e.who.(*scope)
			return ok && s.err != nil
		})
		w.vain = 0
	}
}

// After has fn called, outside any task, after a time.
func (w *World) After(d time.Duration, fn func()) { w.at(w.now+d, call(fn), 0) }

// call is a function that is fired.
type call func()

func (c call) fire(uint64) { c() }
