package evaluate

import (
	"cmp"
	"math"
	"slices"

	"mlops/internal/dataset"
)

// Measure is rows with a model's outputs, made ready to be measured many times with
// each row counted another number of times. Its figures are those of Rated.Metric,
// and some more.
type Measure struct {
	names  []string
	values func(weights []int32, out []float64)
}

// NewMeasure takes outputs and labels as Rate does. rows says which rows of a larger
// table they are, so that Values finds how often each counts; nil: they are all of
// them, in its order. Of a part of a table calibration is not measured.
func NewMeasure(spec *dataset.Spec, outputs, labels []float32, threshold float64, rows []int32) (*Measure, error) {
	whole := rows == nil
	if whole {
		rows = make([]int32, len(labels))
		for i := range rows {
			rows[i] = int32(i)
		}
	}
	m := &Measure{}
	switch spec.Task {
	case dataset.Multiclass:
		c, err := rateClasses(outputs, labels, len(spec.Target.Classes))
		if err != nil {
			return nil, err
		}
		m.names, m.values = ClassFigures, newClassSums(c, rows).values
	case dataset.Regression:
		v, err := rateValues(outputs, labels)
		if err != nil {
			return nil, err
		}
		m.names, m.values = ValueFigures, (&valueSums{v, rows}).values
	default:
		b, err := newBinarySums(outputs, labels, threshold, rows, whole)
		if err != nil {
			return nil, err
		}
		m.names, m.values = BinaryFigures, b.values
	}
	return m, nil
}

// Names are those of the figures, in the order of Values.
func (m *Measure) Names() []string { return m.names }

// Values measures the rows, each counted as often as its weight says (nil: once), into
// out, which has room for all Names. A figure that the rows don't have is NaN.
func (m *Measure) Values(weights []int32, out []float64) { m.values(weights, out) }

// BinaryFigures are the names of a binary task's figures. lift_10 is how many times
// more positives than among all rows are among the tenth with the highest scores.
// calibration_slope and calibration_intercept say how the true log odds follow from
// the predicted ones: 1 and 0 are right. A slope below 1 says that the probabilities
// are too extreme; an intercept, measured with the slope held at 1, above 0 that they
// are too low.
var BinaryFigures = []string{
	"auc", "average_precision", "log_loss", "brier", "precision", "recall", "accuracy", "f1",
	"lift_10", "lift_20", "calibration_slope", "calibration_intercept", "base_rate",
}

// binarySums are rows by falling score, so that every figure is one pass over them
// however often they count.
type binarySums struct {
	rows      []binaryRow
	labelled  int       // rows from the start whose label is positive
	slope     *logistic // nil: calibration is not measured
	intercept *logistic // with the slope held at 1
}

// binaryRow is what the figures need of a row, in one place of the memory. Only sums of
// the calibration's terms matter, so that they may be rounded.
type binaryRow struct {
	row         int32 // number in the larger table
	last        bool  // of those with its score
	positive    int64 // 1 or 0: a branch on it would be guessed wrong too often
	loss, brier float64
	terms       sums // of the calibration's slope
	g, h        float32
}

func newBinarySums(scores, labels []float32, threshold float64, rows []int32, calibrated bool) (*binarySums, error) {
	positive, err := positives(labels)
	if err != nil {
		return nil, err
	}
	order := make([]int, len(scores))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(scores[b], scores[a]) })
	n := len(order)
	b := &binarySums{rows: make([]binaryRow, n)}
	odds, sorted := make([]float64, n), make([]bool, n)
	for i, at := range order {
		const epsilon = 0x1p-23 // of float32, as in Ranking.LogLoss
		p := float64(scores[at])
		kept := min(max(p, epsilon), 1-epsilon)
		odds[i], sorted[i] = math.Log(kept)-math.Log1p(-kept), positive[at]
		r := binaryRow{row: rows[at], last: i == n-1 || scores[order[i+1]] != scores[at]}
		if positive[at] {
			r.positive, r.loss, r.brier = 1, -math.Log(kept), square(1-p)
		} else {
			r.loss, r.brier = -math.Log1p(-kept), square(p)
		}
		b.rows[i] = r
		if p >= threshold {
			b.labelled = i + 1
		}
	}
	if !calibrated {
		return b, nil
	}
	b.slope, b.intercept = fitLogistic(odds, sorted, false), fitLogistic(odds, sorted, true)
	for i := range b.rows {
		b.rows[i].terms = b.slope.terms(odds[i], sorted[i])
		held := b.intercept.terms(odds[i], sorted[i])
		b.rows[i].g, b.rows[i].h = held.g, held.h
	}
	return b, nil
}

