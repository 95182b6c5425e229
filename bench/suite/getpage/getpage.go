package getpage

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/varvedb/varve/bench"
	"github.com/varvedb/varve/bench/cluster"
	"github.com/varvedb/varve/bench/paired"
	"github.com/varvedb/varve/bench/peer"
	"github.com/varvedb/varve/bench/stage"
	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/wal/pgwal"
)

// Config says how much is done in a round, and for which shapes.
type Config struct {
	Pages      int   // of a relation
	DeltaBytes int   // that each update changes
	Ops        int   // reads of a page, fewer where there are many deltas
	Deltas     []int // of each page
	Layers     []int // delta layers flushed over the same pages
	Sizes      []int // MiB of pages
	WireOps    int
}

// Full is the measurement of record.
var Full = Config{Pages: 2000, DeltaBytes: 100, Ops: 40_000, Deltas: []int{0, 1, 10, 100, 1000}, Layers: []int{1, 4, 16, 64}, Sizes: []int{16, 128, 512}, WireOps: 10_000}

// Quick is for smoke.
var Quick = Config{Pages: 500, DeltaBytes: 100, Ops: 2000, Deltas: []int{0, 1, 10, 100}, Layers: []int{1, 4, 16}, Sizes: []int{4, 16, 64}, WireOps: 500}

// Suite describes the suite.
func Suite() bench.Suite {
	return bench.Suite{
		Name: "getpage", Letter: "c", Weight: 110,
		Title: "GetPage@LSN by deltas, layers and size, in process and over a socket; deltas are Generic records",
		About: "Pages do not compress, as Pebble's do not; where compression is measured they do. hot: all blocks are in the store's memory; " +
			"file: its cache has room for the layers' indexes and for few of the pages, whose reads go to a local file in the page cache; there is no case of O_DIRECT, for the store has none. Pebble seeks backwards over (page, LSN) and copies; it gets no redo. " +
			"A relation's size is read once and known from then on, so a read is one key. layers/N reads after N flushes of every page, after the merges that follow, and after those that make images for what reads have paid. " +
			"Reads come one after the other, but for the tail of hot/d10, whose reads arrive at half of that rate. Client and server are not pinned to cores.",
		Run: bench.Sized(Full, Quick, Run),
	}
}

// Run measures.
func Run(ctx context.Context, s *bench.Session, cfg Config) error {
	helper, err := stage.Peers(s, "pebble")
	if err != nil {
		return err
	}
	b := &suite{s: s, cfg: cfg, helper: helper}
	cases, err := s.Build(ctx, b.builders()...)
	if err != nil {
		return err
	}
	if err := s.Measure(ctx, cases...); err != nil {
		return err
	}
	b.plot()
	return nil
}

type suite struct {
	s      *bench.Session
	cfg    Config
	helper *peer.Helper
	plain  *peer.Plain // nil until it is wanted
	made   int
	// tailRate is at how many per second reads arrive whose tail is judged; 0 until the first round.
	tailRate float64
}

// builders are those of all cases, in order.
func (b *suite) builders() (all []bench.Builder) {
	add := func(name string, n int, build func(ctx context.Context, name string, n int) (paired.Case, error)) {
		all = append(all, bench.One(name, func(ctx context.Context) (paired.Case, error) { return build(ctx, name, n) }))
	}
	for _, deltas := range b.cfg.Deltas {
		add(fmt.Sprint("hot/d", deltas), deltas, b.hot)
	}
	for _, deltas := range []int{0, 10} {
		add(fmt.Sprint("file/d", deltas), deltas, b.file)
	}
	all = append(all, bench.One("lz4/d0", b.lz4))
	for _, layers := range b.cfg.Layers {
		add(fmt.Sprint("layers/", layers), layers, b.layers)
	}
	for _, size := range b.cfg.Sizes {
		add(fmt.Sprintf("size/%dMiB", size), size, b.size)
	}
	wire := bench.Builder{Build: b.wire}
	for _, batch := range batches {
		wire.Names = append(wire.Names, wireName(batch))
	}
	return append(all, wire)
}

// batches are how many pages are asked for at once over a socket.
var batches = []int{1, 8, 32}

func wireName(batch int) string { return fmt.Sprint("wire/b", batch) }

const varveSettings = "block cache 256 MiB (hot) or a sixteenth of the pages and at least 4 MiB (file), lz4 blocks of 16 KiB, every block's CRC checked when it is decoded"

