package tree

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"mlops/internal/xgboost"
)

// objectives are those other than binary:logistic that models are compared for, with
// what turns draw's label (0 or 1) and a row's number into one of theirs.
var objectives = []struct {
	name   string
	params map[string]any
	label  func(rng *rand.Rand, y float64) float64
}{
	{"multi:softprob", map[string]any{"num_class": 3}, func(rng *rand.Rand, y float64) float64 { return y + float64(rng.IntN(2)) }},
	{"multi:softprob", map[string]any{"num_class": 7}, func(rng *rand.Rand, y float64) float64 { return 3*y + float64(rng.IntN(4)) }},
	{"multi:softprob", map[string]any{"num_class": 2}, func(_ *rand.Rand, y float64) float64 { return y }},
	{"reg:squarederror", nil, func(rng *rand.Rand, y float64) float64 { return 1000*y + 300*rng.NormFloat64() }},
	{"reg:absoluteerror", nil, func(rng *rand.Rand, y float64) float64 { return y + rng.NormFloat64() }},
	{"reg:pseudohubererror", nil, func(rng *rand.Rand, y float64) float64 { return y + rng.NormFloat64() }},
	{"reg:quantileerror", map[string]any{"quantile_alpha": "[0.1,0.5,0.9]"}, func(rng *rand.Rand, y float64) float64 { return y + rng.NormFloat64() }},
	{"count:poisson", nil, func(rng *rand.Rand, y float64) float64 { return math.Floor(4*y + 3*rng.Float64()) }},
	{"reg:gamma", nil, func(rng *rand.Rand, y float64) float64 { return 0.1 + y + rng.ExpFloat64() }},
	{"reg:tweedie", nil, func(rng *rand.Rand, y float64) float64 { return y * rng.ExpFloat64() }},
	{"reg:logistic", nil, func(_ *rand.Rand, y float64) float64 { return y }},
	{"binary:logitraw", nil, func(_ *rand.Rand, y float64) float64 { return y }},
}

// TestOutputsSameAsLibxgboost draws models of every objective and compares them as
// TestSameAsLibxgboost does: margins to the bit, predictions to a millionth of
// their size.
func TestOutputsSameAsLibxgboost(t *testing.T) {
	lib, ref := library(t), newReference(t)
	var numbers atomic.Int64
	t.Cleanup(func() { t.Logf("%d margins equal to the bit", numbers.Load()) })
	seeds := 8
	if testing.Short() {
		seeds = 2
	}
	for at, objective := range objectives {
		for seed := range seeds {
			t.Run(fmt.Sprintf("%s %v %d", objective.name, objective.params, seed), func(t *testing.T) {
				t.Parallel()
				rng := rand.New(rand.NewPCG(uint64(seed), uint64(at)))
				kinds := make([]int, 1+rng.IntN(12))
				for j := range kinds {
					if seed%3 > 0 && rng.IntN(2) == 0 {
						kinds[j] = 2 + rng.IntN(60)
					}
				}
				data := draw(rng, kinds, 200+rng.IntN(500), 0.05, false)
				for i, y := range data.labels {
					data.labels[i] = float32(objective.label(rng, float64(y)))
				}
				params := map[string]any{
					"objective": objective.name, "nthread": 1, "max_depth": 1 + (seed*5)%11, "seed": seed,
					"eta": []float64{0.1, 0.3}[rng.IntN(2)], "num_parallel_tree": 1 + rng.IntN(2), "max_cat_to_onehot": []int{1, 8}[rng.IntN(2)],
				}
				for name, value := range objective.params {
					params[name] = value
				}
				b := boostAny(t, lib, data, 1+rng.IntN(14), params)
				check := draw(rng, kinds, 200, []float64{0, 0.05, 0.9}[rng.IntN(3)], true)
				want, err := b.Predict(check.matrix(t, lib, false))
				if err != nil {
					t.Fatal(err)
				}
				ubj, err := b.SaveUBJ()
				if err != nil {
					t.Fatal(err)
				}
				margins, err := ref.margins(ubj, check)
				if err != nil {
					t.Fatal(err)
				}
				text, err := ref.json(ubj)
				if err != nil {
					t.Fatal(err)
				}
				for form, saved := range map[string][]byte{"UBJ": ubj, "JSON": text} {
					m, err := Parse(saved)
					if err != nil {
						t.Fatalf("%s: %v", form, err)
					}
					if err := sameMargins(m, check.data, margins); err != nil {
						t.Fatalf("%s, %v: %v", form, params, err)
					}
					numbers.Add(int64(len(margins)))
					compareOutputs(t, m, check, want)
				}
			})
		}
	}
}

