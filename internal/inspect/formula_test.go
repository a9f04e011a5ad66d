package inspect

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"mlops/internal/dataset"
)

// formulaTable makes rows of four amounts a to d, and a target of each.
func formulaTable(n int, target func(v []float64, r *rand.Rand) float64) (features []Feature, x, y []float32) {
	r := rand.New(rand.NewPCG(3, 5))
	for _, name := range []string{"a", "b", "c", "d"} {
		features = append(features, Feature{Name: name, Columns: []string{name}})
	}
	for range n {
		v := make([]float64, 4)
		for k := range v {
			v[k] = math.Round(1000*math.Exp(r.NormFloat64())) / 100
			x = append(x, float32(v[k]))
		}
		y = append(y, float32(target(v, r)))
	}
	return features, x, y
}

func TestFormulaOfNumbers(t *testing.T) {
	t.Parallel()
	cents := func(x float64) float64 { return math.Round(100*x) / 100 }
	for _, c := range []struct {
		name   string
		target func(v []float64, r *rand.Rand) float64
		want   string // empty: nothing is found
	}{
		{"a sum", func(v []float64, _ *rand.Rand) float64 { return v[0] + v[2] }, "y is the sum of a and c in 100% of the rows"},
		{"a mean", func(v []float64, _ *rand.Rand) float64 { return (v[0] + v[2]) / 2 }, "the sum of a and c"},
		{"a difference", func(v []float64, _ *rand.Rand) float64 { return v[1] - v[0] }, "the difference of a and b"},
		{"a rounded product", func(v []float64, _ *rand.Rand) float64 { return cents(v[1] * v[3]) }, "the product of b and d"},
		{"a ratio in percent", func(v []float64, _ *rand.Rand) float64 { return cents(100 * v[3] / v[1]) }, "d divided by b"},
		{"by a square", func(v []float64, _ *rand.Rand) float64 { return cents(10000 * v[0] / v[1] / v[1]) }, "a divided by the square of b"},
		{"a sum with corrections", func(v []float64, r *rand.Rand) float64 {
			if r.IntN(50) == 0 {
				return v[0]
			}
			return v[0] + v[1]
		}, "the sum of a and b in 97.9%"},
		{"one of four", func(v []float64, r *rand.Rand) float64 { return v[r.IntN(4)] }, "the same as "},
		{"a sum with noise", func(v []float64, r *rand.Rand) float64 { return v[0] + v[1] + r.NormFloat64() }, ""},
		{"a sum of a half of the rows", func(v []float64, r *rand.Rand) float64 { return v[0] + float64(r.IntN(2))*v[1] }, ""},
		{"nothing", func(_ []float64, r *rand.Rand) float64 { return r.NormFloat64() }, ""},
		{"always the same", func([]float64, *rand.Rand) float64 { return 1 }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			features, x, y := formulaTable(2000, c.target)
			s := &dataset.Spec{Task: dataset.Regression, Target: dataset.Target{Column: "y"}}
			found := Formula(s, features, x, y)
			if c.want == "" && found != nil || c.want != "" && (found == nil || !strings.Contains(found.Text, c.want)) {
				t.Fatalf("found %v, want %q", found, c.want)
			}
			if found == nil {
				return
			}
			if found.Level != Warning || found.Kind != "leak" {
				t.Errorf("the finding is a %s of %s", found.Level, found.Kind)
			}
			s.AllowLeak = []string{"a", "b", "c", "d"}
			if found := Formula(s, features, x, y); found != nil {
				t.Errorf("although the columns may leak, %v", found)
			}
		})
	}
}

// A column that is the target nearly exactly is no formula with one that adds nothing.
func TestFormulaNeedsBoth(t *testing.T) {
	t.Parallel()
	features, x, y := formulaTable(2000, func(v []float64, _ *rand.Rand) float64 { return v[0] * 1.07 })
	for i := range y {
		x[4*i+1] = 1e-5 * float32(i%7)
	}
	if found := Formula(&dataset.Spec{Task: dataset.Regression, Target: dataset.Target{Column: "y"}}, features, x, y); found != nil {
		t.Error(found)
	}
}

// One of three columns of words has the class.
func TestFormulaOfClasses(t *testing.T) {
	t.Parallel()
	classes := []string{"ash", "elm", "fir", "oak", "yew", "box", "bay"}
	var features []Feature
	for _, name := range []string{"first", "second", "third"} {
		features = append(features, Feature{Name: name, Columns: []string{name}, Codes: 8, Levels: []string{"yew", "oak", "fir", "elm", "ash", "bay", "box", "other"}})
	}
	code := []int{4, 3, 2, 1, 0, 6, 5} // of each class
	r := rand.New(rand.NewPCG(7, 7))
	rows := func(tells bool) (x, y []float32) {
		for range 1500 {
			k, at := r.IntN(len(classes)), r.IntN(3)
			for f := range 3 {
				c := r.IntN(8)
				if tells && f == at {
					c = code[k]
				}
				x = append(x, float32(c))
			}
			y = append(y, float32(k))
		}
		return x, y
	}
	s := &dataset.Spec{Task: dataset.Multiclass, Target: dataset.Target{Column: "tree", Classes: classes}}
	x, y := rows(true)
	if found := Formula(s, features, x, y); found == nil || !strings.Contains(found.Text, "tree is the same as ") || !strings.Contains(found.Text, " in 100% of the rows") {
		t.Errorf("found %v", found)
	}
	x, y = rows(false)
	if found := Formula(s, features, x, y); found != nil {
		t.Errorf("by chance: %v", found)
	}
}

// Where values repeat much, six columns have the target's by chance.
func TestFormulaOfRatings(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(9, 9))
	var features []Feature
	for _, name := range []string{"q1", "q2", "q3", "q4", "q5", "q6"} {
		features = append(features, Feature{Name: name, Columns: []string{name}})
	}
	var x, y []float32
	for range 3000 {
		for range features {
			x = append(x, float32(1+r.IntN(2)))
		}
		y = append(y, float32(1+r.IntN(2)))
	}
	if found := Formula(&dataset.Spec{Task: dataset.Regression, Target: dataset.Target{Column: "y"}}, features, x, y); found != nil {
		t.Error(found)
	}
}
