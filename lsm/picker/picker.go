package picker

import (
	"cmp"
	"slices"

	"github.com/varvedb/varve/lsm/kv"
	"github.com/varvedb/varve/lsm/layer"
	"github.com/varvedb/varve/wal"
)

// Layer is what the picker knows of a layer.
type Layer struct {
	layer.ID
	Level  uint8
	Bytes  int64
	Walked int64 // bytes of deltas that reads took from it
	// Settled: it was made for its reads; that alone is no reason to make it anew.
	Settled bool
	// Aside: it cannot be read, so no job has it or reaches across it.
	Aside bool
}

// Options tune the picker.
type Options struct {
	Flushed    int   // layers of level 0 that are merged together, at least
	InputsMax  int   // layers of level 0 that are merged together, at most
	Fanout     int   // tiers of alike sizes that are merged
	LayerBytes int64 // size at which a layer is closed
}

// Kind says why layers are merged.
type Kind uint8

// The kinds of jobs.
const (
	Flushed Kind = iota + 1
	Collect
	Read
	Tiers
)

func (k Kind) String() string {
	return [...]string{"none", "flushed", "collect", "read", "tiers"}[k]
}

// Job is layers to be merged: inputs in order of LSN, then key.
type Job struct {
	Kind   Kind
	Inputs []int // numbers of the given layers
	LSNLo  wal.LSN
	LSNHi  wal.LSN
	Guards []kv.Key // keys at which new layers are cut, in order
}

const (
	// collectShare: a part is collected when what is new below the cutoff is a quarter
	// of what was collected. Less: level 2 is written more often; more: more garbage.
	collectShare = 4
	// readGain is how many bytes of deltas reads must have taken for each byte of
	// layers: redo costs about as much a byte as a merge, and the next reads pay again.
	readGain = 4
	// alike: tiers count as of alike sizes up to this factor.
	alike = 4
)

// Pick returns the most pressing job; ok is false if there is none. History below
// cutoff may be collected.
func Pick(layers []Layer, cutoff wal.LSN, opts Options) (job Job, ok bool) {
	guards := Guards(layers, opts)
	if job, ok := pickFlushed(layers, opts); ok {
		job.Guards = guards
		return job, true
	}
	parts := partsOf(layers)
	for _, pick := range []func(*part) (Job, bool){
		func(p *part) (Job, bool) { return p.collect(cutoff) },
		func(p *part) (Job, bool) { return p.read() },
		func(p *part) (Job, bool) { return p.tiers(opts.Fanout) },
	} {
		for i := range parts {
			if job, ok := pick(&parts[i]); ok {
				job.Guards = guards
				return job, true
			}
		}
	}
	return Job{}, false
}

// CollectAll returns a job for every part that has anything new below cutoff, whatever
// it would gain, what lies across the cutoff with it; or for every part, if pins have
// gone since level 2 was made.
func CollectAll(layers []Layer, cutoff wal.LSN, pinsGone bool, opts Options) (jobs []Job) {
	guards := Guards(layers, opts)
	parts := partsOf(layers)
	for i := range parts {
		begun := parts[i].tiersBelow(func(t *tier) bool { return t.lo < cutoff })
		if len(begun) == 0 || !pinsGone && !slices.ContainsFunc(begun, func(t tier) bool { return t.level1 }) {
			continue
		}
		job := parts[i].jobOf(Collect, begun)
		job.Guards = guards
		jobs = append(jobs, job)
	}
	return jobs
}

// FlushedAll returns the job that merges layers of level 0, however few; ok is false
// if there are none.
func FlushedAll(layers []Layer, opts Options) (job Job, ok bool) {
	few := opts
	few.Flushed = 1
	job, ok = pickFlushed(layers, few)
	job.Guards = Guards(layers, opts)
	return job, ok
}

// Renumber returns the job with the numbers that its inputs have among other layers, of
// which they are still part.
func (j Job) Renumber(from, to []Layer) Job {
	inputs := j.Inputs
	j.Inputs = make([]int, len(inputs))
	for i, n := range inputs {
		j.Inputs[i] = slices.IndexFunc(to, func(l Layer) bool { return l.ID == from[n].ID })
	}
	return j
}

