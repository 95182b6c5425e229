package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/varvedb/varve/sim/mutant"
)

// compare tells, for each mutant, how many runs it takes to find it in both ways.
func (m *mutants) compare(ctx context.Context, all []*mutant.Mutant) error {
	var comparisons []*mutant.Comparison
	var spent time.Duration
	for i, t := range all {
		if spent > m.bench.CPU {
			fmt.Fprintf(os.Stderr, "the processor time is used up: %d of %d are left out\n", len(all)-i, len(all))
			break
		}
		c, err := m.bench.Compare(ctx, t, m.times, m.runs, &spent)
		if err != nil {
			return err
		}
		comparisons = append(comparisons, c)
		fmt.Fprintf(os.Stderr, "%d of %d, %v of processor time so far: %s: fresh %v, search %v\n", i+1, len(all), spent.Round(time.Second), t.Name, c.Fresh, c.Search)
	}
	table := mutant.CompareTable(comparisons)
	fmt.Print(table)
	if m.write == "" {
		return nil
	}
	return m.insert(mutant.InsertComparisons, table)
}
