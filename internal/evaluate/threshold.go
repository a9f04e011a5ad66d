package evaluate

import (
	"fmt"
	"math"

	"mlops/internal/dataset"
)

// ChooseThreshold returns the threshold that a rule chooses on these rows. Unless
// it is fixed, it is one of the scores, so that "score >= threshold" gives exactly
// the labels that were measured. Of equally good thresholds it is the highest,
// which labels the fewest rows positive.
func (r *Ranking) ChooseThreshold(rule dataset.Threshold) (float64, error) {
	set := 0
	for _, is := range []bool{rule.Maximize != "", rule.Recall != nil, rule.Fixed != nil} {
		if is {
			set++
		}
	}
	if set != 1 {
		return 0, fmt.Errorf("threshold: want exactly one of maximize, recall and fixed, have %d", set)
	}
	switch {
	case rule.Fixed != nil:
		if math.IsNaN(*rule.Fixed) || math.IsInf(*rule.Fixed, 0) {
			return 0, fmt.Errorf("threshold: fixed is %v, want a finite number", *rule.Fixed)
		}
		return *rule.Fixed, nil
	case rule.Recall != nil:
		want := *rule.Recall
		if !(want > 0 && want <= 1) {
			return 0, fmt.Errorf("threshold: recall is %v, want more than 0 and at most 1", want)
		}
		for _, g := range r.groups {
			if share(g.tp, r.positives) >= want {
				return g.score, nil
			}
		}
		panic("unreachable: the lowest score has recall 1")
	case rule.Maximize == "f1":
		return r.best(r.betterF1), nil
	case rule.Maximize == "youden":
		return r.best(r.betterYouden), nil
	}
	return 0, fmt.Errorf(`threshold: can't maximize %q, want "f1" or "youden"`, rule.Maximize)
}

// best returns the first score that no other is better than.
func (r *Ranking) best(better func(a, b group) bool) float64 {
	best := r.groups[0]
	for _, g := range r.groups[1:] {
		if better(g, best) {
			best = g
		}
	}
	return best.score
}

// The comparisons are in whole numbers: rounding can't break a tie.

// betterF1 compares F1 = 2 tp / (tp + fp + positives).
func (r *Ranking) betterF1(a, b group) bool {
	return a.tp*(b.tp+b.fp+r.positives) > b.tp*(a.tp+a.fp+r.positives)
}

// betterYouden compares Youden's J = tp/positives - fp/negatives.
func (r *Ranking) betterYouden(a, b group) bool {
	return a.tp*r.negatives-a.fp*r.positives > b.tp*r.negatives-b.fp*r.positives
}
