package plot

import (
	"fmt"
	"image/color"
	"io"
	"math"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"mlops/internal/evaluate"
)

const (
	maxNamed  = 25   // classes whose names and counts fit on a confusion matrix
	maxShared = 8    // classes whose shares fit too
	maxDots   = 2000 // rows that are drawn
)

// Confusion draws the rows by true class (down) and predicted class (across): the
// darker, the larger the share of the true class's rows, which the cells of a few classes
// say too.
func Confusion(w io.Writer, format, title string, classes []string, counts [][]int) error {
	if len(classes) == 0 || len(counts) != len(classes) {
		return fmt.Errorf("plot %q: %d rows of counts for %d classes", title, len(counts), len(classes))
	}
	f := emptyFigure(title, "Predicted", "True")
	f.grid.Vertical.Width, f.grid.Horizontal.Width = 0, 0
	n := len(classes)
	cells := &heat{counts: counts}
	heatMap := plotter.NewHeatMap(cells, blues{})
	heatMap.Min, heatMap.Max = 0, 1
	f.plot.Add(heatMap)
	f.plot.X.Min, f.plot.X.Max, f.plot.Y.Min, f.plot.Y.Max = -0.5, float64(n)-0.5, -0.5, float64(n)-0.5
	f.plot.X.Tick.Marker, f.plot.Y.Tick.Marker = plot.ConstantTicks{}, plot.ConstantTicks{}
	if n > maxNamed {
		f.plot.X.Label.Text = "Predicted (" + shareNote + ")"
		return f.write(w, format)
	}
	var across, down plot.ConstantTicks
	var widest vg.Length
	labels := plotter.XYLabels{}
	for i, name := range classes {
		name = clipped(name)
		widest = max(widest, f.plot.X.Tick.Label.Width(name))
		across = append(across, plot.Tick{Value: float64(i), Label: name})
		down = append(down, plot.Tick{Value: float64(n - 1 - i), Label: name})
		for k, count := range counts[i] {
			labels.XYs = append(labels.XYs, plotter.XY{X: float64(k), Y: float64(n - 1 - i)})
			text := strconv.Itoa(count)
			if n <= maxShared {
				text = fmt.Sprintf("%d\n%.0f %%", count, 100*cells.Z(k, n-1-i))
			}
			labels.Labels = append(labels.Labels, text)
		}
	}
	f.plot.X.Tick.Marker, f.plot.Y.Tick.Marker = across, down
	l, err := plotter.NewLabels(labels)
	if err != nil {
		return fmt.Errorf("plot %q: %w", title, err)
	}
	for i := range l.TextStyle {
		s := &l.TextStyle[i]
		s.Font.Variant, s.Font.Size = "Sans", vg.Points(max(6, 12-float64(n)/4))
		s.XAlign, s.YAlign, s.Color = draw.XCenter, draw.YCenter, color.Color(dark)
		if cells.Z(i%n, n-1-i/n) > 0.7 { // either has the better contrast there
			s.Color = color.White
		}
	}
	f.plot.Add(l)
	// The cells keep their room, however long the names are.
	room := widest - vg.Points(20)
	f.width += max(0, room)
	if cell := vg.Points(320) / vg.Length(n); widest > cell-vg.Points(6) {
		f.plot.X.Tick.Label.Rotation, f.plot.X.Tick.Label.XAlign, f.plot.X.Tick.Label.YAlign = math.Pi/2, text.XRight, text.YCenter
		f.plot.X.Tick.Length = 0
		for i := range across {
			across[i].Label += " " // some distance to the axis
		}
		f.height += max(0, room)
	}
	f.plot.X.Label.Text = "Predicted (" + shareNote + ")"
	return f.write(w, format)
}

const shareNote = "the darker, the larger the share of the true class's rows"

// heat is the cells of a confusion matrix, the first class on top.
type heat struct{ counts [][]int }

func (h *heat) Dims() (c, r int) { return len(h.counts), len(h.counts) }
func (h *heat) X(c int) float64  { return float64(c) }
func (h *heat) Y(r int) float64  { return float64(r) }
func (h *heat) Z(c, r int) float64 {
	row := h.counts[len(h.counts)-1-r]
	total := 0
	for _, n := range row {
		total += n
	}
	return float64(row[c]) / float64(max(total, 1))
}

// blues go from white to the first of the colours.
type blues struct{}

func (blues) Colors() []color.Color {
	list := make([]color.Color, 64)
	for i := range list {
		part := func(to uint8) uint8 { return 0xFF - uint8(float64(0xFF-to)*float64(i)/float64(len(list)-1)) }
		list[i] = color.RGBA{part(0x00), part(0x72), part(0xB2), 0xFF}
	}
	return list
}

// Predicted draws each row's true value over its predicted one, with the interval to
// either side. Of many rows it draws an even choice.
func Predicted(w io.Writer, format, title, column string, halfWidth float64, points []evaluate.Point) error {
	low, high := math.Inf(1), math.Inf(-1)
	for _, p := range points {
		low, high = min(low, p.X, p.Y), max(high, p.X, p.Y)
	}
	line := func(off float64) plotter.XYs { return plotter.XYs{{X: low, Y: low + off}, {X: high, Y: high + off}} }
	return scatter(w, format, title, "Predicted "+column, "True "+column, halfWidth, points, line)
}

// Residuals draws how far each row's true value is above its predicted one.
func Residuals(w io.Writer, format, title, column string, halfWidth float64, points []evaluate.Point) error {
	off := make([]evaluate.Point, len(points))
	low, high := math.Inf(1), math.Inf(-1)
	for i, p := range points {
		off[i] = evaluate.Point{X: p.X, Y: p.Y - p.X}
		low, high = min(low, p.X), max(high, p.X)
	}
	line := func(at float64) plotter.XYs { return plotter.XYs{{X: low, Y: at}, {X: high, Y: at}} }
	return scatter(w, format, title, "Predicted "+column, "True minus predicted", halfWidth, off, line)
}

func scatter(w io.Writer, format, title, x, y string, halfWidth float64, points []evaluate.Point, line func(off float64) plotter.XYs) error {
	if len(points) == 0 {
		return fmt.Errorf("plot %q has no rows", title)
	}
	f := emptyFigure(title, x, y)
	var dots plotter.XYs
	for i := 0; i < len(points); i += (len(points) + maxDots - 1) / maxDots {
		dots = append(dots, plotter.XY{X: points[i].X, Y: points[i].Y})
	}
	style := draw.GlyphStyle{Color: color.NRGBA{0x00, 0x72, 0xB2, 0x80}, Radius: vg.Points(2.2), Shape: draw.CircleGlyph{}}
	f.plot.Add(&plotter.Scatter{XYs: dots, GlyphStyle: style})
	f.line(dark, solid, line(0))
	f.line(chance, dashed, line(halfWidth))
	f.line(chance, dashed, line(-halfWidth))
	f.legend.Top, f.legend.Left = true, true
	f.legend.Add(fmt.Sprintf("Interval, %.4g to either side", halfWidth), sample(chance, dashed))
	return f.write(w, format)
}
