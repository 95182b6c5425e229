package sim

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/varvedb/varve/sim/check"
	"github.com/varvedb/varve/sim/world"
	"github.com/varvedb/varve/wal/proposer"
)

// CollectorPercent is the GOGC that suits runs, for programs whose environment does not set
// one: a run makes a whole world of short-lived pages and messages, which is cheaper to
// clear away half as often.
const CollectorPercent = 200

// Result is what a run left behind.
type Result struct {
	Options  Options
	Tape     *world.Tape // every decision
	Given    bool        // a tape was given, and decided
	Hash     uint64      // of the trace
	Events   uint64
	Virtual  time.Duration
	Storm    uint64 // events up to the storm's end
	Verdicts []check.Verdict
	Fired    check.Counts // faults, by kind
	Done     check.Counts // what clients and operators did, by kind
	Covered  check.Counts // marked places of the code that were reached
	States   check.Counts // what the protocols were seen to be in
	Damaged  int          // copies of logs that a deceiving disk has damaged, and that were told as such
	Run      check.Run    // the evidence
	Calls    uint64       // of Env in the storm, by the nodes that it blew at
	Kinds    CallCounts   // of these calls
	Fell     *CallKind    // at which a node fell, if the options named a call and it was made
	Begun    int          // operations of clients, without the reads of the run's end
	Err      error        // why the run could not be judged, or what broke on its way
}

// OK reports whether the run was judged and every checker passed it.
func (r *Result) OK() bool {
	if r.Err != nil {
		return false
	}
	for i := range r.Verdicts {
		if !r.Verdicts[i].OK {
			return false
		}
	}
	return true
}

// Play is how a run is driven beyond its options.
type Play struct {
	Tape *world.Tape       // if not nil: decide as it says
	Log  func(world.Entry) // if not nil: receives the trace
}

// Run runs one seed to its end and judges it.
func Run(opts Options, play Play) *Result {
	c := newCluster(opts, world.Config{Tape: play.Tape, Log: play.Log})
	defer c.w.Close()
	r := &Result{Options: opts, Given: play.Tape != nil}
	r.Err = c.phases(r)
	r.Tape, r.Hash, r.Events, r.Virtual = c.w.Tape(), c.w.Hash(), c.w.Events(), c.w.Now()
	for _, kind := range world.FaultKinds() {
		r.Fired.Add(kind.String(), int(c.w.Fired(kind)))
	}
	r.Calls, r.Kinds = c.w.StormCalls(), c.calls()
	if n, kind := c.w.FellAt(); n != nil {
		r.Fell = &CallKind{c.role(n), kind}
	}
	r.Covered, r.States, r.Begun = countsOf(c.w.Covered()), countsOf(c.states), c.ledger.Begun()
	if c.ended.done {
		r.Err = errors.Join(r.Err, c.decoded())
	}
	c.run.Ops = append(c.ledger.Ops(), c.cutoffs...)
	slices.SortStableFunc(c.run.Ops, func(a, b check.Op) int { return cmp.Compare(a.Call, b.Call) })
	c.run.Wins = c.ledger.Wins
	c.run.Faults = c.episodes.faults()
	r.Run, r.Damaged, r.Done = c.run, c.damaged, c.operations()
	if r.Err == nil {
		r.Verdicts = check.All(&c.run)
	}
	return r
}

const (
	slice       = 500 * time.Millisecond // of virtual time between two looks from outside
	setUpMax    = time.Minute
	judgeMax    = 30 * time.Minute
	bucketEvery = 4 // slices
)

// phases drives the world through the run's phases.
func (c *cluster) phases(r *Result) error {
	if err := c.setUp(); err != nil {
		return err
	}
	if err := c.storm(c.w.Now() + c.opts.Storm); err != nil {
		return fmt.Errorf("storm: %w", err)
	}
	r.Storm = c.w.Events()
	c.w.Calm()
	c.ended.calm = true
	if err := c.live(); err != nil {
		return fmt.Errorf("core: %w", err)
	}
	c.ledger.Stop()
	if err := c.pass(c.opts.Rest); err != nil {
		return fmt.Errorf("rest: %w", err)
	}
	for _, s := range c.slots {
		s.assign(nil)
	}
	if err := c.pass(2 * slice); err != nil {
		return fmt.Errorf("rest: %w", err)
	}
	c.ended.rest = true
	if err := c.until(judgeMax, func() bool { return c.ended.done }); err != nil {
		return fmt.Errorf("judgement: %w", err)
	}
	return errors.Join(c.ended.err, c.sampleBucket())
}

// setUp imports the root, and then lets the storm begin.
func (c *cluster) setUp() error {
	c.weather(world.Faults{})
	c.start()
	if err := c.until(setUpMax, func() bool { return len(c.ledger.Branches) > 0 }); err != nil {
		return fmt.Errorf("set up: %w", err)
	}
	c.weather(c.opts.Faults)
	c.w.Storm(c.stormed()...)
	c.w.KillAtCall(c.opts.CrashAt, world.CrashPoint(c.opts.CrashPoint))
	return nil
}

// stormed is the nodes that episodes of faults hit.
func (c *cluster) stormed() []*world.Node {
	if c.opts.Losing {
		return c.deceivers()
	}
	if c.opts.Duel {
		return slices.DeleteFunc(c.nodes(), func(n *world.Node) bool { return slices.Contains(c.pageservers, n) })
	}
	return c.nodes()
}

// nodes is all nodes but the operators'.
func (c *cluster) nodes() []*world.Node {
	nodes := append([]*world.Node(nil), c.safekeepers...)
	nodes = append(nodes, c.pageservers...)
	for _, s := range c.slots {
		nodes = append(nodes, s.node)
	}
	return nodes
}

var errTooLong = errors.New("it takes too long")

// errContradiction: a minority of disks that deceive does not come to that.
var errContradiction = errors.New("safekeepers contradict each other about what is committed")

// until runs the world until something holds, looking at it from outside now and then.
func (c *cluster) until(most time.Duration, holds func() bool) error {
	for end := c.w.Now() + most; !holds(); {
		if c.w.Now() >= end {
			return fmt.Errorf("%w: %v", errTooLong, most)
		}
		if err := c.tick(); err != nil {
			return err
		}
	}
	return nil
}

// pass lets time pass.
func (c *cluster) pass(d time.Duration) error {
	for end := c.w.Now() + d; c.w.Now() < end; {
		if err := c.tick(); err != nil {
			return err
		}
	}
	return nil
}

// tick runs the world for a slice. Once faults have ended it restarts what has ended,
// as a supervisor does; while they blow, the storm does.
func (c *cluster) tick() error {
	if err := c.w.Run(c.w.Now() + slice); err != nil {
		return err
	}
	if c.w.Covered()[proposer.Contradiction] > 0 {
		return errContradiction
	}
	c.slices++
	if c.slices%bucketEvery == 0 && !c.ended.rest {
		if err := c.look(); err != nil {
			return err
		}
	}
	if !c.ended.calm {
		return nil
	}
	for _, n := range c.nodes() {
		if !n.Running() && !c.out[n] {
			n.Restart()
		}
	}
	return nil
}

func (c *cluster) storm(end time.Duration) error {
	for c.w.Now() < end {
		if err := c.tick(); err != nil {
			return err
		}
	}
	return nil
}
