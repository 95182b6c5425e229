package simulator

import (
	"time"

	"github.com/varvedb/varve/bench"
	"github.com/varvedb/varve/sim"
	"github.com/varvedb/varve/sim/world"
)

// draw keeps a simulated run under faults over virtual time: how often safekeepers made
// something durable, when nodes stood still, and when they died.
func (b *suite) draw() error {
	const figure, x, bin = "throughput-simulated", "virtual seconds", 250 * time.Millisecond
	opts, err := sim.Draw(b.s.Seed, "all")
	if err != nil {
		return err
	}
	opts.Storm = min(opts.Storm, 30*time.Second)
	end := opts.Storm + 5*time.Second
	counts := make([]float64, int(end/bin))
	bands := bench.Series{Figure: figure, Name: "bands", X: x}
	events := bench.Series{Figure: figure, Name: "events", X: x}
	paused := map[string]time.Duration{}
	sim.Run(opts, sim.Play{Log: func(e world.Entry) {
		if e.At >= end {
			return
		}
		switch e.Kind {
		case world.KindSync:
			if at := int(e.At / bin); at < len(counts) {
				counts[at]++
			}
		case world.KindPause:
			paused[e.Node] = e.At
		case world.KindResume:
			if from, ok := paused[e.Node]; ok {
				bands.XS, bands.YS = append(bands.XS, from.Seconds()), append(bands.YS, e.At.Seconds())
				bands.Labels = append(bands.Labels, "a node stands still")
				delete(paused, e.Node)
			}
		case world.KindKill, world.KindCrash:
			events.XS, events.YS = append(events.XS, e.At.Seconds()), append(events.YS, 0)
			events.Labels = append(events.Labels, e.Node)
		}
	}})
	series := bench.Series{Figure: figure, Name: "syncs of all nodes", X: x, Y: "syncs per virtual second"}
	for i, n := range counts {
		series.XS, series.YS = append(series.XS, (time.Duration(i)*bin).Seconds()), append(series.YS, n/bin.Seconds())
	}
	b.s.Plot(series, bands, events)
	return nil
}
