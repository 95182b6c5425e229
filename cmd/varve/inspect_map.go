package main

import (
	"cmp"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/lsm/layer"
	"github.com/varvedb/varve/lsm/manifest"
	"github.com/varvedb/varve/pageserver/pgkey"
	"github.com/varvedb/varve/wal"
)

//go:embed inspect_map.svg
var mapText string

var mapTemplate = template.Must(template.New("map").Parse(mapText))

func (a *app) inspectMapCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "map FILE",
		Short: "Draw the layers of a timeline's index: keys by LSN, as SVG",
		Long: "Draw the layers of a timeline's index as SVG: from left to right the keys, as far apart as layers begin\n" +
			"and end at them, from bottom to top the LSNs. Delta layers are areas, image layers are lines. Below the\n" +
			"horizon, lines mark what branches and leases read; branches are found beside the index, in its bucket.",
		Example: "  varve inspect map $VARVE_DIR/bucket/tenants/*/timelines/root/*/index > map.svg",
		Args:    exactArgs("FILE"),
		RunE: func(_ *cobra.Command, args []string) error {
			index, err := readIndex(args[0])
			if err != nil {
				return err
			}
			pins, damage, err := mapPins(args[0], index)
			if err != nil {
				return err
			}
			if err := mapTemplate.Execute(os.Stdout, newMapDrawing(index, pins)); err != nil {
				return fmt.Errorf("draw %s: %w", args[0], err)
			}
			if damage != nil {
				return fmt.Errorf("the drawing is whole but for branches whose index cannot be read: %w", damage)
			}
			return nil
		},
	}
}

// The measures of the drawing, in pixels.
const (
	mapWidth, mapHeight       = 960, 600
	mapLeft, mapTop           = 130, 60
	mapPlotWidth, mapPlotHigh = mapWidth - mapLeft - 130, mapHeight - mapTop - 60

	mapLeast  = 3   // of a layer's side, so that the least one is seen
	mapRow    = 12  // between texts above one another
	mapColumn = 140 // between texts beside one another
)

// mapDrawing is what the template draws.
type mapDrawing struct {
	Width, Height          int
	Left, Top, Right, Base float64
	Title                  string
	Bounds                 []mapLine // beginning, horizon and end, on the left
	Pins                   []mapLine // branches and leases, on the right
	Keys                   []mapKey
	Layers                 []mapLayer
}

// mapLine is an LSN, with a text beside it that others may have moved.
type mapLine struct {
	Y, TextY float64
	Text     string
	Dashed   bool
}

// mapKey is a key that a layer begins at.
type mapKey struct {
	X    float64
	Text string
}

type mapLayer struct {
	Class      string // delta0, delta1, delta2 by level; image
	X, Y, W, H float64
	Title      string
}

// mapScale places keys by the rank of the layers' bounds, and LSNs in proportion.
type mapScale struct {
	keys   []lsm.Key
	lo, hi wal.LSN
}

func (s *mapScale) x(k lsm.Key) float64 {
	rank, _ := slices.BinarySearchFunc(s.keys, k, lsm.Key.Compare)
	return mapLeft + mapPlotWidth*float64(rank)/float64(max(1, len(s.keys)-1))
}

// after is where a layer ends whose last key k is: where the next may begin.
func after(k lsm.Key) lsm.Key {
	if next, ok := k.Next(); ok {
		return next
	}
	return k
}

func (s *mapScale) y(lsn wal.LSN) float64 {
	part := float64(min(max(lsn, s.lo), s.hi)-s.lo) / float64(s.hi-s.lo)
	return mapTop + mapPlotHigh*(1-part)
}

// mapPin is what reads at an LSN.
type mapPin struct {
	lsn  wal.LSN
	text string
}

// mapPins lists the leases of an index and the branches whose indexes lie where a bucket
// has them beside its file; damage says which of those cannot be read, and why.
func mapPins(file string, x *manifest.Index) (pins []mapPin, damage, err error) {
	for _, l := range x.Leases {
		pins = append(pins, mapPin{l.LSN, fmt.Sprintf("lease %.4x", l.ID[:])})
	}
	timelines := filepath.Dir(filepath.Dir(filepath.Dir(file)))
	children, err := filepath.Glob(filepath.Join(timelines, x.Timeline.String(), "*", "index"))
	if err != nil {
		return nil, nil, fmt.Errorf("look for branches of %s: %w", file, err)
	}
	for _, child := range children {
		body, err := os.ReadFile(child)
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted meanwhile
		}
		var branch *manifest.Index
		if err == nil {
			branch, err = manifest.Decode(child, body)
		}
		if err != nil {
			damage = errors.Join(damage, err)
			continue
		}
		if branch.Parent == x.Timeline {
			pins = append(pins, mapPin{branch.BranchLSN, "branch " + labelName(branch)})
		}
	}
	return pins, damage, nil
}

