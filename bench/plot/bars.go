package plot

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"image/color"
	"math"
	"regexp"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/varvedb/varve/bench"
	"github.com/varvedb/varve/bench/goal"
)

var light = color.Gray{225}

// unjudged is a goal's bar that is neither reached nor missed.
var unjudged = color.Gray{170}

// rows draws horizontal bars from one value to another, one below the other, each with
// its name at the axis and a number beside it.
func (f *Figure) rows(names []string, from, to []float64, text []string, fill func(i int) color.Color) error {
	n := len(names)
	ticks := make([]plot.Tick, n)
	const half = 0.36
	var labels plotter.XYLabels
	for i := range names {
		y := float64(n - 1 - i)
		ticks[i] = plot.Tick{Value: y, Label: names[i]}
		bar, err := plotter.NewPolygon(plotter.XYs{{X: from[i], Y: y - half}, {X: to[i], Y: y - half}, {X: to[i], Y: y + half}, {X: from[i], Y: y + half}})
		if err != nil {
			return fmt.Errorf("draw %s: %w", f.Name, err)
		}
		bar.Color, bar.LineStyle.Width = fill(i), 0
		f.plot.Add(bar)
		labels.XYs = append(labels.XYs, plotter.XY{X: math.Max(from[i], to[i]), Y: y})
		labels.Labels = append(labels.Labels, " "+text[i])
	}
	texts, err := plotter.NewLabels(labels)
	if err != nil {
		return fmt.Errorf("draw %s: %w", f.Name, err)
	}
	for i := range texts.TextStyle {
		texts.TextStyle[i].Font.Size = 7.5
		texts.TextStyle[i].YAlign = draw.YCenter
	}
	f.plot.Add(texts)
	f.plot.Y.Tick.Marker = plot.ConstantTicks(ticks)
	f.plot.Y.Tick.Length = 0
	f.plot.Y.Min, f.plot.Y.Max = -0.6, float64(n)-0.4
	f.height = max(5*vg.Centimeter, 2.6*vg.Centimeter+vg.Length(n)*0.52*vg.Centimeter)
	return nil
}

func one(n int) func(int) color.Color { return func(int) color.Color { return palette[n] } }

// bars draws a series with labels as bars from 0.
func bars(r *bench.Result, name, title string, s bench.Series) (*Figure, error) {
	f := newFigure(name, title)
	f.x = s.Y
	f.Header = []string{"name", s.Y}
	zeros, texts, high := make([]float64, len(s.YS)), make([]string, len(s.YS)), 0.0
	for i, v := range s.YS {
		texts[i] = number(v)
		high = math.Max(high, v)
		f.row(s.Labels[i], v)
	}
	if err := f.rows(s.Labels, zeros, s.YS, texts, one(0)); err != nil {
		return nil, err
	}
	f.plot.X.Min, f.plot.X.Max = 0, high*1.15
	f.Caption = caption(r, fmt.Sprintf("%s; n = %d rounds, all of them, medians", s.Name, len(r.Rounds)))
	return f, nil
}

// waterfall draws steps one after the other.
func waterfall(r *bench.Result, s bench.Series) (*Figure, error) {
	f := newFigure("coldstart", "cold start, step by step")
	f.x = s.X + " since the wish to start"
	f.Header = []string{"step", "from_ms", "to_ms"}
	texts, high := make([]string, len(s.YS)), 0.0
	for i := range s.YS {
		texts[i] = fmt.Sprintf("%.0f ms", s.YS[i]-s.XS[i])
		high = math.Max(high, s.YS[i])
		f.row(s.Labels[i], s.XS[i], s.YS[i])
	}
	fill := func(i int) color.Color {
		if i == len(s.YS)-1 {
			return palette[4]
		}
		return palette[0]
	}
	if err := f.rows(s.Labels, s.XS, s.YS, texts, fill); err != nil {
		return nil, err
	}
	f.plot.X.Min, f.plot.X.Max = 0, high*1.15
	of := fmt.Sprintf("n = %d rounds, all of them", len(r.Rounds))
	if s.Rounds > 0 {
		of = "n = " + mediansOf(r, &s)
	}
	f.Caption = caption(r, of+", medians; times are this machine's, under this run's load")
	return f, nil
}

// Mutant is a planted bug and the seeds that it took to find it: 0, it was not found.
type Mutant struct {
	Name  string `json:"name"`
	Seeds int    `json:"seeds"`
}

// mutantRow is a row of the table that varve-sim mutants writes: name, bug, source, who
// found it, and the seeds.
var mutantRow = regexp.MustCompile("(?m)^\\| `([^`]+)`: .* \\| (.*) \\| ([0-9]+) \\| [^|]* \\| [^|]* \\|$")

