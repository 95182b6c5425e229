package pgbench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/varvedb/varve/bench/latency"
	"github.com/varvedb/varve/bench/paired"
)

// pacing is a load whose transactions arrive at a rate, whether or not those before have
// ended: the latency of each counts from its arrival, so that whoever comes during a
// stall tells of it.
type pacing struct {
	name    string
	clients int
	args    []string
	warm    bool // all pages are read before
}

var (
	tpcbPaced   = pacing{name: "tpcb/paced", clients: 16}
	selectPaced = pacing{name: "select/paced", clients: 4, args: []string{"-S"}, warm: true}
)

// paced measures latencies under a load that arrives at random moments, as pgbench draws
// them, at one rate for all sides and rounds.
func (b *suite) paced(p pacing) load {
	return func(ctx context.Context, r *running, round int) (s paired.Sample, err error) {
		rate, err := b.rateOf(ctx, p, round)
		if err != nil {
			return s, err
		}
		if err := b.prepare(p, r); err != nil {
			return s, err
		}
		txns := max(p.clients, int(rate*b.cfg.PacedFor.Seconds()))
		all, m, err := b.logged(r, p.clients, txns, append([]string{"--rate", fmt.Sprint(rate)}, p.args...)...)
		if err != nil {
			return s, err
		}
		s = paired.Sample{Metrics: m, Latency: latency.New(), Rate: rate}
		lag := time.Duration(0)
		for _, e := range all {
			if !e.rate {
				return s, errors.New("pgbench has logged no lag: its transactions had no schedule")
			}
			s.Latency.Record(e.took)
			lag += e.late
		}
		m["mean_lag_us"] = float64(lag.Microseconds()) / float64(len(all))
		return s, nil
	}
}

func (b *suite) prepare(p pacing, r *running) error {
	if !p.warm {
		return nil
	}
	return b.warm(r)
}

// rateOf is the rate at which transactions arrive: a share of what the slowest side can
// do, which is tried out once.
func (b *suite) rateOf(ctx context.Context, p pacing, round int) (float64, error) {
	if rate, known := b.rates[p.name]; known {
		return rate, nil
	}
	b.s.Step("how many transactions of %s each side can do", p.name)
	least := 0.0
	for _, side := range b.all() {
		r, err := b.at(ctx, round, side.name)
		if err != nil {
			return 0, err
		}
		if err := b.prepare(p, r); err != nil {
			return 0, err
		}
		s, err := b.bench(r, p.clients, b.cfg.Txns16/4, p.args...)
		if err != nil {
			return 0, err
		}
		if tps := s.Metrics["tps"]; least == 0 || tps < least {
			least = tps
		}
	}
	rate := float64(int(max(1, b.cfg.Paced*least)))
	b.rates[p.name] = rate
	b.s.Note("%s: %.0f transactions per second arrive, %.2g of what the slowest side did when it was tried", p.name, rate, b.cfg.Paced)
	return rate, nil
}
