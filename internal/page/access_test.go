package page

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mlops/internal/api"
	"mlops/internal/browser"
	"mlops/internal/card"
)

// furnished is a page with everything that it can show: reasons, a warning, a card, a
// history, links, charts.
func furnished(t *testing.T) (*fakeInference, string) {
	t.Helper()
	f := newFake(t, "diabetes")
	value := 0.69
	f.change(func() {
		for i := range 101 {
			f.model.TestOutputs = append(f.model.TestOutputs, float32(i)/100)
		}
		f.warnings = []api.Warning{{Column: "race", Kind: api.UnseenLevel, Detail: "no training row has this value"}}
		f.reasons = &api.Contributions{Scale: "log-odds", Features: []api.FeatureContribution{
			{Label: "Inpatient stays in the year before", Value: json.RawMessage("3"), Contribution: 0.4},
			{Label: "Discharged to", Value: json.RawMessage(`"1"`), Name: "Discharged to home", Contribution: -0.2},
		}}
		f.model.Links = api.Links{Card: "/model/card", History: "/model/history"}
		f.card = &card.Card{Title: "T", Blocks: []card.Block{
			{Heading: "Figures", Texts: []string{"With intervals."}, Head: []string{"figure", "test"}, Rows: [][]string{{"auc", "0.6800 (0.6700 to 0.6900)"}}},
			{Heading: "Limits", Items: []string{"few rows"}},
		}}
		f.events = &api.Events{Model: "readmission", Total: 3, Stale: "no route to host", Events: []api.Event{{
			At: time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC), Kind: "promoted", By: "pipeline-x", From: 1, To: 2, Why: "it is better",
			Figures: &api.Figures{Metric: "auc", Rows: 99, To: &value, ToInterval: []float64{0.67, 0.71}},
		}}}
	})
	s := newServer(t, f.URL)
	links, err := ParseLinks("MLflow=:5000 Grafana=https://grafana.example.com/d/x")
	if err != nil {
		t.Fatal(err)
	}
	s.SetLinks(links)
	if err := s.UsePrometheus(newFakePrometheus(t).URL + "/"); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return f, server.URL
}

const (
	pressPredict = `document.querySelector('.panel .primary').click()`
	furnishing   = `until 'furnished' in document.documentElement.dataset` // the form has its sliders
	predicted    = `until document.getElementById('result').dataset.state === 'predicted' && !document.querySelector('.is-busy')`
)

// tryValues asks for the curve of a column and waits for it.
func tryValues(column, drawn string) string {
	return fmt.Sprintf(`(async () => {
  const choice = document.getElementById('what-if');
  choice.value = %q;
  choice.dispatchEvent(new Event('change'));
  for (let i = 0; i < 200 && !document.querySelector(%q); i++) await new Promise((done) => setTimeout(done, 20));
})()`, column, drawn)
}

// scoreFile has the page score a file.
const scoreFile = `(async () => {
  const files = new DataTransfer();
  files.items.add(new File(['age,race\n[0-10),Asian\n'], 'ward.csv', { type: 'text/csv' }));
  document.getElementById('file').files = files.files;
  document.getElementById('upload').requestSubmit();
  for (let i = 0; i < 200 && document.getElementById('scored').hidden; i++) await new Promise((done) => setTimeout(done, 20));
})()`