func (b *binarySums) values(weights []int32, out []float64) {
	var total int64
	for i := range b.rows {
		total += weight(weights, b.rows[i].row)
	}
	var (
		tp, fp      int64 // so far
		pos, neg    int64 // with the present score
		halves      int64 // pairs ranked rightly, in halves
		precision   float64
		loss, brier float64
		labelled    Confusion
		slope       total5
		held        total5
		top         = [2]float64{float64(total) / 10, float64(total) / 5}
		found       [2]float64
	)
	for i := range b.rows {
		r := &b.rows[i]
		if i == b.labelled {
			labelled.TruePositives, labelled.FalsePositives = int(tp+pos), int(fp+neg)
		}
		w := weight(weights, r.row)
		is := w * r.positive
		pos += is
		neg += w - is
		x := float64(w)
		loss += x * r.loss
		brier += x * r.brier
		if b.slope != nil {
			slope.add(x, r.terms)
			held.g += x * float64(r.g)
			held.h += x * float64(r.h)
		}
		if !r.last {
			continue
		}
		halves += neg * (2*tp + pos)
		if above := float64(tp + fp); above < top[1] && pos+neg > 0 {
			for k := range top { // of a score that the border lies in, the share above it
				if room := top[k] - above; room > 0 {
					found[k] += float64(pos) * min(1, room/float64(pos+neg))
				}
			}
		}
		tp, fp = tp+pos, fp+neg
		if pos > 0 {
			precision += float64(pos) * float64(tp) / float64(tp+fp)
		}
		pos, neg = 0, 0
	}
	if b.labelled == len(b.rows) {
		labelled.TruePositives, labelled.FalsePositives = int(tp), int(fp)
	}
	labelled.TrueNegatives, labelled.FalseNegatives = int(fp)-labelled.FalsePositives, int(tp)-labelled.TruePositives
	base := ratio(float64(tp), float64(total))
	copy(out, []float64{
		ratio(float64(halves)/2, float64(tp)*float64(fp)),
		ratio(precision, float64(tp)),
		ratio(loss, float64(total)),
		ratio(brier, float64(total)),
		labelled.Precision(), labelled.Recall(), labelled.Accuracy(), labelled.F1(),
		ratio(found[0], top[0]*base), ratio(found[1], top[1]*base),
		b.slope.step(slope), b.intercept.step(held),
		base,
	})
	if tp == 0 {
		out[5] = math.NaN() // recall
	}
	if total == 0 {
		out[6] = math.NaN() // accuracy
	}
}

func weight(weights []int32, row int32) int64 {
	if weights == nil {
		return 1
	}
	return int64(weights[row])
}

// ratio is NaN if there is nothing to divide by.
func ratio(a, b float64) float64 {
	if b == 0 {
		return math.NaN()
	}
	return a / b
}

// logistic is a logistic regression of the labels on the predicted log odds x: of
// intercept and slope, or of the intercept alone with x as the offset. With other
// weights it is not fitted again: one step of Newton's method from the fit is as good
// as the bootstrap's own error (the one-step bootstrap).
type logistic struct {
	fixed            bool
	intercept, slope float64
	undefined        bool // it has no fit, as when the scores part the labels
}

// sums are a row's terms of the gradient and the Hessian.
type sums struct{ g, gx, h, hx, hxx float32 }

// total5 sums them up.
type total5 struct{ g, gx, h, hx, hxx float64 }

func (s *total5) add(w float64, t sums) {
	s.g += w * float64(t.g)
	s.gx += w * float64(t.gx)
	s.h += w * float64(t.h)
	s.hx += w * float64(t.hx)
	s.hxx += w * float64(t.hxx)
}

// residual is the label less its probability at the fit, and the probability's variance.
func (l *logistic) residual(x float64, positive bool) (g, h float64) {
	p := 1 / (1 + math.Exp(-l.intercept-l.slope*x))
	if positive {
		return 1 - p, p * (1 - p)
	}
	return -p, p * (1 - p)
}

func (l *logistic) terms(x float64, positive bool) sums {
	g, h := l.residual(x, positive)
	return sums{float32(g), float32(g * x), float32(h), float32(h * x), float32(h * x * x)}
}

func fitLogistic(x []float64, positive []bool, fixed bool) *logistic {
	l := &logistic{fixed: fixed, slope: 1}
	for range 30 {
		var s total5
		for i := range x {
			g, h := l.residual(x[i], positive[i])
			s.g += g
			s.gx += g * x[i]
			s.h += h
			s.hx += h * x[i]
			s.hxx += h * x[i] * x[i]
		}
		a, b := l.newton(s)
		if math.Abs(a)+math.Abs(b) < 1e-9 {
			return l
		}
		l.intercept += a
		l.slope += b
		if !(math.Abs(l.intercept)+math.Abs(l.slope) < 1e3) {
			break
		}
	}
	l.undefined = true
	return l
}

