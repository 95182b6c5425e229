package main

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/varvedb/varve/compute/control"
)

func (a *app) storageCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "storage", Short: "What the storage holds, and why"}
	return group(cmd, a.explainCommand(), a.collectCommand(), a.statsCommand())
}

func (a *app) explainCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "explain BRANCH",
		Short: "Say what keeps a branch's bytes in the bucket",
		Long: "Say what keeps the bytes that a branch has of its own in the bucket: the history above the horizon, the\n" +
			"state at it, and below it each branch and lease that still reads there. ONLY is what would go with it.\n" +
			"Reads all of the branch's layers.",
		Example: "  varve storage explain main\n  varve storage explain main -o json",
		Args:    exactArgs("BRANCH"),
		RunE: a.onBranch(func(ctx context.Context, client *control.Client, name string) error {
			e, err := client.Explain(ctx, name)
			if err != nil {
				return interrupted(ctx, err, "nothing was changed")
			}
			talk("branch %s: %s in %s, %s of versions before compression, durable up to %s, horizon %s", e.Branch,
				plural(e.LayerBytes, "byte"), counted(e.Layers, "layer", "layers"), plural(e.Bytes, "byte"), e.Durable, e.Horizon)
			return a.printKeepers(e, e)
		}),
	}
}

func (a *app) collectCommand() *cobra.Command {
	var below string
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "collect BRANCH",
		Short: "Drop a branch's old history now",
		Long: "Drop the history of a branch that lies below its window (`varve up --history`), or below a moment, now; the\n" +
			"storage does so by itself in time. What branches and leases read there stays. With --dry-run nothing is\n" +
			"changed: it tells what would go, and what keeps the rest. Reads all of the branch's layers.",
		Example: "  varve storage collect main --dry-run\n  varve storage collect main --below 0/16B3748",
		Args:    exactArgs("BRANCH"),
		RunE: a.onBranch(func(ctx context.Context, client *control.Client, name string) error {
			c, err := client.Collect(ctx, name, below, dryRun)
			if err != nil {
				return interrupted(ctx, err, "it goes on in the background: `varve storage explain %s` shows the horizon", name)
			}
			told := "branch %s: %s dropped below the horizon %s, in %s that had any"
			if dryRun {
				told = "branch %s: %s would be dropped below the horizon %s, in %s that may have some"
			}
			talk(told, c.Branch, plural(c.Dropped, "byte"), c.Horizon, counted(c.Merged, "layer", "layers"))
			return a.printKeepers(c, c.Explanation)
		}),
	}
	cmd.Flags().StringVar(&below, "below", "", "LSN or TIME (RFC 3339) of the branch (default: what the window keeps)")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "change nothing, tell what would go")
	return cmd
}

func (a *app) statsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "stats [BRANCH]",
		Short: "Show what the pageserver has counted",
		Long: "Show what the running pageserver has counted, in all and for each branch or the one named: its layers and\n" +
			"memtables, reads, flushes and merges, caches, requests to the bucket, and how much writers are slowed down.\n" +
			"Counters begin when the pageserver does, or takes the branch over. Reads nothing from the bucket but the\n" +
			"list of branches.",
		Example: "  varve storage stats\n  varve storage stats main -o json",
		Args:    optionalBranch,
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			stats, err := client.Stats(cmd.Context(), strings.Join(args, ""))
			if err != nil {
				return err
			}
			rows := statsRows("-", stats.Pageserver)
			for _, b := range stats.Branches {
				rows = append(rows, statsRows(b.Branch, b.Metrics)...)
				for _, aside := range b.Aside {
					talk("branch %s: merges leave a damaged layer alone: %s", b.Branch, aside)
				}
			}
			return a.print(stats, []string{"BRANCH", "METRIC", "VALUE"}, rows)
		},
	}
}

func statsRows(branch string, metrics map[string]int64) (rows [][]string) {
	for _, name := range slices.Sorted(maps.Keys(metrics)) {
		rows = append(rows, []string{branch, name, strconv.FormatInt(metrics[name], 10)})
	}
	return rows
}

// onBranch runs a command on the one branch that its argument names.
func (a *app) onBranch(run func(ctx context.Context, client *control.Client, name string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if err := control.ValidateName(args[0]); err != nil {
			return err
		}
		client, err := a.client()
		if err != nil {
			return err
		}
		return run(cmd.Context(), client, args[0])
	}
}

// printKeepers prints what keeps a branch's bytes, which is part of value, and names what
// could not be read for it.
func (a *app) printKeepers(value any, e control.Explanation) error {
	for _, damage := range e.Damage {
		talk("branch %s: not in what follows, for it is damaged: %s", e.Branch, damage)
	}
	rows := make([][]string, len(e.Keepers))
	for i, k := range e.Keepers {
		lsn := "-"
		if k.LSN.IsValid() {
			lsn = k.LSN.String()
		}
		rows[i] = []string{k.Kind, orDash(k.Name), lsn, strconv.FormatInt(k.Bytes, 10), strconv.FormatInt(k.Only, 10)}
	}
	return a.print(value, []string{"KEPT BY", "NAME", "LSN", "BYTES", "ONLY"}, rows)
}
