package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/varvedb/varve/bench/goal"
	"github.com/varvedb/varve/bench/suite"
)

func newListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the suites, and how many goals each is to reach",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			goals, err := goal.All()
			if err != nil {
				return err
			}
			tab := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(tab, "suite\tgoals\twhat it measures")
			for _, s := range suite.All() {
				n := 0
				for _, g := range goals {
					if g.ID[:1] == s.Letter {
						n++
					}
				}
				fmt.Fprintf(tab, "%s\t%d\t(%s) %s\n", s.Name, n, s.Letter, s.Title)
			}
			return tab.Flush()
		},
	}
}
