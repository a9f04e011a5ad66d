package evaluate

import "math"

// Point is one point of a curve, reached by labelling at Threshold.
type Point struct {
	X, Y      float64
	Threshold float64 // +Inf: no row is labelled positive
}

// ROC returns the receiver operating characteristic: X is the false positive
// rate, Y the recall, from (0, 0) to (1, 1), a point for each distinct score.
func (r *Ranking) ROC() []Point {
	points := make([]Point, 0, len(r.groups)+1)
	points = append(points, Point{0, 0, math.Inf(1)})
	for _, g := range r.groups {
		points = append(points, Point{share(g.fp, r.negatives), share(g.tp, r.positives), g.score})
	}
	return points
}

// PrecisionRecall returns X the recall and Y the precision, by rising recall, a
// point for each distinct score. It starts, as scikit-learn's does, at recall 0
// and precision 1, where nothing is labelled positive.
func (r *Ranking) PrecisionRecall() []Point {
	points := make([]Point, 0, len(r.groups)+1)
	points = append(points, Point{0, 1, math.Inf(1)})
	for _, g := range r.groups {
		points = append(points, Point{share(g.tp, r.positives), share(g.tp, g.tp+g.fp), g.score})
	}
	return points
}

// Calibration returns points of about equally many rows, at most bins: X is the
// mean score, Y the share of positive rows. Rows of one score stay together.
func (r *Ranking) Calibration(bins int) []Point {
	var points []Point
	rows, pos, sum, done := 0, 0, 0.0, 0
	for i := len(r.groups) - 1; i >= 0; i-- { // from the lowest score
		g := r.groups[i]
		n := g.pos + g.neg
		rows, pos, sum = rows+n, pos+g.pos, sum+g.score*float64(n)
		// A bin ends where its share of all rows is reached.
		if (done+rows)*bins >= r.Rows()*(len(points)+1) || i == 0 {
			points = append(points, Point{sum / float64(rows), share(pos, rows), g.score})
			done += rows
			rows, pos, sum = 0, 0, 0
		}
	}
	return points
}
