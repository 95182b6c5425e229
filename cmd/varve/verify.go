package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/varvedb/varve/compute/control"
	"github.com/varvedb/varve/pageserver/basebackup"
	"github.com/varvedb/varve/pageserver/pageapi"
	"github.com/varvedb/varve/pageserver/verify"
	"github.com/varvedb/varve/wal"
)

func (a *app) verifyCommand() *cobra.Command {
	var against, base string
	cmd := &cobra.Command{
		Use:   "verify (BRANCH | --oracle BASEDIR) --against DATADIR",
		Short: "Compare every page of a cleanly stopped data directory with storage",
		Long: "Compare a cleanly stopped data directory, page by page, with what storage holds at the end of its log.\n" +
			"`varve endpoint stop BRANCH` prints the directory that a branch's own Postgres left.\n" +
			"With --oracle, no branch: replay the log of DATADIR from BASEDIR, a copy of it made when it was cleanly stopped before, and\n" +
			"compare each page with the image that PostgreSQL attached. It ran with wal_consistency_checking = all and kept its log.",
		Args: func(cmd *cobra.Command, args []string) error {
			if base != "" {
				return noArgs(cmd, args)
			}
			return exactArgs("BRANCH")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if against == "" {
				return control.Errorf(control.CodeUsage, "verify needs a directory to compare with: --against DATADIR")
			}
			if base != "" {
				return a.oracle(base, against)
			}
			if err := control.ValidateName(args[0]); err != nil {
				return err
			}
			return a.verify(cmd.Context(), args[0], against)
		},
	}
	cmd.Flags().StringVar(&against, "against", "", "data directory of a cleanly stopped PostgreSQL")
	cmd.Flags().StringVar(&base, "oracle", "", "replay the log of that directory from this copy, and compare redo with PostgreSQL's images")
	return cmd
}

// refused gives a directory's refusal its code.
func refused(verb, dir string, err error) error {
	var why *basebackup.RefusedError
	if errors.As(err, &why) {
		return control.Errorf(control.CodeConflict, "%s %s: %v", verb, dir, err)
	}
	return fmt.Errorf("%s %s: %w", verb, dir, err)
}

func (a *app) verify(ctx context.Context, branch, dir string) error {
	fsys, err := control.OpenDir(dir)
	if err != nil {
		return err
	}
	info, err := basebackup.Inspect(fsys)
	if err != nil {
		return refused("verify", dir, err)
	}
	point := branch + "@" + info.LSN.String()
	return a.atPoint(ctx, point, func(ctx context.Context, t *pageapi.Timeline, at wal.LSN) error {
		report, err := verify.Verify(ctx, fsys, verify.OfTimeline(t, at), at)
		if err != nil {
			return err
		}
		if a.output == "json" {
			err = a.print(newReportView(branch, dir, report), nil, nil)
		} else {
			_, err = report.WriteTo(os.Stdout)
		}
		if err == nil && !report.OK() {
			err = control.Errorf(control.CodeFailed, "%s between %s and branch %s at %s", plural(report.Mismatched, "difference"), dir, branch, at)
		}
		return err
	})
}

func plural(n int64, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// reportView is a report in JSON.
type reportView struct {
	Branch     string         `json:"branch"`
	Against    string         `json:"against"`
	LSN        wal.LSN        `json:"lsn"`
	Files      int64          `json:"files"`
	Pages      int64          `json:"pages"`
	Kinds      []countView    `json:"pages_by_kind"`
	Entries    []countView    `json:"entries"`
	Masked     []countView    `json:"masked_bytes"`
	Skipped    []countView    `json:"skipped_files"`
	Mismatched int64          `json:"mismatched"`
	Mismatches []mismatchView `json:"mismatches"` // not all, if they are very many
}

// countView is a [verify.Count] in JSON.
type countView struct {
	Name  string `json:"name"`
	Count int64  `json:"count"`
}

// mismatchView is a [verify.Mismatch] in JSON.
type mismatchView struct {
	File   string `json:"file"`
	Block  int64  `json:"block"`  // -1: File is no fork of a relation
	Offset int64  `json:"offset"` // -1: none can be named
	What   string `json:"what"`
	Stored string `json:"stored"`
	Disk   string `json:"disk"`
}

func newReportView(branch, dir string, r *verify.Report) reportView {
	mismatches := make([]mismatchView, len(r.Mismatches))
	for i, m := range r.Mismatches {
		mismatches[i] = mismatchView(m)
	}
	return reportView{
		Branch: branch, Against: dir, LSN: r.LSN, Files: r.Files, Pages: r.Pages,
		Kinds: countViews(r.Kinds), Entries: countViews(r.Entries), Masked: countViews(r.Masked), Skipped: countViews(r.Skipped),
		Mismatched: r.Mismatched, Mismatches: mismatches,
	}
}

func countViews(counts []verify.Count) []countView {
	views := make([]countView, len(counts))
	for i, c := range counts {
		views[i] = countView(c)
	}
	return views
}
