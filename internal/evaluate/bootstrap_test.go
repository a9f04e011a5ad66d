package evaluate_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"mlops/internal/dataset"
	"mlops/internal/evaluate"
)

// task is a spec of a task, as far as its metrics go.
func task(name string) *dataset.Spec {
	s := &dataset.Spec{Task: name}
	s.Target.Classes = []string{"a", "b", "c"}
	return s
}

// rowsOf makes rows of a task, some of them alike.
func rowsOf(task string, n int, r *rand.Rand) (outputs, labels []float32) {
	for range n {
		switch task {
		case dataset.Multiclass:
			a, b, c := r.Float32(), r.Float32(), r.Float32()
			sum := a + b + c
			outputs = append(outputs, a/sum, b/sum, c/sum)
			labels = append(labels, float32(r.IntN(3)))
		case dataset.Regression:
			y := float32(r.NormFloat64())
			outputs = append(outputs, y+float32(r.NormFloat64()))
			labels = append(labels, y)
		default:
			outputs = append(outputs, float32(r.IntN(20))/20) // with ties
			labels = append(labels, float32(r.IntN(2)))
		}
	}
	return outputs, labels
}

// A weight counts a row so many times: the metric is that of the rows written out.
func TestWeightsRepeatRows(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for _, name := range dataset.Tasks {
		spec := task(name)
		outputs, labels := rowsOf(name, 60, r)
		width := len(outputs) / len(labels)
		weights, once := make([]int32, len(labels)), make([]int32, len(labels))
		var manyOutputs, manyLabels []float32
		for i := range weights {
			weights[i], once[i] = int32(r.IntN(4)), 1
			for range weights[i] {
				manyOutputs = append(manyOutputs, outputs[i*width:(i+1)*width]...)
				manyLabels = append(manyLabels, labels[i])
			}
		}
		rated, err := evaluate.Rate(spec, outputs, labels)
		if err != nil {
			t.Fatal(err)
		}
		many, err := evaluate.Rate(spec, manyOutputs, manyLabels)
		if err != nil {
			t.Fatal(err)
		}
		for _, metric := range dataset.Metrics(name) {
			weigh, err := evaluate.Weigh(spec, metric, 0.4, outputs, labels)
			if err != nil {
				t.Fatal(err)
			}
			for what, test := range map[string]struct {
				rated   *evaluate.Rated
				weights []int32
			}{"once": {rated, once}, "repeated": {many, weights}} {
				want, err := test.rated.Metric(metric, 0.4)
				if err != nil {
					t.Fatal(err)
				}
				if got := weigh(test.weights); !(math.Abs(got-want) < 1e-12) {
					t.Errorf("%s %s %s: %v, want %v", name, metric, what, got, want)
				}
			}
		}
	}
}

func TestWeighsNothingFromOneClass(t *testing.T) {
	t.Parallel()
	for _, metric := range []string{"auc", "average_precision"} {
		weigh, err := evaluate.Weigh(task(dataset.Binary), metric, 0.5, []float32{0.1, 0.2, 0.3}, []float32{0, 0, 1})
		if err != nil {
			t.Fatal(err)
		}
		if got := weigh([]int32{1, 2, 0}); !math.IsNaN(got) {
			t.Errorf("%s without a positive row: %v, want NaN", metric, got)
		}
	}
	if _, err := evaluate.Weigh(task(dataset.Binary), "rmse", 0.5, []float32{0, 1}, []float32{0, 1}); err == nil {
		t.Error("a metric of another task: no error")
	}
}

// Rows of a group are drawn together, and every draw has as many groups as there are.
func TestDrawsGroups(t *testing.T) {
	t.Parallel()
	group := []int32{0, 1, 1, 2, 2, 2}
	draws := evaluate.NewDraws(group)
	n, first := 0, []int32(nil)
	draws.Each(func(w []int32) {
		n++
		if w[1] != w[2] || w[3] != w[4] || w[4] != w[5] || w[0]+w[1]+w[3] != 3 {
			t.Errorf("draw %d: weights %v", n, w)
		}
		if first == nil {
			first = append(first, w...)
		}
	})
	if n != draws.Count() || n < 200 || draws.Groups() != 3 {
		t.Errorf("%d draws of %d groups, Count says %d", n, draws.Groups(), draws.Count())
	}
	again := true
	draws.Each(func(w []int32) {
		if again {
			again = false
			for i := range w {
				if w[i] != first[i] {
					t.Errorf("the same draws again: %v, want %v", w, first)
				}
			}
		}
	})
}

// The interval of a mean is that of the normal distribution, and wider where rows of a
// group are copies of each other.
func TestSpreadOfAMean(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	const groups, copies = 400, 4
	var actual, predicted []float32
	var alone, together []int32
	for g := range groups {
		y := float32(math.Abs(r.NormFloat64()))
		for range copies {
			actual, predicted = append(actual, y), append(predicted, 0)
			alone, together = append(alone, int32(len(alone))), append(together, int32(g))
		}
	}
	weigh, err := evaluate.Weigh(task(dataset.Regression), "mae", 0, predicted, actual)
	if err != nil {
		t.Fatal(err)
	}
	width := func(group []int32) float64 {
		var values []float64
		evaluate.NewDraws(group).Each(func(w []int32) { values = append(values, weigh(w)) })
		low, high := evaluate.NewSpread(values).Interval(0.95)
		return high - low
	}
	const sd = 0.6028 // of the absolute value of a normal number
	for _, test := range []struct {
		what  string
		group []int32
		rows  float64
	}{{"each row alone", alone, groups * copies}, {"by group", together, groups}} {
		want := 2 * 1.96 * sd / math.Sqrt(test.rows)
		if got := width(test.group); got < 0.85*want || got > 1.15*want {
			t.Errorf("%s: the interval is %.4f wide, want about %.4f", test.what, got, want)
		}
	}
}

func TestSpread(t *testing.T) {
	t.Parallel()
	s := evaluate.NewSpread([]float64{3, math.NaN(), 1, 2, 4})
	if low, high := s.Interval(0.5); low != 1.75 || high != 3.25 {
		t.Errorf("middle half %v to %v, want 1.75 to 3.25", low, high)
	}
	for x, want := range map[float64]float64{0: 1, 1: 0.75, 2.5: 0.5, 4: 0} {
		if got := s.Above(x); got != want {
			t.Errorf("above %v: %v, want %v", x, got, want)
		}
	}
	if low, high := evaluate.NewSpread(nil).Interval(0.9); !math.IsInf(low, -1) || !math.IsInf(high, 1) {
		t.Errorf("no draw: %v to %v", low, high)
	}
}
