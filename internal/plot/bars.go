package plot

import (
	"fmt"
	"io"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"

	"mlops/internal/evaluate"
)

const maxBars = 25

// maxName bounds a name beside an axis in characters.
const maxName = 32

func clipped(name string) string {
	if runes := []rune(name); len(runes) > maxName {
		return string(runes[:maxName-1]) + "…"
	}
	return name
}

// Bars draws how much names count, the first on top; of many the first ones.
func Bars(w io.Writer, format, title, x string, bars []evaluate.Weight) error {
	if len(bars) == 0 {
		return fmt.Errorf("plot %q has no bars", title)
	}
	if len(bars) > maxBars {
		title = fmt.Sprintf("%s, the first %d of %d", title, maxBars, len(bars))
		bars = bars[:maxBars]
	}
	f := emptyFigure(title, x, "")
	f.grid.Horizontal.Width = 0
	f.width, f.height = 7*vg.Inch, vg.Length(1.3+0.2*float64(len(bars)))*vg.Inch
	var values plotter.Values
	var ticks plot.ConstantTicks
	var widest vg.Length
	for i := range bars {
		b := bars[len(bars)-1-i] // from below
		values = append(values, b.Value)
		name := clipped(b.Name)
		widest = max(widest, f.plot.Y.Tick.Label.Width(name))
		ticks = append(ticks, plot.Tick{Value: float64(i), Label: name})
	}
	f.plot.X.Label.Text = wrapped(x, f.plot.X.Label.TextStyle, f.width-widest-3*vg.Points(margin))
	f.height += f.plot.X.Label.TextStyle.Height(f.plot.X.Label.Text) - f.plot.X.Label.TextStyle.Height("x")
	f.height += f.plot.Title.TextStyle.Height(wrapped(title, f.plot.Title.TextStyle, f.width-2*vg.Points(margin))) - f.plot.Title.TextStyle.Height("x")
	chart, err := plotter.NewBarChart(values, vg.Points(9))
	if err != nil {
		return fmt.Errorf("plot %q: %w", title, err)
	}
	chart.Horizontal, chart.Color, chart.LineStyle.Width = true, colors[0], 0
	f.plot.Add(chart)
	f.plot.Y.Tick.Marker, f.plot.Y.Tick.Length = ticks, 0
	f.plot.Y.Min, f.plot.Y.Max = -0.7, float64(len(bars))-0.3
	return f.write(w, format)
}
