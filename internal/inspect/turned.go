package inspect

import (
	"fmt"
	"math"

	"mlops/internal/dataset"
)

const (
	// tells is how far from 0.5 a feature's AUC is, at least, on the first rows and, on the
	// other side, on later ones.
	tells = 0.05
	// leastOfLevel is how many of the first rows have a level whose share of outcomes counts.
	leastOfLevel = 20
)

// turned warns of features that go with the target the other way round in a later batch than in
// the first: after a scale was turned round (5 was the best mark, and is the worst), or values
// of a category were exchanged. Halves of one batch are not compared: other things may be alike
// in them.
func turned(spec *dataset.Spec, features []Feature, x, y []float32, stretches []stretch) *Finding {
	if len(stretches) < 2 {
		return nil
	}
	first := stretches[0]
	labels := outcomesOf(spec, y[first.from:first.to], y)
	for _, s := range stretches[1:] {
		if !s.batches {
			continue
		}
		var said []string
		one, most := "", 0.0
		for i, f := range features {
			values := column(x, i, len(features))
			score, from := f.scorer(values, labels, first)
			then, off, ok := rateBy(score, values, labels, from, first.to, 2)
			if !ok || math.Abs(then-0.5) < max(tells, certain*off) {
				continue
			}
			now, off, ok := rateBy(score, values, labels, s.from, s.to, 1)
			if !ok || math.Abs(now-0.5) < max(tells, certain*off) || (then > 0.5) == (now > 0.5) {
				continue
			}
			said = append(said, fmt.Sprintf("%s (an AUC of %.2f by itself, and now %.2f)", f.Name, then, now))
			if d := math.Abs(then - now); d > most {
				one, most = f.Name, d
			}
		}
		if len(said) > 0 {
			return &Finding{Level: Warning, Kind: "target", Feature: one, Value: most, Text: fmt.Sprintf(
				"features go with %s the other way round in %s than in %s: %s; was a scale turned round, or the meaning of values exchanged? Then write them as before",
				spec.Target.Column, s.name, first.name, firstOf(said))}
		}
	}
	return nil
}

// scorer makes a number of a feature's values, by which rows are put in order: of a category,
// the share of outcomes among every other of the first rows with a level. The rows from which
// on others are rated are those that it was not made of.
func (f *Feature) scorer(values, labels []float32, first stretch) (score func(float32) float64, from int) {
	if f.Codes == 0 {
		return func(v float32) float64 { return float64(v) }, first.from
	}
	rows, sums := make([]float64, f.Codes), make([]float64, f.Codes)
	for i := first.from; i < first.to; i += 2 {
		if v := values[i]; v == v {
			rows[int(v)]++
			sums[int(v)] += float64(labels[i])
		}
	}
	return func(v float32) float64 {
		if v != v || rows[int(v)] < leastOfLevel {
			return math.NaN()
		}
		return sums[int(v)] / rows[int(v)]
	}, first.from + 1
}

// rateBy is rate of every step-th row from one to another, by a score of their values.
func rateBy(score func(float32) float64, values, labels []float32, from, to, step int) (auc, spread float64, ok bool) {
	var scores []float64
	var y []float32
	for i := from; i < to; i += step {
		if s := score(values[i]); s == s {
			scores, y = append(scores, s), append(y, labels[i])
		}
	}
	if len(y) == 0 {
		return 0, 0, false
	}
	return rate(scores, y)
}
