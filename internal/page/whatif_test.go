package page

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"

	"mlops/internal/api"
)

func TestTries(t *testing.T) {
	t.Parallel()
	low, high, far := 1.0, 4.0, 1e6
	number := api.Column{Name: "n", Type: api.Number, Seen: &api.Seen{Min: &low, Max: &high}}
	integer := api.Column{Name: "n", Type: api.Integer, Min: &low, Max: &high}
	wide := api.Column{Name: "n", Type: api.Integer, Min: &low, Max: &far}
	values := func(list []try) []string {
		var texts []string
		for _, t := range list {
			texts = append(texts, t.value)
		}
		return texts
	}
	for _, test := range []struct {
		name  string
		field Field
		want  []string
	}{
		{"integer", Field{Column: integer}, []string{"1", "2", "3", "4"}},
		{"its own value, beyond the range", Field{Column: integer, Value: "9"}, []string{"1", "2", "3", "4", "9"}},
		{"its own value, within", Field{Column: integer, Value: "3"}, []string{"1", "2", "3", "4"}},
		{"no number", Field{Column: integer, Value: "?"}, []string{"1", "2", "3", "4"}},
		{"no range", Field{Column: api.Column{Type: api.Number}, Value: "9"}, nil},
		{"one value only", Field{Column: api.Column{Type: api.Number, Min: &low, Max: &low}}, nil},
		{"boolean", Field{Column: api.Column{Type: api.Boolean}, Options: []Option{{"true", "yes"}, {"false", "no"}}, Value: "true"}, []string{"true", "false"}},
		{"category without a value", Field{Column: api.Column{Type: api.Category}, Options: []Option{{"a", "A"}}}, []string{"a", ""}},
		{"category of another value", Field{Column: api.Column{Type: api.Category}, Options: []Option{{"a", "A"}}, Value: "z"}, []string{"a", "z"}},
		{"typed text", Field{Column: api.Column{Type: api.Category}}, nil},
		{"date", Field{Column: api.Column{Type: api.Date}, Value: "2024-01-31"}, nil},
	} {
		if diff := cmp.Diff(test.want, values(tries(&test.field))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
	got := values(tries(&Field{Column: number}))
	if len(got) != curvePoints || got[0] != "1" || got[1] != "1.09375" || got[curvePoints-1] != "4" {
		t.Errorf("number: %q, want %d values from 1 to 4", got, curvePoints)
	}
	got = values(tries(&Field{Column: wide}))
	if len(got) != curvePoints || got[1] != "31251" || got[curvePoints-1] != "1e+06" {
		t.Errorf("wide integer: %q", got)
	}
}

func TestWhatIf(t *testing.T) {
	t.Parallel()
	f := newFake(t, "diabetes")
	s := newServer(t, f.URL)
	shown := func(form url.Values) string {
		w := post(s, "/what-if", "application/x-www-form-urlencoded", form.Encode())
		if w.Code != http.StatusOK {
			t.Fatalf("status %d: %s", w.Code, w.Body)
		}
		return strings.Join(strings.Fields(text(parse(t, w).one("div", "id", "curve"))), " ")
	}
	form := url.Values{whatIfName: {"time_in_hospital"}, "c.time_in_hospital": {"3"}, "c.race": {"Asian"}}
	const positive = "“readmitted within 30 days”"
	if got, want := shown(form), positive+" goes from 25.0% (1) to 38.0% (14)."; !strings.HasPrefix(got, want) {
		t.Errorf("a number: %q, want %q", got, want)
	}
	form.Set(whatIfName, "race")
	want := positive + " goes from 25.0% (Caucasian) to 28.0% (Asian). 1 of the 5 values tried give no score. " +
		"Caucasian 25.0% AfricanAmerican 26.0% Hispanic 27.0% Asian (this record) 28.0% Other no score"
	if got := shown(form); got != want {
		t.Errorf("a category: %q, want %q", got, want)
	}
	form.Set(whatIfName, "payer_code")
	if got, want := shown(form), "There is no range or list of values to try for this column."; got != want {
		t.Errorf("typed text: %q, want %q", got, want)
	}
	form.Set(whatIfName, "no such column")
	if got := shown(form); got != "" {
		t.Errorf("no column: %q, want nothing", got)
	}
	f.change(func() {
		f.status, f.problem = 422, `{"title":"Some values are invalid","status":422,"errors":[{"record":0,"field":"race","detail":"is wrong"}]}`
	})
	form.Set(whatIfName, "time_in_hospital")
	if got, want := shown(form), "Some values are invalid: Race is wrong"; got != want {
		t.Errorf("a refused record: %q, want %q", got, want)
	}
}

// Without JavaScript the curve comes with the prediction.
func TestWhatIfWithoutScript(t *testing.T) {
	t.Parallel()
	f := newFake(t, "diabetes")
	s := newServer(t, f.URL)
	form := parse(t, get(s, "/")).form()
	form.Set(whatIfName, "time_in_hospital")
	page := parse(t, postForm(s, form))
	if n := len(page.all(func(n *html.Node) bool { return n.Data == "svg" && attr(n, "class") == "chart" })); n != 1 {
		t.Errorf("%d curves, want 1", n)
	}
	if got := page.form().Get(whatIfName); got != "time_in_hospital" {
		t.Errorf("the column to try is %q after it was tried", got)
	}
}

func TestLink(t *testing.T) {
	t.Parallel()
	f := newFake(t, "diabetes")
	s := newServer(t, f.URL)
	form := parse(t, get(s, "/?sample=2")).form()
	form.Set("c.race", "Zürich & more")
	form.Set("c.time_in_hospital", "")
	page := parse(t, postForm(s, form))
	link := attr(page.one("a", "id", "link"), "href")
	if want := "/?c.race=Z%C3%BCrich+%26+more&c.time_in_hospital=&sample=2"; link != want {
		t.Errorf("link %s, want %s", link, want)
	}
	again := parse(t, get(s, link))
	want, got := page.form(), again.form()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the form that the link opens (-want +got):\n%s", diff)
	}
	if link2 := attr(again.one("a", "id", "link"), "href"); link2 != link {
		t.Errorf("its own link is %s, want %s", link2, link)
	}
	unchanged := parse(t, get(s, "/?c.nonsense=1&c.readmitted=NO&sample=none"))
	if got := attr(unchanged.one("a", "id", "link"), "href"); got != "/?sample=none" {
		t.Errorf("a link with the target and a column that does not exist leads to %s", got)
	}
}
