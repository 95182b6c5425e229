package goal

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"github.com/varvedb/varve/bench"
	"github.com/varvedb/varve/bench/paired"
)

// Change is a ratio of subject to peer in an older and a newer run.
type Change struct {
	Suite, Case, Arm, Peer, Metric string
	Old, New                       paired.Spread
}

// Moved reports whether the quartiles of old and new do not touch.
func (c *Change) Moved() bool { return c.Old.Apart(c.New) }

// Compare lists every ratio that two runs have in common: of each case's first arm to
// each of the others, in quiet rounds. Figures themselves are not compared, for between
// two runs the machine may have changed.
func Compare(older, newer []*bench.Result) (changes []Change) {
	for _, n := range newer {
		i := slices.IndexFunc(older, func(o *bench.Result) bool { return o.Suite == n.Suite })
		if i < 0 {
			continue
		}
		oldRounds, _ := paired.Quiet(older[i].Rounds)
		newRounds, _ := paired.Quiet(n.Rounds)
		for _, c := range n.Pairs() {
			for _, peer := range c.Arms[1:] {
				for _, metric := range metricsOf(n.Rounds, c.Name, c.Arms[0].Name) {
					change := Change{Suite: n.Suite, Case: c.Name, Arm: c.Arms[0].Name, Peer: peer.Name, Metric: metric}
					change.Old = paired.SpreadOf(paired.Values(oldRounds, c.Name, change.Arm, peer.Name, metric))
					change.New = paired.SpreadOf(paired.Values(newRounds, c.Name, change.Arm, peer.Name, metric))
					if change.Old.N > 0 && change.New.N > 0 {
						changes = append(changes, change)
					}
				}
			}
		}
	}
	return changes
}

func metricsOf(rounds []paired.Round, c, arm string) (metrics []string) {
	for _, s := range rounds[0].Samples {
		if s.Case == c && s.Arm == arm {
			for metric := range s.Metrics {
				metrics = append(metrics, metric)
			}
		}
	}
	slices.Sort(metrics)
	return metrics
}

// PrintChanges writes the ratios, those that moved marked.
func PrintChanges(w io.Writer, changes []Change) error {
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tab, "\tsuite\tcase\tratio\told median (quartiles)\tnew median (quartiles)\tnew/old")
	for _, c := range changes {
		mark := ""
		if c.Moved() {
			mark = "*"
		}
		fmt.Fprintf(tab, "%s\t%s\t%s\t%s: %s/%s\t%s\t%s\t%s\n", mark, c.Suite, c.Case, c.Metric, c.Arm, c.Peer,
			spread(c.Old), spread(c.New), over(c.New.Median, c.Old.Median))
	}
	return tab.Flush()
}

func spread(s paired.Spread) string {
	return fmt.Sprintf("%s (%s..%s)", Number(s.Median), Number(s.Q1), Number(s.Q3))
}

func over(a, b float64) string {
	if b == 0 {
		return ""
	}
	return Number(a / b)
}
