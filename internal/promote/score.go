package promote

import (
	"context"
	"errors"
	"fmt"

	"mlops/internal/dataset"
	"mlops/internal/evaluate"
	"mlops/internal/feature"
	"mlops/internal/model"
)

// scorer scores the rows of one spec by a model that may be of another.
type scorer struct {
	model   *model.Model
	columns []int // of the rows' spec, for each column of the model's; -1: none
	fields  [][]byte
	stream  *feature.Stream
	vector  []float32
	outputs []float32 // of one row
	scores  []float32 // of all rows
}

func newScorer(m *model.Model, spec *dataset.Spec) *scorer {
	s := &scorer{model: m, stream: m.Encoder.Stream(), vector: make([]float32, m.Encoder.Width()), outputs: make([]float32, m.Trees.Outputs()), fields: make([][]byte, len(m.Spec.Columns))}
	for _, col := range m.Spec.Columns {
		s.columns = append(s.columns, spec.Column(col.Name))
	}
	return s
}

// add takes the next row; counts says whether its score is wanted.
func (s *scorer) add(fields [][]byte, counts bool) error {
	for to, from := range s.columns {
		s.fields[to] = nil
		if from >= 0 {
			s.fields[to] = fields[from]
		}
	}
	if !counts {
		return s.stream.Encode(nil, s.fields)
	}
	if err := s.stream.Encode(s.vector, s.fields); err != nil {
		return err
	}
	s.model.Trees.ScoreBatch(s.vector, s.outputs)
	s.scores = append(s.scores, s.outputs...)
	return nil
}

// comparable is an error if the rows of a spec come in an order in which the model
// can't look at earlier ones.
func comparable(m *model.Model, spec *dataset.Spec) error {
	if m.Spec.Task != spec.Task { // of a notebook's model
		return fmt.Errorf("its task is %s, the spec's %s: it can't be compared on the same rows", m.Spec.Task, spec.Task)
	}
	if m.Spec.LooksBack() && (!spec.LooksBack() || m.Spec.Group != spec.Group || m.Spec.Order != spec.Order) {
		return fmt.Errorf("it looks at earlier rows by group %s and order %s, and the spec does not: it can't be compared on the same rows", m.Spec.Group, m.Spec.Order)
	}
	if why := seen(m, spec); why != "" {
		return errors.New(why)
	}
	return nil
}

// seen says why a model was trained on rows that are validation rows today: it would
// know their answers. Only a split by time moves rows without their being loaded again.
func seen(m *model.Model, spec *dataset.Spec) string {
	was := m.Spec
	switch {
	case m.FromNotebook() || !was.ByTime() && !spec.ByTime():
		return ""
	case was.ByTime() && spec.ByTime() && was.Split.By == spec.Split.By && spec.CompareTimes([]byte(was.Split.ValidationFrom), []byte(spec.Split.ValidationFrom)) <= 0:
		return ""
	}
	return fmt.Sprintf("its rows were split %s, and are split %s now: it was trained on some of the validation rows, and can't be compared on them", was.SplitRule(), spec.SplitRule())
}

// rows is the validation rows that count.
type rows struct {
	labels []float32
	groups evaluate.Numbered
	column int       // of the group; -1: each row is its own
	times  []float64 // in a split by time
	by     int       // column that splits the rows by time; -1: none

	slices  []int // columns of the spec's slices
	levels  []evaluate.Levels
	numbers [][]int32 // of each column, a row's value
}

func newRows(spec *dataset.Spec) *rows {
	r := &rows{column: spec.Column(spec.Group), by: spec.Column(spec.Split.By)}
	for _, name := range spec.Slices {
		r.slices = append(r.slices, spec.Column(name))
	}
	r.levels, r.numbers = make([]evaluate.Levels, len(r.slices)), make([][]int32, len(r.slices))
	return r
}

// add takes the next row.
func (r *rows) add(spec *dataset.Spec, label float32, fields [][]byte) {
	r.labels = append(r.labels, label)
	for i, column := range r.slices {
		r.numbers[i] = append(r.numbers[i], r.levels[i].Of(fields[column]))
	}
	var group []byte
	if r.column >= 0 {
		group = fields[r.column]
	}
	r.groups.Add(group)
	if r.by >= 0 {
		r.times = append(r.times, spec.Time(fields[r.by]))
	}
}

