package overview

import (
	"context"
	"fmt"
	"math"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"mlops/internal/api"
	"mlops/internal/dataset"
	"mlops/internal/ingest"
	"mlops/internal/mlflow"
	"mlops/internal/model"
	"mlops/internal/registry"
)

// replayed is how many records are sent at a time.
const replayed = 250

// Replay sends all test rows of a data set to the server, as they are stored, and
// compares each score with the one that training left in MLflow. It returns how many
// there are and the largest difference. Where features look at earlier rows, the server
// looks them up.
func Replay(ctx context.Context, server *api.Client, tracking *mlflow.Client, db Databases, spec *dataset.Spec, m *api.Model) (rows int, largest float64, err error) {
	want, err := scores(ctx, tracking, m.Model.RunID)
	if err != nil {
		return 0, 0, err
	}
	conn, err := db(ctx, "clean")
	if err != nil {
		return 0, 0, fmt.Errorf("connecting to the database clean: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var records []api.Record
	send := func() error {
		if len(records) == 0 {
			return nil
		}
		got, err := server.Predict(ctx, records)
		if err != nil {
			return err
		}
		if got.Model.RunID != m.Model.RunID || len(got.Predictions) != len(records) {
			return fmt.Errorf("sent %d records to version %s, got %d predictions of version %s", len(records), m.Model.Number, len(got.Predictions), got.Model.Number)
		}
		for i, p := range got.Predictions {
			for _, w := range p.Warnings {
				if w.Kind == api.EarlierUnavailable {
					return fmt.Errorf("test row %d: %s", rows+i, w.Detail)
				}
			}
			if rows+i >= len(want) || p.Excluded != "" {
				return fmt.Errorf("test row %d has the prediction %+v; MLflow holds the scores of %d rows", rows+i, p, len(want))
			}
			difference := math.Abs(p.Probability - want[rows+i])
			if largest = max(largest, difference); !(difference <= model.Tolerance) {
				return fmt.Errorf("test row %d: probability %v, in training %v: %v", rows+i, p.Probability, want[rows+i], records[i])
			}
		}
		rows += len(records)
		records = records[:0]
		return nil
	}
	err = ingest.Rows(ctx, conn, spec, ingest.Selection{Splits: []string{dataset.Test}}, func(_ string, fields [][]byte) error {
		if _, known := spec.Label(fields); !known || spec.Excluded(fields) {
			return nil
		}
		record := api.Record{}
		for c, v := range fields {
			if v != nil && spec.Columns[c].Name != spec.Target.Column {
				record[spec.Columns[c].Name] = string(v)
			}
		}
		if records = append(records, record); len(records) < replayed {
			return nil
		}
		return send()
	})
	if err == nil {
		err = send()
	}
	if err == nil && rows != len(want) {
		err = fmt.Errorf("%d test rows, and MLflow holds the scores of %d", rows, len(want))
	}
	return rows, largest, err
}

// scores reads the scores that training left of its test rows.
func scores(ctx context.Context, tracking *mlflow.Client, run string) ([]float64, error) {
	r, err := tracking.GetRun(ctx, run)
	if err != nil {
		return nil, err
	}
	root, err := tracking.ArtifactPath(r.ArtifactURI)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "scores-")
	if err != nil {
		return nil, fmt.Errorf("creating a folder: %w", err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "scores")
	if err := tracking.DownloadArtifact(ctx, path.Join(root, registry.TestScores), file, 1<<30); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var list []float64
	for _, line := range strings.Fields(string(text)) {
		x, err := strconv.ParseFloat(line, 64)
		if err != nil {
			return nil, fmt.Errorf("%s: line %d: %w", registry.TestScores, len(list)+1, err)
		}
		list = append(list, x)
	}
	return list, nil
}
