package appendlog

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"go.etcd.io/bbolt"

	"github.com/varvedb/varve/bench"
	"github.com/varvedb/varve/bench/cluster"
	"github.com/varvedb/varve/bench/latency"
	"github.com/varvedb/varve/bench/meter"
	"github.com/varvedb/varve/bench/paired"
	"github.com/varvedb/varve/bench/peer"
	"github.com/varvedb/varve/bench/stage"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
	"github.com/varvedb/varve/wal/segment"
)

// Config says how much is done in a round.
type Config struct {
	NodeOps   int // appends on one node
	CommitOps int // commits through the quorum, all clients together
	Clients   []int
	EtcdOps   int
	Stream    int64 // bytes
	SlowOps   int
	Paced     float64 // share of the floor's throughput at which commits arrive
	PacedOps  int
}

// Full is the measurement of record. What is judged are medians; tails are drawn from the
// operations of all rounds.
var Full = Config{NodeOps: 4000, CommitOps: 4000, Clients: []int{1, 4, 16, 64}, EtcdOps: 1500, Stream: 256 << 20, SlowOps: 500, Paced: 0.3, PacedOps: 3000}

// Quick is for smoke.
var Quick = Config{NodeOps: 300, CommitOps: 400, Clients: []int{1, 16}, EtcdOps: 200, Stream: 32 << 20, SlowOps: 60, Paced: 0.3, PacedOps: 500}

// Suite describes the suite.
func Suite() bench.Suite {
	return bench.Suite{
		Name: "append", Letter: "a", Weight: 340,
		Title: "log append on one node, and commit by a quorum of three safekeepers",
		About: "Records are appended to one segmented log, and through a proposer to three safekeepers on unix sockets, all in one process and on one disk. " +
			"The floor writes the same bytes to three plain allocated files and waits for the second; etcd runs three members in one process as well. " +
			"stream ends with the commit of its last byte, by the second of three, where the plain writers' ends with the third; the third safekeeper then gets what it is behind, untimed, before the next arm begins. " +
			"The comparison with PostgreSQL's synchronous receivers is in suite pgbench, where a real PostgreSQL writes the log.",
		Run: bench.Sized(Full, Quick, Run),
	}
}

// Run measures.
func Run(ctx context.Context, s *bench.Session, cfg Config) error {
	dir, err := s.Dir("p")
	if err != nil {
		return err
	}
	s.Step("plain files")
	plain, err := peer.NewPlain(dir, 3)
	if err != nil {
		return err
	}
	s.Cleanup(plain.Close)
	helper, err := stage.Peers(s, "etcd", "etcd-wal", "pebble")
	if err != nil {
		return err
	}
	b := &suite{s: s, cfg: cfg, plain: plain, helper: helper}
	cases, err := s.Build(ctx, bench.One("node/8KiB", b.node), bench.Builder{Names: b.commitNames(), Build: b.commit},
		bench.One("paced/8KiB", b.paced), bench.One("stream/128KiB", b.stream), bench.One("slow/c1", b.slow))
	if err != nil {
		return err
	}
	return s.Measure(ctx, cases...)
}

type suite struct {
	s      *bench.Session
	cfg    Config
	plain  *peer.Plain
	helper *peer.Helper
}

const page = 8192

// How the arms that appear in several cases are tuned.
const (
	varveSettings = "3 safekeepers, segments of 16 MiB preallocated, fdatasync per group; on one node the segment log alone"
	floorSettings = "three allocated files, fdatasync each in parallel, the second counts"
)

// node appends 8 KiB durably on one node: five ways.
func (b *suite) node(context.Context) (c paired.Case, err error) {
	c = paired.Case{Name: "node/8KiB"}
	c.Arms = append(c.Arms, paired.Arm{
		Name: "varve", Settings: varveSettings,
		Run: b.segmentLog,
	}, paired.Arm{
		Name: "raw", Settings: "one allocated file of 128 MiB, overwritten, fdatasync each",
		Run: func(ctx context.Context, _ int) (paired.Sample, error) {
			return b.plain.Overwrite(ctx, b.cfg.NodeOps, page)
		},
	}, paired.Arm{Name: "bbolt", Settings: "defaults: one transaction and its fdatasyncs per value", Run: b.bolt})
	if b.helper != nil {
		load := peer.Load{Bytes: page, Ops: b.cfg.NodeOps, Seed: b.s.Seed}
		for _, arm := range []struct{ name, settings, op string }{
			{"etcd-wal", "wal.Save of one entry and the hard state, fdatasync each", "etcdwal-append"},
			{"pebble", "64 MiB memtable, Bloom filter of 10 bits, pebble.Sync each", "pebble-append"},
		} {
			dir, err := b.s.Dir(arm.name)
			if err != nil {
				return c, err
			}
			load.Dir = dir + "/db"
			c.Arms = append(c.Arms, b.helper.Arm(arm.name, arm.settings, arm.op, load))
		}
	}
	for i := range c.Arms {
		c.Arms[i] = stage.CountFlushes(b.s, c.Arms[i])
	}
	return c, nil
}

