package report

import (
	"time"

	"github.com/varvedb/varve/sim"
	"github.com/varvedb/varve/sim/world"
)

const (
	// marksMax bounds what is drawn over the whole run, arrowsMax what is drawn in the
	// window: a page of more is slow to open, and shows a grey bar.
	marksMax  = 20_000
	arrowsMax = 4_000
	// around is how many events are shown on both sides of a divergence.
	around = 12
)

// Window is a span of virtual time.
type Window struct{ From, To time.Duration }

func (w Window) holds(t time.Duration) bool { return w.From <= t && t <= w.To }

// valid reports whether the window has a length.
func (w Window) valid() bool { return w.To > w.From }

// recording is what was kept of a run's trace.
type recording struct {
	result  *sim.Result
	marks   []world.Entry // what happened to nodes, and what they noted, over the whole run
	arrows  []world.Entry // deliveries in the window
	near    []world.Entry // entries around an index
	dropped int           // marks and arrows beyond their bounds
}

// keep says what to keep of a trace.
type keep struct {
	window Window
	near   int            // index of an entry to keep the neighbours of; -1: none
	digest func(d uint64) // if not nil: receives a digest of each entry, in order
}

// record runs a run again and keeps its trace.
func record(opts sim.Options, tape *world.Tape, k keep) *recording {
	r, n := &recording{}, 0
	r.result = sim.Run(opts, sim.Play{Tape: tape, Log: func(e world.Entry) {
		if k.digest != nil {
			k.digest(digest(e))
		}
		if k.near >= 0 && n >= k.near-around && n <= k.near+around {
			r.near = append(r.near, e)
		}
		n++
		switch e.Kind {
		case world.KindDeliver:
			if k.window.holds(e.At) {
				r.arrows = r.bounded(r.arrows, e, arrowsMax)
			}
		case world.KindStep, world.KindWrite, world.KindSync, world.KindPut, world.KindDelete, world.KindCover:
		default:
			r.marks = r.bounded(r.marks, e, marksMax)
		}
	}})
	return r
}

func (r *recording) bounded(list []world.Entry, e world.Entry, most int) []world.Entry {
	if len(list) == most {
		r.dropped++
		return list
	}
	return append(list, e)
}

// digest is equal for equal entries.
func digest(e world.Entry) uint64 {
	h := uint64(14695981039346656037)
	mix := func(v uint64) { h = (h ^ v) * 0x9E3779B97F4A7C15; h ^= h >> 29 }
	mix(uint64(e.At))
	mix(uint64(e.Kind))
	mix(e.Payload)
	for _, c := range []byte(e.Node) {
		mix(uint64(c))
	}
	return h
}