// labelName is the branch that an index is of.
func labelName(x *manifest.Index) string {
	var label struct{ Name string }
	if json.Unmarshal(x.Meta, &label) != nil || label.Name == "" {
		return x.Timeline.String()
	}
	return label.Name
}

func newMapDrawing(x *manifest.Index, pins []mapPin) mapDrawing {
	s := mapScale{lo: x.Start, hi: max(x.Durable, x.Start+1)}
	for _, l := range x.Layers {
		s.keys = append(s.keys, l.KeyLo, after(l.KeyHi))
		s.lo = min(s.lo, l.LSNLo)
	}
	for _, p := range pins {
		s.lo, s.hi = min(s.lo, p.lsn), max(s.hi, p.lsn) // a branch may lie above what is durable
	}
	slices.SortFunc(s.keys, lsm.Key.Compare)
	s.keys = slices.Compact(s.keys)
	d := mapDrawing{
		Width: mapWidth, Height: mapHeight, Left: mapLeft, Top: mapTop, Right: mapLeft + mapPlotWidth, Base: mapTop + mapPlotHigh,
		Title:  fmt.Sprintf("Layers of branch %s: %d, of %.1f MiB", labelName(x), len(x.Layers), float64(x.Bytes())/(1<<20)),
		Bounds: []mapLine{s.line(s.lo, s.lo.String(), false), s.line(x.Durable, x.Durable.String(), false)},
		Keys:   s.labels(x.Layers),
	}
	if x.Cutoff > x.Start {
		d.Bounds = append(d.Bounds, s.line(x.Cutoff, "horizon "+x.Cutoff.String(), true))
	}
	for _, p := range pins {
		d.Pins = append(d.Pins, s.line(p.lsn, p.text, true))
	}
	spread(d.Bounds)
	spread(d.Pins)
	for _, l := range x.Layers {
		d.Layers = append(d.Layers, s.layer(l))
	}
	// Images last: they are lines, and would lie below areas.
	slices.SortStableFunc(d.Layers, func(a, b mapLayer) int { return strings.Compare(a.Class[:1], b.Class[:1]) })
	return d
}

func (s *mapScale) line(lsn wal.LSN, text string, dashed bool) mapLine {
	y := s.y(lsn)
	return mapLine{Y: y, TextY: y, Text: text, Dashed: dashed}
}

// spread moves texts up so that none covers another.
func spread(lines []mapLine) {
	slices.SortFunc(lines, func(a, b mapLine) int { return cmp.Compare(b.Y, a.Y) })
	for i := 1; i < len(lines); i++ {
		lines[i].TextY = min(lines[i].TextY, lines[i-1].TextY-mapRow)
	}
}

// labels names as many of the keys that layers begin at as there is room for.
func (s *mapScale) labels(layers []layer.Desc) (keys []mapKey) {
	var begins []lsm.Key
	for _, l := range layers {
		begins = append(begins, l.KeyLo)
	}
	slices.SortFunc(begins, lsm.Key.Compare)
	for _, k := range begins {
		x := s.x(k)
		if n := len(keys); n == 0 || x-keys[n-1].X >= mapColumn {
			text := strings.ReplaceAll(strings.TrimPrefix(pgkey.Describe(k), "relation "), " fork main block ", " block ")
			keys = append(keys, mapKey{x, text})
		}
	}
	return keys
}

func (s *mapScale) layer(l layer.Desc) mapLayer {
	m := mapLayer{
		Class: fmt.Sprintf("%v%d", l.Kind, min(l.Level, 2)),
		X:     s.x(l.KeyLo), Y: s.y(l.LSNHi),
		Title: fmt.Sprintf("%v, level %d: %s to %s, %v to %v, %d versions, %d bytes",
			l.Kind, l.Level, pgkey.Describe(l.KeyLo), pgkey.Describe(l.KeyHi), l.LSNLo, l.LSNHi, l.Versions, l.Size),
	}
	m.W = max(mapLeast, s.x(after(l.KeyHi))-m.X)
	m.H = max(mapLeast, s.y(l.LSNLo)-m.Y)
	m.X, m.Y = min(m.X, mapLeft+mapPlotWidth-m.W), min(m.Y, mapTop+mapPlotHigh-m.H)
	return m
}
