package loadtest

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// resultFormat is the version of Result's JSON.
const resultFormat = "mlops-loadtest/1"

// Result is what a session has measured, while it runs or after its end.
type Result struct {
	Format    string    `json:"format"`
	Plan      Plan      `json:"plan"` // headers that may hold a secret are hidden
	Began     time.Time `json:"began"`
	Seconds   float64   `json:"seconds"`
	Running   bool      `json:"running"`
	Stopped   bool      `json:"stopped"` // before its shape was complete
	Level     float64   `json:"level"`   // now
	Users     int       `json:"users"`   // now
	Opened    int64     `json:"connections"`
	Generator Generator `json:"generator"`
	Warnings  []string  `json:"warnings,omitempty"`

	Total      Summary     `json:"total"`
	Recent     Summary     `json:"recent"` // of the last windows, some seconds
	Targets    []Summary   `json:"targets"`
	Segments   []Summary   `json:"segments"` // of the shape, as far as it has come
	Causes     []Cause     `json:"causes"`
	Thresholds []Threshold `json:"thresholds"`
	Changes    []Change    `json:"changes"`
	Windows    []Window    `json:"windows"`
}

// Summary sums a number of requests up.
type Summary struct {
	Name      string  `json:"name"`
	Level     float64 `json:"level,omitempty"` // highest, of a segment
	Seconds   float64 `json:"seconds"`
	Requests  int64   `json:"requests"`
	Failed    int64   `json:"failed"`
	Share     float64 `json:"share_failed"`
	PerSecond float64 `json:"per_second"` // successful requests
	Latency   Spread  `json:"latency"`    // from the intended start
	Service   Spread  `json:"service"`    // from when they were sent
}

// Spread is in milliseconds; a percentile is at most 1/128 above the true one.
type Spread struct {
	Mean float64 `json:"mean_ms"`
	P50  float64 `json:"p50_ms"`
	P90  float64 `json:"p90_ms"`
	P95  float64 `json:"p95_ms"`
	P99  float64 `json:"p99_ms"`
	P999 float64 `json:"p999_ms"`
	Max  float64 `json:"max_ms"`
}

func spread(c *Counts) Spread {
	return Spread{c.Mean(), c.Quantile(0.5), c.Quantile(0.9), c.Quantile(0.95), c.Quantile(0.99), c.Quantile(0.999), c.Quantile(1)}
}

func summary(name string, c *Count, seconds float64) Summary {
	s := Summary{
		Name: name, Seconds: seconds, Requests: c.Succeeded + c.Failed, Failed: c.Failed, Share: c.Share(),
		Latency: spread(&c.Latency), Service: spread(&c.Service),
	}
	if seconds > 0 {
		s.PerSecond = float64(c.Succeeded) / seconds
	}
	return s
}

const recentWindows = 5

// Result sums up what has been counted so far.
func (s *Session) Result() Result {
	s.mu.Lock()
	windows, ended, changes := slices.Clone(s.windows), s.ended, slices.Clone(s.changes)
	r := Result{Stopped: s.aborted, Generator: s.own}
	s.mu.Unlock()
	r.Format, r.Plan, r.Began, r.Changes, r.Windows = resultFormat, hidden(s.plan), s.began.UTC(), changes, windows
	if r.Running = ended.IsZero(); r.Running {
		r.Generator = s.before.since()
		ended = time.Now()
		r.Level, r.Users = s.now.Load().level, int(s.users.Load())
	}
	r.Seconds = ended.Sub(s.began).Seconds()
	r.Warnings = r.Generator.warnings()
	r.Opened, r.Causes = s.opened.Load(), s.causes.all()
	r.sumUp()
	return r
}

// hidden returns a plan without its bodies and the values of headers that may be secret.
func hidden(p Plan) Plan {
	p.Targets = slices.Clone(p.Targets)
	for i := range p.Targets {
		h := maps.Clone(p.Targets[i].Headers)
		for name := range h {
			if !slices.Contains([]string{"accept", "content-type", "user-agent"}, strings.ToLower(name)) {
				h[name] = "(hidden)"
			}
		}
		p.Targets[i].Headers, p.Targets[i].Bodies = h, nil
	}
	return p
}

