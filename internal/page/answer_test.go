package page

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"

	"mlops/internal/api"
)

// A record that the cohort leaves out has a reason where others have a score.
func TestExcluded(t *testing.T) {
	f := newFake(t, "diabetes")
	f.change(func() {
		f.excluded = "died, so can't be readmitted"
		f.model.Dataset.Cohort = []api.Exclusion{{Column: "discharge_disposition_id", Values: []string{"11", "19"}, Because: f.excluded}}
	})
	s := newServer(t, f.URL)
	first := parse(t, get(s, "/"))
	if got := text(first.one("footer", "id", "about")); !strings.Contains(got, "Discharged to = 11, 19: died, so can't be readmitted") {
		t.Errorf("the foot does not say which records get no score: %s", got)
	}
	w := postForm(s, first.form())
	d := parse(t, w)
	result := d.one("div", "id", "result")
	if w.Code != 200 || attr(result, "data-state") != "excluded" {
		t.Errorf("status %d, state %q", w.Code, attr(result, "data-state"))
	}
	panel := document{t, d.one("section", "id", "panel")}
	for name, want := range map[string]string{"excluded": "died, so can't be readmitted", "answered": "readmission, version 3", "probability": ""} {
		if n := panel.all(func(n *html.Node) bool { return attr(n, "data-fill") == name }); len(n) != 1 || text(n[0]) != want {
			t.Errorf("the panel's %s is not %q", name, want)
		}
	}
	if title := text(d.all(func(n *html.Node) bool { return n.Data == "title" })[0]); !strings.HasPrefix(title, "No score") {
		t.Errorf("the title is %q", title)
	}
}

// A value's interval holds for records like the test rows, not for one of which hardly
// anything is given.
func TestInterval(t *testing.T) {
	m := &api.Model{Task: api.Regression, Interval: &api.Interval{Coverage: 0.9}, Dataset: api.Dataset{Target: api.Target{Column: "price"}}}
	value := 12.0
	for want, warnings := range map[string][]api.Warning{
		"price, between 10 and 14 in 90 of 100 cases":                        {{Column: "size", Kind: api.OutOfRange}},
		"price; how far it may be off isn’t known, since so little is given": {{Kind: api.HardlyGiven}},
	} {
		v := newForm(m, sampleView{}, nil, nil)
		v.answered(&api.Predictions{Predictions: []api.Prediction{{Value: &value, Interval: &[2]float64{10, 14}, Warnings: warnings}}})
		if v.Result.Of != want {
			t.Errorf("the page says %q, want %q", v.Result.Of, want)
		}
	}
}

