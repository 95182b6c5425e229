package latency

import (
	"context"
	"time"

	"golang.org/x/sys/unix"
)

// Pace gives operations their times: the n-th is meant to begin n/rate after the first.
type Pace struct {
	begin time.Time
	gap   float64 // ns
	n     int64
}

// NewPace begins a pace of so many operations per second, now.
func NewPace(rate float64) *Pace {
	return &Pace{begin: time.Now(), gap: float64(time.Second) / rate}
}

// spun is the end of a wait that is not slept through: a sleep ends some 60 us late, one
// of the runtime's timers up to a millisecond.
const spun = 100 * time.Microsecond

// Next waits until the next operation is meant to begin, and returns that moment: at
// once, and a moment in the past, if the operations before it took too long.
func (p *Pace) Next(ctx context.Context) (time.Time, error) {
	at := p.begin.Add(time.Duration(float64(p.n) * p.gap))
	p.n++
	if wait := time.Until(at) - spun; wait > 0 {
		sleep := unix.NsecToTimespec(int64(wait))
		_ = unix.Nanosleep(&sleep, nil) // What a signal leaves of it is spun.
	}
	for time.Now().Before(at) {
	}
	return at, ctx.Err()
}

// Paced has so many operations begin at a rate, each in a task of its own, so that none
// waits for those before it unless what it does makes it wait. It returns how long each
// took from the moment at which it was meant to begin.
func Paced(ctx context.Context, ops int, rate float64, do func(context.Context) error) (*Histogram, error) {
	took, failed := make(chan time.Duration, ops), make(chan error, ops)
	h, pace := New(), NewPace(rate)
	begun := 0
	var err error
	for ; begun < ops && err == nil; begun++ {
		var meant time.Time
		if meant, err = pace.Next(ctx); err != nil {
			break
		}
		go func() {
			err := do(ctx)
			took <- time.Since(meant)
			failed <- err
		}()
	}
	for range begun {
		h.Record(<-took)
		if each := <-failed; each != nil {
			err = each
		}
	}
	return h, err
}