// pickFlushed takes the oldest layers of level 0 that lie together, none that is set aside
// among them. Those that merged layers lie above, because one was set aside, are taken
// however few: no more will come.
func pickFlushed(layers []Layer, opts Options) (job Job, ok bool) {
	top := topOf(layers)
	for _, run := range flushedRuns(layers, top) {
		if passed := layers[run[len(run)-1]].LSNHi <= top; passed || len(run) >= opts.Flushed {
			job.Kind, job.Inputs = Flushed, run[:min(len(run), opts.InputsMax)]
			return job.span(layers), true
		}
	}
	return Job{}, false
}

// topOf is the LSN that no merged delta layer lies above. Layers of level 0 do, but for
// those that had to be passed.
func topOf(layers []Layer) (top wal.LSN) {
	for i := range layers {
		if layers[i].Level > 0 && layers[i].Kind == layer.Delta {
			top = max(top, layers[i].LSNHi)
		}
	}
	return top
}

// flushedRuns are the layers of level 0 that may be merged with each other, oldest first.
func flushedRuns(layers []Layer, top wal.LSN) (runs [][]int) {
	var flushed, run []int
	for i := range layers {
		if layers[i].Level == 0 {
			flushed = append(flushed, i)
		}
	}
	sortInputs(layers, flushed)
	for _, i := range flushed {
		if n := len(run); n > 0 && (layers[i].Aside || isParted(layers, run[n-1], i, top)) {
			runs, run = append(runs, run), nil
		}
		if !layers[i].Aside {
			run = append(run, i)
		}
	}
	if len(run) > 0 {
		runs = append(runs, run)
	}
	return runs
}

// isParted reports whether some merged delta layer may lie between two of level 0.
func isParted(layers []Layer, older, newer int, top wal.LSN) bool {
	return layers[older].LSNHi <= top && slices.ContainsFunc(layers, func(l Layer) bool {
		return l.Level > 0 && l.Kind == layer.Delta && l.LSNLo < layers[newer].LSNHi && l.LSNHi > layers[older].LSNLo
	})
}

// span fills in the LSNs of the inputs.
func (j Job) span(layers []Layer) Job {
	j.LSNLo = ^wal.LSN(0)
	for _, i := range j.Inputs {
		if layers[i].Kind == layer.Delta {
			j.LSNLo, j.LSNHi = min(j.LSNLo, layers[i].LSNLo), max(j.LSNHi, layers[i].LSNHi)
		}
	}
	return j
}

func sortInputs(layers []Layer, inputs []int) {
	slices.SortStableFunc(inputs, func(a, b int) int {
		if c := cmp.Compare(layers[a].LSNHi, layers[b].LSNHi); c != 0 {
			return c
		}
		return layers[a].KeyLo.Compare(layers[b].KeyLo)
	})
}

// Guards are the first keys of the large layers: where they begin, so do new ones.
func Guards(layers []Layer, opts Options) (guards []kv.Key) {
	for i := range layers {
		if layers[i].Level > 0 && layers[i].Bytes >= opts.LayerBytes/2 {
			guards = append(guards, layers[i].KeyLo)
		}
	}
	slices.SortFunc(guards, kv.Key.Compare)
	return slices.Compact(guards)
}

// part is layers of levels 1 and 2 whose key ranges hang together. Layers of level 0 that
// merged ones lie above are part of it as well, as such that nothing reaches across.
type part struct {
	all    []Layer
	deltas []int // in order of LSNHi, then key
	images []int
}

func partsOf(layers []Layer) (parts []part) {
	var order []int
	top := topOf(layers)
	for i := range layers {
		if layers[i].Level > 0 || layers[i].LSNHi <= top {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return layers[a].KeyLo.Compare(layers[b].KeyLo) })
	var last kv.Key
	for n, i := range order {
		if n == 0 || last.Less(layers[i].KeyLo) {
			parts, last = append(parts, part{all: layers}), layers[i].KeyHi
		}
		if last.Less(layers[i].KeyHi) {
			last = layers[i].KeyHi
		}
		p := &parts[len(parts)-1]
		if layers[i].Kind == layer.Image {
			p.images = append(p.images, i)
		} else {
			p.deltas = append(p.deltas, i)
		}
	}
	for i := range parts {
		sortInputs(layers, parts[i].deltas)
	}
	return parts
}

