package flush

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/varvedb/varve/bench/cluster"
	"github.com/varvedb/varve/bench/latency"
	"github.com/varvedb/varve/bench/paired"
	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/wal"
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
		arm("while-flushing", "memtables of 1 MiB, updates without a pause in another task, flushed and merged in others; reads one by one at the LSN of the import", true),
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

func (b *suite) readWhile(ctx context.Context, p *cluster.Pages, busy bool) (s paired.Sample, err error) {
	start, before := p.End(), p.Under.Stats()
	stop := b.updating(ctx, p, busy)
	s.Latency, err = b.readFor(ctx, p, start)
	after := p.Under.Stats()
	if err := errors.Join(err, stop()); err != nil {
		return s, err
	}
	flushes, merges := after.Flushes-before.Flushes, after.Merges-before.Merges
	s.Metrics = map[string]float64{"flushes": float64(flushes), "merges": float64(merges), "reads": float64(s.Latency.Count())}
	if busy && (flushes == 0 || merges == 0) {
		return s, fmt.Errorf("%d flushes and %d merges came while pages were read for %v: there was nothing to notice", flushes, merges, b.cfg.Foreground)
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

// readFor reads pages for as long as is configured.
func (b *suite) readFor(ctx context.Context, p *cluster.Pages, at wal.LSN) (*latency.Histogram, error) {
	h, end := latency.New(), time.Now().Add(b.cfg.Foreground)
	load := cluster.ReadLoad{Ops: 1000, Blocks: b.cfg.Pages, LSN: cluster.At(at), Seed: b.s.Seed}
	for ; time.Now().Before(end); load.Seed++ {
		err := cluster.ReadPages(ctx, p.Timeline, load, 1, func(do func() error) error {
			begin := time.Now()
			err := do()
			h.Since(begin)
			return err
		})
		if err != nil {
			return h, err
		}
	}
	return h, nil
}