// hotStore keeps all in memory.
var hotStore = lsm.Options{BlockCacheBytes: 256 << 20, MemtableBytes: 256 << 20}

// fileStore keeps in memory what it needs to find pages, and few of so many of them.
func fileStore(pages int) lsm.Options {
	return lsm.Options{BlockCacheBytes: max(4<<20, int64(pages)*pgwal.PageSize/16), MemtableBytes: 256 << 20}
}

// filePages is the size of a relation that is read from files.
func (b *suite) filePages() int { return 4 * b.cfg.Pages }

// pages makes a relation whose pages have been updated so often, spread over a number of
// delta layers.
func (b *suite) pages(ctx context.Context, cfg cluster.PagesConfig, deltas, layers int) (*cluster.Pages, error) {
	b.made++
	p, err := stage.Pages(ctx, b.s, fmt.Sprint("pages", b.made), cfg)
	if err != nil {
		return nil, err
	}
	return p, b.update(ctx, p, deltas, layers)
}

// update gives every page so many deltas, spread over a number of layers.
func (b *suite) update(ctx context.Context, p *cluster.Pages, deltas, layers int) error {
	for range layers {
		n := deltas * p.Blocks / layers
		if n == 0 {
			break
		}
		// Updates go round the relation, so that a page's are far apart in the log.
		if _, err := p.Update(ctx, n, b.cfg.DeltaBytes, func(i int) int { return i % p.Blocks }); err != nil {
			return err
		}
		if err := p.Timeline.Flush(ctx); err != nil {
			return err
		}
	}
	return nil
}

// reader is an arm that reads random pages at the end of the log.
func (b *suite) reader(p *cluster.Pages, ops int) paired.Arm {
	return paired.Arm{Name: "varve", Settings: varveSettings, Run: func(ctx context.Context, round int) (paired.Sample, error) {
		load := cluster.ReadLoad{Ops: ops, Blocks: p.Blocks, LSN: cluster.At(p.End()), Seed: b.s.Seed + uint64(round)}
		return cluster.MeasureReads(ctx, p.Timeline, p.Under, p.World, load, 1)
	}}
}

// Of reads of pages with so many deltas the tail is judged: they arrive at this share of
// what one reader can do.
const (
	tailDeltas = 10
	tailShare  = 0.5
)

// withTail has an arm also read at a rate, the same in all rounds, and takes latencies and
// tail from that.
func (b *suite) withTail(p *cluster.Pages, arm paired.Arm) paired.Arm {
	closed := arm.Run
	arm.Run = func(ctx context.Context, round int) (paired.Sample, error) {
		s, err := closed(ctx, round)
		if err != nil {
			return s, err
		}
		s.Metrics["p50_us"] = s.Latency.Quantile(0.5) / 1e3
		if b.tailRate == 0 {
			b.tailRate = float64(int(tailShare * s.Metrics["pages_per_s"]))
			b.s.Note("the tail of pages with %d deltas is of %.0f reads per second that arrive, %.2g of what one reader does", tailDeltas, b.tailRate, tailShare)
		}
		load := cluster.ReadLoad{Ops: b.ops(tailDeltas), Blocks: p.Blocks, LSN: cluster.At(p.End()), Seed: b.s.Seed + uint64(round)}
		s.Rate = b.tailRate
		s.Latency, err = cluster.PacedReads(ctx, p.Timeline, load, s.Rate)
		s.Metrics["p99_us"] = s.Latency.Quantile(0.99) / 1e3
		s.Metrics["p99_over_p50"] = s.Latency.Quantile(0.99) / s.Latency.Quantile(0.5)
		return s, err
	}
	return arm
}

// few is fewer pages for long chains, so that a case's data stay below 25 MB.
func (b *suite) few(deltas int) int { return max(64, b.cfg.Pages/max(1, deltas/100)) }

func (b *suite) ops(deltas int) int { return max(500, b.cfg.Ops/max(1, deltas/10)) }

func (b *suite) hot(ctx context.Context, name string, deltas int) (c paired.Case, err error) {
	blocks := b.few(deltas)
	p, err := b.pages(ctx, cluster.PagesConfig{Blocks: blocks, Store: hotStore}, deltas, 1)
	if err != nil {
		return c, err
	}
	c = paired.Case{Name: name, Arms: []paired.Arm{b.reader(p, b.ops(deltas))}}
	if deltas == tailDeltas {
		c.Arms[0] = b.withTail(p, c.Arms[0])
	}
	if b.helper != nil && deltas <= 100 {
		c.Arms = append(c.Arms, b.pebble(deltas, blocks))
	}
	return c, nil
}

