package loadtest

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestLevel(t *testing.T) {
	t.Parallel()
	shape := []Segment{{Level: 2, For: Span(time.Second)}, {From: 0, To: 10, For: Span(10 * time.Second)}, {Level: 5}}
	for _, tt := range []struct {
		after   time.Duration
		level   float64
		segment int
	}{{0, 2, 0}, {999 * time.Millisecond, 2, 0}, {time.Second, 0, 1}, {6 * time.Second, 5, 1}, {11 * time.Second, 5, 2}, {time.Hour, 5, 2}} {
		if l, s, over := level(shape, tt.after); math.Abs(l-tt.level) > 1e-9 || s != tt.segment || over {
			t.Errorf("after %v: level %v in segment %d, over %v; want %v in %d", tt.after, l, s, over, tt.level, tt.segment)
		}
	}
	if _, _, over := level(shape[:2], 11*time.Second); !over {
		t.Error("a shape does not end")
	}
}

func TestReadPlan(t *testing.T) {
	t.Parallel()
	p, err := ReadPlan(strings.NewReader(`
name: spike
model: rate
arrivals: poisson
shape: [{level: 10, for: 30s}, {from: 10, to: 100, for: 1m}]
timeout: 2s
targets:
  - {name: predict, url: "http://x:8000/predict", weight: 9, body: "{}"}
  - {url: "http://x:8000/model", status: [200, 304], headers: {Accept: text/html}}
thresholds: {errors: 0.01, p99: 50ms}
`))
	if err != nil {
		t.Fatal(err)
	}
	if p, err = p.Check(); err != nil {
		t.Fatal(err)
	}
	if p.Shape[1].For != Span(time.Minute) || p.Thresholds.P99 != Span(50*time.Millisecond) || p.Targets[0].Method != "POST" || p.Targets[1].Method != "GET" || p.Targets[1].Name != "GET /model" || p.Targets[1].Weight != 1 {
		t.Errorf("%+v", p)
	}
	for text, want := range map[string]string{
		"shap: []":          "field shap not found",
		"think: 3 seconds":  "is not a duration",
		"model: [":          "reading the plan",
		"shape: {level: 3}": "reading the plan",
	} {
		if _, err := ReadPlan(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", text, err, want)
		}
	}
}

// All that is wrong is said at once.
func TestPlanRefuses(t *testing.T) {
	t.Parallel()
	ok := []Target{{URL: "http://x/"}}
	for _, tt := range []struct {
		reason string
		plan   Plan
		want   []string
	}{
		{"no target", Plan{}, []string{"targets: there is none"}},
		{"several mistakes", Plan{Model: "crowd", Timeout: -1, Targets: []Target{{URL: "x"}, {URL: "http://u:p@x/"}}}, []string{`model: "crowd"`, "negative", "target 1: url", "target 2: url"}},
		{"think time at a rate", Plan{Model: OpenModel, Think: 1, Targets: ok}, []string{"belong to users"}},
		{"arrivals of users", Plan{Arrivals: Poisson, Targets: ok}, []string{"arrivals"}},
		{"an end before the end", Plan{Shape: []Segment{{Level: 1}, {Level: 2}}, Targets: ok}, []string{"segment 1"}},
		{"an endless ramp", Plan{Shape: []Segment{{From: 1, To: 2}}, Targets: ok}, []string{"segment 1"}},
		{"too many users", Plan{Shape: []Segment{{Level: 1e6}}, Targets: ok}, []string{"between 0 and 10000"}},
		{"no number", Plan{Shape: []Segment{{Level: math.NaN()}}, Targets: ok}, []string{"between 0 and 10000"}},
		{"days", Plan{Shape: []Segment{{Level: 1, For: Span(48 * time.Hour)}}, Targets: ok}, []string{"longer than 24h"}},
		{"a header that splits the request", Plan{Targets: []Target{{URL: "http://x/", Headers: map[string]string{"A": "b\r\nC: d"}}}}, []string{"headers"}},
		{"a header of ours", Plan{Targets: []Target{{URL: "http://x/", Headers: map[string]string{"content-length": "3"}}}}, []string{"is set by this program"}},
		{"a method without a body to wait for", Plan{Targets: []Target{{URL: "http://x/", Method: "HEAD"}}}, []string{"method"}},
		{"two of one name", Plan{Targets: []Target{{URL: "http://x/", Name: "a"}, {URL: "http://x/", Name: "a"}}}, []string{"two called"}},
		{"a share in per cent", Plan{Thresholds: Thresholds{Errors: new(20.0)}, Targets: ok}, []string{"between 0 and 1"}},
	} {
		_, err := tt.plan.Check()
		for _, want := range tt.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error %v, want %q", tt.reason, err, want)
			}
		}
	}
}

func TestShapes(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"constant", "ramp", "steps", "spike", "soak", "preset"} {
		shape, err := Shape(name, 50, 100*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := (Plan{Shape: shape, Targets: []Target{{URL: "http://x/"}}}).Check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var whole time.Duration
		for _, s := range shape {
			whole += time.Duration(s.For)
		}
		if whole != 100*time.Second {
			t.Errorf("%s lasts %v", name, whole)
		}
	}
	if _, err := Shape("wave", 1, 1); err == nil {
		t.Error("an unknown shape was accepted")
	}
}

func TestReadRecords(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		reason, text, template string
		want                   []string
		wrong                  string
	}{
		{"rows as objects", "a,b\n1,\"x \"\"y\"\"\"\n2,z\n", "", []string{`{"a":"1","b":"x \"y\""}`, `{"a":"2","b":"z"}`}, ""},
		{"a byte order mark", "\ufeffa\n1\n", "", []string{`{"a":"1"}`}, ""},
		{"a template", "a,b\n1,x\n", `{"in":[{{ b }},{{a}}]}`, []string{`{"in":["x","1"]}`}, ""},
		{"numbers and what is no JSON", "a,b,c|d\n1.50,x,\n+7,,.5\n", `{"in":[{{ a | number }},{{c|d|number}}],"b={{b|raw}}"}`, []string{`{"in":[1.50,null],"b=x"}`, `{"in":[7,0.5],"b="}`}, ""},
		{"no number", "a\n1\nx\n", "{{a|number}}", nil, `line 3: a: "x" is not a number`},
		{"another word", "a\n1\n", "{{a|integer}}", nil, "{{a|integer}}: a value is number or raw"},
		{"JSON lines", "{\"a\":1}\n[{},{}]\n", "", []string{`{"a":1}`, `[{},{}]`}, ""},
		{"a template for JSON lines", "{\"a\":1}\n", "{{a}}", nil, "CSV"},
		{"an unknown column", "a\n1\n", "{{c}}", nil, "{{c}} names no column"},
		{"an open brace", "a\n1\n", "{{a", nil, "names no column"},
		{"a short row", "a,b\n1,2\n3\n", "", nil, "line 3"},
		{"nothing", "", "", nil, "no records"},
		{"only a header", "a,b\n", "", nil, "no records below the header"},
	} {
		bodies, _, err := ReadRecords(strings.NewReader(tt.text), tt.template)
		if (err == nil) != (tt.wrong == "") || err != nil && !strings.Contains(err.Error(), tt.wrong) {
			t.Errorf("%s: error %v, want %q", tt.reason, err, tt.wrong)
			continue
		}
		var got []string
		for _, b := range bodies {
			got = append(got, string(b.JSON))
		}
		if strings.Join(got, "\n") != strings.Join(tt.want, "\n") {
			t.Errorf("%s: %q, want %q", tt.reason, got, tt.want)
		}
	}
}
