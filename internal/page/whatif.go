package page

import (
	"cmp"
	"context"
	"fmt"
	"html/template"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"

	"mlops/internal/api"
	"mlops/internal/dataset"
	"mlops/internal/linechart"
)

const (
	whatIfName   = "whatif" // the form's field that names the column
	curvePoints  = 33       // of a number's range, at most
	maxCurveBars = 24       // values of a category that are tried
)

// curve is what the prediction would be for other values of one column, the rest of
// the record unchanged.
type curve struct {
	Column  string
	Said    string        // the curve in words
	Drawing template.HTML // of a number
	Bars    []barView     // of a category
	Problem string        // why there is no curve
}

// barView is the prediction for one value.
type barView struct {
	Text, Amount string
	Width        string // in percent of the drawing
	Current      bool   // the record's own value
	Excluded     string // why a record with this value has no score
}

// try is a value that a column is given.
type try struct{ value, text string }

// outcome is the prediction for a try.
type outcome struct {
	try
	y        float64
	excluded string
}

// WhatIf are the fields whose values can be tried.
func (v *formView) WhatIf() []*Field {
	var list []*Field
	for g := range v.Groups {
		if v.Groups[g].Unused {
			continue
		}
		for f := range v.Groups[g].Fields {
			if field := &v.Groups[g].Fields[f]; len(tries(field)) > 1 {
				list = append(list, field)
			}
		}
	}
	return list
}

// tries are the values to try for a field, its own included: a number's range as
// training saw it, or a category's usual values.
func tries(f *Field) []try {
	var list []try
	add := func(value, text string) {
		if !slices.ContainsFunc(list, func(t try) bool { return t.value == value }) {
			list = append(list, try{value, text})
		}
	}
	switch f.Column.Type {
	case api.Integer, api.Number:
		for _, x := range numbers(f.Column) {
			text := strconv.FormatFloat(x, 'g', 6, 64)
			add(text, text)
		}
		if x, ok := dataset.ParseNumber([]byte(f.Value)); ok && len(list) > 0 && !math.IsInf(x, 0) {
			add(f.Value, f.Value)
			slices.SortFunc(list, func(a, b try) int {
				x, _ := dataset.ParseNumber([]byte(a.value))
				y, _ := dataset.ParseNumber([]byte(b.value))
				return cmp.Compare(x, y)
			})
		}
	case api.Category, api.Boolean:
		for _, o := range f.Options {
			if len(list) == maxCurveBars {
				break
			}
			add(o.Value, o.Text)
		}
		if len(f.Column.Names) > 0 {
			for _, o := range f.Suggestions {
				if len(list) == maxCurveBars {
					break
				}
				add(o.Value, called(o.Value, o.Text))
			}
		}
		if f.Value != "" {
			add(f.Value, f.text(f.Value))
		} else if len(list) > 0 {
			add("", f.Empty())
		}
	}
	return list
}

// numberRange is the range of a column's numbers as training saw it, else as the spec
// bounds it; false if there is none.
func numberRange(c api.Column) (low, high float64, ok bool) {
	switch {
	case c.Type != api.Integer && c.Type != api.Number:
		return 0, 0, false
	case c.Seen != nil && c.Seen.Min != nil && c.Seen.Max != nil:
		low, high = *c.Seen.Min, *c.Seen.Max
	case c.Min != nil && c.Max != nil:
		low, high = *c.Min, *c.Max
	}
	return low, high, low < high && !math.IsInf(high-low, 0)
}

// numbers are points of a number's range, evenly spaced, ascending.
func numbers(c api.Column) []float64 {
	low, high, ok := numberRange(c)
	if !ok {
		return nil
	}
	step := (high - low) / (curvePoints - 1)
	if c.Type == api.Integer {
		step = math.Ceil(step)
	}
	var list []float64
	for i := range curvePoints {
		x := low + float64(i)*step
		if x >= high {
			break
		}
		list = append(list, x)
	}
	return append(list, high)
}

// whatIf computes the curve of a column for a record.
func (s *Server) whatIf(ctx context.Context, v *formView, record api.Record, column string) *curve {
	f := v.field(column)
	if f == nil {
		return nil
	}
	c := &curve{Column: column}
	list := tries(f)
	if len(list) < 2 {
		c.Problem = "There is no range or list of values to try for this column."
		return c
	}
	at := slices.IndexFunc(list, func(t try) bool { return t.value == f.Value })
	records := make([]api.Record, len(list))
	for i, t := range list {
		records[i] = maps.Clone(record)
		if delete(records[i], column); t.value != "" {
			records[i][column] = t.value
		}
	}
	answer, err := s.inference.PredictAll(ctx, records)
	if err != nil {
		p := asProblem(err)
		c.Problem = p.Title
		if len(p.Errors) > 0 {
			c.Problem += ": " + v.line(p.Errors[0].Field, "").Label + " " + p.Errors[0].Detail
		}
		return c
	}
	outcomes := make([]outcome, len(list))
	class := classOf(answer.Predictions, at)
	for i, p := range answer.Predictions {
		outcomes[i] = outcome{list[i], outputOf(&p, class), p.Excluded}
	}
	c.draw(f, outcomes, at, v, class)
	return c
}

