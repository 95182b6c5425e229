package bench

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// Progress shows how far a run has come: on a terminal one line with a bar and the time
// that is left, elsewhere a line for each suite. Make it with NewProgress.
type Progress struct {
	out      io.Writer
	terminal bool
	now      func() time.Time

	name   string
	begun  time.Time
	total  int // arms of all rounds
	passed int
}

// NewProgress makes a progress that writes to out.
func NewProgress(out io.Writer, terminal bool) *Progress {
	return &Progress{out: out, terminal: terminal, now: time.Now}
}

func (p *Progress) suite(name string) {
	p.name, p.begun, p.total, p.passed = name, p.now(), 0, 0
	if !p.terminal {
		fmt.Fprintf(p.out, "%s: begins\n", name)
	}
}

// begin says that so many measurements follow, which all take about equally long.
func (p *Progress) begin(total int) { p.begun, p.total, p.passed = p.now(), total, 0 }

func (p *Progress) advance() { p.passed++ }

func (p *Progress) step(text string) {
	if p.terminal {
		fmt.Fprintf(p.out, "\r\x1b[K%s", p.line(text))
	}
}

const barWidth = 24

// line is what is shown: suite, bar, time left, and what is being done.
func (p *Progress) line(text string) string {
	if p.total == 0 {
		return fmt.Sprintf("%-10s %s prepares: %s", p.name, strings.Repeat(".", barWidth), text)
	}
	full := barWidth * p.passed / p.total
	bar := strings.Repeat("#", full) + strings.Repeat(".", barWidth-full)
	return fmt.Sprintf("%-10s %s %3d%% %s  %s", p.name, bar, 100*p.passed/p.total, p.left(), text)
}

// left estimates the time that remains, from the time that the part so far has taken.
func (p *Progress) left() string {
	if p.passed == 0 {
		return "    ... left"
	}
	left := p.now().Sub(p.begun) * time.Duration(p.total-p.passed) / time.Duration(p.passed)
	return fmt.Sprintf("%7s left", left.Round(time.Second))
}

func (p *Progress) done() {
	took := p.now().Sub(p.begun).Round(time.Second)
	if p.terminal {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
	fmt.Fprintf(p.out, "%s: done, %v for its rounds\n", p.name, took)
}
