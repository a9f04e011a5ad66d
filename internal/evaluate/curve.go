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

// Thin leaves out points of a curve in the unit square so that at most limit
// are left and nothing moves visibly: no point that it leaves out lies further
// than a tolerance from the line through those it keeps (Douglas and Peucker),
// 1/5,000 or, where that keeps too many, the smallest that it finds. The first
// and the last point stay. The limit is at least 2.
func Thin(points []Point, limit int) []Point {
	if len(points) <= limit {
		return points
	}
	for tolerance := 1.0 / 5000; ; tolerance *= 1.25 {
		if kept := simplify(points, tolerance); len(kept) <= max(limit, 2) {
			return kept
		}
	}
}

func simplify(points []Point, tolerance float64) []Point {
	keep := make([]bool, len(points))
	keep[0], keep[len(points)-1] = true, true
	type span struct{ from, to int }
	stack := []span{{0, len(points) - 1}}
	for len(stack) > 0 {
		s := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		worst, at := tolerance, -1
		for i := s.from + 1; i < s.to; i++ {
			if d := distance(points[i], points[s.from], points[s.to]); d > worst {
				worst, at = d, i
			}
		}
		if at >= 0 {
			keep[at] = true
			stack = append(stack, span{s.from, at}, span{at, s.to})
		}
	}
	var kept []Point
	for i, p := range points {
		if keep[i] {
			kept = append(kept, p)
		}
	}
	return kept
}

// distance is that of p from the line segment between a and b.
func distance(p, a, b Point) float64 {
	dx, dy := b.X-a.X, b.Y-a.Y
	t := 0.0
	if l := dx*dx + dy*dy; l > 0 {
		t = min(max(((p.X-a.X)*dx+(p.Y-a.Y)*dy)/l, 0), 1)
	}
	return math.Hypot(p.X-a.X-t*dx, p.Y-a.Y-t*dy)
}
