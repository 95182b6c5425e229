package main

import (
	"github.com/spf13/cobra"

	"github.com/varvedb/varve/compute/control"
)

func (a *app) lsnCommand() *cobra.Command {
	var at string
	cmd := &cobra.Command{
		Use:     "lsn BRANCH",
		Short:   "Print the LSN where a branch ends, or that it had reached at a time",
		Example: "  varve lsn main\n  varve lsn main --at 2026-11-22T10:00:00Z",
		Args:    exactArgs("BRANCH"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := control.ValidateName(args[0]); err != nil {
				return err
			}
			point := args[0]
			if at != "" {
				point += "@" + at
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			resolved, err := client.Resolve(cmd.Context(), point)
			if err != nil {
				return err
			}
			return a.printValue(resolved, resolved.LSN.String())
		},
	}
	cmd.Flags().StringVar(&at, "at", "", "time (RFC 3339)")
	return cmd
}
