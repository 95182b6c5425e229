package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/varvedb/varve/bench/goal"
	"github.com/varvedb/varve/bench/report"
	"github.com/varvedb/varve/bench/suite"
)

func newReportCommand() *cobra.Command {
	var doc, figures, readme string
	cmd := &cobra.Command{
		Use:   "report [DIR]",
		Short: "Write docs/BENCHMARKS.md, its figures, and README's part, from the results in a directory",
		Long: "Write docs/BENCHMARKS.md, its figures, and the part of README between its marks, from the results in a directory.\n" +
			"Without a directory the document lists goals and suites only, and README is left alone. Smoke runs are refused.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return writeEmpty(doc)
			}
			return writeDocs(args[0], doc, figures, readme)
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

func writeDocs(dir, doc, figures, readme string) error {
	outcomes, results, err := judge(dir)
	if err != nil {
		return err
	}
	in := report.Input{Suites: suite.All(), Results: results, Outcomes: outcomes}
	drawn, err := figuresOf(results, outcomes, mutantsPath)
	if err != nil {
		return err
	}
	for _, f := range drawn {
		in.Figures = append(in.Figures, f.Name)
	}
	if in.Folder, err = filepath.Rel(filepath.Dir(doc), figures); err != nil {
		return fmt.Errorf("place figures: %w", err)
	}
	text, err := report.Document(in)
	if err != nil {
		return err
	}
	for _, f := range drawn {
		if err := f.SaveVector(figures); err != nil {
			return err
		}
	}
	if err := write(doc, text); err != nil || readme == "" {
		return err
	}
	if in.Folder, err = filepath.Rel(filepath.Dir(readme), figures); err != nil {
		return fmt.Errorf("place figures: %w", err)
	}
	before, err := os.ReadFile(readme)
	if err != nil {
		return fmt.Errorf("read README: %w", err)
	}
	after, err := report.Readme(string(before), in)
	if err != nil {
		return err
	}
	return write(readme, after)
}

func write(path, text string) error {
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		return fmt.Errorf("write document: %w", err)
	}
	return nil
}
