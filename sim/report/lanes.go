package report

import (
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
	labelSpace = 130 // of a label
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
	last   map[string]float64 // where a lane's last label is
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
	return d.picture
}

// world is the lane of what belongs to no node: links that are cut.
const worldLane = "network"

// nodesOf names the lanes: nodes in the order in which they started, the network last.
func nodesOf(r *recording) []string {
	var names []string
	for _, e := range r.marks {
		if e.Node != "" && !slices.Contains(names, e.Node) {
			names = append(names, e.Node)
		}
	}
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
	const ticks = 10
	for i := range ticks + 1 {
		t := d.window.From + (d.window.To-d.window.From)*time.Duration(i)/ticks
		d.Ticks = append(d.Ticks, tick{d.x(t), fmt.Sprintf("%.4gs", t.Seconds())})
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
	d.Marks = append(d.Marks, m)
}

// label writes text beside a mark, unless it would cover the label before.
func (d *drawing) label(m *mark, lane, text string) {
	if last, ok := d.last[lane]; ok && m.X-last < labelSpace {
		return
	}
	d.last[lane] = m.X
	m.Label, m.Anchor = text, "start"
	if m.X > width-labelSpace {
		m.Anchor = "end"
	}
}

// standing is what an event says of the node's role: its term or generation, and LSN.
func standing(text string) string {
	role := ""
	for _, known := range []struct{ begins, role string }{
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
		case "start", "durable", "at":
			role += " " + value
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
