package plot

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/varvedb/varve/bench"
)

// glyphs go with the colours.
var glyphs = []draw.GlyphDrawer{
	draw.CircleGlyph{}, draw.SquareGlyph{}, draw.TriangleGlyph{}, draw.PyramidGlyph{}, draw.RingGlyph{}, draw.BoxGlyph{}, draw.CrossGlyph{},
}

// caption says where a figure's numbers come from: of names them, with their n and the
// rounds or the one run that they are of.
func caption(r *bench.Result, of string) string {
	return captionOf(r, of, fmt.Sprintf("seed %d", r.Seed))
}

// mediansOf says of which rounds a series shows medians.
func mediansOf(r *bench.Result, s *bench.Series) string {
	if s.Rounds > 0 {
		return fmt.Sprintf("%d quiet rounds of %d", s.Rounds, len(r.Rounds))
	}
	return fmt.Sprintf("all %d rounds", len(r.Rounds))
}

func captionOf(r *bench.Result, of, seed string) string {
	text := fmt.Sprintf("%s; %s; commit %s", of, seed, r.Commit)
	if r.Quick {
		text += "; SMOKE RUN: says nothing about time"
	}
	return text
}

// logAxis gives an axis decades.
func logAxis(a *plot.Axis) {
	a.Scale = plot.LogScale{}
	a.Tick.Marker = decades{}
}

// decades marks powers of ten, and 2 and 5 times them where there are few.
type decades struct{}

// Ticks implements plot.Ticker.
func (decades) Ticks(low, high float64) (ticks []plot.Tick) {
	from, to := int(math.Floor(math.Log10(low))), int(math.Ceil(math.Log10(high)))
	for e := from; e <= to; e++ {
		for m := 1; m < 10; m++ {
			v := float64(m) * math.Pow(10, float64(e))
			if v < low*0.999 || v > high*1.001 {
				continue
			}
			label := ""
			if m == 1 || to-from <= 2 && (m == 2 || m == 5) {
				label = number(v)
			}
			ticks = append(ticks, plot.Tick{Value: v, Label: label})
		}
	}
	return ticks
}

// even marks about six multiples of 1, 2 or 5 times a power of ten.
type even struct{}

// Ticks implements plot.Ticker.
func (even) Ticks(low, high float64) (ticks []plot.Tick) {
	if high <= low {
		return []plot.Tick{{Value: low, Label: number(low)}}
	}
	step := math.Pow(10, math.Floor(math.Log10((high-low)/5)))
	for _, m := range []float64{5, 2} {
		if (high-low)/(step*m) >= 4 {
			step *= m
			break
		}
	}
	for n := math.Ceil(low/step - 1e-9); n*step <= high*(1+1e-9); n++ {
		v := n*step + 0 // no -0
		ticks = append(ticks, plot.Tick{Value: v, Label: number(v)})
	}
	return ticks
}

// micros labels the ticks of another ticker, which are microseconds, in the unit that a
// reader would use.
type micros struct{ plot.Ticker }

// Ticks implements plot.Ticker.
func (m micros) Ticks(low, high float64) []plot.Tick {
	ticks := m.Ticker.Ticks(low, high)
	for i := range ticks {
		if ticks[i].Label != "" {
			ticks[i].Label = duration(ticks[i].Value)
		}
	}
	return ticks
}

// duration prints microseconds: 200 ns, 5 µs, 20 ms, 1 s.
func duration(us float64) string {
	for _, unit := range []struct {
		us   float64
		name string
	}{{1e6, "s"}, {1e3, "ms"}, {1, "µs"}} {
		if us >= unit.us*(1-1e-9) {
			return strconv.FormatFloat(us/unit.us, 'g', 3, 64) + " " + unit.name
		}
	}
	if us == 0 {
		return "0"
	}
	return strconv.FormatFloat(us*1e3, 'g', 3, 64) + " ns"
}

// number prints a tick: 0.001, 5, 20, 1,000 as 1k.
func number(v float64) string {
	switch {
	case v >= 1e6:
		return strconv.FormatFloat(v/1e6, 'g', 3, 64) + "M"
	case v >= 1000:
		return strconv.FormatFloat(v/1000, 'g', 3, 64) + "k"
	default:
		return strconv.FormatFloat(v, 'g', 3, 64)
	}
}

