package profile

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"strings"

	"mlops/internal/dataset"
	"mlops/internal/inspect"
	"mlops/internal/progress"
)

//go:embed page.html
var pageText string

var page = template.Must(template.New("profile").Funcs(template.FuncMap{
	"count":   progress.Count,
	"percent": percent,
	"share":   func(n, of int64) string { return percent(float64(n) / float64(max(1, of))) },
	"number":  func(c Column, x float64) string { return show(c.Type, x) },
	"has":     func(x float64) bool { return !math.IsNaN(x) },
	"add":     func(a, b any) int64 { return whole(a) + whole(b) },
	"sub":     func(a, b int64) int64 { return a - b },
}).Parse(pageText))

func percent(x float64) string {
	if math.IsNaN(x) {
		return "–"
	}
	return fmt.Sprintf("%.1f%%", 100*x)
}

// HTML writes the profile as one page without external parts.
func (p *Profile) HTML(w io.Writer) error {
	if err := page.Execute(w, p); err != nil {
		return fmt.Errorf("writing the profile's page: %w", err)
	}
	return nil
}

// The chart's size in its own units.
const (
	chartWidth  = 420.0
	chartHeight = 120.0
)

// Drawn is a bar of the chart.
type Drawn struct {
	X, Y, Width, Height float64
	Tip                 string
}

// Draw places the bars of a histogram.
func (c Column) Draw() []Drawn {
	most := int64(1)
	for _, b := range c.Bars {
		most = max(most, b.Rows)
	}
	step := chartWidth / float64(max(1, len(c.Bars)))
	out := make([]Drawn, len(c.Bars))
	for i, b := range c.Bars {
		h := chartHeight * float64(b.Rows) / float64(most)
		out[i] = Drawn{round(float64(i)*step + 1), round(chartHeight - h), round(max(1, step-2)), round(h), b.tip(c.scale)}
	}
	return out
}

// Line is the target's rate over the bars, as the points of a polyline.
func (c Column) Line() string {
	step := chartWidth / float64(max(1, len(c.Bars)))
	var points []string
	for i, b := range c.Bars {
		if !math.IsNaN(b.Rate) && b.Rows > 0 {
			points = append(points, fmt.Sprintf("%.1f,%.1f", (float64(i)+0.5)*step, chartHeight*(1-c.scale.of(b.Rate))))
		}
	}
	return strings.Join(points, " ")
}

func round(x float64) float64 { return math.Round(x*10) / 10 }

// Share is a level's rows as a percentage of the column's, for a bar's width.
func (c Column) Share(b Bar) float64 {
	return round(100 * float64(b.Rows) / float64(max(1, c.Present+c.Missing)))
}

// Left counts the levels that have no bar of their own.
func (c Column) Left() int64 { return c.Distinct - int64(len(c.Bars)) }

// scale is between which labels a chart's line is drawn.
type scale struct{ low, high float64 }

// of is where a label is on the scale, from 0 to 1.
func (s scale) of(x float64) float64 {
	if s.low == s.high {
		return 0.5
	}
	return min(1, max(0, (x-s.low)/(s.high-s.low)))
}

func (b Bar) tip(s scale) string {
	text := fmt.Sprintf("%s: %s rows", b.Label, progress.Count(b.Rows))
	switch {
	case math.IsNaN(b.Rate):
		return text
	case s == scale{0, 1}:
		return text + ", " + percent(b.Rate) + " positive"
	}
	return text + ", mean target " + show("", b.Rate)
}

// Binary reports whether the target has two outcomes.
func (p *Profile) Binary() bool { return p.Task == dataset.Binary }

// Means reports whether the rows of a bar have a share of positive ones, or a mean target.
func (p *Profile) Means() bool { return p.Task != dataset.Multiclass }

// Measure names what says how well a column predicts the target by itself.
func (p *Profile) Measure() string {
	if p.Task == dataset.Regression {
		return "R²"
	}
	return "AUC"
}

// leak is above which measure a column is suspected to give the target away.
func (p *Profile) leak() float64 {
	if p.Task == dataset.Regression {
		return inspect.LeakR2
	}
	return inspect.LeakAUC
}

// Said writes the mean label of a bar.
func (p *Profile) Said(rate float64) string {
	switch {
	case math.IsNaN(rate):
		return "–"
	case p.Binary():
		return percent(rate)
	}
	return show("", rate)
}

// Rate is the share of positive rows of all.
func (p *Profile) Rate() float64 {
	if p.Labeled == 0 {
		return math.NaN()
	}
	return float64(p.Positive) / float64(p.Labeled)
}

// whole is a template's number, whichever integer it is.
func whole(x any) int64 {
	switch x := x.(type) {
	case int:
		return int64(x)
	case int64:
		return x
	}
	return 0
}
