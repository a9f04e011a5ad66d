package loadtest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// Report is the result of a run.
type Report struct {
	Target    string  `json:"target"`
	Path      string  `json:"path"`
	Seconds   float64 `json:"stage_seconds"` // as configured
	Think     float64 `json:"think_ms"`
	Timeout   float64 `json:"timeout_ms"`
	MaxErrors float64 `json:"max_errors"`
	Bodies    int     `json:"bodies"`            // different bodies, sent in turn
	Workers   int     `json:"workers,omitempty"` // that shared the load
	Stages    []Stage `json:"stages"`

	Requests int64 `json:"requests"` // of all stages
	Failed   int64 `json:"failed"`

	// Capacity is the load of the largest sustained stage below the smallest one that
	// was not sustained: users, or requests per second. 0 if there is none.
	Capacity float64 `json:"capacity"`
	// Unlimited means that every stage was sustained, so the capacity may be higher.
	Unlimited bool `json:"capacity_may_be_higher"`

	Thresholds []Threshold `json:"thresholds"`
	Stopped    bool        `json:"stopped"` // before all stages were complete
}

// Stage is the result of one number of users, or of one rate.
type Stage struct {
	Users int       `json:"users,omitempty"`
	Rate  float64   `json:"rate,omitempty"` // requests per second, as configured
	Began time.Time `json:"began"`

	Seconds   float64 `json:"seconds"`
	Requests  int64   `json:"requests"`
	Failed    int64   `json:"failed"`
	PerSecond float64 `json:"per_second"` // successful requests
	Latency   Latency `json:"latency"`    // of successful requests

	// Sent is, at a fixed rate, the latency from when requests were sent: without waits
	// for a free connection or in this program.
	Sent *Latency `json:"latency_from_sent,omitempty"`

	Errors   map[string]int64 `json:"errors,omitempty"` // failed requests by kind
	Failures []Failure        `json:"failures,omitempty"`
	Versions map[string]int64 `json:"versions"` // successful requests by the model version that answered
	Missed   *Missed          `json:"missed,omitempty"`

	Connections int64     `json:"connections"` // opened
	Sustained   bool      `json:"sustained"`
	Generator   Generator `json:"generator"`
	Warnings    []string  `json:"warnings,omitempty"`

	counted, sent Counts // what Latency and Sent are read from
}

// Latency is in milliseconds; a percentile is at most 1/128 above the true one.
type Latency struct {
	Mean float64 `json:"mean_ms"`
	P50  float64 `json:"p50_ms"`
	P95  float64 `json:"p95_ms"`
	P99  float64 `json:"p99_ms"`
	Max  float64 `json:"max_ms"`
}

// Failure is one of a stage's first failed requests.
type Failure struct {
	At           time.Time `json:"at"` // when it failed
	Milliseconds float64   `json:"after_ms"`
	Kind         string    `json:"kind"`
	Text         string    `json:"text"`
}

// Missed counts requests at a fixed rate that could not begin on time and were left
// out.
type Missed struct {
	Busy int64 `json:"busy"` // no connection was free
	Late int64 `json:"late"` // the generator itself was late
}

// Threshold is a condition that every stage must meet.
type Threshold struct {
	What   string `json:"what"`
	Passed bool   `json:"passed"`
	Found  string `json:"found"`

	p99 float64 // ms; 0 for the threshold on errors
}

func newReport(cfg Config) Report {
	r := Report{
		Target: cfg.Target, Path: cfg.Path, Seconds: cfg.Duration.Seconds(), Think: milliseconds(cfg.Think), Timeout: milliseconds(cfg.Timeout),
		MaxErrors: cfg.MaxErrors, Bodies: len(cfg.Bodies), Workers: cfg.Share.Of,
	}
	what := "no failed request"
	if cfg.MaxErrors > 0 {
		what = fmt.Sprintf("fewer than %s failed requests", percent(cfg.MaxErrors))
	}
	r.Thresholds = []Threshold{{What: what}}
	if cfg.P99 > 0 {
		r.Thresholds = append(r.Thresholds, Threshold{What: fmt.Sprintf("99 %% of the responses within %v", cfg.P99), p99: milliseconds(cfg.P99)})
	}
	return r
}

// load is the stage's number of users or rate.
func (s *Stage) load() float64 { return max(float64(s.Users), s.Rate) }

