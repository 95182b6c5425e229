package report

import (
	"slices"

	"github.com/varvedb/varve/sim"
	"github.com/varvedb/varve/sim/world"
)

// divergence is where a failed run leaves a neighbour that passes.
type divergence struct {
	Without string // the fault that the neighbour lacks
	Index   int    // of the first entry that differs, from 0
	Failed  []world.Entry
	Passed  []world.Entry
}

// neighboursMax bounds the runs that look for a neighbour which passes.
const neighboursMax = 24

// diverge looks for a neighbour that passes. It returns nil if there is none, or if the
// run passes itself.
func diverge(failed *recording, tape *world.Tape) *divergence {
	if failed.result.OK() {
		return nil
	}
	tried := 0
	for _, fault := range failed.result.Fired {
		if fault.N == 0 || tried == neighboursMax {
			continue
		}
		tried++
		opts := failed.result.Options
		if opts.Without(fault.Name) != nil {
			continue
		}
		if sim.Run(opts, sim.Play{Tape: tape}).OK() {
			return compare(failed.result.Options, opts, tape, fault.Name)
		}
	}
	return nil
}

// compare finds the first entry in which two runs differ. Digests of all entries are
// kept first, so that neither run needs to be.
func compare(failed, passed sim.Options, tape *world.Tape, without string) *divergence {
	digests := func(opts sim.Options) (all []uint64) {
		record(opts, tape, keep{near: -1, digest: func(d uint64) { all = append(all, d) }})
		return all
	}
	a, b := digests(failed), digests(passed)
	d := &divergence{Without: without}
	for d.Index < min(len(a), len(b)) && a[d.Index] == b[d.Index] {
		d.Index++
	}
	d.Failed = record(failed, tape, keep{near: d.Index}).near
	d.Passed = record(passed, tape, keep{near: d.Index}).near
	return d
}

// at returns the failed run's entry of the divergence.
func (d *divergence) at() world.Entry {
	return d.Failed[min(len(d.Failed)-1, min(d.Index, around))]
}

// rows pairs the entries around the divergence.
func (d *divergence) rows() (rows []row) {
	for i := range max(len(d.Failed), len(d.Passed)) {
		r := row{Index: max(0, d.Index-around) + i}
		if i < len(d.Failed) {
			r.Failed = d.Failed[i].String()
		}
		if i < len(d.Passed) {
			r.Passed = d.Passed[i].String()
		}
		r.Differs = r.Index >= d.Index && r.Failed != r.Passed
		rows = append(rows, r)
	}
	return slices.Clip(rows)
}

// row is one line of the comparison.
type row struct {
	Index          int
	Failed, Passed string
	Differs        bool
}