// segmentLog appends records whose page framing makes them 8 KiB of log each.
func (b *suite) segmentLog(ctx context.Context, round int) (paired.Sample, error) {
	dir, err := b.s.Dir(fmt.Sprint("node", round))
	if err != nil {
		return paired.Sample{}, err
	}
	w, err := cluster.NewWorld(dir)
	if err != nil {
		return paired.Sample{}, err
	}
	cfg := segment.Config{Dir: "log", Start: wal.SegmentStart(3), SystemID: cluster.SystemID}
	if err := segment.Create(ctx, w.FS, cfg); err != nil {
		return paired.Sample{}, err
	}
	log, err := segment.Open(ctx, w.FS, cfg, cfg.Start)
	if err != nil {
		return paired.Sample{}, err
	}
	defer log.Close()
	// What is appended is made beforehand: encoding is PostgreSQL's work.
	encoder, record := pgwal.NewEncoder(cfg.Start, 0, cluster.SystemID), cluster.Message(page-64)
	pieces, ends := make([][]byte, b.cfg.NodeOps), make([]wal.LSN, b.cfg.NodeOps)
	for i := range pieces {
		_, ends[i] = encoder.Append(record)
		pieces[i] = encoder.Take()
	}
	h := latency.New()
	runtime.GC()
	syncs, written, cpu, mallocs := w.Files.Syncs.Load(), w.Files.BytesWritten.Load(), meter.Self(), cluster.Mallocs()
	for i, piece := range pieces {
		begin := time.Now()
		if err := log.Write(ctx, log.End(), piece); err != nil {
			return paired.Sample{}, err
		}
		if err := log.Sync(ctx, ends[i]); err != nil {
			return paired.Sample{}, err
		}
		h.Since(begin)
	}
	ops := float64(b.cfg.NodeOps)
	return paired.Sample{Latency: h, Metrics: map[string]float64{
		"cpu_us_per_op":      float64((meter.Self() - cpu).Microseconds()) / ops,
		"allocs_per_op":      float64(cluster.Mallocs()-mallocs) / ops,
		"flushes_per_op":     float64(w.Files.Syncs.Load()-syncs) / ops,
		"bytes_per_wal_byte": float64(w.Files.BytesWritten.Load()-written) / float64(log.End()-cfg.Start),
	}}, nil
}

func (b *suite) bolt(ctx context.Context, round int) (paired.Sample, error) {
	dir, err := b.s.Dir("bbolt")
	if err != nil {
		return paired.Sample{}, err
	}
	db, err := bbolt.Open(fmt.Sprintf("%s/%d", dir, round), 0o600, nil)
	if err != nil {
		return paired.Sample{}, fmt.Errorf("open bbolt: %w", err)
	}
	defer db.Close()
	h, value, cpu := latency.New(), make([]byte, page), meter.Self()
	ops := b.cfg.NodeOps / 4 // It is some three times slower, and rounds should be alike.
	for n := range ops {
		begin := time.Now()
		err := db.Update(func(tx *bbolt.Tx) error {
			bucket, err := tx.CreateBucketIfNotExists([]byte("b"))
			if err != nil {
				return err
			}
			return bucket.Put(fmt.Appendf(nil, "%08d", n), value)
		})
		if err != nil {
			return paired.Sample{}, fmt.Errorf("put into bbolt: %w", err)
		}
		h.Since(begin)
	}
	return paired.Sample{Latency: h, Metrics: map[string]float64{
		"cpu_us_per_op": float64((meter.Self() - cpu).Microseconds()) / float64(ops),
	}}, ctx.Err()
}