// sumUp computes all that follows from the windows.
func (r *Result) sumUp() {
	var total, recent Count
	var seconds, recentSeconds float64
	targets := make([]Count, len(r.Plan.Targets))
	var segments []Summary
	var counts []Count
	var numbers []int // of the segments in the shape
	last := -2
	for i := range r.Windows {
		w := &r.Windows[i]
		total.merge(&w.Count)
		seconds += w.Seconds
		for t := range w.ByTarget {
			targets[t].merge(&w.ByTarget[t])
		}
		if i >= len(r.Windows)-recentWindows {
			recent.merge(&w.Count)
			recentSeconds += w.Seconds
		}
		if w.Segment != last {
			last = w.Segment
			segments, counts, numbers = append(segments, Summary{}), append(counts, Count{}), append(numbers, last)
		}
		g := &segments[len(segments)-1]
		g.Level = max(g.Level, w.Level)
		g.Seconds += w.Seconds
		counts[len(counts)-1].merge(&w.Count)
	}
	r.Total, r.Recent = summary("all", &total, seconds), summary("now", &recent, recentSeconds)
	r.Targets = nil
	for i, t := range r.Plan.Targets {
		c := &targets[i]
		if len(targets) == 1 {
			c = &total
		}
		r.Targets = append(r.Targets, summary(t.Name, c, seconds))
	}
	r.Segments = nil
	for i, g := range segments {
		s := summary(r.segmentName(numbers[i], g.Level), &counts[i], g.Seconds)
		s.Level = g.Level
		r.Segments = append(r.Segments, s)
	}
	r.Thresholds = r.Plan.Thresholds.check(&r.Total)
}

// segmentName names a segment of the shape, or a level that was set by hand.
func (r *Result) segmentName(number int, level float64) string {
	if number < 0 {
		return r.levelName(level) + ", by hand"
	}
	if number < len(r.Plan.Shape) {
		if s := r.Plan.Shape[number]; s.from() != s.to() {
			return strconv.FormatFloat(s.from(), 'f', -1, 64) + " to " + r.levelName(s.to())
		}
	}
	return r.levelName(level)
}

func (r *Result) levelName(level float64) string {
	n := strconv.FormatFloat(level, 'f', -1, 64)
	if r.Plan.Model == OpenModel {
		return n + " requests/s"
	}
	if n == "1" {
		return "1 user"
	}
	return n + " users"
}

// check says which conditions a test has met.
func (t Thresholds) check(total *Summary) []Threshold {
	list := []Threshold{}
	add := func(what string, passed bool, found string) {
		list = append(list, Threshold{What: what, Passed: passed && total.Requests > 0, Found: found})
	}
	if t.Errors != nil {
		what := "no failed request"
		if *t.Errors > 0 {
			what = fmt.Sprintf("at most %s failed requests", percent(*t.Errors))
		}
		add(what, total.Share <= *t.Errors, percent(total.Share))
	}
	for _, q := range []struct {
		name  string
		limit Span
		found float64
	}{{"p50", t.P50, total.Latency.P50}, {"p95", t.P95, total.Latency.P95}, {"p99", t.P99, total.Latency.P99}} {
		if q.limit > 0 {
			add(fmt.Sprintf("%s at most %v", q.name, q.limit), total.Requests > total.Failed && q.found <= milliseconds(time.Duration(q.limit)), duration(q.found))
		}
	}
	if t.Rate > 0 {
		add(fmt.Sprintf("at least %s requests/s succeed", digits(t.Rate)), total.PerSecond >= t.Rate, fmt.Sprintf("%.1f", total.PerSecond))
	}
	return list
}

// Passed reports whether a test has met all of its thresholds.
func (r *Result) Passed() bool {
	return !slices.ContainsFunc(r.Thresholds, func(t Threshold) bool { return !t.Passed })
}

