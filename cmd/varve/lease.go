package main

import (
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/varvedb/varve/compute/control"
)

func (a *app) leaseCommand() *cobra.Command {
	return group(&cobra.Command{Use: "lease", Aliases: []string{"leases"}, Short: "Keep moments of the past readable for a while"},
		a.leaseCreateCommand(), a.leaseListCommand(), a.leaseDeleteCommand())
}

func (a *app) leaseCreateCommand() *cobra.Command {
	lasts := span(day)
	cmd := &cobra.Command{
		Use:   "create POINT",
		Short: "Keep a moment of a branch readable until a time, whatever is collected",
		Example: "  varve lease create main@2026-11-22T12:00:00Z --for 30d\n" +
			"  varve lease create main@0/16B3748 --for 90m",
		Args: exactArgs("POINT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			lease, err := client.CreateLease(cmd.Context(), args[0], time.Duration(lasts))
			if err != nil {
				return interrupted(cmd.Context(), err, "`varve lease list` shows whether it was made")
			}
			talk("branch %s stays readable at %s until %s", lease.Branch, lease.LSN, lease.Until.Format(time.RFC3339))
			return a.print(lease, leaseHeader, leaseRows([]control.Lease{lease}))
		},
	}
	cmd.Flags().Var(&lasts, "for", "how long, such as 90m, 24h or 30d")
	return cmd
}

func (a *app) leaseListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list [BRANCH]", Short: "List the leases of a branch, or of all", Args: optionalBranch,
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			leases, err := client.Leases(cmd.Context(), strings.Join(args, ""))
			if err != nil {
				return err
			}
			return a.print(leases, leaseHeader, leaseRows(leases))
		},
	}
}

func (a *app) leaseDeleteCommand() *cobra.Command {
	return &cobra.Command{
		Use: "delete ID", Short: "End a lease", Args: exactArgs("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			lease, err := client.DeleteLease(cmd.Context(), args[0])
			if err != nil {
				return interrupted(cmd.Context(), err, "`varve lease list` shows whether it is gone")
			}
			talk("lease %s of branch %s at %s deleted", lease.ID, lease.Branch, lease.LSN)
			return a.printDone(map[string]string{"deleted": lease.ID})
		},
	}
}

var leaseHeader = []string{"ID", "BRANCH", "LSN", "UNTIL"}

func leaseRows(leases []control.Lease) [][]string {
	rows := make([][]string, len(leases))
	for i, l := range leases {
		until := l.Until.Format(time.RFC3339)
		if l.Ended {
			until += " (ended)"
		}
		rows[i] = []string{l.ID, l.Branch, l.LSN.String(), until}
	}
	return rows
}
