package s3

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// patienceMax bounds how long a server that asks for patience is left alone. Less: one that
// is overloaded is asked again too soon. More: a mistaken answer stops everything for longer.
const patienceMax = 30 * time.Second

// patience is until when a server wants to be left alone, as its Retry-After headers say,
// which the library does not tell. It holds for all requests of a bucket.
type patience struct {
	next http.RoundTripper

	mu    sync.Mutex
	until time.Time
}

// RoundTrip implements http.RoundTripper.
func (p *patience) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := p.next.RoundTrip(r)
	if err == nil && (answer.StatusCode == http.StatusServiceUnavailable || answer.StatusCode == http.StatusTooManyRequests) {
		now := time.Now()
		p.ask(now.Add(min(askedFor(answer.Header.Get("Retry-After"), now), patienceMax)))
	}
	return answer, err
}

func (p *patience) ask(until time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.until.Before(until) {
		p.until = until
	}
}

// wait returns false if ctx ends before the server may be asked again.
func (p *patience) wait(ctx context.Context) bool {
	p.mu.Lock()
	left := time.Until(p.until)
	p.mu.Unlock()
	return left <= 0 || sleep(ctx, left)
}

// askedFor reads a Retry-After header: seconds, or a date. Anything else is none.
func askedFor(header string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(header, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if date, err := http.ParseTime(header); err == nil {
		return max(0, date.Sub(now))
	}
	return 0
}
