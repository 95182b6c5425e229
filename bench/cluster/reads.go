package cluster

import (
	"context"
	"maps"
	"runtime"
	"slices"
	"time"

	"github.com/varvedb/varve/bench/latency"
	"github.com/varvedb/varve/bench/meter"
	"github.com/varvedb/varve/bench/paired"
	"github.com/varvedb/varve/lsm"
)

// MeasureReads reads pages, a batch at a time, and says what one page took: time of a
// batch divided by its pages, CPU, allocations, and what the store counted if under is
// the timeline's own.
func MeasureReads(ctx context.Context, p Pager, under *lsm.Timeline, w *meter.World, load ReadLoad, batch int) (paired.Sample, error) {
	h := latency.New()
	// The first reads fetch indexes and warm caches; they are no part of a steady state.
	warm := load
	warm.Ops = max(1, load.Ops/10)
	if err := ReadPages(ctx, p, warm, batch, func(do func() error) error { return do() }); err != nil {
		return paired.Sample{}, err
	}
	var before lsm.Stats
	if under != nil {
		before = under.Stats()
	}
	preads, cpu, mallocs, begin := int64(0), meter.Self(), Mallocs(), time.Now()
	if w != nil {
		preads = w.Reads()
	}
	err := ReadPages(ctx, p, load, batch, func(do func() error) error {
		begin := time.Now()
		err := do()
		h.Record(time.Since(begin) / time.Duration(batch))
		return err
	})
	if err != nil {
		return paired.Sample{}, err
	}
	took, used, pages := time.Since(begin), meter.Self()-cpu, float64(load.Ops*batch)
	m := map[string]float64{
		"pages_per_s": pages / took.Seconds(), "cpu_us_per_op": float64(used.Microseconds()) / pages,
		"allocs_per_op": float64(Mallocs()-mallocs) / pages, "p99_over_p50": h.Quantile(0.99) / h.Quantile(0.5),
	}
	if under != nil {
		after := under.Stats()
		m["layers_per_read"] = float64(after.LayersVisited-before.LayersVisited) / pages
		m["keys_per_op"] = float64(after.Reads-before.Reads) / pages
		if w != nil {
			m["preads_per_op"] = float64(w.Reads()-preads) / pages
			if visited := after.LayersVisited - before.LayersVisited; visited > 0 {
				m["preads_per_layer"] = float64(w.Reads()-preads) / float64(visited)
			}
		}
	}
	return paired.Sample{Metrics: m, Latency: h}, nil
}

// PacedReads reads pages one by one, each meant to begin at its time, and returns how long
// after that each was done.
func PacedReads(ctx context.Context, p Pager, load ReadLoad, rate float64) (*latency.Histogram, error) {
	h, pace := latency.New(), latency.NewPace(rate)
	return h, ReadPages(ctx, p, load, 1, func(do func() error) error {
		meant, err := pace.Next(ctx)
		if err != nil {
			return err
		}
		err = do()
		h.Since(meant)
		return err
	})
}

// Mallocs is the number of allocations of this process so far.
func Mallocs() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Mallocs
}

// SortedKeys are the keys of a map, in order.
func SortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
