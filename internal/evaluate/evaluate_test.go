package evaluate

import (
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"

	"mlops/internal/dataset"
)

// sklearnCase is what testdata/fixture.py writes.
type sklearnCase struct {
	Name             string
	Float32          bool
	Scores           []float64
	Labels           []float32
	AUC              float64
	AveragePrecision float64 `json:"average_precision"`
	LogLoss          float64 `json:"log_loss"`
	MaxF1            float64 `json:"max_f1"`
	MaxYouden        float64 `json:"max_youden"`
	Recall           map[string]float64
	ROC, PR          [][2]float64
	At               []struct {
		Threshold, Precision, Recall, Accuracy, F1 float64
		TP, FP, TN, FN                             int
	}
}

// rank takes scores and labels in the types that the case is about.
func (c sklearnCase) rank(t *testing.T) *Ranking {
	t.Helper()
	var r *Ranking
	var err error
	if c.Float32 {
		scores := make([]float32, len(c.Scores))
		for i, s := range c.Scores {
			scores[i] = float32(s)
		}
		r, err = Rank(scores, c.Labels)
	} else {
		labels := make([]bool, len(c.Labels))
		for i, l := range c.Labels {
			labels[i] = l == 1
		}
		r, err = Rank(c.Scores, labels)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestAgainstSklearn(t *testing.T) {
	text, err := os.ReadFile("testdata/sklearn.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []sklearnCase
	if err := json.Unmarshal(text, &cases); err != nil {
		t.Fatal(err)
	}
	if len(cases) < 10 {
		t.Fatalf("the fixture has %d cases", len(cases))
	}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			r := c.rank(t)
			near := func(what string, got, want float64) {
				t.Helper()
				if !(math.Abs(got-want) <= 1e-12*max(1, math.Abs(want))) {
					t.Errorf("%s is %v, scikit-learn has %v", what, got, want)
				}
			}
			near("AUC", r.AUC(), c.AUC)
			near("average precision", r.AveragePrecision(), c.AveragePrecision)
			loss, err := r.LogLoss()
			if err != nil {
				t.Error(err)
			}
			near("log loss", loss, c.LogLoss)
			for _, at := range c.At {
				got := r.At(at.Threshold)
				if want := (Confusion{at.TP, at.FP, at.TN, at.FN}); got != want {
					t.Errorf("at %v: got %+v, scikit-learn has %+v", at.Threshold, got, want)
				}
				near("precision", got.Precision(), at.Precision)
				near("recall", got.Recall(), at.Recall)
				near("accuracy", got.Accuracy(), at.Accuracy)
				near("F1", got.F1(), at.F1)
			}
			rules := map[string]dataset.Threshold{"max f1": {Maximize: "f1"}, "max youden": {Maximize: "youden"}}
			want := map[string]float64{"max f1": c.MaxF1, "max youden": c.MaxYouden}
			for s, w := range c.Recall {
				v, err := strconv.ParseFloat(s, 64)
				if err != nil {
					t.Fatal(err)
				}
				rules["recall "+s], want["recall "+s] = dataset.Threshold{Recall: &v}, w
			}
			for name, rule := range rules {
				if got, err := r.ChooseThreshold(rule); err != nil || got != want[name] {
					t.Errorf("%s: got %v, %v, scikit-learn has %v", name, got, err, want[name])
				}
			}
			compare(t, "ROC", r.ROC(), c.ROC)
			// scikit-learn's curve goes on to the lowest threshold, as ours does.
			compare(t, "precision-recall", r.PrecisionRecall(), c.PR)
		})
	}
}

func compare(t *testing.T, what string, got []Point, want [][2]float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d points, scikit-learn has %d", what, len(got), len(want))
		return
	}
	for i, p := range got {
		if math.Abs(p.X-want[i][0]) > 1e-12 || math.Abs(p.Y-want[i][1]) > 1e-12 {
			t.Errorf("%s: point %d is (%v, %v), scikit-learn has %v", what, i, p.X, p.Y, want[i])
			return
		}
	}
}

