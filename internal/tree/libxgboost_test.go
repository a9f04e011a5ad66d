package tree

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"sync"
	"testing"

	"mlops/internal/xgboost"
)

// table is a matrix of random features. A feature's kind is the number of its
// categories, or 0 for a number.
type table struct {
	kinds  []int
	rows   int
	data   []float32
	labels []float32
}

// draw makes a table. Every number in three is whole, so that rows meet the
// thresholds exactly. With strange set, categories are also unknown, negative,
// fractional and too large, and numbers tiny and huge (libxgboost takes no
// infinity).
func draw(rng *rand.Rand, kinds []int, rows int, missing float64, strange bool) table {
	t := table{kinds: kinds, rows: rows}
	for range rows {
		sum := 0.0
		for j, kind := range kinds {
			v := rng.NormFloat64() * 2
			switch {
			case rng.Float64() < missing:
				v = math.NaN()
				sum += 0.3
			case kind > 0:
				v = float64(rng.IntN(kind))
				sum += math.Sin(v*float64(j+3)) * 2
				if strange && rng.IntN(8) == 0 {
					odd := []float64{float64(kind), float64(kind + 100), -1, -0.25, 0.75, v + 0.5, 1 << 24, 1e30}
					v = odd[rng.IntN(len(odd))]
				}
			default:
				if j%3 == 0 {
					v = math.Round(v)
				}
				sum += v * math.Cos(float64(j))
				if strange && rng.IntN(50) == 0 {
					odd := []float64{math.Copysign(0, -1), 1e-45, math.MaxFloat32}
					v = odd[rng.IntN(len(odd))]
				}
			}
			t.data = append(t.data, float32(v))
		}
		label := float32(0)
		if rng.Float64() < 1/(1+math.Exp(-sum/2)) {
			label = 1
		}
		t.labels = append(t.labels, label)
	}
	return t
}

func (t table) matrix(tb testing.TB, lib *xgboost.Library, labels bool) *xgboost.Matrix {
	tb.Helper()
	names, categorical := make([]string, len(t.kinds)), make([]bool, len(t.kinds))
	for j, kind := range t.kinds {
		names[j], categorical[j] = fmt.Sprintf("f%d", j), kind > 0
	}
	m, err := lib.NewMatrix(t.data, t.rows, len(t.kinds), names, categorical)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { m.Close() })
	if labels {
		if err := m.SetLabels(t.labels); err != nil {
			tb.Fatal(err)
		}
	}
	return m
}

func library(tb testing.TB) *xgboost.Library {
	tb.Helper()
	path := os.Getenv("MLOPS_XGBOOST")
	if path == "" {
		tb.Skip("NOT COMPARED WITH LIBXGBOOST: MLOPS_XGBOOST, the path of libxgboost.so, is not set")
	}
	lib, err := xgboost.Load(path)
	if err != nil {
		tb.Fatal(err)
	}
	return lib
}

func boost(tb testing.TB, lib *xgboost.Library, t table, rounds int, params map[string]any) *xgboost.Booster {
	tb.Helper()
	c := xgboost.Config{Rounds: rounds, Params: [][2]string{{"objective", "binary:logistic"}, {"nthread", "1"}}}
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

// sameMargins compares every row's margins with libxgboost's. A base margin may
// be off by one unit in the last place: the C library's logf is not always
// rounded correctly, Go's logarithm in float64 is. sameMargins leaves the model
// with the base that fits.
func sameMargins(m *Model, rows []float32, want []float32) error {
	n := len(rows) / m.features
	if len(want) != n*m.Outputs() {
		return fmt.Errorf("libxgboost has %d margins for %d rows with %d outputs", len(want), n, m.Outputs())
	}
	for k, base := range m.bases {
		var err error
		for _, towards := range []float32{base, math.MaxFloat32, -math.MaxFloat32} {
			m.bases[k] = math.Nextafter32(base, towards)
			err = nil
			for i := range n {
				row, w := rows[i*m.features:(i+1)*m.features], want[i*m.Outputs()+k]
				if got := m.walk(row, k); got != w {
					err = fmt.Errorf("row %d %v: margin %v of output %d, libxgboost's %v", i, row, got, k, w)
					break
				}
			}
			if err == nil {
				break
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// TestSameAsLibxgboost draws models and rows of every kind and compares. While the
// library trains one model, others are scored.
func TestSameAsLibxgboost(t *testing.T) {
	lib, ref := library(t), newReference(t)
	models := 120
	if testing.Short() {
		models = 24
	}
	var mu sync.Mutex // for the next two lines
	var rows, inexact int
	var worst float64
	t.Cleanup(func() {
		t.Logf("%d rows: margins equal to the bit, %d probabilities are not, by %.1e at most", rows, inexact, worst)
	})
	for seed := range models {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(uint64(seed), 7))
			kinds := make([]int, 1+rng.IntN(12))
			for j := range kinds {
				if seed%3 > 0 && rng.IntN(2) == 0 {
					kinds[j] = 2 + rng.IntN(90)
				}
			}
			missing := []float64{0, 0.02, 0.3}[rng.IntN(3)]
			params := map[string]any{
				"max_depth":         1 + seed%12,
				"eta":               []float64{0.05, 0.3, 1}[rng.IntN(3)],
				"tree_method":       []string{"hist", "approx"}[rng.IntN(2)],
				"max_cat_to_onehot": []int{1, 8, 1000}[rng.IntN(3)],
				"min_child_weight":  []float64{0, 1, 10}[rng.IntN(3)],
				"max_bin":           []int{16, 256}[rng.IntN(2)],
				"seed":              seed,
				"scale_pos_weight":  []float64{1, 7}[rng.IntN(2)],
				"num_parallel_tree": 1 + rng.IntN(2),
			}
			if rng.IntN(3) == 0 { // leaf by leaf, not level by level: deep and slender
				params["grow_policy"], params["max_leaves"] = "lossguide", 4+rng.IntN(60)
			}
			b := boost(t, lib, draw(rng, kinds, 200+rng.IntN(800), missing, false), 1+rng.IntN(24), params)
			check := draw(rng, kinds, 500, []float64{0, 0.05, 0.9}[rng.IntN(3)], true)
			matrix := check.matrix(t, lib, false)
			want, err := b.Predict(matrix)
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
			for form, data := range map[string][]byte{"UBJ": ubj, "JSON": text} {
				m, err := Parse(data)
				if err != nil {
					t.Fatalf("%s: %v", form, err)
				}
				batch := make([]float32, check.rows)
				m.ScoreBatch(check.data, batch)
				offs := make([]float64, check.rows)
				for i := range batch {
					row := check.data[i*len(kinds) : (i+1)*len(kinds)]
					one := m.Score(row)
					if one != batch[i] || one != sigmoid(m.walk(row, 0)) {
						t.Fatalf("%s, %v: row %d: alone %v, in a batch %v, node by node %v", form, params, i, one, batch[i], sigmoid(m.walk(row, 0)))
					}
					off := math.Abs(float64(one) - float64(want[i]))
					if !(off <= 1e-6) {
						t.Fatalf("%s, %v: row %d: %v, libxgboost %v", form, params, i, one, want[i])
					}
					offs[i] = off
				}
				mu.Lock()
				rows += len(offs)
				for _, off := range offs {
					if off > 0 {
						inexact++
					}
					worst = max(worst, off)
				}
				mu.Unlock()
				if err := sameMargins(m, check.data, margins); err != nil {
					t.Fatalf("%s, %v: %v", form, params, err)
				}
			}
		})
	}
}