// What is unlike the training rows is said in the panel and beside the fields.
func TestWarnings(t *testing.T) {
	f := newFake(t, "diabetes")
	f.change(func() {
		f.warnings = []api.Warning{
			{Column: "race", Kind: api.UnseenLevel, Detail: `no training row has "Martian"`},
			{Column: "encounter_id", Kind: api.OutOfRange, Detail: "is odd"},
			{Kind: api.HardlyGiven, Detail: "only 2 of the 47 columns have a value"},
		}
		f.model.NoWarnings = ""
	})
	s := newServer(t, f.URL)
	first := parse(t, get(s, "/"))
	if got := first.one("div", "id", "warnings"); !has(got, "hidden") {
		t.Error("a form without a prediction shows warnings")
	}
	d := parse(t, postForm(s, first.form()))
	shown := d.one("div", "id", "warnings")
	want := []string{`Race: no training row has "Martian"`, "encounter_id: is odd", "only 2 of the 47 columns have a value"}
	if diff := cmp.Diff(want, texts((document{t, shown}).all(func(n *html.Node) bool { return n.Data == "li" }))); diff != "" || has(shown, "hidden") {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
	beside := d.field("race").all(func(n *html.Node) bool { return attr(n, "class") == "warning" && !has(n, "hidden") })
	if got := strings.Join(texts(beside), "|"); got != `no training row has "Martian"` {
		t.Errorf("beside the field stands %q", got)
	}
	if dock := text(d.all(func(n *html.Node) bool { return attr(n, "class") == "dock" })[0]); !strings.Contains(dock, "3 warnings") {
		t.Errorf("the dock says %s", dock)
	}

	f.change(func() { f.model.NoWarnings = "the version is too old" })
	if got := text(parse(t, get(s, "/")).one("footer", "id", "about")); !strings.Contains(got, "too old") {
		t.Errorf("the foot does not say that there are no warnings: %s", got)
	}
}

// A version of made-up rows has a banner above its form, and no other has one.
func TestSynthetic(t *testing.T) {
	t.Parallel()
	f := newFake(t, "penguins")
	s := newServer(t, f.URL)
	banner := func() string {
		return strings.Join(texts(parse(t, get(s, "/")).all(func(n *html.Node) bool { return strings.Contains(attr(n, "class"), "synthetic") })), "|")
	}
	if got := banner(); got != "" {
		t.Errorf("a version of real rows has the banner %q", got)
	}
	f.change(func() { f.model.Synthetic = true })
	if got := banner(); !strings.Contains(got, "trained on synthetic rows") {
		t.Errorf("a version of made-up rows has the banner %q", got)
	}
}

// The page carries the record that its answer is about, so that a script can tell
// when the form holds another.
func TestAsked(t *testing.T) {
	f := newFake(t, "penguins")
	s := newServer(t, f.URL)
	first := parse(t, get(s, "/"))
	if got := attr(first.one("div", "id", "result"), "data-asked"); got != "" {
		t.Errorf("before a prediction it is %s", got)
	}
	form := first.form()
	form.Set("c.species", "Emperor & <co>")
	var got api.Record
	if err := json.Unmarshal([]byte(attr(parse(t, postForm(s, form)).one("div", "id", "result"), "data-asked")), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(f.records()[0], got); diff != "" {
		t.Errorf("the record on the page (-asked +page):\n%s", diff)
	}
}

// If there are more errors than a response lists, the panel says so.
func TestManyErrors(t *testing.T) {
	f := newFake(t, "diabetes")
	for n, want := range map[int]bool{1: false, 19: false, 20: true} {
		p := api.Problem{Title: "T", Status: 422, Detail: "more than 20 errors"}
		for range n {
			p.Errors = append(p.Errors, api.FieldError{Field: "race", Detail: "is odd"})
		}
		problem, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		f.change(func() { f.status, f.problem = 422, string(problem) })
		s := newServer(t, f.URL)
		got := text(parse(t, postForm(s, parse(t, get(s, "/")).form())).one("section", "id", "panel"))
		if strings.Contains(got, "more than 20") != want || strings.Count(got, "Race: is odd") != n {
			t.Errorf("%d errors: the panel says %s", n, got)
		}
	}
}

// A boolean is yes, no or unknown, and nothing else is offered.
func TestBoolean(t *testing.T) {
	f := newFake(t, "diabetes")
	f.change(func() {
		for i := range f.model.Dataset.Columns {
			if c := &f.model.Dataset.Columns[i]; c.Name == "race" {
				c.Type, c.Values = api.Boolean, nil
			}
		}
		f.model.Samples[0].Record["race"] = "true"
	})
	field := parse(t, get(newServer(t, f.URL), "/")).field("race")
	want := []string{"unknown", "yes", "no"}
	if diff := cmp.Diff(want, texts(field.all(func(n *html.Node) bool { return n.Data == "option" }))); diff != "" {
		t.Errorf("options (-want +got):\n%s", diff)
	}
	if n := field.all(func(n *html.Node) bool { return n.Data == "input" }); len(n) != 0 {
		t.Errorf("%d fields to type another value", len(n))
	}
}

// A required column is marked, and nothing is sent without it.
func TestRequired(t *testing.T) {
	f := newFake(t, "diabetes")
	f.change(func() {
		for i := range f.model.Dataset.Columns {
			if name := f.model.Dataset.Columns[i].Name; name == "race" || name == "time_in_hospital" {
				f.model.Dataset.Columns[i].Required = true
			}
		}
	})
	s := newServer(t, f.URL)
	d := parse(t, get(s, "/?sample=none"))
	for column, want := range map[string]bool{"race": true, "time_in_hospital": true, "gender": false, "number_inpatient": false} {
		field := d.field(column)
		marked := field.all(func(n *html.Node) bool { return attr(n, "class") == "required" })
		control := field.all(func(n *html.Node) bool { return strings.HasPrefix(attr(n, "name"), "c.") })[0]
		if (len(marked) == 1) != want || has(control, "required") != want {
			t.Errorf("%s: %d marks, required %v; want required %v", column, len(marked), has(control, "required"), want)
		}
	}
	form := d.form()
	form.Set("c.race", "Asian")
	w := postForm(s, form)
	d = parse(t, w)
	if got := text(d.one("section", "id", "panel")); w.Code != 422 || !strings.Contains(got, "Days in hospital: is required") || strings.Contains(got, "Race: ") {
		t.Errorf("status %d; the panel says %s", w.Code, got)
	}
	if n := len(f.records()); n != 0 {
		t.Errorf("inference was asked %d times", n)
	}
}
