package loadtest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Models of load.
const (
	ClosedModel = "users" // each user sends its next request when it has a response
	OpenModel   = "rate"  // requests begin at their time, whatever the server does
)

// Arrivals of the open model.
const (
	Even    = "constant" // evenly spaced
	Poisson = "poisson"  // at random times, as from many independent clients
)

// Plan says what a live test sends, how much of it and when. It is what a plan's YAML
// holds and what the page sends.
type Plan struct {
	Name        string     `yaml:"name" json:"name"`
	Model       string     `yaml:"model" json:"model"`             // default users
	Arrivals    string     `yaml:"arrivals" json:"arrivals"`       // with rate; default constant
	Shape       []Segment  `yaml:"shape" json:"shape"`             // default: 10 users, until stopped
	Think       Span       `yaml:"think" json:"think"`             // a user's wait after a response
	Pacing      Span       `yaml:"pacing" json:"pacing"`           // at least this long from one of a user's requests to the next
	Timeout     Span       `yaml:"timeout" json:"timeout"`         // of a request; default 10 s
	Connections int        `yaml:"connections" json:"connections"` // with rate: the most; default 500
	Targets     []Target   `yaml:"targets" json:"targets"`
	Thresholds  Thresholds `yaml:"thresholds" json:"thresholds"`
}

// Segment is a part of a shape: a level held, or a straight line between two levels.
// Levels are users or requests per second.
type Segment struct {
	Level float64 `yaml:"level" json:"level,omitempty"` // instead of From and To
	From  float64 `yaml:"from" json:"from,omitempty"`
	To    float64 `yaml:"to" json:"to,omitempty"`
	For   Span    `yaml:"for" json:"for"` // 0 in the last segment: until stopped
}

// Target is a kind of request.
type Target struct {
	Name    string            `yaml:"name" json:"name"`
	Weight  int               `yaml:"weight" json:"weight"` // default 1
	URL     string            `yaml:"url" json:"url"`
	Method  string            `yaml:"method" json:"method"` // default POST if there is a body, else GET
	Headers map[string]string `yaml:"headers" json:"headers,omitempty"`

	// Body is sent as it is; with Records, {{column}} in it stands for a value of the
	// row, as ReadRecords says. Records is the path of a CSV file with a header, or of JSON lines.
	// With neither, a target whose path ends in /predict sends the samples of the
	// server's GET /model.
	Body    string `yaml:"body" json:"body,omitempty"`
	Records string `yaml:"records" json:"records,omitempty"`

	// Status are the statuses of success; default: a 200 with a prediction for each
	// record if it sends records to /predict, else 200 to 399.
	Status []int `yaml:"status" json:"status,omitempty"`

	Bodies []Body `yaml:"-" json:"-"` // set by Load
}

// Thresholds are conditions on the whole test; the zero value of a field is none.
type Thresholds struct {
	Errors *float64 `yaml:"errors" json:"errors,omitempty"` // share of failed requests, at most; 0 allows none
	P50    Span     `yaml:"p50" json:"p50,omitempty"`
	P95    Span     `yaml:"p95" json:"p95,omitempty"`
	P99    Span     `yaml:"p99" json:"p99,omitempty"`
	Rate   float64  `yaml:"rate" json:"rate,omitempty"` // successful requests per second, at least
}

// Span is a duration that YAML and JSON write as text, such as 30s.
type Span time.Duration

func (s Span) String() string { return time.Duration(s).String() }

// MarshalText writes 1m30s.
func (s Span) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText writes; the empty text is 0.
func (s *Span) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*s = 0
		return nil
	}
	d, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is not a duration such as 30s or 1m", text)
	}
	*s = Span(d)
	return nil
}

// ReadPlan reads a plan's YAML. Unknown keys are errors.
func ReadPlan(r io.Reader) (Plan, error) {
	text, err := io.ReadAll(io.LimitReader(r, 1<<20))
	if err != nil {
		return Plan{}, fmt.Errorf("reading the plan: %w", err)
	}
	var p Plan
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&p); err != nil {
		return Plan{}, fmt.Errorf("reading the plan: %w", err)
	}
	return p, nil
}

// Steps holds each level for the same time.
func Steps(levels []float64, each time.Duration) []Segment {
	shape := make([]Segment, len(levels))
	for i, l := range levels {
		shape[i] = Segment{Level: l, For: Span(each)}
	}
	return shape
}