// errorShare is the share of due requests that did not succeed.
func (s *Stage) errorShare() float64 {
	failed, all := s.Failed, s.Requests
	if s.Missed != nil {
		failed += s.Missed.Busy + s.Missed.Late
		all += s.Missed.Busy + s.Missed.Late
	}
	if all == 0 {
		return 1
	}
	return float64(failed) / float64(all)
}

// sustained reports whether fewer requests failed than the given share.
func (s *Stage) sustained(maxErrors float64) bool {
	share := s.errorShare()
	return share == 0 || share < maxErrors
}

// sumUp adds the stages up, finds the capacity and checks the thresholds.
func (r *Report) sumUp() {
	first := math.Inf(1) // the smallest load that was not sustained
	r.Requests, r.Failed, r.Capacity = 0, 0, 0
	for i := range r.Stages {
		s := &r.Stages[i]
		r.Requests += s.Requests
		r.Failed += s.Failed
		if !s.Sustained {
			first = min(first, s.load())
		}
	}
	for i := range r.Stages {
		if s := &r.Stages[i]; s.Sustained && s.load() < first {
			r.Capacity = max(r.Capacity, s.load())
		}
	}
	r.Unlimited = math.IsInf(first, 1) && r.Capacity > 0
	for i := range r.Thresholds {
		t := &r.Thresholds[i]
		t.check(r.Stages)
	}
}

// check finds the worst stage and whether all of them pass.
func (t *Threshold) check(stages []Stage) {
	if len(stages) == 0 {
		t.Found = "nothing was sent"
		return
	}
	t.Passed = true
	if t.p99 == 0 {
		worst := slices.MaxFunc(stages, func(a, b Stage) int { return cmp.Compare(a.errorShare(), b.errorShare()) })
		for _, s := range stages {
			t.Passed = t.Passed && s.Sustained
		}
		t.Found = fmt.Sprintf("at most %s, with %s", percent(worst.errorShare()), worst.name())
		return
	}
	worst := slices.MaxFunc(stages, func(a, b Stage) int { return cmp.Compare(a.Latency.P99, b.Latency.P99) })
	for _, s := range stages {
		// A stage without a successful request has no percentile.
		t.Passed = t.Passed && s.Latency.P99 <= t.p99 && s.Requests > s.Failed
	}
	t.Found = fmt.Sprintf("at most %s, with %s", duration(worst.Latency.P99), worst.name())
}

// Passed reports whether every stage was completed and met all thresholds.
func (r *Report) Passed() bool {
	return !r.Stopped && !slices.ContainsFunc(r.Thresholds, func(t Threshold) bool { return !t.Passed })
}

// JSON is the report for programs.
func (r *Report) JSON() ([]byte, error) {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("writing the report: %w", err)
	}
	return append(text, '\n'), nil
}

// Write writes the report for people.
func (r *Report) Write(w io.Writer) error {
	var b strings.Builder
	kind := "each user sends its next request after each response"
	unit := "USERS"
	if len(r.Stages) > 0 && r.Stages[0].Rate > 0 {
		kind, unit = "requests at a fixed rate, latency from when they were due", "RATE"
	} else if r.Think > 0 {
		kind = "each user sends its next request " + duration(r.Think) + " after each response"
	}
	fmt.Fprintf(&b, "POST %s%s, %s per stage: %s; %d different bodies\n\n", r.Target, r.Path, duration(r.Seconds*1000), kind, r.Bodies)
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, unit+"\tREQUESTS\tREQ/S\tMEAN\tP50\tP95\tP99\tMAX\tFAILED\tSHARE\tOWN CPU\t")
	for i := range r.Stages {
		s := &r.Stages[i]
		l := s.Latency
		fmt.Fprintf(table, "%s\t%d\t%.1f\t%s\t%s\t%s\t%s\t%s\t%d\t%s\t%.1f of %d\t\n",
			strconv.FormatFloat(s.load(), 'f', -1, 64), s.Requests, s.PerSecond,
			duration(l.Mean), duration(l.P50), duration(l.P95), duration(l.P99), duration(l.Max), s.Failed, percent(s.errorShare()),
			s.Generator.CPUs, s.Generator.CPUsHad)
	}
	_ = table.Flush() // to memory
	b.WriteByte('\n')
	r.details(&b)
	fmt.Fprintln(&b, r.Sum())
	_, err := io.WriteString(w, b.String())
	return err
}

const linesShown = 3 // failures of a stage in the report for people

