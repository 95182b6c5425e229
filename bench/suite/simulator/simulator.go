package simulator

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"github.com/varvedb/varve/bench"
	"github.com/varvedb/varve/bench/meter"
	"github.com/varvedb/varve/bench/paired"
	"github.com/varvedb/varve/sim"
	"github.com/varvedb/varve/sim/world"
)

// Config says how much is done in a round.
type Config struct {
	HeapEvents int
	Seeds      int           // runs
	Same       int           // times that one seed is run again
	Storm      time.Duration // at most, of a run; 0: as drawn
}

// Full is the measurement of record.
var Full = Config{HeapEvents: 3_000_000, Seeds: 3, Same: 2}

// Quick is for smoke.
var Quick = Config{HeapEvents: 500_000, Seeds: 1, Same: 1, Storm: 10 * time.Second}

// Suite describes the suite.
func Suite() bench.Suite {
	return bench.Suite{
		Name: "simulator", Letter: "j", Weight: 60,
		Title: "simulated events and seconds; the checkers' time is listed apart",
		About: fmt.Sprintf("events drives seeds of the profile quiet, whose engine is the production's and whose work nobody looks at; judged runs the same seeds with samples, end and checkers. "+
			"An event is one of the trace. The heap is the simulator's own with 1000 entries, popped and pushed, and nothing else. "+
			"idle is three safekeepers, a pageserver and a compute without sessions; load the same with sessions that commit some 200 transactions per second. "+
			"same and replay run seeds of the profile all, with every kind of fault. All runs use one core, and collect garbage as varve-sim does: GOGC=%d where the environment sets none.", sim.CollectorPercent),
		Run: bench.Sized(Full, Quick, Run),
	}
}

type suite struct {
	s   *bench.Session
	cfg Config
}

// drawn is the name by which a filter finds the run that is only drawn.
const drawn = "faults"

// Run measures.
func Run(ctx context.Context, s *bench.Session, cfg Config) error {
	if os.Getenv("GOGC") == "" {
		defer debug.SetGCPercent(debug.SetGCPercent(sim.CollectorPercent))
	}
	b := &suite{s: s, cfg: cfg}
	arm := func(name, settings string, run func(round int) (paired.Sample, error)) paired.Arm {
		return paired.Arm{Name: name, Settings: settings, Run: func(_ context.Context, round int) (paired.Sample, error) { return run(round) }}
	}
	one := func(name string, run func(round int) (paired.Sample, error)) paired.Case {
		return paired.Case{Name: name, Arms: []paired.Arm{arm("varve", "one run at a time, on one core", run)}}
	}
	events := one("events", b.driven)
	events.Arms = append(events.Arms, arm("heap", "1000 entries, popped and pushed", b.heap), arm("judged", "the same seeds with samples, end and checkers", b.judged))
	idle := one("idle", func(int) (paired.Sample, error) { return b.drive(sim.Idle()) })
	load := one("load", func(int) (paired.Sample, error) { return b.drive(sim.Steady()) })
	builders := []bench.Builder{{Names: []string{drawn}}}
	for _, c := range []paired.Case{events, idle, load, one("same", b.same), one("replay", b.replay)} {
		builders = append(builders, bench.One(c.Name, func(context.Context) (paired.Case, error) { return c, nil }))
	}
	cases, err := s.Build(ctx, builders...)
	if err != nil {
		return err
	}
	if err := s.Measure(ctx, cases...); err != nil {
		return err
	}
	if !s.Wants(drawn) {
		return nil
	}
	return b.draw()
}

// options are those of a seed: another in every round, the same in every session with
// the same seed.
func (b *suite) options(profile string, round, n int) (sim.Options, error) {
	opts, err := sim.Draw(b.s.Seed*1_000_003+uint64(round*1000+n), profile)
	if b.cfg.Storm > 0 {
		opts.Storm = min(opts.Storm, b.cfg.Storm)
	}
	return opts, err
}

// spent is what some runs did, and what that took.
type spent struct {
	events        uint64
	commits       int
	virtual       time.Duration
	begin         time.Time
	cpu           time.Duration // before
	took, usedCPU time.Duration
}

func begin() spent { return spent{begin: time.Now(), cpu: meter.Self()} }

