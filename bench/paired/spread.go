package paired

import (
	"math"
	"slices"
)

// Spread sums up a list of numbers.
type Spread struct {
	N      int     `json:"n"`
	Min    float64 `json:"min"`
	Q1     float64 `json:"q1"`
	Median float64 `json:"median"`
	Q3     float64 `json:"q3"`
	Max    float64 `json:"max"`
}

// SpreadOf sums up values, in any order. That of none has N 0.
func SpreadOf(values []float64) Spread {
	if len(values) == 0 {
		return Spread{}
	}
	sorted := slices.Sorted(slices.Values(values))
	return Spread{
		N: len(sorted), Min: sorted[0], Max: sorted[len(sorted)-1],
		Q1: quantile(sorted, 0.25), Median: quantile(sorted, 0.5), Q3: quantile(sorted, 0.75),
	}
}

// quantile interpolates between the two nearest of the sorted values.
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	low := int(math.Floor(at))
	high := min(low+1, len(sorted)-1)
	return sorted[low] + (at-float64(low))*(sorted[high]-sorted[low])
}

// Pessimistic is the quartile on the bad side: the lower one where more is better, the
// upper one where less is.
func (s Spread) Pessimistic(moreIsBetter bool) float64 {
	if moreIsBetter {
		return s.Q1
	}
	return s.Q3
}

// Apart reports whether the quartiles of two spreads do not touch.
func (s Spread) Apart(other Spread) bool { return s.Q3 < other.Q1 || other.Q3 < s.Q1 }
