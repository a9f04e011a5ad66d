package page

import (
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mlops/internal/api"
)

func ptr(x float64) *float64 { return &x }

func TestSubmitted(t *testing.T) {
	d := &readModel(t, "penguins").Dataset
	d.Columns = append(d.Columns, api.Column{Name: "note", Type: "category"})
	tests := []struct {
		why  string
		form url.Values
		want api.Record
	}{
		{"values go as they are", url.Values{"c.species": {"Adelie"}, "c.body_mass_g": {"3750"}}, api.Record{"species": "Adelie", "body_mass_g": "3750"}},
		{"an empty field is a missing value", url.Values{"c.species": {""}, "c.year": {"  "}}, api.Record{}},
		{"a marker of a missing value is one", url.Values{"c.species": {"NA"}}, api.Record{}},
		{"spaces around a value go", url.Values{"c.year": {" 2007 "}}, api.Record{"year": "2007"}},
		{"another value is the one typed", url.Values{"c.species": {"…"}, "o.species": {"Emperor"}}, api.Record{"species": "Emperor"}},
		{"another value left empty is missing", url.Values{"c.species": {"…"}, "o.species": {""}}, api.Record{}},
		{"what is typed without choosing another is not used", url.Values{"c.species": {"Adelie"}, "o.species": {"Emperor"}}, api.Record{"species": "Adelie"}},
		{"a column that is not on the form is sent along", url.Values{"c.note": {"x"}}, api.Record{"note": "x"}},
		{"the target is not sent", url.Values{"c.sex": {"male"}}, api.Record{}},
		{"fields of the page and strangers are not sent", url.Values{"sample": {"1"}, "run": {"r"}, "c.height": {"3"}}, api.Record{}},
	}
	for _, test := range tests {
		if diff := cmp.Diff(test.want, submitted(d, test.form)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.why, diff)
		}
	}
}

// A column's own marker is a missing value in that column only.
func TestMarkersOfAColumn(t *testing.T) {
	d := &api.Dataset{Missing: []string{"?"}, Columns: []api.Column{{Name: "size", Type: "number", Form: "f", Missing: []string{"-1"}}, {Name: "count", Type: "integer", Form: "f"}}}
	got := submitted(d, url.Values{"c.size": {"-1"}, "c.count": {"-1"}})
	if diff := cmp.Diff(api.Record{"count": "-1"}, got); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
}

func TestCheckRequired(t *testing.T) {
	d := &api.Dataset{Columns: []api.Column{{Name: "count", Type: "integer", Required: true}, {Name: "kind", Type: "category", Required: true}, {Name: "size", Type: "number"}}}
	want := []api.FieldError{{Field: "kind", Detail: "is required"}}
	if diff := cmp.Diff(want, check(d, api.Record{"count": "1"})); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
}

func TestCheck(t *testing.T) {
	d := &api.Dataset{Columns: []api.Column{
		{Name: "count", Type: "integer", Min: ptr(1), Max: ptr(14)},
		{Name: "size", Type: "number", Max: ptr(2.5)},
		{Name: "kind", Type: "category"},
	}}
	tests := []struct {
		why    string
		record api.Record
		want   []api.FieldError
	}{
		{"missing values are fine", api.Record{}, nil},
		{"the bounds are inside", api.Record{"count": "14", "size": "2.5"}, nil},
		{"a category is any text", api.Record{"kind": "1e9x"}, nil},
		{"below", api.Record{"count": "0"}, []api.FieldError{{Field: "count", Detail: "must be at least 1"}}},
		{"above", api.Record{"size": "2.51"}, []api.FieldError{{Field: "size", Detail: "must be at most 2.5"}}},
		{"a whole number in another spelling", api.Record{"count": "3.0"}, nil},
		{"a fraction is no integer", api.Record{"count": "3.5"}, []api.FieldError{{Field: "count", Detail: "must be a whole number"}}},
		{"Go's other numbers are none", api.Record{"size": "0x1p-2"}, []api.FieldError{{Field: "size", Detail: "must be a number"}}},
		{"not a number at all, in two columns", api.Record{"count": "a", "size": "NaN"}, []api.FieldError{{Field: "count", Detail: "must be a whole number"}, {Field: "size", Detail: "must be a number"}}},
	}
	for _, test := range tests {
		if diff := cmp.Diff(test.want, check(d, test.record)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.why, diff)
		}
	}
}