func (s *spent) end() { s.took, s.usedCPU = time.Since(s.begin), meter.Self()-s.cpu }

func (s *spent) sample() paired.Sample {
	return paired.Sample{Metrics: map[string]float64{
		"events_per_s": float64(s.events) / s.took.Seconds(), "events_per_cpu_s": float64(s.events) / s.usedCPU.Seconds(),
		"virtual_s_per_s": s.virtual.Seconds() / s.took.Seconds(), "virtual_s_per_cpu_s": s.virtual.Seconds() / s.usedCPU.Seconds(),
		"commits_per_virtual_s": float64(s.commits) / s.virtual.Seconds(),
	}}
}

// drive runs the engine alone, once for each of the options.
func (b *suite) drive(all ...sim.Options) (paired.Sample, error) {
	sum := begin()
	for _, opts := range all {
		pace, err := sim.Drive(opts)
		if err != nil {
			return paired.Sample{}, err
		}
		sum.events, sum.commits, sum.virtual = sum.events+pace.Events, sum.commits+pace.Commits, sum.virtual+pace.Virtual
	}
	sum.end()
	return sum.sample(), nil
}

// seeds are the options of a round's runs.
func (b *suite) seeds(round int) (all []sim.Options, err error) {
	for n := range b.cfg.Seeds {
		opts, err := b.options("quiet", round, n)
		if err != nil {
			return nil, err
		}
		all = append(all, opts)
	}
	return all, nil
}

func (b *suite) driven(round int) (paired.Sample, error) {
	seeds, err := b.seeds(round)
	if err != nil {
		return paired.Sample{}, err
	}
	return b.drive(seeds...)
}

// judged runs the same seeds as driven, and fails if a verdict does.
func (b *suite) judged(round int) (paired.Sample, error) {
	seeds, err := b.seeds(round)
	if err != nil {
		return paired.Sample{}, err
	}
	sum := begin()
	for _, opts := range seeds {
		r := sim.Run(opts, sim.Play{})
		if !r.OK() {
			return paired.Sample{}, fmt.Errorf("seed %d: %s", opts.Seed, r.Failure())
		}
		sum.events, sum.virtual = sum.events+r.Events, sum.virtual+r.Virtual
	}
	sum.end()
	s := sum.sample()
	delete(s.Metrics, "commits_per_virtual_s") // They are not counted here.
	return s, nil
}

// heap is the floor: a simulator that simulates nothing.
func (b *suite) heap(int) (paired.Sample, error) {
	const entries = 1000 // some more than a cluster has waiting
	run := world.BareHeap(entries)
	begin, cpu := time.Now(), meter.Self()
	run(b.cfg.HeapEvents)
	took, used := time.Since(begin), meter.Self()-cpu
	return paired.Sample{Metrics: map[string]float64{
		"events_per_s": float64(b.cfg.HeapEvents) / took.Seconds(), "events_per_cpu_s": float64(b.cfg.HeapEvents) / used.Seconds(),
	}}, nil
}

// same runs one seed again and again and counts the runs with the same trace.
func (b *suite) same(round int) (paired.Sample, error) {
	opts, err := b.options("all", round, 700)
	if err != nil {
		return paired.Sample{}, err
	}
	first, alike := sim.Run(opts, sim.Play{}), 0.0
	for range b.cfg.Same {
		again := sim.Run(opts, sim.Play{})
		if again.Hash == first.Hash && again.Events == first.Events {
			alike++
		}
	}
	return paired.Sample{Metrics: map[string]float64{"same_share": alike / float64(b.cfg.Same), "runs": float64(b.cfg.Same)}}, nil
}

// replay is one run from its beginning, judgement included: what a failing seed costs to
// see again.
func (b *suite) replay(round int) (paired.Sample, error) {
	opts, err := b.options("all", round, 900)
	if err != nil {
		return paired.Sample{}, err
	}
	begin := time.Now()
	r := sim.Run(opts, sim.Play{})
	took := time.Since(begin)
	if !r.OK() {
		b.s.Note("seed %d of profile all fails: %s", opts.Seed, r.Failure())
	}
	return paired.Sample{Metrics: map[string]float64{"s": took.Seconds(), "virtual_s_per_s": r.Virtual.Seconds() / took.Seconds()}}, nil
}
