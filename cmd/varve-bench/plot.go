package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/varvedb/varve/bench"
	"github.com/varvedb/varve/bench/goal"
	"github.com/varvedb/varve/bench/plot"
)

func newPlotCommand() *cobra.Command {
	var to, mutants string
	cmd := &cobra.Command{
		Use:   "plot DIR",
		Short: "Draw the results in a directory: SVG, PNG, and CSV of what is in each",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if to == "" {
				to = filepath.Join(args[0], "figures")
			}
			names, err := draw(args[0], to, mutants)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%d figures in %s\n", len(names), to)
			return nil
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "directory for the figures (default: DIR/figures)")
	cmd.Flags().StringVar(&mutants, "mutants", mutantsPath, "JSON list or document with the table of planted bugs and the seeds that found them")
	return cmd
}

// mutantsPath is the document that varve-sim mutants writes its table into.
const mutantsPath = "docs/TESTING.md"

// figuresOf draws all figures, and saves none.
func figuresOf(results []*bench.Result, outcomes []goal.Outcome, mutants string) ([]*plot.Figure, error) {
	text, err := os.ReadFile(mutants)
	if err != nil {
		return nil, fmt.Errorf("read mutants: %w", err)
	}
	found, err := plot.ParseMutants(text)
	if err != nil {
		return nil, err
	}
	return plot.All(results, outcomes, found)
}

// draw draws all figures and returns their names.
func draw(dir, to, mutants string) (names []string, err error) {
	outcomes, results, err := judge(dir)
	if err != nil {
		return nil, err
	}
	figures, err := figuresOf(results, outcomes, mutants)
	if err != nil {
		return nil, err
	}
	for _, f := range figures {
		if err := f.Save(to); err != nil {
			return nil, err
		}
		names = append(names, f.Name)
	}
	return names, nil
}
