package ingest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"github.com/varvedb/varve/bench"
	"github.com/varvedb/varve/bench/cluster"
	"github.com/varvedb/varve/bench/meter"
	"github.com/varvedb/varve/bench/paired"
	"github.com/varvedb/varve/bench/peer"
	"github.com/varvedb/varve/bench/pglog"
	"github.com/varvedb/varve/bench/stage"
	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/pageserver/pgkey"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
)

// Config says how much is done in a round.
type Config struct {
	TPCB    stage.TPCB
	Copy    int // rows
	Records int // of the store's own load
	Pages   int // that it touches
}

// Full is the measurement of record.
var Full = Config{TPCB: stage.FullTPCB, Copy: 300_000, Records: 400_000, Pages: 20_000}

// Quick is for smoke.
var Quick = Config{TPCB: stage.QuickTPCB, Copy: 20_000, Records: 100_000, Pages: 20_000}

// Suite describes the suite.
func Suite() bench.Suite {
	return bench.Suite{
		Name: "ingest", Letter: "b", Weight: 200,
		Title: "decode, and ingest up to durable sorted layers",
		About: "The logs are a real PostgreSQL's, read from the page cache: fpi-off as Varve's endpoints log, fpi-on by PostgreSQL's default, with a COPY and two index builds beside TPC-B. " +
			"Decoding is compared with pg_waldump --stats over the same files. ingest/tpcb takes the log in, up to durable layers; PostgreSQL recovers the same log. " +
			"The store alone is compared with Pebble without WAL, both up to durable sorted tables.",
		Run: bench.Sized(Full, Quick, Run),
	}
}

const storeSettings = "decode: from files in the page cache, 128 KiB at a time, with CRC, page headers and block references; " +
	"store: memtable of 64 MiB, into layers in a directory bucket with its flushes"

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
	builders := b.store()
	for _, way := range []pglog.Way{pglog.FPIOff, pglog.FPIOn} {
		builders = append(builders, bench.One("decode/"+string(way), func(ctx context.Context) (paired.Case, error) { return b.decode(ctx, way) }))
	}
	cases, err := s.Build(ctx, append(builders, bench.One("ingest/tpcb", b.ingest))...)
	if err != nil {
		return err
	}
	return s.Measure(ctx, cases...)
}

// withImages is the log of TPC-B and more, with images of pages.
func (b *suite) withImages(ctx context.Context) (*pglog.Log, error) {
	b.s.Step("log of TPC-B, a COPY and two indexes, with images")
	dir, err := b.s.Dir("pg")
	if err != nil {
		return nil, err
	}
	load := pglog.Load{Scale: b.cfg.TPCB.Scale, Transactions: b.cfg.TPCB.Transactions, Copy: b.cfg.Copy, Index: true}
	log, err := pglog.Record(ctx, dir+"/fpi-on", pglog.FPIOn, load)
	if err != nil {
		return nil, err
	}
	stage.Describe(b.s, log)
	return log, nil
}

func (b *suite) log(ctx context.Context, way pglog.Way) (*pglog.Log, error) {
	if way == pglog.FPIOn {
		return b.withImages(ctx)
	}
	return stage.Log(ctx, b.s, b.cfg.TPCB)
}

// decode compares the decoder with pg_waldump, over the same files.
func (b *suite) decode(ctx context.Context, way pglog.Way) (paired.Case, error) {
	log, err := b.log(ctx, way)
	if err != nil {
		return paired.Case{}, err
	}
	repeat := max(1, int(200<<20/len(log.Bytes)))
	if b.s.Quick {
		repeat = 1
	}
	rates := func(used time.Duration) map[string]float64 {
		return map[string]float64{
			"records_per_cpu_s": float64(log.Records*repeat) / used.Seconds(),
			"mb_per_cpu_s":      float64(len(log.Bytes)*repeat) / 1e6 / used.Seconds(),
		}
	}
	return paired.Case{Name: "decode/" + string(way), Arms: []paired.Arm{{
		Name: "varve", Settings: storeSettings,
		Run: func(context.Context, int) (paired.Sample, error) {
			cpu := meter.Self()
			for range repeat {
				if n, err := log.DecodeFiles(); err != nil || n != log.Records {
					return paired.Sample{}, errors.Join(err, fmt.Errorf("decoded %d of %d records", n, log.Records))
				}
			}
			return paired.Sample{Metrics: rates(meter.Self() - cpu)}, nil
		},
	}, {
		Name: "pg_waldump", Settings: "--stats, over the same files", Run: func(context.Context, int) (paired.Sample, error) {
			var used time.Duration
			for range repeat {
				once, err := log.Dump()
				if err != nil {
					return paired.Sample{}, err
				}
				used += once
			}
			return paired.Sample{Metrics: rates(used)}, nil
		},
	}}}, nil
}

