package latency_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/bench/latency"
)

func TestQuantilesOfKnownLatencies(t *testing.T) {
	h := latency.New()
	for n := 1; n <= 10_000; n++ {
		h.Record(time.Duration(n) * 100 * time.Nanosecond)
	}
	m := map[string]float64{}
	h.Metrics(m)
	require.InEpsilon(t, 500, m["p50_us"], 0.002)
	require.InEpsilon(t, 990, m["p99_us"], 0.002)
	require.EqualValues(t, 10_000, h.Count())
}

func TestFewLatenciesHaveNoTail(t *testing.T) {
	h := latency.New()
	for range 9999 {
		h.Record(time.Millisecond)
	}
	m := map[string]float64{}
	h.Metrics(m)
	require.NotContains(t, m, "p99_us")
}

func TestBucketsGoBackAndForth(t *testing.T) {
	h := latency.New()
	for _, d := range []time.Duration{0, 150, time.Microsecond, 1234567, time.Second, time.Hour} {
		h.Record(d)
		h.Record(d)
	}
	again, err := latency.FromBuckets(h.Buckets())
	require.NoError(t, err)
	require.Equal(t, h.Buckets(), again.Buckets())
	require.Equal(t, h.Quantile(0.9), again.Quantile(0.9))
	_, err = latency.FromBuckets([]latency.Bucket{{Nanos: -1, Count: 1}})
	require.ErrorContains(t, err, "impossible")
}

// Whoever comes late because the one before took long is not forgiven the wait.
func TestAPaceChargesForWaiting(t *testing.T) {
	p := latency.NewPace(1e9)
	first, err := p.Next(t.Context())
	require.NoError(t, err)
	for range 999 {
		_, err = p.Next(t.Context())
		require.NoError(t, err)
	}
	at, err := p.Next(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1000*time.Nanosecond, at.Sub(first))
}

// An operation that takes long holds up none that comes after it.
func TestPacedOperationsDoNotWaitForEachOther(t *testing.T) {
	var begun atomic.Int64
	all := make(chan struct{})
	h, err := latency.Paced(t.Context(), 50, 1e5, func(context.Context) error {
		if begun.Add(1) == 50 {
			close(all)
		}
		<-all // Each waits for the last to have begun.
		return nil
	})
	require.NoError(t, err)
	require.EqualValues(t, 50, h.Count())

	broken := errors.New("broken")
	h, err = latency.Paced(t.Context(), 5, 1e6, func(context.Context) error { return broken })
	require.ErrorIs(t, err, broken)
	require.EqualValues(t, 5, h.Count())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = latency.Paced(ctx, 5, 1e6, func(context.Context) error { return nil })
	require.ErrorIs(t, err, context.Canceled)
}

// A moment that is meant is never passed before it has come.
func TestAPaceIsNotEarly(t *testing.T) {
	p := latency.NewPace(5000)
	for n := range 20 {
		at, err := p.Next(t.Context())
		require.NoError(t, err)
		require.False(t, time.Now().Before(at), "operation %d", n)
	}
}
