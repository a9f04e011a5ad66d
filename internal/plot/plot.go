// Package plot draws what package evaluate measures: ROC, precision-recall and
// calibration curves, as PNG or SVG. It links fonts and drawing libraries of some
// megabytes, so only training imports it.
package plot

import (
	"errors"
	"fmt"
	"image/color"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"

	"mlops/internal/evaluate"
)

// Curve is the rows that one curve of a plot is drawn from.
type Curve struct {
	Name string // "Validation"
	Rows *evaluate.Ranking
}

// ROC draws the ROC curves in the format "png" or "svg", with their areas,
// and marks where the threshold (NaN: none) lies on each.
func ROC(w io.Writer, format, title string, threshold float64, curves ...Curve) error {
	f, err := newFigure(title, "False positive rate", "True positive rate (recall)", curves)
	if err != nil {
		return err
	}
	f.unitAxes()
	f.line(chance, dotted, plotter.XYs{{X: 0, Y: 0}, {X: 1, Y: 1}})
	for i, c := range curves {
		l := f.line(colors[i], solid, xys(thin(c.Rows.ROC(), maxPoints)))
		f.legend.Add(fmt.Sprintf("%s (AUC %.3f)", c.Name, c.Rows.AUC()), l)
	}
	f.threshold(threshold, curves, func(c evaluate.Confusion) plotter.XY {
		return plotter.XY{X: 1 - c.Specificity(), Y: c.Recall()}
	})
	f.legend.Add("Chance (AUC 0.500)", sample(chance, dotted))
	return f.write(w, format)
}

// PrecisionRecall draws the precision-recall curves like ROC, with their average
// precision and, dashed, the base rates: the precision of a guess.
func PrecisionRecall(w io.Writer, format, title string, threshold float64, curves ...Curve) error {
	f, err := newFigure(title, "Recall", "Precision", curves)
	if err != nil {
		return err
	}
	f.unitAxes()
	f.legend.Top = true
	var rates []string
	for i, c := range curves {
		base := c.Rows.BaseRate()
		f.line(colors[i], dashed, plotter.XYs{{X: 0, Y: base}, {X: 1, Y: base}})
		rates = append(rates, fmt.Sprintf("%.3f", base))
	}
	for i, c := range curves {
		// The point at precision 1 is a convention; drawn, it is a spike.
		l := f.line(colors[i], solid, xys(thin(c.Rows.PrecisionRecall()[1:], maxPoints)))
		f.legend.Add(fmt.Sprintf("%s (average precision %.3f)", c.Name, c.Rows.AveragePrecision()), l)
	}
	f.threshold(threshold, curves, func(c evaluate.Confusion) plotter.XY {
		return plotter.XY{X: c.Recall(), Y: c.Precision()}
	})
	f.legend.Add("Base rate "+strings.Join(slices.Compact(rates), " / "), sample(dark, dashed))
	return f.write(w, format)
}

// Calibration draws, for tenths of the rows by score, the share of positive
// ones over the mean score, which must be a probability. The axes end where the
// points do.
func Calibration(w io.Writer, format, title string, curves ...Curve) error {
	f, err := newFigure(title, "Mean predicted probability", "Share of positive rows", curves)
	if err != nil {
		return err
	}
	top := 0.0
	for i, c := range curves {
		points := xys(c.Rows.Calibration(10))
		for _, p := range points {
			if p.X < 0 || p.X > 1 {
				return fmt.Errorf("calibration plot: score %v is not a probability", p.X)
			}
			top = max(top, p.X, p.Y)
		}
		l := f.line(colors[i], solid, points)
		f.legend.Add(c.Name, l, f.marks(colors[i], points))
	}
	top = min(math.Ceil(top*10*1.02)/10, 1)
	f.axes(top, map[bool]float64{true: 0.2, false: 0.1}[top > 0.6])
	f.line(chance, dotted, plotter.XYs{{X: 0, Y: 0}, {X: top, Y: top}})
	f.legend.Add("Perfect", sample(chance, dotted))
	f.legend.Top, f.legend.Left = true, true
	return f.write(w, format)
}

const maxPoints = 500 // of a drawn curve

