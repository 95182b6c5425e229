package flush

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"github.com/varvedb/varve/bench"
	"github.com/varvedb/varve/bench/cluster"
	"github.com/varvedb/varve/bench/latency"
	"github.com/varvedb/varve/bench/paired"
	"github.com/varvedb/varve/bench/peer"
	"github.com/varvedb/varve/bench/stage"
	"github.com/varvedb/varve/lsm"
)

// Config says how much is done in a round.
type Config struct {
	Pages      int
	DeltaBytes int
	Updates    int   // of the stream
	Memtable   int64 // bytes, small enough for many flushes
	Reads      int   // while it is flushed
	TPCB       stage.TPCB
}

// Full is the measurement of record.
var Full = Config{Pages: 20_000, DeltaBytes: 150, Updates: 500_000, Memtable: 8 << 20, Reads: 20_000, TPCB: stage.FullTPCB}

// Quick is for smoke.
var Quick = Config{Pages: 2000, DeltaBytes: 150, Updates: 100_000, Memtable: 4 << 20, Reads: 3000, TPCB: stage.QuickTPCB}

// Suite describes the suite.
func Suite() bench.Suite {
	return bench.Suite{
		Name: "flush", Letter: "e",
		Title: "flushes of memtables, and merges of layers: what is written, stored, and delayed",
		About: "A stream of Generic updates goes through a timeline into small memtables, uniform and skewed (80 % of the updates to 20 % of the pages). " +
			"Bytes written are those of the bucket and of the local copies, up to the end of all merges; layers_per_read is what a read then visits, with its relation's size. " +
			"Pebble gets the same keys and sizes and compacts in its levels. " +
			"tpcb takes in the log of TPC-B as Varve's endpoints write it.",
		Run: bench.Sized(Full, Quick, Run),
	}
}

type suite struct {
	s      *bench.Session
	cfg    Config
	helper *peer.Helper
}

// Run measures.
func Run(ctx context.Context, s *bench.Session, cfg Config) error {
	helper, err := stage.Peers(s, "pebble")
	if err != nil {
		return err
	}
	b := &suite{s: s, cfg: cfg, helper: helper}
	cases := []paired.Case{b.stream("uniform"), b.stream("skewed"), b.memtables(), b.foreground()}
	if s.Wants("tpcb") {
		tpcb, err := b.tpcb(ctx)
		if err != nil {
			return err
		}
		cases = append(cases, tpcb)
	}
	if err := s.Measure(ctx, cases...); err != nil {
		return err
	}
	b.plot()
	return nil
}

const varveSettings = "small memtables, layers in a directory bucket with its flushes and copied to the local cache"

// picker draws pages: uniform, or 80 % from a fifth of them.
func (b *suite) picker(order string, seed uint64) func(int) int {
	rng := rand.New(rand.NewPCG(seed, 7))
	return func(int) int {
		if order == "skewed" && rng.IntN(10) < 8 {
			return rng.IntN(b.cfg.Pages / 5)
		}
		return rng.IntN(b.cfg.Pages)
	}
}

func (b *suite) stream(order string) paired.Case {
	c := paired.Case{Name: "stream/" + order, Arms: []paired.Arm{{Name: "varve", Settings: varveSettings,
		Run: func(ctx context.Context, round int) (paired.Sample, error) {
			return b.write(ctx, fmt.Sprintf("%s%d", order, round), order, round, b.cfg.Memtable)
		}}}}
	if b.helper != nil && order == "uniform" {
		c.Arms = append(c.Arms, paired.Arm{Name: "pebble", Settings: "v2, 64 MiB memtable, batches of 1000, no WAL, compacting at 2 files in L0, until no compaction is left", Run: func(ctx context.Context, round int) (paired.Sample, error) {
			dir, err := b.s.Dir(fmt.Sprint("pebble", round))
			if err != nil {
				return paired.Sample{}, err
			}
			s, err := b.helper.Do(ctx, "pebble-store", peer.Load{
				Dir: dir + "/db", Bytes: b.cfg.DeltaBytes, Ops: b.cfg.Updates, Pages: b.cfg.Pages, Order: "random", Settle: true, Seed: b.s.Seed,
			})
			return s, errors.Join(err, os.RemoveAll(dir))
		}})
	}
	return c
}

// write streams updates through memtables of a size, and then reads.
func (b *suite) write(ctx context.Context, name, order string, round int, memtable int64) (s paired.Sample, err error) {
	dir, err := b.s.Dir(name)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	p, err := cluster.NewPages(ctx, cluster.PagesConfig{
		Dir: dir, Blocks: b.cfg.Pages, Seed: b.s.Seed, Store: lsm.Options{MemtableBytes: memtable, BlockCacheBytes: 256 << 20},
	})
	if err != nil {
		return s, err
	}
	written := p.World.BytesWritten()
	pick, begin := b.picker(order, b.s.Seed+uint64(round)), time.Now()
	var logged int64
	var longest time.Duration
	unmerged := 0
	const step = 1000
	for range b.cfg.Updates / step {
		at := time.Now()
		n, err := p.Update(ctx, step, b.cfg.DeltaBytes, pick)
		if err != nil {
			return s, err
		}
		longest = max(longest, time.Since(at))
		logged += n
		unmerged = max(unmerged, p.Under.Stats().Flushed)
	}
	if err := p.Timeline.Flush(ctx); err != nil {
		return s, err
	}
	took := time.Since(begin)
	if err := p.Under.Compact(ctx); err != nil {
		return s, err
	}
	device := p.World.BytesWritten() - written
	load := cluster.ReadLoad{Ops: 300, Blocks: b.cfg.Pages, LSN: cluster.At(p.End()), Seed: b.s.Seed}
	read, err := cluster.MeasureReads(ctx, p.Timeline, p.Under, p.World, load, 1)
	if err != nil {
		return s, err
	}
	s.Metrics = map[string]float64{
		"write_amp": float64(device) / float64(logged), "longest_stall_ms": float64(longest.Microseconds()) / 1e3,
		"mib_per_s": float64(logged) / (1 << 20) / took.Seconds(), "layers": float64(p.Under.Stats().Layers),
		"layers_per_read": read.Metrics["layers_per_read"], "unmerged_max": float64(unmerged), "merges": float64(p.Under.Stats().Merges),
	}
	return s, p.Close(ctx)
}

