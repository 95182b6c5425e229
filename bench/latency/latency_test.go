package latency_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/bench/latency"
)

func TestQuantilesOfKnownLatencies(t *testing.T) {
	h := latency.New()
	for n := 1; n <= 1000; n++ {
		h.Record(time.Duration(n) * time.Microsecond)
	}
	m := map[string]float64{}
	h.Metrics(m)
	require.InEpsilon(t, 500, m["p50_us"], 0.002)
	require.InEpsilon(t, 990, m["p99_us"], 0.002)
	require.EqualValues(t, 1000, h.Count())
}

func TestFewLatenciesHaveNoTail(t *testing.T) {
	h := latency.New()
	for range 99 {
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
