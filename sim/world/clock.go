package world

import (
	"context"
	"time"
)

// epoch is the time of day at which every world begins.
var epoch = time.Date(2026, time.March, 1, 0, 0, 0, 0, time.UTC)

// timepiece is a node's clock. Its monotonic time began at zero when the node was
// started and drifts; its time of day is off, and may be stepped.
type timepiece struct {
	w      *World
	born   time.Duration // world's time of the node's start
	drift  int64         // parts per million by which it runs fast
	offset time.Duration // of the time of day
}

// elapsed is the monotonic time at a world's time since the start.
func (c *timepiece) elapsed(t time.Duration) time.Duration {
	// Divided first: a year times a drift would overflow.
	whole, part := int64(t)/million, int64(t)%million
	return t + time.Duration(whole*c.drift+part*c.drift/million)
}

// moment is the world's time at which d more has passed on this clock, or the
// nanosecond after it.
func (c *timepiece) moment(d time.Duration) time.Duration {
	if d <= 0 {
		return c.w.now
	}
	d = min(d, foreverTime)
	want := c.elapsed(c.w.now-c.born) + d
	whole, part := int64(d)/million, int64(d)%million
	guess := c.w.now + d - time.Duration(whole*c.drift+part*c.drift/million)
	for short := want - c.elapsed(guess-c.born); short > 0; short = want - c.elapsed(guess-c.born) {
		guess += short
	}
	return guess
}

// foreverTime bounds a sleep, so that no sum of times overflows.
const foreverTime = 100 * 365 * 24 * time.Hour

// clock is a life's env.Clock.
type clock struct{ l *life }

func (c clock) Now() time.Duration {
	t := &c.l.n.clock
	return t.elapsed(t.w.now - t.born)
}

func (c clock) Wall() time.Time {
	t := &c.l.n.clock
	return epoch.Add(t.elapsed(t.w.now) + t.offset)
}

func (c clock) Sleep(ctx context.Context, d time.Duration) error {
	call, err := c.l.begin(ctx, ClockSleep)
	if err != nil {
		return err
	}
	w := c.l.n.w
	x := w.prepare()
	w.at(c.l.n.clock.moment(d), x.t, x.wait)
	if err := w.park(scopeOf(ctx)); err != nil {
		return err
	}
	return call.end()
}
