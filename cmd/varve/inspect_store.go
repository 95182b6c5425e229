package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/varvedb/varve/lsm/kv"
	"github.com/varvedb/varve/lsm/layer"
	"github.com/varvedb/varve/lsm/manifest"
	"github.com/varvedb/varve/pageserver/pgkey"
)

func (a *app) inspectLayerCommand() *cobra.Command {
	return &cobra.Command{
		Use: "layer FILE", Short: "Check every byte of a layer and print what it holds, a line per version", Args: exactArgs("FILE"),
		RunE: func(_ *cobra.Command, args []string) error {
			body, err := readFile(args[0], "layers lie in DIR/bucket/tenants/TENANT/layers/TIMELINE")
			if err != nil {
				return err
			}
			out := bufio.NewWriter(os.Stdout)
			w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "KEY\tLSN\tKIND\tBYTES")
			desc, err := layer.Check(filepath.Base(args[0]), body, func(v kv.Version) error {
				_, err := fmt.Fprintf(w, "%s\t%s\t%s\t%d\n", pgkey.Describe(v.Key), v.LSN, v.Kind, len(v.Value))
				return err
			})
			if err != nil {
				return err
			}
			if err := w.Flush(); err != nil {
				return err
			}
			talk("%s layer of timeline %s, generation %d: %d versions, %d bytes, every checksum right", desc.Kind, desc.Timeline, desc.Generation, desc.Versions, desc.Size)
			return out.Flush()
		},
	}
}

func (a *app) inspectIndexCommand() *cobra.Command {
	return &cobra.Command{
		Use: "index FILE", Short: "Check a timeline's index and print what it holds", Args: exactArgs("FILE"),
		RunE: func(_ *cobra.Command, args []string) error {
			body, err := readFile(args[0], "indexes lie below DIR/bucket/tenants/TENANT/timelines")
			if err != nil {
				return err
			}
			index, err := manifest.Decode(filepath.Base(args[0]), body)
			if err != nil {
				return err
			}
			talk("timeline %s, generation %d, starts at %s, durable up to %s, horizon %s", index.Timeline, index.Generation, index.Start, index.Durable, index.Cutoff)
			if !index.IsRoot() {
				talk("a branch of timeline %s at %s", index.Parent, index.BranchLSN)
			}
			rows := make([][]string, len(index.Layers))
			for i, l := range index.Layers {
				rows[i] = []string{l.Kind.String(), pgkey.Describe(l.KeyLo), pgkey.Describe(l.KeyHi), l.LSNLo.String(), l.LSNHi.String(),
					strconv.FormatInt(l.Versions, 10), strconv.FormatInt(l.Size, 10)}
			}
			return a.print(index, []string{"LAYER", "FIRST KEY", "LAST KEY", "FROM", "TO", "VERSIONS", "BYTES"}, rows)
		},
	}
}