func TestRankRefuses(t *testing.T) {
	nan := math.NaN()
	tests := []struct {
		reason string
		scores []float64
		labels []float32
		want   string
	}{
		{"nothing", nil, nil, "0 positive, 0 negative"},
		{"only positive", []float64{1, 2}, []float32{1, 1}, "2 positive, 0 negative"},
		{"only negative", []float64{1, 2}, []float32{0, 0}, "0 positive, 2 negative"},
		{"more scores", []float64{1, 2, 3}, []float32{0, 1}, "3 scores but 2 labels"},
		{"more labels", []float64{1}, []float32{0, 1}, "1 scores but 2 labels"},
		{"NaN", []float64{1, nan}, []float32{0, 1}, "score of row 1 is NaN"},
		{"a soft label", []float64{1, 2, 3}, []float32{0, 1, 0.5}, "label of row 2 is 0.5, want 0 or 1"},
		{"a missing label", []float64{1, 2}, []float32{0, float32(nan)}, "label of row 1 is NaN, want 0 or 1"},
	}
	for _, test := range tests {
		_, err := Rank(test.scores, test.labels)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", test.reason, err, test.want)
		}
		if want := strings.Contains(test.want, "negative"); errors.Is(err, ErrOneClass) != want {
			t.Errorf("%s: ErrOneClass is %v", test.reason, !want)
		}
	}
}

// Margins order rows as well, but are no probabilities.
func TestLogLossRefuses(t *testing.T) {
	for _, scores := range [][]float64{{-0.1, 0.5}, {0.5, 1.5}, {0, math.Inf(1)}} {
		r, err := Rank(scores, []bool{false, true})
		if err != nil {
			t.Fatal(err)
		}
		if r.AUC() != 1 {
			t.Errorf("%v: AUC is %v, want 1", scores, r.AUC())
		}
		if loss, err := r.LogLoss(); err == nil {
			t.Errorf("%v: log loss is %v, want an error", scores, loss)
		}
	}
}

func TestChooseThreshold(t *testing.T) {
	f := func(v float64) *float64 { return &v }
	tied := []float64{0.9, 0.8, 0.7, 0.6, 0.5, 0.4}
	tests := []struct {
		reason string
		rule   dataset.Threshold
		scores []float64
		labels []bool
		want   float64
		err    string
	}{
		// F1: 2/3 at 0.9 (1 of 1, 1 of 2), 2/3 at 0.6 (2 of 4, 2 of 2).
		{"equal F1: the highest", dataset.Threshold{Maximize: "f1"}, tied, []bool{true, false, false, true, false, false}, 0.9, ""},
		// J: 1/2 at 0.9, and again 1 - 2/4 at 0.6.
		{"equal J: the highest", dataset.Threshold{Maximize: "youden"}, tied, []bool{true, false, false, true, false, false}, 0.9, ""},
		{"the scores' order does not count", dataset.Threshold{Maximize: "youden"}, []float64{0.4, 0.6, 0.5, 0.8, 0.7, 0.9}, []bool{false, true, false, false, false, true}, 0.9, ""},
		{"recall exactly reached", dataset.Threshold{Recall: f(0.5)}, tied, []bool{false, true, false, true, false, false}, 0.8, ""},
		{"recall a little more", dataset.Threshold{Recall: f(0.51)}, tied, []bool{false, true, false, true, false, false}, 0.6, ""},
		{"7 of 10 is a recall of 0.7", dataset.Threshold{Recall: f(0.7)}, []float64{10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0}, []bool{true, true, true, true, true, true, true, true, true, true, false}, 4, ""},
		{"fixed is taken as it is", dataset.Threshold{Fixed: f(0.123)}, tied, []bool{true, false, false, true, false, false}, 0.123, ""},
		{"precision: the most recall", dataset.Threshold{Precision: f(0.5)}, []float64{0.9, 0.8, 0.7, 0.6}, []bool{true, false, true, false}, 0.7, ""},
		{"precision out of reach", dataset.Threshold{Precision: f(0.9)}, []float64{0.9, 0.8, 0.7}, []bool{false, true, true}, 0, "the highest is 0.6667, at 0.7 with a recall of 1.0000"},
		{"a missed positive costs more", dataset.Threshold{Cost: &dataset.Cost{FalsePositive: 1, FalseNegative: 5}}, []float64{0.9, 0.8, 0.7, 0.6, 0.5}, []bool{true, false, false, true, false}, 0.6, ""},
		{"a false alarm costs more", dataset.Threshold{Cost: &dataset.Cost{FalsePositive: 5, FalseNegative: 1}}, []float64{0.9, 0.8, 0.7, 0.6, 0.5}, []bool{true, false, false, true, false}, 0.9, ""},
		{"no rule", dataset.Threshold{}, tied[:2], []bool{true, false}, 0, "have 0"},
		{"two rules", dataset.Threshold{Maximize: "f1", Fixed: f(0.5)}, tied[:2], []bool{true, false}, 0, "have 2"},
		{"unknown", dataset.Threshold{Maximize: "profit"}, tied[:2], []bool{true, false}, 0, `can't maximize "profit"`},
		{"recall of nothing", dataset.Threshold{Recall: f(0)}, tied[:2], []bool{true, false}, 0, "recall is 0"},
		{"recall of more than all", dataset.Threshold{Recall: f(1.1)}, tied[:2], []bool{true, false}, 0, "recall is 1.1"},
		{"recall NaN", dataset.Threshold{Recall: f(math.NaN())}, tied[:2], []bool{true, false}, 0, "recall is NaN"},
		{"fixed NaN", dataset.Threshold{Fixed: f(math.NaN())}, tied[:2], []bool{true, false}, 0, "fixed is NaN"},
	}
	for _, test := range tests {
		r, err := Rank(test.scores, test.labels)
		if err != nil {
			t.Fatalf("%s: %v", test.reason, err)
		}
		got, err := r.ChooseThreshold(test.rule)
		if test.err != "" {
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("%s: got %v, want %q", test.reason, err, test.err)
			}
		} else if err != nil || got != test.want {
			t.Errorf("%s: got %v, %v, want %v", test.reason, got, err, test.want)
		}
	}
}