func TestGroups(t *testing.T) {
	m := readModel(t, "diabetes")
	list := groups(m, m.Samples[0].Record, m.Samples[0].Record, nil)
	type shape struct {
		Name    string
		Fields  int
		Compact bool
		Common  string
	}
	var got []shape
	for _, g := range list {
		got = append(got, shape{g.Name, len(g.Fields), g.Compact, g.Common})
	}
	want := []shape{
		{"Patient", 4, false, ""}, {"Stay", 6, false, ""}, {"Measurements", 8, false, ""},
		{"Diagnoses", 4, false, ""}, {"Medicines", 25, true, "No"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}
}

// Columns that the version doesn't use come last and can't be tried, unless something else
// depends on them.
func TestUnused(t *testing.T) {
	column := func(name string, seen *api.Seen) api.Column {
		return api.Column{Name: name, Type: api.Integer, Form: "Inputs", Min: new(0.0), Max: new(9.0), Seen: seen}
	}
	needed := column("needed", nil)
	needed.Required = true
	d := api.Dataset{
		Columns: []api.Column{column("year", nil), needed, column("age", &api.Seen{}), column("who", nil), column("day", nil), column("gone", nil)},
		Cohort:  []api.Exclusion{{Column: "gone", Values: []string{"1"}}},
		Earlier: &api.Earlier{Group: "who", Order: "day"},
	}
	names := func(groups []Group) (list []string) {
		for _, g := range groups {
			for _, f := range g.Fields {
				list = append(list, g.Name+": "+f.Column.Name)
			}
		}
		return list
	}
	v := newForm(&api.Model{Dataset: d}, sampleView{}, nil, nil)
	want := []string{"Inputs: needed", "Inputs: age", "Inputs: who", "Inputs: day", "Inputs: gone", "Not used: year"}
	if diff := cmp.Diff(want, names(v.Groups)); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}
	for _, f := range v.WhatIf() {
		if f.Column.Name == "year" {
			t.Error("values of a column that the version does not use can be tried")
		}
	}
	d.Columns[2].Seen = nil // a version that doesn't say
	want = []string{"Inputs: year", "Inputs: needed", "Inputs: age", "Inputs: who", "Inputs: day", "Inputs: gone"}
	if diff := cmp.Diff(want, names(groups(&api.Model{Dataset: d}, nil, nil, nil))); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}
}

