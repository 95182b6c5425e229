// Command varve runs and drives Varve: storage for unmodified PostgreSQL with
// branches and time travel.
//
// Data goes to standard output, talk to standard error. Exit codes: 0 done,
// 1 failed, 2 wrong usage, 3 not found, 4 conflict, 5 timeout.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/varvedb/varve/compute/control"
)

// exitCodes maps what kind of failure it was to the process's exit code.
var exitCodes = map[control.Code]int{
	control.CodeFailed:   1,
	control.CodeUsage:    2,
	control.CodeNotFound: 3,
	control.CodeConflict: 4,
	control.CodeTimeout:  5,
}

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, stopWithParent := control.ContextOfParent(ctx)
	defer stopWithParent()
	err := newRoot().ExecuteContext(ctx)
	var child *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &child):
		return child.ExitCode() // psql has said on its own what went wrong
	}
	fmt.Fprintf(os.Stderr, "varve: %s\n", oneLine(err))
	if strings.HasPrefix(err.Error(), "unknown command") {
		return exitCodes[control.CodeUsage]
	}
	return exitCodes[control.CodeOf(err)]
}

// oneLine keeps an error on the one line that a script can read.
func oneLine(err error) string {
	return strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "; ")
}

// app carries the flags that every subcommand has.
type app struct {
	dir    string
	output string
}

func newRoot() *cobra.Command {
	a := &app{}
	root := &cobra.Command{
		Use:           "varve",
		Short:         "Storage for unmodified PostgreSQL, with branches and time travel",
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if a.output != "table" && a.output != "json" {
				return control.Errorf(control.CodeUsage, "--output %q: want table or json", a.output)
			}
			return nil
		},
	}
	root.PersistentFlags().StringVar(&a.dir, "dir", defaultDir(), "data directory (default from VARVE_DIR if set)")
	root.PersistentFlags().StringVarP(&a.output, "output", "o", "table", "table or json")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return control.Errorf(control.CodeUsage, "%v (see `%s --help`)", err, cmd.CommandPath())
	})
	root.AddCommand(
		a.upCommand(), a.downCommand(), a.statusCommand(),
		a.branchCommand(), a.endpointCommand(), a.psqlCommand(), a.connectionStringCommand(),
		a.importCommand(), a.pageCommand(), a.lsnCommand(), a.verifyCommand(), a.inspectCommand(),
		a.safekeeperCommand(), a.pageserverCommand(), a.endpointRoleCommand(),
	)
	return root
}

func defaultDir() string {
	if dir := os.Getenv("VARVE_DIR"); dir != "" {
		return dir
	}
	if os.Geteuid() == 0 {
		return "/var/lib/varve"
	}
	if dir := os.Getenv("XDG_DATA_HOME"); dir != "" {
		return filepath.Join(dir, "varve")
	}
	return filepath.Join(os.Getenv("HOME"), ".local", "share", "varve")
}

// client returns the client of the supervisor that serves --dir.
func (a *app) client() (*control.Client, error) {
	dir, err := filepath.Abs(a.dir)
	if err != nil {
		return nil, err
	}
	return control.NewClient(dir), nil
}

// exactArgs is cobra.ExactArgs with an error that says what is wanted.
func exactArgs(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != len(names) {
			return control.Errorf(control.CodeUsage, "`%s` takes %s, got %d arguments", cmd.CommandPath(), strings.Join(names, " "), len(args))
		}
		return nil
	}
}

// noArgs refuses arguments.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) != 0 {
		return control.Errorf(control.CodeUsage, "`%s` takes no arguments, got %q", cmd.CommandPath(), args)
	}
	return nil
}
