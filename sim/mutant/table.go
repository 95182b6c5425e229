package mutant

import (
	"fmt"
	"strings"
	"time"

	"github.com/varvedb/varve/wal/planted"
)

// Killed counts the trials whose mutant was killed, by a seed that passes without it.
func Killed(trials []*Trial) (killed int) {
	for _, t := range trials {
		if t.Killed && !t.Worthless {
			killed++
		}
	}
	return killed
}

// Table prints trials as a table in Markdown, and how many were killed.
func Table(trials []*Trial) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| mutant | source | killed by | seeds | virtual time | control |\n|---|---|---|---|---|---|\n")
	for _, t := range trials {
		fmt.Fprintf(&b, "| `%s`: %s | %s | %s | %d | %v | %s |\n",
			t.Mutant.Name, t.Mutant.Bug, t.Mutant.Source, t.verdict(), t.Seeds, t.Virtual.Round(time.Second), t.controlled())
	}
	if len(trials) > 0 {
		killed := Killed(trials)
		fmt.Fprintf(&b, "\nKilled: %d of %d, %.0f %%.\n", killed, len(trials), 100*float64(killed)/float64(len(trials)))
	}
	return b.String()
}

func (t *Trial) verdict() string {
	switch {
	case t.Killed:
		return strings.Join(t.By, ", ")
	case t.Mutant.Excuse != "":
		return "**survives**: " + t.Mutant.Excuse
	}
	return "**survives**"
}

func (t *Trial) controlled() string {
	needs := "needs no fault"
	if len(t.Mutant.Needs) > 0 {
		needs = fmt.Sprintf("%d without %s", t.Control, strings.Join(t.Mutant.Needs, ", "))
	}
	switch {
	case !t.Killed:
		return "none"
	case t.Wrong != "":
		return "**" + t.Wrong + "**"
	}
	return needs
}

// The marks between which a document holds the table of trials, and that of comparisons.
const (
	TableBegin = "<!-- mutants: begin -->"
	TableEnd   = "<!-- mutants: end -->"

	SearchBegin = "<!-- search: begin -->"
	SearchEnd   = "<!-- search: end -->"
)

// Insert puts a table between the marks of a document.
func Insert(document []byte, table string) ([]byte, error) {
	return planted.Insert(document, TableBegin, TableEnd, table)
}