func TestOffer(t *testing.T) {
	long := make([]string, maxOptions+1)
	for i := range long {
		long[i] = string(rune('A' + i))
	}
	var offered []Option
	for _, v := range long {
		offered = append(offered, Option{v, v})
	}
	m := &api.Model{
		Dataset: api.Dataset{Missing: []string{"?"}},
		Samples: []api.Sample{{Record: api.Record{"c": "x"}}, {Record: api.Record{"c": "?"}}, {Record: api.Record{"c": "y"}}, {Record: api.Record{"c": "x"}}},
	}
	tests := []struct {
		why         string
		field       Field
		options     []Option
		suggestions []Option
	}{
		{"codes come with their names", Field{Column: api.Column{Codes: []api.Code{{Code: "1", Name: "Emergency"}}}}, []Option{{"1", "1 · Emergency"}}, nil},
		{"values beside codes follow", Field{Column: api.Column{Codes: []api.Code{{Code: "1", Name: "Emergency"}}, Values: []string{"1", "2"}}}, []Option{{"1", "1 · Emergency"}, {"2", "2"}}, nil},
		{"a value that is not listed is kept", Field{Column: api.Column{Values: []string{"a"}}, Value: "b", Sample: "c"}, []Option{{"a", "a"}, {"b", "b"}, {"c", "c"}}, nil},
		{"open values are suggested from the samples, once each", Field{Column: api.Column{Name: "c"}}, nil, []Option{{"x", ""}, {"y", ""}}},
		{"numbers that are sorted as text are sorted as numbers", Field{Column: api.Column{Values: []string{"1", "10", "2"}}}, []Option{{"1", "1"}, {"2", "2"}, {"10", "10"}}, nil},
		{"an order that somebody chose stays", Field{Column: api.Column{Values: []string{"10", "1", "2"}}}, []Option{{"10", "10"}, {"1", "1"}, {"2", "2"}}, nil},
		{"a long list is suggested", Field{Column: api.Column{Values: long}}, nil, offered},
		{"values with names are suggested with them, those that are one number too", Field{Column: api.Column{Name: "c", Names: []api.Range{
			{Name: "Heart failure", From: new(428.0), To: new(429.0)}, {Name: "Circulation", From: new(390.0), To: new(460.0)}, {Name: "Letters", Prefix: "x"},
		}}}, nil, []Option{{"x", "Letters"}, {"y", ""}, {"428", "Heart failure"}}},
	}
	for _, test := range tests {
		f := test.field
		offer(m, &f)
		if diff := cmp.Diff(test.options, f.Options); diff != "" {
			t.Errorf("%s: options (-want +got):\n%s", test.why, diff)
		}
		if diff := cmp.Diff(test.suggestions, f.Suggestions); diff != "" {
			t.Errorf("%s: suggestions (-want +got):\n%s", test.why, diff)
		}
	}
}

func TestSignature(t *testing.T) {
	a, b := readModel(t, "penguins"), readModel(t, "penguins")
	b.Dataset.Description = "other words"
	if signature(&a.Dataset) != signature(&b.Dataset) {
		t.Error("the signature changes with the description, which no form depends on")
	}
	b.Dataset.Columns[0].Values = append(b.Dataset.Columns[0].Values, "Emperor")
	if signature(&a.Dataset) == signature(&b.Dataset) {
		t.Error("the signature does not change with a column's values")
	}
}

func TestSample(t *testing.T) {
	tests := []struct {
		why, asked     string
		count          int
		number, next   int
		missing, value string
	}{
		{"the first unless told", "", 3, 1, 2, "", "1"},
		{"one of them", "2", 3, 2, 3, "", "2"},
		{"after the last comes the first", "3", 3, 3, 1, "", "3"},
		{"one that is not there", "4", 3, 1, 2, "4", "1"},
		{"none below the first", "0", 3, 1, 2, "0", "1"},
		{"no number", "x", 3, 1, 2, "x", "1"},
		{"an empty form", "none", 3, 0, 1, "", "none"},
		{"a model without samples", "", 0, 0, 1, "", "none"},
		{"a model without samples, one requested", "2", 0, 0, 1, "", "none"},
	}
	for _, test := range tests {
		v := findSample(&api.Model{Samples: make([]api.Sample, test.count)}, test.asked)
		if v.Number != test.number || v.Next != test.next || v.Missing != test.missing || v.Value() != test.value {
			t.Errorf("%s: sample(%q) = %+v", test.why, test.asked, v)
		}
		if (v.Probability != nil) != (test.number > 0) {
			t.Errorf("%s: a stored probability is there: %v", test.why, v.Probability != nil)
		}
	}
}

