package minimize

import (
	"fmt"
	"slices"
	"strings"

	"github.com/varvedb/varve/sim"
	"github.com/varvedb/varve/sim/world"
)

// nodes makes the cluster small.
func (m *Minimizer) nodes() {
	for _, n := range []int{1, 3} {
		if n < m.best.Options.Safekeepers && m.options(fmt.Sprintf("%d safekeepers", n), freshSeeds, func(o *sim.Options) {
			o.Safekeepers, o.Core = n, n
			o.Deceived = slices.DeleteFunc(o.Deceived, func(i int) bool { return i >= n })
			o.Deceived = o.Deceived[:min(len(o.Deceived), (n-1)/2)]
		}) {
			break
		}
	}
	m.options("1 pageserver", freshSeeds, func(o *sim.Options) { o.Pageservers = 1 })
	_ = m.options("1 compute", freshSeeds, func(o *sim.Options) { o.Computes = 1 }) ||
		m.options("2 computes", freshSeeds, func(o *sim.Options) { o.Computes = min(o.Computes, 2) })
	m.options("1 session", freshSeeds, func(o *sim.Options) { o.Sessions = 1 })
	m.options("no reader of history", freshSeeds, func(o *sim.Options) { o.Historians = 0 })
	m.options("no disk deceives", freshSeeds, func(o *sim.Options) { o.Deceived = nil })
	m.options("all safekeepers in the core", freshSeeds, func(o *sim.Options) { o.Core = o.Safekeepers })
}

// kinds switches kinds of faults off, many at a time while that works.
func (m *Minimizer) kinds() {
	kinds := m.kindsOn()
	if m.options("no faults", freshSeeds, func(o *sim.Options) { o.Faults = world.Faults{} }) {
		return
	}
	for size := (len(kinds) + 1) / 2; size > 0; size /= 2 {
		for from := 0; from < len(kinds); {
			some := kinds[from:min(from+size, len(kinds))]
			off := func(o *sim.Options) { o.Faults = o.Faults.Without(some...) }
			if m.options(fmt.Sprintf("without %v", some), 1, off) {
				kinds = slices.Concat(kinds[:from], kinds[from+len(some):])
			} else {
				from += len(some)
			}
		}
	}
}

// kindsOn is the kinds of faults that are on.
func (m *Minimizer) kindsOn() (kinds []world.FaultKind) {
	for _, kind := range world.FaultKinds() {
		if !m.best.Options.Faults[kind].Off() {
			kinds = append(kinds, kind)
		}
	}
	return kinds
}

// operations bounds what clients do, and makes it simple.
func (m *Minimizer) operations() {
	for n := 1; n < SizeOf(m.best).Operations; n *= 2 {
		if m.options(plural(n, "operation"), freshSeeds, func(o *sim.Options) { o.Operations = n }) {
			break
		}
	}
	for {
		fewer := SizeOf(m.best).Operations - 1
		if fewer < 1 || !m.options(plural(fewer, "operation"), 1, func(o *sim.Options) { o.Operations = fewer }) {
			break
		}
	}
	for _, simpler := range []struct {
		what   string
		change func(*sim.Options)
	}{
		{"transactions of one page", func(o *sim.Options) { o.Shape.PagesMax = 1 }},
		{"writes only", func(o *sim.Options) { o.Shape.Latest, o.Shape.Snapshot, o.Shape.Branch = 0, 0, 0 }},
		{"no branches", func(o *sim.Options) { o.Shape.Branch, o.BranchPer = 0, 0 }},
		{"no aborts, pauses or restated pages", func(o *sim.Options) {
			o.Shape.AbortPerMillion, o.Shape.PausePerMillion, o.Shape.RestatePerMillion = 0, 0, 0
		}},
		{"two blocks", func(o *sim.Options) { o.Shape.Blocks = 2 }},
	} {
		m.options(simpler.what, 1, simpler.change)
	}
}

// storm makes the storm short.
func (m *Minimizer) storm() {
	for m.options("a shorter storm", 1, func(o *sim.Options) { o.Storm /= 2 }) {
	}
}

// quiet makes decisions 0 in the streams of each prefix: all of them at once, else
// stream by stream, and within one by halves, quarters and so on.
func (m *Minimizer) quiet(prefixes ...string) {
	for _, prefix := range prefixes {
		all := func(name string) bool { return strings.HasPrefix(name, prefix) }
		if m.zero("quiet "+prefix, all, 0, 1) {
			continue
		}
		for _, s := range m.best.Tape.Streams {
			if all(s.Name) {
				m.quietStream(s.Name)
			}
		}
	}
}

// piecesMax is how finely a stream is cut.
const piecesMax = 8

func (m *Minimizer) quietStream(name string) {
	one := func(other string) bool { return other == name }
	if m.zero("quiet "+name, one, 0, 1) {
		return
	}
	for pieces := 2; pieces <= piecesMax; pieces *= 2 {
		for piece := range pieces {
			m.zero(fmt.Sprintf("quiet %s, part %d of %d", name, piece+1, pieces), one, piece, pieces)
		}
	}
}

// zero tries the tape with one of so many pieces of the streams made 0, and reports
// whether that was kept.
func (m *Minimizer) zero(what string, is func(string) bool, piece, pieces int) bool {
	tape := &world.Tape{Seed: m.best.Tape.Seed}
	changed := false
	for _, s := range m.best.Tape.Streams {
		if is(s.Name) {
			s.Values = slices.Clone(s.Values)
			from, to := len(s.Values)*piece/pieces, len(s.Values)*(piece+1)/pieces
			changed = changed || slices.ContainsFunc(s.Values[from:to], func(v uint32) bool { return v != 0 })
			clear(s.Values[from:to])
		}
		tape.Streams = append(tape.Streams, s)
	}
	return changed && m.try(what, m.best.Options, tape)
}
