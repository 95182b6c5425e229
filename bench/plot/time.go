package plot

import (
	"fmt"
	"image/color"
	"math"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/varvedb/varve/bench"
)

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
		var err error
		switch s.Name {
		case bands:
		case events:
			err = f.events(s, high)
		default:
			f.x, f.y = s.X, s.Y
			points += len(s.XS)
			err = f.curve(s, color, legend)
			color++
		}
		if err != nil {
			return nil, err
		}
	}
	f.Caption = caption(r, fmt.Sprintf("n = %d points", points))
	return f, nil
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

// bands shades the times of faults; each name is in the legend once.
func (f *Figure) bands(s bench.Series, high float64, legend *plot.Legend) error {
	named := map[string]bool{}
	for i := range s.XS {
		f.row("band: "+s.Labels[i], s.XS[i], s.YS[i])
		band, err := plotter.NewPolygon(plotter.XYs{{X: s.XS[i], Y: 0}, {X: s.YS[i], Y: 0}, {X: s.YS[i], Y: high}, {X: s.XS[i], Y: high}})
		if err != nil {
			return fmt.Errorf("draw %s: %w", f.Name, err)
		}
		band.Color = color.RGBA{0xF3, 0xDF, 0xB0, 255}
		band.LineStyle.Width = 0
		f.plot.Add(band)
		if !named[s.Labels[i]] {
			legend.Add(s.Labels[i], band)
		}
		named[s.Labels[i]] = true
	}
	return nil
}

// events draws vertical lines, each with its name at the top.
func (f *Figure) events(s bench.Series, high float64) error {
	var labels plotter.XYLabels
	for i := range s.XS {
		f.row("event: "+s.Labels[i], s.XS[i], 0.0)
		line, err := plotter.NewLine(plotter.XYs{{X: s.XS[i], Y: 0}, {X: s.XS[i], Y: high}})
		if err != nil {
			return fmt.Errorf("draw %s: %w", f.Name, err)
		}
		line.LineStyle = draw.LineStyle{Color: color.Gray{90}, Width: vg.Points(0.9), Dashes: []vg.Length{3, 2}}
		f.plot.Add(line)
		labels.XYs, labels.Labels = append(labels.XYs, plotter.XY{X: s.XS[i], Y: high * 0.96}), append(labels.Labels, " "+s.Labels[i])
	}
	if len(labels.XYs) > 12 { // Their names would cover each other; the CSV has them.
		return nil
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

// shades go from white over yellow and red to dark: lightness falls all the way, so that
// they are in order without colours too.
type shades struct{}

// Colors implements palette.Palette.
func (shades) Colors() (colors []color.Color) {
	const steps = 32
	for i := range steps {
		t := float64(i) / (steps - 1)
		colors = append(colors, color.RGBA{uint8(255 - 225*t*t), uint8(250 - 235*math.Sqrt(t)), uint8(225 - 140*t), 255})
	}
	return colors
}

// cells is a grid of counts; rows are levels of latency.
type cells struct{ rows []bench.Series }

// Dims implements plotter.GridXYZ.
func (c cells) Dims() (int, int) { return len(c.rows[0].XS), len(c.rows) }

// Z implements plotter.GridXYZ: the logarithm, so that rare ones are seen; nothing is NaN.
func (c cells) Z(x, y int) float64 {
	if n := c.rows[y].YS[x]; n > 0 {
		return math.Log10(n) + 0.2
	}
	return math.NaN()
}

// X implements plotter.GridXYZ.
func (c cells) X(x int) float64 { return c.rows[0].XS[x] }

// Y implements plotter.GridXYZ.
func (c cells) Y(y int) float64 { return float64(y) }

// heatmap draws latency over time: each series is a level, named by its upper edge.
func heatmap(r *bench.Result, name, title string, series []bench.Series) (*Figure, error) {
	f := newFigure(name, title)
	f.x, f.y = series[0].X, series[0].Y
	f.Header = []string{"level_up_to", "x", "count"}
	total := 0.0
	ticks := make([]plot.Tick, len(series))
	for i, s := range series {
		level, err := strconv.ParseFloat(s.Name, 64)
		if err != nil {
			return nil, fmt.Errorf("draw %s: level %q: %w", name, s.Name, err)
		}
		ticks[i] = plot.Tick{Value: float64(i) + 0.5, Label: number(level)}
		for j := range s.XS {
			total += s.YS[j]
			if s.YS[j] > 0 {
				f.row(s.Name, s.XS[j], s.YS[j])
			}
		}
	}
	if total == 0 || len(series[0].XS) < 2 {
		return nil, nil
	}
	m := plotter.NewHeatMap(cells{series}, shades{})
	f.plot.Add(m)
	f.plot.Y.Tick.Marker = plot.ConstantTicks(ticks)
	f.Caption = caption(r, fmt.Sprintf("n = %.0f transactions; the darker the more, by logarithm", total))
	return f, nil
}
