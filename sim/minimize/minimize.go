package minimize

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/varvedb/varve/sim"
	"github.com/varvedb/varve/sim/mutant"
	"github.com/varvedb/varve/sim/world"
)

// Way is the way in which a run fails: who found it, and where that is no checker,
// what it says, without its numbers. Empty: it does not fail.
type Way string

var numbers = regexp.MustCompile(`[0-9A-F]+/[0-9A-F]+|[0-9a-f]{16,}|[0-9]+`)

// wayParts is how much of a phase's error tells one way from another: phase and task.
const wayParts = 2

// WayOf tells the way in which a run failed.
func WayOf(r *sim.Result) Way {
	finders, says := mutant.FailedBy(r)
	if len(finders) == 0 {
		return ""
	}
	line, _, _ := strings.Cut(says, "\n")
	switch finders[0] {
	case mutant.Assertion, mutant.Panic:
		_, line, _ = strings.Cut(line, ": panic: ")
		return Way(finders[0] + ": " + numbers.ReplaceAllString(line, "N"))
	case mutant.Phases:
		parts := strings.SplitN(line, ": ", wayParts+1)
		return Way(finders[0] + ": " + numbers.ReplaceAllString(strings.Join(parts[:min(len(parts), wayParts)], ": "), "N"))
	}
	return Way(finders[0])
}

// Size is what is made small.
type Size struct {
	Nodes      int
	Operations int // begun by clients
	Faults     int // fired
	Virtual    time.Duration
}

// SizeOf measures a run.
func SizeOf(r *sim.Result) Size {
	o := &r.Options
	return Size{Nodes: o.Safekeepers + o.Pageservers + o.Computes, Operations: r.Begun, Faults: r.Fired.Total(), Virtual: r.Virtual}
}

// String is the size as the last line of a minimisation tells it.
func (s Size) String() string {
	return fmt.Sprintf("%s, %s, %s", plural(s.Nodes, "node"), plural(s.Operations, "operation"), plural(s.Faults, "fault"))
}

func plural(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

// Minimizer makes one failure small. Make it with [New].
type Minimizer struct {
	run  func(sim.Options, *world.Tape) *sim.Result
	log  func(what string, s Size)
	most int // runs
	runs int
	way  Way
	best *sim.Result
}

// New starts from a failed run, which it repeats. Tape may be nil: then the seed
// decides. At most so many runs are made; log hears of each change that was kept. A run
// that does not fail is an error.
func New(opts sim.Options, tape *world.Tape, most int, log func(what string, s Size)) (*Minimizer, error) {
	m := &Minimizer{most: most, log: log, run: func(o sim.Options, t *world.Tape) *sim.Result { return sim.Run(o, sim.Play{Tape: t}) }}
	m.best = m.run(opts, tape)
	if m.way = WayOf(m.best); m.way == "" {
		return nil, fmt.Errorf("minimize seed %d of profile %s: the run does not fail", opts.Seed, opts.Profile)
	}
	return m, nil
}

// Way is the way in which all the runs that are kept fail.
func (m *Minimizer) Way() Way { return m.way }

// Best is the smallest run so far.
func (m *Minimizer) Best() *sim.Result { return m.best }

// Runs is how many runs were made beyond the first.
func (m *Minimizer) Runs() int { return m.runs }

// Run makes the failure small: all steps, again and again, until none of them helps or
// the runs are used up.
func (m *Minimizer) Run() *sim.Result {
	for before := (Size{}); before != SizeOf(m.best) && m.runs < m.most; {
		before = SizeOf(m.best)
		m.nodes()
		m.kinds()
		m.operations()
		m.storm()
		m.quiet("storm/", "crash/", "disk/", "net/", "bucket/", "clock/", "sched", "conductor", "clients")
	}
	return m.best
}

// Fresh seeds that a change of options is tried on when the tape leads nowhere.
const freshSeeds = 4

// options tries a change of options, and reports whether it was kept. A change that
// changes nothing, or makes the run larger, is not.
func (m *Minimizer) options(what string, seeds int, change func(*sim.Options)) bool {
	opts := m.best.Options
	opts.Deceived = append([]int(nil), opts.Deceived...)
	change(&opts)
	if opts.String() == m.best.Options.String() {
		return false
	}
	if m.try(what, opts, m.best.Tape) {
		return true
	}
	for i := range seeds {
		// Odd multiples apart, so that no two searches meet.
		opts.Seed = m.best.Options.Seed + uint64(i+1)<<32
		if m.try(what+", another seed", opts, nil) {
			return true
		}
	}
	return false
}

// try runs once, and keeps what fails in the same way and is not larger.
func (m *Minimizer) try(what string, opts sim.Options, tape *world.Tape) bool {
	if m.runs >= m.most {
		return false
	}
	m.runs++
	r := m.run(opts, tape)
	if WayOf(r) != m.way || !SizeOf(r).fits(SizeOf(m.best)) {
		return false
	}
	m.best = r
	m.log(what, SizeOf(r))
	return true
}

// fits reports whether a run is no larger than another one: nodes come first, then
// faults, then operations, then time, and what comes first may cost what comes later.
func (s Size) fits(t Size) bool {
	switch {
	case s.Nodes != t.Nodes:
		return s.Nodes < t.Nodes
	case s.Faults != t.Faults:
		return s.Faults < t.Faults
	case s.Operations != t.Operations:
		return s.Operations < t.Operations
	}
	return s.Virtual <= t.Virtual
}
