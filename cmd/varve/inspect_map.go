package main

import (
	_ "embed"
	"fmt"
	"html/template"
	"os"
	"path/filepath"
	"slices"

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
			"and end at them, from bottom to top the LSNs. Delta layers are areas, image layers are lines.",
		Example: "  varve inspect map $VARVE_DIR/bucket/tenants/*/timelines/root/*/index > map.svg",
		Args:    exactArgs("FILE"),
		RunE: func(_ *cobra.Command, args []string) error {
			body, err := readFile(args[0], "indexes lie below DIR/bucket/tenants/TENANT/timelines")
			if err != nil {
				return err
			}
			index, err := manifest.Decode(filepath.Base(args[0]), body)
			if err != nil {
				return err
			}
			if err := mapTemplate.Execute(os.Stdout, newMapDrawing(index)); err != nil {
				return fmt.Errorf("draw %s: %w", args[0], err)
			}
			return nil
		},
	}
}

// The measures of the drawing, in pixels.
const (
	mapWidth, mapHeight       = 900, 560
	mapLeft, mapTop           = 110, 50
	mapPlotWidth, mapPlotHigh = mapWidth - mapLeft - 20, mapHeight - mapTop - 40
)

// mapDrawing is what the template draws.
type mapDrawing struct {
	Width, Height          int
	Left, Top, Right, Base float64
	Title                  string
	Durable, Cutoff, Start mapLine
	Layers                 []mapLayer
}

type mapLine struct {
	Y    float64
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

func (s *mapScale) y(lsn wal.LSN) float64 {
	part := float64(min(max(lsn, s.lo), s.hi)-s.lo) / float64(s.hi-s.lo)
	return mapTop + mapPlotHigh*(1-part)
}

func newMapDrawing(x *manifest.Index) mapDrawing {
	s := mapScale{lo: x.Start, hi: max(x.Durable, x.Start+1)}
	for _, l := range x.Layers {
		s.keys = append(s.keys, l.KeyLo, l.KeyHi)
		s.lo = min(s.lo, l.LSNLo)
	}
	slices.SortFunc(s.keys, lsm.Key.Compare)
	s.keys = slices.Compact(s.keys)
	d := mapDrawing{
		Width: mapWidth, Height: mapHeight, Left: mapLeft, Top: mapTop, Right: mapLeft + mapPlotWidth, Base: mapTop + mapPlotHigh,
		Title:   fmt.Sprintf("Layers of timeline %v: %d, %d bytes", x.Timeline, len(x.Layers), x.Bytes()),
		Durable: mapLine{s.y(x.Durable), "durable " + x.Durable.String()},
		Start:   mapLine{s.y(s.lo), s.lo.String()},
	}
	if x.Cutoff > x.Start {
		d.Cutoff = mapLine{s.y(x.Cutoff), "horizon " + x.Cutoff.String()}
	}
	for _, l := range x.Layers {
		d.Layers = append(d.Layers, s.layer(l))
	}
	return d
}

const mapLeast = 3 // pixels of a side, so that the least layer is seen

func (s *mapScale) layer(l layer.Desc) mapLayer {
	m := mapLayer{
		Class: fmt.Sprintf("%v%d", l.Kind, min(l.Level, 2)),
		X:     s.x(l.KeyLo), Y: s.y(l.LSNHi),
		Title: fmt.Sprintf("%v, level %d: %s to %s, %v to %v, %d versions, %d bytes",
			l.Kind, l.Level, pgkey.Describe(l.KeyLo), pgkey.Describe(l.KeyHi), l.LSNLo, l.LSNHi, l.Versions, l.Size),
	}
	m.W = max(mapLeast, s.x(l.KeyHi)-m.X)
	m.H = max(mapLeast, s.y(l.LSNLo)-m.Y)
	m.X, m.Y = min(m.X, mapLeft+mapPlotWidth-m.W), min(m.Y, mapTop+mapPlotHigh-m.H)
	return m
}
