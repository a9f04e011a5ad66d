// Package linechart draws line charts as SVG: the same picture on a live page, in a
// report that stands alone and in print. Colours are left to the page's style sheet;
// Style has what the charts need.
package linechart

import (
	_ "embed"
	"fmt"
	"html"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Style is the style sheet of the charts, for light and dark pages.
//
//go:embed linechart.css
var Style string

// Script shows the values of a chart where the pointer is, if Chart.Readout is set.
//
//go:embed readout.js
var Script string

// Line is a series with as many values as the chart's X; NaN leaves a gap.
type Line struct {
	Name string
	Y    []float64
}

// Limit is a horizontal line: a threshold.
type Limit struct {
	Name string
	Y    float64
}

// Mark is a vertical line: something that happened.
type Mark struct {
	Name string
	X    float64
}

// Chart is a line chart.
type Chart struct {
	Title  string
	X      []float64 // ascending
	Lines  []Line    // at most Colors
	Limits []Limit
	Marks  []Mark
	Log    bool // a logarithmic axis; values of 0 and below are gaps then
	Binary bool // values are bytes: the axis has round KiB, MiB and so on
	// Readout puts each value into the picture as a text, for Script.
	Readout bool
	Format  func(y float64) string            // of values; default: short numbers
	FormX   func(x float64) string            // default: short numbers
	TicksX  func(low, high float64) []float64 // default: round numbers
}

// Colors is how many lines can be told apart.
const Colors = 8

// Size of the picture in its own units. Text is readable when a unit is at least a
// pixel, so on a phone a chart takes the whole width.
const (
	width, height            = 400, 200
	left, right, upper, foot = 46, 8, 44, 20
)

// SVG returns the picture.
func (c *Chart) SVG() string {
	format, formX := c.Format, c.FormX
	if format == nil {
		format = Short
	}
	if formX == nil {
		formX = Short
	}
	var b strings.Builder
	label := c.Title
	for _, l := range c.Lines {
		if text, _ := c.worth(l, format, formX); text != "" {
			label += ", " + l.Name + ": " + text
		}
	}
	x0, x1 := span(c.X)
	toX := func(x float64) float64 { return left + (x-x0)/(x1-x0)*(width-left-right) }
	fmt.Fprintf(&b, `<svg class="chart" viewBox="0 0 %d %d" role="img" aria-label="%s"`, width, height, html.EscapeString(label))
	if c.Readout {
		at, when := c.readout(toX, formX)
		fmt.Fprintf(&b, ` data-at="%s" data-when="%s" data-top="%d" data-foot="%d"`, at, html.EscapeString(when), upper, height-foot)
	}
	b.WriteString(` xmlns="http://www.w3.org/2000/svg">`)
	fmt.Fprintf(&b, `<text class="title" x="4" y="13">%s</text>`, html.EscapeString(c.Title))
	ticks, toY := c.axis()
	for _, t := range ticks {
		y := toY(t)
		fmt.Fprintf(&b, `<path class="grid" d="M%d %sH%d"/><text class="tick" x="%d" y="%s" text-anchor="end">%s</text>`,
			left, at(y), width-right, left-4, at(y+4), html.EscapeString(format(t)))
	}
	ticksX := c.TicksX
	if ticksX == nil {
		ticksX = func(low, high float64) []float64 { return linear(low, high, 4) }
	}
	for _, t := range ticksX(x0, x1) {
		if t < x0 || t > x1 {
			continue
		}
		x := toX(t)
		anchor := "middle"
		switch {
		case x > width-24:
			anchor = "end"
		case x < left+24: // the lowest value's text is beside it
			anchor = "start"
		}
		fmt.Fprintf(&b, `<text class="tick" x="%s" y="%d" text-anchor="%s">%s</text>`, at(x), height-6, anchor, html.EscapeString(formX(t)))
	}
	for _, m := range c.Marks {
		if m.X < x0 || m.X > x1 {
			continue
		}
		fmt.Fprintf(&b, `<path class="mark" d="M%s %dV%d"><title>%s</title></path>`, at(toX(m.X)), upper, height-foot, html.EscapeString(m.Name))
	}
	place := func(l Limit) float64 { return min(max(toY(l.Y), upper), height-foot) }
	for _, l := range c.Limits {
		fmt.Fprintf(&b, `<path class="limit" d="M%d %sH%d"/>`, left, at(place(l)), width-right)
	}
	for i, l := range c.Lines {
		fmt.Fprintf(&b, `<path class="line c%d"`, i%Colors)
		if c.Readout {
			fmt.Fprintf(&b, ` data-name="%s" data-values="%s"`, html.EscapeString(l.Name), html.EscapeString(texts(l.Y, format)))
		}
		fmt.Fprintf(&b, ` d="%s"/>`, c.path(l.Y, toX, toY))
	}
	for _, l := range c.Limits { // over the lines
		y := place(l)
		name := y - 3
		if name < upper+7 { // no room above it
			name = y + 10
		}
		fmt.Fprintf(&b, `<text class="limit" x="%d" y="%s" text-anchor="end">%s</text>`, width-right, at(name), html.EscapeString(l.Name))
	}
	c.legend(&b, format, formX)
	b.WriteString(`</svg>`)
	return b.String()
}

// readout returns where the values are in the picture, and what the axis says there.
func (c *Chart) readout(toX func(float64) float64, formX func(float64) string) (places, when string) {
	p := make([]string, len(c.X))
	for i, x := range c.X {
		p[i] = at(toX(x))
	}
	return strings.Join(p, " "), texts(c.X, formX)
}

// texts are values with | between them; a gap is empty.
func texts(values []float64, format func(float64) string) string {
	list := make([]string, len(values))
	for i, v := range values {
		if finite(v) {
			list[i] = format(v)
		}
	}
	return strings.Join(list, "|")
}

// legend names the lines, with what they are worth as far as there is room.
func (c *Chart) legend(b *strings.Builder, format, formX func(float64) string) {
	const swatch, gap = 12, 8
	values, over := make([]string, len(c.Lines)), make([]bool, len(c.Lines))
	for i, l := range c.Lines {
		values[i], over[i] = c.worth(l, format, formX)
	}
	room := func(i int) int { // values are bold
		text := c.Lines[i].Name
		if values[i] != "" {
			text += " " + values[i]
		}
		return swatch + 7*len([]rune(text)) + gap
	}
	fits := func() bool {
		whole := 4
		for i := range c.Lines {
			whole += room(i)
		}
		return whole <= width
	}
	if !fits() {
		for i := range values {
			if over[i] {
				values[i] = ""
			}
		}
	}
	if !fits() {
		clear(values)
	}
	x := 4
	for i, l := range c.Lines {
		w := room(i)
		if x+w > width && i > 0 {
			fmt.Fprintf(b, `<text class="legend" x="%d" y="29">…</text>`, min(x, width-10))
			return
		}
		fmt.Fprintf(b, `<path class="line c%d" d="M%d 25h9"/><text class="legend" x="%d" y="29">%s`, i%Colors, x, x+swatch, html.EscapeString(l.Name))
		if values[i] != "" {
			fmt.Fprintf(b, `<tspan> %s</tspan>`, html.EscapeString(values[i])) // apart from names such as "label 1"
		}
		b.WriteString(`</text>`)
		x += w
	}
}

// worth is a line's value at the end or, if it ended before the chart does, until when it
// had one. It is empty if the line has no value at all.
func (c *Chart) worth(l Line, format, formX func(float64) string) (text string, over bool) {
	if v, ok := Current(l.Y); ok {
		return format(v), false
	}
	for i := min(len(l.Y), len(c.X)) - 1; i >= 0; i-- {
		if finite(l.Y[i]) {
			return "until " + formX(c.X[i]), true
		}
	}
	return "", false
}

// Current is the value at the end of a line, or the one shortly before: the last two may not
// be there yet. There is none if the line ended earlier.
func Current(values []float64) (float64, bool) {
	for i := len(values) - 1; i >= max(0, len(values)-3); i-- {
		if finite(values[i]) {
			return values[i], true
		}
	}
	return 0, false
}

// path is a line's path, with gaps where there is no value.
func (c *Chart) path(values []float64, toX, toY func(float64) float64) string {
	var b strings.Builder
	draw := false
	for i, v := range values[:min(len(values), len(c.X))] {
		if !finite(v) || c.Log && v <= 0 {
			draw = false
			continue
		}
		command := "M"
		if draw {
			command = "L"
		}
		fmt.Fprintf(&b, "%s%s %s", command, at(toX(c.X[i])), at(toY(v)))
		if next := i + 1; !draw && (next == len(values) || next >= len(c.X) || !finite(values[next])) {
			b.WriteString("h.01") // a dot, where a value has no neighbours
		}
		draw = true
	}
	return b.String()
}

// axis returns the ticks of the vertical axis, and what places a value on it.
func (c *Chart) axis() (ticks []float64, toY func(float64) float64) {
	low, high := math.Inf(1), math.Inf(-1)
	see := func(v float64) {
		if finite(v) && (!c.Log || v > 0) {
			low, high = min(low, v), max(high, v)
		}
	}
	for _, l := range c.Lines {
		for _, v := range l.Y {
			see(v)
		}
	}
	for _, l := range c.Limits {
		see(l.Y)
	}
	const bottom, top = float64(height - foot), float64(upper)
	if c.Log {
		if high < low {
			low, high = 1, 10
		}
		from, to := math.Floor(math.Log10(low)), math.Ceil(math.Log10(high))
		if to <= from {
			to = from + 1
		}
		for e := from; e <= to; e++ {
			ticks = append(ticks, math.Pow(10, e))
		}
		return ticks, func(v float64) float64 { return bottom - (math.Log10(v)-from)/(to-from)*(bottom-top) }
	}
	if high <= 0 || high < low {
		high = 1
	}
	unit := 1.0
	for c.Binary && unit*1024 <= high {
		unit *= 1024
	}
	ticks = linear(min(low, 0)/unit, high/unit, 4)
	for i := range ticks {
		ticks[i] *= unit
	}
	from, to := ticks[0], ticks[len(ticks)-1]
	return ticks, func(v float64) float64 { return bottom - (v-from)/(to-from)*(bottom-top) }
}

// linear returns about n round values from at most low to at least high.
func linear(low, high float64, n int) []float64 {
	if !(high > low) {
		high = low + 1
	}
	raw := (high - low) / float64(n)
	power := math.Pow(10, math.Floor(math.Log10(raw)))
	step := 10 * power
	for _, s := range []float64{1, 2, 5} {
		if s*power >= raw {
			step = s * power
			break
		}
	}
	var list []float64
	for i := math.Floor(low / step); ; i++ {
		list = append(list, i*step)
		if i*step >= high-step*1e-9 {
			return list
		}
	}
}

// ClockTicks returns about four places of an axis of seconds that are round times of a clock.
func ClockTicks(low, high float64) []float64 {
	step := 86400.0
	for _, s := range []float64{1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200} {
		if s >= (high-low)/4 {
			step = s
			break
		}
	}
	for (high-low)/step > 8 { // days
		step *= 2
	}
	var list []float64
	for t := math.Ceil(low/step) * step; t <= high; t += step {
		list = append(list, t)
	}
	return list
}

func span(x []float64) (first, last float64) {
	if len(x) == 0 {
		return 0, 1
	}
	first, last = slices.Min(x), slices.Max(x)
	if last <= first {
		last = first + 1
	}
	return first, last
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// at formats a coordinate.
func at(v float64) string { return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64) }

// Short formats a number with three digits and k, M or G.
func Short(v float64) string {
	for _, u := range []struct {
		of   float64
		name string
	}{{1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if math.Abs(v) >= u.of {
			return three(v/u.of) + u.name
		}
	}
	return three(v)
}

// Percent formats a share.
func Percent(v float64) string { return three(v*100) + " %" }

// Seconds formats a duration in seconds, from ns to days.
func Seconds(v float64) string {
	a := math.Abs(v)
	switch {
	case v == 0:
		return "0"
	case a < 1e-6:
		return three(v*1e9) + " ns"
	case a < 1e-3:
		return three(v*1e6) + " µs"
	case a < 1:
		return three(v*1e3) + " ms"
	case a < 120:
		return three(v) + " s"
	case a < 2*3600:
		return three(v/60) + " min"
	case a < 2*86400:
		return three(v/3600) + " h"
	}
	return three(v/86400) + " d"
}

func three(v float64) string {
	if v == 0 {
		return "0"
	}
	places := max(0, 2-int(math.Floor(math.Log10(math.Abs(v))+1e-9)))
	text := strconv.FormatFloat(v, 'f', min(places, 4), 64)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text
}
