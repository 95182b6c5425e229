package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/varvedb/varve/bench"
	"github.com/varvedb/varve/bench/goal"
)

// errLost is the error of a gate that failed; what was lost has been printed.
var errLost = errors.New("goals are lost")

const baselinePath = "bench/results/baseline.json"

func newGateCommand() *cobra.Command {
	var path string
	var raise bool
	cmd := &cobra.Command{
		Use:   "gate DIR",
		Short: "Judge every goal by the results in a directory; exit 1 if one that was reached is lost",
		Long: "Judge every goal by the results in a directory; exit 1 if one that the baseline reached is lost. Of a full run one that was\n" +
			"not measured is lost too, so a part of a run does not pass for all of it. A time of fewer than " + strconv.Itoa(bench.EnoughQuiet) + " quiet rounds is shown,\n" +
			"and neither lost nor reached for the baseline; nor is one of a smoke run, in which counters alone are judged.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			outcomes, results, err := judge(args[0])
			if err != nil {
				return err
			}
			baseline, err := goal.ReadBaseline(path)
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			if err := goal.Print(out, outcomes); err != nil {
				return err
			}
			fmt.Fprintf(out, "\n%s\n", goal.Count(outcomes))
			lost := baseline.Lost(outcomes)
			for i := range lost {
				printLost(out, &lost[i], baseline.Reached[lost[i].ID])
			}
			if len(lost) > 0 {
				return errLost
			}
			if raise {
				if err := bench.OfRecord(cmd.Context(), results); err != nil {
					return err
				}
				return baseline.Raise(results[0].Commit, outcomes).Write(path)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&path, "baseline", baselinePath, "the goals that were reached before")
	cmd.Flags().BoolVar(&raise, "raise", false, "add what these results reach to the baseline, if they are of a commit below HEAD")
	return cmd
}

func printLost(out io.Writer, o *goal.Outcome, was float64) {
	if o.Why != "" {
		fmt.Fprintf(out, "LOST (not measured) %s: %s was %s: %s\n", o.ID, o.Of(), goal.Number(was), o.Why)
		return
	}
	fmt.Fprintf(out, "LOST %s: %s was %s, is %s\n", o.ID, o.Of(), goal.Number(was), goal.Number(o.Measured))
}

func judge(dir string) ([]goal.Outcome, []*bench.Result, error) {
	goals, err := goal.All()
	if err != nil {
		return nil, nil, err
	}
	results, err := bench.Load(dir)
	if err != nil {
		return nil, nil, err
	}
	return goal.Judge(goals, results), results, nil
}

func newCompareCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "compare OLD NEW",
		Short: "Compare the ratios of two runs; * marks those whose quartiles do not touch",
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			older, err := bench.Load(args[0])
			if err != nil {
				return err
			}
			newer, err := bench.Load(args[1])
			if err != nil {
				return err
			}
			return goal.PrintChanges(cmd.OutOrStdout(), goal.Compare(older, newer))
		},
	}
}
