package train

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"mlops/internal/dataset"
	"mlops/internal/xgboost"
)

func library(t *testing.T) *xgboost.Library {
	t.Helper()
	path := os.Getenv("MLOPS_XGBOOST")
	if path == "" {
		t.Skip("SKIPPED, NOT PASSED: MLOPS_XGBOOST names no library")
	}
	lib, err := xgboost.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return lib
}

// stays is a spec of rows with groups, weights, slices and a search.
func stays(t *testing.T, changes ...string) *dataset.Spec {
	t.Helper()
	text := `name: stays
model: stays
columns:
  - {name: id, type: integer}
  - {name: who, type: category}
  - {name: a, type: number}
  - {name: b, type: number}
  - {name: noise, type: number}
  - {name: place, type: category}
  - {name: w, type: number, min: 0}
  - {name: good, type: category}
key: id
group: who
target: {column: good, positive: ["yes"]}
split: {salts: [s1], train: 60, validation: 20, test: 20}
features:
  - {number: a}
  - {number: noise}
  - {name: ab, count: [a, b], of: ["1"]}
threshold: {maximize: f1}
metrics: [auc, recall]
slices: [place, b, a]
candidates:
  - {name: one, rounds: 20, params: {eta: 0.3, max_depth: 2}}
`
	spec, err := dataset.Parse([]byte(strings.NewReplacer(changes...).Replace(text)))
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

// visits are n rows, three per group; good follows a, and place "far" is rare.
func visits(n int) dataset.Rows {
	return func(_ context.Context, row func(string, [][]byte) error) error {
		x := uint32(1)
		random := func() uint32 { x = x*1664525 + 1013904223; return x >> 8 }
		for i := range n {
			a := random() % 100
			good := "no"
			if a+random()%100 > 130 {
				good = "yes"
			}
			place := []byte("near")
			switch {
			case i%47 == 0:
				place = []byte("far")
			case i%7 == 0:
				place = nil
			}
			f := [][]byte{fmt.Append(nil, i), fmt.Append(nil, i/3), fmt.Append(nil, a), fmt.Append(nil, a%2), fmt.Append(nil, random()%1000), place, fmt.Append(nil, 1+i%3), []byte(good)}
			if err := row([]string{dataset.Train, dataset.Train, dataset.Train, dataset.Validation, dataset.Test}[i/3%5], f); err != nil {
				return err
			}
		}
		return nil
	}
}

func fitted(t *testing.T, spec *dataset.Spec, rows dataset.Rows) (*Data, *Fitted) {
	t.Helper()
	lib := library(t)
	d, err := Prepare(t.Context(), spec, rows)
	if err != nil {
		t.Fatal(err)
	}
	f, err := Fit(t.Context(), lib, spec, &spec.Candidates[0], d, Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	return d, f
}

func TestReport(t *testing.T) {
	t.Parallel()
	spec := stays(t)
	d, f := fitted(t, spec, visits(9000))
	r := f.Report
	if len(r.Splits) != 3 || r.Splits[0].Rows != 2700 || r.Splits[0].Of != 5400 || r.Splits[2].Rows != 1800 || r.Splits[2].Groups != 600 || r.Splits[1].Draws != 1000 {
		t.Errorf("splits %+v", r.Splits)
	}
	for _, s := range r.Splits[1:] {
		for _, name := range []string{"auc", "recall"} {
			e := s.Figures[name]
			if want := f.Metrics[s.Split+"_"+name]; math.Abs(e.Value-want) > 1e-12 || len(e.Interval) != 2 || e.Interval[0] >= want || e.Interval[1] <= want {
				t.Errorf("%s %s is %v, want %v", s.Split, name, e, want)
			}
		}
		if c := s.Confusion; c[0][0]+c[0][1]+c[1][0]+c[1][1] != s.Rows {
			t.Errorf("confusion of %d rows: %v", s.Rows, c)
		}
		if slope := s.Figures["calibration_slope"].Value; slope < 0.7 || slope > 1.3 {
			t.Errorf("calibration slope of %s %v", s.Split, slope)
		}
	}
	levels := map[string]int{}
	for _, s := range r.Slices {
		if s.Split == dataset.Test {
			levels[s.Column] += s.Rows
			if s.Column == "place" {
				levels[s.Level] = s.Rows
			}
			if s.Level != "far" && s.Column != "a" && len(s.Figures["auc"].Interval) != 2 {
				t.Errorf("%s %s has no interval: %v", s.Column, s.Level, s.Figures["auc"])
			}
		}
	}
	if levels["place"] != 1800 || levels["b"] != 1800 || levels["a"] != 1800 || levels["far"]+levels["near"]+levels["missing"] != 1800 || levels["missing"] == 0 {
		t.Errorf("rows of the slices: %v", levels)
	}
	quarters := 0
	for _, s := range r.Slices {
		if s.Column == "a" && s.Split == dataset.Test {
			quarters++
			if s.Rows < 360 || s.Rows > 540 {
				t.Errorf("a from %s has %d rows, want about a quarter of 1,800", s.Level, s.Rows)
			}
		}
	}
	if quarters != 4 {
		t.Errorf("a has %d slices, want 4", quarters)
	}
	p := r.Importance.Permutation
	if p.Rows != 900 || len(p.Columns) != 3 || p.Columns[0].Name != "a" || p.Columns[0].Value < 0.1 || math.Abs(p.Columns[2].Value) > 0.05 {
		t.Errorf("permutation %+v, want a before b and noise", p)
	}
	k := r.Importance.Contributions
	if k.Scale != "log-odds" || k.Rows != 900 || len(k.Columns) != 3 || k.Columns[0].Name != "a" || k.Columns[0].Value < 2*k.Columns[1].Value || k.Columns[2].Value < 0 { // no split asks for b
		t.Errorf("contributions %+v, want a before the others", k)
	}
	moved := 0.0 // by all columns together
	for _, w := range k.Columns {
		moved += w.Value
	}
	logOdds := func(p float32) float64 { return math.Log(float64(p) / (1 - float64(p))) }
	var away, mean float64
	for _, p := range f.Test {
		mean += logOdds(p) / float64(len(f.Test))
	}
	for _, p := range f.Test {
		away += math.Abs(logOdds(p)-mean) / float64(len(f.Test))
	}
	if moved < 0.9*away || moved > 3*away {
		t.Errorf("the columns move the log-odds by %.3f; they are %.3f away from their mean", moved, away)
	}
	if g := r.Importance.Gain; g[0].Name != "a" {
		t.Errorf("gain %+v, want a first", g)
	}
	c := newCard(spec, d, f, nil, time.Unix(0, 0), "d")
	text := string(c.Markdown())
	page, err := c.HTML()
	for _, want := range []string{"5400 to train on, 1800 to validate on", "2700 of 5400 were measured", "calibration_slope", "the largest f1", "| far |", "log-odds of a record, up or down, on average over 900 validation rows"} {
		if !strings.Contains(text, want) {
			t.Errorf("the card doesn't say %q:\n%s", want, text)
		}
	}
	if err != nil || !strings.Contains(string(page), "<td>far</td>") || strings.Contains(string(page), "src=") {
		t.Errorf("%v: page %s", err, page)
	}
	if c := d.choice(dataset.Train, 2000); len(c.Y) != 1800 || len(c.X) != 3*1800 || len(c.groups.Of) != 1800 || c.Y[1] != d.Parts[dataset.Train].Y[3] {
		t.Errorf("chose %d of 5,400 rows, want every third", len(c.Y))
	}
	again, _ := Fit(t.Context(), library(t), spec, &spec.Candidates[0], d, Options{Threads: 1})
	if a, b := again.Report.Splits[2].Figures["auc"].Interval, r.Splits[2].Figures["auc"].Interval; a[0] != b[0] || a[1] != b[1] {
		t.Errorf("intervals again %v, before %v", a, b)
	}
}

// Small slices are said to say little.
func TestSmallSlices(t *testing.T) {
	t.Parallel()
	_, f := fitted(t, stays(t), visits(1500))
	for _, s := range f.Report.Slices {
		if s.Level == "far" && !strings.HasPrefix(s.Warning, "only ") {
			t.Errorf("%d rows: warning %q", s.Rows, s.Warning)
		}
	}
	if got := warnings(f.Report); !strings.Contains(got, "place far: only ") {
		t.Errorf("warned of %q", got)
	}
}

// A row of weight 2 is the row twice, and balanced classes count the same.
func TestWeights(t *testing.T) {
	t.Parallel()
	lib := library(t)
	spec := stays(t, "threshold:", "weights: {column: w}\nthreshold:")
	d, err := Prepare(t.Context(), spec, visits(3000))
	if err != nil {
		t.Fatal(err)
	}
	w := d.weights(spec)
	twice := stays(t)
	repeated, err := Prepare(t.Context(), twice, func(ctx context.Context, row func(string, [][]byte) error) error {
		return visits(3000)(ctx, func(split string, fields [][]byte) error {
			times := 1
			if split == dataset.Train {
				times = int(fields[6][0] - '0')
			}
			for range times {
				if err := row(split, fields); err != nil {
					return err
				}
			}
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	// Few values, so that both have the same bins.
	a, err := Fit(t.Context(), lib, spec, &spec.Candidates[0], d, Options{Threads: 1, NoReport: true})
	if err != nil {
		t.Fatal(err)
	}
	b, err := Fit(t.Context(), lib, twice, &spec.Candidates[0], repeated, Options{Threads: 1, NoReport: true})
	if err != nil {
		t.Fatal(err)
	}
	plain, err := Fit(t.Context(), lib, twice, &spec.Candidates[0], mustPrepare(t, twice, visits(3000)), Options{Threads: 1, NoReport: true})
	if err != nil {
		t.Fatal(err)
	}
	far := func(x, y []float32) (d float64) {
		for i := range x {
			d += math.Abs(float64(x[i] - y[i]))
		}
		return d / float64(len(x))
	}
	if like, unlike := far(a.Test, b.Test), far(a.Test, plain.Test); like > unlike/2 || unlike == 0 {
		t.Errorf("weighted rows are %g from repeated ones and %g from plain ones", like, unlike)
	}
	if len(w) != len(d.Parts[dataset.Train].Y) || w[0] != 1 || w[1] != 2 || w[2] != 3 {
		t.Errorf("weights %v", w[:3])
	}

	balanced := stays(t, "threshold:", "weights: {column: w, balanced: true}\nthreshold:")
	sums := map[float32]float64{}
	for i, x := range d.weights(balanced) {
		sums[d.Parts[dataset.Train].Y[i]] += float64(x)
	}
	if math.Abs(sums[0]-sums[1]) > 1e-3*sums[0] {
		t.Errorf("balanced classes weigh %v", sums)
	}
	c := spec.Candidates[0]
	c.Params = map[string]any{"scale_pos_weight": dataset.Balanced}
	ratio, _ := d.resolved(twice, &c).Params["scale_pos_weight"].(float64)
	if ratio < 1.1 || c.Params["scale_pos_weight"] != dataset.Balanced {
		t.Errorf("scale_pos_weight: balanced is %v", ratio)
	}
}

func mustPrepare(t *testing.T, spec *dataset.Spec, rows dataset.Rows) *Data {
	t.Helper()
	d, err := Prepare(t.Context(), spec, rows)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// The same rows and seed find the same candidate, which trains to the same model; another
// seed tries others. Test rows play no part.
func TestSearch(t *testing.T) {
	t.Parallel()
	lib := library(t)
	models := map[[32]byte]bool{}
	for i, seed := range []string{"1", "1", "2"} {
		spec := stays(t, "candidates:", "search: {trials: 9, rounds: 12, early_stopping: 3, seed: "+seed+"}\ncandidates:")
		d := mustPrepare(t, spec, visits(16_000))
		if i == 1 { // other test rows
			for j := range d.Parts[dataset.Test].Y {
				d.Parts[dataset.Test].Y[j] = float32(j % 2)
			}
		}
		found, err := Search(t.Context(), lib, spec, d, 1, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		fits := map[int]int{}
		for _, trial := range found.Trials {
			fits[len(trial.Scores)]++
		}
		if found.Stopped != "" || fits[1] != 6 || fits[2] != 2 || fits[3] != 1 || len(found.Trials[found.Best].Scores) != 3 {
			t.Errorf("seed %s: %v fits per trial, best %d; %s", seed, fits, found.Best, found.Stopped)
		}
		f, err := Fit(t.Context(), lib, spec, found.candidate, d, Options{Threads: 1, NoReport: true})
		if err != nil {
			t.Fatal(err)
		}
		models[sha256.Sum256(f.UBJ)] = true
	}
	if len(models) != 2 {
		t.Errorf("%d models of two seeds, one of which was tried twice", len(models))
	}
}

// A search whose time runs out says so and gives what it has.
func TestSearchRunsOut(t *testing.T) {
	t.Parallel()
	lib := library(t)
	spec := stays(t, "candidates:", "search: {trials: 500, rounds: 30, minutes: 0.0001}\ncandidates:")
	found, err := Search(t.Context(), lib, spec, mustPrepare(t, spec, visits(3000)), 1, slog.New(slog.DiscardHandler))
	if err != nil || found.candidate == nil || !strings.Contains(found.Stopped, "stopped after 0.0001 minutes") || !strings.Contains(found.String(), "another run may find another") {
		t.Errorf("%v: found %v", err, found)
	}
}

func TestDraw(t *testing.T) {
	t.Parallel()
	spec := stays(t, "candidates:", "search: {trials: 300, space: {eta: {from: 0.01, to: 0.1, log: true}, max_depth: {from: 2, to: 4}, tree_method: {one_of: [hist, approx]}}}\ncandidates:")
	depths, small := map[any]int{}, 0
	for _, p := range draw(spec.Search) {
		depths[p["max_depth"]]++
		if eta := p["eta"].(float64); eta < 0.01 || eta > 0.1 {
			t.Errorf("eta %v", eta)
		} else if eta < 0.0316 {
			small++
		}
	}
	if len(depths) != 3 || depths[2] < 70 || depths[4] < 70 || small < 120 || small > 180 {
		t.Errorf("depths %v, %d of 300 below the middle of log", depths, small)
	}
}
