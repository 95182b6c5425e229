package simulator

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/varvedb/varve/bench"
	"github.com/varvedb/varve/bench/meter"
	"github.com/varvedb/varve/bench/paired"
	"github.com/varvedb/varve/sim"
	"github.com/varvedb/varve/sim/check"
	"github.com/varvedb/varve/sim/world"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env"
	"github.com/varvedb/varve/wal/proposer"
	"github.com/varvedb/varve/wal/quorum"
	"github.com/varvedb/varve/wal/safekeeper"
	"github.com/varvedb/varve/wal/walapi"
)

// Config says how much is done in a round.
type Config struct {
	HeapEvents int
	Seeds      int // whole runs
	Same       int // times that one seed is run again
	Idle       time.Duration
	Storm      time.Duration // at most, of a run
}

// Full is the measurement of record.
var Full = Config{HeapEvents: 5_000_000, Seeds: 6, Same: 20, Idle: time.Hour, Storm: time.Hour}

// Quick is for smoke.
var Quick = Config{HeapEvents: 500_000, Seeds: 1, Same: 1, Idle: 2 * time.Minute, Storm: 10 * time.Second}

// Suite describes the suite.
func Suite() bench.Suite {
	return bench.Suite{
		Name: "simulator", Letter: "j",
		Title: "simulated events and seconds; the checkers' time is listed apart",
		About: "events runs whole seeds of the profile quiet, which judge themselves at the end; an event is one of the trace. The heap is 50 actors that set a timer each millisecond, and nothing else. " +
			"idle is three safekeepers and the proposer of a log that nobody writes; load is a run whose storm is long, clients thinking as drawn: its commits per second are reported. All runs use one core.",
		Run: bench.Sized(Full, Quick, Run),
	}
}

type suite struct {
	s   *bench.Session
	cfg Config
}

// Run measures.
func Run(ctx context.Context, s *bench.Session, cfg Config) error {
	b := &suite{s: s, cfg: cfg}
	one := func(name string, run func(context.Context, int) (paired.Sample, error)) paired.Case {
		return paired.Case{Name: name, Arms: []paired.Arm{{Name: "varve", Settings: "profile quiet, one run at a time", Run: run}}}
	}
	events := one("events", b.events)
	events.Arms = append(events.Arms, paired.Arm{Name: "heap", Settings: "container/heap, 50 actors, a period of 1 ms each", Run: b.heap})
	if err := s.Measure(ctx, events, one("idle", b.idle), one("load", b.load), one("same", b.same), one("replay", b.replay)); err != nil {
		return err
	}
	return b.draw()
}

// seed is a run's: other in every round, the same in every session with the same seed.
func (b *suite) seed(round, n int) uint64 { return b.s.Seed*1_000_003 + uint64(round*1000+n) }

// whole runs a seed and fails if its verdict does.
func (b *suite) whole(seed uint64, change func(*sim.Options)) (*sim.Result, time.Duration, time.Duration, error) {
	opts, err := sim.Draw(seed, "quiet")
	if err != nil {
		return nil, 0, 0, err
	}
	if change != nil {
		change(&opts)
	}
	opts.Storm = min(opts.Storm, b.cfg.Storm)
	begin, cpu := time.Now(), meter.Self()
	r := sim.Run(opts, sim.Play{})
	took, used := time.Since(begin), meter.Self()-cpu
	if !r.OK() {
		return r, took, used, fmt.Errorf("seed %d: %s", seed, r.Failure())
	}
	return r, took, used, nil
}

func (b *suite) events(ctx context.Context, round int) (paired.Sample, error) {
	var events uint64
	var virtual, took, used time.Duration
	for n := range b.cfg.Seeds {
		r, t, u, err := b.whole(b.seed(round, n), nil)
		if err != nil {
			return paired.Sample{}, err
		}
		events, virtual, took, used = events+r.Events, virtual+r.Virtual, took+t, used+u
	}
	return paired.Sample{Metrics: map[string]float64{
		"events_per_s": float64(events) / took.Seconds(), "events_per_cpu_s": float64(events) / used.Seconds(),
		"virtual_s_per_s": virtual.Seconds() / took.Seconds(), "virtual_s_per_cpu_s": virtual.Seconds() / used.Seconds(),
	}}, ctx.Err()
}

// timers is a heap of moments.
type timers []time.Duration

func (t timers) Len() int           { return len(t) }
func (t timers) Less(i, j int) bool { return t[i] < t[j] }
func (t timers) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }
func (t *timers) Push(x any)        { *t = append(*t, x.(time.Duration)) }
func (t *timers) Pop() any {
	last := (*t)[len(*t)-1]
	*t = (*t)[:len(*t)-1]
	return last
}

