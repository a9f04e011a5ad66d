package page

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"mlops/internal/api"
	"mlops/internal/card"
)

func TestAbout(t *testing.T) {
	t.Parallel()
	f := newFake(t, "diabetes")
	value, before := 0.69, 0.68
	f.change(func() {
		f.model.Links = api.Links{Card: "/model/card", History: "/model/history"}
		f.card = &card.Card{Title: "T", Blocks: []card.Block{
			{Heading: "Figures", Texts: []string{"With intervals."}, Head: []string{"figure", "test"}, Rows: [][]string{{"auc", "0.6800 (0.6700 to 0.6900)"}}},
			{Heading: "Limits", Items: []string{"few <rows>"}},
		}}
		f.events = &api.Events{Model: "readmission", Total: 3, Stale: "no route to host", Events: []api.Event{{
			At: time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC), Kind: "promoted", By: "pipeline-x", From: 1, To: 2, Why: "it is better",
			Figures: &api.Figures{Metric: "auc", Rows: 99, From: &before, To: &value, ToInterval: []float64{0.67, 0.71}, Rival: &api.Rival{Version: 3, Value: 0.685}},
		}}}
	})
	s := newServer(t, f.URL)
	links, err := ParseLinks("MLflow=:5000/#/models/{model}/versions/{version} Grafana=https://grafana.example.com/d/x Argo=https://:30746")
	if err != nil {
		t.Fatal(err)
	}
	s.SetLinks(links)
	w := get(s, "http://[::1]:8501/about")
	d := parse(t, w)
	text := d.text()
	for _, want := range []string{
		"auc", "0.6800 (0.6700 to 0.6900)", "few <rows>", "With intervals.",
		"promoted", "version 1 → 2", "2026-01-02 03:04 UTC, by pipeline-x", "it is better",
		"auc on 99 validation rows: version 2 0.6900 (0.6700 to 0.7100); version 1 before it 0.6800; version 3, the best of the others, 0.6850",
		"There may be newer events: no route to host", "2 older events are not listed",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page doesn't say %q:\n%s", want, text)
		}
	}
	if n := f.model.Model.Number; w.Code != 200 || !strings.Contains(w.Body.String(), `href="http://[::1]:5000/#/models/readmission/versions/`+n+`"`) || !strings.Contains(w.Body.String(), `href="https://[::1]:30746"`) || !strings.Contains(w.Body.String(), `href="https://grafana.example.com/d/x"`) {
		t.Errorf("status %d, links of %s", w.Code, w.Body)
	}

	// The card alone, under a policy of its own.
	r := httptest.NewRequest(http.MethodGet, "/about/card", nil)
	r.Header.Set("Accept", "text/html")
	alone := httptest.NewRecorder()
	s.ServeHTTP(alone, r)
	if alone.Code != 200 || alone.Header().Get("Content-Security-Policy") != card.Policy || !strings.Contains(alone.Body.String(), "<td>auc</td>") {
		t.Errorf("card: status %d, %v: %s", alone.Code, alone.Header(), alone.Body)
	}

	// Nothing of it is there, or only its reason.
	f.change(func() { f.card = nil; f.events = &api.Events{Missing: "the gate has left none"} })
	if text := parse(t, get(s, "/about")).text(); !strings.Contains(text, "The model card is not here now.") || !strings.Contains(text, "in production before: the gate has left none.") {
		t.Errorf("neither card nor history: %s", text)
	}
	f.change(func() { f.model.Links = api.Links{} })
	if text := parse(t, get(s, "/about")).text(); !strings.Contains(text, "has no model card") || !strings.Contains(text, "does not say what was in production") {
		t.Errorf("an old server: %s", text)
	}
	f.change(func() { f.model = nil })
	if w := get(s, "/about"); w.Code != 503 || !strings.Contains(w.Body.String(), "No model is being served yet") {
		t.Errorf("no model: status %d: %s", w.Code, w.Body)
	}
}

func TestAboutNamesTheChallenger(t *testing.T) {
	t.Parallel()
	agreement := 0.97
	v := challenger(&api.Challenger{Model: &api.Version{Number: "7"}, Share: 0.1, Records: 12, Agreement: &agreement, Difference: &api.Difference{Absolute: 0.01, Largest: 0.2}, Dropped: 1, Failed: 2})
	want := "It scores 10.0% of the requests as well, and nobody is told what it says: 12 records so far. It agrees with the version in production on 97.0% of them. Its outputs differ by 0.01 on average, by at most 0.2. Not compared: 3."
	if v.Heading != "Challenger: version 7" || v.Text != want {
		t.Errorf("%+v, want %q", v, want)
	}
	if v := challenger(&api.Challenger{Refused: &api.Refusal{Version: "8", Reason: "odd"}}); !strings.Contains(v.Text, "8 is refused: odd") {
		t.Errorf("%+v", v)
	}
}

func TestParseLinks(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"MLflow", "=:1", "MLflow=javascript:alert(1)", "MLflow=//host", "MLflow=localhost:5000", "MLflow=:x"} {
		if links, err := ParseLinks(bad); err == nil {
			t.Errorf("%s: %+v", bad, links)
		}
	}
	if links, err := ParseLinks(""); err != nil || links != nil {
		t.Errorf("none: %v, %v", links, err)
	}
}

// text is what the page says, with single blanks.
func (d document) text() string {
	var b strings.Builder
	for n := range d.root.Descendants() {
		if n.Type == html.TextNode {
			b.WriteString(n.Data)
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}
