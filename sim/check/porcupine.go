package check

import (
	"cmp"
	"fmt"
	"io"
	"slices"

	"github.com/anishathalye/porcupine"

	"github.com/varvedb/varve/wal"
)

const (
	// opsPerPageMax bounds the operations of one page that are searched: the search
	// keeps a set of operations at every step, so its memory grows with the square.
	// What is left out of a busier page is counted; it is the page's latest.
	opsPerPageMax = 10_000
	// searchBytesMax bounds the memory of one page's search. A history of few open
	// operations at a time needs a few steps for each operation; one that runs out
	// here has too many, and is a failure, for nobody knows what it would have been.
	// Counted in steps and not in time, so that the same run has the same verdict.
	searchBytesMax = 128 << 20
	stepBytes      = 160 // what a step takes beside its set
	// pictureStepsMax bounds the search for the orders of a picture. The first descent
	// finds the longest ones; each step back costs a copy of an order.
	pictureStepsMax = 4 * opsPerPageMax
)

// Porcupine checks that each page of each branch is a linearizable register: that its
// writes, in order of their LSNs, and the values that confirmed latest reads found can
// each have taken effect at a moment between call and return. It believes no LSN of
// a read, and judges those that have none.
func Porcupine(r *Run) Verdict {
	j := newJudge("porcupine")
	for _, p := range registers(r, j) {
		j.count("pages")
		j.verdict.Counts.Add("operations", len(p.ops))
		budget := searchBytesMax / (len(p.ops)/8 + stepBytes)
		ok := porcupine.CheckOperations(p.model(&budget), p.ops)
		switch {
		case budget < 0:
			j.flagAt(p.at, "unknown: the search of %d operations did not end within its bound", len(p.ops))
		case !ok:
			j.flagAt(p.at, "no order of the %d operations explains what was read", len(p.ops))
		}
	}
	return j.done()
}

// Picture writes a page's history, with the longest orders that could be found for it
// and the faults of the run beside, as one HTML file that needs nothing else. Here a
// write waits for no read, so that the read that cannot be explained is what is left.
func Picture(w io.Writer, r *Run, at Place) error {
	for _, p := range registers(r, newJudge("picture")) {
		if p.at != at {
			continue
		}
		for i := range p.ops {
			a := p.ops[i].Input.(access)
			a.reads = -1
			p.ops[i].Input = a
		}
		budget := pictureStepsMax
		_, info := porcupine.CheckOperationsVerbose(p.model(&budget), p.ops, 0)
		info.AddAnnotations(annotations(r.Faults))
		replay := 1 << 62
		if err := porcupine.Visualize(p.model(&replay), info, w); err != nil {
			return fmt.Errorf("draw %v: %w", at, err)
		}
		return nil
	}
	return fmt.Errorf("draw %v: the history has no confirmed read or write of it", at)
}

func annotations(faults []Fault) []porcupine.Annotation {
	drawn := make([]porcupine.Annotation, len(faults))
	for i, f := range faults {
		drawn[i] = porcupine.Annotation{Tag: f.Lane, Start: int64(f.Begin), End: int64(f.End), Description: f.What, BackgroundColor: "#ffd9a0"}
	}
	return drawn
}

// register is the history of one page.
type register struct {
	at      Place
	initial Value
	ops     []porcupine.Operation
}

// access is what one operation does to a page.
type access struct {
	write bool
	value Value
	lsn   wal.LSN // of a write
	rank  int     // of a write among the page's, by LSN, from 1
	// reads is the number of reads of the value that a write replaces: as no value is
	// written twice, they all come before it, which spares the search a guess. -1 if
	// the value was there more than once.
	reads int
}

// held is the state of a page: what the write of that rank left, and how many have
// read it.
type held struct {
	value Value
	rank  int
	reads int
}

func (s held) step(a access) (bool, held) {
	switch {
	case !a.write:
		return a.value == s.value, held{s.value, s.rank, s.reads + 1}
	case a.rank != s.rank+1, a.reads >= 0 && a.reads != s.reads:
		return false, s
	}
	return true, held{a.value, a.rank, 0}
}

