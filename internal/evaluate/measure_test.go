package evaluate

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"mlops/internal/dataset"
)

// someScores are rows whose scores rank them better than chance, some equal.
func someScores(n int, seed uint64) (scores, labels []float32) {
	rng := rand.New(rand.NewPCG(seed, 2))
	for range n {
		odds := -1.5 + rng.NormFloat64()
		p := 1 / (1 + math.Exp(-odds))
		labels = append(labels, map[bool]float32{true: 1}[rng.Float64() < p])
		scores = append(scores, float32(math.Round(p*500)/500))
	}
	return scores, labels
}

func apart(n int) *Draws {
	g := Numbered{}
	for range n {
		g.Add(nil)
	}
	return NewDraws(g.Of)
}

// A measure gives what the metrics give, and with rows counted several times what they
// give of the rows repeated.
func TestMeasureAgrees(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 1))
	const n, classes = 300, 4
	binary := &dataset.Spec{Task: dataset.Binary}
	several := &dataset.Spec{Task: dataset.Multiclass, Target: dataset.Target{Classes: make([]string, classes)}}
	number := &dataset.Spec{Task: dataset.Regression}
	scores, labels := someScores(n, 3)
	var probabilities, of, predicted, actual []float32
	for range n {
		row, sum := make([]float32, classes), float32(0)
		for k := range row {
			row[k] = float32(rng.IntN(5)) + 0.5
			sum += row[k]
		}
		for _, p := range row {
			probabilities = append(probabilities, p/sum)
		}
		of = append(of, float32(rng.IntN(classes)))
		predicted = append(predicted, float32(rng.NormFloat64()))
		actual = append(actual, predicted[len(predicted)-1]+float32(rng.NormFloat64()))
	}
	times := make([]int32, n)
	for i := range times {
		times[i] = int32(rng.IntN(4))
	}
	for _, test := range []struct {
		spec            *dataset.Spec
		outputs, labels []float32
		each            int
	}{{binary, scores, labels, 1}, {several, probabilities, of, classes}, {number, predicted, actual, 1}} {
		for _, times := range [][]int32{nil, times} {
			var outputs, labels []float32
			for i := range n {
				for range weight(times, int32(i)) {
					outputs = append(outputs, test.outputs[i*test.each:(i+1)*test.each]...)
					labels = append(labels, test.labels[i])
				}
			}
			const threshold = 0.3
			rated, err := Rate(test.spec, outputs, labels)
			if err != nil {
				t.Fatal(err)
			}
			m, err := NewMeasure(test.spec, test.outputs, test.labels, threshold, nil)
			if err != nil {
				t.Fatal(err)
			}
			got := make([]float64, len(m.Names()))
			m.Values(times, got)
			for i, name := range m.Names() {
				want, err := rated.Metric(name, threshold)
				switch name {
				case "brier", "lift_10", "lift_20", "calibration_slope", "calibration_intercept", "bias":
					continue
				case "base_rate":
					want, err = rated.Ranking.BaseRate(), nil
				}
				if err != nil || math.Abs(got[i]-want) > 1e-9 {
					t.Errorf("%s: %s is %v, want %v, %v", test.spec.Task, name, got[i], want, err)
				}
			}
		}
	}
}

// Figures worked out by hand.
func TestBinaryFigures(t *testing.T) {
	t.Parallel()
	scores := []float32{0.9, 0.8, 0.8, 0.5, 0.5, 0.4, 0.3, 0.2, 0.1, 0.1}
	labels := []float32{1, 1, 0, 1, 0, 0, 0, 1, 0, 0}
	m, err := NewMeasure(&dataset.Spec{Task: dataset.Binary}, scores, labels, 0.5, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := make([]float64, len(m.Names()))
	m.Values(nil, got)
	for i, want := range map[int]float64{
		3:  (0.01 + 0.04 + 0.64 + 0.25 + 0.25 + 0.16 + 0.09 + 0.64 + 0.01 + 0.01) / 10,
		4:  3.0 / 5,
		5:  3.0 / 4,
		8:  1 / 0.4,       // the first row is positive
		9:  1.5 / 2 / 0.4, // the first row, and half of the two with 0.8
		12: 4.0 / 10,
	} {
		if math.Abs(got[i]-want) > 1e-7 {
			t.Errorf("%s is %v, want %v", m.Names()[i], got[i], want)
		}
	}
}

// Probabilities that are right have slope 1 and intercept 0; log odds that are twice
// too large have slope one half; ones that are all too low by 1 have intercept 1.
func TestCalibrationFigures(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ stretch, shift, slope, intercept float64 }{{1, 0, 1, 0}, {2, 0, 0.5, math.NaN()}, {1, -1, 1, 1}} {
		rng := rand.New(rand.NewPCG(5, 5))
		var scores, labels []float32
		for range 20_000 {
			odds := rng.NormFloat64()
			labels = append(labels, map[bool]float32{true: 1}[rng.Float64() < 1/(1+math.Exp(-odds))])
			scores = append(scores, float32(1/(1+math.Exp(-odds*test.stretch-test.shift))))
		}
		m, err := NewMeasure(&dataset.Spec{Task: dataset.Binary}, scores, labels, 0.5, nil)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]float64, len(m.Names()))
		m.Values(nil, got)
		if math.Abs(got[10]-test.slope) > 0.06 || math.Abs(got[11]-test.intercept) > 0.06 {
			t.Errorf("stretched by %v, shifted by %v: slope %.3f, intercept %.3f; want %v and %v", test.stretch, test.shift, got[10], got[11], test.slope, test.intercept)
		}
	}
}

