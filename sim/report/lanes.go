package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/varvedb/varve/sim/world"
)

// The picture's measures, in pixels.
const (
	width      = 1400
	labelWidth = 90
	laneHeight = 46
	axisHeight = 28
	barHeight  = 14

	letterWidth = 6.0 // about
)

// picture is a drawing of lanes, one for each node, over a window of time.
type picture struct {
	Title         string
	Width, Height int
	Lanes         []lane
	Bands         []band
	Marks         []mark
	Arrows        []arrow
	Ticks         []tick
	Broke         float64 // where the run ended, if that is what failed and it is in the window; else 0
}

type lane struct {
	Name   string
	Y, Mid int
}

// band is a span of time in a lane: the node was up, was paused, was cut off.
type band struct {
	Class      string
	X, Y, W, H float64
	Title      string
}

// mark is one thing that happened in a lane.
type mark struct {
	Class  string
	X, Y   float64
	Label  string // drawn beside it; mostly empty
	Below  bool   // the label is below the lane's bar
	Anchor string // of the label
	Title  string
}

// arrow is a message.
type arrow struct {
	X1, Y1, X2, Y2 float64
	Title          string
}

type tick struct {
	X    float64
	Text string
}

// drawing makes a picture.
type drawing struct {
	picture
	window Window
	ends   time.Duration // of the run
	rows   map[string]int
	last   map[string]float64 // where a row's last label ends
}

// draw draws the lanes of a recording over a window.
func draw(title string, r *recording, window Window) picture {
	d := &drawing{window: window, ends: r.result.Virtual, rows: map[string]int{}, last: map[string]float64{}}
	d.Title, d.Width = title, width
	for _, name := range nodesOf(r) {
		d.rows[name] = len(d.Lanes)
		y := axisHeight + len(d.Lanes)*laneHeight
		d.Lanes = append(d.Lanes, lane{Name: name, Y: y, Mid: y + laneHeight/2})
	}
	d.Height = axisHeight + len(d.Lanes)*laneHeight + 8
	d.axis()
	d.bands(r.marks)
	for _, e := range r.marks {
		d.mark(e)
	}
	for _, e := range r.arrows {
		d.arrow(e)
	}
	if broke(r.result) && window.holds(d.ends) {
		d.Broke = d.x(d.ends)
	}
	return d.picture
}

// world is the lane of what belongs to no node: links that are cut.
const worldLane = "network"

// nodesOf names the lanes: safekeepers, pageservers, computes, who else there is, and the
// network last.
func nodesOf(r *recording) []string {
	var names []string
	for _, e := range r.marks {
		if e.Node != "" && !slices.Contains(names, e.Node) {
			names = append(names, e.Node)
		}
	}
	order := func(name string) int {
		kinds := []string{"sk", "ps", "compute"}
		if i := slices.Index(kinds, strings.TrimRight(name, "0123456789")); i >= 0 {
			return i
		}
		return len(kinds)
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(cmp.Compare(order(a), order(b)), cmp.Compare(a, b)) })
	return append(names, worldLane)
}

func laneOf(e world.Entry) string {
	if e.Node == "" {
		return worldLane
	}
	return e.Node
}

func (d *drawing) x(t time.Duration) float64 {
	t = min(max(t, d.window.From), d.window.To)
	part := float64(t-d.window.From) / float64(d.window.To-d.window.From)
	return labelWidth + part*(width-labelWidth-10)
}

func (d *drawing) axis() {
	const ticksMax = 14
	step := time.Millisecond
	for i := 0; (d.window.To-d.window.From)/step > ticksMax; i++ {
		step = step * []time.Duration{2, 5, 10}[i%3] / []time.Duration{1, 2, 5}[i%3]
	}
	for t := (d.window.From + step - 1) / step * step; t <= d.window.To; t += step {
		d.Ticks = append(d.Ticks, tick{d.x(t), t.String()})
	}
}

// bands draws what lasts: from the entry that begins it to the one that ends it.
func (d *drawing) bands(marks []world.Entry) {
	open := map[[2]string]time.Duration{}
	toggle := func(class, name string, on bool, at time.Duration) {
		key := [2]string{class, name}
		from, isOpen := open[key]
		switch {
		case on && !isOpen:
			open[key] = at
		case !on && isOpen:
			d.band(class, name, from, at)
			delete(open, key)
		}
	}
	for _, e := range marks {
		switch e.Kind {
		case world.KindStart:
			toggle("up", e.Node, true, e.At)
		case world.KindEnd, world.KindKill, world.KindCrash:
			toggle("up", e.Node, false, e.At)
			toggle("paused", e.Node, false, e.At)
		case world.KindPause:
			toggle("paused", e.Node, true, e.At)
		case world.KindResume:
			toggle("paused", e.Node, false, e.At)
		case world.KindLink:
			from, _, _ := strings.Cut(e.Text, ">")
			toggle("cut "+e.Text, from, e.Payload&1 == 1, e.At)
		case world.KindClog:
			toggle("hampered: clogged "+e.Text, e.Node, e.Payload != 0, e.At)
		case world.KindSlow:
			toggle("hampered: slow", e.Node, e.Payload != 0, e.At)
		case world.KindFull:
			toggle("hampered: disk full", e.Node, e.Payload != 0, e.At)
		case world.KindThrottle:
			toggle("hampered: throttled by the bucket", e.Node, e.Payload != 0, e.At)
		}
	}
	var left [][2]string
	//varve:unordered sorted below
	for key := range open {
		left = append(left, key)
	}
	slices.SortFunc(left, func(a, b [2]string) int { return slices.Compare(a[:], b[:]) })
	for _, key := range left {
		d.band(key[0], key[1], open[key], d.ends)
	}
}