// model is the register. Each step that goes on takes one from the budget; without
// any left every step fails, which ends the search.
func (p *register) model(budget *int) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return held{value: p.initial} },
		Step: func(state, input, _ any) (bool, any) {
			ok, next := state.(held).step(input.(access))
			if ok {
				*budget--
			}
			return ok && *budget >= 0, next
		},
		Hash: func(state any) uint64 {
			s := state.(held)
			return (uint64(s.rank)<<24 ^ uint64(s.reads)) * 0x9E3779B97F4A7C15
		},
		DescribeOperation: func(input, _ any) string {
			if a := input.(access); a.write {
				return fmt.Sprintf("write %d at %v", a.value, a.lsn)
			}
			return fmt.Sprintf("read %d", input.(access).value)
		},
		DescribeState: func(state any) string { return fmt.Sprintf("holds %d", state.(held).value) },
	}
}

// registers gathers the history of every page that has one, with unknown writes
// resolved by the log, in order of first appearance.
func registers(r *Run, j *judge) []*register {
	g := &gathering{byPlace: map[Place]*register{}, lsns: map[Value]wal.LSN{}}
	for _, v := range r.Log.Versions {
		if v.Tx != 0 {
			g.lsns[v.Value] = v.LSN
		}
	}
	for i := range r.Ops {
		op := &r.Ops[i]
		switch {
		case op.Kind == Write:
			g.write(op)
		case op.Kind == LatestRead && op.Outcome == OK && op.Confirmed:
			for _, p := range op.Pages {
				g.add(Place{op.Branch, p.Page}, op, op.Return, access{value: p.Value})
			}
		case op.Kind == LatestRead && op.Outcome == OK:
			j.skip("unconfirmed reads")
		}
	}
	replay := NewReplay(&r.Log)
	for _, v := range r.Log.Versions {
		if p := g.byPlace[Place{v.Branch, v.Page}]; p != nil && v.Tx == 0 && v.LSN > replay.start(v.Branch) {
			g.add(p.at, &Op{}, Never, access{write: true, value: v.Value, lsn: v.LSN})
		}
	}
	for _, p := range g.registers {
		p.initial = replay.At(p.at.Branch, p.at.Page, replay.start(p.at.Branch)).Value
		if left := p.bound(); left > 0 {
			j.verdict.Skipped.Add("late operations of busy pages", left)
		}
		p.rank()
	}
	return g.registers
}

type gathering struct {
	byPlace   map[Place]*register
	registers []*register
	lsns      map[Value]wal.LSN
}

// write adds each page of a transaction that came into effect: acknowledged, or in
// the log whatever the client was told.
func (g *gathering) write(op *Op) {
	for _, p := range op.Pages {
		lsn, inLog := g.lsns[p.Value]
		end := Never
		if op.Outcome == OK {
			end = op.Return
			if !inLog {
				lsn = cmp.Or(p.LSN, op.LSN)
			}
		} else if !inLog {
			continue
		}
		g.add(Place{op.Branch, p.Page}, op, end, access{write: true, value: p.Value, lsn: lsn})
	}
}

func (g *gathering) add(at Place, op *Op, end Event, a access) {
	p := g.byPlace[at]
	if p == nil {
		p = &register{at: at}
		g.byPlace[at] = p
		g.registers = append(g.registers, p)
	}
	p.ops = append(p.ops, porcupine.Operation{ClientId: int(op.Client), Input: a, Call: int64(op.Call), Return: int64(end)})
}

// bound cuts a history that is too long at an event. Every write that was called
// before it stays, and every read that returned: they can have seen no other write.
func (p *register) bound() (left int) {
	slices.SortStableFunc(p.ops, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
	if len(p.ops) <= opsPerPageMax {
		return 0
	}
	cut, all := p.ops[opsPerPageMax].Call, len(p.ops)
	p.ops = slices.DeleteFunc(p.ops[:opsPerPageMax], func(o porcupine.Operation) bool {
		return !o.Input.(access).write && o.Return > cut
	})
	return all - len(p.ops)
}

// rank numbers the writes by LSN and counts the reads that each must wait for.
func (p *register) rank() {
	reads, held := map[Value]int{}, map[Value]int{p.initial: 1}
	var writes []*porcupine.Operation
	for i := range p.ops {
		if a := p.ops[i].Input.(access); a.write {
			held[a.value]++
			writes = append(writes, &p.ops[i])
		} else {
			reads[a.value]++
		}
	}
	slices.SortStableFunc(writes, func(a, b *porcupine.Operation) int {
		return compareLSN(a.Input.(access).lsn, b.Input.(access).lsn)
	})
	before := p.initial
	for i, w := range writes {
		a := w.Input.(access)
		a.rank, a.reads = i+1, reads[before]
		if held[before] > 1 {
			a.reads = -1
		}
		before, w.Input = a.value, a
	}
}
