package stage

import (
	"context"
	"errors"
	"fmt"

	"github.com/varvedb/varve/bench"
	"github.com/varvedb/varve/bench/cluster"
	"github.com/varvedb/varve/bench/meter"
	"github.com/varvedb/varve/bench/paired"
	"github.com/varvedb/varve/bench/peer"
	"github.com/varvedb/varve/bench/pglog"
)

// Peers starts the program with the heavy peers. Where it is not built there is none, and
// the peers named are missing in the result.
func Peers(s *bench.Session, names ...string) (*peer.Helper, error) {
	helper, err := peer.Start(s.Peers)
	if errors.Is(err, peer.ErrNone) {
		for _, name := range names {
			s.Miss(name, err.Error())
		}
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s.Cleanup(helper.Close)
	return helper, nil
}

// Pages makes a relation of synthetic pages in a directory of that name. It is closed
// with the session.
func Pages(ctx context.Context, s *bench.Session, name string, cfg cluster.PagesConfig) (p *cluster.Pages, err error) {
	s.Step("%s: %d pages", name, cfg.Blocks)
	if cfg.Dir, err = s.Dir(name); err != nil {
		return nil, err
	}
	cfg.Seed = s.Seed
	if p, err = cluster.NewPages(ctx, cfg); err != nil {
		return nil, err
	}
	s.Cleanup(func() error { return p.Store.Close(ctx) })
	return p, nil
}

// CountFlushes adds to an arm how many flush requests the disk completed for each of its
// operations, those of its set-up and of everybody else on the machine included: by it
// both sides of a comparison are seen to flush alike, also those that count nothing
// themselves. Where the disk does not tell, nothing is added.
func CountFlushes(s *bench.Session, arm paired.Arm) paired.Arm {
	run := arm.Run
	arm.Run = func(ctx context.Context, round int) (paired.Sample, error) {
		flushes, known := Flushes(s)
		sample, err := run(ctx, round)
		if err != nil || !known || sample.Latency == nil {
			return sample, err
		}
		after, _ := Flushes(s)
		sample.Metrics["disk_flushes_per_op"] = float64(after-flushes) / float64(sample.Latency.Count())
		return sample, nil
	}
	return arm
}

// Flushes is how many flush requests the disk that is measured has completed; false where
// it does not tell.
func Flushes(s *bench.Session) (n int64, known bool) {
	dir, err := s.Dir("")
	if err != nil {
		return 0, false
	}
	disk, err := meter.NewDisk(dir)
	if err != nil {
		return 0, false
	}
	n, err = disk.Flushes()
	return n, err == nil
}

// TPCB says which log of TPC-B.
type TPCB struct {
	Scale        int // of pgbench
	Transactions int // of each of four clients
}

// The logs of TPC-B that suites measure.
var (
	FullTPCB  = TPCB{Scale: 10, Transactions: 15_000}
	QuickTPCB = TPCB{Scale: 1, Transactions: 1500}
)

// Log is the log of TPC-B as Varve's endpoints write it, recorded once in a run.
func Log(ctx context.Context, s *bench.Session, load TPCB) (*pglog.Log, error) {
	s.Step("log of TPC-B")
	log, err := bench.Kept(s.Keep, fmt.Sprintf("log %+v", load), func(dir string) (*pglog.Log, error) {
		return pglog.Record(ctx, dir+"/pg", pglog.FPIOff, pglog.Load{Scale: load.Scale, Transactions: load.Transactions})
	})
	if err != nil {
		return nil, err
	}
	Describe(s, log)
	return log, nil
}

// Describe notes what a log consists of.
func Describe(s *bench.Session, log *pglog.Log) {
	s.Note("log %s: %d records, %d images of pages in them, %.1f MiB, %.0f bytes a record", log.Way, log.Records, log.Images,
		float64(len(log.Bytes))/(1<<20), float64(len(log.Bytes))/float64(log.Records))
}

// Redo is PostgreSQL's own recovery of a log, from the base before it.
func Redo(s *bench.Session, log *pglog.Log) paired.Arm {
	return paired.Arm{
		Name: "pg-redo", Settings: "archive recovery of the same log onto a copy of the base; CPU of the startup process, decoding included",
		Run: func(ctx context.Context, round int) (paired.Sample, error) {
			dir, err := s.Dir("pg")
			if err != nil {
				return paired.Sample{}, err
			}
			r, err := log.Recover(ctx, fmt.Sprintf("%s/redo%d", dir, round), 0)
			return paired.Sample{Metrics: map[string]float64{
				"records_per_cpu_s": float64(log.Records) / r.CPU.Seconds(), "records_per_s": float64(log.Records) / r.Elapsed.Seconds(),
				"mb_per_cpu_s": float64(len(log.Bytes)) / 1e6 / r.CPU.Seconds(),
			}}, err
		},
	}
}
