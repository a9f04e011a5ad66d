// Package evaluate measures models. Of a binary classifier: how well its scores rank
// the rows, how good its labels are at a threshold, which threshold a data set's rule
// chooses, and the curves of these. Of one of several classes: how good its
// probabilities and labels are. Of a regression: how large its errors are, and how
// wide an interval around a prediction has to be.
//
// In a binary task a row's label is positive when its score is at least the threshold.
package evaluate

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
)

// ErrOneClass says that all labels are of one class, so nothing can be measured.
var ErrOneClass = errors.New("all labels are of one class")

// Ranking is rows ordered by their score, with their true labels.
// It holds at least one row of each class.
type Ranking struct {
	groups    []group // highest score first
	positives int
	negatives int
	epsilon   float64 // of the scores' type, for LogLoss
}

// group is the rows of one score.
type group struct {
	score    float64
	pos, neg int // rows in the group
	tp, fp   int // rows with this score or a higher one
}

// Rank orders rows by score, in O(n log n). A float32 label is 0 or 1. It is an
// error if there are not as many labels as scores, or if a score is NaN or a label
// neither 0 nor 1 (the error names the row, from 0). The error is ErrOneClass if a
// class has no row.
func Rank[S float32 | float64, L bool | float32](scores []S, labels []L) (*Ranking, error) {
	if len(scores) != len(labels) {
		return nil, fmt.Errorf("%d scores but %d labels", len(scores), len(labels))
	}
	r := &Ranking{epsilon: 0x1p-52}
	if _, ok := any(scores).([]float32); ok {
		r.epsilon = 0x1p-23
	}
	positive, err := positives(labels)
	if err != nil {
		return nil, err
	}
	type row struct {
		score    float64
		positive bool
	}
	rows := make([]row, len(scores))
	for i, s := range scores {
		if s != s {
			return nil, fmt.Errorf("score of row %d is NaN", i)
		}
		rows[i] = row{float64(s), positive[i]}
		if positive[i] {
			r.positives++
		}
	}
	r.negatives = len(rows) - r.positives
	if r.positives == 0 || r.negatives == 0 {
		return nil, fmt.Errorf("%w: %d positive, %d negative", ErrOneClass, r.positives, r.negatives)
	}
	slices.SortFunc(rows, func(a, b row) int { return cmp.Compare(b.score, a.score) })
	var g *group
	for i, row := range rows {
		if i == 0 || row.score != g.score {
			next := group{score: row.score}
			if g != nil {
				next.tp, next.fp = g.tp, g.fp
			}
			r.groups = append(r.groups, next)
			g = &r.groups[len(r.groups)-1]
		}
		if row.positive {
			g.pos++
			g.tp++
		} else {
			g.neg++
			g.fp++
		}
	}
	return r, nil
}

func positives[L bool | float32](labels []L) ([]bool, error) {
	switch labels := any(labels).(type) {
	case []bool:
		return labels, nil
	case []float32:
		out := make([]bool, len(labels))
		for i, l := range labels {
			if l != 0 && l != 1 {
				return nil, fmt.Errorf("label of row %d is %v, want 0 or 1", i, l)
			}
			out[i] = l == 1
		}
		return out, nil
	}
	panic("unreachable")
}

// Rows returns how many rows there are.
func (r *Ranking) Rows() int { return r.positives + r.negatives }

// BaseRate returns the share of positive rows: the precision of a guess.
func (r *Ranking) BaseRate() float64 { return float64(r.positives) / float64(r.Rows()) }

// AUC returns the area under the ROC curve: the probability that a positive row
// has a higher score than a negative one, an equal score counting one half
// (Mann and Whitney's U, divided by the number of pairs).
func (r *Ranking) AUC() float64 {
	// Pairs are counted in halves, so that the sum is a whole number.
	halves := 0
	for _, g := range r.groups {
		below := r.negatives - g.fp
		halves += g.pos * (2*below + g.neg)
	}
	return float64(halves) / 2 / float64(r.positives) / float64(r.negatives)
}