// score scores all contenders on the same rows: those that the present spec
// takes, with the target as it says. A model of an older spec gets the columns
// it knows by their names.
func score(ctx context.Context, c Config, comparison *Comparison, models []*model.Model) error {
	scorers := make([]*scorer, len(models))
	for i, m := range models {
		if m != nil {
			scorers[i] = newScorer(m, c.Spec)
		}
	}
	r := newRows(c.Spec)
	err := c.Rows(ctx, func(split string, fields [][]byte) error {
		label, known := c.Spec.Label(fields)
		// A hash puts no group in two splits; by time, its earlier rows are in others.
		if split != dataset.Validation && !(c.Spec.ByTime() && c.Spec.LooksBack()) {
			return nil
		}
		counts := split == dataset.Validation && known && !c.Spec.Excluded(fields)
		if counts {
			r.add(c.Spec, label, fields)
		} else if !c.Spec.LooksBack() {
			return nil
		}
		for _, s := range scorers {
			if s == nil {
				continue
			}
			if err := s.add(fields, counts); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("scoring the validation rows: %w", err)
	}
	comparison.Rows = len(r.labels)
	if groups := evaluate.NewDraws(r.groups.Of).Groups(); groups < comparison.Rows {
		comparison.Groups = groups
	}
	if blocks := evaluate.NewBlockDraws(r.times); blocks != nil {
		comparison.Times = blocks.Groups()
	}
	for i, s := range scorers {
		if s == nil {
			continue
		}
		e := &comparison.Contenders[i]
		if err := e.measure(ctx, s, r, c.Spec); err != nil {
			return fmt.Errorf("version %d on the validation rows: %w", e.Version.Number, err)
		}
	}
	if err := compare(ctx, c.Spec, comparison, scorers, r); err != nil {
		return err
	}
	return compareSlices(ctx, c.Spec, comparison, scorers, r)
}

// measure sets what a contender scored.
func (e *Contender) measure(ctx context.Context, s *scorer, r *rows, spec *dataset.Spec) error {
	rated, err := evaluate.Rate(spec, s.scores, r.labels)
	if err != nil {
		return err
	}
	if e.Metric, err = rated.Metric(spec.Metrics[0], s.model.Serving.Threshold); err != nil {
		return err
	}
	e.Skill = rated.Skill(spec.Metrics[0])
	e.Reliability = evaluate.RateReliability(spec.Task, s.scores, r.labels)
	e.Loose, e.Samples = loose(s.model), len(s.model.Serving.Samples)
	if ranking := rated.Ranking; ranking != nil {
		saved, err := ranking.Gain()
		if err != nil {
			return err
		}
		e.Constant = &saved
	}
	return e.widen(ctx, spec, s.scores, r, rated.Gains(spec.Metrics[0], s.scores, r.labels))
}

// widen makes the intervals of Skill and Constant as wide as draws of groups and of blocks
// of consecutive times say, since rows of a group are alike, and neighbors in time. The
// formulas count each row by itself. gains are those of the rows.
func (e *Contender) widen(ctx context.Context, spec *dataset.Spec, outputs []float32, r *rows, gains []float64) error {
	var draws []*evaluate.Draws
	if groups := evaluate.NewDraws(r.groups.Of); groups.Groups() > 1 && groups.Groups() < len(r.labels) {
		draws = append(draws, groups)
	}
	if blocks := evaluate.NewBlockDraws(r.times, append(evaluate.Likeness(spec, outputs, r.labels), gains)...); blocks != nil {
		draws = append(draws, blocks)
	}
	gain := evaluate.WeighMean(gains)
	skill := gain
	if e.Constant != nil {
		var err error
		if skill, err = evaluate.Weigh(spec, "auc", 0.5, outputs, r.labels); err != nil {
			return err
		}
	}
	t := &contest{measures: []evaluate.Weighed{skill, gain}}
	for _, d := range draws {
		drawn := t.draw(ctx, d)
		low, high := d.Interval(evaluate.NewSpread(drawn.values[0]))
		e.Skill.Low, e.Skill.High = min(e.Skill.Low, low), max(e.Skill.High, high)
		if e.Constant != nil {
			low, high = d.Interval(evaluate.NewSpread(drawn.values[1]))
			e.Constant.Low, e.Constant.High = min(e.Constant.Low, low), max(e.Constant.High, high)
		}
	}
	return ctx.Err()
}

// loose says why a model's predictions need not be right on average; "" if they do.
func loose(m *model.Model) string {
	if w := m.Spec.Weights; w.Balanced || w.Column != "" {
		return "its rows are weighted (weights), so its predictions are not right on average of the rows"
	}
	candidate := m.Spec.Candidate(m.Serving.Candidate)
	if candidate == nil {
		return ""
	}
	switch o := m.Spec.Objective(candidate); o {
	case "reg:absoluteerror", "reg:pseudohubererror":
		return "its objective " + o + " predicts medians, which are not right on average"
	}
	if w, set := candidate.Params["scale_pos_weight"]; set && fmt.Sprint(w) != "1" {
		return fmt.Sprintf("its rows are weighted (scale_pos_weight %v), so its probabilities are not how frequent the outcome is", w)
	}
	return ""
}
