package linechart

import (
	"encoding/xml"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
)

func TestSVG(t *testing.T) {
	t.Parallel()
	nan := math.NaN()
	for name, c := range map[string]Chart{
		"nothing":     {Title: "x"},
		"one value":   {Title: "x", X: []float64{3}, Lines: []Line{{"a", []float64{5}}}},
		"only gaps":   {Title: "x", X: []float64{1, 2}, Lines: []Line{{"a", []float64{nan, nan}}}},
		"zeros":       {Title: "x", X: []float64{1, 2}, Lines: []Line{{"a", []float64{0, 0}}}},
		"log of zero": {Title: "x", X: []float64{1, 2}, Lines: []Line{{"a", []float64{0, 2}}}, Log: true},
		"log of one":  {Title: "x", X: []float64{1, 2}, Lines: []Line{{"a", []float64{10, 10}}}, Log: true},
		"hostile":     {Title: `<script>"&`, X: []float64{1, 2}, Lines: []Line{{"</svg><b>", []float64{1, math.Inf(1)}}}, Limits: []Limit{{"<i>", 3}}, Marks: []Mark{{"<u>", 1}}},
		"short line":  {Title: "x", X: []float64{1, 2, 3}, Lines: []Line{{"a", []float64{1}}}},
	} {
		text := c.SVG()
		d := xml.NewDecoder(strings.NewReader(text))
		for {
			token, err := d.Token()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v in %s", name, err, text)
			}
			if e, ok := token.(xml.StartElement); ok && !slices.Contains([]string{"svg", "text", "tspan", "path", "title"}, e.Name.Local) {
				t.Errorf("%s: element %s", name, e.Name.Local)
			}
		}
		if strings.Contains(text, "NaN") || strings.Contains(text, "Inf") || strings.Contains(text, "style=") {
			t.Errorf("%s: %s", name, text)
		}
	}
}

// A value is where the axis says it is.
func TestPlaces(t *testing.T) {
	t.Parallel()
	c := Chart{Title: "x", X: []float64{0, 10}, Lines: []Line{{"a", []float64{0, 40}}}, Limits: []Limit{{"most", 20}}}
	got := c.SVG()
	for _, want := range []string{`d="M46 180L392 44"`, `<path class="limit" d="M46 112H392"/>`, `>a<tspan> 40</tspan></text>`, `aria-label="x, a: 40"`} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in %s", want, got)
		}
	}
	c = Chart{Title: "x", X: []float64{0, 10}, Lines: []Line{{"a", []float64{1, 100}}}, Log: true}
	if got, want := c.SVG(), `d="M46 180L392 44"`; !strings.Contains(got, want) {
		t.Errorf("no %s in %s", want, got)
	}
}

// Bytes are counted in powers of 1024.
func TestBinary(t *testing.T) {
	t.Parallel()
	c := Chart{Title: "x", X: []float64{0, 1}, Lines: []Line{{"a", []float64{0, 55 << 20}}}, Binary: true, Format: func(v float64) string { return Short(v/(1<<20)) + " MiB" }}
	got := c.SVG()
	for _, want := range []string{">0 MiB<", ">20 MiB<", ">40 MiB<", ">60 MiB<"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in %s", want, got)
		}
	}
}

// The legend of a line that has ended says so, and not its last value; where there is no
// room, the values of the others come first.
func TestEnded(t *testing.T) {
	t.Parallel()
	nan := math.NaN()
	x := []float64{0, 1, 2, 3, 4}
	late, over := []float64{1, 1, 7, nan, nan}, []float64{1, 9, nan, nan, nan}
	minutes := func(x float64) string { return Short(x) + " min" }
	for _, tt := range []struct {
		name  string
		lines []Line
		want  []string // after the names in the legend
		label string
	}{
		{"late", []Line{{"a", late}}, []string{"<tspan> 7</tspan>"}, "x, a: 7"},
		{"ended", []Line{{"a", over}, {"b", late}}, []string{"<tspan> until 1 min</tspan>", "<tspan> 7</tspan>"}, "x, a: until 1 min, b: 7"},
		{"no room for it", []Line{{strings.Repeat("a", 24), over}, {strings.Repeat("b", 18), late}}, []string{"", "<tspan> 7</tspan>"}, ""},
		{"no room for all of them", []Line{{"a", over}, {"b", over}, {"c", over}, {"d", over}}, []string{"", "", "", ""}, "x, a: until 1 min, b: until 1 min"},
		{"no room at all", []Line{{strings.Repeat("a", 30), over}, {strings.Repeat("b", 20), late}}, []string{"", ""}, ""},
	} {
		c := Chart{Title: "x", X: x, Lines: tt.lines, FormX: minutes}
		got := c.SVG()
		for i, l := range tt.lines {
			if want := ">" + l.Name + tt.want[i] + "</text>"; !strings.Contains(got, want) {
				t.Errorf("%s: no %s in %s", tt.name, want, got)
			}
		}
		if !strings.Contains(got, `aria-label="`+tt.label) {
			t.Errorf("%s: no label %s in %s", tt.name, tt.label, got)
		}
	}
}

// With a read-out, each place of the axis has a text, and so has each value.
func TestReadout(t *testing.T) {
	t.Parallel()
	c := Chart{Title: "x", X: []float64{0, 5, 10}, Lines: []Line{{`a"b`, []float64{0.001, math.NaN(), 0.1}}}, Format: Seconds, FormX: func(x float64) string { return Short(x) + " min" }}
	if got := c.SVG(); strings.Contains(got, "data-") {
		t.Errorf("texts that nobody asked for: %s", got)
	}
	c.Readout = true
	got := c.SVG()
	for _, want := range []string{`data-at="46 219 392"`, `data-when="0 min|5 min|10 min"`, `data-name="a&#34;b" data-values="1 ms||100 ms"`} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in %s", want, got)
		}
	}
}

func TestFormats(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ got, want string }{
		{Short(0), "0"}, {Short(1234), "1.23k"}, {Short(64000), "64k"}, {Short(0.05), "0.05"}, {Short(100), "100"}, {Short(2.5e6), "2.5M"},
		{Percent(0.2), "20 %"}, {Percent(0.00123), "0.123 %"},
		{Seconds(0.00025), "250 µs"}, {Seconds(0.0999), "99.9 ms"}, {Seconds(1), "1 s"}, {Seconds(90), "90 s"}, {Seconds(3600), "60 min"}, {Seconds(86400 * 3), "3 d"},
	} {
		if tt.got != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
}