// TestAccessible has axe-core look at every page, light and dark, on a telephone's and a
// desk's width. With MLOPS_TEST_PICTURES set to a folder, pictures of them go there.
func TestAccessible(t *testing.T) {
	tab, script := browser.OpenFor(t, 1280, 900), browser.AxeFor(t, os.Getenv("PYTHON"), os.Getenv("MLOPS_CACHE_HOME"))
	_, base := furnished(t)
	files := httptest.NewServer(newServer(t, csvServer(t)))
	defer files.Close()
	withKeys, _ := locked(t, newFake(t, "diabetes").URL, "predict")
	login := httptest.NewServer(withKeys)
	defer login.Close()
	empty := newFake(t, "diabetes")
	empty.model = nil
	waiting := httptest.NewServer(newServer(t, empty.URL))
	defer waiting.Close()
	penguins := newFake(t, "penguins")
	other := httptest.NewServer(newServer(t, penguins.URL))
	defer other.Close()

	pages := []struct {
		name, address string
		do            []string
	}{
		{"form", base + "/", nil},
		{"result", base + "/", []string{pressPredict, predicted, tryValues("time_in_hospital", "#curve svg")}},
		{"bars", base + "/", []string{pressPredict, predicted, tryValues("admission_type_id", "#curve .bars")}},
		{"wrong", base + "/", []string{`document.querySelector('[name="c.time_in_hospital"]').value = 99`, pressPredict, `until document.querySelector('.field.wrong') !== null`}},
		{"about", base + "/about", nil},
		{"card", base + "/about/card", nil},
		{"monitor", base + "/monitor", nil},
		{"batch", base + "/batch", nil},
		{"scored", files.URL + "/batch", []string{scoreFile}},
		{"login", login.URL + "/", nil},
		{"none", base + "/nowhere", nil},
		{"waiting", waiting.URL + "/", nil},
		{"penguins", other.URL + "/", nil},
	}
	for _, scheme := range []string{"light", "dark"} {
		if err := tab.Media(t.Context(), map[string]string{"prefers-color-scheme": scheme}); err != nil {
			t.Fatal(err)
		}
		for _, width := range []int{390, 1280} {
			if err := tab.Resize(t.Context(), width, 900); err != nil {
				t.Fatal(err)
			}
			for _, p := range pages {
				name := fmt.Sprintf("%s-%d-%s", p.name, width, scheme)
				if err := tab.Go(t.Context(), p.address); err != nil {
					t.Fatal(name, err)
				}
				tab.Do(t, p.do...)
				tab.Look(t, script, os.Getenv("MLOPS_TEST_PICTURES"), name)
			}
		}
	}
	for _, complaint := range tab.Complaints() {
		if !strings.HasPrefix(complaint, "Failed to load resource: the server responded with a status") { // as it should for some
			t.Errorf("the browser says: %s", complaint)
		}
	}
}

