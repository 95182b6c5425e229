package report

import (
	"fmt"
	"slices"

	"github.com/varvedb/varve/bench"
	"github.com/varvedb/varve/bench/goal"
	"github.com/varvedb/varve/bench/paired"
)

// conditions says what else went on while a suite was measured, over all of its rounds.
func (d *document) conditions(r *bench.Result) {
	if len(r.Rounds) == 0 {
		return
	}
	of := func(value func(*paired.Conditions) float64) string {
		var values []float64
		for i := range r.Rounds {
			values = append(values, value(&r.Rounds[i].Conditions))
		}
		return fmt.Sprintf("%s..%s", goal.Number(slices.Min(values)), goal.Number(slices.Max(values)))
	}
	text := fmt.Sprintf("In a round: load %s; tasks waited for CPU %s %% of the time, for disks %s %%; ", of(func(c *paired.Conditions) float64 { return c.Load1 }),
		of(func(c *paired.Conditions) float64 { return c.CPUPressure }), of(func(c *paired.Conditions) float64 { return c.IOPressure }))
	// Older files do not tell of others.
	if slices.ContainsFunc(r.Rounds, func(r paired.Round) bool { return r.Conditions.OthersShare > 0 }) {
		text += fmt.Sprintf("others used %s %% of the CPU time; ", of(func(c *paired.Conditions) float64 { return 100 * c.OthersShare }))
	}
	d.linef("%sthe host stole %s hundredths of a second; garbage was collected %s times.", text,
		of(func(c *paired.Conditions) float64 { return float64(c.StolenTicks) }), of(func(c *paired.Conditions) float64 { return float64(c.GCs) }))
	d.linef("Canary, worst over best: %s.", canaries(r.Rounds))
}

// canaries says how far the parts of the canary were apart.
func canaries(rounds []paired.Round) string {
	parts := []struct {
		name string
		of   func(*paired.Canary) float64
	}{
		{"copy", func(c *paired.Canary) float64 { return c.CopyNanos }}, {"CRC", func(c *paired.Canary) float64 { return c.CRCNanos }},
		{"flush", func(c *paired.Canary) float64 { return c.SyncNanos }}, {"echo", func(c *paired.Canary) float64 { return c.EchoNanos }},
	}
	text := ""
	for i, part := range parts {
		var values []float64
		for j := range rounds {
			values = append(values, part.of(&rounds[j].Canary))
		}
		if i > 0 {
			text += ", "
		}
		text += fmt.Sprintf("%s %s", part.name, goal.Number(slices.Max(values)/slices.Min(values)))
	}
	return text
}
