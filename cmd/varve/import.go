package main

import (
	"context"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/varvedb/varve/compute/control"
	"github.com/varvedb/varve/pageserver/basebackup"
)

func (a *app) importCommand() *cobra.Command {
	var branch string
	cmd := &cobra.Command{
		Use:   "import DATADIR --branch NAME",
		Short: "Make a branch of a cleanly stopped PostgreSQL 15 data directory",
		Long: "Make a branch of a cleanly stopped PostgreSQL 15 data directory, which stays as it is.\n" +
			"After Ctrl-C the import goes on in the background.",
		Args: exactArgs("DATADIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if branch == "" {
				return control.Errorf(control.CodeUsage, "import needs a name for the new branch: --branch NAME")
			}
			if err := control.ValidateName(branch); err != nil {
				return err
			}
			dir, err := filepath.Abs(args[0])
			if err != nil {
				return err
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			if err := checkImport(cmd.Context(), client, dir, branch); err != nil {
				return err
			}
			talk("importing %s", dir)
			imported, err := client.Import(cmd.Context(), dir, branch)
			if err != nil {
				return interrupted(cmd.Context(), err, "the import goes on in the background, so leave %s as it is; `varve branch list` shows branch %s when it is done, `varve branch delete %s` then removes it; if it fails, log/supervisor.log says why", dir, branch, branch)
			}
			talk("imported as branch %s at %s: start its Postgres with `varve endpoint start %s`", branch, imported.Start, branch)
			return a.printBranch(imported)
		},
	}
	cmd.Flags().StringVar(&branch, "branch", "", "name of the new branch")
	return cmd
}

// checkImport refuses before anything is said or done.
func checkImport(ctx context.Context, client *control.Client, dir, branch string) error {
	branches, err := client.Branches(ctx)
	if err != nil {
		return err
	}
	for _, b := range branches {
		if b.Name == branch {
			return control.NameTaken(branch)
		}
	}
	fsys, err := control.OpenDir(dir)
	if err != nil {
		return err
	}
	if _, err := basebackup.Check(fsys); err != nil {
		return refused("import", dir, err)
	}
	return nil
}
