package evaluate

import (
	"errors"
	"fmt"
	"math"

	"mlops/internal/dataset"
)

// ErrNoThreshold says that no threshold on these rows does what the rule wants.
var ErrNoThreshold = errors.New("no threshold fits the rule")

// ChooseThreshold returns the threshold that a rule chooses on these rows. Unless
// it is fixed, it is one of the scores, so that "score >= threshold" gives exactly
// the labels that were measured. Of equally good thresholds it is the highest,
// which labels the fewest rows positive. The error is ErrNoThreshold if no score has
// the precision that the rule wants.
func (r *Ranking) ChooseThreshold(rule dataset.Threshold) (float64, error) {
	if set := rule.Rules(); set != 1 {
		return 0, fmt.Errorf("threshold: want exactly one rule of maximize, recall, precision, cost and fixed, have %d", set)
	}
	for name, want := range map[string]*float64{"recall": rule.Recall, "precision": rule.Precision} {
		if want != nil && !(*want > 0 && *want <= 1) {
			return 0, fmt.Errorf("threshold: %s is %v, want more than 0 and at most 1", name, *want)
		}
	}
	switch {
	case rule.Fixed != nil:
		if math.IsNaN(*rule.Fixed) || math.IsInf(*rule.Fixed, 0) {
			return 0, fmt.Errorf("threshold: fixed is %v, want a finite number", *rule.Fixed)
		}
		return *rule.Fixed, nil
	case rule.Recall != nil:
		for _, g := range r.groups {
			if share(g.tp, r.positives) >= *rule.Recall {
				return g.score, nil
			}
		}
		panic("unreachable: the lowest score has recall 1")
	case rule.Precision != nil:
		return r.withPrecision(*rule.Precision)
	case rule.Cost != nil:
		c := *rule.Cost
		if !(c.FalsePositive > 0 && c.FalseNegative > 0) {
			return 0, fmt.Errorf("threshold: a false positive costs %v and a false negative %v, want both above 0", c.FalsePositive, c.FalseNegative)
		}
		return r.best(func(a, b group) bool { return r.cost(a, c) < r.cost(b, c) }), nil
	case rule.Maximize == "f1":
		return r.best(r.betterF1), nil
	case rule.Maximize == "youden":
		return r.best(r.betterYouden), nil
	}
	return 0, fmt.Errorf(`threshold: can't maximize %q, want "f1" or "youden"`, rule.Maximize)
}

// withPrecision returns the score with at least that precision and the most recall.
func (r *Ranking) withPrecision(want float64) (float64, error) {
	found, best := group{}, group{}
	for _, g := range r.groups {
		if share(g.tp, g.tp+g.fp) >= want && g.tp > found.tp {
			found = g
		}
		if share(g.tp, g.tp+g.fp) > share(best.tp, best.tp+best.fp) {
			best = g
		}
	}
	if found.tp == 0 {
		return 0, fmt.Errorf("%w: a precision of %g is wanted, the highest is %.4f, at %.4g with a recall of %.4f",
			ErrNoThreshold, want, share(best.tp, best.tp+best.fp), best.score, share(best.tp, r.positives))
	}
	return found.score, nil
}

// cost is that of all labels with the threshold at a score. Labelling no row positive is
// no choice: a threshold is one of the scores.
func (r *Ranking) cost(g group, c dataset.Cost) float64 {
	return float64(g.fp)*c.FalsePositive + float64(r.positives-g.tp)*c.FalseNegative
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
