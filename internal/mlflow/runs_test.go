package mlflow

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func many(n int, value string) map[string]string {
	m := make(map[string]string)
	for i := range n {
		m[fmt.Sprintf("k%04d", i)] = value
	}
	return m
}

func TestLogBatchSplits(t *testing.T) {
	metrics := func(n int) []Metric { return make([]Metric, n) }
	tests := []struct {
		reason string
		batch  Batch
		want   [][3]int // params, tags, metrics of each call
	}{
		{"nothing", Batch{}, nil},
		{"all fits one call", Batch{metrics(3), many(2, ""), many(1, "")}, [][3]int{{2, 1, 3}}},
		{"1,000 metrics a call", Batch{Metrics: metrics(2500)}, [][3]int{{0, 0, 1000}, {0, 0, 1000}, {0, 0, 500}}},
		{"100 params a call", Batch{Params: many(250, "")}, [][3]int{{100, 0, 0}, {100, 0, 0}, {50, 0, 0}}},
		{"100 tags a call", Batch{Tags: many(101, "")}, [][3]int{{0, 100, 0}, {0, 1, 0}}},
		{"1,000 in all", Batch{metrics(900), many(100, ""), many(100, "")}, [][3]int{{100, 100, 800}, {0, 0, 100}}},
		{"a million bytes", Batch{Params: many(100, strings.Repeat("ä", 6000))}, [][3]int{{83, 0, 0}, {17, 0, 0}}},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			var got [][3]int
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				text, _ := io.ReadAll(r.Body)
				if len(text) > 1_000_000 {
					t.Errorf("a call has %d bytes", len(text))
				}
				var m struct{ Params, Tags, Metrics []json.RawMessage }
				if err := json.Unmarshal(text, &m); err != nil {
					t.Error(err)
				}
				got = append(got, [3]int{len(m.Params), len(m.Tags), len(m.Metrics)})
				io.WriteString(w, "{}")
			}))
			defer s.Close()
			if err := newClient(t, s.URL, quick).LogBatch(t.Context(), "r", test.batch); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// MLflow would cut these without a word.
func TestLogBatchRefusesLongValues(t *testing.T) {
	c, calls := serve(t, reply(200, "{}"))
	for want, b := range map[string]Batch{
		`param "k0000" has 6001 characters`: {Params: many(1, strings.Repeat("x", 6001))},
		`tag "k0000" has 8001 characters`:   {Tags: many(1, strings.Repeat("x", 8001))},
	} {
		if err := c.LogBatch(t.Context(), "r", b); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if calls.Load() != 0 {
		t.Errorf("%d calls were made", calls.Load())
	}
}

func TestNumber(t *testing.T) {
	tests := []struct {
		value float64
		text  string
	}{
		{0.5, `0.5`}, {math.NaN(), `"NaN"`}, {math.Inf(1), `"Infinity"`}, {math.Inf(-1), `"-Infinity"`},
		{math.MaxFloat64, `1.7976931348623157e+308`},
	}
	for _, test := range tests {
		text, err := json.Marshal(number(test.value))
		if err != nil || string(text) != test.text {
			t.Errorf("Marshal(%v) = %s, %v, want %s", test.value, text, err, test.text)
		}
		var back number
		if err := json.Unmarshal(text, &back); err != nil || math.Float64bits(float64(back)) != math.Float64bits(test.value) {
			t.Errorf("Unmarshal(%s) = %v, %v", text, back, err)
		}
	}
	var n number
	if err := json.Unmarshal([]byte(`"much"`), &n); err == nil {
		t.Error(`"much" is taken for a number`)
	}
}

func TestQuote(t *testing.T) {
	for s, want := range map[string]string{"a": "'a'", "it's": `"it's"`, `say "x"`: `'say "x"'`} {
		if got, err := Quote(s); err != nil || got != want {
			t.Errorf("Quote(%q) = %s, %v, want %s", s, got, err, want)
		}
	}
	if _, err := Quote(`'"`); err == nil {
		t.Error("a value with both quotes is quoted")
	}
}

func TestTimes(t *testing.T) {
	at := time.UnixMilli(1700000000123).UTC()
	if got := fromMillis(at.UnixMilli()); !got.Equal(at) {
		t.Errorf("got %v, want %v", got, at)
	}
	if !fromMillis(0).IsZero() {
		t.Error("no time is not the zero time")
	}
}

func TestArtifactPaths(t *testing.T) {
	c := newClient(t, "http://host:5000/ml", Options{})
	for uri, want := range map[string]string{
		"mlflow-artifacts:/1/abc/artifacts":            "1/abc/artifacts",
		"mlflow-artifacts:/":                           "",
		"mlflow-artifacts://host:5000/1/abc/artifacts": "1/abc/artifacts",
		"mlflow-artifacts://other:5000/1":              "! are on another server than host:5000",
		"s3://bucket/1/abc":                            `! artifacts at "s3://bucket/1/abc" can't be read through MLflow's artifact proxy`,
		"/var/mlruns/1":                                "! can't be read through",
		"file:///var/mlruns/1":                         "! can't be read through",
	} {
		got, err := c.ArtifactPath(uri)
		part, bad := strings.CutPrefix(want, "! ")
		if bad && (err == nil || !strings.Contains(err.Error(), part)) || !bad && (err != nil || got != want) {
			t.Errorf("ArtifactPath(%q) = %q, %v, want %q", uri, got, err, want)
		}
	}

	for p, good := range map[string]bool{
		"a/b c/ä?.txt": true, "50%.txt": true, "a+b&c=d;e": true, "a:b": true,
		"": false, "/a": false, "a/": false, "a//b": false, "a/../b": false, "..": false, "./a": false,
		"a#b": false, `a\b`: false, "a\nb": false, "50%2F.txt": false, "a/%2e%2e/b": false,
	} {
		if err := checkPath(p); (err == nil) != good {
			t.Errorf("checkPath(%q) = %v, want good %v", p, err, good)
		}
	}
}
