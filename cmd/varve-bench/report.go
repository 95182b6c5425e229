package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/varvedb/varve/bench"
	"github.com/varvedb/varve/bench/goal"
	"github.com/varvedb/varve/bench/plot"
	"github.com/varvedb/varve/bench/report"
	"github.com/varvedb/varve/bench/suite"
)

func newReportCommand() *cobra.Command {
	var doc, figures, readme string
	cmd := &cobra.Command{
		Use:   "report [DIR]",
		Short: "Write docs/BENCHMARKS.md, its figures, and README's part, from the results in a directory",
		Long: "Write docs/BENCHMARKS.md, its figures, and the part of README between its marks, from the results in a directory.\n" +
			"Without a directory the document lists goals and suites only, and README is left alone. Refused are\n" +
			"smoke runs, and results of changes that are not committed or of a commit that is not below HEAD.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return writeEmpty(doc)
			}
			return writeDocs(cmd.Context(), args[0], doc, figures, readme)
		},
	}
	cmd.Flags().StringVar(&doc, "doc", "docs/BENCHMARKS.md", "the document")
	cmd.Flags().StringVar(&figures, "figures", "docs/figures/bench", "directory for the document's figures")
	cmd.Flags().StringVar(&readme, "readme", "README.md", "the README; empty: left alone")
	return cmd
}

func writeEmpty(doc string) error {
	goals, err := goal.All()
	if err != nil {
		return err
	}
	text, err := report.Document(report.Input{Suites: suite.All(), Outcomes: goal.Judge(goals, nil)})
	if err != nil {
		return err
	}
	return write(doc, text)
}

func writeDocs(ctx context.Context, dir, doc, figures, readme string) error {
	docs, err := render(ctx, dir, doc, figures, readme)
	if err != nil {
		return err
	}
	for _, f := range docs.figures {
		if err := f.SaveVector(figures); err != nil {
			return err
		}
	}
	if err := removeOthers(figures, docs.figures); err != nil {
		return err
	}
	if err := write(doc, docs.doc); err != nil || readme == "" {
		return err
	}
	return write(readme, docs.readme)
}

// removeOthers removes the pictures, and their data, that a report before has left in a
// folder and this one has not.
func removeOthers(dir string, figures []*plot.Figure) error {
	stale, err := others(dir, figures)
	for _, path := range stale {
		err = errors.Join(err, os.Remove(path))
	}
	if err != nil {
		return fmt.Errorf("remove older figures: %w", err)
	}
	return nil
}

func others(dir string, figures []*plot.Figure) (stale []string, err error) {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		suffix := filepath.Ext(e.Name())
		name := strings.TrimSuffix(e.Name(), suffix)
		mine := slices.ContainsFunc(figures, func(f *plot.Figure) bool { return f.Name == name })
		if (suffix == ".svg" || suffix == ".csv") && !mine {
			stale = append(stale, filepath.Join(dir, e.Name()))
		}
	}
	return stale, err
}

// rendered is what a report writes.
type rendered struct {
	doc, readme string
	figures     []*plot.Figure
}

// render makes a report of the results in dir, and writes nothing. The paths say where
// its parts will be, which link to each other; an empty readme is left out.
func render(ctx context.Context, dir, doc, figures, readme string) (r rendered, err error) {
	outcomes, results, err := judge(dir)
	if err != nil {
		return r, err
	}
	if err := bench.OfRecord(ctx, results); err != nil {
		return r, err
	}
	if r.figures, err = figuresOf(results, outcomes, mutantsPath); err != nil {
		return r, err
	}
	in := report.Input{Suites: suite.All(), Results: results, Outcomes: outcomes}
	for _, f := range r.figures {
		in.Figures = append(in.Figures, f.Name)
	}
	if in.Folder, err = filepath.Rel(filepath.Dir(doc), figures); err != nil {
		return r, fmt.Errorf("place figures: %w", err)
	}
	if r.doc, err = report.Document(in); err != nil || readme == "" {
		return r, err
	}
	if in.Folder, err = filepath.Rel(filepath.Dir(readme), figures); err != nil {
		return r, fmt.Errorf("place figures: %w", err)
	}
	before, err := os.ReadFile(readme)
	if err != nil {
		return r, fmt.Errorf("read README: %w", err)
	}
	r.readme, err = report.Readme(string(before), in)
	return r, err
}

func write(path, text string) error {
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		return fmt.Errorf("write document: %w", err)
	}
	return nil
}
