// Package promote is the gate before production: it scores the candidates of
// the newest training and the version in production on the same validation rows
// and moves the alias only to a candidate that is better.
package promote

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"

	"mlops/internal/dataset"
	"mlops/internal/evaluate"
	"mlops/internal/mlflow"
	"mlops/internal/model"
	"mlops/internal/registry"
)

// Config is what Run needs.
type Config struct {
	Spec       *dataset.Spec
	DataDigest string
	Rows       dataset.Rows
	Registry   *registry.Registry
	Log        *slog.Logger
}

// Report is what Run decided.
type Report struct {
	Version  int    // in production at the end
	Promoted bool   // it was not before
	Reason   string // in words
}

// contender is a version with its score on today's validation rows.
type contender struct {
	version  mlflow.Version
	model    *model.Model
	outsider bool // in production, but not of this training
	scores   []float32
	metric   float64
}

// Run compares and, where a candidate is better, promotes it.
//
// It may be killed at any moment and run again. The alias production moves in
// one call to MLflow; what follows from it (the alias previous before it, the
// tags after it) is put right at the start of the next run.
func Run(ctx context.Context, c Config) (Report, error) {
	training := registry.Training(c.Spec, c.DataDigest)
	candidates, err := c.Registry.Trained(ctx, training)
	if err != nil {
		return Report{}, err
	}
	if len(candidates) == 0 {
		return Report{}, fmt.Errorf("no version of %s was trained on the data as they are now with this spec: run train-model first", c.Spec.Model)
	}
	champion, err := c.champion(ctx)
	if err != nil {
		return Report{}, err
	}
	number := 0
	if champion != nil {
		number = champion.Number
	}
	if err := c.tidy(ctx, number); err != nil {
		return Report{}, err
	}

	entries, refused, err := c.load(ctx, candidates, champion)
	if err != nil {
		return Report{}, err
	}
	rows, err := c.score(ctx, entries)
	if err != nil {
		return Report{}, err
	}
	best, current := leaders(entries, number)
	if best == nil {
		return Report{}, fmt.Errorf("none of the %d candidates of this training can be served: %w", len(candidates), refused)
	}
	metric := c.Spec.Metrics[0]
	report := Report{Version: best.version.Number, Promoted: true}
	says := func(e *contender) string {
		return fmt.Sprintf("version %d (%s) with %.6f", e.version.Number, e.model.Serving.Candidate, e.metric)
	}
	switch {
	case current != nil && best.version.Number == number:
		report.Promoted = false
		report.Reason = fmt.Sprintf("in production: %s is still the best by %s on %d validation rows", says(best), metric, rows)
	case current != nil && !(best.metric > current.metric):
		report = Report{Version: number}
		report.Reason = fmt.Sprintf("not promoted: %s is no better than %s in production, by %s on the same %d validation rows", says(best), says(current), metric, rows)
	case current != nil:
		report.Reason = fmt.Sprintf("promoted: %s is better than %s, by %s on the same %d validation rows", says(best), says(current), metric, rows)
	case champion != nil:
		report.Reason = fmt.Sprintf("promoted: %s is the best by %s on %d validation rows; version %d, in production until now, can't be scored: %v", says(best), metric, rows, number, refused)
	default:
		report.Reason = fmt.Sprintf("promoted: %s is the best by %s on %d validation rows; nothing was in production", says(best), metric, rows)
	}
	if report.Promoted {
		if err := c.move(ctx, best.version.Number, number); err != nil {
			return Report{}, err
		}
	}
	if err := c.explain(ctx, entries, best, current, report, rows); err != nil {
		return Report{}, err
	}
	c.Log.Info("decided", "model", c.Spec.Model, "version", report.Version, "promoted", report.Promoted, "reason", report.Reason)
	return report, nil
}

// champion returns the version in production, or nil.
func (c Config) champion(ctx context.Context) (*mlflow.Version, error) {
	v, err := c.Registry.Client.GetAlias(ctx, c.Spec.Model, registry.Production)
	if errors.Is(err, mlflow.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("asking what is in production: %w", err)
	}
	return &v, nil
}

// tidy makes the tag of the best model and the alias previous agree with the
// alias production, which a run that was killed may have left behind it.
func (c Config) tidy(ctx context.Context, production int) error {
	tagged, err := c.Registry.Tagged(ctx, registry.TagBest, "true")
	if err != nil {
		return err
	}
	has := false
	for _, v := range tagged {
		if v.Number == production {
			has = true
			continue
		}
		if err := c.Registry.Client.DeleteVersionTag(ctx, c.Spec.Model, v.Number, registry.TagBest); err != nil {
			return fmt.Errorf("taking the tag from version %d: %w", v.Number, err)
		}
	}
	if production == 0 {
		return nil
	}
	if !has {
		if err := c.Registry.Client.SetVersionTag(ctx, c.Spec.Model, production, registry.TagBest, "true"); err != nil {
			return fmt.Errorf("tagging version %d: %w", production, err)
		}
	}
	v, err := c.Registry.Client.GetVersion(ctx, c.Spec.Model, production)
	if err != nil {
		return fmt.Errorf("looking up version %d: %w", production, err)
	}
	old, err := strconv.Atoi(v.Tags[registry.TagReplaces])
	if err != nil {
		return nil // the first in production replaces none
	}
	if err := c.Registry.Client.SetAlias(ctx, c.Spec.Model, registry.Previous, old); err != nil {
		return fmt.Errorf("naming version %d previous: %w", old, err)
	}
	return nil
}

