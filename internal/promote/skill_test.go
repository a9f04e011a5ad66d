package promote

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"mlops/internal/dataset"
	"mlops/internal/evaluate"
	"mlops/internal/model"
	"mlops/internal/registry"
)

// Rows of a group, and neighbors in time, are alike. A model that knows nothing then is
// better than chance on the rows at hand far more often than its interval by rows says; by
// draws it is about as often as it says, and one that knows something still passes.
func TestSkillOfRowsThatAreAlike(t *testing.T) {
	t.Parallel()
	const many = 40
	for _, test := range []struct {
		name   string
		task   string
		groups int
		rows   int     // of a group
		keeps  float64 // of the time before; groups are times if it isn't 0
		knows  float64 // how much of the truth the model knows
		// Share of the models that pass: by rows alone at least, and by the gate.
		leastByRows, least, most float64
	}{
		{"AUC, groups, noise", dataset.Binary, 40, 10, 0, 0, 0.15, 0, 0.13},
		{"AUC, groups, skill", dataset.Binary, 40, 10, 0, 0.7, 0.9, 0.9, 1},
		{"value, groups, noise", dataset.Regression, 40, 10, 0, 0, 0.15, 0, 0.13},
		{"classes, groups, skill", dataset.Multiclass, 40, 10, 0, 0.7, 0.9, 0.9, 1},
		{"AUC, times, noise", dataset.Binary, 300, 1, 0.9, 0, 0.15, 0, 0.13},
		{"value, times, noise", dataset.Regression, 300, 1, 0.9, 0, 0.15, 0, 0.13},
		{"value, times, skill", dataset.Regression, 300, 1, 0.9, 0.7, 0.9, 0.9, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(11, 24))
			spec := &dataset.Spec{Task: test.task, Metrics: []string{"auc"}}
			spec.Target.Classes = []string{"low", "high"}
			if test.task == dataset.Regression {
				spec.Metrics = []string{"rmse"}
			}
			byRows, byGate := 0, 0
			for range many {
				r, s := &rows{}, &scorer{model: &model.Model{Spec: spec}}
				truth, guess := lasting(random, test.groups, test.keeps), lasting(random, test.groups, test.keeps)
				center(truth, test.task == dataset.Regression) // or a constant that knows these rows has an advantage
				for g := range test.groups {
					for range test.rows {
						y := truth[g] + 0.3*random.NormFloat64()
						says := test.knows*y + (1-test.knows)*guess[g]
						p := 1 / (1 + math.Exp(-says))
						label := float32(0)
						if y > 0 {
							label = 1
						}
						switch test.task {
						case dataset.Regression:
							if test.knows == 0 {
								says /= 20
							}
							label, s.scores = float32(y), append(s.scores, float32(says))
						case dataset.Multiclass:
							s.scores = append(s.scores, float32(1-p), float32(p))
						default:
							s.scores = append(s.scores, float32(p))
						}
						r.labels, r.groups.Of = append(r.labels, label), append(r.groups.Of, int32(g))
						if test.keeps > 0 {
							r.times = append(r.times, float64(g))
						}
					}
				}
				rated, err := evaluate.Rate(spec, s.scores, r.labels)
				if err != nil {
					t.Fatal(err)
				}
				if rated.Skill(spec.Metrics[0]).Any() {
					byRows++
				}
				var e Contender
				if err := e.measure(t.Context(), s, r, spec); err != nil {
					t.Fatal(err)
				}
				if e.Skill.Any() {
					byGate++
				}
			}
			alone, gate := float64(byRows)/many, float64(byGate)/many
			t.Logf("better than chance by rows alone %.3f, by the gate %.3f", alone, gate)
			if alone < test.leastByRows {
				t.Errorf("by rows alone %.3f pass, want at least %.2f: the trials say nothing of draws", alone, test.leastByRows)
			}
			if gate < test.least || gate > test.most {
				t.Errorf("%.3f pass, want %.2f to %.2f", gate, test.least, test.most)
			}
		})
	}
}

// center makes numbers have the mean 0, or the median.
func center(x []float64, byMean bool) {
	sorted := slices.Sorted(slices.Values(x))
	middle := sorted[len(x)/2]
	if byMean {
		middle = 0
		for _, v := range x {
			middle += v / float64(len(x))
		}
	}
	for i := range x {
		x[i] -= middle
	}
}

// The interval of the gain over a constant is widened too, and the sentence says by what.
func TestConstantOfRowsThatAreAlike(t *testing.T) {
	t.Parallel()
	spec, r := &dataset.Spec{Task: dataset.Binary, Metrics: []string{"auc"}}, &rows{}
	s := &scorer{model: &model.Model{Spec: spec}}
	for row := range 600 {
		g := row / 20
		label, score := float32(g%2), float32(0.9)
		if g%3 == 0 {
			score = 0.2
		}
		r.labels, r.groups.Of, r.times, s.scores = append(r.labels, label), append(r.groups.Of, int32(g)), append(r.times, float64(g)), append(s.scores, score)
	}
	var e Contender
	if err := e.measure(t.Context(), s, r, spec); err != nil {
		t.Fatal(err)
	}
	ranking, err := evaluate.Rank(s.scores, r.labels)
	if err != nil {
		t.Fatal(err)
	}
	alone, err := ranking.Gain()
	if err != nil {
		t.Fatal(err)
	}
	if got, least := e.Constant.High-e.Constant.Low, 2*(alone.High-alone.Low); e.Constant.Mean != alone.Mean || got < least {
		t.Errorf("%+v, of rows alone %+v: want it twice as wide at least", *e.Constant, alone)
	}
	c := &Comparison{Spec: spec, Rows: 600, Groups: 30, Times: 30, Contenders: []Contender{e}, Champion: registry.Version{}}
	for _, check := range c.checks(&e)[:2] {
		if !strings.Contains(check.Found, "on 600 validation rows of 30 groups at 30 times") || check.Figures["groups"] != 30 || check.Figures["times"] != 30 {
			t.Errorf("%s says %q, %v", check.Name, check.Found, check.Figures)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.measure(ended, s, r, spec); err == nil {
		t.Error("measured though the context has ended")
	}
}