// writer makes a quorum of three with a log of its own, which lives as long as the session.
func (b *suite) writer(ctx context.Context, name string) (*cluster.Safekeepers, *cluster.Writer, error) {
	b.s.Step("safekeepers %s", name)
	dir, err := b.s.Dir(name)
	if err != nil {
		return nil, nil, err
	}
	keepers, err := cluster.StartSafekeepers(ctx, dir, 3)
	if err != nil {
		return nil, nil, err
	}
	b.s.Cleanup(keepers.Stop)
	w, err := keepers.NewWriter(ctx, wal.TimelineID{2})
	if err != nil {
		return nil, nil, err
	}
	b.s.Cleanup(w.Stop)
	return keepers, w, nil
}

// sizes are those of commits. For sizes but a page's the ends of the grid of clients say
// all.
var sizes = []struct {
	name  string
	bytes int
	div   int
}{{"64B", 64, 1}, {"8KiB", page, 1}, {"128KiB", 128 << 10, 8}}

// clientsOf are the numbers of clients that commit records of a size.
func (b *suite) clientsOf(bytes int) []int {
	if all := b.cfg.Clients; bytes != page && len(all) > 2 {
		return []int{all[0], all[len(all)-1]}
	}
	return b.cfg.Clients
}

func commitName(size string, clients int) string { return fmt.Sprintf("commit/%s/c%d", size, clients) }

func (b *suite) commitNames() (names []string) {
	for _, size := range sizes {
		for _, clients := range b.clientsOf(size.bytes) {
			names = append(names, commitName(size.name, clients))
		}
	}
	return names
}

// commit has clients write records of a size and wait for each to be committed.
func (b *suite) commit(ctx context.Context) (cases []paired.Case, err error) {
	keepers, w, err := b.writer(ctx, "q")
	if err != nil {
		return nil, err
	}
	etcdDir, err := b.s.Dir("etcd")
	if err != nil {
		return nil, err
	}
	for _, size := range sizes {
		for _, clients := range b.clientsOf(size.bytes) {
			ops := max(b.cfg.CommitOps/size.div, clients*2)
			c := paired.Case{Name: commitName(size.name, clients)}
			c.Arms = append(c.Arms, paired.Arm{Name: "varve", Settings: varveSettings,
				Run: func(ctx context.Context, _ int) (paired.Sample, error) {
					return commitLoad(ctx, keepers, w, cluster.Message(size.bytes), ops, clients)
				}})
			if clients == 1 {
				c.Arms = append(c.Arms, paired.Arm{Name: "floor", Settings: floorSettings,
					Run: func(ctx context.Context, _ int) (paired.Sample, error) {
						return b.plain.Quorum(ctx, ops, size.bytes, 2)
					}})
			}
			if b.helper != nil && size.bytes == page && (clients == 1 || clients == 16) {
				load := peer.Load{Dir: etcdDir, Bytes: page, Ops: b.cfg.EtcdOps, Clients: clients}
				c.Arms = append(c.Arms, b.helper.Arm("etcd", "3 members in one process, defaults, asked at the leader", "etcd-put", load))
			}
			for i := range c.Arms {
				c.Arms[i] = stage.CountFlushes(b.s, c.Arms[i])
			}
			cases = append(cases, c)
		}
	}
	return cases, nil
}

// commitLoad divides ops commits among clients.
func commitLoad(ctx context.Context, keepers *cluster.Safekeepers, w *cluster.Writer, record pgwal.RecordSpec, ops, clients int) (paired.Sample, error) {
	var running sync.WaitGroup
	hists, errs := make([]*latency.Histogram, clients), make([]error, clients)
	syncs, bytes, logged := keepers.Syncs(), keepers.BytesWritten(), w.Written()
	begin, cpu := time.Now(), meter.Self()
	for c := range clients {
		hists[c] = latency.New()
		running.Go(func() {
			for range ops / clients {
				begin := time.Now()
				if errs[c] = w.Commit(ctx, record); errs[c] != nil {
					return
				}
				hists[c].Since(begin)
			}
		})
	}
	running.Wait()
	took, used := time.Since(begin), meter.Self()-cpu
	h := latency.New()
	for _, each := range hists {
		h.Merge(each)
	}
	done, nodes := float64(h.Count()), float64(len(keepers.Nodes))
	return paired.Sample{Latency: h, Metrics: map[string]float64{
		"per_s": done / took.Seconds(), "cpu_us_per_op": float64(used.Microseconds()) / done,
		"flushes_per_commit": float64(keepers.Syncs()-syncs) / nodes / done,
		"bytes_per_wal_byte": float64(keepers.BytesWritten()-bytes) / nodes / float64(w.Written()-logged),
	}}, errors.Join(errs...)
}

