package report

import (
	"cmp"
	"slices"

	"github.com/varvedb/varve/sim"
	"github.com/varvedb/varve/sim/world"
)

// divergence is where a failed run leaves a neighbour that passes.
type divergence struct {
	Neighbour string // what is different in the neighbour
	Index     int    // of the first entry that differs, from 0
	Failed    []world.Entry
	Passed    []world.Entry
}

// neighboursMax bounds, of each sort, the runs that look for a neighbour which passes.
const neighboursMax = 24

// neighbour is a run that is another one in one thing.
type neighbour struct {
	what string
	opts sim.Options
	tape *world.Tape
}

// diverge looks for a neighbour that passes. It returns nil if there is none, or if the
// run passes itself.
func diverge(failed *recording, tape *world.Tape) *divergence {
	if failed.result.OK() {
		return nil
	}
	for _, n := range slices.Concat(disarmed(failed.result, tape), redrawn(failed.result)) {
		if sim.Run(n.opts, sim.Play{Tape: n.tape}).OK() {
			return compare(failed.result.Options, tape, n)
		}
	}
	return nil
}

// disarmed are the neighbours that lack a kind of fault, of those that fired.
func disarmed(failed *sim.Result, tape *world.Tape) (all []neighbour) {
	for _, fault := range failed.Fired {
		if fault.N == 0 || len(all) == neighboursMax {
			continue
		}
		opts := failed.Options
		if opts.Without(fault.Name) == nil {
			all = append(all, neighbour{"without " + fault.Name, opts, tape})
		}
	}
	return all
}

// redrawn are the neighbours in which one stream of decisions is another one from its
// middle on: the longest streams, which decide most, come first.
func redrawn(failed *sim.Result) (all []neighbour) {
	order := slices.Clone(failed.Tape.Streams)
	slices.SortStableFunc(order, func(a, b world.TapeStream) int { return cmp.Compare(len(b.Values), len(a.Values)) })
	for _, s := range order[:min(len(order), neighboursMax)] {
		random, from := world.NewStream(failed.Tape.Seed, "neighbour "+s.Name), len(s.Values)/2
		// A run that goes another way may need more.
		values := append(slices.Clone(s.Values), make([]uint32, from)...)
		for i := from; i < len(values); i++ {
			values[i] = uint32(random.Uint64())
		}
		tape := &world.Tape{Seed: failed.Tape.Seed, Streams: slices.Clone(failed.Tape.Streams)}
		at := slices.IndexFunc(tape.Streams, func(other world.TapeStream) bool { return other.Name == s.Name })
		tape.Streams[at].Values = values
		all = append(all, neighbour{"with " + s.Name + " drawn anew from its middle on", failed.Options, tape})
	}
	return all
}

// compare finds the first entry in which a run differs from its neighbour. Digests of all
// entries are kept first, so that neither run needs to be.
func compare(failed sim.Options, tape *world.Tape, n neighbour) *divergence {
	digests := func(opts sim.Options, tape *world.Tape) (all []uint64) {
		record(opts, tape, keep{near: -1, digest: func(d uint64) { all = append(all, d) }})
		return all
	}
	a, b := digests(failed, tape), digests(n.opts, n.tape)
	d := &divergence{Neighbour: n.what}
	for d.Index < min(len(a), len(b)) && a[d.Index] == b[d.Index] {
		d.Index++
	}
	d.Failed = record(failed, tape, keep{near: d.Index}).near
	d.Passed = record(n.opts, n.tape, keep{near: d.Index}).near
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
