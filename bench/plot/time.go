package plot

import (
	"fmt"
	"image/color"
	"math"
	"slices"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/varvedb/varve/bench"
)

// simulated is the figure of a simulated run.
const simulated = "throughput-simulated"

// The names of series that are no curves, in a figure over time.
const (
	bands  = "bands"  // from XS to YS, named by Labels
	events = "events" // at XS, named by Labels
)

// overTime draws curves over time, faults as shaded bands, and events as vertical lines.
func overTime(r *bench.Result, name, title string, series []bench.Series) (*Figure, error) {
	f := newFigure(name, title)
	legend := f.withLegend()
	high := 0.0
	for _, s := range series {
		if s.Name != bands && s.Name != events {
			for _, y := range s.YS {
				high = math.Max(high, y)
			}
		}
	}
	high *= 1.1
	f.plot.Y.Min, f.plot.Y.Max = 0, high
	f.Header = []string{"series", "x", "y"}
	points, color := 0, 0
	for _, s := range series { // Bands first: what is drawn later lies above.
		if s.Name == bands {
			if err := f.bands(s, high, legend); err != nil {
				return nil, err
			}
		}
	}
	for _, s := range series {
		if s.Name == bands || s.Name == events {
			continue
		}
		f.x, f.y = s.X, s.Y
		points += len(s.XS)
		if err := f.curve(s, color, legend); err != nil {
			return nil, err
		}
		color++
	}
	for _, s := range series {
		if s.Name == events {
			if err := f.events(s, high); err != nil {
				return nil, err
			}
		}
	}
	f.Caption = captionOf(r, fmt.Sprintf("n = %d points of one run", points), seedOf(r, series))
	return f, nil
}

// seedOf tells the seed of the run that is drawn. The simulated one is the busiest of
// four, and results from before it was kept do not say which.
func seedOf(r *bench.Result, series []bench.Series) string {
	for _, s := range series {
		if s.Seed != 0 {
			return fmt.Sprintf("seed %d", s.Seed)
		}
	}
	if series[0].Figure == simulated {
		return fmt.Sprintf("that of seeds %d to %d with most faults", r.Seed, r.Seed+3)
	}
	return fmt.Sprintf("seed %d", r.Seed)
}

func (f *Figure) curve(s bench.Series, n int, legend *plot.Legend) error {
	xys := make(plotter.XYs, len(s.XS))
	for i := range xys {
		xys[i] = plotter.XY{X: s.XS[i], Y: s.YS[i]}
		f.row(s.Name, s.XS[i], s.YS[i])
	}
	line, err := plotter.NewLine(xys)
	if err != nil {
		return fmt.Errorf("draw %s: %w", f.Name, err)
	}
	line.LineStyle = styleOf(n)
	f.plot.Add(line)
	legend.Add(s.Name, line)
	return nil
}

// tints are the colours of bands: pale, so that curves are read above them, and thin
// enough to show where two overlap.
var tints = []color.Color{
	color.NRGBA{0xE6, 0x9F, 0x00, 80}, color.NRGBA{0x56, 0xB4, 0xE9, 80}, color.NRGBA{0x00, 0x9E, 0x73, 70},
	color.NRGBA{0xCC, 0x79, 0xA7, 80}, color.NRGBA{0x22, 0x22, 0x22, 50},
}

// bands shades the times of faults; each name has a tint and is in the legend once.
func (f *Figure) bands(s bench.Series, high float64, legend *plot.Legend) error {
	named := map[string]color.Color{}
	for i := range s.XS {
		f.row("band: "+s.Labels[i], s.XS[i], s.YS[i])
		band, err := plotter.NewPolygon(plotter.XYs{{X: s.XS[i], Y: 0}, {X: s.YS[i], Y: 0}, {X: s.YS[i], Y: high}, {X: s.XS[i], Y: high}})
		if err != nil {
			return fmt.Errorf("draw %s: %w", f.Name, err)
		}
		tint, known := named[s.Labels[i]]
		if !known {
			tint = tints[len(named)%len(tints)]
			named[s.Labels[i]] = tint
		}
		band.Color, band.LineStyle.Width = tint, 0
		f.plot.Add(band)
		if !known {
			legend.Add(s.Labels[i], band)
		}
	}
	return nil
}

// Names of events stand in rows, in shares of the axes.
const (
	letterWidth = 0.0105
	rowHeight   = 0.045
	nameRows    = 12
)

