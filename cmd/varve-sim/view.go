package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/varvedb/varve/sim"
	"github.com/varvedb/varve/sim/report"
)

func newViewCommand() *cobra.Command {
	var out string
	var from, to time.Duration
	cmd := &cobra.Command{
		Use:   "view FILE",
		Short: "Draw what a file of a failed run says as one HTML page",
		Long: "View runs the file's run again, looks for a neighbour of it that passes, and writes one HTML\n" +
			"page that needs nothing else: beside FILE, unless --out says where.",
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			body, err := os.ReadFile(args[0])
			if err != nil {
				return err
			}
			record, tape, err := sim.ParseRecord(args[0], body)
			if err != nil {
				return err
			}
			if record.Commit != sim.Commit() {
				fmt.Fprintf(os.Stderr, "the file is of commit %s, this build of %s: the run may differ\n", record.Commit, sim.Commit())
			}
			if out == "" {
				out = strings.TrimSuffix(args[0], filepath.Ext(args[0])) + ".view.html"
			}
			f, err := os.Create(out)
			if err != nil {
				return err
			}
			defer f.Close()
			fmt.Fprintln(os.Stderr, "looking for a neighbour that passes")
			if err := report.Write(f, record.Options, tape, "varve-sim replay "+args[0], report.Window{From: from, To: to}); err != nil {
				return err
			}
			fmt.Println(out)
			return f.Close()
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "the page's file")
	cmd.Flags().DurationVar(&from, "from", 0, "where the closer picture begins, in virtual time; default: before the first divergence")
	cmd.Flags().DurationVar(&to, "to", 0, "where it ends")
	return cmd
}
