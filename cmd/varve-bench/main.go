// Command varve-bench measures Varve against its peers, judges the goals, and draws what
// it found. See docs/BENCHMARKS.md.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	root := &cobra.Command{
		Use:           "varve-bench",
		Short:         "Measure Varve against its peers, round by round, and judge its goals",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(newListCommand(), newRunCommand(), newCompareCommand(), newPlotCommand(), newGateCommand(), newReportCommand(), newTimesCommand())
	ctx, stop := interruptible(context.Background())
	err := root.ExecuteContext(ctx)
	stop()
	if err != nil {
		if !errors.Is(err, errLost) {
			fmt.Fprintln(os.Stderr, "varve-bench:", err)
		}
		os.Exit(1)
	}
}

// interruptible returns a context that the first Ctrl-C or SIGTERM ends, and so the
// round; complete ones are on disk by then. The second does not wait for what is being
// set up or taken down: what was started dies with us.
func interruptible(parent context.Context) (ctx context.Context, stop func()) {
	ctx, stop = signal.NotifyContext(parent, os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}
