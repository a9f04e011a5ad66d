// Package promote is the gate before production: it scores the candidates of
// the newest training and the version in production on the same validation rows
// and moves the alias only to a candidate that is better.
package promote

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"mlops/internal/dataset"
	"mlops/internal/evaluate"
	"mlops/internal/feature"
	"mlops/internal/history"
	"mlops/internal/model"
	"mlops/internal/registry"
	"mlops/internal/signature"
)

// Config is what Run needs.
type Config struct {
	Spec       *dataset.Spec
	DataDigest string
	Rows       dataset.Rows
	Registry   *registry.Registry
	Log        *slog.Logger

	Signer  *signature.Signer // signs what is in production; nil: nothing is signed
	Trusted signature.Trusted // keys whose signatures count besides the signer's

	History *history.Log // remembers the decision; nil: nobody does
	By      string       // who decides: a workflow or a person
}

// Run compares and, where a candidate is better, promotes it. The error is
// ErrRefused where no candidate may be promoted and another try can't help; the
// decision then says so too.
//
// It may be killed at any moment and run again. The alias production moves in
// one call to MLflow; what follows from it (the alias previous before it, the
// tags after it) is repaired at the start of the next run.
func Run(ctx context.Context, c Config) (Decision, error) {
	// First of all: what was rolled back is known only after it.
	champion, err := c.Registry.Repair(ctx)
	if err != nil && !errors.Is(err, registry.ErrNoVersion) {
		return Decision{}, err
	}
	candidates, err := c.Registry.Trained(ctx, registry.Training(c.Spec, c.DataDigest))
	if err != nil {
		return Decision{}, err
	}
	if len(candidates) == 0 {
		return Decision{}, fmt.Errorf("no version of %s was trained on the data as they are now with this spec: run train-model first", c.Spec.Model)
	}
	comparison := Comparison{Spec: c.Spec}
	for _, v := range candidates {
		comparison.Contenders = append(comparison.Contenders, Contender{Version: v, Candidate: true})
	}
	if err := addChampion(ctx, c.Registry, champion, &comparison); err != nil {
		return Decision{}, err
	}
	if comparison.Pinned, err = c.Registry.Pinned(ctx); err != nil {
		return Decision{}, err
	}
	if c.History != nil { // what a promotion that was killed had announced
		if _, err := c.History.Settle(ctx, c.Spec.Model, comparison.Champion.Number); err != nil {
			return Decision{}, err
		}
		if err := c.History.Found(ctx, c.Spec.Model, comparison.Champion.Number, c.By); err != nil {
			return Decision{}, err
		}
	}
	// Where Decide will refuse, nothing has to be scored.
	var subjects []signature.Subject
	if conflict(comparison.Champion, comparison.ChampionSpec, c.Spec) == nil {
		var models []*model.Model
		if models, subjects, err = load(ctx, c, comparison.Contenders, comparison.Champion); err != nil {
			return Decision{}, err
		}
		if comparison.Rows, err = score(ctx, c, comparison.Contenders, models); err != nil {
			return Decision{}, err
		}
	}
	d := Decide(comparison)
	for i, subject := range subjects {
		if e := comparison.Contenders[i]; e.Version.Number == d.Version && e.Unusable == nil {
			if err := sign(ctx, c, e.Version, subject); err != nil {
				return Decision{}, err
			}
		}
	}
	if err := remembered(ctx, c.History, event(c, comparison, d), func() error { return apply(ctx, c.Registry, comparison, d) }); err != nil {
		return Decision{}, err
	}
	c.Log.Info("decided", "model", c.Spec.Model, "version", d.Version, "promoted", d.Promoted, "reason", d.Reason)
	return d, d.Err
}

// addChampion adds the version in production, if there is one.
func addChampion(ctx context.Context, reg *registry.Registry, champion registry.Version, c *Comparison) (err error) {
	if champion.Number == 0 {
		return nil
	}
	c.Champion = champion
	if c.ChampionSpec, err = storedSpec(ctx, reg, champion); err != nil {
		return err
	}
	for _, e := range c.Contenders {
		if e.Version.Number == champion.Number {
			return nil
		}
	}
	c.Contenders = append(c.Contenders, Contender{Version: champion})
	return nil
}