// WriteJSON writes the result for programs; ReadResult reads it.
func (r *Result) WriteJSON(w io.Writer) error {
	if err := json.NewEncoder(w).Encode(r); err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	return nil
}

// ReadResult reads what WriteJSON wrote.
func ReadResult(from io.Reader) (Result, error) {
	var r Result
	if err := json.NewDecoder(from).Decode(&r); err != nil {
		return r, fmt.Errorf("reading a result: %w", err)
	}
	if r.Format != resultFormat {
		return r, fmt.Errorf("not the result of a load test: its format is %q, not %s", r.Format, resultFormat)
	}
	return r, nil
}

// WriteCSV writes a row per window, latencies in milliseconds; they are empty where no
// request succeeded.
func (r *Result) WriteCSV(w io.Writer) error {
	c := csv.NewWriter(w)
	_ = c.Write([]string{"time", "after_s", "level", "users", "requests", "failed", "per_second", "mean_ms", "p50_ms", "p90_ms", "p95_ms", "p99_ms", "p99.9_ms", "max_ms", "service_p50_ms", "service_p99_ms"})
	number := func(v float64) string { return strconv.FormatFloat(v, 'f', 3, 64) }
	for i := range r.Windows {
		win := &r.Windows[i]
		s := summary("", &win.Count, win.Seconds)
		l := s.Latency
		row := []string{r.Began.Add(time.Duration(win.After * float64(time.Second))).Format(time.RFC3339Nano), number(win.After), number(win.Level), strconv.Itoa(win.Users), strconv.FormatInt(s.Requests, 10), strconv.FormatInt(s.Failed, 10)}
		row = append(row, number(s.PerSecond))
		for _, v := range []float64{l.Mean, l.P50, l.P90, l.P95, l.P99, l.P999, l.Max, s.Service.P50, s.Service.P99} {
			if win.Succeeded == 0 {
				row = append(row, "")
				continue
			}
			row = append(row, number(v))
		}
		_ = c.Write(row) // Flush keeps the error
	}
	c.Flush()
	if err := c.Error(); err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	return nil
}

// Write writes the result for people.
func (r *Result) Write(w io.Writer) error {
	var b strings.Builder
	for _, t := range r.Plan.Targets {
		fmt.Fprintf(&b, "%s %s, weight %d\n", t.Method, t.URL, t.Weight)
	}
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "\n\tREQUESTS\tFAILED\tREQ/S\tMEAN\tP50\tP95\tP99\tP99.9\tMAX\tSERVICE P99\t")
	row := func(s Summary) {
		l := s.Latency
		fmt.Fprintf(table, "%s\t%d\t%s\t%.1f\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", s.Name, s.Requests, percent(s.Share), s.PerSecond,
			duration(l.Mean), duration(l.P50), duration(l.P95), duration(l.P99), duration(l.P999), duration(l.Max), duration(s.Service.P99))
	}
	if len(r.Segments) > 1 {
		for _, s := range r.Segments {
			row(s)
		}
	}
	if len(r.Targets) > 1 {
		for _, s := range r.Targets {
			row(s)
		}
	}
	row(r.Total)
	_ = table.Flush() // to memory
	b.WriteByte('\n')
	for _, c := range r.Causes[:min(len(r.Causes), 10)] {
		fmt.Fprintf(&b, "%d failed: %s: %s: %s\n", c.Count, c.Target, c.Kind, c.Text)
	}
	if n := len(r.Causes) - 10; n > 0 {
		fmt.Fprintf(&b, "and %d more causes\n", n)
	}
	for _, w := range r.Warnings {
		fmt.Fprintf(&b, "warning: %s\n", w)
	}
	for _, t := range r.Thresholds {
		verdict := "passed"
		if !t.Passed {
			verdict = "FAILED"
		}
		fmt.Fprintf(&b, "%s: %s (%s)\n", t.What, verdict, t.Found)
	}
	if r.Stopped {
		fmt.Fprintln(&b, "stopped before the end")
	}
	_, err := io.WriteString(w, b.String())
	return err
}