func (d *drawing) band(class, name string, from, to time.Duration) {
	if to < d.window.From || from > d.window.To {
		return
	}
	y := float64(d.Lanes[d.rows[laneOf(world.Entry{Node: name})]].Mid - barHeight/2)
	b := band{Class: class, X: d.x(from), Y: y, H: barHeight, Title: fmt.Sprintf("%s %s from %v to %v", name, class, from, to)}
	if strings.HasPrefix(class, "cut ") {
		b.Class, b.Y, b.H = "cut", y+barHeight, 4
	}
	if strings.HasPrefix(class, "hampered") {
		b.Class, b.Y, b.H = "hampered", y-3, 3
	}
	b.W = max(1, d.x(to)-b.X)
	d.Bands = append(d.Bands, b)
}

// mark draws an entry that is of a moment.
func (d *drawing) mark(e world.Entry) {
	if !d.window.holds(e.At) || e.Kind == world.KindLink {
		return
	}
	m := mark{Class: e.Kind.String(), X: d.x(e.At), Y: float64(d.Lanes[d.rows[laneOf(e)]].Mid), Title: e.String()}
	if text := standing(e.Text); e.Kind == world.KindEvent && text != "" {
		m.Class = "standing"
		d.label(&m, laneOf(e), text)
	}
	if text := upset(e); text != "" {
		m.Below = true
		d.label(&m, laneOf(e)+" below", text)
	}
	d.Marks = append(d.Marks, m)
}

// label writes text beside a mark, unless it would cover the label before.
func (d *drawing) label(m *mark, row, text string) {
	wide := letterWidth*float64(len(text)) + letterWidth
	m.Anchor = "start"
	from, to := m.X, m.X+wide
	if to > width {
		m.Anchor, from, to = "end", m.X-wide, m.X
	}
	if last, ok := d.last[row]; ok && from < last {
		return
	}
	d.last[row], m.Label = to, text
}

// upset is what a fault did to a node, in a word or two.
func upset(e world.Entry) string {
	switch e.Kind {
	case world.KindFault:
		return e.Text
	case world.KindKill:
		return "loses power"
	case world.KindCrash:
		return "crashes"
	case world.KindWipe:
		return "disk wiped"
	case world.KindPause:
		return "paused"
	case world.KindClock:
		return "clock stepped"
	}
	return ""
}

// standing is what an event says of the node's role: its term or generation, and LSN;
// of a safekeeper its flush LSN and commit LSN.
func standing(text string) string {
	role := ""
	for _, known := range []struct{ begins, role string }{
		{"safekeeper voted ", "voter"}, {"safekeeper follows ", "follower"}, {"timeline lost ", "amnesiac"},
		{"elected ", "leader"}, {"compute runs ", "compute"}, {"lsm.attach ", "owner"}, {"lsm.fenced ", "fenced"}, {"timeline stopped ", "stopped"},
	} {
		if strings.HasPrefix(text, known.begins) {
			role = known.role
		}
	}
	if role == "" {
		return ""
	}
	for _, field := range strings.Fields(text) {
		name, value, _ := strings.Cut(field, "=")
		switch name {
		case "term":
			role += " t" + value
		case "generation":
			role += " g" + value
		case "start", "durable", "at", "flush":
			role += " " + value
		case "commit":
			role += " c" + value
		}
	}
	return role
}

func (d *drawing) arrow(e world.Entry) {
	from, ok := d.rows[e.From]
	to, ok2 := d.rows[e.Node]
	if !ok || !ok2 || from == to || !d.window.holds(e.At) {
		return
	}
	d.Arrows = append(d.Arrows, arrow{
		X1: d.x(e.Sent), Y1: float64(d.Lanes[from].Mid), X2: d.x(e.At), Y2: float64(d.Lanes[to].Mid),
		Title: fmt.Sprintf("%s to %s by %s: sent %v, arrived %v", e.From, e.Node, e.Text, e.Sent, e.At),
	})
}
