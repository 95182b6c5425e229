package check

import (
	"fmt"
	"strings"
)

// findingsMax bounds the findings that a verdict spells out: the first is mostly the
// cause, and ten show the pattern; a broken log makes thousands.
const findingsMax = 10

// Verdict is what one checker says of a run.
type Verdict struct {
	Checker string
	OK      bool
	Detail  string // the first findings, a line each; empty if OK
	At      Place  // the page of the first finding that has one, to draw with [Picture]
	Counts  Counts // what was judged, by kind
	Skipped Counts // what was left out, by reason
}

// Checked is the number of things that were judged. A verdict that is OK and judged
// nothing says nothing.
func (v *Verdict) Checked() int { return v.Counts.Total() }

// String renders the verdict: its checker, the counts, and the findings below.
func (v *Verdict) String() string {
	word := "ok"
	if !v.OK {
		word = "FAILED"
	}
	text := fmt.Sprintf("%s %s: %v", v.Checker, word, v.Counts)
	if len(v.Skipped) > 0 {
		text += fmt.Sprintf(" (left out: %v)", v.Skipped)
	}
	if v.Detail != "" {
		text += "\n" + v.Detail
	}
	return text
}

// Count is a number of things of one kind.
type Count struct {
	Name string
	N    int
}

// Counts are in order of first appearance.
type Counts []Count

// Add adds n things of a kind.
func (c *Counts) Add(name string, n int) {
	for i := range *c {
		if (*c)[i].Name == name {
			(*c)[i].N += n
			return
		}
	}
	*c = append(*c, Count{name, n})
}

// Merge adds the counts of another run.
func (c *Counts) Merge(d Counts) {
	for _, count := range d {
		c.Add(count.Name, count.N)
	}
}

// Total is the sum of all counts.
func (c Counts) Total() (n int) {
	for _, count := range c {
		n += count.N
	}
	return n
}

// Get returns the number of things of a kind.
func (c Counts) Get(name string) int {
	for _, count := range c {
		if count.Name == name {
			return count.N
		}
	}
	return 0
}

// String renders the counts as 12 writes, 3 reads.
func (c Counts) String() string {
	if len(c) == 0 {
		return "nothing"
	}
	parts := make([]string, len(c))
	for i, count := range c {
		parts[i] = fmt.Sprintf("%d %s", count.N, count.Name)
	}
	return strings.Join(parts, ", ")
}

// judge gathers one verdict.
type judge struct {
	verdict  Verdict
	findings []string
	more     int
}

func newJudge(checker string) *judge { return &judge{verdict: Verdict{Checker: checker}} }

func (j *judge) count(name string)  { j.verdict.Counts.Add(name, 1) }
func (j *judge) skip(reason string) { j.verdict.Skipped.Add(reason, 1) }

func (j *judge) flag(format string, args ...any) {
	if len(j.findings) == findingsMax {
		j.more++
		return
	}
	j.findings = append(j.findings, fmt.Sprintf(format, args...))
}

// flagAt flags what is wrong with a page.
func (j *judge) flagAt(at Place, format string, args ...any) {
	if j.verdict.At == (Place{}) {
		j.verdict.At = at
	}
	j.flag("%v: %s", at, fmt.Sprintf(format, args...))
}

func (j *judge) done() Verdict {
	j.verdict.OK = len(j.findings) == 0
	if j.more > 0 {
		j.findings = append(j.findings, fmt.Sprintf("and %d more", j.more))
	}
	j.verdict.Detail = strings.Join(j.findings, "\n")
	return j.verdict
}

// All runs every checker, cheapest first. The first that fails is the one to read: a
// log that is wrong makes the others wrong too.
func All(r *Run) []Verdict {
	return []Verdict{Truth(r), Replicas(r), Bucket(r), Branches(r), Liveness(r), History(r), RealTime(r), Snapshots(r), Porcupine(r)}
}
