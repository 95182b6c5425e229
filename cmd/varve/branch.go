package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/varvedb/varve/compute/control"
)

func (a *app) branchCommand() *cobra.Command {
	return group(&cobra.Command{Use: "branch", Aliases: []string{"branches"}, Short: "Create, list, detach, reset and delete branches"},
		a.branchCreateCommand(), a.branchListCommand(), a.branchDetachCommand(), a.branchResetCommand(), a.branchDeleteCommand())
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
				return interrupted(cmd.Context(), err, "`varve branch list` shows whether branch %s was made", args[0])
			}
			talk("branch %s of %s at %s: start its Postgres with `varve endpoint start %s`", branch.Name, branch.Parent, branch.BranchLSN, branch.Name)
			return a.printBranch(branch)
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

func (a *app) branchDetachCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "detach NAME",
		Short: "Make a branch independent of its parent",
		Long: "Make a branch independent of its parent, which can then be deleted. What the branch shares is copied; its\n" +
			"history before the point where it left its parent is gone. Its Postgres may run.",
		Args: exactArgs("NAME"),
		RunE: a.onBranch(func(ctx context.Context, client *control.Client, name string) error {
			branch, err := client.DetachBranch(ctx, name)
			if err != nil {
				return interrupted(ctx, err, "it goes on in the background: `varve branch list` shows no parent of %s when it is done", name)
			}
			talk("branch %s has no parent any more; its history begins at %s", branch.Name, branch.Start)
			return a.printBranch(branch)
		}),
	}
}

func (a *app) branchResetCommand() *cobra.Command {
	var at string
	cmd := &cobra.Command{
		Use:   "reset NAME",
		Short: "Make a branch equal to its parent again; what it has of its own is gone",
		Long: "Make a branch equal to its parent again, at the parent's head or at a moment of its history. What the branch\n" +
			"has of its own is gone. Refused while its Postgres runs, it is read, or others branch from it.",
		Example: "  varve branch reset fix\n  varve branch reset fix --at 2026-11-22T12:00:00Z",
		Args:    exactArgs("NAME"),
		RunE: a.onBranch(func(ctx context.Context, client *control.Client, name string) error {
			branch, err := client.ResetBranch(ctx, name, at)
			if err != nil {
				return interrupted(ctx, err, "`varve branch list` shows whether branch %s has left its parent at another place", name)
			}
			talk("branch %s equals %s at %s again: start its Postgres with `varve endpoint start %s`", branch.Name, branch.Parent, branch.BranchLSN, branch.Name)
			return a.printBranch(branch)
		}),
	}
	cmd.Flags().StringVar(&at, "at", "", "LSN or TIME (RFC 3339) of the parent (default: its head)")
	return cmd
}

func (a *app) branchDeleteCommand() *cobra.Command {
	return &cobra.Command{
		Use: "delete NAME", Short: "Delete a branch that has no children", Args: exactArgs("NAME"),
		RunE: a.onBranch(func(ctx context.Context, client *control.Client, name string) error {
			if err := client.DeleteBranch(ctx, name); err != nil {
				return interrupted(ctx, err, "`varve branch list` shows whether branch %s is gone", name)
			}
			talk("branch %s deleted", name)
			return a.printDone(map[string]string{"deleted": name})
		}),
	}
}

func (a *app) printBranches(branches []control.Branch) error {
	return a.print(branches, branchHeader, branchRows(branches))
}

// printBranch prints one branch: a table of one row, and in JSON the branch itself.
func (a *app) printBranch(branch control.Branch) error {
	return a.print(branch, branchHeader, branchRows([]control.Branch{branch}))
}

var branchHeader = []string{"NAME", "PARENT", "AT", "INGESTED", "ENDPOINT", "TIMELINE"}

func branchRows(branches []control.Branch) [][]string {
	rows := make([][]string, len(branches))
	for i, b := range branches {
		state, at, ingested := control.StateStopped, "", ""
		if b.Endpoint != nil {
			state = b.Endpoint.State
		}
		if b.Parent != "" {
			at = b.BranchLSN.String()
		}
		if b.Ingested.IsValid() { // it is open
			ingested = b.Ingested.String()
		}
		rows[i] = []string{b.Name, orDash(b.Parent), orDash(at), orDash(ingested), state, b.Timeline.String()}
	}
	return rows
}
