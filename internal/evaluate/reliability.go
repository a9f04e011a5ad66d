package evaluate

import (
	"cmp"
	"math"
	"slices"

	"mlops/internal/dataset"
)

// Reliability says how far predictions say too much on average: rows are sorted by what
// is predicted for them, and of each tenth the mean prediction is compared with the
// mean of what was. A prediction between that and the mean of all rows is only timid, as
// those of a model that stopped after few trees are; one beyond is off by how far.
type Reliability struct {
	Off   float64 // root of the mean square over the tenths, without what chance adds, in units of the target
	Share float64 // of the target's standard deviation
	Sure  float64 // by how many standard errors the mean square exceeds what chance adds
	Timid float64 // Off of those that are only timid
}

// Rows per part, and how many parts there are at most.
const (
	reliabilityRows  = 20
	reliabilityParts = 10
)

// RateReliability measures outputs, concatenated, against the rows' labels. Of several
// classes, each one's probability is compared with how often it was, and the squares
// are added up. It is a debiased form of the reliability in Murphy's decomposition of
// the Brier score (1973).
func RateReliability(task string, outputs, labels []float32) Reliability {
	width := len(outputs) / max(len(labels), 1)
	if width == 0 {
		return Reliability{}
	}
	var excess, timid, noise, variance float64
	predicted, actual := make([]float64, len(labels)), make([]float64, len(labels))
	for k := range width {
		for i, y := range labels {
			predicted[i], actual[i] = float64(outputs[i*width+k]), float64(y)
			if task == dataset.Multiclass {
				actual[i] = 0
				if int(y) == k {
					actual[i] = 1
				}
			}
		}
		e, t, n, v := reliability(predicted, actual)
		excess, timid, noise, variance = excess+e, timid+t, noise+n, variance+v
	}
	r := Reliability{Off: math.Sqrt(max(excess, 0)), Timid: math.Sqrt(max(timid, 0))}
	if variance > 0 {
		r.Share = r.Off / math.Sqrt(variance)
	}
	if noise > 0 {
		r.Sure = excess / math.Sqrt(noise)
	} else if excess > 0 {
		r.Sure = math.Inf(1)
	}
	return r
}

// reliability returns the mean square of what the parts say too much, less what chance
// adds to it, that of what they are timid by, the variance of the first, and the
// variance of the actual values.
func reliability(predicted, actual []float64) (excess, timid, noise, variance float64) {
	order := make([]int, len(actual))
	var all moments
	for i, y := range actual {
		order[i] = i
		all.add(y)
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(predicted[a], predicted[b]) })
	parts := min(reliabilityParts, max(2, len(order)/reliabilityRows))
	for from, p := 0, 0; p < parts; p++ {
		// Rows of which the same is predicted are of one part.
		to := max(from, (p+1)*len(order)/parts)
		for from < to && to < len(order) && predicted[order[to]] == predicted[order[to-1]] {
			to++
		}
		var off, was moments
		part := order[from:to]
		from = to
		for _, i := range part {
			off.add(predicted[i] - actual[i])
			was.add(actual[i])
		}
		if off.n < 2 {
			continue
		}
		weight := float64(off.n) / float64(len(order))
		chance := off.m2 / float64(off.n-1) / float64(off.n)
		said, low, high := was.mean+off.mean, min(was.mean, all.mean), max(was.mean, all.mean)
		if low <= said && said <= high {
			timid += weight * (square(off.mean) - chance)
			continue
		}
		excess += weight * (square(max(low-said, said-high)) - chance)
		noise += square(weight) * 2 * square(chance)
	}
	return excess, timid, noise, all.m2 / float64(len(actual))
}
