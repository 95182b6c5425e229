package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/varvedb/varve/bench"
)

func newTimesCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "times DIR",
		Short: "Say how long the suites of a run took, and where the time of their rounds went",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			results, err := bench.Load(args[0])
			if err != nil {
				return err
			}
			return printTimes(cmd.OutOrStdout(), results)
		},
	}
}

// printTimes writes a line for each suite, and below it its arms, the longest first, that
// take a twentieth of its rounds or more.
func printTimes(out io.Writer, results []*bench.Result) error {
	const shown = 0.05
	tab := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tab, "suite\tset-up, s\trounds\ta round, s\tall, s\t")
	total := 0.0
	for _, r := range results {
		arms, sum := secondsByArm(r)
		total += r.SetUp + sum
		fmt.Fprintf(tab, "%s\t%.1f\t%d\t%.1f\t%.0f\t\n", r.Suite, r.SetUp, len(r.Rounds), sum/float64(max(1, len(r.Rounds))), r.SetUp+sum)
		for _, a := range arms {
			if a.seconds >= shown*sum {
				fmt.Fprintf(tab, "%s\t\t\t%.1f\t%.0f\t\n", a.name, a.seconds/float64(len(r.Rounds)), a.seconds)
			}
		}
	}
	fmt.Fprintf(tab, "all\t\t\t\t%.0f\t\n", total)
	return tab.Flush()
}

type armSeconds struct {
	name    string
	seconds float64 // in all rounds
}

func secondsByArm(r *bench.Result) (arms []armSeconds, sum float64) {
	for i := range r.Rounds {
		for j := range r.Rounds[i].Samples {
			s := &r.Rounds[i].Samples[j]
			name := s.Case + " " + s.Arm
			at := slices.IndexFunc(arms, func(a armSeconds) bool { return a.name == name })
			if at < 0 {
				at, arms = len(arms), append(arms, armSeconds{name: name})
			}
			arms[at].seconds += s.Seconds
			sum += s.Seconds
		}
	}
	slices.SortStableFunc(arms, func(a, b armSeconds) int { return cmp.Compare(b.seconds, a.seconds) })
	return arms, sum
}
