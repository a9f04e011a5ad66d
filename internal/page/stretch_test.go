package page

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"mlops/internal/browser"
)

func TestStretchOf(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 2, 12, 0, 0, 500, time.UTC)
	for _, tt := range []struct{ from, to, want string }{
		{"", "", "0001-01-01T00:00:00 0001-01-01T00:00:00"},
		{"2026-03-02T10:00", "2026-03-02T10:20:30", "2026-03-02T10:00:00 2026-03-02T10:20:30"},
		{"2026-03-02T10:00:00+02:00", "2026-03-02T09:00:00Z", "2026-03-02T08:00:00 2026-03-02T09:00:00"},
		{"2026-03-02T10:00:00", "", "2026-03-02T10:00:00 2026-03-02T10:30:00"},
		{"", "2026-03-02T10:00:00", "2026-03-02T09:30:00 2026-03-02T10:00:00"},
		{"2026-03-02T11:00:00", "2027-01-01T00:00:00", "2026-03-02T11:00:00 2026-03-02T12:00:00"},
		{"2026-03-02T10:00:00", "2026-03-02T10:00:10", "2026-03-02T09:59:35 2026-03-02T10:00:35"},
		{"2026-03-02T10:00:00", "2026-03-02T10:00:00", "is no stretch"},
		{"2026-03-02T13:00:00", "", "is no stretch"},
		{"2024-03-02T13:00:00", "2026-03-02T10:00:00", "more than a year"},
		{"yesterday", "", `from: "yesterday" is not a time`},
		{"2026-03-02T10:00:00", "12:00", `to: "12:00" is not a time`},
	} {
		got, err := stretchOf(url.Values{"from": {tt.from}, "to": {tt.to}}, now)
		text := got.from.Format(momentFormat) + " " + got.to.Format(momentFormat)
		if err != nil {
			text = err.Error()
		}
		if !strings.Contains(text, tt.want) {
			t.Errorf("from %q to %q: %q, want %q", tt.from, tt.to, text, tt.want)
		}
	}
}

// A stretch of the past has the clock's times, with days where they are needed.
func TestAxisOf(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ from, to, want string }{
		{"2026-03-02T10:00:00", "2026-03-02T10:02:00", "10:00:00 10:00:30 10:01:00 10:01:30 10:02:00"},
		{"2026-03-02T10:00:00", "2026-03-02T12:00:00", "10:00 10:30 11:00 11:30 12:00"},
		{"2026-03-02T20:00:00", "2026-03-03T04:00:00", "Mar 2 20:00 Mar 2 22:00 Mar 3 00:00 Mar 3 02:00 Mar 3 04:00"},
		{"2026-03-02T00:00:00", "2026-03-23T00:00:00", "Mar 2 Mar 6 Mar 10 Mar 14 Mar 18 Mar 22"},
	} {
		s, err := stretchOf(url.Values{"from": {tt.from}, "to": {tt.to}}, time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC))
		if err != nil {
			t.Fatal(err)
		}
		a := axisOf(s)
		var got []string
		for _, x := range a.ticks(a.at(s.from), a.at(s.to)) {
			got = append(got, a.form(x))
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("from %s to %s: %q, want %q", tt.from, tt.to, got, tt.want)
		}
	}
}

// A stretch of the past is asked for as such, and every link to another dashboard keeps it.
func TestMonitorOfThePast(t *testing.T) {
	t.Parallel()
	f := newFakePrometheus(t)
	s := monitorPage(t, f)
	w := get(s, "/monitor?board=model&range=6h0m0s&from=2026-03-02T10:00&to=2026-03-02T12:00:00")
	body := w.Body.String()
	for _, want := range []string{
		`value="2026-03-02T10:00:00"`, `data-to="2026-03-02T12:00:00" data-past`, "board=serving&amp;from=2026-03-02T10%3A00%3A00&amp;range=6h0m0s&amp;to=2026-03-02T12%3A00%3A00",
		">10:30<", ">12:00<", "at the end of the time shown",
	} {
		if w.Code != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%d: no %s in\n%s", w.Code, want, body)
		}
	}
	for _, not := range []string{`http-equiv="refresh"`, ">now<", `aria-current="true"`} {
		if strings.Contains(body, not) {
			t.Errorf("%s in a page of the past", not)
		}
	}
	for _, q := range f.asked {
		start, end := q.Get("start"), q.Get("end")
		if strings.TrimSuffix(start, ".000") != "1772445600" || strings.TrimSuffix(end, ".000") != "1772452800" || q.Get("step") != "60" {
			t.Fatalf("asked %v", q)
		}
	}
	w = get(s, "/monitor?from=<b>")
	if body := w.Body.String(); w.Code != http.StatusBadRequest || !strings.Contains(body, "&lt;b&gt;") || !strings.Contains(body, ">now<") {
		t.Errorf("a wrong time: %d\n%s", w.Code, body)
	}
	for i := range 3 * monitorKept {
		get(s, "/monitor?to="+time.Unix(int64(1e9+60*i), 0).UTC().Format(momentFormat))
	}
	if n := len(s.monitor.drawn); n > monitorKept {
		t.Errorf("%d drawn dashboards are kept", n)
	}
}

