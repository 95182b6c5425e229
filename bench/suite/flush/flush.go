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
	"github.com/varvedb/varve/bench/paired"
	"github.com/varvedb/varve/bench/peer"
	"github.com/varvedb/varve/bench/stage"
	"github.com/varvedb/varve/lsm"
)

// Config says how much is done in a round.
type Config struct {
	Pages      int
	DeltaBytes int
	Updates    int           // of the stream
	Memtable   int64         // bytes, small enough for many flushes
	Foreground time.Duration // of reads while it is flushed and merged
	TPCB       stage.TPCB
	Distances  int // memtables that the log of TPC-B fills, nearly
	Kept       int // and of those, how many stay readable history
}

// Full is the measurement of record.
var Full = Config{Pages: 20_000, DeltaBytes: 150, Updates: 500_000, Memtable: 8 << 20, Foreground: 2 * time.Second, TPCB: stage.FullTPCB, Distances: 20, Kept: 2}

// Quick is for smoke.
var Quick = Config{Pages: 2000, DeltaBytes: 150, Updates: 100_000, Memtable: 4 << 20, Foreground: time.Second, TPCB: stage.TPCB{Scale: 1, Transactions: 5000}, Distances: 20, Kept: 2}

// Suite describes the suite.
func Suite() bench.Suite {
	return bench.Suite{
		Name: "flush", Letter: "e", Weight: 240,
		Title: "flushes of memtables, and merges of layers: what is written, stored, and delayed",
		About: "A stream of Generic updates goes through a timeline into small memtables, uniform and skewed (80 % of the updates to 20 % of the pages). " +
			"Bytes written are those of the bucket and of local files, up to the end of all merges; layers_per_read is what a read then visits, with its relation's size. " +
			"Pebble gets the same keys and sizes and compacts in its levels. " +
			"tpcb takes in the log of TPC-B as Varve's endpoints write it, into small memtables, and a tenth of it stays readable: " +
			"layers are merged, images made and history collected as in a database that has long been there, for which its time of day runs a thousand times as fast. " +
			"Its space_ratio is of what is stored to the images that were imported and the log that can still be read; a round in which one of these did not happen fails. " +
			"foreground reads while memtables are flushed and layers merged; a round without both fails. Its reads arrive at one rate, busy or idle, and count from then.",
		Run: bench.Sized(Full, Quick, Run),
	}
}

type suite struct {
	s      *bench.Session
	cfg    Config
	helper *peer.Helper
	// readRate is at how many per second reads arrive; 0 until it was tried out.
	readRate float64
}

// Run measures.
func Run(ctx context.Context, s *bench.Session, cfg Config) error {
	helper, err := stage.Peers(s, "pebble")
	if err != nil {
		return err
	}
	b := &suite{s: s, cfg: cfg, helper: helper}
	var builders []bench.Builder
	for _, c := range []paired.Case{b.stream("uniform"), b.stream("skewed"), b.memtables(), b.foreground()} {
		builders = append(builders, bench.One(c.Name, func(context.Context) (paired.Case, error) { return c, nil }))
	}
	cases, err := s.Build(ctx, append(builders, bench.One("tpcb", b.tpcb))...)
	if err != nil {
		return err
	}
	if err := s.Measure(ctx, cases...); err != nil {
		return err
	}
	b.plot()
	return nil
}

// settings are Varve's with memtables of a size.
func settings(memtable int64) string {
	return fmt.Sprintf("memtables of %d KiB; layers in a directory bucket with its flushes, and read there", memtable>>10)
}

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
	c := paired.Case{Name: "stream/" + order, Arms: []paired.Arm{{Name: "varve", Settings: settings(b.cfg.Memtable),
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
		c.Arms = append(c.Arms, paired.Arm{Name: name, Settings: settings(size), Run: func(ctx context.Context, round int) (paired.Sample, error) {
			return b.write(ctx, fmt.Sprintf("%s-%d", name, round), "uniform", round, size)
		}})
	}
	return c
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
