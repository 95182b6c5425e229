package branch

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/varvedb/varve/bench"
	"github.com/varvedb/varve/bench/cluster"
	"github.com/varvedb/varve/bench/latency"
	"github.com/varvedb/varve/bench/meter"
	"github.com/varvedb/varve/bench/paired"
	"github.com/varvedb/varve/bench/postgres"
	"github.com/varvedb/varve/bench/stage"
	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/wal"
)

// Config says how much is done in a round.
type Config struct {
	Ops    int   // branches made of one database
	Sizes  []int // MiB of pages
	Each   int   // branches of each size
	Counts []int // of branches that are there already
	Idle   int   // branches that are attached
	Scale  int   // of pgbench, for PostgreSQL's ways; 15 MB each
}

// Full is the measurement of record.
var Full = Config{Ops: 500, Sizes: []int{16, 64, 256, 1024, 4096}, Each: 40, Counts: []int{1, 10, 100, 1000}, Idle: 300, Scale: 50}

// Quick is for smoke.
var Quick = Config{Ops: 40, Sizes: []int{4, 16, 64}, Each: 10, Counts: []int{1, 20, 80}, Idle: 300, Scale: 2}

// Suite describes the suite.
func Suite() bench.Suite {
	return bench.Suite{
		Name: "branch", Letter: "f", Weight: 130,
		Title: "creation of branches, against copies and snapshots",
		About: "A branch is one small object that is put if absent, between two reads of the head of the parent's index. The bucket is a directory, where a put is a file, a lock, a rename and two flushes; " +
			"the floor is one append of 256 bytes and its flush. What must not depend on size or number is shown by counters, which need no clock: requests, and bytes written and read, of every branch. " +
			"Databases of several sizes are pages of random bytes, up to 4 GiB of them.",
		Run: bench.Sized(Full, Quick, Run),
	}
}

type suite struct {
	s   *bench.Session
	cfg Config
	rng *rand.Rand
}

// Run measures.
func Run(ctx context.Context, s *bench.Session, cfg Config) error {
	b := &suite{s: s, cfg: cfg, rng: rand.New(rand.NewPCG(s.Seed, 8))}
	cases, err := s.Build(ctx, bench.One("create", b.create), bench.One("sizes", b.sizes), bench.One("counts", b.counts))
	if err != nil {
		return err
	}
	return s.Measure(ctx, cases...)
}

const varveSettings = "a directory bucket: each put is synced, renamed under a lock, and its directory synced"

// id is a new timeline's.
func (b *suite) id() (id wal.TimelineID) {
	binary.BigEndian.PutUint64(id[:], b.rng.Uint64())
	binary.BigEndian.PutUint64(id[8:], b.rng.Uint64())
	return id
}

// relation is a timeline of so many MiB of pages.
func (b *suite) relation(ctx context.Context, name string, mib int) (*cluster.Pages, error) {
	p, err := stage.Pages(ctx, b.s, name, cluster.PagesConfig{Blocks: mib << 20 / 8192})
	if err != nil {
		return nil, err
	}
	if _, err := p.Update(ctx, 1000, 100, func(i int) int { return i % p.Blocks }); err != nil {
		return nil, err
	}
	return p, p.Timeline.Flush(ctx)
}