// AveragePrecision returns the sum over the distinct scores of the precision at
// that threshold, weighted by the recall gained there: scikit-learn's
// definition, without interpolation.
func (r *Ranking) AveragePrecision() float64 {
	sum := 0.0
	for _, g := range r.groups {
		sum += float64(g.pos) * float64(g.tp) / float64(g.tp+g.fp)
	}
	return sum / float64(r.positives)
}

// LogLoss returns the mean negative log likelihood of the labels, the scores
// taken as probabilities and, as in scikit-learn, kept away from 0 and 1 by the
// epsilon of their type. A score outside [0, 1] is an error.
func (r *Ranking) LogLoss() (float64, error) {
	sum := 0.0
	for _, g := range r.groups {
		if g.score < 0 || g.score > 1 {
			return 0, fmt.Errorf("log loss: score %v is not a probability", g.score)
		}
		p := min(max(g.score, r.epsilon), 1-r.epsilon)
		sum -= float64(g.pos)*math.Log(p) + float64(g.neg)*math.Log1p(-p)
	}
	return sum / float64(r.Rows()), nil
}

// Gain returns how much smaller a row's log loss is on average than that of always
// saying how frequent the positive rows are among these. The error is LogLoss's.
func (r *Ranking) Gain() (Gain, error) {
	if _, err := r.LogLoss(); err != nil {
		return Gain{}, err
	}
	var m moments
	for _, g := range r.groups {
		for range g.pos {
			m.add(r.saved(g.score, true))
		}
		for range g.neg {
			m.add(r.saved(g.score, false))
		}
	}
	return m.gain(), nil
}

// saved is how much smaller a row's log loss is than that of the base rate.
func (r *Ranking) saved(score float64, positive bool) float64 {
	p, rate := min(max(score, r.epsilon), 1-r.epsilon), r.BaseRate()
	if positive {
		return math.Log(p) - math.Log(rate)
	}
	return math.Log1p(-p) - math.Log1p(-rate)
}

// Confusion counts rows by their true and their assigned label.
type Confusion struct {
	TruePositives, FalsePositives int
	TrueNegatives, FalseNegatives int
}

// At returns the confusion matrix of the labels at a threshold.
func (r *Ranking) At(threshold float64) Confusion {
	// The first group below the threshold.
	i, _ := slices.BinarySearchFunc(r.groups, threshold, func(g group, t float64) int {
		if g.score >= t {
			return -1
		}
		return 1
	})
	if i == 0 {
		return r.confusion(group{})
	}
	return r.confusion(r.groups[i-1])
}

func (r *Ranking) confusion(g group) Confusion {
	return Confusion{
		TruePositives: g.tp, FalsePositives: g.fp,
		TrueNegatives: r.negatives - g.fp, FalseNegatives: r.positives - g.tp,
	}
}

// Precision is the share of the rows labelled positive that are positive; 0 if no
// row is labelled positive.
func (c Confusion) Precision() float64 {
	return share(c.TruePositives, c.TruePositives+c.FalsePositives)
}

// Recall is the share of the positive rows that are labelled so.
func (c Confusion) Recall() float64 {
	return share(c.TruePositives, c.TruePositives+c.FalseNegatives)
}

// Specificity is the share of the negative rows that are labelled so.
func (c Confusion) Specificity() float64 {
	return share(c.TrueNegatives, c.TrueNegatives+c.FalsePositives)
}

// Accuracy is the share of the rows that are labelled correctly.
func (c Confusion) Accuracy() float64 {
	right := c.TruePositives + c.TrueNegatives
	return share(right, right+c.FalsePositives+c.FalseNegatives)
}

// F1 is the harmonic mean of precision and recall; 0 if both are.
func (c Confusion) F1() float64 {
	return share(2*c.TruePositives, 2*c.TruePositives+c.FalsePositives+c.FalseNegatives)
}

func share(part, whole int) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}
