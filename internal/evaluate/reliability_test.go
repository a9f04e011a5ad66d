package evaluate_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"mlops/internal/dataset"
	"mlops/internal/evaluate"
)

// Honest predictions are not off beyond chance, however few rows there are, nor are timid
// ones; those that are moved, or that say too much, are off.
func TestReliability(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(5, 6))
	honest := func(p float64) float64 { return p }
	for _, test := range []struct {
		what    string
		task    string
		rows    int
		say     func(float64) float64
		off     float64
		surely  bool
		percent float64 // of the target's standard deviation
	}{
		{"few honest ones", dataset.Binary, 60, honest, 0, false, 0},
		{"honest ones", dataset.Binary, 20_000, honest, 0, false, 0},
		{"too high", dataset.Binary, 20_000, func(p float64) float64 { return p + 0.2 }, 0.154, true, 31},
		{"extreme", dataset.Binary, 20_000, func(p float64) float64 { return 0.5 + 2*(p-0.5) }, 0.144, true, 29},
		{"timid", dataset.Binary, 20_000, func(p float64) float64 { return 0.4 + 0.1*(p-0.4) }, 0, false, 0},
		{"honest classes", dataset.Multiclass, 20_000, honest, 0, false, 0},
		{"honest values", dataset.Regression, 20_000, honest, 0, false, 0},
		{"values too high", dataset.Regression, 20_000, func(x float64) float64 { return x + 0.5 }, 0.375, true, 26},
	} {
		var outputs, labels []float32
		for range test.rows {
			p := 0.05 + 0.7*r.Float64()
			if test.what == "extreme" {
				p = 0.25 + 0.5*r.Float64()
			}
			hit := r.Float64() < p
			switch test.task {
			case dataset.Binary:
				outputs, labels = append(outputs, float32(test.say(p))), append(labels, 0)
				if hit {
					labels[len(labels)-1] = 1
				}
			case dataset.Multiclass:
				outputs, labels = append(outputs, float32(p), float32((1-p)/2), float32((1-p)/2)), append(labels, float32(1+r.IntN(2)))
				if hit {
					labels[len(labels)-1] = 0
				}
			default:
				x := r.NormFloat64()
				outputs, labels = append(outputs, float32(test.say(x))), append(labels, float32(x+r.NormFloat64()))
			}
		}
		got := evaluate.RateReliability(test.task, outputs, labels)
		if math.Abs(got.Off-test.off) > 0.02 && test.rows > 1000 {
			t.Errorf("%s: off by %.4f, want %.4f", test.what, got.Off, test.off)
		}
		if math.Abs(100*got.Share-test.percent) > 3 && test.rows > 1000 {
			t.Errorf("%s: %.1f %% of the standard deviation, want %.0f", test.what, 100*got.Share, test.percent)
		}
		if test.what == "timid" && got.Timid < 0.15 {
			t.Errorf("timid by %.4f, want about 0.18", got.Timid)
		}
		if (got.Sure > 3) != test.surely {
			t.Errorf("%s: %.1f standard errors above chance, surely off: want %v", test.what, got.Sure, test.surely)
		}
	}
}

// Rows of which the same is predicted are looked at together, however they are sorted.
func TestReliabilityOfEqualPredictions(t *testing.T) {
	t.Parallel()
	var outputs, labels []float32
	for i := range 400 {
		outputs, labels = append(outputs, 0.5), append(labels, float32(i/200))
	}
	if got := evaluate.RateReliability(dataset.Binary, outputs, labels); got.Off != 0 || got.Timid != 0 {
		t.Errorf("the base rate of all rows: %+v, want nothing off", got)
	}
}
