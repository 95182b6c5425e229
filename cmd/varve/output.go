package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
)

// print writes value as JSON, or rows as a table under header.
func (a *app) print(value any, header []string, rows [][]string) error {
	if a.output == "json" {
		encoder := json.NewEncoder(os.Stdout)
		encoder.SetIndent("", "  ")
		return encoder.Encode(value)
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, strings.Join(header, "\t"))
	for _, row := range rows {
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	return w.Flush()
}

// printValue writes value as JSON, or text as it is.
func (a *app) printValue(value any, text string) error {
	if a.output == "json" {
		return a.print(value, nil, nil)
	}
	_, err := fmt.Println(text)
	return err
}

// printDone writes as JSON what a command did that has nothing to tell a person, who
// heard of it in talk.
func (a *app) printDone(did any) error {
	if a.output == "json" {
		return a.print(did, nil, nil)
	}
	return nil
}

// talk tells a person what happens, on standard error.
func talk(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
}

// orDash stands in for what is not there.
func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
