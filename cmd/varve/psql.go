package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/varvedb/varve/compute/control"
	"github.com/varvedb/varve/compute/pgdata"
)

func (a *app) psqlCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "psql BRANCH[@LSN|@TIME] [-- ARGS...]",
		Short: "Run psql on a branch; at an LSN or a time on a read-only Postgres made for it and thrown away",
		Long: "Run psql on the running Postgres of a branch; at an LSN or a time on a read-only one, made for it and thrown away.\n" +
			"psql's own arguments come after --. The exit code is psql's.",
		Example: "  varve psql main\n" +
			"  varve psql main@0/16B3748 -- -c 'SELECT count(*) FROM t'",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return control.Errorf(control.CodeUsage, "`%s` takes BRANCH, BRANCH@LSN or BRANCH@TIME, then -- and psql's arguments", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return a.psql(cmd.Context(), args[0], args[1:]) },
	}
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return control.Errorf(control.CodeUsage, "%v: psql's own arguments come after --, as in `%s main -- -c 'SELECT 1'`", err, cmd.CommandPath())
	})
	return cmd
}

func (a *app) psql(ctx context.Context, point string, args []string) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	parsed, err := control.ParsePoint(point)
	if err != nil {
		return err
	}
	if parsed.IsHead() {
		url, err := endpointURL(ctx, client, parsed.Branch)
		if err != nil {
			return err
		}
		return runPsql(ctx, url, args)
	}
	reader, release, err := client.StartReader(ctx, point)
	if err != nil {
		return interrupted(ctx, err, "the start of the read-only Postgres is called off")
	}
	defer release()
	talk("reading %s as of %s", reader.Branch, reader.ReadAt)
	if err = context.Cause(ctx); err == nil {
		err = runPsql(ctx, reader.URL, args)
	}
	_, stopErr := client.StopEndpoint(context.WithoutCancel(ctx), reader.ID)
	return errors.Join(err, stopErr)
}

func runPsql(ctx context.Context, url string, args []string) error {
	path, err := psqlPath(ctx)
	if err != nil {
		return err
	}
	server, err := pgx.ParseConfig(url)
	if err != nil {
		return err
	}
	// Not bound to ctx, which Ctrl-C ends.
	cmd := exec.Command(path, args...)
	// By the environment, so that options such as -d keep their meaning.
	cmd.Env = append([]string{"PGDATABASE=" + server.Database}, os.Environ()...)
	cmd.Env = append(cmd.Env, "PGHOST="+server.Host, fmt.Sprintf("PGPORT=%d", server.Port), "PGUSER="+server.User)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return runChild(cmd)
}

func psqlPath(ctx context.Context) (string, error) {
	binaries, err := pgdata.FindBinaries(ctx, "")
	if err == nil && isFile(binaries.Path("psql")) {
		return binaries.Path("psql"), nil
	}
	path, lookErr := exec.LookPath("psql")
	if lookErr != nil {
		return "", errors.Join(err, fmt.Errorf("find psql: %w: install Debian's postgresql-client-15", lookErr))
	}
	return path, nil
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// endpointURL is the connection string of a branch's running endpoint.
func endpointURL(ctx context.Context, client *control.Client, branch string) (string, error) {
	branches, err := client.Branches(ctx)
	if err != nil {
		return "", err
	}
	for _, b := range branches {
		switch {
		case b.Name != branch:
			continue
		case b.Endpoint == nil:
			return "", control.Errorf(control.CodeConflict, "branch %s has no running endpoint: start it with `varve endpoint start %s`", branch, branch)
		case b.Endpoint.State == control.StateFailed:
			return "", control.Errorf(control.CodeConflict, "the endpoint of branch %s failed (%s): start a new one with `varve endpoint start %s`", branch, b.Endpoint.Failure, branch)
		case b.Endpoint.URL == "":
			return "", control.Errorf(control.CodeConflict, "branch %s has no running endpoint, it is %s: see `varve status`, or start it with `varve endpoint start %s`", branch, b.Endpoint.State, branch)
		}
		return b.Endpoint.URL, nil
	}
	return "", noBranch(branch)
}

func noBranch(name string) error {
	return control.Errorf(control.CodeNotFound, "there is no branch %s: see `varve branch list`", name)
}

func (a *app) connectionStringCommand() *cobra.Command {
	return &cobra.Command{
		Use: "connection-string BRANCH", Aliases: []string{"cs"}, Args: exactArgs("BRANCH"),
		Short: "Print the URL of a branch's running Postgres",
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			if err := control.ValidateName(args[0]); err != nil {
				return err
			}
			url, err := endpointURL(cmd.Context(), client, args[0])
			if err != nil {
				return err
			}
			return a.printValue(map[string]string{"url": url}, url)
		},
	}
}