// tier is the delta layers of a part between two LSNs that none lies across.
type tier struct {
	layers []int
	lo, hi wal.LSN
	bytes  int64
	level1 bool // some layer is of level 1
	aside  bool // some layer is not to be merged
}

// tiersOf is the part's tiers, lowest first.
func (p *part) tiersOf() (tiers []tier) {
	order := slices.Clone(p.deltas)
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(p.all[a].LSNLo, p.all[b].LSNLo) })
	for _, i := range order {
		l := &p.all[i]
		if len(tiers) == 0 || l.LSNLo >= tiers[len(tiers)-1].hi {
			tiers = append(tiers, tier{lo: l.LSNLo})
		}
		t := &tiers[len(tiers)-1]
		t.layers, t.hi, t.bytes = append(t.layers, i), max(t.hi, l.LSNHi), t.bytes+l.Bytes
		t.level1 = t.level1 || l.Level == 1
		t.aside = t.aside || l.Aside || l.Level == 0
	}
	return tiers
}

// jobOf merges tiers, which are neighbours.
func (p *part) jobOf(kind Kind, tiers []tier) Job {
	j := Job{Kind: kind}
	for i := range tiers {
		j.Inputs = append(j.Inputs, tiers[i].layers...)
	}
	if kind == Collect {
		j.Inputs = append(j.Inputs, p.images...)
	}
	sortInputs(p.all, j.Inputs)
	return j.span(p.all)
}

// tiersBelow is the lowest tiers that all are below something.
func (p *part) tiersBelow(isBelow func(*tier) bool) []tier {
	if slices.ContainsFunc(p.images, func(i int) bool { return p.all[i].Aside }) {
		return nil // a collection takes all that lies at the bottom
	}
	tiers := p.tiersOf()
	n := 0
	for n < len(tiers) && isBelow(&tiers[n]) && !tiers[n].aside {
		n++
	}
	return tiers[:n]
}

// collect merges all that lies below the cutoff, if what is new there is a share of
// what was collected.
func (p *part) collect(cutoff wal.LSN) (Job, bool) {
	var fresh, old int64
	below := p.tiersBelow(func(t *tier) bool { return t.hi <= cutoff })
	for i := range below {
		if below[i].level1 {
			fresh += below[i].bytes
		} else {
			old += below[i].bytes
		}
	}
	for _, i := range p.images {
		old += p.all[i].Bytes
	}
	if fresh == 0 || fresh*collectShare < old {
		return Job{}, false
	}
	return p.jobOf(Collect, below), true
}

// read merges all tiers that reads have paid for, from the lowest such to the top.
func (p *part) read() (Job, bool) {
	tiers := p.tiersOf()
	var bytes, walked int64
	best := -1
	for i := len(tiers) - 1; i >= 0 && !tiers[i].aside; i-- {
		settled := true
		for _, n := range tiers[i].layers {
			walked += p.all[n].Walked
			settled = settled && p.all[n].Settled
		}
		bytes += tiers[i].bytes
		if walked >= readGain*bytes && !(settled && i == len(tiers)-1) {
			best = i
		}
	}
	if best < 0 {
		return Job{}, false
	}
	return p.jobOf(Read, tiers[best:]), true
}

// tiers merges neighbouring tiers of alike sizes, the newest such.
func (p *part) tiers(fanout int) (Job, bool) {
	tiers := p.tiersOf()
	for last := len(tiers); last >= fanout; last-- {
		run := tiers[last-fanout : last]
		if slices.ContainsFunc(run, func(t tier) bool { return t.aside }) {
			continue
		}
		least, most := run[0].bytes, run[0].bytes
		for i := range run {
			least, most = min(least, run[i].bytes), max(most, run[i].bytes)
		}
		if most <= alike*least {
			return p.jobOf(Tiers, run), true
		}
	}
	return Job{}, false
}
