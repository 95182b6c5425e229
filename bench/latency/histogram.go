package latency

import (
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// The range and the precision of a histogram. Latencies outside are counted at its ends:
// 100 s is longer than any measurement of ours lasts.
const (
	least  = 100              // ns
	most   = int64(100 * 1e9) // ns
	digits = 3                // significant, decimal
	coarse = 2                // of histograms that are kept in files
)

// Histogram counts latencies. It is for one task at a time; Merge joins those of many.
// Make it with New.
type Histogram struct{ h *hdrhistogram.Histogram }

// New makes an empty histogram.
func New() *Histogram { return &Histogram{h: hdrhistogram.New(least, most, digits)} }

// NewCoarse makes an empty histogram of two significant digits, for files: a pixel of a
// picture is no finer.
func NewCoarse() *Histogram { return &Histogram{h: hdrhistogram.New(least, most, coarse)} }

// Record counts one latency.
func (h *Histogram) Record(d time.Duration) {
	// The value is inside the range, so the error cannot be.
	_ = h.h.RecordValue(min(max(int64(d), least), most))
}

// Since counts the time from begin to now.
func (h *Histogram) Since(begin time.Time) { h.Record(time.Since(begin)) }

// Merge adds what other has counted.
func (h *Histogram) Merge(other *Histogram) { h.h.Merge(other.h) }

// Count is the number of latencies.
func (h *Histogram) Count() int64 { return h.h.TotalCount() }

// Quantile is the latency in nanoseconds below or at which the share q of all lies.
func (h *Histogram) Quantile(q float64) float64 { return float64(h.h.ValueAtQuantile(q * 100)) }

// tailMin is how many latencies a 99th percentile needs: of fewer, a hundred or less are
// above it, and one stall moves it.
const tailMin = 10_000

// Metrics puts the quantiles that comparisons use into m, in microseconds, unless they are
// there already. Of too few latencies the 99th percentile is left out.
func (h *Histogram) Metrics(m map[string]float64) {
	put := func(name string, q float64) {
		if _, has := m[name]; !has {
			m[name] = h.Quantile(q) / 1e3
		}
	}
	put("p50_us", 0.50)
	if h.Count() >= tailMin {
		put("p99_us", 0.99)
	}
}

// Bucket is a number of latencies that are alike to three digits.
type Bucket struct {
	Nanos int64
	Count int64
}

// Buckets are the counts that are not zero, in ascending order of latency.
func (h *Histogram) Buckets() (buckets []Bucket) {
	for _, bar := range h.h.Distribution() {
		if bar.Count > 0 {
			buckets = append(buckets, Bucket{Nanos: bar.To, Count: bar.Count})
		}
	}
	return buckets
}

// FromBuckets makes the histogram that Buckets came from.
func FromBuckets(buckets []Bucket) (*Histogram, error) {
	h := New()
	for _, b := range buckets {
		if b.Nanos < 0 || b.Nanos > 2*most || b.Count < 0 {
			return nil, fmt.Errorf("histogram bucket of %d at %d ns is impossible", b.Count, b.Nanos)
		}
		if err := h.h.RecordValues(min(max(b.Nanos, least), most), b.Count); err != nil {
			return nil, fmt.Errorf("count %d at %d ns: %w", b.Count, b.Nanos, err)
		}
	}
	return h, nil
}