// worthless is how a row ends whose kill is none: the seed fails without the bug, too.
var worthless = regexp.MustCompile(`\*\*seed [0-9]+ fails without the mutant too[^|]*\|$`)

// Bank is a run of planted bugs.
type Bank struct {
	Mutants []Mutant
	Commit  string // empty: nobody says which
}

// commitNamed is how a text names a commit.
var commitNamed = regexp.MustCompile(`\bcommit ([0-9a-f]{7,40}\b\+?)`)

// ParseMutants reads a run of mutants: a list in JSON, or a document with the table that
// varve-sim mutants writes; its commit is the one that the text names last before
// its first row. There may be none.
func ParseMutants(text []byte) (bank Bank, err error) {
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte("[")) {
		if err := json.Unmarshal(text, &bank.Mutants); err != nil {
			return bank, fmt.Errorf("read mutants: %w", err)
		}
		return bank, nil
	}
	if first := mutantRow.FindIndex(text); first != nil {
		if named := commitNamed.FindAllSubmatch(text[:first[0]], -1); len(named) > 0 {
			bank.Commit = string(named[len(named)-1][1])
		}
	}
	for _, row := range mutantRow.FindAllStringSubmatch(string(text), -1) {
		seeds, err := strconv.Atoi(row[3])
		if err != nil {
			return bank, fmt.Errorf("read mutants: %w", err)
		}
		if strings.Contains(row[2], "survives") || worthless.MatchString(row[0]) {
			seeds = 0
		}
		bank.Mutants = append(bank.Mutants, Mutant{row[1], seeds})
	}
	return bank, nil
}

// Mutants draws how many seeds it took to find each.
func Mutants(bank Bank) (*Figure, error) {
	if len(bank.Mutants) == 0 {
		return nil, nil
	}
	f := newFigure("mutants", "seeds until a planted bug was found")
	f.x = "seeds, each a simulated run"
	f.Header = []string{"mutant", "seeds"}
	var names, texts []string
	var from, to []float64
	high := 1.0
	for _, m := range bank.Mutants {
		names, from, to = append(names, m.Name), append(from, 0.5), append(to, math.Max(0.5, float64(m.Seeds)))
		text := fmt.Sprint(m.Seeds)
		if m.Seeds == 0 {
			text = "not found"
		}
		texts = append(texts, text)
		high = math.Max(high, float64(m.Seeds))
		f.row(m.Name, m.Seeds)
	}
	if err := f.rows(names, from, to, texts, one(2)); err != nil {
		return nil, err
	}
	logAxis(&f.plot.X)
	f.plot.X.Min, f.plot.X.Max = 0.5, high*2
	f.Caption = fmt.Sprintf("n = %d mutants; seeds from 1; commit %s", len(bank.Mutants), cmp.Or(bank.Commit, "not told"))
	return f, nil
}

// Goals draws how far each measured goal is from its bound: 1 is the bound, left of it
// is reached.
func Goals(outcomes []goal.Outcome, r *bench.Result) (*Figure, error) {
	f := newFigure("goals", "distance from each goal: left of the line it is reached")
	f.x = "measured / bound (bound / measured where more is better), pessimistic quartile"
	f.Header = []string{"goal", "times_the_bound", "what"}
	var names, texts []string
	var from, to []float64
	var few []bool
	low, high := 0.5, 2.0
	for i := range outcomes {
		o := &outcomes[i]
		short := o.Short()
		if o.Why != "" || short <= 0 {
			continue
		}
		shown := math.Min(math.Max(short, 1e-3), 1e3)
		names, from, to = append(names, o.ID), append(from, 1), append(to, shown)
		texts, few = append(texts, goal.Number(short)+"x"+o.Reserve()), append(few, o.Few)
		low, high = math.Min(low, shown), math.Max(high, shown)
		f.row(o.ID, short, o.Of())
	}
	if len(names) == 0 {
		return nil, nil
	}
	fill := func(i int) color.Color {
		switch {
		case few[i]:
			return unjudged
		case to[i] <= 1:
			return palette[2]
		default:
			return palette[1]
		}
	}
	if err := f.rows(names, from, to, texts, fill); err != nil {
		return nil, err
	}
	logAxis(&f.plot.X)
	f.plot.X.Min, f.plot.X.Max = low/1.5, high*3
	bound, err := plotter.NewLine(plotter.XYs{{X: 1, Y: -0.6}, {X: 1, Y: float64(len(names)) - 0.4}})
	if err != nil {
		return nil, fmt.Errorf("draw goals: %w", err)
	}
	bound.LineStyle = draw.LineStyle{Color: color.Black, Width: vg.Points(1)}
	f.plot.Add(bound)
	f.Caption = caption(r, fmt.Sprintf("n = %d goals with a bound other than 0, of quiet rounds, counters of all; grey: judged by nobody; cut at 1000", len(names)))
	return f, nil
}
