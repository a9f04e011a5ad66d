package live

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mlops/internal/browser"
)

// TestPageInBrowser starts a test by hand, changes it while it runs, reads a value off a
// chart and stops it. axe-core looks at the page meanwhile, and at its report, light and
// dark, on a telephone's width and a desk's. With MLOPS_TEST_PICTURES set to a folder,
// pictures of them go there.
func TestPageInBrowser(t *testing.T) {
	tab, axe := browser.OpenFor(t, 1280, 900), browser.AxeFor(t, os.Getenv("PYTHON"), os.Getenv("MLOPS_CACHE_HOME"))
	var n atomic.Int64
	page, _ := pages(t, Options{Any: true}, func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1)%20 == 0 {
			http.Error(w, "too much to do", http.StatusServiceUnavailable)
			return
		}
		io.WriteString(w, answer)
	})
	look := func(name string) {
		t.Helper()
		for _, scheme := range []string{"light", "dark"} {
			if err := tab.Media(t.Context(), map[string]string{"prefers-color-scheme": scheme}); err != nil {
				t.Fatal(err)
			}
			for _, width := range []int{390, 1280} {
				if err := tab.Resize(t.Context(), width, 900); err != nil {
					t.Fatal(err)
				}
				tab.Look(t, axe, os.Getenv("MLOPS_TEST_PICTURES"), fmt.Sprintf("loadtest-%s-%d-%s", name, width, scheme))
			}
		}
	}
	if err := tab.Go(t.Context(), page+"/"); err != nil {
		t.Fatal(err)
	}
	const is = `document.getElementById('state').textContent === `
	tab.Do(t, `until `+is+`'ready'`)
	look("ready")

	// What can't be is told, and the form stays.
	tab.Do(t, `f = document.getElementById('start').elements; f.level.value = 3; f.body.value = '{}'; f.think.value = '10'; document.querySelector('.primary').click()`,
		`until document.getElementById('problem').textContent.includes('think')`)
	tab.Do(t, `f.think.value = '10ms'; f.p99.value = '5s'; f.errors.value = 50; document.querySelector('.primary').click()`,
		`until `+is+`'running'`,
		`until document.querySelectorAll('#result svg .line[data-values*="|"]').length >= 9 && document.getElementById('problem').hidden && document.getElementById('start').hidden`,
		`c = document.getElementById('change'); c.elements.level.value = 6; c.querySelector('button').click()`,
		`until [...document.querySelectorAll('.tile')].some((e) => e.textContent.trim() === 'users6')`,
		`until document.querySelector('#result .mark title')?.textContent === 'set to 6' && document.querySelector('#result').textContent.includes('too much to do')`)
	look("running")

	// The pointer on the charts.
	for _, chart := range []struct{ title, unit string }{{"Latency from the intended start", "s"}, {"Failed requests", "%"}} {
		picture := fmt.Sprintf(`[...document.querySelectorAll('svg.chart')].find((e) => e.textContent.startsWith(%q))`, chart.title) // another one each second
		tab.Do(t, picture+`.scrollIntoView({ block: 'center' })`)
		// A scroll that is told of later hides what the pointer shows, and a second in which no
		// request ended has nothing to show: the pointer moves on until there is something.
		var rows []string
		for end := time.Now().Add(20 * time.Second); len(rows) < 2 && time.Now().Before(end); {
			for left := 30.0; left <= 150 && len(rows) < 2; left += 20 {
				var at struct{ X, Y float64 }
				if err := tab.Eval(t.Context(), fmt.Sprintf(`(() => { const r = %s.getBoundingClientRect(); return { x: r.right - %g, y: r.top + r.height / 2 }; })()`, picture, left), &at); err != nil {
					t.Fatal(err)
				}
				if err := tab.Call(t.Context(), "Input.dispatchMouseEvent", map[string]any{"type": "mouseMoved", "x": at.X, "y": at.Y}, nil); err != nil {
					t.Fatal(err)
				}
				if err := tab.Eval(t.Context(), `[...document.querySelectorAll('.readout div')].map((e) => e.textContent)`, &rows); err != nil {
					t.Fatal(err)
				}
			}
		}
		if len(rows) < 2 {
			t.Fatalf("the pointer on %s reads %q", chart.title, rows)
		}
		if !strings.Contains(rows[0], ":") || !strings.HasSuffix(rows[len(rows)-1], chart.unit) {
			t.Errorf("the pointer on %s reads %q", chart.title, rows)
		}
		tab.Picture(t, os.Getenv("MLOPS_TEST_PICTURES"), "loadtest-pointer-"+strings.Fields(chart.title)[0], false)
	}
	tab.Do(t, `document.getElementById('stop').click()`, `until `+is+`'stopped'`, `until !document.getElementById('start').hidden && document.getElementById('change').hidden`)

	// At a rate, whose fields are others.
	var shown []string
	tab.Do(t, `f.model.value = 'rate'; f.model.dispatchEvent(new Event('change'))`)
	if err := tab.Eval(t.Context(), `[...document.getElementById('start').elements].filter((e) => e.closest('label')?.dataset.for && !e.disabled && e.offsetParent).map((e) => e.name)`, &shown); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"arrivals", "connections"}, shown); diff != "" {
		t.Errorf("fields of a rate (-want +got):\n%s", diff)
	}
	tab.Do(t, `f.arrivals.value = 'poisson'; f.level.value = 40; f.duration.value = '2s'; document.querySelector('.primary').click()`,
		`until `+is+`'running'`, `until `+is+`'ended'`, `until document.querySelector('#result').textContent.includes('Connections in use')`)

	if err := tab.Go(t.Context(), page+"/report.html"); err == nil {
		t.Error("the report is shown instead of downloaded")
	}
	_, report := get(t, page+"/report.html")
	file := t.TempDir() + "/report.html"
	if err := os.WriteFile(file, []byte(report), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := tab.Go(t.Context(), "file://"+file); err != nil {
		t.Fatal(err)
	}
	look("report")
	for _, complaint := range tab.Complaints() {
		if !strings.Contains(complaint, "400 (Bad Request)") { // the wrong think time
			t.Errorf("the browser says: %s", complaint)
		}
	}
}
