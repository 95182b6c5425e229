package minimize

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/sim"
	"github.com/varvedb/varve/sim/check"
	"github.com/varvedb/varve/sim/world"
	"github.com/varvedb/varve/wal/assert"
)

// planted stands for a run of the simulator: it fails if there are three safekeepers,
// disks are slow, at least four operations are begun, and the seventh decision of the
// stream "disk/sk1" is eventful. With other options the tape of the first seed leads
// nowhere: other seeds have to be tried.
func planted(opts sim.Options, tape *world.Tape) *sim.Result {
	r := &sim.Result{Options: opts, Tape: tape, Begun: 40}
	if tape == nil {
		r.Tape = &world.Tape{Seed: opts.Seed, Streams: []world.TapeStream{
			{Name: "clients", Values: []uint32{5, 6}},
			{Name: "disk/sk1", Values: []uint32{9, 9, 9, 9, 9, 9, 9, 9}},
			{Name: "sched", Values: []uint32{3}},
		}}
	}
	if opts.Operations > 0 {
		r.Begun = opts.Operations
	}
	eventful := 0
	for _, s := range r.Tape.Streams {
		for _, v := range s.Values {
			if s.Name == "disk/sk1" && v > 0 {
				eventful++
			}
		}
	}
	r.Fired.Add("disk.slow", eventful)
	if !opts.Faults[world.NetDelay].Off() {
		r.Fired.Add("net.delay", 3)
	}
	fails := opts.Safekeepers >= 3 && !opts.Faults[world.DiskSlow].Off() && r.Begun >= 4 && r.Tape.Streams[1].Values[6] > 0
	if fails && opts.Safekeepers < 5 && tape != nil && opts.Seed == 1 {
		fails = false
	}
	if fails {
		r.Verdicts = []check.Verdict{{Checker: "truth", Detail: "it is lost"}}
	}
	return r
}

func minimized(t *testing.T, most int) (*Minimizer, []string) {
	opts, err := sim.Draw(1, "all")
	require.NoError(t, err)
	opts.Safekeepers, opts.Pageservers, opts.Computes = 5, 2, 3
	var kept []string
	m := &Minimizer{run: planted, most: most, log: func(what string, s Size) { kept = append(kept, fmt.Sprintf("%s: %v", what, s)) }}
	m.best = planted(opts, nil)
	m.way = WayOf(m.best)
	m.Run()
	return m, kept
}

func TestAPlantedFailureIsMadeSmall(t *testing.T) {
	m, kept := minimized(t, 1000)
	require.Equal(t, "5 nodes, 4 operations, 1 fault", SizeOf(m.Best()).String())
	o := m.Best().Options
	require.Equal(t, []int{3, 1, 1}, []int{o.Safekeepers, o.Pageservers, o.Computes})
	require.Equal(t, world.Faults{world.DiskSlow: o.Faults[world.DiskSlow]}, o.Faults)
	require.Equal(t, []world.TapeStream{
		{Name: "clients", Values: []uint32{0, 0}},
		{Name: "disk/sk1", Values: []uint32{0, 0, 0, 0, 0, 0, 9, 0}},
		{Name: "sched", Values: []uint32{0}},
	}, m.Best().Tape.Streams)
	require.Equal(t, m.Way(), WayOf(planted(o, m.Best().Tape)), "the result is replayed")

	again, keptAgain := minimized(t, 1000)
	require.Equal(t, kept, keptAgain, "the same failure is made small in the same way")
	require.Equal(t, m.Best(), again.Best())
}

// TestWhatComesFirstMayCostWhatComesLater: fewer nodes, then fewer faults, then fewer
// operations, then less time.
func TestWhatComesFirstMayCostWhatComesLater(t *testing.T) {
	sizes := []Size{
		{Nodes: 3, Faults: 9, Operations: 9, Virtual: 9},
		{Nodes: 5, Faults: 0, Operations: 221, Virtual: 9},
		{Nodes: 5, Faults: 1, Operations: 4, Virtual: 9},
		{Nodes: 5, Faults: 1, Operations: 5, Virtual: 1},
		{Nodes: 5, Faults: 1, Operations: 5, Virtual: 2},
	}
	for i, s := range sizes {
		for j, other := range sizes {
			require.Equal(t, i <= j, s.fits(other), "%v %v", s, other)
		}
	}
}

// TestARoundThatMovesCountsIsFollowedByAnother: two nodes went and two operations came, so
// that the sum is what it was.
func TestARoundThatMovesCountsIsFollowedByAnother(t *testing.T) {
	opts, err := sim.Draw(1, "all")
	require.NoError(t, err)
	opts.Safekeepers, opts.Pageservers, opts.Computes = 3, 1, 3
	rounds := 0
	run := func(o sim.Options, tape *world.Tape) *sim.Result {
		r := &sim.Result{Options: o, Tape: &world.Tape{}, Begun: 4 + 3 - o.Computes}
		if o.Storm < opts.Storm {
			rounds++
		}
		if o.Computes != opts.Computes && o.Computes != 1 || o.Safekeepers != 3 || o.Operations > 0 || o.Storm != opts.Storm {
			return r
		}
		r.Verdicts = []check.Verdict{{Checker: "truth"}}
		return r
	}
	m := &Minimizer{run: run, most: 1000, log: func(string, Size) {}}
	m.best = run(opts, nil)
	m.way = WayOf(m.best)
	m.Run()
	require.Equal(t, "5 nodes, 6 operations, 0 faults", SizeOf(m.Best()).String())
	require.Equal(t, 4, rounds, "a storm is made shorter by the tape and by one seed, in each of two rounds")
}

func TestRunsAreBounded(t *testing.T) {
	m, _ := minimized(t, 20)
	require.Equal(t, 20, m.Runs())
	require.NotEmpty(t, WayOf(m.Best()))
	require.LessOrEqual(t, SizeOf(m.Best()).Nodes, 10)
}

func TestARunThatDoesNotFailIsRefused(t *testing.T) {
	opts, err := sim.Draw(1, "quiet")
	require.NoError(t, err)
	opts.Operations = 1
	_, err = New(opts, nil, 10, nil)
	require.ErrorContains(t, err, "does not fail")
}

func TestWaysOfFailing(t *testing.T) {
	failed := func(err error) *sim.Result { return &sim.Result{Err: err} }
	task := func(text string) error {
		return fmt.Errorf("storm: node sk1, task receive: panic: %w\nstack", &assert.Error{Text: text})
	}
	require.Empty(t, WayOf(&sim.Result{}))
	require.Equal(t, WayOf(failed(task("term 3 starts at 0/1FB6518"))), WayOf(failed(task("term 28 starts at 0/2003B90"))))
	require.NotEqual(t, WayOf(failed(task("term 3 starts"))), WayOf(failed(task("flush 3 is durable"))))
	require.Equal(t,
		WayOf(failed(errors.New("read the log of branch 40070000000000000000000000000000: seal: no quorum"))),
		WayOf(failed(errors.New("read the log of branch bc8f78f391b5097c86eb17ce9ebd80d8: seal: safekeeper 2 is amnesiac"))))
	require.NotEqual(t, WayOf(failed(errors.New("set up: it takes too long: 1m"))), WayOf(failed(errors.New("core: it takes too long: 1m"))))
	require.Equal(t, Way("history"), WayOf(&sim.Result{Verdicts: []check.Verdict{{Checker: "truth", OK: true}, {Checker: "history", Detail: "found 1"}}}))
}