// newton is the step from the fit; NaN if the rows don't determine it.
func (l *logistic) newton(s total5) (intercept, slope float64) {
	if l.fixed {
		return ratio(s.g, s.h), 0
	}
	det := s.h*s.hxx - s.hx*s.hx
	if !(det > 1e-12*s.h*s.hxx) {
		return math.NaN(), math.NaN()
	}
	return (s.g*s.hxx - s.gx*s.hx) / det, (s.gx*s.h - s.g*s.hx) / det
}

// step returns the slope, or the intercept where the slope is fixed, with the rows
// weighted so that the terms have these sums.
func (l *logistic) step(s total5) float64 {
	if l == nil || l.undefined {
		return math.NaN()
	}
	a, b := l.newton(s)
	if l.fixed {
		return l.intercept + a
	}
	return l.slope + b
}

// ClassFigures are the names of the figures of a task of several classes.
var ClassFigures = []string{"log_loss", "accuracy", "macro_f1", "auc"}

type classSums struct {
	c      *Classes
	rows   []int32
	loss   []float64
	best   []int32
	order  [][]int32 // by class: rows by falling probability
	counts []int64   // by true, then by predicted class
}

func newClassSums(c *Classes, rows []int32) *classSums {
	s := &classSums{c: c, rows: rows, counts: make([]int64, c.n*c.n)}
	for i := range c.labels {
		s.loss = append(s.loss, c.loss(i))
		s.best = append(s.best, int32(Best(c.scores[i*c.n:(i+1)*c.n])))
	}
	for k := range c.n {
		order := make([]int32, len(c.labels))
		for i := range order {
			order[i] = int32(i)
		}
		slices.SortStableFunc(order, func(a, b int32) int { return cmp.Compare(c.scores[int(b)*c.n+k], c.scores[int(a)*c.n+k]) })
		s.order = append(s.order, order)
	}
	return s
}

func (s *classSums) values(weights []int32, out []float64) {
	n := s.c.n
	clear(s.counts)
	var total int64
	loss := 0.0
	for i, row := range s.rows {
		w := weight(weights, row)
		total += w
		loss += float64(w) * s.loss[i]
		s.counts[s.c.labels[i]*n+int(s.best[i])] += w
	}
	right, f1, auc := int64(0), 0.0, 0.0
	for k := range n {
		var is, got int64
		for l := range n {
			is += s.counts[k*n+l]
			got += s.counts[l*n+k]
		}
		right += s.counts[k*n+k]
		if is+got > 0 {
			f1 += 2 * float64(s.counts[k*n+k]) / float64(is+got)
		}
		auc += s.auc(k, is, total-is, weights)
	}
	copy(out, []float64{ratio(loss, float64(total)), ratio(float64(right), float64(total)), f1 / float64(n), auc / float64(n)})
}

// auc is that of one class against the rest.
func (s *classSums) auc(k int, positives, negatives int64, weights []int32) float64 {
	var tp, pos, neg, pairs int64
	n := s.c.n
	for j, i := range s.order[k] {
		w := weight(weights, s.rows[i])
		if s.c.labels[i] == k {
			pos += w
		} else {
			neg += w
		}
		if j+1 == len(s.order[k]) || s.c.scores[int(s.order[k][j+1])*n+k] != s.c.scores[int(i)*n+k] {
			pairs += neg * (2*tp + pos)
			tp += pos
			pos, neg = 0, 0
		}
	}
	return ratio(float64(pairs)/2, float64(positives)*float64(negatives))
}

// ValueFigures are the names of a regression's figures; bias is how far the true
// values are above the predicted ones on average.
var ValueFigures = []string{"rmse", "mae", "r2", "bias"}

type valueSums struct {
	v    *Values
	rows []int32
}

func (s *valueSums) values(weights []int32, out []float64) {
	var total, squared, absolute, bias, y, yy float64
	for i, row := range s.rows {
		w := float64(weight(weights, row))
		e, off := s.v.residual(i), float64(s.v.actual[i])-s.v.mean
		total += w
		squared += w * e * e
		absolute += w * math.Abs(e)
		bias += w * e
		y += w * off
		yy += w * off * off
	}
	r2 := 0.0 // if all true values are the same, as Values.R2
	if variance := yy - y*y/total; variance > 1e-12*yy {
		r2 = 1 - squared/variance
	}
	copy(out, []float64{math.Sqrt(ratio(squared, total)), ratio(absolute, total), r2, ratio(bias, total)})
}
