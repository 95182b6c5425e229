package sim

import (
	"fmt"
	"time"

	"github.com/varvedb/varve/sim/check"
	"github.com/varvedb/varve/sim/world"
)

// episodes makes, of what a world tells of its faults, the faults of a picture: each
// with what it hit, from its begin to its end.
type episodes struct {
	tick  func() check.Event
	all   []check.Fault
	open  map[string]int  // by what began: its place in all
	going map[int]bool    // by place
	lanes map[string]bool // that an open fault takes
	cuts  map[string]int  // by link: the open fault that cut it
	links map[int]int     // by fault: how many links it still cuts
	kind  string          // of the latest episode
	cut   int             // the fault that the latest links belong to
	cutAt time.Duration
}

func newEpisodes(tick func() check.Event) *episodes {
	return &episodes{
		tick: tick, open: map[string]int{}, going: map[int]bool{}, lanes: map[string]bool{},
		cuts: map[string]int{}, links: map[int]int{}, cut: -1,
	}
}

// passing is the faults that are too many to be drawn, and over before anyone looks.
var passing = map[string]bool{
	world.NetDelay.String(): true, world.NetShortRead.String(): true, world.NetLate.String(): true,
	world.DiskEarly.String(): true, world.DiskSlow.String(): true, world.DiskLoss.String(): true, world.DiskTorn.String(): true,
	world.BucketSlow.String(): true, world.SchedYield.String(): true, world.SchedWake.String(): true, world.SchedOffload.String(): true,
}

// take takes one thing that a fault did, or that ended one.
func (x *episodes) take(e world.Entry) {
	switch e.Kind {
	case world.KindFault:
		x.fault(e)
	case world.KindLink:
		x.link(e)
	case world.KindKill, world.KindCrash:
		x.begin(e.Node+" down", e.Node, map[world.Kind]string{world.KindKill: "without power", world.KindCrash: "its process died"}[e.Kind])
	case world.KindStart:
		x.end(e.Node + " down")
		x.end(e.Node + " paused")
	case world.KindWipe:
		x.once(e.Node, "its disk is emptied")
	case world.KindPause:
		x.begin(e.Node+" paused", e.Node, "paused")
	case world.KindResume:
		x.end(e.Node + " paused")
	case world.KindClock:
		x.once(e.Node, fmt.Sprintf("its time of day jumps by %v", time.Duration(e.Payload)))
	case world.KindFull:
		x.toggle(e, "its disk is full")
	case world.KindThrottle:
		x.toggle(e, "the bucket refuses it")
	case world.KindClog:
		x.toggle(e, "clogged: "+e.Text)
	case world.KindSlow:
		x.toggle(e, fmt.Sprintf("slow: a turn takes %v", time.Duration(e.Payload)))
	}
}

// fault notes a fault of chance at a node, or which kind of episode begins.
func (x *episodes) fault(e world.Entry) {
	switch {
	case e.Node == "":
		x.kind = e.Text
	case !passing[e.Text]:
		x.once(e.Node, e.Text)
	}
}

// link adds a link that was cut to the episode that cuts it: all that is cut at one
// moment is one fault, and it ends with the last of its links.
func (x *episodes) link(e world.Entry) {
	if e.Payload&1 == 1 {
		if x.cut < 0 || e.At != x.cutAt || !x.going[x.cut] {
			x.cut, x.cutAt = x.add(x.kind, "cut:"), e.At
		}
		x.all[x.cut].What += " " + e.Text
		x.cuts[e.Text] = x.cut
		x.links[x.cut]++
		return
	}
	n, cut := x.cuts[e.Text]
	if !cut {
		return
	}
	delete(x.cuts, e.Text)
	if x.links[n]--; x.links[n] == 0 {
		x.close(n)
	}
}

func (x *episodes) toggle(e world.Entry, what string) {
	if name := e.Node + " " + e.Kind.String() + " " + e.Text; e.Payload != 0 {
		x.begin(name, e.Node, what)
	} else {
		x.end(name)
	}
}

// begin begins a fault, unless it is going on.
func (x *episodes) begin(name, lane, what string) {
	if _, on := x.open[name]; !on {
		x.open[name] = x.add(lane, what)
	}
}

func (x *episodes) end(name string) {
	if n, on := x.open[name]; on {
		delete(x.open, name)
		x.close(n)
	}
}

// add begins a fault in a lane that no other takes now.
func (x *episodes) add(lane, what string) int {
	free := lane
	for n := 2; x.lanes[free]; n++ {
		free = fmt.Sprintf("%s (%d)", lane, n)
	}
	x.lanes[free] = true
	x.going[len(x.all)] = true
	x.all = append(x.all, check.Fault{Begin: x.tick(), Lane: free, What: what})
	return len(x.all) - 1
}

func (x *episodes) close(n int) {
	x.all[n].End = x.tick()
	x.leave(n)
}

func (x *episodes) once(lane, what string) { x.leave(x.add(lane, what)) }

func (x *episodes) leave(n int) {
	delete(x.going, n)
	delete(x.lanes, x.all[n].Lane)
}

// faults is all of them. What has not ended lasts up to now.
func (x *episodes) faults() []check.Fault {
	now := x.tick()
	for n := range x.all {
		if x.going[n] {
			x.all[n].End = now
		}
	}
	return x.all
}
