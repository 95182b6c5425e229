package report

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/varvedb/varve/bench/goal"
)

// The marks in README.md between which this program writes.
const (
	readmeBegin = "<!-- bench:begin -->"
	readmeEnd   = "<!-- bench:end -->"
)

// readmeFigures are the three pictures of the README.
var readmeFigures = []struct{ name, text string }{
	{"throughput-faults", "throughput of PostgreSQL while a safekeeper is away"},
	{"latency-append-commit-8KiB-c1", "how long a commit takes: Varve, the floor of two flushes of three, etcd"},
	{"read-cost-deltas", "what a read costs by the changes of its page, against Pebble"},
}

// readmeGoals are the rows of its table.
var readmeGoals = []string{"a.etcd", "i.tps-c16", "b.decode", "c.pebble10", "g.depth64", "g.pitr", "f.basebackup", "h.ratio", "k.lz4", "j.same"}

// Readme puts the README's pictures and table between its marks. The input's folder is
// relative to the README.
func Readme(readme string, in Input) (string, error) {
	if err := in.check(); err != nil {
		return "", err
	}
	before, rest, begun := strings.Cut(readme, readmeBegin)
	_, after, ended := strings.Cut(rest, readmeEnd)
	if !begun || !ended {
		return "", errors.New("README has no marks " + readmeBegin + " and " + readmeEnd)
	}
	var d document
	d.linef("\n## Measured\n\n%s. Each ratio is to its neighbour in the same round; n: rounds, of times the quiet ones.", goal.Count(in.Outcomes))
	d.linef("%s; of %s.", commitsOf(in.Results), droppedOf(in.Results))
	d.linef("How, and everything that is lost: [docs/BENCHMARKS.md](docs/BENCHMARKS.md).\n\n| | wanted | pessimistic quartile | n | |\n|---|---|---|---|---|")
	for _, id := range readmeGoals {
		i := slices.IndexFunc(in.Outcomes, func(o goal.Outcome) bool { return o.ID == id })
		if i < 0 || in.Outcomes[i].Why != "" {
			continue
		}
		o := &in.Outcomes[i]
		verdict := "missed"
		if o.Met {
			verdict = "reached"
		}
		verdict += o.Reserve()
		d.linef("| %s: %s | %s %.4g | %s | %d | %s |", o.Suite, o.Text, strings.ReplaceAll(o.Op, "<", "&lt;"), o.Bound, goal.Number(o.Measured), o.Spread.N, verdict)
	}
	for _, f := range readmeFigures {
		d.figure(&in, f.name, f.text)
	}
	return fmt.Sprintf("%s%s%s\n%s%s", before, readmeBegin, d.String(), readmeEnd, after), nil
}
