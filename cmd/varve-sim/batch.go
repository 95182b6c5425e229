package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/varvedb/varve/sim/mutant"
)

// newBatchCommand is what the bench of mutants starts; see [mutant.Batch].
func newBatchCommand() *cobra.Command {
	var b mutant.Batch
	cmd := &cobra.Command{
		Use:    "batch",
		Short:  "Run a row of seeds and print a line of JSON for each",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE:   func(*cobra.Command, []string) error { return b.Run(os.Stdout) },
	}
	cmd.Flags().StringVar(&b.Profile, "profile", "swarm", "which faults")
	cmd.Flags().Uint64Var(&b.First, "seed", 1, "the first seed")
	cmd.Flags().IntVar(&b.Seeds, "count", 1, "how many seeds")
	cmd.Flags().StringSliceVar(&b.Without, "without", nil, "faults to switch off")
	cmd.Flags().StringSliceVar(&b.Off, "off", nil, "checkers that do not count")
	cmd.Flags().BoolVar(&b.Stop, "stop", false, "stop at the first seed that fails")
	cmd.Flags().BoolVar(&b.Search, "search", false, "every other run has a changed tape")
	return cmd
}