// pebble loads its store before each measurement, for it holds one at a time; loading is
// not measured.
func (b *suite) pebble(deltas, blocks int) paired.Arm {
	return paired.Arm{Name: "pebble", Settings: "v2, 64 MiB memtable and cache, Bloom filter of 10 bits, no WAL, flushed", Run: func(ctx context.Context, round int) (paired.Sample, error) {
		dir, err := b.s.Dir(fmt.Sprintf("pebble%d-%d", deltas, round))
		if err != nil {
			return paired.Sample{}, err
		}
		load := peer.Load{Dir: dir + "/db", Bytes: b.cfg.DeltaBytes, Pages: blocks, Deltas: deltas, Ops: b.ops(deltas), Seed: b.s.Seed}
		if _, err := b.helper.Do(ctx, "pebble-load", load); err != nil {
			return paired.Sample{}, err
		}
		return b.helper.Do(ctx, "pebble-getpage", load)
	}}
}

func (b *suite) file(ctx context.Context, name string, deltas int) (c paired.Case, err error) {
	plain, err := b.plainFile()
	if err != nil {
		return c, err
	}
	p, err := b.pages(ctx, cluster.PagesConfig{Blocks: b.filePages(), Store: fileStore(b.filePages())}, deltas, 1)
	if err != nil {
		return c, err
	}
	return paired.Case{Name: name, Arms: []paired.Arm{b.reader(p, b.ops(deltas)), {
		Name: "pread", Settings: "8 KiB of a plain file in the page cache", Run: func(ctx context.Context, round int) (paired.Sample, error) {
			rng := rand.New(rand.NewPCG(b.s.Seed, uint64(round)))
			return peer.Pread(ctx, plain.File(), plain.Pages(), b.cfg.Ops, rng.IntN)
		},
	}}}, nil
}

// plainFile is the file of the floor, made once.
func (b *suite) plainFile() (*peer.Plain, error) {
	if b.plain != nil {
		return b.plain, nil
	}
	dir, err := b.s.Dir("plain")
	if err != nil {
		return nil, err
	}
	if b.plain, err = peer.NewPlain(dir, 1); err != nil {
		return nil, err
	}
	b.s.Cleanup(b.plain.Close)
	return b.plain, nil
}

// lz4 reads images from files, of pages that compress and of such that do not; the
// difference is what decompression costs.
func (b *suite) lz4(ctx context.Context) (c paired.Case, err error) {
	var stores [2]*cluster.Pages
	for i, compressible := range []bool{false, true} {
		p, err := b.pages(ctx, cluster.PagesConfig{Blocks: b.filePages(), Compressible: compressible, Store: fileStore(b.filePages())}, 0, 0)
		if err != nil {
			return c, err
		}
		stores[i] = p
	}
	run := func(ctx context.Context, round int) (paired.Sample, error) {
		plain, err := b.reader(stores[0], b.cfg.Ops).Run(ctx, round)
		if err != nil {
			return plain, err
		}
		packed, err := b.reader(stores[1], b.cfg.Ops).Run(ctx, round)
		if err != nil {
			return packed, err
		}
		packed.Metrics["lz4_adds_us"] = (packed.Latency.Quantile(0.5) - plain.Latency.Quantile(0.5)) / 1e3
		return packed, nil
	}
	return paired.Case{Name: "lz4/d0", Arms: []paired.Arm{{Name: "varve", Settings: varveSettings, Run: run}}}, nil
}

func (b *suite) layers(ctx context.Context, name string, layers int) (c paired.Case, err error) {
	// Each layer holds one delta of every page, so that none can be passed over.
	p, err := b.pages(ctx, cluster.PagesConfig{Blocks: b.cfg.Pages / 4, Store: hotStore}, layers, layers)
	if err != nil {
		return c, err
	}
	// Images are made of pages that reads have paid for: both are waited for.
	arm := b.reader(p, b.ops(layers))
	for range 2 {
		if err := p.Under.Compact(ctx); err != nil {
			return c, err
		}
		if _, err := arm.Run(ctx, 0); err != nil {
			return c, err
		}
	}
	if err := p.Under.Compact(ctx); err != nil {
		return c, err
	}
	return paired.Case{Name: name, Arms: []paired.Arm{arm}}, nil
}

