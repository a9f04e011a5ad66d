package page

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"mlops/internal/api"
	"mlops/internal/dataset"
)

const (
	// The form's field names begin with these: a column's value, and a value typed
	// because the list does not offer it. The prefixes keep columns of any name apart
	// from the form's own fields.
	valuePrefix = "c."
	otherPrefix = "o."

	// otherValue is the list entry for typing another value.
	otherValue = "…"

	// maxOptions is how many values are offered as a list to choose from; more are
	// suggested while typing.
	maxOptions = 40

	// sliderSteps is how many steps a slider has at least.
	sliderSteps = 50
)

// Group is a group of columns on the form.
type Group struct {
	Name    string
	Fields  []Field
	Compact bool   // many short lists with the same values: shown small
	Common  string // in a compact group, the sample's most frequent value
	Unused  bool   // columns that the version doesn't use: folded away
}

// Wrong reports whether a field of the group has an error.
func (g Group) Wrong() bool {
	return slices.ContainsFunc(g.Fields, func(f Field) bool { return f.Error != "" })
}

// Field is one column on the form.
type Field struct {
	Column      api.Column
	ID          string // of the element
	Label       string
	Range       string       // "0 to 120"; empty if there is none
	Options     []Option     // to choose from; if empty, the value is typed
	Suggestions []Option     // while typing
	List        *suggestions // that holds the suggestions; nil if there are none
	Value       string       // empty if unknown
	Sample      string       // the sample's value
	SampleText  string       // the same, for people
	Error       string
	Warning     string // in what the value is unlike the training rows
}

// suggestions are what a datalist of the form holds. Columns whose values have the same names share
// one, which stands beside the first of them.
type suggestions struct {
	ID      string // of the element
	Names   string // of values, for the page's script; empty if there are none
	Options []Option
}

// Option is a value to choose, and how it is shown.
type Option struct{ Value, Text string }

// Input is the type of the HTML element.
func (f Field) Input() string {
	if f.Column.Type == api.Date {
		switch {
		case len(f.Value) == len("2024-01-31T13:45:00") || f.Value == "" && strings.Contains(f.Column.Format, "mm"):
			return "datetime-local"
		case len(f.Value) == len("2024-01-31") || f.Value == "":
			return "date"
		}
		return "text"
	}
	// A number field would hide text that is not a number.
	if f.Column.Type != api.Category {
		if _, ok := dataset.ParseNumber([]byte(f.Value)); ok || f.Value == "" {
			return "number"
		}
	}
	return "text"
}

// Step is the number field's step.
func (f Field) Step() string {
	if f.Column.Type == api.Integer {
		return "1"
	}
	return "any"
}

// Empty is what the field shows while it has no value.
func (f Field) Empty() string {
	if f.Column.Required {
		return "required"
	}
	return "unknown"
}

// Min and Max are the bounds as HTML attributes; empty if there are none.
func (f Field) Min() string { return cmp.Or(bound(f.Column.Min), f.Column.Earliest) }
func (f Field) Max() string { return cmp.Or(bound(f.Column.Max), f.Column.Latest) }

// Changed reports whether the value differs from the sample's.
func (f Field) Changed() bool { return f.Value != f.Sample }

// Name and OtherName are the names of the form's fields.
func (f Field) Name() string      { return valuePrefix + f.Column.Name }
func (f Field) OtherName() string { return otherPrefix + f.Column.Name }

// Slider is the range of a slider beside a number: as training saw it, or as the spec
// bounds it. It is nil where there is none.
func (f Field) Slider() *slider {
	low, high, ok := numberRange(f.Column)
	if !ok || f.Input() != "number" {
		return nil
	}
	step := 1.0
	if f.Column.Type == api.Number {
		step = math.Pow(10, math.Floor(math.Log10((high-low)/sliderSteps)))
	}
	format := func(x float64) string { return strconv.FormatFloat(x, 'f', -1, 64) }
	return &slider{Low: format(low), High: format(high), Step: format(step)}
}

type slider struct{ Low, High, Step string }

func bound(x *float64) string {
	if x == nil {
		return ""
	}
	return strconv.FormatFloat(*x, 'f', -1, 64)
}

// known returns a field's value, or the empty string if it marks a missing value.
func known(d *api.Dataset, c api.Column, value string) string {
	value = strings.TrimSpace(value)
	if slices.Contains(d.Missing, value) || slices.Contains(c.Missing, value) {
		return ""
	}
	return value
}

// hidden reports whether a column that is not on the form is sent as the sample has
// it. The target never is.
func hidden(d *api.Dataset, c api.Column) bool {
	return c.Form == "" && c.Name != d.Target.Column
}

