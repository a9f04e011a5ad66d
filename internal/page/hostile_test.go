package page

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"mlops/internal/api"
	"mlops/internal/browser"
	"mlops/internal/card"
)

// TestHostileInBrowser has every text that comes from a table, a spec, a server or a person
// try to run a script, also where the page's own script writes it. The browser ignores the
// policy that would stop it, so that nothing else hides a hole.
func TestHostileInBrowser(t *testing.T) {
	const evil = `</textarea></script><script>ran()</script>'"><img src=x onerror=ran()>`
	tab := browser.OpenFor(t, 1280, 900)
	if err := tab.Call(t.Context(), "Page.setBypassCSP", map[string]any{"enabled": true}, nil); err != nil {
		t.Fatal(err)
	}
	source := map[string]any{"source": "window.runs = 0; window.ran = () => { window.runs++ }"}
	if err := tab.Call(t.Context(), "Page.addScriptToEvaluateOnNewDocument", source, nil); err != nil {
		t.Fatal(err)
	}
	f := newFake(t, "penguins")
	f.change(func() {
		m := f.model
		m.Model.Name, m.Model.Number, m.Model.Candidate = evil, evil, evil
		m.Dataset.Title, m.Dataset.Description, m.Dataset.Cite = evil, evil, evil
		m.Dataset.Target.Labels.Positive, m.Dataset.Target.Labels.Negative = evil, evil
		m.Refused = &api.Refusal{Version: evil, Reason: evil}
		m.Metrics = map[string]float64{"test_" + evil: 1}
		m.Dataset.Columns = []api.Column{
			{Name: "c" + evil, Label: evil, Form: evil, Type: "category", Values: []string{evil, "b"}, Codes: []api.Code{{Code: evil + "1", Name: evil}}},
			{Name: "n" + evil, Label: evil, Form: evil, Type: "number", Min: new(0.0), Max: new(9.0)},
		}
		m.Samples = []api.Sample{{Record: api.Record{"c" + evil: evil, "n" + evil: "1"}}}
		m.Links = api.Links{Card: "/model/card", History: "/model/history"}
		f.warnings = []api.Warning{{Column: "c" + evil, Kind: api.UnseenLevel, Detail: evil}}
		f.reasons = &api.Contributions{Scale: "log-odds", Features: []api.FeatureContribution{{Label: evil, Value: json.RawMessage(fmt.Sprintf("%q", evil)), Name: evil, Contribution: 0.4}}}
		f.card = &card.Card{Title: evil, Blocks: []card.Block{{Heading: evil, Texts: []string{evil}, Items: []string{evil}, Head: []string{evil}, Rows: [][]string{{evil}}}}}
		f.events = &api.Events{Model: evil, Total: 1, Stale: evil, Events: []api.Event{{At: time.Now(), Kind: evil, By: evil, From: 1, To: 2, Why: evil}}}
	})
	page := httptest.NewServer(newServer(t, f.URL))
	defer page.Close()
	scores := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/model" {
			json.NewEncoder(w).Encode(f.model)
			return
		}
		fmt.Fprintf(w, "label,probability,excluded,warnings\n\"%[1]s\",0.5,,\"%[1]s\"\n", strings.ReplaceAll(evil, `"`, `""`))
	}))
	defer scores.Close()
	files := httptest.NewServer(newServer(t, scores.URL))
	defer files.Close()

	clean := func(what string) {
		t.Helper()
		var made string
		if err := tab.Eval(t.Context(), `[window.runs + " scripts ran", ...[...document.querySelectorAll('img, [onerror]')].map((e) => e.outerHTML)].join()`, &made); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if made != "0 scripts ran" {
			t.Errorf("%s: %s", what, made)
		}
		var shown bool
		if err := tab.Eval(t.Context(), `document.body.innerText.includes('<script>ran()')`, &shown); err != nil || !shown {
			t.Errorf("%s: none of the texts is shown (%v)", what, err)
		}
	}
	open := func(address string, do ...string) {
		t.Helper()
		if err := tab.Go(t.Context(), address); err != nil {
			t.Fatal(err)
		}
		tab.Do(t, do...)
	}
	open(page.URL+"/", pressPredict, predicted)
	clean("the result")
	tab.Do(t, tryValues("c"+evil, "#curve svg"))
	clean("the curve")
	open(page.URL + "/about")
	clean("about")
	open(page.URL + "/about/card")
	clean("the card")
	f.change(func() {
		text, err := json.Marshal(map[string]any{"title": evil, "status": 422, "detail": evil, "errors": []map[string]any{{"record": 0, "field": "n" + evil, "detail": evil}}})
		if err != nil {
			t.Fatal(err)
		}
		f.status, f.problem = 422, string(text)
	})
	open(page.URL+"/", pressPredict, `until document.querySelector('.field.wrong') !== null`)
	clean("a refused record")
	open(files.URL+"/batch", `(async () => {
  const files = new DataTransfer(), evil = `+fmt.Sprintf("%q", evil)+`;
  files.items.add(new File(['age,race\n' + evil.replaceAll('"', '') + ',Asian\n'], evil + '.csv', { type: 'text/csv' }));
  document.getElementById('file').files = files.files;
  document.getElementById('upload').requestSubmit();
  for (let i = 0; i < 200 && document.getElementById('scored').hidden; i++) await new Promise((done) => setTimeout(done, 20));
})()`)
	clean("a scored file")
}
