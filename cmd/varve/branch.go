package main

import (
	"github.com/spf13/cobra"

	"github.com/varvedb/varve/compute/control"
)

func (a *app) branchCommand() *cobra.Command {
	return group(&cobra.Command{Use: "branch", Aliases: []string{"branches"}, Short: "Create, list and delete branches"},
		a.branchCreateCommand(), a.branchListCommand(), a.branchDeleteCommand())
}

func (a *app) branchCreateCommand() *cobra.Command {
	var parent string
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Make a branch of another branch, at its head or at any moment of its history",
		Example: "  varve branch create fix --parent main\n" +
			"  varve branch create before --parent main@0/16B3748\n" +
			"  varve branch create noon --parent main@2026-11-22T12:00:00Z",
		Args: exactArgs("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			branch, err := client.CreateBranch(cmd.Context(), args[0], parent)
			if err != nil {
				return err
			}
			talk("branch %s of %s at %s: start its Postgres with `varve endpoint start %s`", branch.Name, branch.Parent, branch.BranchLSN, branch.Name)
			return a.printBranches([]control.Branch{branch})
		},
	}
	cmd.Flags().StringVar(&parent, "parent", "main", "BRANCH, BRANCH@LSN or BRANCH@TIME (RFC 3339)")
	return cmd
}

func (a *app) branchListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the branches", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			branches, err := client.Branches(cmd.Context())
			if err != nil {
				return err
			}
			return a.printBranches(branches)
		},
	}
}

func (a *app) branchDeleteCommand() *cobra.Command {
	return &cobra.Command{
		Use: "delete NAME", Short: "Delete a branch that has no children", Args: exactArgs("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			if err := client.DeleteBranch(cmd.Context(), args[0]); err != nil {
				return err
			}
			talk("branch %s deleted", args[0])
			return nil
		},
	}
}

func (a *app) printBranches(branches []control.Branch) error {
	rows := make([][]string, len(branches))
	for i, b := range branches {
		state, at := control.StateStopped, ""
		if b.Endpoint != nil {
			state = b.Endpoint.State
		}
		if b.Parent != "" {
			at = b.BranchLSN.String()
		}
		rows[i] = []string{b.Name, orDash(b.Parent), orDash(at), b.Ingested.String(), state, b.Timeline.String()}
	}
	return a.print(branches, []string{"NAME", "PARENT", "AT", "INGESTED", "ENDPOINT", "TIMELINE"}, rows)
}
