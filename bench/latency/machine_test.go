package latency

import (
	"testing"
	"time"
)

// BenchmarkMachine is the tail of the machine itself: operations of four microseconds in
// which nothing but the clock is asked, at half of what one processor could do. What they
// wait is what the processor was taken away for.
func BenchmarkMachine(b *testing.B) {
	const took, rate = 4 * time.Microsecond, 110_000
	h, pace := New(), NewPace(rate)
	for range b.N {
		at, err := pace.Next(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		for begun := time.Now(); time.Since(begun) < took; {
		}
		h.Record(time.Since(at))
	}
	b.ReportMetric(h.Quantile(0.5)/1e3, "p50-us")
	b.ReportMetric(h.Quantile(0.99)/1e3, "p99-us")
}