// Dragging over a chart leads to that stretch, also on a page that has drawn itself anew; a
// click doesn't, nor does Escape. The fields lead there too.
func TestZoomInBrowser(t *testing.T) {
	tab := browser.OpenFor(t, 1400, 900)
	s := monitorPage(t, newFakePrometheus(t))
	server := httptest.NewServer(s)
	defer server.Close()
	if err := tab.Go(t.Context(), server.URL+"/monitor?board=model&range=6h0m0s"); err != nil {
		t.Fatal(err)
	}
	mouse := func(kind string, x, y float64) {
		t.Helper()
		if err := tab.Call(t.Context(), "Input.dispatchMouseEvent", map[string]any{"type": kind, "x": x, "y": y, "button": "left", "buttons": 1, "clickCount": 1}, nil); err != nil {
			t.Fatal(err)
		}
	}
	const chart = `document.querySelector('svg.chart')`
	drag := func(from, to float64) {
		t.Helper()
		var r struct{ X, Y, Width float64 }
		tab.Do(t, chart+`.scrollIntoView({ block: 'center' })`, `new Promise(requestAnimationFrame)`)
		if err := tab.Eval(t.Context(), `(() => { const r = `+chart+`.getBoundingClientRect(); return { x: r.x, y: r.y + r.height / 2, width: r.width }; })()`, &r); err != nil {
			t.Fatal(err)
		}
		at := func(share float64) float64 { return r.X + r.Width*(46+share*(400-46-8))/400 }
		mouse("mousePressed", at(from), r.Y)
		mouse("mouseMoved", at((from+to)/2), r.Y)
		mouse("mouseMoved", at(to), r.Y)
		tab.Do(t, `until document.querySelector('.band') !== null`)
		mouse("mouseReleased", at(to), r.Y)
	}
	var main struct{ From, To string }
	shown := func() (from, to time.Time) {
		t.Helper()
		if err := tab.Eval(t.Context(), `({ from: document.getElementById('monitor').dataset.from, to: document.getElementById('monitor').dataset.to })`, &main); err != nil {
			t.Fatal(err)
		}
		from, err := time.Parse(momentFormat, main.From)
		if err != nil {
			t.Fatal(err)
		}
		to, err = time.Parse(momentFormat, main.To)
		if err != nil {
			t.Fatal(err)
		}
		return from, to
	}
	begin, end := shown()
	drag(0.75, 0.5) // backwards is as good
	tab.Do(t, `until location.search.includes('from=') && document.querySelector('#monitor[data-past]') !== null`)
	from, to := shown()
	whole := end.Sub(begin)
	near := func(got, want time.Time) bool { return got.Sub(want).Abs() < whole/100 }
	if !near(from, begin.Add(whole/2)) || !near(to, begin.Add(3*whole/4)) {
		t.Errorf("half to three quarters of %v to %v is shown as %v to %v", begin, end, from, to)
	}
	tab.Do(t, `window.old = true`)
	drag(-0.05, 1.02) // beyond its ends is the whole chart
	tab.Do(t, `until !window.old && document.querySelector('#monitor[data-past]') !== null`)
	if a, b := shown(); a.Sub(from).Abs() > time.Second || b.Sub(to).Abs() > time.Second {
		t.Errorf("the whole of %v to %v is shown as %v to %v", from, to, a, b)
	}
	before := ""
	if err := tab.Eval(t.Context(), `location.href`, &before); err != nil {
		t.Fatal(err)
	}
	tab.Do(t, `window.same = true`)
	drag(0.5, 0.502)
	var same bool
	if err := tab.Eval(t.Context(), `window.same === true && !document.querySelector('.band')`, &same); err != nil || !same {
		t.Errorf("a click leads elsewhere (%v)", err)
	}
	tab.Do(t, `document.getElementById('to').value = '2026-03-02T10:00:00'`, `document.getElementById('from').value = '2026-03-02T09:00'`, `document.querySelector('header form button').click()`,
		`until location.search.includes('from=2026-03-02T09%3A00') && document.querySelector('#monitor[data-from="2026-03-02T09:00:00"][data-to="2026-03-02T10:00:00"]') !== null`)
	for _, complaint := range tab.Complaints() {
		t.Errorf("the browser says: %s", complaint)
	}
}