// tail draws the share of operations that took longer than x.
func tail(r *bench.Result, c string, arms []bench.Latencies) (*Figure, error) {
	f := newFigure(fmt.Sprintf("latency-%s-%s", r.Suite, fileName(c)), fmt.Sprintf("%s, %s, %s: how many took longer", r.Suite, c, arrivals(arms)))
	f.x, f.y = "latency", "share of operations that took longer"
	logAxis(&f.plot.X)
	f.plot.X.Tick.Marker = micros{decades{}}
	logAxis(&f.plot.Y)
	f.Header = []string{"arm", "latency_us", "share_longer"}
	err := f.cumulative(r, arms, func(share float64) (float64, bool) { return 1 - share, 1-share > 1e-9 })
	f.plot.Y.Max = 1
	return f, err
}

// loop is how an arm was loaded, in short.
func loop(l *bench.Latencies) string {
	short, _, _ := strings.Cut(l.Arrivals(), ",")
	return short
}

// arrivals says from when latencies count: all arms of a case are loaded alike, but for
// those of a peer that can only be asked one by one.
func arrivals(arms []bench.Latencies) string {
	said := []string{}
	for i := range arms {
		if how := arms[i].Arrivals(); !slices.Contains(said, how) {
			said = append(said, how)
		}
	}
	return strings.Join(said, " and ")
}

// cdf draws the share of operations that took at most x.
func cdf(r *bench.Result, c string, arms []bench.Latencies) (*Figure, error) {
	f := newFigure(fmt.Sprintf("cdf-%s-%s", r.Suite, fileName(c)), fmt.Sprintf("%s, %s, %s: how many took at most", r.Suite, c, arrivals(arms)))
	f.x, f.y = "latency", "share of operations that took at most so long"
	logAxis(&f.plot.X)
	f.plot.X.Tick.Marker = micros{decades{}}
	f.plot.Y.Min, f.plot.Y.Max = 0, 1
	f.Header = []string{"arm", "latency_us", "share_at_most"}
	return f, f.cumulative(r, arms, func(share float64) (float64, bool) { return share, true })
}

// cumulative adds a stepped line for each arm.
func (f *Figure) cumulative(r *bench.Result, arms []bench.Latencies, y func(float64) (float64, bool)) error {
	f.plot.Add(grid()) // First, so that it lies below.
	legend, count := f.withLegend(), int64(0)
	mixed := slices.ContainsFunc(arms, func(l bench.Latencies) bool { return loop(&l) != loop(&arms[0]) })
	for i, arm := range arms {
		total := int64(0)
		for _, b := range arm.Buckets {
			total += b.Count
		}
		count += total
		var points plotter.XYs
		below := int64(0)
		for _, b := range arm.Buckets {
			below += b.Count
			if v, ok := y(float64(below) / float64(total)); ok {
				points = append(points, plotter.XY{X: float64(b.Nanos) / 1e3, Y: v})
			}
		}
		points = thin(points)
		for _, p := range points {
			f.row(arm.Arm, p.X, p.Y)
		}
		if len(points) < 2 {
			continue
		}
		line, err := plotter.NewLine(points)
		if err != nil {
			return fmt.Errorf("draw %s: %w", f.Name, err)
		}
		line.LineStyle = styleOf(i)
		line.StepStyle = plotter.PostStep
		f.plot.Add(line)
		legend.Add(fmt.Sprintf("%s (n=%d)", arm.Arm, total), line)
		if mixed { // A second line, for the strip is narrow.
			legend.Add(loop(&arm))
		}
	}
	f.Caption = caption(r, fmt.Sprintf("n = %d operations of %s", count, arms[0].From(r)))
	return nil
}

// apart is how many times as long the latencies of a curve are from step to step, which is
// about the width of its line where the axis has three decades.
const apart = 1.02

// thin leaves of each run of steps that lie closer than apart the last, up to which all are
// counted, and the first step of all. The result has every bucket; a picture of each would
// be larger than what it shows.
func thin(points plotter.XYs) (kept plotter.XYs) {
	begin := 0.0
	for i, p := range points {
		if i == 0 {
			begin = p.X
		}
		last := i == len(points)-1 || points[i+1].X >= begin*apart
		if i == 0 || last {
			kept = append(kept, p)
		}
		if last && i < len(points)-1 {
			begin = points[i+1].X
		}
	}
	return kept
}

func grid() *plotter.Grid {
	g := plotter.NewGrid()
	g.Horizontal.Color, g.Vertical.Color = light, light
	g.Horizontal.Width, g.Vertical.Width = vg.Points(0.4), vg.Points(0.4)
	return g
}

