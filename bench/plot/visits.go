package plot

import (
	"cmp"
	"slices"
	"strings"

	"github.com/varvedb/varve/bench"
	"github.com/varvedb/varve/bench/paired"
)

// visits draws what a read costs against the layers that it visits, of cases with more
// layers each, which are left unmerged in some arms. Both are medians of quiet rounds.
func visits(r *bench.Result) (*Figure, error) {
	quiet, _ := paired.Quiet(r.Rounds)
	var all []bench.Series
	for _, c := range r.Pairs() {
		if !strings.HasPrefix(c.Name, "depth/") {
			continue
		}
		for _, arm := range c.Arms {
			layers := paired.SpreadOf(paired.Values(quiet, c.Name, arm.Name, "", "layers_per_read"))
			cost := paired.SpreadOf(paired.Values(quiet, c.Name, arm.Name, "", "p50_us"))
			if layers.N == 0 || cost.N == 0 {
				continue
			}
			i := slices.IndexFunc(all, func(s bench.Series) bool { return s.Name == arm.Name })
			if i < 0 {
				i = len(all)
				all = append(all, bench.Series{Name: arm.Name, X: "layers that a read visits", Y: "median time of a read, microseconds", Rounds: len(quiet)})
			}
			all[i].XS, all[i].YS = append(all[i].XS, layers.Median), append(all[i].YS, cost.Median)
		}
	}
	if len(all) == 0 {
		return nil, nil
	}
	for i := range all {
		ascending(&all[i])
	}
	return lines(r, "visits-"+r.Suite, "cost of a read against the layers that it visits", all)
}

// ascending puts points in the order of x, and leaves of those with nearly one x the first:
// above a number of levels there are no more layers.
func ascending(s *bench.Series) {
	order := make([]int, len(s.XS))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(s.XS[a], s.XS[b]) })
	var xs, ys []float64
	for _, i := range order {
		if len(xs) == 0 || s.XS[i] > xs[len(xs)-1]*apart {
			xs, ys = append(xs, s.XS[i]), append(ys, s.YS[i])
		}
	}
	s.XS, s.YS = xs, ys
}