// apply makes the registry what was decided.
func apply(ctx context.Context, reg *registry.Registry, c Comparison, d Decision) error {
	if d.Promoted {
		for _, e := range c.Contenders {
			if e.Version.Number != d.Version {
				continue
			}
			if err := reg.Promote(ctx, e.Version); err != nil {
				return err
			}
		}
	}
	for _, n := range d.Notes {
		if err := reg.Note(ctx, n.Version, n.Outcome, n.Reason); err != nil {
			return err
		}
	}
	return nil
}

// load reads the contenders' models, nil for one that is unusable, and what their
// signatures are over. The error is one that another try may mend.
func load(ctx context.Context, c Config, contenders []Contender, champion registry.Version) ([]*model.Model, []signature.Subject, error) {
	models, subjects := make([]*model.Model, len(contenders)), make([]signature.Subject, len(contenders))
	for i := range contenders {
		e := &contenders[i]
		m, subject, err := c.Registry.Open(ctx, e.Version)
		if err == nil && !e.Candidate && !m.Serving.Synthetic && !c.Spec.RealSamples() {
			err = fmt.Errorf("version %d of %s shows real rows to everyone, and the spec doesn't say samples: real: %w", e.Version.Number, c.Spec.Model, registry.ErrUnusable)
		}
		if err == nil {
			err = genuine(ctx, c, e.Version, subject, e.Version.Number == champion.Number)
		}
		if err == nil {
			if other := comparable(m, c.Spec); other != nil {
				err = fmt.Errorf("version %d of %s: %w: %w", e.Version.Number, c.Spec.Model, other, registry.ErrUnusable)
			}
		}
		if errors.Is(err, registry.ErrUnusable) {
			c.Log.Error("version can't be served", "version", e.Version.Number, "reason", err)
			e.Unusable = err
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		models[i], subjects[i] = m, subject
	}
	return models, subjects, nil
}

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
	if m.Spec.HasHistory() && (!spec.HasHistory() || m.Spec.Group != spec.Group || m.Spec.Order != spec.Order) {
		return fmt.Errorf("it looks at earlier rows by group %s and order %s, and the spec does not: it can't be compared on the same rows", m.Spec.Group, m.Spec.Order)
	}
	return nil
}

// score scores all contenders on the same rows: those that the present spec
// takes, with the target as it says. A model of an older spec gets the columns
// it knows by their names.
func score(ctx context.Context, c Config, contenders []Contender, models []*model.Model) (rows int, err error) {
	scorers := make([]*scorer, len(models))
	for i, m := range models {
		if m != nil {
			scorers[i] = newScorer(m, c.Spec)
		}
	}
	var labels []float32
	err = c.Rows(ctx, func(split string, fields [][]byte) error {
		label, known := c.Spec.Label(fields)
		if split != dataset.Validation {
			return nil // no group has rows in two splits
		}
		counts := known && !c.Spec.Excluded(fields)
		if counts {
			labels = append(labels, label)
		} else if !c.Spec.HasHistory() {
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
		return 0, fmt.Errorf("scoring the validation rows: %w", err)
	}
	for i, s := range scorers {
		if s == nil {
			continue
		}
		e := &contenders[i]
		if err := e.measure(s, labels, c.Spec); err != nil {
			return 0, fmt.Errorf("version %d on the validation rows: %w", e.Version.Number, err)
		}
	}
	return len(labels), nil
}

// measure sets what a contender scored.
func (e *Contender) measure(s *scorer, labels []float32, spec *dataset.Spec) error {
	rated, err := evaluate.Rate(spec, s.scores, labels)
	if err != nil {
		return err
	}
	if e.Metric, err = rated.Metric(spec.Metrics[0], s.model.Serving.Threshold); err != nil {
		return err
	}
	e.Skill = rated.Skill(spec.Metrics[0])
	return nil
}