// The colours are Okabe and Ito's, told apart by the colour-blind too.
var (
	colors = []color.Color{
		color.RGBA{0x00, 0x72, 0xB2, 0xFF}, color.RGBA{0xD5, 0x5E, 0x00, 0xFF}, color.RGBA{0x00, 0x9E, 0x73, 0xFF},
	}
	dark   = color.RGBA{0x33, 0x33, 0x33, 0xFF}
	chance = color.RGBA{0x8A, 0x8A, 0x8A, 0xFF}
	faint  = color.RGBA{0xE6, 0xE6, 0xE6, 0xFF}

	solid  []vg.Length
	dashed = []vg.Length{vg.Points(6), vg.Points(3)}
	dotted = []vg.Length{vg.Points(2), vg.Points(3)}
)

// figure is a plot being made. Its legend has a background of its own.
type figure struct {
	plot          *plot.Plot
	legend        plot.Legend
	grid          *plotter.Grid
	width, height vg.Length
	err           error // the first error of any part
}

func newFigure(title, x, y string, curves []Curve) (*figure, error) {
	if len(curves) == 0 || len(curves) > len(colors) {
		return nil, fmt.Errorf("plot %q: want 1 to %d curves, have %d", title, len(colors), len(curves))
	}
	for _, c := range curves {
		if c.Rows == nil {
			return nil, fmt.Errorf("plot %q: curve %q has no rows", title, c.Name)
		}
	}
	return emptyFigure(title, x, y), nil
}

func emptyFigure(title, x, y string) *figure {
	p := plot.New()
	f := &figure{plot: p, legend: plot.NewLegend(), width: 5.6 * vg.Inch, height: 5.4 * vg.Inch}
	p.BackgroundColor = color.White
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, x, y
	p.Title.Padding = vg.Points(10)
	style := func(s *draw.TextStyle, size float64) {
		s.Font.Variant, s.Font.Size, s.Color = "Sans", vg.Points(size), dark
	}
	style(&p.Title.TextStyle, 14)
	style(&f.legend.TextStyle, 10)
	f.legend.ThumbnailWidth = vg.Points(22)
	f.legend.Padding = vg.Points(3)
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		style(&a.Label.TextStyle, 11.5)
		style(&a.Tick.Label, 10)
		a.Label.Padding = vg.Points(6)
		a.Padding = 0
		a.LineStyle = draw.LineStyle{Color: dark, Width: vg.Points(0.8)}
		a.Tick.LineStyle = a.LineStyle
		a.Tick.Length = vg.Points(4)
	}
	grid := plotter.NewGrid()
	grid.Vertical = draw.LineStyle{Color: faint, Width: vg.Points(0.7)}
	grid.Horizontal = grid.Vertical
	p.Add(grid)
	f.grid = grid
	return f
}

func (f *figure) unitAxes() { f.axes(1, 0.2) }

// axes go from 0 to top.
func (f *figure) axes(top, step float64) {
	var ticks plot.ConstantTicks
	for i := 0; float64(i)*step <= top+1e-9; i++ {
		v := float64(i) * step
		ticks = append(ticks, plot.Tick{Value: min(v, top), Label: strconv.FormatFloat(v, 'f', 1, 64)})
	}
	for _, a := range []*plot.Axis{&f.plot.X, &f.plot.Y} {
		a.Min, a.Max, a.Tick.Marker = 0, top, ticks
	}
}

func xys(points []evaluate.Point) plotter.XYs {
	out := make(plotter.XYs, len(points))
	for i, p := range points {
		out[i] = plotter.XY{X: p.X, Y: p.Y}
	}
	return out
}

// sample is a line for the legend only.
func sample(c color.Color, dashes []vg.Length) *plotter.Line {
	return &plotter.Line{LineStyle: lineStyle(c, dashes)}
}

func lineStyle(c color.Color, dashes []vg.Length) draw.LineStyle {
	width := 1.8
	if len(dashes) > 0 {
		width = 1.1
	}
	return draw.LineStyle{Color: c, Width: vg.Points(width), Dashes: dashes}
}

func (f *figure) line(c color.Color, dashes []vg.Length, points plotter.XYs) *plotter.Line {
	l, err := plotter.NewLine(points)
	if err != nil {
		f.err = errors.Join(f.err, err)
		return sample(c, dashes)
	}
	l.LineStyle = lineStyle(c, dashes)
	f.plot.Add(l)
	return l
}