// classOf is the class whose probability a curve shows: the one predicted for the
// record as it is, or, if that has no score, for the first record that has one. It is
// empty unless there are several classes.
func classOf(list []api.Prediction, at int) string {
	if at >= 0 && list[at].Class != "" {
		return list[at].Class
	}
	for _, p := range list {
		if p.Class != "" {
			return p.Class
		}
	}
	return ""
}

// outputOf is the number of a prediction that a curve shows; NaN if it has none.
func outputOf(p *api.Prediction, class string) float64 {
	switch {
	case p.Excluded != "":
		return math.NaN()
	case p.Probabilities != nil:
		return p.Probabilities[class]
	case p.Value != nil:
		return *p.Value
	}
	return p.Probability
}

// draw makes the picture and the sentence that says the same.
func (c *curve) draw(f *Field, list []outcome, at int, v *formView, class string) {
	format := percent
	if v.Model.Task == api.Regression {
		format = figure
	}
	of := "“" + cmp.Or(class, v.Model.Dataset.Target.Labels.Positive) + "”"
	if v.Model.Task == api.Regression {
		of = v.Model.Dataset.Target.Column
	}
	low, high, excluded := -1, -1, 0
	for i, o := range list {
		switch {
		case o.excluded != "":
			excluded++
			continue
		case low < 0:
			low, high = i, i
		}
		if o.y < list[low].y {
			low = i
		}
		if o.y > list[high].y {
			high = i
		}
	}
	if low < 0 {
		c.Problem = "No value of this column gives a score."
		return
	}
	if list[low].y == list[high].y {
		c.Said = fmt.Sprintf("%s stays %s, whatever the value.", of, format(list[low].y))
	} else {
		c.Said = fmt.Sprintf("%s goes from %s (%s) to %s (%s).", of, format(list[low].y), list[low].text, format(list[high].y), list[high].text)
	}
	if excluded > 0 {
		c.Said += fmt.Sprintf(" %d of the %d values tried give no score.", excluded, len(list))
	}
	if f.Column.Type == api.Category || f.Column.Type == api.Boolean {
		c.bars(list, at, format)
		return
	}
	chart := linechart.Chart{
		Title: f.Label, Lines: []linechart.Line{{Name: of}}, FormX: figure,
		Format: func(y float64) string {
			if v.Model.Task == api.Regression {
				return linechart.Short(y)
			}
			return linechart.Percent(y)
		},
	}
	for _, o := range list {
		x, _ := dataset.ParseNumber([]byte(o.value))
		chart.X = append(chart.X, x)
		chart.Lines[0].Y = append(chart.Lines[0].Y, o.y)
	}
	if at >= 0 {
		chart.Marks = []linechart.Mark{{Name: "this record: " + f.Value, X: chart.X[at]}}
	}
	if t := v.Model.Threshold; v.Binary() && t >= list[low].y && t <= list[high].y {
		chart.Limits = []linechart.Limit{{Name: "threshold", Y: t}}
	}
	c.Drawing = template.HTML(chart.SVG()) // which escapes its texts
}

// bars draws a category's values as bars, the longest as long as the drawing.
func (c *curve) bars(list []outcome, at int, format func(float64) string) {
	largest := 0.0
	for _, o := range list {
		if o.excluded == "" {
			largest = max(largest, math.Abs(o.y))
		}
	}
	for i, o := range list {
		b := barView{Text: o.text, Current: i == at, Excluded: o.excluded}
		if o.excluded == "" {
			b.Amount = format(o.y)
			b.Width = fmt.Sprintf("%.2f%%", 100*math.Abs(o.y)/max(largest, math.SmallestNonzeroFloat64))
		}
		c.Bars = append(c.Bars, b)
	}
}

// showCurve responds with the curve alone: what the page's script puts into the panel.
func (s *Server) showCurve(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		http.Error(w, "the request is not a form, or too long", http.StatusBadRequest)
		return
	}
	m, err := s.inference.Model(r.Context())
	if err != nil {
		asProblem(err).Write(w)
		return
	}
	record := submitted(&m.Dataset, r.PostForm)
	v := newForm(m, sampleView{}, record, nil)
	v.Curve = s.whatIf(r.Context(), v, record, r.PostForm.Get(whatIfName))
	s.render(w, http.StatusOK, "curve", v)
}
