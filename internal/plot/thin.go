package plot

import (
	"math"

	"mlops/internal/evaluate"
)

// thin leaves out points of a curve in the unit square so that at most limit
// are left and nothing moves visibly: no point that it leaves out lies further
// than a tolerance from the line through those it keeps (Douglas and Peucker),
// 1/5,000 or, where that keeps too many, the smallest that it finds. The first
// and the last point stay. The limit is at least 2.
func thin(points []evaluate.Point, limit int) []evaluate.Point {
	if len(points) <= limit {
		return points
	}
	for tolerance := 1.0 / 5000; ; tolerance *= 1.25 {
		if kept := simplify(points, tolerance); len(kept) <= max(limit, 2) {
			return kept
		}
	}
}

func simplify(points []evaluate.Point, tolerance float64) []evaluate.Point {
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
	var kept []evaluate.Point
	for i, p := range points {
		if keep[i] {
			kept = append(kept, p)
		}
	}
	return kept
}

// distance is that of p from the line segment between a and b.
func distance(p, a, b evaluate.Point) float64 {
	dx, dy := b.X-a.X, b.Y-a.Y
	t := 0.0
	if l := dx*dx + dy*dy; l > 0 {
		t = min(max(((p.X-a.X)*dx+(p.Y-a.Y)*dy)/l, 0), 1)
	}
	return math.Hypot(p.X-a.X-t*dx, p.Y-a.Y-t*dy)
}