// compareOutputs compares the predictions of a batch with those of rows alone and of
// the walk from node to node, bit by bit, and with libxgboost's.
func compareOutputs(t *testing.T, m *Model, check table, want []float32) {
	t.Helper()
	outputs := m.Outputs()
	batch := make([]float32, check.rows*outputs)
	m.ScoreBatch(check.data, batch)
	if len(want) != len(batch) {
		t.Fatalf("%d predictions, libxgboost has %d", len(batch), len(want))
	}
	one, walked := make([]float32, outputs), make([]float32, outputs)
	for i := range check.rows {
		row, got := check.data[i*m.features:(i+1)*m.features], batch[i*outputs:(i+1)*outputs]
		m.ScoreBatch(row, one)
		for k := range walked {
			walked[k] = m.walk(row, k)
		}
		m.link.apply(walked, outputs)
		if !slices.Equal(one, got) || !slices.Equal(walked, got) {
			t.Fatalf("row %d: alone %v, in a batch %v, node by node %v", i, one, got, walked)
		}
		for k, w := range want[i*outputs : (i+1)*outputs] {
			if off := math.Abs(float64(got[k]) - float64(w)); !(off <= 1e-6*max(1, math.Abs(float64(w)))) {
				t.Fatalf("row %d, output %d: %v, libxgboost %v", i, k, got[k], w)
			}
		}
	}
}

// boostAny trains without evaluating the rounds, which takes any objective.
func boostAny(tb testing.TB, lib *xgboost.Library, t table, rounds int, params map[string]any) *xgboost.Booster {
	tb.Helper()
	c := xgboost.Config{Rounds: rounds, Metric: "rmse"}
	switch {
	case params["num_class"] != nil:
		c.Metric = "mlogloss"
	case params["quantile_alpha"] != nil:
		c.Metric = "quantile"
	}
	for k, v := range params {
		c.Params = append(c.Params, [2]string{k, fmt.Sprint(v)})
	}
	m := t.matrix(tb, lib, true)
	b, _, err := lib.Train(context.Background(), c, m, m)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { b.Close() })
	return b
}

// TestModelsOfOtherVersions reads what XGBoost 1.7, 2.1 and 3.0 saved, whose
// base_score is one number for all outputs, and compares with what they predicted.
func TestModelsOfOtherVersions(t *testing.T) {
	models, err := filepath.Glob(filepath.Join("testdata", "old", "*.csv"))
	if err != nil || len(models) < 8 {
		t.Fatalf("found %v: %v", models, err)
	}
	for _, path := range models {
		t.Run(filepath.Base(path), func(t *testing.T) {
			data, err := os.ReadFile(strings.TrimSuffix(path, ".csv"))
			if err != nil {
				t.Fatal(err)
			}
			m, err := Parse(data)
			if err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for i, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
				var numbers []float32
				for _, field := range strings.Split(line, ",") {
					x, err := strconv.ParseFloat(field, 32)
					if err != nil {
						t.Fatal(err)
					}
					numbers = append(numbers, float32(x))
				}
				out := make([]float32, m.Outputs())
				m.ScoreBatch(numbers[:m.Features()], out)
				want := numbers[m.Features():]
				if len(out) != len(want) {
					t.Fatalf("%d outputs, want %d", len(out), len(want))
				}
				for k, w := range want {
					if off := math.Abs(float64(out[k]) - float64(w)); !(off <= 1e-6*max(1, math.Abs(float64(w)))) {
						t.Errorf("row %d: %v, that version predicted %v", i, out, want)
					}
				}
			}
		})
	}
}