// smaller are the parts of the memtable that memtables writes through; the whole one is
// stream's.
var smaller = []int64{8, 4, 2}

// memtables writes the same stream through smaller memtables: what larger ones save, and
// what reads then visit.
func (b *suite) memtables() paired.Case {
	c := paired.Case{Name: "memtables"}
	for _, div := range smaller {
		size := b.cfg.Memtable / div
		name := fmt.Sprintf("memtable-%dKiB", size>>10)
		c.Arms = append(c.Arms, paired.Arm{Name: name, Settings: varveSettings, Run: func(ctx context.Context, round int) (paired.Sample, error) {
			return b.write(ctx, fmt.Sprintf("%s-%d", name, round), "uniform", round, size)
		}})
	}
	return c
}

// foreground reads pages while updates are flushed, and while nothing else happens.
func (b *suite) foreground() paired.Case {
	run := func(busy bool) func(context.Context, int) (paired.Sample, error) {
		return func(ctx context.Context, round int) (s paired.Sample, err error) {
			dir, err := b.s.Dir(fmt.Sprint("fg", round, busy))
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
			if s, err = b.readWhile(ctx, p, busy); err != nil {
				return s, err
			}
			return s, p.Close(ctx)
		}
	}
	return paired.Case{Name: "foreground", Arms: []paired.Arm{
		{Name: "while-flushing", Settings: "memtables of 1 MiB, updates without a pause in another task; reads at the LSN of the import", Run: run(true)},
		{Name: "idle", Settings: "the same without updates", Run: run(false)},
	}}
}

func (b *suite) readWhile(ctx context.Context, p *cluster.Pages, busy bool) (paired.Sample, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ended, start := make(chan error, 1), p.End()
	go func() {
		var err error
		for busy && err == nil && ctx.Err() == nil {
			_, err = p.Update(ctx, 1000, b.cfg.DeltaBytes, b.picker("uniform", b.s.Seed))
		}
		if errors.Is(err, context.Canceled) {
			err = nil
		}
		ended <- err
	}()
	h := latency.New()
	load := cluster.ReadLoad{Ops: b.cfg.Reads, Blocks: b.cfg.Pages, LSN: cluster.At(start), Seed: b.s.Seed}
	err := cluster.ReadPages(ctx, p.Timeline, load, 1, func(do func() error) error {
		begin := time.Now()
		err := do()
		h.Since(begin)
		return err
	})
	flushes := p.Under.Stats().Flushes
	stop()
	return paired.Sample{Latency: h, Metrics: map[string]float64{"flushes": float64(flushes)}}, errors.Join(err, <-ended)
}

// tpcb counts what is written and stored for TPC-B, per byte of its log without images.
func (b *suite) tpcb(ctx context.Context) (paired.Case, error) {
	log, err := stage.Log(ctx, b.s, b.cfg.TPCB)
	if err != nil {
		return paired.Case{}, err
	}
	logged := float64(len(log.Bytes))
	return paired.Case{Name: "tpcb", Arms: []paired.Arm{{Name: "varve", Settings: varveSettings, Run: func(ctx context.Context, round int) (s paired.Sample, err error) {
		dir, err := b.s.Dir(fmt.Sprint("tpcb", round))
		if err != nil {
			return s, err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
		i, err := log.Import(ctx, dir, lsm.Options{})
		if err != nil {
			return s, err
		}
		written, images := i.World.BytesWritten(), i.Under.Info().Bytes
		longest, err := i.Take(ctx, log)
		if err != nil {
			return s, err
		}
		if err := i.Under.Compact(ctx); err != nil {
			return s, err
		}
		stored := float64(i.Under.Info().Bytes)
		s.Metrics = map[string]float64{
			"written_per_wal_byte": float64(i.World.BytesWritten()-written) / logged,
			"space_ratio":          stored / (float64(images) + logged),
			"longest_stall_ms":     float64(longest.Microseconds()) / 1e3,
		}
		return s, i.Store.Close(ctx)
	}}}}, nil
}

// plot draws what reads visit against what writes cost.
func (b *suite) plot() {
	const figure, x, y = "amplification", "bytes written per byte taken in", "layers or levels visited per read"
	const layers = "layers_per_read"
	rounds := b.s.Result.Rounds
	add := func(name, c, arm, visited string) {
		w, r := paired.Values(rounds, c, arm, "", "write_amp"), paired.Values(rounds, c, arm, "", visited)
		if len(w) > 0 && len(r) > 0 {
			b.s.Plot(bench.Series{Figure: figure, Name: name, X: x, Y: y,
				XS: []float64{paired.SpreadOf(w).Median}, YS: []float64{paired.SpreadOf(r).Median}})
		}
	}
	for _, div := range smaller {
		name := fmt.Sprintf("memtable-%dKiB", b.cfg.Memtable/div>>10)
		add(name, "memtables", name, layers)
	}
	whole := fmt.Sprintf("memtable-%dKiB", b.cfg.Memtable>>10)
	add(whole, "stream/uniform", "varve", layers)
	add(whole+", 80/20", "stream/skewed", "varve", layers)
	add("pebble", "stream/uniform", "pebble", "levels_per_read")
}
