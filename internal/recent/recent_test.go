package recent

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"mlops/dashboards/board"
)

var begin = time.Unix(1e9, 0)

// filled has eleven scrapes, ten seconds apart.
func filled(t *testing.T) *History {
	t.Helper()
	h := New()
	for i := range 11 {
		n := 10 * i
		restarted := n // a counter that starts again at 50 s
		if i >= 5 {
			restarted = n - 50
		}
		text := fmt.Sprintf(`# TYPE requests_total counter
requests_total{code="200"} %d
requests_total{code="500"} %d
# TYPE restarted_total counter
restarted_total %d
# TYPE seconds histogram
seconds_bucket{le="0.1"} %d
seconds_bucket{le="0.2"} %d
seconds_bucket{le="+Inf"} %d
seconds_sum %d
seconds_count %d
# TYPE info gauge
info{version="%d"} 1
# TYPE loaded gauge
loaded %d
# TYPE memory gauge
memory 7
`, 9*n, n, restarted, 5*n, 10*n, 10*n, n, 10*n, 1+i/6, 100*(i/6))
		if err := h.Add(begin.Add(time.Duration(i)*10*time.Second), strings.NewReader(text), Labels{"job": "a", "instance": "x"}); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

// Expected values are by hand, from what Prometheus documents.
func TestRange(t *testing.T) {
	t.Parallel()
	h := filled(t)
	at := begin.Add(100 * time.Second)
	for expr, want := range map[string]map[string]float64{
		`memory`:                         {"__name__=memory instance=x job=a": 7},
		`sum(rate(requests_total[60s]))`: {"": 10},
		`60 * sum by (code) (rate(requests_total{code=~"5.."}[1m]))`:                                     {"code=500": 60},
		`sum(rate(requests_total{code="500"}[60s])) / (sum(rate(requests_total[60s])) > 0)`:              {"": 0.1},
		`sum(rate(requests_total{code="500"}[60s])) / (sum(rate(requests_total{code="none"}[60s])) > 0)`: {},
		`sum(increase(restarted_total[100s]))`:                                                           {"": 90},
		`histogram_quantile(0.75, sum by (le) (rate(seconds_bucket[60s]))) >= 0`:                         {"": 0.15},
		`histogram_quantile(0.25, sum by (le) (rate(seconds_bucket[60s])))`:                              {"": 0.05},
		`sum(rate(seconds_sum[60s])) / (sum(rate(seconds_count[60s])) > 0)`:                              {"": 0.1},
		`sum by (version) (info)`:                 {"version=2": 1},
		`time() - max(loaded > 0)`:                {"": 1e9},
		`memory and on (job, instance) info`:      {"__name__=memory instance=x job=a": 7},
		`memory and on (job) loaded{job="b"}`:     {},
		`count(info) or vector(0)`:                {"": 1},
		`count(none) or vector(0)`:                {"": 0},
		`topk(1, sum by (code) (requests_total))`: {"code=200": 900},
		`sum by (version) (changes(loaded[60s]) * on (job, instance) group_right () info)`:   {"version=2": 1},
		`max(memory) - min(memory) + 2 * 3`:                                                  {"": 6},
		`requests_total{code!="200",job!~"b.*"} unless on (code) requests_total{code="200"}`: {"__name__=requests_total code=500 instance=x job=a": 100},
		`sum(rate(memory[5s]))`: {},
		`ceil(histogram_quantile(0.75, sum by (le) (rate(seconds_bucket[60s])))) >= 0`: {"": 1},
		`sum by (version) (round(0.25 * info))`:                                        {"version=2": 0},
		`round(memory / 2)`:                                                            {"instance=x job=a": 4},
		`histogram_quantile(0.5, sum by (le) (rate(seconds_bucket{job="b"}[60s])))`:    {},
		`sum(rate(requests_total[60s])) or sum by (code) (requests_total)`:             {"": 10, "code=200": 900, "code=500": 100},
	} {
		lines, err := h.Range(expr, []time.Time{at})
		if err != nil {
			t.Errorf("%s: %v", expr, err)
			continue
		}
		got := map[string]float64{}
		for _, l := range lines {
			got[strings.TrimSpace(strings.NewReplacer("\x00", " ").Replace(pairs(l.Labels)))] = l.Values[0]
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateApprox(1e-9, 1e-6), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", expr, diff)
		}
	}
}

// pairs is a=b c=d by name.
func pairs(l Labels) string {
	parts := strings.Split(strings.TrimSuffix(l.key(), "\x00"), "\x00")
	var b strings.Builder
	for i := 0; i+1 < len(parts); i += 2 {
		fmt.Fprintf(&b, "%s=%s ", parts[i], parts[i+1])
	}
	return b.String()
}

// Single events are whole numbers, also the first one of its kind, whose counter appears with
// it; and scrapes need not be regular.
func TestRareEvents(t *testing.T) {
	t.Parallel()
	h := New()
	for i, jitter := range []time.Duration{0, 3, -4, 2, 0, -1, 4, -3, 1, 0, 2, -2, 0, 3, -1, 0, 2, 1, -4, 0} {
		text := "# TYPE requests_total counter\nrequests_total{code=\"200\"} 5\n"
		if i >= 10 {
			text += "requests_total{code=\"500\"} 1\n"
		}
		if i >= 12 {
			text = strings.Replace(text, "} 5", "} 6", 1)
		}
		if err := h.Add(begin.Add(time.Duration(i)*5*time.Second+jitter*time.Millisecond), strings.NewReader(text), nil); err != nil {
			t.Fatal(err)
		}
	}
	var times []time.Time
	for i := range 20 {
		times = append(times, begin.Add(time.Duration(i)*5*time.Second+2*time.Second))
	}
	lines, err := h.Range(`sum by (code) (increase(requests_total[30s]))`, times)
	if err != nil {
		t.Fatal(err)
	}
	none := math.NaN()
	want := []Line{
		{Labels{"code": "200"}, []float64{none, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 0, 0}},
		{Labels{"code": "500"}, []float64{none, none, none, none, none, none, none, none, none, none, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0}},
	}
	if diff := cmp.Diff(want, lines, cmpopts.EquateNaNs()); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	rates, err := h.Range(`60 * sum(rate(requests_total{code="500"}[30s]))`, times[10:11])
	if err != nil || len(rates) != 1 || math.Abs(rates[0].Values[0]-2) > 0.01 {
		t.Errorf("one request in half a minute is a rate of %v per minute (%v)", rates, err)
	}
}

// A series is a line with gaps where it was not there.
func TestGaps(t *testing.T) {
	t.Parallel()
	h := filled(t)
	var times []time.Time
	for i := range 4 {
		times = append(times, begin.Add(time.Duration(-40+40*i)*time.Second))
	}
	lines, err := h.Range(`sum by (version) (info)`, times)
	if err != nil {
		t.Fatal(err)
	}
	none := math.NaN()
	want := []Line{{Labels{"version": "1"}, []float64{none, 1, 1, none}}, {Labels{"version": "2"}, []float64{none, none, none, 1}}}
	if diff := cmp.Diff(want, lines, cmpopts.EquateNaNs()); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

// The memory has a bound, and what it leaves out is counted.
func TestBound(t *testing.T) {
	t.Parallel()
	h := New()
	var b strings.Builder
	for i := range maxSeries + 7 {
		fmt.Fprintf(&b, "m{n=\"%d\"} 1\n", i)
	}
	for i := range 3 {
		if err := h.Add(begin.Add(time.Duration(i)*time.Second), strings.NewReader(b.String()), nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, dropped, err := h.Span(); err != nil || dropped != 7 {
		t.Errorf("%d series found no place, want 7 (%v)", dropped, err)
	}
	for i := range maxSamples + 1 { // those series are forgotten
		if err := h.Add(begin.Add(time.Duration(10+i)*time.Second), strings.NewReader("other 1\n"), nil); err != nil {
			t.Fatal(err)
		}
	}
	from, to, dropped, err := h.Span()
	if err != nil || dropped != 0 || h.count != 1 || to.Sub(from) != (maxSamples-1)*time.Second {
		t.Errorf("%d series, %d without a place, from %v to %v (%v)", h.count, dropped, from, to, err)
	}
}

// Each expression of the dashboards that the page draws without a Prometheus can be
// evaluated, and others are refused with what is wrong.
func TestExpressions(t *testing.T) {
	t.Parallel()
	h := filled(t)
	n := 0
	for _, e := range board.Expressions(time.Minute) {
		if e.Dashboard != "Serving" && e.Dashboard != "Model" {
			continue
		}
		n++
		if _, err := h.Range(e.Query, []time.Time{begin}); err != nil {
			t.Error(err)
		}
	}
	if n < 30 {
		t.Errorf("%d expressions", n)
	}
	for expr, want := range map[string]string{
		``: "can't evaluate", `a[`: "range of a", `rate(a)`: "not a range", `sum(a`: "in a list", `a[5m]`: "without a function", `a b`: "unexpected",
		`quantile(0.5, a)`: "can't evaluate", `a{b=c}`: "condition on b", `"x`: "can't read", `topk(1)`: "arguments", `a * on (b`: "without an end",
	} {
		if _, err := h.Range(expr, []time.Time{begin}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want one with %q", expr, err, want)
		}
	}
}

func TestFollow(t *testing.T) {
	t.Parallel()
	answers := make(chan int, 10)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(<-answers)
		fmt.Fprintln(w, "up_for 3")
	}))
	defer s.Close()
	h := New()
	said := make(chan error)
	go h.Follow(t.Context(), s.Client(), s.URL, "j", time.Millisecond, func(err error) { said <- err })
	answers <- 500
	if err := <-said; err == nil || !strings.Contains(err.Error(), "500") {
		t.Errorf("told %v", err)
	}
	answers <- 500
	answers <- 200
	if err := <-said; !errors.Is(err, nil) {
		t.Errorf("told %v, want that all is well", err)
	}
	lines, err := h.Range(`up_for{job="j"}`, []time.Time{time.Now()})
	if err != nil || len(lines) != 1 || lines[0].Values[0] != 3 {
		t.Errorf("lines %v, %v", lines, err)
	}
}
