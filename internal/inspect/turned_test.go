package inspect

import (
	"math/rand/v2"
	"strings"
	"testing"

	"mlops/internal/dataset"
)

// A feature whose scale, or whose values, were turned round in the second batch is told before
// it is loaded and before training; one that says less there, or nothing, is not, and of the
// halves of one batch nothing is said.
func TestTurned(t *testing.T) {
	t.Parallel()
	features := []Feature{{Name: "steady"}, {Name: "marks"}, {Name: "plant", Codes: 4, Levels: []string{"a", "b", "c"}}, {Name: "noise"}}
	for name, test := range map[string]struct {
		task  string
		later func(marks, plant, steady float32) (float32, float32)
		want  []string
	}{
		"alike":     {dataset.Binary, func(marks, plant, _ float32) (float32, float32) { return marks, plant }, nil},
		"turned":    {dataset.Binary, func(marks, plant, _ float32) (float32, float32) { return 6 - marks, plant }, []string{"marks"}},
		"exchanged": {dataset.Binary, func(marks, plant, _ float32) (float32, float32) { return marks, 2 - plant }, []string{"plant"}},
		"values":    {dataset.Regression, func(marks, plant, _ float32) (float32, float32) { return 6 - marks, 2 - plant }, []string{"marks", "plant"}},
		"says no more": {dataset.Binary, func(marks, plant, steady float32) (float32, float32) {
			return float32(1 + int(7*steady)&3), plant
		}, nil},
	} {
		s := spec()
		s.Task = test.task
		r := rand.New(rand.NewPCG(8, 0))
		var x, y []float32
		const first, rows = 1500, 2500
		for i := range rows {
			marks, plant, steady := float32(1+r.IntN(5)), float32(r.IntN(3)), float32(r.NormFloat64())
			label := marks - 3 + plant - 1 + 2*steady + float32(r.NormFloat64())
			if i >= first {
				marks, plant = test.later(marks, plant, steady)
			}
			if test.task == dataset.Binary {
				label = map[bool]float32{true: 1}[label > 0]
			}
			x, y = append(x, steady, marks, plant, float32(r.NormFloat64())), append(y, label)
		}
		told := func(where string, found *Finding) {
			if (found == nil) != (test.want == nil) {
				t.Errorf("%s, %s: %v, want %q", name, where, found, test.want)
				return
			}
			for _, f := range features {
				if found != nil && strings.Contains(found.Text, " "+f.Name+" (") != strings.Contains(strings.Join(test.want, " "), f.Name) {
					t.Errorf("%s, %s: %q, want %q", name, where, found.Text, test.want)
				}
			}
		}
		told("loaded before", Against(s, features, x, y, first))
		parts := func(batch []int32) (found *Finding) {
			train := Part{X: x, Y: y, Batch: batch}
			all, err := Rows(s, features, map[string]Part{dataset.Train: train, dataset.Validation: train, dataset.Test: train})
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range all {
				if strings.Contains(f.Text, "the other way round in batch 2 than in batch 1") {
					return &f
				}
				if strings.Contains(f.Text, "the other way round in") {
					t.Errorf("%s: %q of one batch", name, f.Text)
				}
			}
			return nil
		}
		told("batches", parts(batches(first, rows-first)))
		if found := parts(nil); found != nil {
			t.Errorf("%s: %v of one batch", name, found)
		}
	}
}
