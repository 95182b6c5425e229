package paired_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/bench/latency"
	"github.com/varvedb/varve/bench/paired"
)

func TestSpreadOfKnownNumbers(t *testing.T) {
	s := paired.SpreadOf([]float64{9, 1, 5, 3, 7})
	require.Equal(t, paired.Spread{N: 5, Min: 1, Q1: 3, Median: 5, Q3: 7, Max: 9}, s)
	require.Equal(t, 7.0, s.Pessimistic(false), "less is better: the upper quartile")
	require.Equal(t, 3.0, s.Pessimistic(true), "more is better: the lower quartile")
	require.Equal(t, paired.Spread{N: 2, Min: 1, Q1: 1.25, Median: 1.5, Q3: 1.75, Max: 2}, paired.SpreadOf([]float64{2, 1}))
	require.Equal(t, paired.Spread{N: 1, Min: 4, Q1: 4, Median: 4, Q3: 4, Max: 4}, paired.SpreadOf([]float64{4}))
	require.Zero(t, paired.SpreadOf(nil))
}

func TestSpreadsAreApartWhenQuartilesDoNotTouch(t *testing.T) {
	low, high := paired.SpreadOf([]float64{1, 2, 3}), paired.SpreadOf([]float64{4, 5, 6})
	require.True(t, low.Apart(high))
	require.True(t, high.Apart(low))
	require.False(t, low.Apart(paired.SpreadOf([]float64{2, 3, 4})))
}

func TestTwoRoundsAreABBA(t *testing.T) {
	var turns string
	arm := func(name string) paired.Arm {
		return paired.Arm{Name: name, Run: func(context.Context, int) (paired.Sample, error) {
			turns += name
			return paired.Sample{Metrics: map[string]float64{"x": float64(len(turns))}}, nil
		}}
	}
	cases := []paired.Case{{Name: "c", Arms: []paired.Arm{arm("A"), arm("B")}}}
	var rounds []paired.Round
	for n := range 2 {
		r, err := paired.Run(t.Context(), n, nil, cases, t.TempDir(), paired.Watch{})
		require.NoError(t, err)
		require.Positive(t, r.Canary.CopyNanos)
		require.Positive(t, r.Canary.CRCNanos)
		require.Positive(t, r.Canary.SyncNanos)
		require.Positive(t, r.Canary.EchoNanos)
		rounds = append(rounds, r)
	}
	require.Equal(t, "ABBA", turns)
	require.Equal(t, []float64{1, 4}, paired.Values(rounds, "c", "A", "", "x"))
	require.Equal(t, []float64{1.0 / 2, 4.0 / 3}, paired.Values(rounds, "c", "A", "B", "x"), "each divided by its own round's")
	require.Equal(t, []int{2, 1, 0}, paired.Order(1, 3))
}

func TestARatioNeedsBothSidesOfARound(t *testing.T) {
	round := func(a, b map[string]float64) paired.Round {
		return paired.Round{Samples: []paired.Measured{{Case: "c", Arm: "A", Metrics: a}, {Case: "c", Arm: "B", Metrics: b}}}
	}
	rounds := []paired.Round{
		round(map[string]float64{"x": 6}, map[string]float64{"x": 2}),
		round(map[string]float64{"x": 6}, nil),
		round(nil, map[string]float64{"x": 2}),
		round(map[string]float64{"x": 6}, map[string]float64{"x": 0}),
	}
	require.Equal(t, []float64{3}, paired.Values(rounds, "c", "A", "B", "x"))
	require.Equal(t, []float64{6, 6, 6}, paired.Values(rounds, "c", "A", "", "x"))
}

func TestADisturbedRoundIsDropped(t *testing.T) {
	canary := func(copied, crc, flushed, echoed float64) paired.Round {
		return paired.Round{Canary: paired.Canary{CopyNanos: copied, CRCNanos: crc, SyncNanos: flushed, EchoNanos: echoed}}
	}
	rounds := []paired.Round{canary(100, 50, 1000, 90), canary(149, 50, 1499, 60), canary(100, 50, 1501, 60), canary(100, 80, 1000, 60), canary(100, 50, 1000, 91)}
	quiet, dropped := paired.Quiet(rounds)
	require.Equal(t, rounds[:2], quiet)
	require.Equal(t, 3, dropped)
	rounds[0].Conditions.OthersShare, rounds[1].Conditions.OthersShare = 0.09, 0.11
	quiet, _ = paired.Quiet(rounds)
	require.Equal(t, rounds[:1], quiet, "the canary does not see who comes later in a round")
}

func TestLatenciesBecomeMetrics(t *testing.T) {
	h := latency.New()
	for range 10_000 {
		h.Record(time.Millisecond)
	}
	var seen []string
	watch := paired.Watch{
		Begin: func(c, arm string) { seen = append(seen, c+" "+arm) },
		End:   func(_ paired.Measured, s paired.Sample) { seen = append(seen, fmt.Sprint(s.Latency.Count())) },
	}
	cases := []paired.Case{{Name: "c", Arms: []paired.Arm{{Name: "A", Run: func(context.Context, int) (paired.Sample, error) {
		return paired.Sample{Metrics: map[string]float64{}, Latency: h}, nil
	}}}}}
	r, err := paired.Run(t.Context(), 0, nil, cases, t.TempDir(), watch)
	require.NoError(t, err)
	p99, ok := r.Value("c", "A", "p99_us")
	require.True(t, ok)
	require.InEpsilon(t, 1000, p99, 0.002)
	require.Equal(t, []string{"c A", "10000"}, seen)
}

func TestAnArmThatFailsIsNamed(t *testing.T) {
	broken := errors.New("broken")
	cases := []paired.Case{{Name: "c", Arms: []paired.Arm{{Name: "A", Run: func(context.Context, int) (paired.Sample, error) {
		return paired.Sample{}, broken
	}}}}}
	_, err := paired.Run(t.Context(), 0, nil, cases, t.TempDir(), paired.Watch{})
	require.ErrorIs(t, err, broken)
	require.ErrorContains(t, err, "measure A of c")
}