// signature identifies a form: a page that was rendered with another form must be
// reloaded.
func signature(d *api.Dataset) string {
	text, err := json.Marshal([]any{d.Columns, d.Target})
	if err != nil { // strings and numbers always marshal
		panic(err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

// submitted reads the record from a submitted form. It leaves out columns that were
// left empty, and fields that are no column of the data set.
func submitted(d *api.Dataset, form url.Values) api.Record {
	r := api.Record{}
	for _, c := range d.Columns {
		if c.Form == "" && !hidden(d, c) {
			continue
		}
		value := form.Get(valuePrefix + c.Name)
		if value == otherValue {
			value = form.Get(otherPrefix + c.Name)
		}
		if value = known(d, c, value); value != "" {
			r[c.Name] = value
		}
	}
	return r
}

// check finds what the inference server would refuse, for all columns at once and in
// words that fit beside a field.
func check(d *api.Dataset, r api.Record) []api.FieldError {
	var errs []api.FieldError
	for _, c := range d.Columns {
		value, ok := r[c.Name]
		if !ok && c.Required {
			errs = append(errs, api.FieldError{Field: c.Name, Detail: "is required"})
		}
		if !ok || c.Type != api.Integer && c.Type != api.Number { // the server says it of the others
			continue
		}
		x, number := dataset.ParseNumber([]byte(value))
		detail := ""
		switch {
		case c.Type == api.Integer && (!number || x != math.Trunc(x)): // 39.0 is 39, as everywhere
			detail = "must be a whole number"
		case !number:
			detail = "must be a number"
		case c.Min != nil && x < *c.Min:
			detail = "must be at least " + bound(c.Min)
		case c.Max != nil && x > *c.Max:
			detail = "must be at most " + bound(c.Max)
		}
		if detail != "" {
			errs = append(errs, api.FieldError{Field: c.Name, Detail: detail})
		}
	}
	return errs
}

// groups builds the form: the record's values, marked where they differ from the
// sample's, with the errors beside their fields.
func groups(m *api.Model, record, sample api.Record, errs []api.FieldError) []Group {
	d := &m.Dataset
	var list []Group
	rest := Group{Name: "Not used", Unused: true}
	index := map[string]int{}
	shared := map[string]*suggestions{} // by names
	for i, c := range d.Columns {
		if c.Form == "" {
			continue
		}
		f := Field{
			Column: c, ID: "f" + strconv.Itoa(i), Label: c.Label, Range: rangeOf(c),
			Value: known(d, c, record[c.Name]), Sample: known(d, c, sample[c.Name]),
		}
		if f.Label == "" || f.Label == c.Name {
			f.Label = words(c.Name)
		}
		switch c.Type {
		case api.Category:
			offer(m, &f)
		case api.Boolean:
			f.Options = []Option{{"true", "yes"}, {"false", "no"}}
			if f.Value != "" && f.Value != "true" && f.Value != "false" {
				f.Options = append(f.Options, Option{f.Value, f.Value})
			}
		}
		f.suggest(shared)
		f.SampleText = f.text(f.Sample)
		for _, e := range errs {
			if e.Field == c.Name {
				f.Error = e.Detail
			}
		}
		if m.Dataset.Unused(c) {
			rest.Fields = append(rest.Fields, f)
			continue
		}
		g, ok := index[c.Form]
		if !ok {
			g = len(list)
			index[c.Form] = g
			list = append(list, Group{Name: c.Form})
		}
		list[g].Fields = append(list[g].Fields, f)
	}
	for i := range list {
		list[i].Compact = compact(list[i].Fields)
		if list[i].Compact {
			list[i].Common = common(list[i].Fields)
		}
	}
	if rest.Fields != nil {
		list = append(list, rest)
	}
	return list
}

// offer gives a category's field its options or suggestions.
func offer(m *api.Model, f *Field) {
	var options []Option
	add := func(value, text string) {
		if value != "" && !slices.ContainsFunc(options, func(o Option) bool { return o.Value == value }) {
			options = append(options, Option{value, text})
		}
	}
	for _, c := range f.Column.Codes {
		add(c.Code, called(c.Code, c.Name))
	}
	values := f.Column.Values
	if slices.IsSorted(values) { // as text, which nobody chose for numbers
		values = slices.Clone(values)
		dataset.Ascending(values)
	}
	for _, v := range values {
		add(v, readable(v))
	}
	if len(options) > 0 && (len(f.Column.Codes) > 0 || len(options) <= maxOptions) {
		add(f.Value, readable(f.Value))
		add(f.Sample, readable(f.Sample))
		f.Options = options
		return
	}
	for _, s := range m.Samples {
		v := known(&m.Dataset, f.Column, s.Record[f.Column.Name])
		add(v, nameOf(f.Column, v))
	}
	for _, r := range f.Column.Names {
		if r.From != nil && *r.From == math.Trunc(*r.From) && *r.To == *r.From+1 {
			add(bound(r.From), r.Name)
		}
	}
	f.Suggestions = options
}

// nameOf is what people call a value that is typed; empty if the data set doesn't say.
func nameOf(c api.Column, value string) string {
	for _, r := range c.Names {
		if name := dataset.NameOf([]dataset.Range{dataset.Range(r)}, value); name != "" {
			return name
		}
	}
	return ""
}

// Meaning is what people call the field's value, where it is typed.
func (f Field) Meaning() string { return nameOf(f.Column, f.Value) }

// suggest adds the field's suggestions to the list that it shares with the fields whose values
// have the same names.
func (f *Field) suggest(shared map[string]*suggestions) {
	if len(f.Options) > 0 || len(f.Suggestions) == 0 && len(f.Column.Names) == 0 {
		return
	}
	names := f.names()
	if f.List = shared[names]; f.List == nil || names == "" {
		f.List = &suggestions{ID: f.ID + "-list", Names: names}
		shared[names] = f.List
	}
	for _, o := range f.Suggestions {
		if !slices.Contains(f.List.Options, o) {
			f.List.Options = append(f.List.Options, o)
		}
	}
}

// OwnsList reports whether the field's list stands beside it.
func (f Field) OwnsList() bool { return f.List != nil && f.List.ID == f.ID+"-list" }

// names are the names of values for the page's script: [name, from, to], or [name, prefix].
// It is empty if there are none.
func (f *Field) names() string {
	if len(f.Column.Names) == 0 {
		return ""
	}
	var list [][]any
	for _, r := range f.Column.Names {
		if r.From != nil {
			list = append(list, []any{r.Name, *r.From, *r.To})
		} else {
			list = append(list, []any{r.Name, r.Prefix})
		}
	}
	text, err := json.Marshal(list)
	if err != nil { // strings and finite numbers
		panic(err)
	}
	return string(text)
}

// text is how a value of the field is shown to people.
func (f Field) text(value string) string {
	if value == "" {
		return "unknown"
	}
	for _, o := range f.Options {
		if o.Value == value {
			return o.Text
		}
	}
	return called(value, nameOf(f.Column, value))
}

// called is a value with its name, if it has one.
func called(value, name string) string {
	if name == "" {
		return value
	}
	return value + " · " + name
}

// bin is an interval as tables write it: [10-20), (0, 5.5], [1;2].
var bin = regexp.MustCompile(`^([\[(])\s*(-?[0-9.]+)\s*[-,;]\s*(-?[0-9.]+)\s*([\])])$`)

// readable is a value in words if it is an interval, else the value.
func readable(value string) string {
	m := bin.FindStringSubmatch(value)
	if m == nil {
		return value
	}
	text := m[2] + " to "
	if m[1] == "(" {
		text = "over " + text
	}
	if m[4] == ")" {
		text += "under "
	}
	return text + m[3]
}

// words turns a column's name into a label.
func words(name string) string {
	name = strings.TrimSpace(strings.ReplaceAll(name, "_", " "))
	_, size := utf8.DecodeRuneInString(name)
	return strings.ToUpper(name[:size]) + name[size:]
}

func rangeOf(c api.Column) string {
	switch {
	case c.Earliest != "" && c.Latest != "":
		return c.Earliest + " to " + c.Latest
	case c.Earliest != "":
		return "from " + c.Earliest
	case c.Latest != "":
		return "until " + c.Latest
	case c.Min != nil && c.Max != nil:
		return fmt.Sprintf("%s to %s", bound(c.Min), bound(c.Max))
	case c.Min != nil && *c.Min != 0: // it is obvious that a count is not negative
		return "at least " + bound(c.Min)
	case c.Max != nil:
		return "at most " + bound(c.Max)
	}
	return ""
}

// compact reports whether a group has so many short lists that it would fill the page
// if each had a field's usual size.
func compact(fields []Field) bool {
	const many, few, short = 10, 6, 14
	n := 0
	for _, f := range fields {
		if len(f.Options) == 0 || len(f.Options) > few || len(f.Column.Codes) > 0 {
			continue
		}
		if !slices.ContainsFunc(f.Options, func(o Option) bool { return len(o.Text) > short }) {
			n++
		}
	}
	return n >= many && n == len(fields)
}

// common is the sample's most frequent value among the fields; of equally frequent
// ones, the first.
func common(fields []Field) string {
	count := map[string]int{}
	best := ""
	for _, f := range fields {
		if f.Sample != "" {
			count[f.Sample]++
		}
	}
	for _, f := range fields {
		if count[f.Sample] > count[best] {
			best = f.Sample
		}
	}
	return best
}

// percent formats a probability with one decimal; one that would round to 0 or 100 %
// is shown as a bound.
func percent(p float64) string {
	switch {
	case p > 0 && p < 0.0005:
		return "< 0.1%"
	case p < 1 && p >= 0.9995:
		return "> 99.9%"
	}
	return strconv.FormatFloat(100*p, 'f', 1, 64) + "%"
}

// points formats the difference of two probabilities in percentage points.
func points(d float64) string {
	text := strconv.FormatFloat(100*math.Abs(d), 'f', 1, 64)
	switch {
	case text == "0.0":
		return "less than 0.1 points"
	case d < 0:
		return "−" + text + " points"
	}
	return "+" + text + " points"
}
