// Command varve-sim runs Varve in a simulated world, breaks it, and judges it. See
// docs/SIMULATION.md.
package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

func main() {
	root := &cobra.Command{
		Use:           "varve-sim",
		Short:         "Run Varve in a simulated world from one seed, break it, and judge what is left",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(newRunCommand(), newSoakCommand(), newReplayCommand(), newViewCommand(), newMinimizeCommand(), newMutantsCommand(), newBatchCommand(), newSpeedCommand())
	if err := root.Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "varve-sim:", err)
		os.Exit(1)
	}
}