func (b *suite) size(ctx context.Context, name string, size int) (c paired.Case, err error) {
	blocks := size << 20 / pgwal.PageSize
	p, err := b.pages(ctx, cluster.PagesConfig{Blocks: blocks, Store: fileStore(blocks)}, 1, 1)
	if err != nil {
		return c, err
	}
	return paired.Case{Name: name, Arms: []paired.Arm{b.reader(p, b.ops(10))}}, nil
}

// wire asks a pageserver over a unix socket.
func (b *suite) wire(ctx context.Context) (cases []paired.Case, err error) {
	dir, err := b.s.Dir("w")
	if err != nil {
		return nil, err
	}
	p, err := cluster.NewPages(ctx, cluster.PagesConfig{Dir: dir, Blocks: b.cfg.Pages, Seed: b.s.Seed, Store: hotStore})
	if err != nil {
		return nil, err
	}
	if err := b.update(ctx, p, 1, 1); err != nil {
		return nil, err
	}
	end, blocks := p.End(), p.Blocks
	if err := p.Close(ctx); err != nil {
		return nil, err
	}
	server, err := cluster.StartPageserver(ctx, p.World.Env, dir+"/ps", hotStore, nil)
	if err != nil {
		return nil, err
	}
	b.s.Cleanup(server.Stop)
	if err := server.Client.Timeline(cluster.Main).WaitLSN(ctx, end); err != nil {
		return nil, err
	}
	echo, err := peer.NewEcho(dir + "/echo")
	if err != nil {
		return nil, err
	}
	b.s.Cleanup(echo.Close)
	for _, batch := range batches {
		ops := max(100, b.cfg.WireOps/batch)
		cases = append(cases, paired.Case{Name: wireName(batch), Arms: []paired.Arm{{
			Name: "varve", Settings: varveSettings, Run: func(ctx context.Context, round int) (paired.Sample, error) {
				ctx, cancel := context.WithTimeout(ctx, time.Minute)
				defer cancel()
				load := cluster.ReadLoad{Ops: ops, Blocks: blocks, LSN: cluster.At(end), Seed: b.s.Seed + uint64(round)}
				return cluster.MeasureReads(ctx, server.Client.Timeline(cluster.Main), nil, nil, load, batch)
			},
		}, {
			Name: "echo", Settings: "64 bytes a page there, 8 KiB back, on a unix socket", Run: func(ctx context.Context, _ int) (paired.Sample, error) {
				return echo.Ask(ctx, ops, batch)
			},
		}}})
	}
	return cases, nil
}

// plot draws what a read costs against deltas, layers and size.
func (b *suite) plot() {
	rounds, quiet := b.s.Timed()
	curve := func(figure, x, format string, xs []int, metric, unit string) {
		series := bench.Series{Figure: figure, Name: "varve", X: x, Y: unit, Rounds: quiet}
		for _, n := range xs {
			values := paired.Values(rounds, fmt.Sprintf(format, n), "varve", "", metric)
			if len(values) == 0 {
				continue
			}
			series.XS = append(series.XS, float64(n))
			series.YS = append(series.YS, paired.SpreadOf(values).Median)
		}
		b.s.Plot(series)
	}
	const cost = "median time of a read, microseconds"
	curve("read-cost-deltas", "deltas of the page", "hot/d%d", b.cfg.Deltas, "p50_us", cost)
	curve("read-cost-layers", "layers that were flushed, and then merged", "layers/%d", b.cfg.Layers, "p50_us", cost)
	curve("read-cost-size", "size of the database, MiB", "size/%dMiB", b.cfg.Sizes, "p50_us", cost)
	pebble := bench.Series{Figure: "read-cost-deltas", Name: "pebble (no redo)", X: "deltas of the page", Y: cost, Rounds: quiet}
	for _, n := range b.cfg.Deltas {
		if values := paired.Values(rounds, fmt.Sprintf("hot/d%d", n), "pebble", "", "p50_us"); len(values) > 0 {
			pebble.XS, pebble.YS = append(pebble.XS, float64(n)), append(pebble.YS, paired.SpreadOf(values).Median)
		}
	}
	if len(pebble.XS) > 0 {
		b.s.Plot(pebble)
	}
}
