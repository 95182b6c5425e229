package main

import (
	"strconv"

	"github.com/spf13/cobra"

	"github.com/varvedb/varve/compute/control"
)

func (a *app) storageCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "storage", Short: "What the storage holds, and why"}
	cmd.AddCommand(a.explainCommand())
	return cmd
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
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := control.ValidateName(args[0]); err != nil {
				return err
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			e, err := client.Explain(cmd.Context(), args[0])
			if err != nil {
				return interrupted(cmd.Context(), err, "nothing was changed")
			}
			rows := make([][]string, len(e.Keepers))
			for i, k := range e.Keepers {
				lsn := "-"
				if k.LSN.IsValid() {
					lsn = k.LSN.String()
				}
				rows[i] = []string{k.Kind, orDash(k.Name), lsn, strconv.FormatInt(k.Bytes, 10), strconv.FormatInt(k.Only, 10)}
			}
			talk("branch %s: %s in %s, %s of versions before compression, durable up to %s, horizon %s", e.Branch,
				plural(e.LayerBytes, "byte"), counted(e.Layers, "layer", "layers"), plural(e.Bytes, "byte"), e.Durable, e.Horizon)
			return a.print(e, []string{"KEPT BY", "NAME", "LSN", "BYTES", "ONLY"}, rows)
		},
	}
}
