package plot

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"image/color"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"
)

// palette is Okabe and Ito's: told apart by colour-blind eyes, and in grey by lightness.
var palette = []color.Color{
	color.RGBA{0x00, 0x72, 0xB2, 255}, color.RGBA{0xD5, 0x5E, 0x00, 255}, color.RGBA{0x00, 0x9E, 0x73, 255},
	color.RGBA{0xCC, 0x79, 0xA7, 255}, color.RGBA{0xE6, 0x9F, 0x00, 255}, color.RGBA{0x56, 0xB4, 0xE9, 255}, color.RGBA{0x22, 0x22, 0x22, 255},
}

// dashes go with the colours, so that no line is told by colour alone.
var dashes = [][]vg.Length{
	nil, {6, 3}, {2, 2}, {8, 3, 2, 3}, {4, 2}, {1, 2}, {10, 4},
}

func styleOf(n int) draw.LineStyle {
	return draw.LineStyle{Color: palette[n%len(palette)], Width: vg.Points(1.8), Dashes: dashes[n%len(dashes)]}
}

// Figure is a picture.
type Figure struct {
	Name    string // of its files
	Title   string
	Caption string
	Header  []string // of the CSV
	Rows    [][]string

	plot   *plot.Plot
	x, y   string       // labels of the axes, with their units
	legend *plot.Legend // nil: none
	height vg.Length
}

// Sizes of a picture and its parts.
const (
	width         = 18 * vg.Centimeter
	defaultHeight = 9.5 * vg.Centimeter
	legendWidth   = 4.6 * vg.Centimeter
	captionHeight = 0.7 * vg.Centimeter
	labelHeight   = 0.68 * vg.Centimeter // of an axis
	pixelsPerInch = 110
)

func newFigure(name, title string) *Figure {
	f := &Figure{Name: name, Title: title, plot: plot.New(), height: defaultHeight}
	p := f.plot
	p.Title.Text = title
	p.Title.TextStyle.Font.Size = 11
	p.Title.Padding = vg.Points(6)
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		axis.Label.TextStyle.Font.Size = 9
		axis.Tick.Label.Font.Size = 8
		axis.Tick.Marker = even{}
	}
	p.BackgroundColor = color.White
	return f
}

// withLegend gives the figure a strip for a legend beside the picture, where it hides
// nothing.
func (f *Figure) withLegend() *plot.Legend {
	legend := plot.NewLegend()
	legend.TextStyle.Font.Size = 8
	legend.Top, legend.Left = true, true
	legend.ThumbnailWidth = vg.Points(22)
	legend.Padding = vg.Points(3)
	f.legend = &legend
	return f.legend
}

// row adds a line to the CSV.
func (f *Figure) row(series string, values ...any) {
	row := []string{series}
	for _, v := range values {
		switch v := v.(type) {
		case float64:
			row = append(row, strconv.FormatFloat(v, 'g', 6, 64))
		default:
			row = append(row, fmt.Sprint(v))
		}
	}
	f.Rows = append(f.Rows, row)
}

// draw paints picture, legend and caption.
func (f *Figure) draw(c draw.Canvas) {
	c.SetColor(color.White)
	c.Fill(c.Rectangle.Path())
	right := vg.Length(0)
	if f.legend != nil {
		right = legendWidth
		f.legend.Draw(draw.Crop(c, c.Max.X-c.Min.X-legendWidth+vg.Points(6), 0, captionHeight, -vg.Points(28)))
	}
	inside := draw.Crop(c, labelHeight, -right-vg.Points(8), captionHeight+labelHeight, -vg.Points(2))
	f.plot.Draw(inside)
	// The labels of axes are drawn here: gonum puts room for them where the middle of
	// the values is, which on a logarithmic axis is near its end.
	data := f.plot.DataCanvas(inside)
	style := f.plot.X.Label.TextStyle
	style.XAlign, style.YAlign = draw.XCenter, draw.YBottom
	c.FillText(style, vg.Point{X: (data.Min.X + data.Max.X) / 2, Y: c.Min.Y + captionHeight + vg.Points(2)}, f.x)
	style.Rotation, style.YAlign = math.Pi/2, draw.YTop
	c.FillText(style, vg.Point{X: c.Min.X + vg.Points(4), Y: (data.Min.Y + data.Max.Y) / 2}, f.y)
	style = f.plot.X.Tick.Label
	style.Font = font.From(style.Font, 7.5)
	style.Color = color.Gray{90}
	style.XAlign, style.YAlign = draw.XLeft, draw.YBottom
	c.FillText(style, vg.Point{X: c.Min.X + vg.Points(6), Y: c.Min.Y + vg.Points(5)}, f.Caption)
}

// Save writes NAME.svg, NAME.png and NAME.csv into dir.
func (f *Figure) Save(dir string) error {
	if err := f.SaveVector(dir); err != nil {
		return err
	}
	bitmap := vgimg.NewWith(vgimg.UseWH(width, f.height), vgimg.UseDPI(pixelsPerInch))
	f.draw(draw.New(bitmap))
	return f.create(dir, ".png", func(out io.Writer) error {
		_, err := vgimg.PngCanvas{Canvas: bitmap}.WriteTo(out)
		return err
	})
}

// A vector picture names the font that it was drawn with, which few have: others of its
// kind follow.
const (
	drawnFont  = "font-family:Liberation Serif;"
	shownFonts = "font-family:Liberation Serif,Times New Roman,serif;"
)

// SaveVector writes NAME.svg and NAME.csv into dir: what a document needs.
func (f *Figure) SaveVector(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make directory for figures: %w", err)
	}
	svg := vgsvg.New(width, f.height)
	f.draw(draw.New(svg))
	err := f.create(dir, ".svg", func(out io.Writer) error {
		var text bytes.Buffer
		if _, err := svg.WriteTo(&text); err != nil {
			return err
		}
		_, err := out.Write(bytes.ReplaceAll(text.Bytes(), []byte(drawnFont), []byte(shownFonts)))
		return err
	})
	if err != nil {
		return err
	}
	return f.create(dir, ".csv", func(out io.Writer) error {
		return csv.NewWriter(out).WriteAll(append([][]string{f.Header}, f.Rows...))
	})
}

func (f *Figure) create(dir, suffix string, write func(io.Writer) error) error {
	out, err := os.Create(filepath.Join(dir, f.Name+suffix))
	if err != nil {
		return fmt.Errorf("save figure: %w", err)
	}
	if err := errors.Join(write(out), out.Close()); err != nil {
		return fmt.Errorf("save figure %s: %w", f.Name+suffix, err)
	}
	return nil
}