// Shape returns one of the named shapes up to a level, in all of a duration:
// constant, ramp (from nothing), steps (five, to the level), spike (a tenth, then the
// level for a fifth of the time, then a tenth), soak (a short ramp, then the level) and
// preset (15, 25, 35, 50 and 100, whatever the level).
func Shape(name string, level float64, whole time.Duration) ([]Segment, error) {
	part := func(share float64) Span { return Span(share * float64(whole)) }
	low := max(level/10, 1)
	switch name {
	case "", "constant":
		return []Segment{{Level: level, For: Span(whole)}}, nil
	case "ramp":
		return []Segment{{From: 0, To: level, For: Span(whole)}}, nil
	case "steps":
		var levels []float64
		for i := 1.0; i <= 5; i++ {
			levels = append(levels, max(level*i/5, 1))
		}
		return Steps(levels, whole/5), nil
	case "spike":
		return []Segment{{Level: low, For: part(0.4)}, {Level: level, For: part(0.2)}, {Level: low, For: part(0.4)}}, nil
	case "soak":
		return []Segment{{From: 0, To: level, For: part(0.05)}, {Level: level, For: part(0.95)}}, nil
	case "preset":
		levels := make([]float64, len(Preset))
		for i, n := range Preset {
			levels[i] = float64(n)
		}
		return Steps(levels, whole/time.Duration(len(Preset))), nil
	}
	return nil, fmt.Errorf("unknown shape %q; there are constant, ramp, steps, spike, soak and preset", name)
}

func (s Segment) from() float64 {
	if s.From == 0 && s.To == 0 {
		return s.Level
	}
	return s.From
}

func (s Segment) to() float64 {
	if s.From == 0 && s.To == 0 {
		return s.Level
	}
	return s.To
}

// level returns the level of a shape some time after its start, the segment that this is
// in, and whether the shape is over then.
func level(shape []Segment, after time.Duration) (level float64, segment int, over bool) {
	for i, s := range shape {
		if s.For == 0 { // until stopped
			return s.to(), i, false
		}
		if after < time.Duration(s.For) {
			return s.from() + (s.to()-s.from())*float64(after)/float64(s.For), i, false
		}
		after -= time.Duration(s.For)
	}
	return 0, len(shape), true
}

// length is how long a shape lasts.
func length(shape []Segment) (whole time.Duration) {
	for _, s := range shape {
		whole += time.Duration(s.For)
	}
	return whole
}

const maxRate = 1e6 // requests per second

// Check fills in defaults and returns all that is wrong.
func (p Plan) Check() (Plan, error) {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if p.Model == "" {
		p.Model = ClosedModel
	}
	if p.Model == OpenModel && p.Arrivals == "" {
		p.Arrivals = Even
	}
	if len(p.Shape) == 0 {
		p.Shape = []Segment{{Level: 10}}
	}
	if p.Timeout == 0 {
		p.Timeout = Span(10 * time.Second)
	}
	if p.Connections == 0 {
		p.Connections = 500
	}
	top := float64(maxUsers)
	switch p.Model {
	case ClosedModel:
		if p.Arrivals != "" {
			wrong("arrivals: only requests at a rate have them; users send when they have a response")
		}
	case OpenModel:
		top = maxRate
		if p.Arrivals != Even && p.Arrivals != Poisson {
			wrong("arrivals: %q is neither %s nor %s", p.Arrivals, Even, Poisson)
		}
		if p.Think != 0 || p.Pacing != 0 {
			wrong("think and pacing belong to users, not to a rate")
		}
	default:
		wrong("model: %q is neither %s nor %s", p.Model, ClosedModel, OpenModel)
	}
	var whole time.Duration
	for i, s := range p.Shape {
		if s.Level != 0 && (s.From != 0 || s.To != 0) {
			wrong("shape, segment %d: give either level, or from and to", i+1)
		}
		if lowest, highest := min(s.from(), s.to()), max(s.from(), s.to()); !(lowest >= 0 && highest <= top) || highest == 0 {
			wrong("shape, segment %d: levels of %v to %v are not between 0 and %v", i+1, s.from(), s.to(), top)
		}
		if s.For < 0 || s.For == 0 && (i < len(p.Shape)-1 || s.from() != s.to()) {
			wrong("shape, segment %d: for: %v; only a level at the end may last until it is stopped (0)", i+1, s.For)
		}
		whole += time.Duration(s.For)
	}
	if whole > maxTotal {
		wrong("shape: %v is longer than %v", whole, maxTotal)
	}
	if p.Think < 0 || p.Pacing < 0 || p.Timeout < 0 || p.Thresholds.P50 < 0 || p.Thresholds.P95 < 0 || p.Thresholds.P99 < 0 {
		wrong("a duration can't be negative")
	}
	if p.Think > 0 && p.Pacing > 0 {
		wrong("give either think or pacing")
	}
	if p.Connections < 1 || p.Connections > maxUsers {
		wrong("connections: %d is not between 1 and %d", p.Connections, maxUsers)
	}
	if e := p.Thresholds.Errors; e != nil && !(*e >= 0 && *e <= 1) {
		wrong("thresholds: errors: the share of failed requests is between 0 and 1, not %v", *e)
	}
	if !(p.Thresholds.Rate >= 0) {
		wrong("thresholds: rate: %v is negative", p.Thresholds.Rate)
	}
	p.Targets = slices.Clone(p.Targets)
	if len(p.Targets) == 0 {
		wrong("targets: there is none")
	}
	names := map[string]bool{}
	for i := range p.Targets {
		t := &p.Targets[i]
		if err := t.check(); err != nil {
			wrong("target %d: %w", i+1, err)
		}
		if names[t.Name] {
			wrong("target %d: there are two called %q", i+1, t.Name)
		}
		names[t.Name] = true
	}
	if len(p.Targets) > maxTargets {
		wrong("targets: %d are more than the maximum of %d", len(p.Targets), maxTargets)
	}
	return p, errors.Join(errs...)
}

