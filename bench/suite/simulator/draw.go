package simulator

import (
	"maps"
	"slices"
	"time"

	"github.com/varvedb/varve/bench"
	"github.com/varvedb/varve/sim"
	"github.com/varvedb/varve/sim/world"
)

const (
	binWidth   = 250 * time.Millisecond
	drawnStorm = 30 * time.Second
	candidates = 4 // seeds, of which the one with most faults is drawn
)

// picture is a simulated run over virtual time: how often something was made durable,
// and its faults.
type picture struct {
	seed   uint64
	end    time.Duration
	counts []float64 // syncs of all nodes, by bin
	bands  bench.Series
	events bench.Series
	open   map[string]map[string]bool // where a fault lasts, by its label
	began  map[string]time.Duration   // when it began to anywhere
}

// draw keeps a simulated run under faults.
func (b *suite) draw() error {
	var most *picture
	for n := range candidates {
		opts, err := sim.Draw(b.s.Seed+uint64(n), "all")
		if err != nil {
			return err
		}
		opts.Storm = min(opts.Storm, drawnStorm)
		p := newPicture(opts.Storm)
		p.seed = opts.Seed
		sim.Run(opts, sim.Play{Log: p.see})
		p.close()
		if most == nil || len(p.bands.XS)+len(p.events.XS) > len(most.bands.XS)+len(most.events.XS) {
			most = p
		}
	}
	b.s.Plot(most.series(), most.bands, most.events)
	return nil
}

func newPicture(end time.Duration) *picture {
	const figure, x = "throughput-simulated", "virtual seconds"
	return &picture{
		end: end, counts: make([]float64, int(end/binWidth)), open: map[string]map[string]bool{}, began: map[string]time.Duration{},
		bands: bench.Series{Figure: figure, Name: "bands", X: x}, events: bench.Series{Figure: figure, Name: "events", X: x},
	}
}

// see takes an entry of the trace.
func (p *picture) see(e world.Entry) {
	if e.At >= p.end {
		return
	}
	switch e.Kind {
	case world.KindSync:
		p.counts[min(int(e.At/binWidth), len(p.counts)-1)]++
	case world.KindPause:
		p.toggle("a node stands still", e.Node, true, e.At)
	case world.KindResume:
		p.toggle("a node stands still", e.Node, false, e.At)
	case world.KindLink:
		p.toggle("a link is cut", e.Text, e.Payload&1 == 1, e.At)
	case world.KindClog:
		p.toggle("a link is clogged", e.Node+e.Text, e.Payload == 1, e.At)
	case world.KindFull:
		p.toggle("a disk is full", e.Node, e.Payload == 1, e.At)
	case world.KindThrottle:
		p.toggle("the bucket refuses", e.Node, e.Payload == 1, e.At)
	case world.KindKill, world.KindCrash:
		p.events.XS, p.events.YS = append(p.events.XS, e.At.Seconds()), append(p.events.YS, 0)
		p.events.Labels = append(p.events.Labels, e.Node+" dies")
	}
}

// toggle begins a fault that lasts somewhere, or ends it. Its band is as long as there is
// any of the kind.
func (p *picture) toggle(label, where string, begins bool, at time.Duration) {
	open := p.open[label]
	if open == nil {
		open = map[string]bool{}
		p.open[label] = open
	}
	before := len(open)
	if begins {
		open[where] = true
	} else {
		delete(open, where)
	}
	switch {
	case before == 0 && len(open) == 1:
		p.began[label] = at
	case before == 1 && len(open) == 0:
		p.band(label, at)
	}
}

// close ends the faults that last longer than the picture where it ends.
func (p *picture) close() {
	for _, label := range slices.Sorted(maps.Keys(p.open)) {
		if len(p.open[label]) > 0 {
			p.band(label, p.end)
		}
	}
	clear(p.open)
}

func (p *picture) band(label string, end time.Duration) {
	p.bands.XS, p.bands.YS = append(p.bands.XS, p.began[label].Seconds()), append(p.bands.YS, end.Seconds())
	p.bands.Labels = append(p.bands.Labels, label)
}

func (p *picture) series() bench.Series {
	s := bench.Series{Figure: p.bands.Figure, Name: "syncs of all nodes", X: p.bands.X, Y: "syncs per virtual second", Seed: p.seed}
	for i, n := range p.counts {
		s.XS, s.YS = append(s.XS, (time.Duration(i)*binWidth).Seconds()), append(s.YS, n/binWidth.Seconds())
	}
	return s
}