// heap is the floor: a simulator that simulates nothing.
func (b *suite) heap(ctx context.Context, _ int) (paired.Sample, error) {
	const actors, period = 50, time.Millisecond
	var t timers
	for n := range actors {
		heap.Push(&t, time.Duration(n)*period/actors)
	}
	begin, cpu := time.Now(), meter.Self()
	for range b.cfg.HeapEvents {
		heap.Push(&t, heap.Pop(&t).(time.Duration)+period)
	}
	took, used := time.Since(begin), meter.Self()-cpu
	return paired.Sample{Metrics: map[string]float64{
		"events_per_s": float64(b.cfg.HeapEvents) / took.Seconds(), "events_per_cpu_s": float64(b.cfg.HeapEvents) / used.Seconds(),
	}}, ctx.Err()
}

// idle lets three safekeepers and the proposer of a log that nobody writes stand.
func (b *suite) idle(ctx context.Context, round int) (paired.Sample, error) {
	w := world.New(world.Config{Seed: b.seed(round, 0)})
	defer w.Close()
	id := quorum.Identity{Tenant: wal.TenantID{1}, Timeline: wal.TimelineID{2}, SystemID: 7, PGVersion: 15, Start: wal.SegmentStart(3)}
	var members []proposer.Safekeeper
	for n := range 3 {
		member := proposer.Safekeeper{ID: wal.NodeID(n + 1), Addr: fmt.Sprintf("tcp:sk%d:%d", n+1, 5000+n)}
		members = append(members, member)
		w.Node(fmt.Sprint("sk", n+1)).Start(func(ctx context.Context, e env.Env) error {
			return safekeeper.New(e, safekeeper.Config{ID: member.ID, Dir: "sk", Listen: member.Addr}).Run(ctx)
		})
	}
	w.Node("compute").Start(func(ctx context.Context, e env.Env) error {
		for _, member := range members {
			if err := create(ctx, e, member.Addr, id); err != nil {
				return err
			}
		}
		return proposer.New(e, proposer.Config{ID: 100, Identity: id, Safekeepers: members}).Run(ctx)
	})
	begin := time.Now()
	if err := w.Run(b.cfg.Idle); err != nil {
		return paired.Sample{}, err
	}
	return paired.Sample{Metrics: map[string]float64{"virtual_s_per_s": b.cfg.Idle.Seconds() / time.Since(begin).Seconds()}}, ctx.Err()
}

// create makes the log on a safekeeper that may not listen yet.
func create(ctx context.Context, e env.Env, addr string, id quorum.Identity) error {
	for {
		client, err := walapi.Dial(ctx, e, addr)
		if err == nil {
			err = client.Create(ctx, id)
			return errors.Join(err, client.Close())
		}
		if err := e.Clock.Sleep(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
}

// load is a long storm without faults.
func (b *suite) load(ctx context.Context, round int) (paired.Sample, error) {
	r, took, used, err := b.whole(b.seed(round, 500), func(o *sim.Options) {
		o.Safekeepers, o.Deceived, o.Core = 3, nil, 3
	})
	if err != nil {
		return paired.Sample{}, err
	}
	commits := 0
	for _, op := range r.Run.Ops {
		if op.Kind == check.Write {
			commits++
		}
	}
	return paired.Sample{Metrics: map[string]float64{
		"virtual_s_per_s": r.Virtual.Seconds() / took.Seconds(), "virtual_s_per_cpu_s": r.Virtual.Seconds() / used.Seconds(),
		"commits_per_virtual_s": float64(commits) / r.Virtual.Seconds(),
	}}, ctx.Err()
}

// same runs one seed again and again and counts the runs with the same trace.
func (b *suite) same(ctx context.Context, round int) (paired.Sample, error) {
	first, _, _, err := b.whole(b.seed(round, 700), nil)
	if err != nil {
		return paired.Sample{}, err
	}
	alike := 0.0
	for range b.cfg.Same {
		again, _, _, err := b.whole(b.seed(round, 700), nil)
		if err != nil {
			return paired.Sample{}, err
		}
		if again.Hash == first.Hash && again.Events == first.Events {
			alike++
		}
	}
	return paired.Sample{Metrics: map[string]float64{"same_share": alike / float64(b.cfg.Same), "runs": float64(b.cfg.Same)}}, ctx.Err()
}

// replay is one run of profile all from its beginning, judgement included: what a failing
// seed costs to see again.
func (b *suite) replay(ctx context.Context, round int) (paired.Sample, error) {
	opts, err := sim.Draw(b.seed(round, 900), "all")
	if err != nil {
		return paired.Sample{}, err
	}
	opts.Storm = min(opts.Storm, b.cfg.Storm)
	begin := time.Now()
	r := sim.Run(opts, sim.Play{})
	took := time.Since(begin)
	if !r.OK() {
		b.s.Note("seed %d of profile all fails: %s", opts.Seed, r.Failure())
	}
	return paired.Sample{Metrics: map[string]float64{"s": took.Seconds(), "virtual_s_per_s": r.Virtual.Seconds() / took.Seconds()}}, ctx.Err()
}