// paced has commits arrive at a rate whether or not the ones before are done, and go into
// one flush with them if they are not: what a stall costs shows in the tail.
func (b *suite) paced(ctx context.Context) (c paired.Case, err error) {
	_, w, err := b.writer(ctx, "r")
	if err != nil {
		return c, err
	}
	probe, err := b.plain.Quorum(ctx, 200, page, 2)
	if err != nil {
		return c, err
	}
	rate := b.cfg.Paced * 1e9 / probe.Latency.Quantile(0.5)
	b.s.Note("paced commits arrive at %.0f per second", rate)
	record := cluster.Message(page - 64)
	arm := func(commit func(context.Context) error) func(context.Context, int) (paired.Sample, error) {
		return func(ctx context.Context, _ int) (paired.Sample, error) {
			h, err := latency.Paced(ctx, b.cfg.PacedOps, rate, commit)
			return paired.Sample{Latency: h, Rate: rate, Metrics: map[string]float64{}}, err
		}
	}
	return paired.Case{Name: "paced/8KiB", Arms: []paired.Arm{
		{Name: "varve", Settings: varveSettings,
			Run: arm(func(ctx context.Context) error { return w.Commit(ctx, record) })},
		{Name: "floor", Settings: floorSettings + "; what comes during a flush goes into the next", Run: func(ctx context.Context, round int) (paired.Sample, error) {
			grouped := b.plain.Group(page, 2)
			defer grouped.Close()
			return arm(grouped.Commit)(ctx, round)
		}},
	}}, nil
}

// stream writes without waiting for single commits. Its time ends with the commit; the
// third safekeeper, which may be behind, has all before the arm ends, or what it has left
// to do would be done while the peer is measured. Its CPU time and bytes count.
func (b *suite) stream(ctx context.Context) (c paired.Case, err error) {
	keepers, w, err := b.writer(ctx, "s")
	if err != nil {
		return c, err
	}
	record := cluster.Message(128<<10 - 512)
	run := func(ctx context.Context, _ int) (paired.Sample, error) {
		begin, logged, bytes, cpu := time.Now(), w.Written(), keepers.BytesWritten(), meter.Self()
		var end wal.LSN
		for w.Written()-logged < b.cfg.Stream {
			var err error
			if end, err = w.Write(ctx, record); err != nil {
				return paired.Sample{}, err
			}
		}
		if err := w.WaitCommit(ctx, end); err != nil {
			return paired.Sample{}, err
		}
		took, size := time.Since(begin), float64(w.Written()-logged)
		if err := w.WaitAll(ctx, end); err != nil {
			return paired.Sample{}, err
		}
		return paired.Sample{Metrics: map[string]float64{
			"mib_per_s":          size / (1 << 20) / took.Seconds(),
			"cpu_s_per_gib":      (meter.Self() - cpu).Seconds() / size * (1 << 30),
			"bytes_per_wal_byte": float64(keepers.BytesWritten()-bytes) / float64(len(keepers.Nodes)) / size,
		}}, nil
	}
	return paired.Case{Name: "stream/128KiB", Arms: []paired.Arm{
		{Name: "varve", Settings: varveSettings, Run: run},
		{Name: "plain", Settings: "three writers of 1 MiB into allocated files, fdatasync each", Run: func(ctx context.Context, _ int) (paired.Sample, error) {
			return b.plain.Stream(ctx, b.cfg.Stream, 1<<20)
		}},
	}}, nil
}

// slowBy is what is added to each flush of the slow safekeeper.
const slowBy = 20 * time.Millisecond

// slow compares commits while one safekeeper is slow with commits while none is.
func (b *suite) slow(ctx context.Context) (c paired.Case, err error) {
	keepers, w, err := b.writer(ctx, "t")
	if err != nil {
		return c, err
	}
	arm := func(name string, delay time.Duration) paired.Arm {
		return paired.Arm{Name: name, Settings: fmt.Sprintf("each flush of one of three safekeepers takes %v longer", delay),
			Run: func(ctx context.Context, _ int) (paired.Sample, error) {
				keepers.Nodes[0].World.Files.SyncDelay.Store(int64(delay))
				defer keepers.Nodes[0].World.Files.SyncDelay.Store(0)
				return commitLoad(ctx, keepers, w, cluster.Message(page-64), b.cfg.SlowOps, 1)
			}}
	}
	return paired.Case{Name: "slow/c1", Arms: []paired.Arm{arm("one-slow", slowBy), arm("all-well", 0)}}, nil
}