// events draws vertical lines, each with its name in the topmost row in which that does
// not cover another's, if there is one; the CSV has them all.
func (f *Figure) events(s bench.Series, high float64) error {
	var labels plotter.XYLabels
	width, tall := f.plot.X.Max-f.plot.X.Min, high-f.plot.Y.Min
	free := slices.Repeat([]float64{math.Inf(-1)}, nameRows)
	for i := range s.XS {
		f.row("event: "+s.Labels[i], s.XS[i], 0.0)
		line, err := plotter.NewLine(plotter.XYs{{X: s.XS[i], Y: f.plot.Y.Min}, {X: s.XS[i], Y: high}})
		if err != nil {
			return fmt.Errorf("draw %s: %w", f.Name, err)
		}
		line.LineStyle = draw.LineStyle{Color: color.Gray{90}, Width: vg.Points(0.9), Dashes: []vg.Length{3, 2}}
		f.plot.Add(line)
		row := slices.IndexFunc(free, func(x float64) bool { return x <= s.XS[i] })
		if row < 0 {
			continue
		}
		free[row] = s.XS[i] + width*letterWidth*float64(len(s.Labels[i])+2)
		at := plotter.XY{X: s.XS[i], Y: high - tall*rowHeight*(float64(row)+0.9)}
		labels.XYs, labels.Labels = append(labels.XYs, at), append(labels.Labels, " "+s.Labels[i])
	}
	texts, err := plotter.NewLabels(labels)
	if err != nil {
		return fmt.Errorf("draw %s: %w", f.Name, err)
	}
	for i := range texts.TextStyle {
		texts.TextStyle[i].Font.Size = 7.5
	}
	f.plot.Add(texts)
	return nil
}

// shades go from light to dark blue: lightness falls all the way, so that they are in
// order for every eye, and the lightest is told from the white of nothing.
type shades struct{}

const shadeSteps = 32

// Colors implements palette.Palette.
func (shades) Colors() (colors []color.Color) {
	for i := range shadeSteps {
		t := float64(i) / (shadeSteps - 1)
		colors = append(colors, color.RGBA{uint8(178 - 170*t), uint8(212 - 183*t), uint8(232 - 144*t), 255})
	}
	return colors
}

// shade is a legend's box of a colour.
type shade struct{ color.Color }

// Thumbnail implements plot.Thumbnailer.
func (s shade) Thumbnail(c *draw.Canvas) {
	c.FillPolygon(s.Color, []vg.Point{c.Min, {X: c.Max.X, Y: c.Min.Y}, c.Max, {X: c.Min.X, Y: c.Max.Y}})
}

// cells is a grid of counts; rows are levels of latency.
type cells struct{ rows []bench.Series }

// Dims implements plotter.GridXYZ.
func (c cells) Dims() (int, int) { return len(c.rows[0].XS), len(c.rows) }

// Z implements plotter.GridXYZ: the logarithm, so that rare ones are seen; nothing is NaN.
func (c cells) Z(x, y int) float64 {
	if n := c.rows[y].YS[x]; n > 0 {
		return depth(n)
	}
	return math.NaN()
}

// X implements plotter.GridXYZ.
func (c cells) X(x int) float64 { return c.rows[0].XS[x] }

// Y implements plotter.GridXYZ.
func (c cells) Y(y int) float64 { return float64(y) }

// heatmap draws latency over time: each series is a level, named by its upper edge, but
// for that of the events.
func heatmap(r *bench.Result, name, title string, series []bench.Series) (*Figure, error) {
	f := newFigure(name, title)
	f.Header = []string{"level_up_to", "x", "count"}
	var levels, marks []bench.Series
	for _, s := range series {
		if s.Name == events {
			marks = append(marks, s)
			continue
		}
		levels = append(levels, s)
	}
	f.x, f.y = levels[0].X, levels[0].Y
	total, most := 0.0, 0.0
	ticks := make([]plot.Tick, len(levels))
	for i, s := range levels {
		level, err := strconv.ParseFloat(s.Name, 64)
		if err != nil {
			return nil, fmt.Errorf("draw %s: level %q: %w", name, s.Name, err)
		}
		ticks[i] = plot.Tick{Value: float64(i) + 0.5, Label: duration(level)}
		for j := range s.XS {
			total, most = total+s.YS[j], math.Max(most, s.YS[j])
			if s.YS[j] > 0 {
				f.row(s.Name, s.XS[j], s.YS[j])
			}
		}
	}
	if total == 0 || len(levels[0].XS) < 2 {
		return nil, nil
	}
	f.counts(levels, most)
	f.plot.Y.Tick.Marker = plot.ConstantTicks(ticks)
	f.plot.Y.Min, f.plot.Y.Max = -0.5, float64(len(levels))+0.2
	for _, s := range marks {
		if err := f.events(s, f.plot.Y.Max); err != nil {
			return nil, err
		}
	}
	f.Caption = caption(r, fmt.Sprintf("n = %.0f transactions of one run, each in the cell of its end", total))
	return f, nil
}

// counts adds the cells, and a legend of what their shades mean.
func (f *Figure) counts(levels []bench.Series, most float64) {
	m := plotter.NewHeatMap(cells{levels}, shades{})
	m.Min, m.Max = depth(1), depth(math.Max(10, most))
	f.plot.Add(m)
	legend, colors := f.withLegend(), shades{}.Colors()
	for n := 1.0; n <= math.Max(10, most); n *= 10 {
		at := int((shadeSteps - 1) * (depth(n) - m.Min) / (m.Max - m.Min))
		legend.Add("count "+number(n), shade{colors[at]})
	}
}

// depth is where a count stands among the shades: rare ones are to be seen.
func depth(n float64) float64 { return math.Log10(n) }
