package promote

import (
	"context"
	"fmt"
	"math"
	"slices"

	"mlops/internal/dataset"
	"mlops/internal/evaluate"
)

// leastSlice is how many rows a slice needs to be compared.
const leastSlice = 30

// SliceGain is how a candidate compares with the champion on the rows of a slice.
type SliceGain struct {
	Column string  `json:"column"`
	Level  string  `json:"level"`
	Rows   int     `json:"rows"`
	Gain   float64 `json:"gain"`  // of the first metric; below 0: it is worse
	Worse  float64 `json:"worse"` // share of the draws in which it is worse by more than the bound
}

// compareSlices sets how each candidate compares with the champion in each slice that
// has enough rows, and on which the metric is known.
func compareSlices(ctx context.Context, spec *dataset.Spec, c *Comparison, scorers []*scorer, r *rows) error {
	for column := range r.slices {
		for _, part := range r.levels[column].Parts(&spec.Columns[r.slices[column]], r.numbers[column]) {
			if err := ctx.Err(); err != nil {
				return err
			}
			if len(part.Rows) >= leastSlice {
				c.compareSlice(ctx, spec, scorers, r, spec.Slices[column], part)
			}
		}
	}
	return ctx.Err()
}

func (c *Comparison) compareSlice(ctx context.Context, spec *dataset.Spec, scorers []*scorer, r *rows, column string, part evaluate.Part) {
	t := c.newContest(spec, scorers, r, part.Rows)
	for i := range scorers {
		if c.Contenders[i].Against == nil && i != t.champion {
			t.outputs[i] = nil
		}
	}
	if t.champion < 0 || t.weigh() != nil {
		return // all rows are of one class
	}
	bound := spec.SliceMargin(c.Contenders[t.champion].Metric)
	draws, blocks := t.draws(ctx)
	for i, measure := range t.measures {
		if measure == nil || i == t.champion || ctx.Err() != nil { // compareSlices says so
			continue
		}
		gain := spec.Gain(measure(nil), t.measures[t.champion](nil))
		if math.IsNaN(gain) {
			continue
		}
		worse := draws.worse(i, bound)
		if blocks != nil {
			worse = min(worse, blocks.worse(i, bound))
		}
		a := c.Contenders[i].Against
		a.Slices = append(a.Slices, SliceGain{column, part.Level, len(part.Rows), gain, worse})
	}
}

// worst returns the slice in which a candidate is most surely worse by more than the
// bound, nil where it is so in none.
func (c *Comparison) worst(e *Contender) *SliceGain {
	if e.Against == nil || len(e.Against.Slices) == 0 {
		return nil
	}
	worst := slices.MaxFunc(e.Against.Slices, func(a, b SliceGain) int {
		if a.Worse != b.Worse {
			if a.Worse < b.Worse {
				return -1
			}
			return 1
		}
		return 0
	})
	if worst.Worse < c.Spec.Gate().Confidence {
		return nil
	}
	return &worst
}

// slicesOf says how a candidate compares with the champion in slices.
func (c *Comparison) slicesOf(e, champion *Contender) string {
	bound := c.Spec.SliceMargin(champion.Metric)
	if w := c.worst(e); w != nil {
		return fmt.Sprintf("where %s is %s (%d rows) the gain is %+.4g, and it is worse by more than %.4g in %.1f %% of the draws, %.4g %% are too many",
			w.Column, w.Level, w.Rows, w.Gain, bound, math.Floor(1000*w.Worse)/10, 100*c.Spec.Gate().Confidence)
	}
	return fmt.Sprintf("in none of %d slices with at least %d rows is it surely worse by more than %.4g", len(e.Against.Slices), leastSlice, bound)
}
