package travel

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/varvedb/varve/bench"
	"github.com/varvedb/varve/bench/cluster"
	"github.com/varvedb/varve/bench/latency"
	"github.com/varvedb/varve/bench/paired"
	"github.com/varvedb/varve/bench/postgres"
	"github.com/varvedb/varve/bench/stage"
	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/pageserver/timeline"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
)

// Config says how much is done in a round, and for which shapes.
type Config struct {
	Pages   int
	Updates int   // at each depth
	Depths  []int // ascending
	Ops     int
	History int // updates of each page
	Commits int
	TPCB    stage.TPCB
}

// Full is the measurement of record.
var Full = Config{Pages: 1000, Updates: 1000, Depths: []int{1, 4, 16, 64, 256}, Ops: 10_000, History: 100, Commits: 200_000, TPCB: stage.FullTPCB}

// Quick is for smoke.
var Quick = Config{Pages: 300, Updates: 100, Depths: []int{1, 4, 16, 64}, Ops: 1000, History: 20, Commits: 10_000, TPCB: stage.QuickTPCB}

// Suite describes the suite.
func Suite() bench.Suite {
	return bench.Suite{
		Name: "travel", Letter: "g", Weight: 40,
		Title: "reads of the past and of deep branches",
		About: "depth/N reads random pages of a branch whose ancestors go N deep; up to 31 of them have updates and a layer of their own, which is as many as a store leaves unmerged. " +
			"The peer depth-1 has the same history in one timeline and in as many layers: what differs is depth alone. " +
			"merged is the same again after its merges, which is what a history without branches comes to: layers of two timelines are never merged. " +
			"history reads at random LSNs against the head. past-page reads one page of TPC-B's history; recovery to a point in time copies the base and replays the log up to the same LSN.",
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
	var builders []bench.Builder
	for _, depth := range cfg.Depths {
		builders = append(builders, bench.One(depthName(depth), func(ctx context.Context) (paired.Case, error) { return b.depth(ctx, depth) }))
	}
	cases, err := s.Build(ctx, append(builders, bench.One("history", b.history), bench.One("time-to-lsn", b.times), bench.Builder{Names: []string{"past-page"}, Build: b.past})...)
	if err != nil {
		return err
	}
	if err := s.Measure(ctx, cases...); err != nil {
		return err
	}
	b.plot()
	return nil
}

const settings = "block cache 256 MiB, all attached to one store"

func (b *suite) relation(ctx context.Context, name string) (*cluster.Pages, error) {
	return b.relationOf(ctx, name, lsm.Options{})
}

func (b *suite) relationOf(ctx context.Context, name string, opts lsm.Options) (*cluster.Pages, error) {
	opts.BlockCacheBytes = 256 << 20
	return stage.Pages(ctx, b.s, name, cluster.PagesConfig{Blocks: b.cfg.Pages, Store: opts})
}

func depthName(depth int) string { return fmt.Sprint("depth/", depth) }

func (b *suite) depth(ctx context.Context, depth int) (c paired.Case, err error) {
	b.s.Step("%d branches deep", depth)
	deep, err := b.relationOf(ctx, fmt.Sprint("deep", depth), apart)
	if err != nil {
		return c, err
	}
	for n := range depth {
		if err := b.level(ctx, deep, n, depth); err != nil {
			return c, err
		}
		if deep, err = deep.Branch(ctx, depthID(n)); err != nil {
			return c, err
		}
	}
	flat, err := b.flat(ctx, fmt.Sprint("flat", depth), depth, apart)
	if err != nil {
		return c, err
	}
	merged, err := b.flat(ctx, fmt.Sprint("merged", depth), depth, lsm.Options{})
	if err != nil {
		return c, err
	}
	if err := merged.Under.Compact(ctx); err != nil {
		return c, err
	}
	return paired.Case{Name: depthName(depth), Arms: []paired.Arm{
		b.reads("deep", deep, cluster.At(deep.End())), b.reads("depth-1", flat, cluster.At(flat.End())), b.reads("merged", merged, cluster.At(merged.End())),
	}}, nil
}

// A store merges as many flushed layers as its options say, and these may say 32 at most:
// with fewer, none are merged.
const layersMax = 31

var apart = lsm.Options{FlushedMax: layersMax + 1}

// level adds updates and a layer of its own, or nothing where so many levels as there are
// have more layers than stay apart: those that there may be are spread evenly.
func (b *suite) level(ctx context.Context, p *cluster.Pages, n, levels int) error {
	layers := min(levels, layersMax)
	if n*layers/levels == (n+1)*layers/levels {
		return nil
	}
	rng := rand.New(rand.NewPCG(b.s.Seed, uint64(n)))
	if _, err := p.Update(ctx, b.cfg.Updates, 100, func(int) int { return rng.IntN(p.Blocks) }); err != nil {
		return err
	}
	return p.Timeline.Flush(ctx)
}

// flat is one timeline with the same levels.
func (b *suite) flat(ctx context.Context, name string, levels int, opts lsm.Options) (*cluster.Pages, error) {
	p, err := b.relationOf(ctx, name, opts)
	if err != nil {
		return nil, err
	}
	for n := range levels {
		if err := b.level(ctx, p, n, levels); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func depthID(n int) (id wal.TimelineID) {
	binary.BigEndian.PutUint32(id[12:], uint32(n+100))
	id[0] = 3
	return id
}

func (b *suite) reads(name string, p *cluster.Pages, lsn func(*rand.Rand) wal.LSN) paired.Arm {
	return paired.Arm{Name: name, Settings: settings, Run: func(ctx context.Context, round int) (paired.Sample, error) {
		load := cluster.ReadLoad{Ops: b.cfg.Ops, Blocks: p.Blocks, LSN: lsn, Seed: b.s.Seed + uint64(round)}
		return cluster.MeasureReads(ctx, p.Timeline, p.Under, p.World, load, 1)
	}}
}

// history reads at random LSNs and at the head of a timeline with updates of every page
// in several layers.
func (b *suite) history(ctx context.Context) (c paired.Case, err error) {
	p, err := b.relation(ctx, "history")
	if err != nil {
		return c, err
	}
	const layers = 8
	for range layers {
		if _, err := p.Update(ctx, b.cfg.History*p.Blocks/layers, 100, func(i int) int { return i % p.Blocks }); err != nil {
			return c, err
		}
		if err := p.Timeline.Flush(ctx); err != nil {
			return c, err
		}
	}
	span := uint64(p.End() - p.Start())
	return paired.Case{Name: "history", Arms: []paired.Arm{
		b.reads("random-lsn", p, func(rng *rand.Rand) wal.LSN { return p.Start() + wal.LSN(rng.Uint64N(span)) }),
		b.reads("head", p, cluster.At(p.End())),
	}}, nil
}

// perCommit is the time between two commits, in microseconds.
const perCommit = 1000

// times looks up random moments among many commits.
func (b *suite) times(ctx context.Context) (c paired.Case, err error) {
	p, err := b.relation(ctx, "times")
	if err != nil {
		return c, err
	}
	for n := range b.cfg.Commits {
		p.Encode(uint32(n%p.Blocks), 100)
		p.Commit(int64(n+1) * perCommit)
		if n%5000 == 0 || n == b.cfg.Commits-1 {
			if err := p.Ingest(ctx); err != nil {
				return c, err
			}
		}
	}
	if err := p.Timeline.Flush(ctx); err != nil {
		return c, err
	}
	run := func(ctx context.Context, round int) (paired.Sample, error) {
		rng, h, before := rand.New(rand.NewPCG(b.s.Seed, uint64(round))), latency.New(), p.Under.Stats()
		ops := max(200, b.cfg.Ops/10)
		for range ops {
			at := p.Began().Add(time.Duration(rng.IntN(b.cfg.Commits*perCommit)) * time.Microsecond)
			begin := time.Now()
			if _, err := p.Timeline.LSNAt(ctx, at); err != nil {
				return paired.Sample{}, err
			}
			h.Since(begin)
		}
		return paired.Sample{Latency: h, Metrics: map[string]float64{
			"keys_per_op": float64(p.Under.Stats().Reads-before.Reads) / float64(ops),
		}}, nil
	}
	return paired.Case{Name: "time-to-lsn", Arms: []paired.Arm{{Name: "varve", Settings: settings, Run: run}}}, nil
}

// past reads one page of a real cluster's past, and recovers to the same LSN.
func (b *suite) past(ctx context.Context) ([]paired.Case, error) {
	if _, err := postgres.Find(ctx); err != nil {
		b.s.Miss("past-page", err.Error())
		return nil, nil
	}
	log, err := stage.Log(ctx, b.s, b.cfg.TPCB)
	if err != nil {
		return nil, err
	}
	dir, err := b.s.Dir("past")
	if err != nil {
		return nil, err
	}
	imported, err := log.Import(ctx, dir, lsm.Options{})
	if err != nil {
		return nil, err
	}
	b.s.Cleanup(func() error { return imported.Store.Close(ctx) })
	if _, err := imported.Take(ctx, log); err != nil {
		return nil, err
	}
	rel, blocks, err := largest(ctx, imported.Timeline, log.Start)
	if err != nil {
		return nil, err
	}
	return []paired.Case{{Name: "past-page", Arms: []paired.Arm{{Name: "varve", Settings: settings, Run: func(ctx context.Context, round int) (paired.Sample, error) {
		rng, dst := rand.New(rand.NewPCG(b.s.Seed, uint64(round))), [][]byte{nil}
		read := timeline.PageRead{Rel: rel, Block: rng.Uint32N(blocks), LSN: log.Start + (log.End-log.Start)/2}
		begin := time.Now()
		err := imported.Timeline.GetPages(ctx, []timeline.PageRead{read}, dst)
		return paired.Sample{Metrics: map[string]float64{"ms": float64(time.Since(begin)) / 1e6}}, err
	}}, {Name: "pitr", Settings: "cp of the base, archive recovery of the same log up to half of it", Run: func(ctx context.Context, round int) (paired.Sample, error) {
		dir, err := b.s.Dir("pg")
		if err != nil {
			return paired.Sample{}, err
		}
		r, err := log.Recover(ctx, fmt.Sprintf("%s/pitr%d", dir, round), log.Start+(log.End-log.Start)/2)
		return paired.Sample{Metrics: map[string]float64{"ms": float64(r.Total) / 1e6}}, err
	}}}}}, nil
}

// largest is the relation with the most blocks: pgbench_accounts.
func largest(ctx context.Context, t *timeline.Timeline, lsn wal.LSN) (rel pgwal.RelFileNode, blocks uint32, err error) {
	err = t.Relations(ctx, lsn, func(size timeline.RelationSize) error {
		if size.Fork == pgwal.MainFork && size.Blocks > blocks {
			rel, blocks = size.Rel, size.Blocks
		}
		return nil
	})
	return rel, blocks, err
}

// plot draws what a read costs against depth.
func (b *suite) plot() {
	rounds, quiet := b.s.Timed()
	names := map[string]string{"deep": "N branches deep", "depth-1": "one branch, as many layers", "merged": "one branch, merged"}
	for _, arm := range []string{"deep", "depth-1", "merged"} {
		series := bench.Series{Figure: "read-cost-depth", Name: names[arm],
			X: "depth N", Y: "median time of a read, microseconds", Rounds: quiet}
		for _, depth := range slices.Sorted(slices.Values(b.cfg.Depths)) {
			values := paired.Values(rounds, fmt.Sprintf("depth/%d", depth), arm, "", "p50_us")
			if len(values) > 0 {
				series.XS, series.YS = append(series.XS, float64(depth)), append(series.YS, paired.SpreadOf(values).Median)
			}
		}
		b.s.Plot(series)
	}
}