const (
	maxTargets = 50
	maxWeight  = 1000
)

// predicts reports whether the responses are predictions as the API writes them.
func (t *Target) predicts() bool {
	u, err := url.Parse(t.URL)
	return err == nil && strings.HasSuffix(u.Path, "/predict") && t.Method == http.MethodPost && len(t.Status) == 0
}

func (t *Target) check() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	u, err := url.Parse(t.URL)
	switch {
	case err != nil:
		wrong("url: %w", err)
	case (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil || u.Fragment != "":
		wrong("url: %q is not an address such as http://localhost:8000/predict", u.Redacted())
	}
	if t.Weight == 0 {
		t.Weight = 1
	}
	if t.Weight < 1 || t.Weight > maxWeight {
		wrong("weight: %d is not between 1 and %d", t.Weight, maxWeight)
	}
	if t.Method == "" {
		t.Method = http.MethodGet
		if t.Body != "" || t.Records != "" || len(t.Bodies) > 0 || err == nil && strings.HasSuffix(u.Path, "/predict") {
			t.Method = http.MethodPost
		}
	}
	if t.Method = strings.ToUpper(t.Method); !slices.Contains([]string{"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}, t.Method) {
		wrong("method: %q can't be sent; HEAD and CONNECT have no response body to wait for", t.Method)
	}
	if t.Name == "" && err == nil {
		t.Name = t.Method + " " + u.EscapedPath()
	}
	if len(t.Name) > 100 || !utf8.ValidString(t.Name) {
		wrong("name: longer than 100 bytes, or not UTF-8")
	}
	for name, value := range t.Headers {
		if strings.ContainsFunc(name, notToken) || name == "" || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			wrong("headers: %q can't be sent", name)
		}
		if reserved := []string{"Host", "Content-Length", "Connection", "Transfer-Encoding", "Expect", "Upgrade"}; slices.ContainsFunc(reserved, func(r string) bool { return strings.EqualFold(r, name) }) {
			wrong("headers: %s is set by this program", name)
		}
	}
	for _, s := range t.Status {
		if s < 200 || s > 599 {
			wrong("status: %d is not between 200 and 599", s)
		}
	}
	return errors.Join(errs...)
}

// notToken reports whether a rune can't be in a header's name.
func notToken(r rune) bool {
	return r <= ' ' || r > '~' || strings.ContainsRune(`()<>@,;:\"/[]?={}`, r)
}

// UseKey sends an API key to the targets that predict and have no Authorization of
// their own.
func (p *Plan) UseKey(key string) {
	for i := range p.Targets {
		t := &p.Targets[i]
		if !t.predicts() || slices.ContainsFunc(slices.Collect(maps.Keys(t.Headers)), func(n string) bool { return strings.EqualFold(n, "Authorization") }) {
			continue
		}
		t.Headers = maps.Clone(t.Headers)
		if t.Headers == nil {
			t.Headers = map[string]string{}
		}
		t.Headers["Authorization"] = "Bearer " + key
	}
}
