// Command varve-sim runs Varve in a simulated world, breaks it, and judges it. See
// docs/SIMULATION.md.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/varvedb/varve/sim"
)

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(sim.CollectorPercent)
	}
	sim.BuiltFrom(checkout())
	root := &cobra.Command{
		Use:           "varve-sim",
		Short:         "Run Varve in a simulated world from one seed, break it, and judge what is left",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	profiles := profiles{}
	profiles.flags(root)
	root.AddCommand(newRunCommand(), newSoakCommand(), newReplayCommand(), newViewCommand(), newMinimizeCommand(), newMutantsCommand(), newBatchCommand(), newSpeedCommand())
	if err := errors.Join(root.Execute(), profiles.end()); err != nil {
		fmt.Fprintln(os.Stderr, "varve-sim:", err)
		os.Exit(1)
	}
}

// checkout is the commit of the working directory, for a build by go run, which does
// not know its own; empty if git has none.
func checkout() string {
	commit, err := exec.Command("git", "rev-parse", "HEAD").Output()
	if err != nil {
		return ""
	}
	name := string(bytes.TrimSpace(commit))
	if changes, err := exec.Command("git", "status", "--porcelain", "--untracked-files=no").Output(); err != nil || len(changes) > 0 {
		name += " modified"
	}
	return name
}