// fileName makes a case's name one of files.
func fileName(c string) string {
	name := []byte(c)
	for i, b := range name {
		if b == '/' || b == ' ' {
			name[i] = '-'
		}
	}
	return string(name)
}

// atZero is where a 0 stands on a logarithmic axis: a third of the least other value.
func atZero(all []bench.Series) float64 {
	least := math.Inf(1)
	for _, s := range all {
		for _, x := range s.XS {
			if x > 0 {
				least = math.Min(least, x)
			}
		}
	}
	return least / 3
}

// lines draws series of one figure over a logarithmic axis that is marked where there are
// points; y is logarithmic where it spans more than a decade.
func lines(r *bench.Result, name, title string, series []bench.Series) (*Figure, error) {
	f := newFigure(name, title)
	f.x, f.y = series[0].X, series[0].Y
	f.plot.Add(grid())
	legend := f.withLegend()
	f.Header = []string{"series", series[0].X, series[0].Y}
	zero, ticks := atZero(series), []plot.Tick{}
	var xs, ys []float64
	for i, s := range series {
		points := make(plotter.XYs, len(s.XS))
		for j := range points {
			points[j] = plotter.XY{X: math.Max(s.XS[j], zero), Y: s.YS[j]}
			f.row(s.Name, s.XS[j], s.YS[j])
			xs = append(xs, points[j].X)
			tick := plot.Tick{Value: points[j].X, Label: number(s.XS[j])}
			if !slices.Contains(ticks, tick) {
				ticks = append(ticks, tick)
			}
		}
		ys = append(ys, s.YS...)
		line, dots, err := plotter.NewLinePoints(points)
		if err != nil {
			return nil, fmt.Errorf("draw %s: %w", name, err)
		}
		line.LineStyle = styleOf(i)
		dots.GlyphStyle = draw.GlyphStyle{Color: palette[i%len(palette)], Radius: vg.Points(3), Shape: glyphs[i%len(glyphs)]}
		f.plot.Add(line, dots)
		legend.Add(s.Name, line, dots)
	}
	f.scale(xs, ys)
	f.plot.X.Scale = plot.LogScale{}
	f.plot.X.Tick.Marker = plot.ConstantTicks(ticks)
	f.plot.X.Min, f.plot.X.Max = slices.Min(xs)/1.2, slices.Max(xs)*1.2
	f.Caption = caption(r, fmt.Sprintf("n = %d points, medians of %s", len(xs), mediansOf(r, &series[0])))
	return f, nil
}

// scale makes axes logarithmic that span more than a decade, unless there is a 0, and
// begins others at 0.
func (f *Figure) scale(xs, ys []float64) {
	for _, axis := range []struct {
		a      *plot.Axis
		values []float64
	}{{&f.plot.X, xs}, {&f.plot.Y, ys}} {
		low, high := slices.Min(axis.values), slices.Max(axis.values)
		if low > 0 && high/low > 10 {
			logAxis(axis.a)
			axis.a.Min, axis.a.Max = low/1.2, high*1.2
			continue
		}
		axis.a.Min, axis.a.Max = 0, high*1.08
	}
}

// scatter draws series of single points, each named beside itself.
func scatter(r *bench.Result, name, title string, series []bench.Series) (*Figure, error) {
	f := newFigure(name, title)
	f.x, f.y = series[0].X, series[0].Y
	f.plot.Add(grid())
	legend := f.withLegend()
	f.Header = []string{"series", series[0].X, series[0].Y}
	var xs, ys []float64
	for i, s := range series {
		points := make(plotter.XYs, len(s.XS))
		for j := range points {
			points[j] = plotter.XY{X: s.XS[j], Y: s.YS[j]}
			f.row(s.Name, s.XS[j], s.YS[j])
		}
		xs, ys = append(xs, s.XS...), append(ys, s.YS...)
		dots, err := plotter.NewScatter(points)
		if err != nil {
			return nil, fmt.Errorf("draw %s: %w", name, err)
		}
		dots.GlyphStyle = draw.GlyphStyle{Color: palette[i%len(palette)], Radius: vg.Points(4.5), Shape: glyphs[i%len(glyphs)]}
		f.plot.Add(dots)
		legend.Add(s.Name, dots)
	}
	f.scale(xs, ys)
	f.Caption = caption(r, fmt.Sprintf("n = %d points, medians of all %d rounds", len(xs), len(r.Rounds)))
	return f, nil
}