// marks are discs with a white rim. They are the legend's sign, too.
func (f *figure) marks(c color.Color, points plotter.XYs) *plotter.Scatter {
	for _, s := range []draw.GlyphStyle{
		{Color: color.White, Radius: vg.Points(5.2), Shape: draw.CircleGlyph{}},
		{Color: c, Radius: vg.Points(3.8), Shape: draw.CircleGlyph{}},
	} {
		f.plot.Add(&plotter.Scatter{XYs: points, GlyphStyle: s})
	}
	return &plotter.Scatter{GlyphStyle: draw.GlyphStyle{Color: c, Radius: vg.Points(3.8), Shape: draw.CircleGlyph{}}}
}

// threshold marks each curve where the labels at t are.
func (f *figure) threshold(t float64, curves []Curve, at func(evaluate.Confusion) plotter.XY) {
	if math.IsNaN(t) {
		return
	}
	for i, c := range curves {
		f.marks(colors[i], plotter.XYs{at(c.Rows.At(t))})
	}
	sign := &plotter.Scatter{GlyphStyle: draw.GlyphStyle{Color: dark, Radius: vg.Points(3.8), Shape: draw.CircleGlyph{}}}
	f.legend.Add(fmt.Sprintf("At threshold %.3g", t), sign)
}

const margin = 12 // points around the figure

// wrapped is a text in lines that are no wider than this, unless a word is.
func wrapped(text string, style draw.TextStyle, width vg.Length) string {
	var lines []string
	for word := range strings.FieldsSeq(text) {
		if n := len(lines); n > 0 && style.Width(lines[n-1]+" "+word) <= width {
			lines[n-1] += " " + word
			continue
		}
		lines = append(lines, word)
	}
	return strings.Join(lines, "\n")
}

// write draws the figure and writes it.
func (f *figure) write(w io.Writer, format string) error {
	if f.err != nil {
		return fmt.Errorf("drawing plot %q: %w", f.plot.Title.Text, f.err)
	}
	var c vg.CanvasWriterTo
	switch format {
	case "png":
		c = vgimg.PngCanvas{Canvas: vgimg.NewWith(vgimg.UseWH(f.width, f.height), vgimg.UseDPI(144), vgimg.UseBackgroundColor(color.White))}
	case "svg":
		c = vgsvg.New(f.width, f.height)
	default:
		return fmt.Errorf(`plot %q: format %q, want "png" or "svg"`, f.plot.Title.Text, format)
	}
	f.plot.Title.Text = wrapped(f.plot.Title.Text, f.plot.Title.TextStyle, f.width-2*vg.Points(margin))
	all := draw.New(c)
	all.SetColor(color.White)
	all.Fill(all.Rectangle.Path())
	dc := draw.Crop(all, vg.Points(margin), -vg.Points(margin+6), vg.Points(margin), -vg.Points(margin))
	f.plot.Draw(dc)
	f.drawLegend(f.plot.DataCanvas(dc))
	if _, err := c.WriteTo(w); err != nil {
		return fmt.Errorf("writing plot %q: %w", f.plot.Title.Text, err)
	}
	return nil
}

// drawLegend draws the legend in a corner on a background of its own, signs
// before texts on either side.
func (f *figure) drawLegend(dc draw.Canvas) {
	const pad = 8
	l := f.legend
	size := l.Rectangle(dc).Size()
	size.Y += l.TextStyle.FontExtents().Descent // Draw begins lower by this much
	if size.X <= 0 {                            // no entries
		return
	}
	box := vg.Rectangle{Max: vg.Point{X: size.X + 2*vg.Points(pad), Y: size.Y + 2*vg.Points(pad)}}
	at := vg.Point{X: dc.Min.X + vg.Points(pad), Y: dc.Min.Y + vg.Points(pad)}
	if !l.Left {
		at.X = dc.Max.X - vg.Points(pad) - box.Max.X
	}
	if l.Top {
		at.Y = dc.Max.Y - vg.Points(pad) - box.Max.Y
	}
	box = box.Add(at)
	dc.SetColor(color.NRGBA{0xFF, 0xFF, 0xFF, 0xE6})
	dc.Fill(box.Path())
	dc.SetLineStyle(draw.LineStyle{Color: faint, Width: vg.Points(0.7)})
	dc.Stroke(box.Path())
	l.Left, l.Top = true, true
	l.Draw(draw.Crop(draw.Canvas{Canvas: dc.Canvas, Rectangle: box}, vg.Points(pad), -vg.Points(pad), vg.Points(pad), -vg.Points(pad)))
}