// A threshold from float32 scores labels those rows as it was judged.
func TestThresholdOfFloat32(t *testing.T) {
	scores := []float32{0.1, 0.2, 0.3}
	r, err := Rank(scores, []bool{false, false, true})
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.ChooseThreshold(dataset.Threshold{Maximize: "f1"})
	if err != nil || got != float64(scores[2]) || r.At(got).F1() != 1 {
		t.Errorf("got %v, %v with %+v", got, err, r.At(got))
	}
}

// pairs counts by the definition, in O(n^2).
func pairs(scores []float64, labels []bool) float64 {
	won, all := 0.0, 0.0
	for i := range scores {
		for j := range scores {
			if labels[i] && !labels[j] {
				all++
				switch {
				case scores[i] > scores[j]:
					won++
				case scores[i] == scores[j]:
					won += 0.5
				}
			}
		}
	}
	return won / all
}

func TestAUCByDefinition(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		n := 2 + random.IntN(40)
		scores, labels := make([]float64, n), make([]bool, n)
		for i := range n {
			scores[i], labels[i] = float64(random.IntN(8)), random.IntN(3) == 0
		}
		labels[0], labels[1] = true, false
		r, err := Rank(scores, labels)
		if err != nil {
			t.Fatal(err)
		}
		if want := pairs(scores, labels); math.Abs(r.AUC()-want) > 1e-14 {
			t.Errorf("%v %v: AUC is %v, want %v", scores, labels, r.AUC(), want)
		}
		c := r.At(3)
		if c.TruePositives+c.FalsePositives+c.TrueNegatives+c.FalseNegatives != n || r.Rows() != n {
			t.Errorf("%+v has not %d rows", c, n)
		}
	}
}

// A model that says the base rate gains nothing; one that knows gains what it saves.
func TestGainOfARanking(t *testing.T) {
	t.Parallel()
	labels := []float32{1, 0, 0, 0, 1, 0, 0, 0}
	for _, test := range []struct {
		what           string
		positive, rest float32
		want           float64
	}{
		{"the base rate", 0.25, 0.25, 0},
		{"better", 0.5, 0.1, 0.25*math.Log(2) + 0.75*math.Log(0.9/0.75)},
		{"worse", 0.1, 0.5, 0.25*math.Log(0.4) + 0.75*math.Log(0.5/0.75)},
	} {
		scores := make([]float32, len(labels))
		for i, l := range labels {
			if scores[i] = test.rest; l == 1 {
				scores[i] = test.positive
			}
		}
		r, err := Rank(scores, labels)
		if err != nil {
			t.Fatal(err)
		}
		if g, err := r.Gain(); err != nil || math.Abs(g.Mean-test.want) > 1e-6 || g.Low > g.Mean || g.High < g.Mean {
			t.Errorf("%s: %+v, %v; want a mean of %.6f", test.what, g, err, test.want)
		}
	}
}
