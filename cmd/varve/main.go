// Command varve runs and drives Varve: storage for unmodified PostgreSQL with
// branches and time travel.
//
// Data goes to standard output, talk to standard error. Exit codes: 0 done,
// 1 failed, 2 wrong usage, 3 not found, 4 conflict, 5 timeout, 130 interrupted.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

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
	ctx, stop := signal.NotifyContext(context.Background(), stopSignals()...)
	defer stop()
	// A second Ctrl-C ends at once what the first does not end.
	context.AfterFunc(ctx, stop)
	ctx, stopWithParent := control.ContextOfParent(ctx)
	defer stopWithParent()
	err := newRoot().ExecuteContext(ctx)
	var child *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &child):
		return childCode(child) // psql has said on its own what went wrong
	case isCut(ctx, err):
		err = errInterrupted
	}
	fmt.Fprintf(os.Stderr, "varve: %s\n", oneLine(err.Error()))
	if errors.Is(err, errInterrupted) {
		return exitInterrupted
	}
	return exitCodes[control.CodeOf(err)]
}

// oneLine keeps an error on the one line that a script can read.
func oneLine(text string) string {
	return strings.ReplaceAll(strings.TrimSpace(text), "\n", "; ")
}

// app carries the flags that every subcommand has.
type app struct {
	dir    string
	output string
}

func newRoot() *cobra.Command {
	a := &app{}
	root := &cobra.Command{
		Use:   "varve",
		Short: "Storage for unmodified PostgreSQL, with branches and time travel",
		Long: "Storage for unmodified PostgreSQL, with branches and time travel.\n" +
			"Begin with `varve up`. Data goes to standard output, talk to standard error; -o json prints data for programs.",
		Version:       version(),
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          subcommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if err := noEmptyFlags(cmd); err != nil {
				return err
			}
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
	root.SetHelpCommand(helpCommand(root))
	root.AddCommand(
		a.upCommand(), a.downCommand(), a.statusCommand(),
		a.branchCommand(), a.leaseCommand(), a.endpointCommand(), a.psqlCommand(), a.connectionStringCommand(),
		a.importCommand(), a.pageCommand(), a.lsnCommand(), a.verifyCommand(), a.scrubCommand(), a.storageCommand(), a.inspectCommand(),
		a.safekeeperCommand(), a.pageserverCommand(), a.endpointRoleCommand(),
	)
	return root
}

// version is the commit that this was built from, as Go recorded it.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "unknown"
	}
	return info.Main.Version
}

// noEmptyFlags refuses flags that are there without a value, as a script's unset
// variable makes them: they would mean what leaving them out does, or the current
// directory.
func noEmptyFlags(cmd *cobra.Command) (err error) {
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if f.Value.Type() == "string" && f.Value.String() == "" {
			err = control.Errorf(control.CodeUsage, "--%s is empty: give it a value, or leave it out (see `%s --help`)", f.Name, cmd.CommandPath())
		}
	})
	return err
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

// helpCommand is cobra's, but fails when there is nothing to show.
func helpCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND]", Short: "Help about any command",
		RunE: func(_ *cobra.Command, args []string) error {
			cmd, rest, err := root.Find(args)
			if err == nil && len(rest) > 0 {
				err = subcommand(cmd, rest)
			}
			if err != nil {
				return err
			}
			return cmd.Help()
		},
	}
}

// group makes a command that only has subcommands.
func group(cmd *cobra.Command, members ...*cobra.Command) *cobra.Command {
	names := make([]string, len(members))
	for i, m := range members {
		names[i] = m.Name()
	}
	cmd.Args = subcommand
	cmd.RunE = func(*cobra.Command, []string) error {
		return control.Errorf(control.CodeUsage, "`%s` takes one of %s (see `%s --help`)", cmd.CommandPath(), strings.Join(names, ", "), cmd.CommandPath())
	}
	cmd.AddCommand(members...)
	return cmd
}

// subcommand refuses arguments of a command that only has subcommands: they name none.
func subcommand(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return control.Errorf(control.CodeUsage, "`%s` has no command %q (see `%s --help`)", cmd.CommandPath(), args[0], cmd.CommandPath())
	}
	return nil
}

// exactArgs is cobra.ExactArgs with an error that says what is wanted.
func exactArgs(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != len(names) {
			return control.Errorf(control.CodeUsage, "`%s` takes %s, got %d arguments (see `%s --help`)", cmd.CommandPath(), strings.Join(names, " "), len(args), cmd.CommandPath())
		}
		if i := slices.Index(args, ""); i >= 0 {
			return control.Errorf(control.CodeUsage, "`%s`: %s is empty (see `%s --help`)", cmd.CommandPath(), names[i], cmd.CommandPath())
		}
		return nil
	}
}

// optionalBranch takes one branch's name, or nothing.
func optionalBranch(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if err := exactArgs("[BRANCH]")(cmd, args); err != nil {
		return err
	}
	return control.ValidateName(args[0])
}

// noArgs refuses arguments.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) != 0 {
		return control.Errorf(control.CodeUsage, "`%s` takes no arguments, got %q (see `%s --help`)", cmd.CommandPath(), args, cmd.CommandPath())
	}
	return nil
}
