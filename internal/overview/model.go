package overview

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"

	"mlops/internal/api"
	"mlops/internal/dataset"
	"mlops/internal/model"
)

// Scores asks a server to score its model's samples, and compares the
// response with what is stored with them.
func Scores(ctx context.Context, server *api.Client, m *api.Model) error {
	if len(m.Samples) == 0 {
		return errors.New("the version has no samples")
	}
	records := make([]any, len(m.Samples))
	for i, s := range m.Samples {
		records[i] = s.Body(m.Dataset.Earlier != nil)
	}
	got, err := server.Predict(ctx, records)
	if err != nil {
		return err
	}
	return compareScores(m, got)
}

// Example is a sample of a model with what a server says of it, for
// people: a command to paste and its answer.
func Example(ctx context.Context, server *api.Client, m *api.Model, spec *dataset.Spec, db Databases) (string, error) {
	if len(m.Samples) == 0 {
		return "", fmt.Errorf("version %s of %s has no samples", m.Model.Number, m.Model.Name)
	}
	record := m.Samples[0].Record
	request := m.Dataset.Example(m.Samples[0])
	got, err := server.Predict(ctx, request)
	if err != nil {
		return "", err
	}
	if len(got.Predictions) != 1 {
		return "", fmt.Errorf("sent one record, got %d predictions", len(got.Predictions))
	}
	body, err := json.Marshal(request)
	if err != nil {
		return "", fmt.Errorf("encoding the sample: %w", err)
	}
	what, truth := "a made-up record", ""
	if spec.RealSamples() {
		what = "a record of the test rows"
		if truth, err = db.Truth(ctx, spec, record); err != nil {
			return "", err
		}
		truth = " The truth: " + truth + "."
	}
	key := ""
	if server.HasKey() {
		key = ` -H "Authorization: Bearer $KEY"`
	}
	p := &got.Predictions[0]
	if p.Excluded != "" {
		return "", fmt.Errorf("the sample gets no score: %s", p.Excluded)
	}
	return fmt.Sprintf("  in production: %s version %s (%s), on the test rows: %s\n\n", m.Model.Name, m.Model.Number, m.Model.Candidate, splitMetrics(spec.Metrics, "test_", m.Metrics)) +
		fmt.Sprintf("  Paste this to score %s:\n\n  curl -s %s/predict%s -H 'Content-Type: application/json' -d '%s'\n\n", what, server.Base(), key, strings.ReplaceAll(string(body), "'", `'\''`)) +
		fmt.Sprintf("  The answer: %s.%s\n\n", answer(m, p), truth), nil
}

// answer is a prediction in words.
func answer(m *api.Model, p *api.Prediction) string {
	switch m.Task {
	case api.Multiclass:
		return fmt.Sprintf("%s, probability %.4f", p.Class, p.Probabilities[p.Class])
	case api.Regression:
		return fmt.Sprintf("%.6g, between %.6g and %.6g in %.0f of 100 cases", *p.Value, p.Interval[0], p.Interval[1], 100*m.Interval.Coverage)
	}
	return fmt.Sprintf("%s, probability %.4f (positive from %.4f on)", m.Dataset.Target.Labels.Word(p.Label), p.Probability, m.Threshold)
}

// compareScores compares predictions with the samples that they are of.
func compareScores(m *api.Model, got *api.Predictions) error {
	if got.Model.RunID != m.Model.RunID {
		return fmt.Errorf("version %s answered, but /model named version %s", got.Model.Number, m.Model.Number)
	}
	if len(got.Predictions) != len(m.Samples) {
		return fmt.Errorf("sent %d records, got %d predictions", len(m.Samples), len(got.Predictions))
	}
	for i, p := range got.Predictions {
		want := m.Samples[i].Probability
		if p.Excluded != "" {
			return fmt.Errorf("record %d: no score, because %q, but one is stored", i, p.Excluded)
		}
		if m.Task == api.Multiclass || m.Task == api.Regression {
			if err := compareSample(&m.Samples[i], &p); err != nil {
				return fmt.Errorf("record %d: %w", i, err)
			}
			continue
		}
		if !(math.Abs(p.Probability-want) <= model.Tolerance) {
			return fmt.Errorf("record %d: probability %v, stored %v", i, p.Probability, want)
		}
		label := 0
		if p.Probability >= m.Threshold {
			label = 1
		}
		if p.Label != label {
			return fmt.Errorf("record %d: label %d at probability %v, want %d", i, p.Label, p.Probability, label)
		}
	}
	return nil
}

// compareSample compares a prediction of several classes, or of a value.
func compareSample(s *api.Sample, p *api.Prediction) error {
	if s.Value != nil {
		if p.Value == nil || !model.Same(*p.Value, *s.Value) {
			return fmt.Errorf("value %v, stored %v", p.Value, *s.Value)
		}
		if !(p.Interval[0] <= *p.Value && *p.Value <= p.Interval[1]) {
			return fmt.Errorf("value %v is not in its interval, %v to %v", *p.Value, p.Interval[0], p.Interval[1])
		}
		return nil
	}
	if len(p.Probabilities) != len(s.Probabilities) || len(s.Probabilities) == 0 {
		return fmt.Errorf("%d probabilities, stored %d", len(p.Probabilities), len(s.Probabilities))
	}
	for class, want := range s.Probabilities {
		got, ok := p.Probabilities[class]
		if !ok || !model.Same(got, want) {
			return fmt.Errorf("probability %v of %s, stored %v", got, class, want)
		}
		if got > p.Probabilities[p.Class] {
			return fmt.Errorf("label %s, though %s is more probable", p.Class, class)
		}
	}
	return nil
}
