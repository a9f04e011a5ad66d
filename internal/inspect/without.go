package inspect

import (
	"math"
	"slices"

	"mlops/internal/dataset"
)

// Without says without which of some sets of features small trees tell later rows better
// than with all: its place, and by which share their loss is smaller; -1 if without none.
// They learn some of the rows and are measured on others, after as many trees as are best
// there. x has one vector per row, and a set is places in it.
func Without(spec *dataset.Spec, features []Feature, x, y []float32, learn, measure []int, sets [][]int) (best int, less float64) {
	best = -1
	values := spec.Task == dataset.Regression
	if !values {
		y = outcomesOf(spec, y, y)
	}
	all := boost(features, x, y, learn, measure, values)
	if all == nil {
		return -1, 0
	}
	with := all.least()
	for i, set := range sets {
		some, left := only(features, x, set)
		if len(some) == 0 {
			continue
		}
		if l := 1 - boost(some, left, y, learn, measure, values).least()/with; l > less {
			best, less = i, l
		}
	}
	return best, less
}

// only are the features, and the vectors, without those of a set.
func only(features []Feature, x []float32, set []int) (some []Feature, left []float32) {
	var at []int
	for i, f := range features {
		if !slices.Contains(set, i) {
			some, at = append(some, f), append(at, i)
		}
	}
	for row := 0; row < len(x); row += len(features) {
		for _, i := range at {
			left = append(left, x[row+i])
		}
	}
	return some, left
}

// least is the least loss on the rows to measure after any number of trees: the mean squared
// error of values, the mean log loss of outcomes.
func (g *forest) least() float64 {
	scores := make([]float64, len(g.y))
	least := g.loss(scores)
	for _, tree := range g.trees {
		for i := range scores {
			scores[i] += g.value(tree, i, i, nil)
		}
		least = min(least, g.loss(scores))
	}
	return least
}

func (g *forest) loss(scores []float64) float64 {
	sum := 0.0
	for i, y := range g.y {
		switch s := scores[i]; {
		case g.values:
			sum += (float64(y) - s) * (float64(y) - s)
		case y == 1:
			sum += math.Log1p(math.Exp(-s))
		default:
			sum += math.Log1p(math.Exp(s))
		}
	}
	return sum / float64(len(g.y))
}