// details are the lines below the table.
func (r *Report) details(b *strings.Builder) {
	versions := map[string]int64{}
	for i := range r.Stages {
		s := &r.Stages[i]
		for v, n := range s.Versions {
			versions[v] += n
		}
		if l := s.Sent; l != nil {
			fmt.Fprintf(b, "latency from when requests were sent, with %s: mean %s, p50 %s, p95 %s, p99 %s\n", s.name(), duration(l.Mean), duration(l.P50), duration(l.P95), duration(l.P99))
		}
		if len(s.Errors) > 0 {
			fmt.Fprintf(b, "failed, with %s: %s\n", s.name(), counts(s.Errors))
			shown := s.Failures[:min(len(s.Failures), linesShown)]
			for _, f := range shown {
				fmt.Fprintf(b, "  %s after %s: %s: %s\n", f.At.Format("15:04:05.000"), duration(f.Milliseconds), f.Kind, f.Text)
			}
			if n := s.Failed - int64(len(shown)); n > 0 {
				fmt.Fprintf(b, "  and %d more\n", n)
			}
		}
		if m := s.Missed; m != nil && m.Busy+m.Late > 0 {
			fmt.Fprintf(b, "not sent, with %s: %d because no connection was free, %d because the generator was late\n", s.name(), m.Busy, m.Late)
		}
	}
	r.warnings(b)
	if len(versions) > 0 {
		fmt.Fprintf(b, "responses by model version: %s\n", counts(versions))
	}
	for _, t := range r.Thresholds {
		verdict := "passed"
		if !t.Passed {
			verdict = "FAILED"
		}
		fmt.Fprintf(b, "%s: %s (%s)\n", t.What, verdict, t.Found)
	}
	if r.Stopped {
		fmt.Fprintln(b, "stopped before the end")
	}
}

// warnings lists each warning with its stages.
func (r *Report) warnings(b *strings.Builder) {
	stages := map[string][]string{}
	var order []string
	for i := range r.Stages {
		s := &r.Stages[i]
		for _, w := range s.Warnings {
			if stages[w] == nil {
				order = append(order, w)
			}
			stages[w] = append(stages[w], s.name())
		}
	}
	for _, w := range order {
		fmt.Fprintf(b, "warning, with %s: %s\n", strings.Join(stages[w], ", "), w)
	}
}

// Sum states the capacity in one line.
func (r *Report) Sum() string {
	what, limit := "users", percent(r.MaxErrors)
	if len(r.Stages) > 0 && r.Stages[0].Rate > 0 {
		what = "requests per second"
	}
	if r.MaxErrors == 0 {
		limit = "one request"
	}
	capacity := strconv.FormatFloat(r.Capacity, 'f', -1, 64)
	switch {
	case r.Unlimited:
		return fmt.Sprintf("sustains at least %s %s, the highest load tried, before %s failed", capacity, what, limit)
	case r.Capacity > 0:
		return fmt.Sprintf("sustains %s %s before %s failed", capacity, what, limit)
	default:
		return fmt.Sprintf("sustains none of the %s tried before %s failed", what, limit)
	}
}

// name identifies a stage in a sentence.
func (s *Stage) name() string {
	if s.Rate > 0 {
		return strconv.FormatFloat(s.Rate, 'f', -1, 64) + " requests per second"
	}
	return fmt.Sprintf("%d users", s.Users)
}

// counts lists the most frequent first.
func counts(m map[string]int64) string {
	keys := slices.SortedFunc(maps.Keys(m), func(a, b string) int {
		return cmp.Or(cmp.Compare(m[b], m[a]), cmp.Compare(a, b))
	})
	for i, k := range keys {
		keys[i] = fmt.Sprintf("%s %d", k, m[k])
	}
	return strings.Join(keys, ", ")
}

// duration formats milliseconds with three significant digits.
func duration(ms float64) string {
	switch {
	case ms == 0:
		return "-"
	case ms < 1000:
		return digits(ms) + " ms"
	default:
		return digits(ms/1000) + " s"
	}
}

func digits(v float64) string {
	places := max(0, 2-int(math.Floor(math.Log10(v))))
	text := strconv.FormatFloat(v, 'f', min(places, 3), 64)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text
}

// percent formats a share; only 0 is shown as 0.
func percent(share float64) string {
	if share > 0 && share < 0.00005 {
		return "<0.01 %"
	}
	return strings.TrimSuffix(strings.TrimRight(strconv.FormatFloat(share*100, 'f', 2, 64), "0"), ".") + " %"
}
