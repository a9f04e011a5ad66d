package profile

import (
	"cmp"
	"math"
	"slices"
)

// scored is rows that a column can't tell apart, with their place among others.
type scored struct {
	score              float64
	positive, negative float64
}

// auc is the area under the ROC curve of groups of rows, whichever end is the
// positive one; NaN where there is only one class.
func auc(groups []scored) float64 {
	slices.SortFunc(groups, func(a, b scored) int { return cmp.Compare(a.score, b.score) })
	var positive, negative, area float64
	for i := 0; i < len(groups); {
		var p, n float64
		j := i
		for ; j < len(groups) && groups[j].score == groups[i].score; j++ {
			p += groups[j].positive
			n += groups[j].negative
		}
		area += p * (negative + n/2)
		positive += p
		negative += n
		i = j
	}
	if positive == 0 || negative == 0 {
		return math.NaN()
	}
	a := area / positive / negative
	return max(a, 1-a)
}

// numberAUC ranks rows by a number alone; those without one come first or last,
// whichever tells more.
func (c *builder) numberAUC() float64 {
	groups := make([]scored, 0, len(c.sample)+1)
	for _, p := range c.sample {
		switch p.label {
		case 1:
			groups = append(groups, scored{p.value, 1, 0})
		case 0:
			groups = append(groups, scored{p.value, 0, 1})
		}
	}
	if c.missing.labeled == 0 {
		return auc(groups)
	}
	scale := float64(len(c.sample)) / float64(c.present)
	miss := scored{math.Inf(-1), float64(c.missing.positive) * scale, float64(c.missing.labeled-c.missing.positive) * scale}
	first := auc(append(slices.Clone(groups), miss))
	miss.score = math.Inf(1)
	return max(first, auc(append(groups, miss)))
}

// seldom is how many rows a level needs to be ranked by its own rate: levels of
// one row each would tell the target by heart.
const seldom = 20

// levelAUC ranks rows by how often the target is positive with their level.
func (c *builder) levelAUC(all count) float64 {
	var groups []scored
	rest := count{labeled: all.labeled, positive: all.positive}
	add := func(n count) {
		if n.labeled < seldom {
			return
		}
		rest.labeled -= n.labeled
		rest.positive -= n.positive
		groups = append(groups, scored{n.rate(), float64(n.positive), float64(n.labeled - n.positive)})
	}
	for _, n := range c.levels {
		add(n)
	}
	add(c.missing)
	if rest.labeled > 0 {
		groups = append(groups, scored{rest.rate(), float64(rest.positive), float64(rest.labeled - rest.positive)})
	}
	return auc(groups)
}