// make makes n branches of p, and removes them afterwards if they are not to stay.
func (b *suite) make(ctx context.Context, p *cluster.Pages, n int, h *latency.Histogram, stay bool) error {
	for range n {
		id, begin := b.id(), time.Now()
		if err := p.Store.Branch(ctx, cluster.Main, id, p.End(), nil); err != nil {
			return err
		}
		h.Since(begin)
		if stay {
			continue
		}
		if err := p.Store.Delete(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// create compares making a branch with its peers.
func (b *suite) create(ctx context.Context) (c paired.Case, err error) {
	p, err := b.relation(ctx, "create", 16)
	if err != nil {
		return c, err
	}
	c = paired.Case{Name: "create", Arms: []paired.Arm{{Name: "varve", Settings: varveSettings, Run: func(ctx context.Context, _ int) (paired.Sample, error) {
		h, cpu := latency.New(), meter.Self()
		err := b.make(ctx, p, b.cfg.Ops, h, false)
		return paired.Sample{Latency: h, Metrics: map[string]float64{"cpu_us_per_op": float64((meter.Self() - cpu).Microseconds()) / float64(b.cfg.Ops)}}, err
	}}, {Name: "append-256B", Settings: "256 bytes at the end of a growing file, fdatasync each", Run: b.appendFloor}}}
	dir, err := b.s.Dir("fs")
	if err != nil {
		return c, err
	}
	if volume, err := mountBtrfs(dir); err != nil {
		b.s.Miss("btrfs", "no btrfs on a loop device here: "+err.Error())
	} else {
		b.s.Cleanup(volume.close)
		c.Arms = append(c.Arms, paired.Arm{Name: "btrfs", Settings: "btrfs on a loop file: a snapshot of a subvolume of 64 MiB, and its file system synced", Run: volume.snapshots})
	}
	return b.postgres(ctx, c)
}

func (b *suite) appendFloor(ctx context.Context, round int) (paired.Sample, error) {
	dir, err := b.s.Dir("append")
	if err != nil {
		return paired.Sample{}, err
	}
	f, err := os.Create(filepath.Join(dir, fmt.Sprint(round)))
	if err != nil {
		return paired.Sample{}, fmt.Errorf("make file: %w", err)
	}
	defer f.Close()
	h, record := latency.New(), make([]byte, 256)
	for range b.cfg.Ops {
		begin := time.Now()
		if _, err := f.Write(record); err != nil {
			return paired.Sample{}, fmt.Errorf("append: %w", err)
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			return paired.Sample{}, fmt.Errorf("flush: %w", err)
		}
		h.Since(begin)
	}
	return paired.Sample{Latency: h, Metrics: map[string]float64{}}, ctx.Err()
}

// postgres adds PostgreSQL's ways of having a database twice.
func (b *suite) postgres(ctx context.Context, c paired.Case) (paired.Case, error) {
	programs, err := postgres.Find(ctx)
	if err != nil {
		b.s.Miss("pg_basebackup", err.Error())
		return c, nil
	}
	b.s.Step("PostgreSQL")
	dir, err := b.s.Dir("pg")
	if err != nil {
		return c, err
	}
	server, err := programs.Init(dir+"/a", map[string]string{"wal_level": "replica"})
	if err != nil {
		return c, err
	}
	if err := server.Start(ctx); err != nil {
		return c, err
	}
	b.s.Cleanup(server.Close)
	if _, err := server.SQL("CREATE DATABASE origin"); err != nil {
		return c, err
	}
	if err := server.Fill("origin", b.cfg.Scale); err != nil {
		return c, err
	}
	once := func(work, undo func(round int) error) func(context.Context, int) (paired.Sample, error) {
		return func(_ context.Context, round int) (paired.Sample, error) {
			begin := time.Now()
			err := work(round)
			took := time.Since(begin)
			return paired.Sample{Metrics: map[string]float64{"p50_us": float64(took.Microseconds())}}, errors.Join(err, undo(round))
		}
	}
	size := fmt.Sprintf("pgbench at scale %d", b.cfg.Scale)
	c.Arms = append(c.Arms, paired.Arm{Name: "pg_basebackup", Settings: size + ", --wal-method=none, fast checkpoint, synced", Run: once(func(round int) error {
		to := fmt.Sprintf("%s/backup%d", dir, round)
		if err := programs.Account.MakeDir(to, 0o700); err != nil {
			return err
		}
		_, err := server.Exec("pg_basebackup", "-D", to, "-X", "none", "-c", "fast")
		return err
	}, func(round int) error { return os.RemoveAll(fmt.Sprintf("%s/backup%d", dir, round)) })}, paired.Arm{Name: "create-database", Settings: size + ", CREATE DATABASE ... TEMPLATE ... STRATEGY file_copy", Run: once(func(round int) error {
		_, err := server.SQL(fmt.Sprintf("CREATE DATABASE copy%d TEMPLATE origin STRATEGY file_copy", round))
		return err
	}, func(round int) error {
		_, err := server.SQL(fmt.Sprintf("DROP DATABASE copy%d", round))
		return err
	})})
	return c, nil
}

// counters are what a branch asked of the bucket.
type counters struct{ puts, bytes, gets, got, lists, listed int64 }

func countersOf(o *meter.Objects) counters {
	return counters{o.Puts.Load(), o.BytesPut.Load(), o.Gets.Load(), o.BytesGot.Load(), o.Lists.Load(), o.Listed.Load()}
}

func (c counters) minus(d counters) counters {
	return counters{c.puts - d.puts, c.bytes - d.bytes, c.gets - d.gets, c.got - d.got, c.lists - d.lists, c.listed - d.listed}
}

// sizes makes branches of databases of several sizes, in random turns.
func (b *suite) sizes(ctx context.Context) (c paired.Case, err error) {
	var parents []*cluster.Pages
	for _, size := range b.cfg.Sizes {
		p, err := b.relation(ctx, fmt.Sprint("size", size), size)
		if err != nil {
			return c, err
		}
		parents = append(parents, p)
	}
	return paired.Case{Name: "sizes", Arms: []paired.Arm{{Name: "varve", Settings: varveSettings, Run: func(ctx context.Context, _ int) (paired.Sample, error) {
		m, err := b.turns(ctx, parents, b.cfg.Sizes)
		return paired.Sample{Metrics: m}, err
	}}}}, nil
}

// turns makes branches of each parent, in random turns, and compares what they cost. xs
// is what the parents differ in.
func (b *suite) turns(ctx context.Context, parents []*cluster.Pages, xs []int) (map[string]float64, error) {
	hists, costs := make([]*latency.Histogram, len(parents)), make([]counters, len(parents))
	var turns []int
	for i := range parents {
		hists[i] = latency.New()
		for range b.cfg.Each {
			turns = append(turns, i)
		}
	}
	b.rng.Shuffle(len(turns), func(i, j int) { turns[i], turns[j] = turns[j], turns[i] })
	for _, i := range turns {
		id, begin, before := b.id(), time.Now(), countersOf(parents[i].World.Objects)
		if err := parents[i].Store.Branch(ctx, cluster.Main, id, parents[i].End(), nil); err != nil {
			return nil, err
		}
		hists[i].Since(begin)
		costs[i] = countersOf(parents[i].World.Objects).minus(before)
		if err := parents[i].Store.Delete(ctx, id); err != nil {
			return nil, err
		}
	}
	m := map[string]float64{"bytes_per_branch": float64(costs[0].bytes), "puts_per_branch": float64(costs[0].puts)}
	summarise(m, xs, hists, costs)
	return m, nil
}

// summarise adds the slope of the logarithms and how many sizes differ in any counter
// from the first.
func summarise(m map[string]float64, xs []int, hists []*latency.Histogram, costs []counters) {
	var logX, logY []float64
	differ := 0.0
	for i, x := range xs {
		logX, logY = append(logX, math.Log(float64(x))), append(logY, math.Log(hists[i].Quantile(0.5)))
		if costs[i] != costs[0] {
			differ++
		}
		m[fmt.Sprintf("p50_us_at_%d", x)] = hists[i].Quantile(0.5) / 1e3
		m[fmt.Sprintf("bytes_got_at_%d", x)] = float64(costs[i].got)
		m[fmt.Sprintf("objects_listed_at_%d", x)] = float64(costs[i].listed)
	}
	m["abs_slope"], m["counters_differ"] = math.Abs(slope(logX, logY)), differ
	// A branch that copied data would put more than its index, which is below a page.
	m["data_bytes_copied"] = max(0, float64(costs[len(costs)-1].bytes)-8192)
}

// slope is that of the line of least squares.
func slope(xs, ys []float64) float64 {
	var mx, my, xy, xx float64
	for i := range xs {
		mx, my = mx+xs[i]/float64(len(xs)), my+ys[i]/float64(len(ys))
	}
	for i := range xs {
		xy, xx = xy+(xs[i]-mx)*(ys[i]-my), xx+(xs[i]-mx)*(xs[i]-mx)
	}
	return xy / xx
}

// counts makes branches while so many are there, and attaches idle ones.
func (b *suite) counts(ctx context.Context) (c paired.Case, err error) {
	var parents []*cluster.Pages
	for _, count := range b.cfg.Counts {
		p, err := b.relation(ctx, fmt.Sprint("count", count), 4)
		if err != nil {
			return c, err
		}
		b.s.Step("%d branches", count)
		if err := b.make(ctx, p, count, latency.New(), true); err != nil {
			return c, err
		}
		parents = append(parents, p)
	}
	return paired.Case{Name: "counts", Arms: []paired.Arm{{Name: "varve", Settings: varveSettings, Run: func(ctx context.Context, round int) (s paired.Sample, err error) {
		if s.Metrics, err = b.turns(ctx, parents, b.cfg.Counts); err != nil {
			return s, err
		}
		s.Metrics["bytes_per_idle_branch"], err = b.idle(ctx, round)
		return s, err
	}}}}, nil
}

// gcEvery is after how many branches garbage is collected: what lives on lies densely, as
// in a process that has run for long. Otherwise what is measured depends on how large the
// heap was before, by which it is chosen when to collect.
const gcEvery = 50

// idle attaches branches and returns the memory that each takes, in whole spans of the
// allocator.
func (b *suite) idle(ctx context.Context, round int) (size float64, err error) {
	dir, err := b.s.Dir(fmt.Sprint("idle", round))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	p, err := cluster.NewPages(ctx, cluster.PagesConfig{Dir: dir, Blocks: 512, Seed: b.s.Seed, Store: lsm.Options{BlockCacheBytes: 1 << 20}})
	if err != nil {
		return 0, err
	}
	before := heap()
	for n := range b.cfg.Idle {
		if n%gcEvery == 0 {
			runtime.GC()
		}
		id := b.id()
		if err := p.Store.Branch(ctx, cluster.Main, id, p.End(), nil); err != nil {
			return 0, err
		}
		if _, err := p.Store.Attach(ctx, id); err != nil {
			return 0, err
		}
	}
	return float64(heap()-before) / float64(b.cfg.Idle), p.Close(ctx)
}

// heap is what is in use, stacks of goroutines included.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}
