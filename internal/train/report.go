package train

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"mlops/internal/dataset"
	"mlops/internal/evaluate"
	"mlops/internal/inspect"
	"mlops/internal/mlflow"
	"mlops/internal/model"
)

// reports adds what is known of how good the model is, for programs and for people.
func (r *recorder) reports(f *Fitted, files map[string][]byte) (err error) {
	if files[FileEvaluation], err = json.MarshalIndent(f.Report, "", " "); err != nil {
		return fmt.Errorf("writing the evaluation: %w", err)
	}
	if len(f.Report.Slices) > 0 {
		if files[FileSlices], err = json.Marshal(slicesTable(r.spec, f.Report)); err != nil {
			return fmt.Errorf("writing the slices: %w", err)
		}
	}
	if f.Search != nil {
		if files["search.json"], err = json.MarshalIndent(f.Search, "", " "); err != nil {
			return fmt.Errorf("writing the search: %w", err)
		}
	}
	return nil
}

// papers are the files of the version that are for people.
func (r *recorder) papers(d *Data, f *Fitted, found []inspect.Finding) (map[string][]byte, error) {
	c := newCard(r.spec, d, f, found, time.Now(), r.config.DataDigest)
	page, err := c.HTML()
	if err != nil {
		return nil, err
	}
	text, err := c.JSON()
	if err != nil {
		return nil, err
	}
	return map[string][]byte{model.FileCard: text, model.FileCardText: c.Markdown(), model.FileCardPage: page}, nil
}

// tableArtifact is a table artifact as MLflow's log_table writes it: pandas' orientation "split".
type tableArtifact struct {
	Columns []string `json:"columns"`
	Data    [][]any  `json:"data"`
}

// tagTables is how MLflow's pages find table artifacts.
const tagTables = "mlflow.loggedArtifacts"

func slicesTable(spec *dataset.Spec, r *evaluate.Report) tableArtifact {
	t := tableArtifact{Columns: []string{"split", "column", "value", "rows"}}
	names := slices.DeleteFunc(slices.Clone(figureNames(spec.Task)), func(name string) bool {
		return strings.HasPrefix(name, "calibration") // not measured of slices
	})
	for _, name := range names {
		t.Columns = append(t.Columns, name, name+"_low", name+"_high")
	}
	t.Columns = append(t.Columns, "warning")
	for _, s := range r.Slices {
		row := []any{s.Split, s.Column, s.Level, s.Rows}
		for _, name := range names {
			e, ok := s.Figures[name]
			switch {
			case !ok:
				row = append(row, nil, nil, nil)
			case len(e.Interval) != 2:
				row = append(row, e.Value, nil, nil)
			default:
				row = append(row, e.Value, e.Interval[0], e.Interval[1])
			}
		}
		t.Data = append(t.Data, append(row, s.Warning))
	}
	return t
}

// figures are the report's as metrics: test_auc, test_auc_low, test_auc_high and so on.
// Those that the run has already are left out.
func figures(r *evaluate.Report, has map[string]float64) []mlflow.Metric {
	var out []mlflow.Metric
	for _, s := range r.Splits {
		for name, e := range s.Figures {
			key := s.Split + "_" + name
			if _, already := has[key]; !already {
				out = append(out, mlflow.Metric{Key: key, Value: e.Value})
			}
			if len(e.Interval) == 2 {
				out = append(out, mlflow.Metric{Key: key + "_low", Value: e.Interval[0]}, mlflow.Metric{Key: key + "_high", Value: e.Interval[1]})
			}
		}
		if len(s.Confusion) == 2 && r.Task == dataset.Binary {
			for i, name := range []string{"true_negatives", "false_positives", "false_negatives", "true_positives"} {
				out = append(out, mlflow.Metric{Key: s.Split + "_" + name, Value: float64(s.Confusion[i/2][i%2])})
			}
		}
	}
	return out
}

// warnings are the slices whose figures say little, as one log line.
func warnings(r *evaluate.Report) string {
	var all []string
	for _, s := range r.Slices {
		if s.Warning != "" && s.Split == dataset.Validation {
			all = append(all, fmt.Sprintf("%s %s: %s", s.Column, s.Level, s.Warning))
		}
	}
	return strings.Join(all, "; ")
}
