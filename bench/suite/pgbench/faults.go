package pgbench

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/varvedb/varve/bench"
)

// bin is the width of a point of throughput over time.
const bin = 100 * time.Millisecond

// latencyLevels are the edges of the heatmap's rows, in microseconds.
var latencyLevels = []float64{100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1e6}

// faults is the name by which a filter finds the load with faults.
const faults = "faults"

// faults loads Varve at a rate while one safekeeper is stopped and started again, and
// keeps throughput and latencies over time for the pictures. It compares nothing.
func (b *suite) faults(ctx context.Context) error {
	round := max(b.age, 0) * freshEvery // the last one's clusters, if there was any
	rate, err := b.rateOf(ctx, tpcbPaced, round)
	if err != nil {
		return err
	}
	r, err := b.at(ctx, round, "varve")
	if err != nil {
		return err
	}
	b.s.Step("load while a safekeeper is away")
	dir, err := b.s.Dir("faults")
	if err != nil {
		return err
	}
	if err := b.programs.Account.Own(dir); err != nil {
		return err
	}
	prefix := filepath.Join(dir, "log")
	ended := make(chan error, 1)
	begin := time.Now()
	go func() {
		_, err := b.programs.Exec(r.socket, "pgbench", "-n", "-M", "prepared", "-c", fmt.Sprint(tpcbPaced.clients), "--rate", fmt.Sprint(rate), "-T", fmt.Sprint(int(b.cfg.FaultFor.Seconds())), "-l", "--log-prefix", prefix)
		ended <- err
	}()
	node := r.system.Nodes[0]
	time.Sleep(b.cfg.FaultFor / 3)
	down := time.Since(begin)
	if err := node.Stop(); err != nil {
		return err
	}
	time.Sleep(b.cfg.FaultFor / 3)
	if err := node.Start(ctx); err != nil {
		return err
	}
	up := time.Since(begin)
	if err := <-ended; err != nil {
		return err
	}
	all, err := readLogs(prefix)
	if err != nil {
		return err
	}
	b.drawOverTime(begin, all, rate, down, up)
	return nil
}

// drawOverTime keeps throughput by bins, the time without one safekeeper as a band, and
// the latencies as counts by bin and level.
func (b *suite) drawOverTime(begin time.Time, all []ended, rate float64, down, up time.Duration) {
	const figure, x = "throughput-faults", "seconds since the first transaction was meant to begin"
	first, last := all[0].at, all[0].at
	for _, e := range all {
		if e.at.After(last) {
			last = e.at
		}
		if begun := e.at.Add(-e.took); begun.Before(first) {
			first = begun
		}
	}
	down, up, begin = down-first.Sub(begin), up-first.Sub(begin), first
	bins := int(min(b.cfg.FaultFor, last.Sub(first))/bin) + 1
	counts, heat := make([]float64, bins), make([][]float64, len(latencyLevels))
	for i := range heat {
		heat[i] = make([]float64, bins)
	}
	for _, e := range all {
		at := int(e.at.Sub(begin) / bin)
		if at < 0 || at >= bins {
			continue
		}
		counts[at]++
		level, _ := slices.BinarySearch(latencyLevels, float64(e.took.Microseconds()))
		heat[min(level, len(heat)-1)][at]++
	}
	throughput := bench.Series{Figure: figure, Title: "throughput of a real PostgreSQL while a safekeeper is away, open loop", Name: fmt.Sprintf("TPC-B, %.0f/s arrive", rate), X: x, Y: "transactions ended per second"}
	for i, n := range counts[:bins-1] { // The last bin is not whole.
		throughput.XS = append(throughput.XS, (time.Duration(i) * bin).Seconds())
		throughput.YS = append(throughput.YS, n/bin.Seconds())
	}
	b.s.Plot(throughput,
		bench.Series{Figure: figure, Name: "bands", X: x, Y: "end", XS: []float64{down.Seconds()}, YS: []float64{up.Seconds()}, Labels: []string{"one of three safekeepers away"}},
		bench.Series{Figure: figure, Name: "events", X: x, Y: "", XS: []float64{down.Seconds(), up.Seconds()}, YS: []float64{0, 0}, Labels: []string{"stopped", "started"}})
	b.s.Plot(bench.Series{Figure: "heatmap-latency", Title: "latencies while a safekeeper is away, open loop", Name: "events", X: x, XS: []float64{down.Seconds(), up.Seconds()}, YS: []float64{0, 0}, Labels: []string{"one stopped", "started again"}})
	for level, row := range heat {
		series := bench.Series{Figure: "heatmap-latency", Name: fmt.Sprint(latencyLevels[level]), X: x, Y: fmt.Sprintf("latency from the arrival (%.0f/s), up to", rate)}
		for i, n := range row[:bins-1] {
			series.XS, series.YS = append(series.XS, (time.Duration(i)*bin).Seconds()), append(series.YS, n)
		}
		b.s.Plot(series)
	}
}
