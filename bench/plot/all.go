package plot

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/varvedb/varve/bench"
	"github.com/varvedb/varve/bench/goal"
)

// latencyCases are the cases whose latencies are drawn: one for each path that users feel.
var latencyCases = map[string][]string{
	"append":  {"node/8KiB", "commit/8KiB/c1", "commit/8KiB/c16", "paced/8KiB", "slow/c1"},
	"getpage": {"hot/d10", "file/d0", "wire/b1"},
	"redo":    {"page/61"},
	"flush":   {"foreground"},
	"branch":  {"create"},
	"travel":  {"depth/64", "history"},
	"pgbench": {"tpcb/c1", "tpcb/c16", "select/warm", "tpcb/paced", "select/paced"},
}

// titles of the figures that suites plot.
var titles = map[string]string{
	"read-cost-deltas":    "cost of a read against the deltas of its page",
	"read-cost-layers":    "cost of a read against flushes of its page, merged",
	"read-cost-size":      "cost of a read against the size of the database",
	"read-cost-depth":     "cost of a read against the depth of its branch",
	"amplification":       "what reads visit against what writes cost",
	"wal-per-transaction": "log per TPC-B transaction",
	"throughput-faults":   "throughput of a real PostgreSQL while a safekeeper is away",
	simulated:             "disk flushes of a simulated run, all nodes, with its faults",
	"heatmap-latency":     "latencies while a safekeeper is away",
}

// All draws every picture that there are data for.
func All(results []*bench.Result, outcomes []goal.Outcome, bank Bank) (figures []*Figure, err error) {
	add := func(f *Figure, err error) error {
		if f != nil && err == nil {
			figures = append(figures, f)
		}
		return err
	}
	for _, r := range results {
		for _, c := range latencyCases[r.Suite] {
			arms := latenciesOf(r, c)
			if len(arms) == 0 {
				continue
			}
			if err := add(tail(r, c, arms)); err != nil {
				return nil, err
			}
			if err := add(cdf(r, c, arms)); err != nil {
				return nil, err
			}
		}
		if err := add(visits(r)); err != nil {
			return nil, err
		}
		for _, name := range figureNames(r) {
			if err := add(series(r, name)); err != nil {
				return nil, err
			}
		}
	}
	judged := *results[0]
	judged.Commit = strings.Join(bench.Commits(results), ", ")
	if err := add(Goals(outcomes, &judged)); err != nil {
		return nil, err
	}
	return figures, add(Mutants(bank))
}

func latenciesOf(r *bench.Result, c string) (arms []bench.Latencies) {
	for _, l := range r.Latencies {
		if l.Case == c && len(l.Buckets) > 1 {
			arms = append(arms, l)
		}
	}
	return arms
}

// figureNames are the figures that a suite has plotted, in order of appearance.
func figureNames(r *bench.Result) (names []string) {
	for _, s := range r.Series {
		if !slices.Contains(names, s.Figure) {
			names = append(names, s.Figure)
		}
	}
	return names
}

// series draws one figure of a suite's, in the way that its name asks for.
func series(r *bench.Result, name string) (*Figure, error) {
	var all []bench.Series
	for _, s := range r.Series {
		if s.Figure == name && len(s.XS) > 0 {
			all = append(all, s)
		}
	}
	if len(all) == 0 {
		return nil, nil
	}
	title := cmp.Or(all[0].Title, titles[name])
	switch {
	case strings.HasPrefix(name, "read-cost"):
		return lines(r, name, title, all)
	case strings.HasPrefix(name, "throughput"):
		return overTime(r, name, title, all)
	case strings.HasPrefix(name, "heatmap"):
		return heatmap(r, name, title, all)
	case name == "coldstart":
		return waterfall(r, all[0])
	case name == "wal-per-transaction":
		return bars(r, name, title, all[0])
	case name == "amplification":
		return scatter(r, name, title, all)
	}
	return nil, fmt.Errorf("figure %s of suite %s: there is no such kind", name, r.Suite)
}