func TestWords(t *testing.T) {
	for in, want := range map[string]string{"bill_length_mm": "Bill length mm", "A1Cresult": "A1Cresult", "île": "Île", "_": "", "": ""} {
		if got := words(in); got != want {
			t.Errorf("words(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestPercentAndPoints(t *testing.T) {
	for p, want := range map[float64]string{0: "0.0%", 0.0004: "< 0.1%", 0.0005: "0.1%", 0.1123: "11.2%", 0.9994: "99.9%", 0.9996: "> 99.9%", 1: "100.0%"} {
		if got := percent(p); got != want {
			t.Errorf("percent(%v) = %q, want %q", p, got, want)
		}
	}
	for d, want := range map[float64]string{0.049: "+4.9 points", -0.049: "−4.9 points", 0.0001: "less than 0.1 points", -0.0001: "less than 0.1 points"} {
		if got := points(d); got != want {
			t.Errorf("points(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestReadable(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		"[10-20)": "10 to under 20", "(0, 5.5]": "over 0 to 5.5", "[1;2]": "1 to 2", "(-3,-1)": "over -3 to under -1",
		">200": ">200", "a-b": "a-b", "10-20": "10-20", "": "",
	} {
		if got := readable(value); got != want {
			t.Errorf("%q: %q, want %q", value, got, want)
		}
	}
}

func TestSliderRange(t *testing.T) {
	t.Parallel()
	low, high := 2.5, 59.6
	for name, test := range map[string]struct {
		field Field
		want  *slider
	}{
		"number":   {Field{Column: api.Column{Type: api.Number, Seen: &api.Seen{Min: &low, Max: &high}}}, &slider{"2.5", "59.6", "1"}},
		"narrow":   {Field{Column: api.Column{Type: api.Number, Min: &low, Max: new(2.75)}}, &slider{"2.5", "2.75", "0.001"}},
		"text":     {Field{Column: api.Column{Type: api.Number, Min: &low, Max: &high}, Value: "x"}, nil},
		"no range": {Field{Column: api.Column{Type: api.Number}}, nil},
		"category": {Field{Column: api.Column{Type: api.Category}}, nil},
	} {
		if diff := cmp.Diff(test.want, test.field.Slider()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestMeaning(t *testing.T) {
	c := api.Column{Type: api.Category, Names: []api.Range{
		{Name: "Heart failure", From: new(428.0), To: new(429.0)}, {Name: "Circulation", From: new(390.0), To: new(460.0)},
		{Name: "Aftercare", Prefix: "V58"}, {Name: "Other contact", Prefix: "V"},
	}}
	for value, want := range map[string]string{
		"428": "Heart failure", "428.3": "Heart failure", "429": "Circulation", "460": "", "V58": "Aftercare", "V58.1": "Aftercare", "V5": "Other contact", "": "", "x": "",
	} {
		if got := (Field{Column: c, Value: value}).Meaning(); got != want {
			t.Errorf("%q means %q, want %q", value, got, want)
		}
	}
	if got, want := (&Field{Column: c}).names(), `[["Heart failure",428,429],["Circulation",390,460],["Aftercare","V58"],["Other contact","V"]]`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// Columns whose values have the same names share a list, which holds what any of them suggests.
func TestSuggest(t *testing.T) {
	named := api.Column{Type: api.Category, Names: []api.Range{{Name: "Letters", Prefix: "x"}}}
	fields := []Field{
		{ID: "f0", Column: named, Suggestions: []Option{{"x1", "Letters"}}},
		{ID: "f1", Column: api.Column{Type: api.Category}, Suggestions: []Option{{"a", ""}}},
		{ID: "f2", Column: named, Suggestions: []Option{{"x1", "Letters"}, {"x2", "Letters"}}},
		{ID: "f3", Column: api.Column{Type: api.Category}, Suggestions: []Option{{"b", ""}}},
		{ID: "f4", Column: api.Column{Type: api.Category}, Options: []Option{{"c", "c"}}},
		{ID: "f5", Column: api.Column{Type: api.Number}},
	}
	shared := map[string]*suggestions{}
	var lists []*suggestions
	var owners []bool
	for i := range fields {
		fields[i].suggest(shared)
		lists, owners = append(lists, fields[i].List), append(owners, fields[i].OwnsList())
	}
	letters := &suggestions{ID: "f0-list", Names: `[["Letters","x"]]`, Options: []Option{{"x1", "Letters"}, {"x2", "Letters"}}}
	want := []*suggestions{letters, {ID: "f1-list", Options: []Option{{"a", ""}}}, letters, {ID: "f3-list", Options: []Option{{"b", ""}}}, nil, nil}
	if diff := cmp.Diff(want, lists); diff != "" {
		t.Errorf("lists (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]bool{true, true, false, true, false, false}, owners); diff != "" {
		t.Errorf("owners (-want +got):\n%s", diff)
	}
}
