package paired

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/varvedb/varve/bench/latency"
)

// Sample is what one arm measured in one round.
type Sample struct {
	Metrics map[string]float64 // by name, which ends in the unit
	Latency *latency.Histogram // nil: none was recorded
	// Rate is how many operations a second were meant to begin, and their latencies count
	// from then; 0: each began when the one before had ended.
	Rate float64
}

// Arm is one side of a comparison.
type Arm struct {
	Name     string
	Settings string // how it is tuned; printed with the result
	Run      func(ctx context.Context, round int) (Sample, error)
}

// Case is a comparison: the first arm is the subject, the others are its peers.
type Case struct {
	Name string
	Arms []Arm
}

// Measured is a sample's numbers and where they belong.
type Measured struct {
	Case    string             `json:"case"`
	Arm     string             `json:"arm"`
	Turn    int                `json:"turn"`    // its place among the case's arms in this round
	Seconds float64            `json:"seconds"` // that it took, with what it set up for itself
	Metrics map[string]float64 `json:"metrics"`
}

// Round is one round of all cases.
type Round struct {
	Number     int        `json:"number"`
	Canary     Canary     `json:"canary"`
	Conditions Conditions `json:"conditions"`
	Samples    []Measured `json:"samples"`
}

// Order is the order of n arms in a round: forth in even ones, back in odd ones.
func Order(round, n int) []int {
	order := make([]int, n)
	for i := range order {
		order[i] = i
		if round%2 == 1 {
			order[i] = n - 1 - i
		}
	}
	return order
}

// Watch is told of each arm before and after it runs. Fields may be nil.
type Watch struct {
	Begin func(c, arm string)
	End   func(m Measured, s Sample)
}

// Run measures the round after those before, which has a number. scratch is a directory
// on the file system that is measured.
func Run(ctx context.Context, number int, before []Round, cases []Case, scratch string, watch Watch) (r Round, err error) {
	canary, err := settle(ctx, before, func() (Canary, error) { return TakeCanary(scratch) })
	if err != nil {
		return r, fmt.Errorf("take canary: %w", err)
	}
	r = Round{Number: number, Canary: canary, Conditions: ConditionsNow()}
	for _, c := range cases {
		for turn, i := range Order(number, len(c.Arms)) {
			arm := c.Arms[i]
			if err := ctx.Err(); err != nil {
				return r, err
			}
			watch.begin(c.Name, arm.Name)
			runtime.GC() // No arm pays for what the one before has left.
			begin := time.Now()
			sample, err := arm.Run(ctx, number)
			if err != nil {
				return r, fmt.Errorf("measure %s of %s: %w", arm.Name, c.Name, err)
			}
			if sample.Latency != nil {
				sample.Latency.Metrics(sample.Metrics)
			}
			m := Measured{Case: c.Name, Arm: arm.Name, Turn: turn, Seconds: time.Since(begin).Seconds(), Metrics: sample.Metrics}
			r.Samples = append(r.Samples, m)
			watch.end(m, sample)
		}
	}
	r.Conditions.finish()
	return r, nil
}

func (w Watch) begin(c, arm string) {
	if w.Begin != nil {
		w.Begin(c, arm)
	}
}

func (w Watch) end(m Measured, s Sample) {
	if w.End != nil {
		w.End(m, s)
	}
}

// Value is what an arm measured in the round; false if it did not.
func (r *Round) Value(c, arm, metric string) (float64, bool) {
	for i := range r.Samples {
		if s := &r.Samples[i]; s.Case == c && s.Arm == arm {
			v, ok := s.Metrics[metric]
			return v, ok
		}
	}
	return 0, false
}

// Values lists what an arm measured, round by round. An empty peer gives the values
// themselves, otherwise they are divided by the peer's of the same round; a round in
// which the peer measured 0 has no ratio.
func Values(rounds []Round, c, arm, peer, metric string) (values []float64) {
	for i := range rounds {
		v, ok := rounds[i].Value(c, arm, metric)
		if !ok {
			continue
		}
		if peer != "" {
			p, ok := rounds[i].Value(c, peer, metric)
			if !ok || p == 0 {
				continue
			}
			v /= p
		}
		values = append(values, v)
	}
	return values
}

// disturbed is how much worse than the session's best a canary may be.
const disturbed = 1.5

// crowded is the share of the machine's CPU time during a round beyond which others took
// too much of it: on two cores a fifth of one.
const crowded = 0.1

// Quiet returns the rounds that were not disturbed, and the number of those that were.
func Quiet(rounds []Round) (quiet []Round, dropped int) {
	best := bestOf(rounds)
	for i := range rounds {
		if rounds[i].Canary.worseThan(best, disturbed) || rounds[i].Conditions.OthersShare > crowded {
			dropped++
			continue
		}
		quiet = append(quiet, rounds[i])
	}
	return quiet, dropped
}

// bestOf is the best canary of some rounds, part by part.
func bestOf(rounds []Round) (best Canary) {
	for i := range rounds {
		best = best.better(rounds[i].Canary)
	}
	return best
}

// How long a round may wait for a quiet machine: the end of what the one before has left
// behind, and of what others do for a moment, is nearer than the end of a round.
const (
	settleTries = 6
	settlePause = time.Second
)

// settle takes the canary until it is not worse than it may be beside those of the rounds
// before, or for as long as a round may wait.
func settle(ctx context.Context, before []Round, take func() (Canary, error)) (c Canary, err error) {
	best := bestOf(before)
	for range settleTries {
		if c, err = take(); err != nil || !c.worseThan(best.better(c), disturbed) {
			return c, err
		}
		select {
		case <-ctx.Done():
			return c, ctx.Err()
		case <-time.After(settlePause):
		}
	}
	return c, nil
}