// The interval of the AUC is DeLong's where rows are apart, and wider where they come
// in groups of four copies.
func TestEstimates(t *testing.T) {
	t.Parallel()
	const n = 400
	scores, labels := someScores(n, 7)
	r, err := Rank(scores, labels)
	if err != nil {
		t.Fatal(err)
	}
	m, err := NewMeasure(&dataset.Spec{Task: dataset.Binary}, scores, labels, 0.3, nil)
	if err != nil {
		t.Fatal(err)
	}
	auc := Estimates(apart(n), m)[0]["auc"]
	low, high := r.AUCInterval()
	if auc.Value != r.AUC() || math.Abs(auc.Interval[0]-low) > 0.01 || math.Abs(auc.Interval[1]-high) > 0.01 {
		t.Errorf("AUC %v, want %v in %v to %v", auc, r.AUC(), low, high)
	}
	var more, labelsOf []float32
	groups := Numbered{}
	for i := range scores {
		for range 4 {
			more, labelsOf = append(more, scores[i]), append(labelsOf, labels[i])
			groups.Add(fmt.Append(nil, i))
		}
	}
	if d := NewDraws(groups.Of); d.Groups() != n || len(groups.Of) != 4*n {
		t.Fatalf("%d groups of %d rows", d.Groups(), len(groups.Of))
	}
	if m, err = NewMeasure(&dataset.Spec{Task: dataset.Binary}, more, labelsOf, 0.3, nil); err != nil {
		t.Fatal(err)
	}
	grouped := Estimates(NewDraws(groups.Of), m)[0]["auc"]
	if math.Abs((grouped.Interval[1]-grouped.Interval[0])/(high-low)-1) > 0.15 {
		t.Errorf("four copies of each row: %v, as wide as %v to %v", grouped, low, high)
	}
	again := Estimates(NewDraws(groups.Of), m)[0]["auc"]
	if again.Interval[0] != grouped.Interval[0] {
		t.Errorf("the same seed: %v, before %v", again, grouped)
	}
	one, err := NewMeasure(&dataset.Spec{Task: dataset.Binary}, scores[:3], []float32{0, 0, 0}, 0.3, nil)
	if err != nil {
		t.Fatal(err)
	}
	if e := Estimates(apart(3), one)[0]; len(e["auc"].Interval) > 0 || e["brier"].Value == 0 {
		t.Errorf("one class: %v, want no AUC but a Brier score", e)
	} else if _, has := e["auc"]; has {
		t.Errorf("one class has an AUC: %v", e)
	}
}

// What a run's figures cost: 1,000 draws of 15,000 rows.
func BenchmarkEstimates(b *testing.B) {
	scores, labels := someScores(15_000, 11)
	for i := range scores {
		scores[i] += float32(i) * 1e-9 // hardly any are equal
	}
	m, err := NewMeasure(&dataset.Spec{Task: dataset.Binary}, scores, labels, 0.3, nil)
	if err != nil {
		b.Fatal(err)
	}
	draws := apart(15_000)
	b.Run("draws", func(b *testing.B) {
		for b.Loop() {
			draws.Each(func([]int32) {})
		}
	})
	b.Run("all", func(b *testing.B) {
		for b.Loop() {
			Estimates(draws, m)
		}
	})
}
