package sim

import (
	"fmt"
	"strings"
	"time"

	"github.com/varvedb/varve/sim/check"
)

// Tally adds up runs.
type Tally struct {
	Runs     int
	Failures int
	Events   uint64
	Virtual  time.Duration
	Fired    check.Counts
	Done     check.Counts
	Covered  check.Counts
	Damaged  int
	Checked  map[string]check.Counts // by checker: what it judged
	Skipped  map[string]check.Counts
	checkers []string // in order of first appearance
}

// Add adds a run.
func (t *Tally) Add(r *Result) {
	if t.Checked == nil {
		t.Checked, t.Skipped = map[string]check.Counts{}, map[string]check.Counts{}
	}
	t.Runs++
	if !r.OK() {
		t.Failures++
	}
	t.Events += r.Events
	t.Virtual += r.Virtual
	t.Damaged += r.Damaged
	t.Fired.Merge(r.Fired)
	t.Done.Merge(r.Done)
	t.Covered.Merge(r.Covered)
	for i := range r.Verdicts {
		v := &r.Verdicts[i]
		if _, known := t.Checked[v.Checker]; !known {
			t.checkers = append(t.checkers, v.Checker)
		}
		checked, skipped := t.Checked[v.Checker], t.Skipped[v.Checker]
		checked.Merge(v.Counts)
		skipped.Merge(v.Skipped)
		t.Checked[v.Checker], t.Skipped[v.Checker] = checked, skipped
	}
}

// Idle names the faults that never fired, what clients and operators never did, and the
// checkers that judged nothing: what a batch of runs that is large enough must not have.
// Faults to be asked for do not count.
func (t *Tally) Idle() (idle []string) {
	for _, count := range t.Fired {
		if count.N == 0 && count.Name != "disk.lie" {
			idle = append(idle, "fault "+count.Name+" never fired")
		}
	}
	for _, count := range t.Done {
		if count.N == 0 {
			idle = append(idle, "nobody did: "+count.Name)
		}
	}
	for _, checker := range t.checkers {
		if counts := t.Checked[checker]; counts.Total() == 0 {
			idle = append(idle, "checker "+checker+" judged nothing")
		}
	}
	if len(t.checkers) == 0 {
		idle = append(idle, "no run was judged")
	}
	return idle
}

// String is the closing table: faults fired and operations done by kind, what was judged
// by checker, and the marked places of the code that were reached.
func (t *Tally) String() string {
	var b strings.Builder
	table := func(title string, counts check.Counts) {
		fmt.Fprintf(&b, "%s\n", title)
		for _, count := range counts {
			fmt.Fprintf(&b, "  %-50s %12d\n", count.Name, count.N)
		}
	}
	fmt.Fprintf(&b, "runs %d, failures %d, virtual time %v, events %d\n", t.Runs, t.Failures, t.Virtual.Round(time.Second), t.Events)
	table("faults fired", t.Fired)
	table("done by clients and operators", t.Done)
	for _, checker := range t.checkers {
		table("judged by "+checker, t.Checked[checker])
		table("left out by "+checker, t.Skipped[checker])
	}
	table("labels covered", t.Covered)
	fmt.Fprintf(&b, "copies of logs that deceiving disks damaged, found and left out: %d\n", t.Damaged)
	return b.String()
}
