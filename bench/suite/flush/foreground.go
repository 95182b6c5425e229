package flush

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/varvedb/varve/bench/cluster"
	"github.com/varvedb/varve/bench/latency"
	"github.com/varvedb/varve/bench/paired"
	"github.com/varvedb/varve/lsm"
)

// foreground reads pages while updates are flushed and their layers merged, and while
// nothing else happens.
func (b *suite) foreground() paired.Case {
	arm := func(name, settings string, busy bool) paired.Arm {
		return paired.Arm{Name: name, Settings: settings, Run: func(ctx context.Context, round int) (paired.Sample, error) {
			return b.reads(ctx, fmt.Sprint(name, round), busy)
		}}
	}
	return paired.Case{Name: "foreground", Arms: []paired.Arm{
		arm("while-flushing", "memtables of 1 MiB, updates without a pause in another task, flushed and merged in others; reads arrive at a quarter of the rate that an idle store can answer one by one, at the LSN of the import", true),
		arm("idle", "the same reads without updates", false),
	}}
}

func (b *suite) reads(ctx context.Context, name string, busy bool) (s paired.Sample, err error) {
	dir, err := b.s.Dir(name)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	p, err := cluster.NewPages(ctx, cluster.PagesConfig{
		Dir: dir, Blocks: b.cfg.Pages, Seed: b.s.Seed, Store: lsm.Options{MemtableBytes: 1 << 20, BlockCacheBytes: 256 << 20},
	})
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, p.Close(ctx)) }()
	return b.readWhile(ctx, p, busy)
}

// longer is how many times as long as meant it may be read, where a busy machine has not
// merged anything by then.
const longer = 10

func (b *suite) readWhile(ctx context.Context, p *cluster.Pages, busy bool) (s paired.Sample, err error) {
	start := p.End()
	if s.Rate, err = b.rateOf(ctx, p); err != nil {
		return s, err
	}
	before := p.Under.Stats()
	stop := b.updating(ctx, p, busy)
	load := cluster.ReadLoad{Ops: int(s.Rate * b.cfg.Foreground.Seconds()), Blocks: b.cfg.Pages, LSN: cluster.At(start), Seed: b.s.Seed}
	s.Latency = latency.New()
	var flushes, merges uint64
	for range longer {
		h, failed := cluster.PacedReads(ctx, p.Timeline, load, s.Rate)
		after := p.Under.Stats()
		flushes, merges = after.Flushes-before.Flushes, after.Merges-before.Merges
		s.Latency.Merge(h)
		if err = failed; err != nil || !busy || flushes > 0 && merges > 0 {
			break
		}
		load.Seed++
	}
	if err := errors.Join(err, stop()); err != nil {
		return s, err
	}
	s.Metrics = map[string]float64{"flushes": float64(flushes), "merges": float64(merges), "reads": float64(s.Latency.Count())}
	if busy && (flushes == 0 || merges == 0) {
		return s, fmt.Errorf("%d flushes and %d merges came while pages were read for %v: there was nothing to notice", flushes, merges, longer*b.cfg.Foreground)
	}
	return s, nil
}

// updating updates pages in another task, if it is to, until stop is called.
func (b *suite) updating(ctx context.Context, p *cluster.Pages, busy bool) (stop func() error) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		pick := b.picker("uniform", b.s.Seed)
		var err error
		for busy && err == nil && ctx.Err() == nil {
			_, err = p.Update(ctx, 1000, b.cfg.DeltaBytes, pick)
		}
		if errors.Is(err, context.Canceled) {
			err = nil
		}
		ended <- err
	}()
	return func() error {
		cancel()
		return <-ended
	}
}

// arrivals is the share of what an idle store answers one by one at which reads arrive.
const arrivals = 0.25

// rateOf is at how many per second reads arrive, in both arms and all rounds: it is tried
// out once, before anything is updated.
func (b *suite) rateOf(ctx context.Context, p *cluster.Pages) (float64, error) {
	if b.readRate > 0 {
		return b.readRate, nil
	}
	load := cluster.ReadLoad{Ops: 5000, Blocks: b.cfg.Pages, LSN: cluster.At(p.End()), Seed: b.s.Seed}
	tried, err := cluster.MeasureReads(ctx, p.Timeline, nil, nil, load, 1)
	if err != nil {
		return 0, err
	}
	b.readRate = float64(int(arrivals * tried.Metrics["pages_per_s"]))
	b.s.Note("foreground reads arrive at %.0f per second", b.readRate)
	return b.readRate, nil
}