// ingest compares taking the log in, up to durable layers, with PostgreSQL's redo.
func (b *suite) ingest(ctx context.Context) (paired.Case, error) {
	log, err := b.log(ctx, pglog.FPIOff)
	if err != nil {
		return paired.Case{}, err
	}
	return paired.Case{Name: "ingest/tpcb", Arms: []paired.Arm{{
		Name: "varve", Settings: storeSettings,
		Run: func(ctx context.Context, round int) (s paired.Sample, err error) {
			dir, err := b.s.Dir(fmt.Sprint("ingest", round))
			if err != nil {
				return s, err
			}
			defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
			i, err := log.Import(ctx, dir, lsm.Options{})
			if err != nil {
				return s, err
			}
			begin, cpu, written := time.Now(), meter.Self(), i.World.Objects.BytesPut.Load()
			if _, err := i.Take(ctx, log); err != nil {
				return s, err
			}
			used := meter.Self() - cpu
			s.Metrics = map[string]float64{
				"records_per_cpu_s": float64(log.Records) / used.Seconds(), "records_per_s": float64(log.Records) / time.Since(begin).Seconds(),
				"mb_per_cpu_s":         float64(len(log.Bytes)) / 1e6 / used.Seconds(),
				"stored_per_wal_byte":  float64(i.World.Objects.BytesPut.Load()-written) / float64(len(log.Bytes)),
				"wal_bytes_per_record": float64(len(log.Bytes)) / float64(log.Records),
			}
			return s, i.Store.Close(ctx)
		},
	}, stage.Redo(b.s, log)}}, nil
}

// store compares the store alone with Pebble: sizes and orders as in Neon's grid.
func (b *suite) store() (builders []bench.Builder) {
	for _, shape := range []struct {
		name  string
		bytes int
		div   int
	}{{"150B", 150, 1}, {"8KiB", 8192, 16}} {
		for _, order := range []string{"sequential", "random", "reuse"} {
			load := peer.Load{Bytes: shape.bytes, Ops: b.cfg.Records / shape.div, Pages: b.cfg.Pages, Order: order, Seed: b.s.Seed}
			c := paired.Case{Name: "store/" + shape.name + "/" + order, Arms: []paired.Arm{
				{Name: "varve", Settings: storeSettings, Run: b.storeArm(load)},
			}}
			if b.helper != nil {
				c.Arms = append(c.Arms, paired.Arm{Name: "pebble", Settings: "v2, 64 MiB memtable, batches of 1000 as ours, no WAL, flushed at the end, compacting meanwhile",
					Run: func(ctx context.Context, round int) (paired.Sample, error) {
						dir, err := b.s.Dir(fmt.Sprintf("pebble-%s-%s-%d", shape.name, order, round))
						if err != nil {
							return paired.Sample{}, err
						}
						each := load
						each.Dir = dir + "/db"
						s, err := b.helper.Do(ctx, "pebble-store", each)
						return s, errors.Join(err, os.RemoveAll(dir))
					}})
			}
			builders = append(builders, bench.One(c.Name, func(context.Context) (paired.Case, error) { return c, nil }))
		}
	}
	return builders
}

// applyAt is how many versions go into the store at once, as a timeline's batches have them.
const applyAt = 1000

func (b *suite) storeArm(load peer.Load) func(context.Context, int) (paired.Sample, error) {
	return func(ctx context.Context, round int) (s paired.Sample, err error) {
		dir, err := b.s.Dir(fmt.Sprintf("store-%d-%s-%d", load.Bytes, load.Order, round))
		if err != nil {
			return s, err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
		w, err := cluster.NewWorld(dir)
		if err != nil {
			return s, err
		}
		store, err := lsm.Open(ctx, w.Env, lsm.Options{Tenant: cluster.Tenant})
		if err != nil {
			return s, err
		}
		if err := store.Create(ctx, cluster.Main, 8, nil); err != nil {
			return s, err
		}
		t, err := store.Attach(ctx, cluster.Main)
		if err != nil {
			return s, err
		}
		begin, cpu, written := time.Now(), meter.Self(), w.Objects.BytesPut.Load()
		if err := apply(ctx, t, load); err != nil {
			return s, err
		}
		if err := t.Flush(ctx); err != nil {
			return s, err
		}
		used, logical := meter.Self()-cpu, float64(load.Ops)*float64(load.Bytes+26)
		s.Metrics = map[string]float64{
			"cpu_us_per_record": float64(used.Microseconds()) / float64(load.Ops),
			"mib_per_s":         logical / (1 << 20) / time.Since(begin).Seconds(),
			"write_amp":         float64(w.Objects.BytesPut.Load()-written) / logical,
		}
		return s, store.Close(ctx)
	}
}

// apply puts the same keys and values as Pebble gets, a version to a record.
func apply(ctx context.Context, t *lsm.Timeline, load peer.Load) error {
	rng := rand.New(rand.NewPCG(load.Seed, 2))
	values := make([]byte, applyAt*load.Bytes)
	versions := make([]lsm.Version, 0, applyAt)
	kind := lsm.Delta
	if load.Bytes == pgwal.PageSize {
		kind = lsm.Image
	}
	for n := range load.Ops {
		value := values[len(versions)*load.Bytes:][:load.Bytes]
		for at := 0; at+8 <= len(value); at += 8 {
			binary.LittleEndian.PutUint64(value[at:], rng.Uint64())
		}
		block := uint32(n)
		switch load.Order {
		case "random":
			block = rng.Uint32N(uint32(load.Pages))
		case "reuse":
			block = uint32(n % 1024)
		}
		lsn := wal.LSN(n+2) * 8
		versions = append(versions, lsm.Version{Key: pgkey.Block(cluster.Rel, pgwal.MainFork, block), LSN: lsn, Kind: kind, Value: value})
		if len(versions) == applyAt || n == load.Ops-1 {
			if err := t.Apply(ctx, lsn, versions); err != nil {
				return err
			}
			versions = versions[:0]
		}
	}
	return nil
}
