package overview

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"time"

	"mlops/internal/dataset"
	"mlops/internal/model"
)

// Model is what is used of the inference server's answer to GET /model.
type Model struct {
	Model     Version            `json:"model"`
	Threshold float64            `json:"threshold"`
	Metrics   map[string]float64 `json:"metrics"`
	Dataset   struct {
		Name   string `json:"name"`
		Title  string `json:"title"`
		Target struct {
			Labels struct {
				Positive string `json:"positive"`
				Negative string `json:"negative"`
			} `json:"labels"`
		} `json:"target"`
	} `json:"dataset"`
	Samples []struct {
		Record      map[string]string `json:"record"`
		Probability float64           `json:"probability"`
	} `json:"samples"`
	Refused *struct {
		Version string `json:"version"`
		Reason  string `json:"reason"`
	} `json:"refused"`
}

// Word is the target's word for a label.
func (v *Model) Word(label int) string {
	if label == 1 {
		return v.Dataset.Target.Labels.Positive
	}
	return v.Dataset.Target.Labels.Negative
}

func (v *Model) Refusal() string {
	if v.Refused == nil {
		return ""
	}
	return fmt.Sprintf(" and has refused version %s: %s", v.Refused.Version, v.Refused.Reason)
}

// Version is a model version as the API names it.
type Version struct {
	Name      string `json:"name"`
	Number    string `json:"version"`
	RunID     string `json:"run_id"`
	Candidate string `json:"candidate"` // on /model only
}

// Predictions is the answer to POST /predict.
type Predictions struct {
	Model       Version `json:"model"`
	Predictions []struct {
		Label       int     `json:"label"` // 1 is positive
		Probability float64 `json:"probability"`
	} `json:"predictions"`
}

// Predict sends records, as JSON, to the inference server at base.
func Predict(ctx context.Context, base string, body []byte) (Predictions, error) {
	var got Predictions
	err := Call(ctx, http.MethodPost, base+"/predict", body, &got)
	return got, err
}

// Scores asks the server at base for its model's samples, and holds the answer
// against what is stored with them.
func (v *Model) Scores(ctx context.Context, base string) error {
	if len(v.Samples) == 0 {
		return errors.New("the version holds no samples")
	}
	records := make([]map[string]string, len(v.Samples))
	for i, s := range v.Samples {
		records[i] = s.Record
	}
	body, err := json.Marshal(records)
	if err != nil {
		return err
	}
	got, err := Predict(ctx, base, body)
	if err != nil {
		return err
	}
	return CompareScores(*v, got)
}

// Example is a sample of a model with what the server at base answers to it, for
// people: a command to paste and its answer.
func (v *Model) Example(ctx context.Context, base string, spec *dataset.Spec, db Databases) (string, error) {
	if len(v.Samples) == 0 {
		return "", fmt.Errorf("version %s of %s holds no sample record", v.Model.Number, v.Model.Name)
	}
	sample := v.Samples[0]
	body, err := json.Marshal(sample.Record)
	if err != nil {
		return "", fmt.Errorf("encoding the sample record: %w", err)
	}
	got, err := Predict(ctx, base, body)
	if err != nil {
		return "", err
	}
	if len(got.Predictions) != 1 {
		return "", fmt.Errorf("one record was sent, %d predictions came back", len(got.Predictions))
	}
	truth, err := db.Truth(ctx, spec, sample.Record)
	if err != nil {
		return "", err
	}
	p := got.Predictions[0]
	return fmt.Sprintf("  in production: %s version %s (%s), on the test rows: %s\n\n", v.Model.Name, v.Model.Number, v.Model.Candidate, testMetrics(spec, v.Metrics)) +
		fmt.Sprintf("  A record of the test rows, to paste:\n\n  curl -s %s/predict -H 'Content-Type: application/json' -d '%s'\n\n", base, strings.ReplaceAll(string(body), "'", `'\''`)) +
		fmt.Sprintf("  answers: %s, probability %.4f (positive from %.4f on); the truth: %s\n\n", v.Word(p.Label), p.Probability, v.Threshold, truth), nil
}

// maxAnswer bounds what is read of an answer.
const maxAnswer = 16 << 20

// Get reads the answer into v, where v is not nil.
func Get(ctx context.Context, url string, v any) error {
	return Call(ctx, http.MethodGet, url, nil, v)
}

// Call sends a body, where it is not nil, and reads the answer into v likewise.
func Call(ctx context.Context, method, url string, body []byte, v any) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("asking %s: %w", url, err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err // names method and address
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("reading the answer of %s: %w", url, err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s: %s", method, url, resp.Status, strings.TrimSpace(string(text[:min(len(text), 500)])))
	}
	if v == nil {
		return nil
	}
	if err := json.Unmarshal(text, v); err != nil {
		return fmt.Errorf("reading the answer of %s: %w", url, err)
	}
	return nil
}

// CompareScores holds predictions against the samples that they are of.
func CompareScores(view Model, got Predictions) error {
	if got.Model.RunID != view.Model.RunID {
		return fmt.Errorf("version %s answered, /model said %s", got.Model.Number, view.Model.Number)
	}
	if len(got.Predictions) != len(view.Samples) {
		return fmt.Errorf("%d records, %d predictions", len(view.Samples), len(got.Predictions))
	}
	for i, p := range got.Predictions {
		want := view.Samples[i].Probability
		if !(math.Abs(p.Probability-want) <= model.Tolerance) {
			return fmt.Errorf("record %d: probability %v, stored %v", i, p.Probability, want)
		}
		label := 0
		if p.Probability >= view.Threshold {
			label = 1
		}
		if p.Label != label {
			return fmt.Errorf("record %d: label %d at probability %v, want %d", i, p.Label, p.Probability, label)
		}
	}
	return nil
}

// testMetrics writes the metrics of the test rows in the spec's order.
func testMetrics(spec *dataset.Spec, m map[string]float64) string {
	var words []string
	for _, name := range spec.Metrics {
		if v, ok := m["test_"+name]; ok {
			words = append(words, fmt.Sprintf("%s %.4f", strings.ReplaceAll(name, "_", " "), v))
		}
	}
	return strings.Join(words, ", ")
}
