package main

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/varvedb/varve/bench/plot"
)

func newPlotCommand() *cobra.Command {
	var to string
	cmd := &cobra.Command{
		Use:   "plot DIR",
		Short: "Draw the results in a directory: SVG, PNG, and CSV of what is in each",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if to == "" {
				to = filepath.Join(args[0], "figures")
			}
			names, err := draw(args[0], to)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%d figures in %s\n", len(names), to)
			return nil
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "directory for the figures (default: DIR/figures)")
	return cmd
}

// draw draws all figures and returns their names.
func draw(dir, to string) (names []string, err error) {
	outcomes, results, err := judge(dir)
	if err != nil {
		return nil, err
	}
	figures, err := plot.All(dir, results, outcomes)
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
