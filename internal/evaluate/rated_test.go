package evaluate

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"mlops/internal/dataset"
)

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-6 }

// The expected figures are scikit-learn's of the same numbers (log_loss, accuracy_score,
// f1_score with average="macro", roc_auc_score with multi_class="ovr").
func TestClasses(t *testing.T) {
	scores := []float32{0.7, 0.2, 0.1, 0.1, 0.8, 0.1, 0.2, 0.2, 0.6, 0.5, 0.3, 0.2, 0.3, 0.4, 0.3, 0.25, 0.25, 0.5}
	c, err := rateClasses(scores, []float32{0, 1, 2, 1, 1, 0}, 3)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]float64{
		"log_loss": -(math.Log(0.7) + math.Log(0.8) + math.Log(0.6) + math.Log(0.3) + math.Log(0.4) + math.Log(0.25)) / 6,
		"accuracy": 4.0 / 6,
		"macro_f1": (0.5 + 0.8 + 2.0/3) / 3,
		"auc":      (0.75 + 1 + 1) / 3,
	} {
		if got, err := c.Metric(name); err != nil || !near(got, want) {
			t.Errorf("%s is %v, %v; want %v", name, got, err, want)
		}
	}
	if got := c.Confusion(); got[0][0] != 1 || got[0][2] != 1 || got[1][0] != 1 || got[1][1] != 2 || got[2][2] != 1 {
		t.Errorf("confusion %v", got)
	}
	if _, err := c.Metric("rmse"); err == nil {
		t.Error("unknown metric: no error")
	}
	for _, bad := range [][]float32{{0, 1, 3, 1, 1, 0}, {0, 0.5, 1, 1, 1, 0}, {0}} {
		if _, err := rateClasses(scores, bad, 3); err == nil {
			t.Errorf("labels %v: no error", bad)
		}
	}
	absent, err := rateClasses(scores, []float32{0, 1, 0, 1, 1, 0}, 3)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := absent.AUC(); !errors.Is(err, ErrOneClass) {
		t.Errorf("AUC of a class without rows: %v", err)
	}
}

func TestValues(t *testing.T) {
	v, err := rateValues([]float32{2, 4, 6, 9}, []float32{1, 5, 6, 12})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]float64{"rmse": math.Sqrt(11.0 / 4), "mae": 5.0 / 4, "r2": 1 - 11.0/62} {
		if got, err := v.Metric(name); err != nil || !near(got, want) {
			t.Errorf("%s is %v, %v; want %v", name, got, err, want)
		}
	}
	if w, err := v.HalfWidth(0.6); err != nil || w != 1 { // the third of four errors 0, 1, 1, 3
		t.Errorf("half of an interval is %v, %v; want 1", w, err)
	}
	if _, err := v.HalfWidth(0.9); err == nil {
		t.Error("four rows give an interval of 90 %")
	}
	if _, err := rateValues([]float32{float32(math.NaN())}, []float32{1}); err == nil {
		t.Error("NaN: no error")
	}
}

// An interval measured on some rows holds its share of others like them.
func TestHalfWidthCovers(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	held := 0.0
	const times = 200
	for range times {
		draw := func() *Values {
			p, y := make([]float32, 60), make([]float32, 60)
			for i := range y {
				y[i] = float32(rng.NormFloat64() * rng.ExpFloat64())
			}
			v, err := rateValues(p, y)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
		w, err := draw().HalfWidth(0.9)
		if err != nil {
			t.Fatal(err)
		}
		held += draw().Covered(w) / times
	}
	if held < 0.89 || held > 0.93 {
		t.Errorf("intervals of 90 %% held %.3f of new values", held)
	}
}

// A model that knows nothing has no skill; one that knows something does.
func TestSkill(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	classes := &dataset.Spec{Task: dataset.Multiclass}
	classes.Target.Classes = []string{"a", "b", "c"}
	value := &dataset.Spec{Task: dataset.Regression}
	for _, knows := range []bool{false, true} {
		var scores, labels, predicted, actual []float32
		for range 500 {
			y := rng.IntN(3)
			p := []float32{0.33, 0.33, 0.34}
			noise := float32(rng.NormFloat64())
			guess := float32(rng.NormFloat64()) * 0.1
			if knows {
				p = []float32{0.3, 0.3, 0.3}
				p[y] = 0.4
				guess = noise * 0.5
			}
			scores, labels = append(scores, p...), append(labels, float32(y))
			predicted, actual = append(predicted, guess), append(actual, noise)
		}
		c, err := Rate(classes, scores, labels)
		if err != nil {
			t.Fatal(err)
		}
		v, err := Rate(value, predicted, actual)
		if err != nil {
			t.Fatal(err)
		}
		for what, s := range map[string]Skill{"classes": c.Skill("log_loss"), "rmse": v.Skill("rmse"), "mae": v.Skill("mae")} {
			if s.Any() != knows {
				t.Errorf("%s: %+v, knows something: %v", what, s, knows)
			}
		}
	}
}
