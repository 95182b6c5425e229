package bench

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/varvedb/varve/bench/paired"
)

// Progress shows how far a run has come: on a terminal one line with a bar and the time
// that is left, elsewhere a line for each suite. Make it with NewProgress.
type Progress struct {
	out      io.Writer
	terminal bool
	suites   int // of the run
	now      func() time.Time

	name   string
	nth    int // of the suites
	begun  time.Time
	arms   int // of a round
	rounds int
	passed int                      // arms of all rounds
	took   map[string]time.Duration // by case and arm, lately
	spent  time.Duration            // in this round
}

// NewProgress makes a progress of so many suites that writes to out.
func NewProgress(out io.Writer, terminal bool, suites int) *Progress {
	return &Progress{out: out, terminal: terminal, suites: suites, now: time.Now}
}

func (p *Progress) suite(name string) {
	p.name, p.begun, p.arms, p.nth = name, p.now(), 0, p.nth+1
	if !p.terminal {
		fmt.Fprintf(p.out, "%s: begins (%d of %d)\n", name, p.nth, p.suites)
	}
}

// begin says that so many measurements follow in each of a number of rounds.
func (p *Progress) begin(arms, rounds int) {
	p.arms, p.rounds, p.passed, p.spent, p.took = arms, rounds, 0, 0, map[string]time.Duration{}
}

// more says that a round follows that was not asked for.
func (p *Progress) more() { p.rounds++ }

func (p *Progress) advance(m paired.Measured) {
	took := time.Duration(m.Seconds * float64(time.Second))
	p.took[m.Case+" "+m.Arm] = took
	p.spent += took
	if p.passed++; p.passed%p.arms == 0 {
		p.spent = 0
	}
}

func (p *Progress) step(text string) {
	if p.terminal {
		fmt.Fprintf(p.out, "\r\x1b[K%s", p.line(text))
	}
}

const barWidth = 24

// line is what is shown: suite, bar, time left of the suite, and what is being done.
func (p *Progress) line(text string) string {
	name := fmt.Sprintf("%2d/%d %-10s", p.nth, p.suites, p.name)
	if p.arms == 0 {
		return fmt.Sprintf("%s %s prepares: %s", name, strings.Repeat(".", barWidth), text)
	}
	total := p.arms * p.rounds
	full := barWidth * p.passed / total
	bar := strings.Repeat("#", full) + strings.Repeat(".", barWidth-full)
	return fmt.Sprintf("%s %s %3d%% %s  %s", name, bar, 100*p.passed/total, p.left(), text)
}

// left is the time that remains if every arm takes as long as it lately did. Before all
// have been seen once nothing is known.
func (p *Progress) left() string {
	if len(p.took) < p.arms {
		return "first round"
	}
	round := time.Duration(0)
	for _, took := range p.took {
		round += took
	}
	left := round*time.Duration(p.rounds-p.passed/p.arms) - p.spent
	return fmt.Sprintf("%6s left", max(0, left).Round(time.Second))
}

// done says how long the suite took.
func (p *Progress) done(r *Result) {
	if p.terminal {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
	fmt.Fprintf(p.out, "%s: done in %v: %.0f s of them for %d rounds\n", p.name, p.now().Sub(p.begun).Round(time.Second),
		(p.now().Sub(p.begun)).Seconds()-r.SetUp, len(r.Rounds))
}
