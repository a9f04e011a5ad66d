package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"mlops/internal/dataset"
	"mlops/internal/local"
)

// modelView is what is used here of the answer to GET /model.
type modelView struct {
	Model     version            `json:"model"`
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

// word is the target's word for a label.
func (v *modelView) word(label int) string {
	if label == 1 {
		return v.Dataset.Target.Labels.Positive
	}
	return v.Dataset.Target.Labels.Negative
}

func (v *modelView) refusal() string {
	if v.Refused == nil {
		return ""
	}
	return fmt.Sprintf(" and has refused version %s: %s", v.Refused.Version, v.Refused.Reason)
}

// version is a model version as the API names it.
type version struct {
	Name      string `json:"name"`
	Number    string `json:"version"`
	RunID     string `json:"run_id"`
	Candidate string `json:"candidate"` // on /model only
}

// predictions is the answer to POST /predict.
type predictions struct {
	Model       version `json:"model"`
	Predictions []struct {
		Label       int     `json:"label"` // 1 is positive
		Probability float64 `json:"probability"`
	} `json:"predictions"`
}

// maxAnswer bounds what is read of an answer.
const maxAnswer = 16 << 20

// getJSON reads the answer into v, where v is not nil.
func getJSON(ctx context.Context, url string, v any) error {
	return call(ctx, http.MethodGet, url, nil, v)
}

func call(ctx context.Context, method, url string, body []byte, v any) error {
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

// answer is what make demo ends with.
func (s *services) answer(ctx context.Context, view modelView, took time.Duration) (string, error) {
	if len(view.Samples) == 0 {
		return "", fmt.Errorf("version %s of %s holds no sample record", view.Model.Number, view.Model.Name)
	}
	sample := view.Samples[0]
	body, err := json.Marshal(sample.Record)
	if err != nil {
		return "", fmt.Errorf("encoding the sample record: %w", err)
	}
	var got predictions
	if err := call(ctx, http.MethodPost, s.inference.URL()+"/predict", body, &got); err != nil {
		return "", err
	}
	if len(got.Predictions) != 1 {
		return "", fmt.Errorf("one record was sent, %d predictions came back", len(got.Predictions))
	}
	truth, err := s.truth(ctx, sample.Record)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n%s\n\n", view.Dataset.Title)
	fmt.Fprintf(&b, "  page     %s\n", localhost(s.ui))
	fmt.Fprintf(&b, "  API      %s   (POST /predict, GET /model /docs /metrics)\n", localhost(s.inference))
	fmt.Fprintf(&b, "  MLflow   %s\n\n", localhost(s.mlflow))
	fmt.Fprintf(&b, "  in production: %s version %s (%s), on the test rows: %s\n\n", view.Model.Name, view.Model.Number, view.Model.Candidate, testMetrics(s.spec, view.Metrics))
	fmt.Fprintf(&b, "  A record of the test rows, to paste:\n\n  curl -s %s/predict -H 'Content-Type: application/json' -d '%s'\n\n", localhost(s.inference), strings.ReplaceAll(string(body), "'", `'\''`))
	p := got.Predictions[0]
	fmt.Fprintf(&b, "  answers: %s, probability %.4f (positive from %.4f on); the truth: %s\n\n", view.word(p.Label), p.Probability, view.Threshold, truth)
	if s.table.synthetic {
		fmt.Fprintf(&b, "  !! All of this is from a SYNTHETIC table: the real one was not found. !!\n\n")
	}
	fmt.Fprintf(&b, "  Ready after %s. make status shows what runs, make demo-down stops it.\n", took.Round(100*time.Millisecond))
	return b.String(), nil
}

func localhost(r *local.Record) string { return fmt.Sprintf("http://localhost:%d", r.Port) }

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

// truth looks up the target of a sample, which was stored without key and
// target, among the test rows: all its other columns have to be equal.
func (s *services) truth(ctx context.Context, record map[string]string) (string, error) {
	conn, err := pgx.Connect(ctx, s.postgres.Steps("clean"))
	if err != nil {
		return "", fmt.Errorf("connecting to the database clean: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	sql, args := truthQuery(s.spec, record)
	rows, err := conn.Query(ctx, sql, args...)
	if err != nil {
		return "", fmt.Errorf("looking up the sample's row: %w", err)
	}
	values, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return "", fmt.Errorf("looking up the sample's row: %w", err)
	}
	switch len(values) {
	case 0:
		return "", fmt.Errorf("the sample stored with the model is no row of clean.%s", s.spec.Name)
	case 1:
		label := s.spec.Target.Labels.Negative
		if slices.Contains(s.spec.Target.Positive, values[0]) {
			label = s.spec.Target.Labels.Positive
		}
		return fmt.Sprintf("%s (%s is %s)", label, s.spec.Target.Column, values[0]), nil
	}
	return "not known, several rows look like this", nil
}

func truthQuery(spec *dataset.Spec, record map[string]string) (string, []any) {
	var where []string
	var args []any
	for i, c := range spec.Columns {
		if spec.Ignored(i) {
			continue
		}
		name := pgx.Identifier{c.Name}.Sanitize()
		v, ok := record[c.Name]
		if !ok {
			where = append(where, name+" IS NULL")
			continue
		}
		args = append(args, v)
		cast := map[dataset.Type]string{dataset.Integer: "bigint", dataset.Number: "double precision", dataset.Category: "text"}[c.Type]
		// Through text: the value goes over as it stands in the record.
		where = append(where, fmt.Sprintf("%s = $%d::text::%s", name, len(args), cast))
	}
	target := pgx.Identifier{spec.Target.Column}.Sanitize()
	return fmt.Sprintf("SELECT DISTINCT %s::text FROM %s WHERE split = 'test' AND %s IS NOT NULL AND %s",
		target, pgx.Identifier{spec.Name}.Sanitize(), target, strings.Join(where, " AND ")), args
}
