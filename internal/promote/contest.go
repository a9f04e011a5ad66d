package promote

import (
	"context"
	"fmt"

	"mlops/internal/dataset"
	"mlops/internal/evaluate"
)

// contest is what contenders say of the same rows: all validation rows, or those of a slice.
type contest struct {
	spec      *dataset.Spec
	outputs   [][]float32 // by contender; nil of one that isn't in it
	threshold []float64   // of each contender
	champion  int         // -1: it isn't in it
	labels    []float32
	groups    []int32   // of each row
	times     []float64 // of each row of a split by time, else nil

	measures []evaluate.Weighed // by contender, of the first metric; nil of one that isn't in it
}

// newContest takes the rows that part names, all of them if it is nil.
func (c *Comparison) newContest(spec *dataset.Spec, scorers []*scorer, r *rows, part []int32) *contest {
	t := &contest{spec: spec, champion: -1, labels: r.labels, groups: r.groups.Of, times: r.times, outputs: make([][]float32, len(scorers)), threshold: make([]float64, len(scorers))}
	if part != nil {
		t.labels, t.groups, t.times = of(r.labels, 1, part), r.groups.Some(part), nil
		if r.times != nil {
			t.times = of(r.times, 1, part)
		}
	}
	for i, s := range scorers {
		if s == nil {
			continue
		}
		if c.Contenders[i].Version.Number == c.Champion.Number {
			t.champion = i
		}
		t.threshold[i], t.outputs[i] = s.model.Serving.Threshold, s.scores
		if part != nil {
			t.outputs[i] = of(s.scores, len(s.scores)/len(r.labels), part)
		}
	}
	return t
}

// of returns the values of some rows, each of which has so many.
func of[T any](values []T, each int, rows []int32) []T {
	out := make([]T, 0, each*len(rows))
	for _, row := range rows {
		out = append(out, values[int(row)*each:(int(row)+1)*each]...)
	}
	return out
}

// weigh sets the measures.
func (t *contest) weigh() error {
	t.measures = make([]evaluate.Weighed, len(t.outputs))
	for i, outputs := range t.outputs {
		if outputs == nil {
			continue
		}
		var err error
		if t.measures[i], err = evaluate.Weigh(t.spec, t.spec.Metrics[0], t.threshold[i], outputs, t.labels); err != nil {
			return err
		}
	}
	return nil
}

// drawn is what the measures say in each draw.
type drawn struct {
	*evaluate.Draws
	t      *contest
	values [][]float64 // by contender and draw
}

// draw draws. Once the context has ended, values are incomplete.
func (t *contest) draw(ctx context.Context, draws *evaluate.Draws) *drawn {
	d := &drawn{draws, t, make([][]float64, len(t.measures))}
	draws.Each(func(weights []int32) {
		if ctx.Err() != nil {
			return
		}
		for i, measure := range t.measures {
			if measure != nil {
				d.values[i] = append(d.values[i], measure(weights))
			}
		}
	})
	return d
}

// draws are those of groups of rows and, of rows split by time, those of blocks of
// consecutive times; else blocks is nil. A block is as long as it is alike by how much a
// candidate's errors differ from the champion's.
func (t *contest) draws(ctx context.Context) (groups, blocks *drawn) {
	groups = t.draw(ctx, evaluate.NewDraws(t.groups))
	if t.champion < 0 || t.times == nil {
		return groups, nil
	}
	var series [][]float64
	base := evaluate.Likeness(t.spec, t.outputs[t.champion], t.labels)
	for i, outputs := range t.outputs {
		if outputs == nil || i == t.champion {
			continue
		}
		differ := evaluate.Likeness(t.spec, outputs, t.labels)
		for k := range differ {
			for row := range differ[k] {
				differ[k][row] -= base[k][row]
			}
		}
		series = append(series, differ...)
	}
	if in := evaluate.NewBlockDraws(t.times, series...); in != nil {
		blocks = t.draw(ctx, in)
	}
	return groups, blocks
}

// gains are how much better a contender is than the champion, draw by draw.
func (d *drawn) gains(i int) []float64 {
	out := make([]float64, len(d.values[i]))
	for k := range out {
		out[k] = d.t.spec.Gain(d.values[i][k], d.values[d.t.champion][k])
	}
	return out
}

// better is how surely a contender is better than the champion by more than a margin.
func (d *drawn) better(i int, margin float64) float64 {
	spread := evaluate.NewSpread(d.gains(i))
	return d.Confidence(spread.Above(margin) * float64(len(spread)) / float64(d.Count()))
}

// worse is how surely a contender is worse than the champion by more than a bound.
func (d *drawn) worse(i int, bound float64) float64 {
	worse := 0
	for _, g := range d.gains(i) {
		if g < -bound {
			worse++
		}
	}
	return d.Confidence(float64(worse) / float64(d.Count()))
}

// intervals sets the 95 % interval of each contender's metric, as training has it of these
// rows.
func (c *Comparison) intervals(ctx context.Context, t *contest, groups *drawn) {
	for i, values := range groups.values {
		if t.measures[i] == nil || groups.Groups() < 2 {
			continue
		}
		low, high := groups.Interval(evaluate.NewSpread(values))
		if blocks := evaluate.NewBlockDraws(t.times, evaluate.Likeness(t.spec, t.outputs[i], t.labels)...); blocks != nil {
			alone := &contest{measures: []evaluate.Weighed{t.measures[i]}}
			l, h := blocks.Interval(evaluate.NewSpread(alone.draw(ctx, blocks).values[0]))
			low, high = min(low, l), max(high, h)
		}
		c.Contenders[i].Interval = []float64{low, high}
	}
}

// compare sets how each candidate compares with the champion on draws of the rows.
func compare(ctx context.Context, spec *dataset.Spec, c *Comparison, scorers []*scorer, r *rows) error {
	t := c.newContest(spec, scorers, r, nil)
	if err := t.weigh(); err != nil {
		return fmt.Errorf("the contenders on the validation rows: %w", err)
	}
	groups, blocks := t.draws(ctx)
	c.intervals(ctx, t, groups)
	if err := ctx.Err(); err != nil {
		return err
	}
	if t.champion < 0 {
		return nil
	}
	margin := spec.Gate().Margin
	for i := range t.measures {
		if t.measures[i] == nil || i == t.champion {
			continue
		}
		a := &Against{
			Gain: spec.Gain(c.Contenders[i].Metric, c.Contenders[t.champion].Metric), Draws: groups.Count(), Groups: groups.Groups(),
			Better: groups.better(i, margin),
		}
		a.Low, a.High = groups.Interval(evaluate.NewSpread(groups.gains(i)))
		if blocks != nil {
			a.Times, a.Block, a.Better = blocks.Groups(), blocks.Block(), min(a.Better, blocks.better(i, margin))
			low, high := blocks.Interval(evaluate.NewSpread(blocks.gains(i)))
			a.Low, a.High = min(a.Low, low), max(a.High, high)
		}
		c.Contenders[i].Against = a
	}
	return nil
}
