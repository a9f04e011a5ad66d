package evaluate

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestAUCInterval(t *testing.T) {
	t.Parallel()
	yes, no := true, false
	for _, test := range []struct {
		name      string
		scores    []float64
		labels    []bool
		low, high float64
	}{
		// By hand: positives 0.9 and 0.4 beat 3 and 1 of 3 negatives (components 1
		// and 1/3, variance 2/9), the negatives 0.5, 0.45 and 0.1 lose to 1, 1 and 2
		// of 2 positives (1/2, 1/2, 1, variance 1/12): 2/9/2 + 1/12/3 = 5/36.
		{"a few rows", []float64{0.9, 0.4, 0.5, 0.45, 0.1}, []bool{yes, yes, no, no, no}, 2.0/3 - 1.959963984540054*math.Sqrt(5.0/36), 1},
		{"told apart", []float64{0.9, 0.8, 0.2, 0.1}, []bool{yes, yes, no, no}, 1, 1},
		{"all scores are equal", []float64{0.5, 0.5, 0.5, 0.5}, []bool{yes, yes, no, no}, 0.5, 0.5},
		{"one positive row", []float64{0.9, 0.8, 0.2}, []bool{yes, no, no}, 0, 1},
		{"one negative row", []float64{0.9, 0.8, 0.2}, []bool{yes, yes, no}, 0, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, err := Rank(test.scores, test.labels)
			if err != nil {
				t.Fatal(err)
			}
			low, high := r.AUCInterval()
			if math.Abs(low-max(test.low, 0)) > 1e-12 || math.Abs(high-test.high) > 1e-12 {
				t.Errorf("%v to %v, want %v to %v", low, high, max(test.low, 0), test.high)
			}
		})
	}
}

// Of 95 % intervals about that many hold the true value.
func TestAUCIntervalHoldsTheTruth(t *testing.T) {
	t.Parallel()
	const trials, rows, shift = 2000, 300, 0.7
	truth := 0.5 * math.Erfc(-shift/2) // of two normal distributions: Phi(shift / sqrt 2)
	random := rand.New(rand.NewPCG(1, 2))
	held := 0
	for range trials {
		scores, labels := make([]float64, rows), make([]bool, rows)
		for i := range rows {
			if labels[i] = i%5 == 0; labels[i] {
				scores[i] = shift
			}
			scores[i] += random.NormFloat64()
		}
		r, err := Rank(scores, labels)
		if err != nil {
			t.Fatal(err)
		}
		if low, high := r.AUCInterval(); low <= truth && truth <= high {
			held++
		}
	}
	if share := float64(held) / trials; share < 0.93 || share > 0.97 {
		t.Errorf("%.3f of the intervals hold the true AUC of %.4f, want about 0.95", share, truth)
	}
}