// press presses a key some times.
func press(t *testing.T, tab *browser.Page, key string, times int) {
	t.Helper()
	for range times {
		if err := tab.Press(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
}

// focused is what has the keyboard's focus.
func focused(t *testing.T, tab *browser.Page) string {
	t.Helper()
	var name string
	if err := tab.Eval(t.Context(), `(document.activeElement.name || document.activeElement.textContent || '').trim()`, &name); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestByKeyboard goes through the form with Tab alone: every control is reached in the
// page's order, shows that it is, and Enter predicts.
func TestByKeyboard(t *testing.T) {
	tab := browser.OpenFor(t, 1280, 900)
	f, base := furnished(t)
	if err := tab.Go(t.Context(), base); err != nil {
		t.Fatal(err)
	}
	tab.Do(t, furnishing)
	var want []string
	err := tab.Eval(t.Context(), `[...document.querySelectorAll('a[href], button, input:not([type=hidden]), select, summary, [tabindex="0"]')]
  .filter((e) => e.checkVisibility()).map((e) => (e.name || e.textContent).trim())`, &want)
	if err != nil {
		t.Fatal(err)
	}
	var got, unseen []string
	for range want {
		press(t, tab, "Tab", 1)
		got = append(got, focused(t, tab))
		var seen bool
		err := tab.Eval(t.Context(), `(() => {
  const e = document.activeElement, r = e.getBoundingClientRect();
  return getComputedStyle(e).outlineStyle !== 'none' && r.bottom > 0 && r.top < innerHeight;
})()`, &seen)
		if err != nil {
			t.Fatal(err)
		}
		if !seen {
			unseen = append(unseen, got[len(got)-1])
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Tab goes (-want +got):\n%s", diff)
	}
	if len(unseen) > 0 {
		t.Errorf("these don't show that they have the focus: %q", unseen)
	}

	// Again from the start, to a field: change it, predict.
	tab.Do(t, `document.activeElement.blur()`, `document.querySelector('[name="c.time_in_hospital"]').focus()`)
	press(t, tab, "ArrowUp", 2)
	press(t, tab, "Enter", 1)
	tab.Do(t, predicted)
	asked := f.records()
	if n := len(asked); n == 0 || asked[n-1]["time_in_hospital"] != "5" {
		t.Errorf("asked for %v, want 5 days in hospital", asked)
	}
}

// TestWithoutJavaScript predicts, explains and tries values by plain forms.
func TestWithoutJavaScript(t *testing.T) {
	tab := browser.OpenFor(t, 1280, 900)
	_, base := furnished(t)
	if err := tab.Call(t.Context(), "Emulation.setScriptExecutionDisabled", map[string]any{"value": true}, nil); err != nil {
		t.Fatal(err)
	}
	if err := tab.Go(t.Context(), base); err != nil {
		t.Fatal(err)
	}
	var shown int
	if err := tab.Eval(t.Context(), `document.querySelectorAll('input[type=range]').length`, &shown); err != nil || shown != 0 {
		t.Errorf("%d sliders that do nothing, %v", shown, err)
	}
	tab.Do(t, `document.getElementById('what-if').value = 'time_in_hospital'`, `document.querySelector('[name="c.time_in_hospital"]').focus()`)
	press(t, tab, "Enter", 1)
	tab.Do(t, `until document.readyState === 'complete' && document.getElementById('result').dataset.state === 'predicted'`)
	var text string
	if err := tab.Eval(t.Context(), `document.getElementById('panel').innerText`, &text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"25.0%", "2.2 times the average", "Higher than for 24 of 100", "no training row has this value", "Why", "Inpatient stays in the year before: 3", "×1.49", "goes from 25.0% (1) to 38.0% (14)"} {
		if !strings.Contains(text, want) {
			t.Errorf("the panel does not say %q:\n%s", want, text)
		}
	}
}

// TestForcedColours: with the colours of a system's high contrast, controls have borders
// and bars differ from the ground.
func TestForcedColours(t *testing.T) {
	tab := browser.OpenFor(t, 1280, 900)
	_, base := furnished(t)
	if err := tab.Media(t.Context(), map[string]string{"forced-colors": "active", "prefers-color-scheme": "dark"}); err != nil {
		t.Fatal(err)
	}
	for _, column := range []string{"time_in_hospital", "admission_type_id"} {
		if err := tab.Go(t.Context(), base); err != nil {
			t.Fatal(err)
		}
		tab.Do(t, pressPredict, predicted, tryValues(column, "#curve :is(svg, .bars)"))
		var found []string
		err := tab.Eval(t.Context(), `(() => {
  const ground = getComputedStyle(document.body).backgroundColor, found = [];
  for (const e of document.querySelectorAll('button, .button, select, input:not([type=hidden], [type=range])')) {
    const s = getComputedStyle(e);
    if (e.checkVisibility() && (s.borderTopStyle === 'none' || s.borderTopWidth === '0px' || s.borderTopColor === ground)) found.push('no border: ' + e.outerHTML.slice(0, 80));
  }
  for (const e of document.querySelectorAll('svg :is(rect, line, path, polyline, circle)')) {
    const s = getComputedStyle(e), gone = (c) => c === 'none' || c === ground || c === 'rgba(0, 0, 0, 0)';
    if (e.checkVisibility() && gone(s.fill) && gone(s.stroke)) found.push('not to be seen: ' + e.outerHTML.slice(0, 80));
  }
  return found;
})()`, &found)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range found {
			t.Errorf("%s: %s", column, v)
		}
		tab.Picture(t, os.Getenv("MLOPS_TEST_PICTURES"), "forced-"+column, true)
	}
}

// TestSlider: the slider and the number follow each other, by keyboard too; the number
// is what is sent.
func TestSlider(t *testing.T) {
	tab := browser.OpenFor(t, 1280, 900)
	f, base := furnished(t)
	if err := tab.Go(t.Context(), base); err != nil {
		t.Fatal(err)
	}
	const days = `document.querySelector('[data-column=time_in_hospital]')`
	var others int // lists' fields for another value, which only show when it is chosen
	if err := tab.Eval(t.Context(), `[...document.querySelectorAll('.other')].filter((e) => e.checkVisibility()).length`, &others); err != nil || others != 0 {
		t.Errorf("%d fields for another value are shown, %v", others, err)
	}
	tab.Do(t, furnishing, days+`.querySelector('.slider').focus()`)
	press(t, tab, "ArrowRight", 2)
	tab.Do(t, predicted)
	var got []string
	read := func() {
		t.Helper()
		if err := tab.Eval(t.Context(), `((f) => [f.querySelector('.slider').value, f.querySelector('[name]').value, f.querySelector('.slider').getAttribute('aria-valuetext'), f.className])(`+days+`)`, &got); err != nil {
			t.Fatal(err)
		}
	}
	read()
	if diff := cmp.Diff([]string{"5", "5", "5", "field changed"}, got); diff != "" {
		t.Errorf("after two presses (-want +got):\n%s", diff)
	}
	if asked := f.records(); len(asked) == 0 || asked[len(asked)-1]["time_in_hospital"] != "5" {
		t.Errorf("asked for %v, want 5 days", asked)
	}
	tab.Do(t, `((i) => { i.value = ''; i.dispatchEvent(new Event('input', { bubbles: true })); })(`+days+`.querySelector('[name]'))`)
	read()
	if diff := cmp.Diff([]string{"7.5", "", "unknown", "field changed"}, got); diff != "" {
		t.Errorf("without a value (-want +got):\n%s", diff)
	}
}