// load reads the candidates and the champion. What can't be used is left out
// and said in the second result; the third is for what another try may mend.
func (c Config) load(ctx context.Context, candidates []mlflow.Version, champion *mlflow.Version) (entries []*contender, refused, err error) {
	all := candidates
	if champion != nil {
		among := false
		for _, v := range candidates {
			among = among || v.Number == champion.Number
		}
		if !among {
			all = append(all[:len(all):len(all)], *champion)
		}
	}
	for i, v := range all {
		m, err := c.Registry.Load(ctx, registry.Version{Name: v.Name, Version: strconv.Itoa(v.Number), RunID: v.RunID})
		if errors.Is(err, registry.ErrUnusable) {
			c.Log.Error("version refused", "version", v.Number, "reason", err)
			refused = errors.Join(refused, err)
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		entries = append(entries, &contender{version: v, model: m, outsider: i >= len(candidates)})
	}
	return entries, refused, nil
}

// score scores all contenders on the same rows: those that the present spec
// takes, with the target as it says. A model of an older spec gets the columns
// it knows by their names.
func (c Config) score(ctx context.Context, entries []*contender) (rows int, err error) {
	type plan struct {
		columns []int // of the present spec, for each column of the model's; -1: none
		fields  [][]byte
		vector  []float32
	}
	plans := make([]plan, len(entries))
	for i, e := range entries {
		p := plan{vector: make([]float32, e.model.Encoder.Width()), fields: make([][]byte, len(e.model.Spec.Columns))}
		for _, col := range e.model.Spec.Columns {
			p.columns = append(p.columns, c.Spec.Column(col.Name))
		}
		plans[i] = p
	}
	var labels []float32
	err = c.Rows(ctx, func(split string, fields [][]byte) error {
		label, known := c.Spec.Label(fields)
		if split != dataset.Validation || !known || c.Spec.Excluded(fields) {
			return nil
		}
		labels = append(labels, label)
		for i, e := range entries {
			p := &plans[i]
			for to, from := range p.columns {
				p.fields[to] = nil
				if from >= 0 {
					p.fields[to] = fields[from]
				}
			}
			e.model.Encoder.Encode(p.vector, p.fields)
			e.scores = append(e.scores, e.model.Trees.Score(p.vector))
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("scoring the validation rows: %w", err)
	}
	for _, e := range entries {
		ranking, err := evaluate.Rank(e.scores, labels)
		if err != nil {
			return 0, fmt.Errorf("version %d on the validation rows: %w", e.version.Number, err)
		}
		if e.metric, err = ranking.Metric(c.Spec.Metrics[0], e.model.Serving.Threshold); err != nil {
			return 0, fmt.Errorf("version %d on the validation rows: %w", e.version.Number, err)
		}
	}
	return len(labels), nil
}

// leaders returns the best candidate of this training, and the version in
// production where it could be scored. Of equal candidates the one in production
// wins, then the oldest.
func leaders(entries []*contender, production int) (best, current *contender) {
	for _, e := range entries {
		if e.version.Number == production {
			current = e
		}
		if e.outsider {
			continue
		}
		if best == nil || e.metric > best.metric || e.metric == best.metric && e == current {
			best = e
		}
	}
	return best, current
}

// move puts a version into production. What it replaces is noted first, so that
// the alias previous can be put right after a kill.
func (c Config) move(ctx context.Context, next, old int) error {
	client, name := c.Registry.Client, c.Spec.Model
	if old != 0 {
		if err := client.SetVersionTag(ctx, name, next, registry.TagReplaces, strconv.Itoa(old)); err != nil {
			return fmt.Errorf("noting what version %d replaces: %w", next, err)
		}
	}
	if err := client.SetAlias(ctx, name, registry.Production, next); err != nil {
		return fmt.Errorf("putting version %d into production: %w", next, err)
	}
	return c.tidy(ctx, next)
}

// explain leaves on each candidate, its version and its run, the reason why it
// was or was not promoted. What stays in production keeps the reason for which
// it was promoted, where the run that did so lived to note it: on the version
// last, so that one there means that both are.
func (c Config) explain(ctx context.Context, entries []*contender, best, current *contender, report Report, rows int) error {
	for _, e := range entries {
		var reason string
		switch {
		case e == current && !report.Promoted && strings.HasPrefix(e.version.Tags[registry.TagPromotion], "promoted: "):
			continue
		case e == current && !report.Promoted:
			reason = fmt.Sprintf("promoted: by a run that was cut short before it noted why; %.6f by %s on %d validation rows", e.metric, c.Spec.Metrics[0], rows)
		case e == best:
			reason = report.Reason
		case e == current:
			reason = fmt.Sprintf("replaced by version %d: %.6f against %.6f by %s on the same %d validation rows", best.version.Number, best.metric, e.metric, c.Spec.Metrics[0], rows)
		default:
			reason = fmt.Sprintf("not promoted: %.6f by %s, version %d has %.6f on the same %d validation rows", e.metric, c.Spec.Metrics[0], best.version.Number, best.metric, rows)
		}
		if err := c.Registry.Client.LogBatch(ctx, e.version.RunID, mlflow.Batch{Tags: map[string]string{registry.TagPromotion: reason}}); err != nil {
			return fmt.Errorf("noting the reason on the run of version %d: %w", e.version.Number, err)
		}
		if err := c.Registry.Client.SetVersionTag(ctx, c.Spec.Model, e.version.Number, registry.TagPromotion, reason); err != nil {
			return fmt.Errorf("noting the reason on version %d: %w", e.version.Number, err)
		}
	}
	return nil
}
