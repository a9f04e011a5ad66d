package inspect

import (
	"fmt"
	"math"
	"slices"

	"mlops/internal/dataset"
	"mlops/internal/evaluate"
)

const (
	// leastTold is the AUC that the first rows reach on others of them, at least, for a
	// later loss of it to say anything.
	leastTold = 0.6
	// leastRated is how many rows of a batch are rated, at least.
	leastRated = 100
)

// relation warns of a later batch whose target the first one tells the wrong way round, as
// after yes and no were exchanged, or no longer at all, as after the target was joined to
// other rows. Features that changed by themselves, named in drifted, are left out: they
// explain it. Of the halves of one batch, only the wrong way round is told: a sorted table
// has others in its second half. Of values, it looks at whether they are above the median, of several classes
// at the most frequent one. nil: nothing to say.
func relation(spec *dataset.Spec, features []Feature, x, y []float32, stretches []stretch, drifted map[string]bool) *Finding {
	var kept []int
	var same []Feature
	for i, f := range features {
		if !drifted[f.Name] {
			kept, same = append(kept, i), append(same, f)
		}
	}
	if len(kept) == 0 || len(stretches) < 2 {
		return nil
	}
	outcome := outcomeOf(spec, y[:stretches[0].to])
	step := (len(y) + mostTogether - 1) / mostTogether
	var few, labels []float32
	var learn, rated []int              // of the few rows
	ends := make([]int, len(stretches)) // of each stretch, among the rows that are rated
	for at, s := range stretches {
		for i, n := s.from, 0; i < s.to; i, n = i+step, n+1 {
			for _, f := range kept {
				few = append(few, x[i*len(features)+f])
			}
			if at == 0 && n%2 == 0 {
				learn = append(learn, len(labels))
			} else {
				rated = append(rated, len(labels))
			}
			labels = append(labels, outcome(y[i]))
		}
		ends[at] = len(rated)
	}
	g := boost(same, few, labels, learn, rated, false)
	if g == nil {
		return nil
	}
	scores := g.scores(nil)
	first, spread, ok := rate(scores[:ends[0]], g.y[:ends[0]])
	if !ok || first-certain*spread < 0.5 {
		return nil
	}
	for at := 1; at < len(stretches); at++ {
		auc, off, ok := rate(scores[ends[at-1]:ends[at]], g.y[ends[at-1]:ends[at]])
		text := ""
		switch {
		case !ok:
		case auc+certain*off < 0.5:
			text = "below 0.5, the wrong way round: were the outcomes exchanged?"
			if !stretches[at].batches {
				text = "below 0.5, the wrong way round: were two tables put together, and the outcomes of one exchanged?"
			}
		case !stretches[at].batches:
		case first > leastTold && math.Abs(auc-0.5) < 2*off && auc+certain*math.Hypot(off, spread) < first:
			text = "no better than chance: does the target stand beside the right rows?"
		}
		if text != "" {
			return &Finding{Level: Warning, Kind: "target", Value: auc, Text: fmt.Sprintf(
				"%s of %s goes against %s: small trees made of half of the earlier rows reach an AUC of %.2f on the other half, and %.2f on the later ones, %s",
				spec.Target.Column, stretches[at].name, stretches[0].name, first, auc, text)}
		}
	}
	return nil
}

// Against is the finding about a table whose target goes against that of the rows loaded
// before, the first n, by all features or by some; nil if it doesn't, or there are too few rows
// to say.
func Against(spec *dataset.Spec, features []Feature, x, y []float32, n int) *Finding {
	if min(n, len(y)-n) < LeastForDrift {
		return nil
	}
	stretches := []stretch{{"the rows loaded before", 0, n, true}, {"this table", n, len(y), true}}
	if found := steadyRelation(spec, features, x, y, stretches); found != nil {
		return found
	}
	return turned(spec, features, x, y, stretches)
}

// Halves is the finding about a table whose second half has the target the wrong way round;
// nil if it doesn't, or there are too few rows to say.
func Halves(spec *dataset.Spec, features []Feature, x, y []float32) *Finding {
	return steadyRelation(spec, features, x, y, halvesOf("rows", len(y)))
}

// steadyRelation is relation by the features that did not change.
func steadyRelation(spec *dataset.Spec, features []Feature, x, y []float32, stretches []stretch) *Finding {
	drifted := map[string]bool{}
	for i, f := range features {
		if drift("feature", f, column(x, i, len(features)), stretches, false) != nil {
			drifted[f.Name] = true
		}
	}
	return relation(spec, features, x, y, stretches, drifted)
}

// outcomesOf are the outcomes of targets, see outcomeOf.
func outcomesOf(spec *dataset.Spec, first, y []float32) []float32 {
	out, of := make([]float32, len(y)), outcomeOf(spec, first)
	for i, v := range y {
		out[i] = of(v)
	}
	return out
}

// outcomeOf makes two outcomes of any target, by those of the first rows.
func outcomeOf(spec *dataset.Spec, first []float32) func(float32) float32 {
	yes := func(is bool) float32 {
		if is {
			return 1
		}
		return 0
	}
	switch spec.Task {
	case dataset.Regression:
		sorted := ordered(first)
		median := sorted[len(sorted)/2]
		return func(v float32) float32 { return yes(v > median) }
	case dataset.Multiclass:
		rows := make([]int, len(spec.Target.Classes))
		for _, v := range first {
			rows[int(v)]++
		}
		most := float32(slices.Index(rows, slices.Max(rows)))
		return func(v float32) float32 { return yes(v == most) }
	}
	return func(v float32) float32 { return v }
}

// rate is the AUC of some rows, with its standard deviation if it were by chance (Mann and
// Whitney, 1947).
func rate(scores []float64, y []float32) (auc, spread float64, ok bool) {
	r, err := evaluate.Rank(scores, y)
	if err != nil || len(y) < leastRated { // of one class only, or too few
		return 0, 0, false
	}
	few := float64(rarer(y))
	many := float64(len(y)) - few
	return r.AUC(), math.Sqrt((few + many + 1) / (12 * few * many)), true
}
