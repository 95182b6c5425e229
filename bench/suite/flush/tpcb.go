package flush

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/varvedb/varve/bench/cluster"
	"github.com/varvedb/varve/bench/paired"
	"github.com/varvedb/varve/bench/pglog"
	"github.com/varvedb/varve/bench/stage"
	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/wal/env"
)

// flushesMin is over how many flushes a round must have gone to say anything.
const flushesMin = 10

// tpcb counts what is written and stored for TPC-B, per byte of its log without images.
func (b *suite) tpcb(ctx context.Context) (paired.Case, error) {
	log, err := stage.Log(ctx, b.s, b.cfg.TPCB)
	if err != nil {
		return paired.Case{}, err
	}
	distance := int64(len(log.Bytes) / b.cfg.Distances)
	opts := lsm.Options{MemtableBytes: distance, HistoryBytes: distance * int64(b.cfg.Kept), HistoryTime: 1}
	tuned := fmt.Sprintf("%s; the last %d KiB of the log stay readable, what is older is collected", settings(distance), opts.HistoryBytes>>10)
	return paired.Case{Name: "tpcb", Arms: []paired.Arm{{Name: "varve", Settings: tuned, Run: func(ctx context.Context, round int) (s paired.Sample, err error) {
		dir, err := b.s.Dir(fmt.Sprint("tpcb", round))
		if err != nil {
			return s, err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
		s.Metrics, err = take(ctx, dir, log, opts)
		return s, err
	}}}}, nil
}

// take takes the log in, lets all merges end, and counts.
func take(ctx context.Context, dir string, log *pglog.Log, opts lsm.Options) (m map[string]float64, err error) {
	w, err := cluster.NewWorld(dir)
	if err != nil {
		return nil, err
	}
	w.Clock = hurried{w.Clock, w.Clock.Wall()}
	i, err := log.ImportInto(ctx, w, opts)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, i.Store.Close(ctx)) }()
	written, put, imported := w.BytesWritten(), w.Objects.BytesPut.Load(), i.Under.Info().Bytes
	longest, err := i.Take(ctx, log)
	if err != nil {
		return nil, err
	}
	if err := i.Under.Compact(ctx); err != nil {
		return nil, err
	}
	logged, info, stats := float64(len(log.Bytes)), i.Under.Info(), i.Under.Stats()
	if stats.Flushes < flushesMin || stats.Merges == 0 || stats.Images == 0 || stats.Dropped == 0 {
		return nil, fmt.Errorf("a log went in with %d flushes, %d merges, %d images made and %d bytes of history collected: none may be missing, and flushes not below %d",
			stats.Flushes, stats.Merges, stats.Images, stats.Dropped, flushesMin)
	}
	readable := float64(info.Durable - info.Cutoff)
	return map[string]float64{
		"written_per_wal_byte": float64(w.BytesWritten()-written) / logged,
		"bucket_per_wal_byte":  float64(w.Objects.BytesPut.Load()-put) / logged,
		"space_ratio":          float64(info.Bytes) / (float64(imported) + readable),
		"longest_stall_ms":     float64(longest.Microseconds()) / 1e3,
		"flushes":              float64(stats.Flushes), "merges": float64(stats.Merges), "images": float64(stats.Images),
		"collected_per_wal_byte": float64(stats.Dropped) / logged, "readable_per_wal_byte": readable / logged,
	}, nil
}

// hurried is a clock whose time of day runs a thousand times as fast: how old history is,
// the store counts in seconds, and a round is over in two.
type hurried struct {
	env.Clock
	begun time.Time
}

// Wall implements env.Clock.
func (h hurried) Wall() time.Time { return h.begun.Add(1000 * h.Clock.Wall().Sub(h.begun)) }
