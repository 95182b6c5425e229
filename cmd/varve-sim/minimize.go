package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/varvedb/varve/sim"
	"github.com/varvedb/varve/sim/minimize"
)

func newMinimizeCommand() *cobra.Command {
	var runs int
	var out string
	cmd := &cobra.Command{
		Use:   "minimize FILE",
		Short: "Make a failed run small: fewer nodes, faults, operations and delays",
		Long: `Make a failed run small: fewer nodes, faults, operations and delays.

FILE is what a failed run left behind. Every change is run again, and kept if the run fails in the same way as FILE's and is
not larger: nodes count first, then faults, operations and time, so that fewer nodes may cost operations. The result is a file that
"varve-sim replay" takes; the last line says how small it is. The same file gives the same result.`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if out == "" {
				out = strings.TrimSuffix(args[0], ".json") + "-minimal.json"
			}
			return minimizeFile(args[0], out, runs)
		},
	}
	cmd.Flags().IntVar(&runs, "runs", 400, "how often it may be run again")
	cmd.Flags().StringVar(&out, "out", "", "the file of the result (default: FILE with -minimal before .json)")
	return cmd
}

func minimizeFile(file, out string, runs int) error {
	body, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	record, tape, err := sim.ParseRecord(file, body)
	if err != nil {
		return err
	}
	m, err := minimize.New(record.Options, tape, runs, func(what string, s minimize.Size) {
		fmt.Fprintf(os.Stderr, "%s: %v in %v\n", what, s, s.Virtual)
	})
	if err != nil {
		return fmt.Errorf("%w (the file is of commit %s, this build of %s)", err, record.Commit, sim.Commit())
	}
	fmt.Printf("%s fails by %s: %v\n", file, m.Way(), minimize.SizeOf(m.Best()))
	r := m.Run()
	if err := os.WriteFile(out, sim.NewRecord(r).Bytes(), 0o644); err != nil {
		return err
	}
	fmt.Print(r.Failure(), "\n", r.Options)
	fmt.Printf("faults fired: %v\n%d runs; file: varve-sim replay %s\n", fired(r.Fired), m.Runs(), out)
	fmt.Printf("minimal: %v\n", minimize.SizeOf(r))
	return nil
}
