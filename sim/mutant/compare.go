package mutant

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/varvedb/varve/wal/planted"
)

// Comparison is how many runs it took to find a mutant, from several first seeds each:
// with fresh seeds alone, and with half of the runs made of changed tapes.
type Comparison struct {
	Mutant        *Mutant
	Runs          int // the most of a hunt; one more stands for a hunt that found nothing
	Fresh, Search []int
}

// firstApart is how far apart the first seeds of two hunts are.
const firstApart = 100_000

// Compare hunts a mutant so many times in both ways, with so many runs at most. It ends
// early, with as many hunts of one way as of the other, when the processor time of all
// hunts, spent, is above the bench's.
func (b *Bench) Compare(ctx context.Context, m *Mutant, times, runs int, spent *time.Duration) (*Comparison, error) {
	program, err := b.Build(ctx, m)
	if err != nil {
		return nil, err
	}
	c := &Comparison{Mutant: m, Runs: runs}
	for i := range times {
		if *spent > b.CPU {
			break
		}
		for _, way := range []struct {
			found  *[]int
			search bool
		}{{&c.Fresh, false}, {&c.Search, true}} {
			batch := Batch{Profile: m.Profile, First: b.First + uint64(i)*firstApart, Seeds: runs, Off: b.Off, Stop: true, Search: way.search}
			took, used, err := b.toFind(ctx, program, batch)
			if err != nil {
				return nil, fmt.Errorf("hunt %s: %w", m.Name, err)
			}
			*way.found = append(*way.found, took)
			*spent += used
		}
	}
	return c, nil
}

// toFind is how many runs of a batch it takes to find what there is, and the processor
// time of them.
func (b *Bench) toFind(ctx context.Context, program string, batch Batch) (took int, used time.Duration, err error) {
	err = b.run(ctx, program, batch, func(line Line) error {
		took++
		used = line.CPU
		if len(line.Failed) > 0 {
			return errEnough
		}
		if took == batch.Seeds {
			took++
		}
		return nil
	})
	return took, used, err
}

// median of the runs that hunts took; the higher of two.
func median(hunts []int) int {
	sorted := slices.Sorted(slices.Values(hunts))
	return sorted[len(sorted)/2]
}

// CompareTable prints comparisons as a table in Markdown.
func CompareTable(all []*Comparison) string {
	var s strings.Builder
	fmt.Fprintf(&s, "| mutant | hunts, each way | median, fresh seeds | median, search | fresh | search |\n|---|---|---|---|---|---|\n")
	compared, sooner, later := 0, 0, 0
	for _, c := range all {
		if len(c.Fresh) == 0 {
			continue
		}
		compared++
		fresh, search := median(c.Fresh), median(c.Search)
		switch {
		case search < fresh:
			sooner++
		case search > fresh:
			later++
		}
		fmt.Fprintf(&s, "| `%s` | %d | %s | %s | %s | %s |\n", c.Mutant.Name, len(c.Fresh), c.runs(fresh), c.runs(search), c.list(c.Fresh), c.list(c.Search))
	}
	fmt.Fprintf(&s, "\nBy the medians, search finds %d sooner and %d later than fresh seeds, of %d.\n", sooner, later, compared)
	return s.String()
}

// InsertComparisons puts their table between the marks of a document.
func InsertComparisons(document []byte, table string) ([]byte, error) {
	return planted.Insert(document, SearchBegin, SearchEnd, table)
}

// runs is a number of runs; more than there were is none found.
func (c *Comparison) runs(n int) string {
	if n > c.Runs {
		return fmt.Sprintf("none in %d", c.Runs)
	}
	return fmt.Sprint(n)
}

func (c *Comparison) list(hunts []int) string {
	var parts []string
	for _, n := range hunts {
		if n > c.Runs {
			parts = append(parts, "-")
			continue
		}
		parts = append(parts, fmt.Sprint(n))
	}
	return strings.Join(parts, " ")
}
