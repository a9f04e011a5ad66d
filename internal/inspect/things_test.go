package inspect

import (
	"math"
	"slices"
	"strings"
	"testing"

	"mlops/internal/dataset"
)

// The logarithm of the target gives it away, although no line through it does.
func TestExplainedByOrder(t *testing.T) {
	t.Parallel()
	y, log, noisy := make([]float32, 500), make([]float32, 500), make([]float32, 500)
	for i := range y {
		x := float64(i%97)/10 + float64(i)/50
		y[i], log[i] = float32(math.Exp(x/2)), float32(x)
		noisy[i] = float32(x) + float32(i*7919%100)/20
	}
	if got := Explained(log, y, 0, nil); got < 0.9999 {
		t.Errorf("the logarithm explains %.4f, want all", got)
	}
	if got := Explained(noisy, y, 0, nil); got > 0.95 {
		t.Errorf("with noise it explains %.4f, want less than a leak", got)
	}
}

// A hand-written spec may forget that several rows are of one child.
func TestRowsOfOneThing(t *testing.T) {
	t.Parallel()
	spec := &dataset.Spec{Task: dataset.Binary, Target: dataset.Target{Column: "autism"}}
	features := []Feature{{Name: "child", Columns: []string{"child"}}, {Name: "gender", Columns: []string{"gender"}, Codes: 2}, {Name: "town", Columns: []string{"town"}, Codes: 5}, {Name: "score", Columns: []string{"score"}}}
	mix := func(i, purpose, n int) float32 {
		x := uint64(i)*0x9e3779b97f4a7c15 + uint64(purpose)*0xbf58476d1ce4e5b9
		x = (x ^ x>>31) * 0x94d049bb133111eb
		return float32((x ^ x>>29) % uint64(n))
	}
	part := func(n, visits int) (p Part) {
		for i := range n {
			child := i / visits
			p.X = append(p.X, float32(child), mix(child, 1, 2), mix(child, 2, 5), mix(i, 3, 90))
			p.Y = append(p.Y, mix(i, 4, 2))
			p.Fold = append(p.Fold, uint8(i%Folds))
		}
		return p
	}
	for _, c := range []struct {
		why    string
		visits int
		group  string
		rows   int
		warns  bool
	}{
		{"four visits of each child", 4, "", 800, true},
		{"more rows than are looked at", 4, "", 50_000, true},
		{"the spec says so", 4, "child", 800, false},
		{"one visit of each", 1, "", 800, false},
	} {
		spec.Group = c.group
		train := part(c.rows, c.visits)
		found, err := Rows(spec, features, map[string]Part{dataset.Train: train, dataset.Validation: part(100, 4), dataset.Test: part(100, 4)})
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(found, func(f Finding) bool { return f.Kind == "group" })
		if (i >= 0) != c.warns {
			t.Errorf("%s: found %v", c.why, found)
		} else if c.warns && (found[i].Level != Warning || !strings.Contains(found[i].Text, "the same child have the same gender, town") || !strings.Contains(found[i].Text, "group: child,")) {
			t.Errorf("%s: found %v", c.why, found[i])
		}
	}
}
