package page

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mlops/internal/mlflow"
	"mlops/internal/postgres"
)

func TestPivot(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	production := "production"
	header, rows := pivot([]versionFigure{
		{"b", 2, &production, at, "test_auc", 0.75},
		{"b", 2, &production, at, "test_log_loss", 0.123456},
		{"b", 1, nil, at.Add(-time.Hour), "test_auc", 0.7},
		{"c", 1, nil, at, "test_rmse", 12345.678},
	})
	if diff := cmp.Diff([]string{"model", "version", "aliases", "registered", "auc", "log_loss", "rmse"}, header); diff != "" {
		t.Errorf("header (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([][]string{
		{"b", "2", "production", "2026-01-02 03:04", "0.75", "0.1235", ""},
		{"b", "1", "", "2026-01-02 02:04", "0.7", "", ""},
		{"c", "1", "", "2026-01-02 03:04", "", "", "1.235e+04"},
	}, rows); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	var many []versionFigure
	for i := range 2 * figuresVersions {
		many = append(many, versionFigure{"m", 1000 - i, nil, at, "test_auc", 1})
	}
	if _, rows := pivot(many); len(rows) != figuresVersions || rows[0][1] != "1000" {
		t.Errorf("%d rows of %d versions, the first of version %s", len(rows), len(many), rows[0][1])
	}
}

// The dashboard Model shows how the versions in the real MLflow did; the others have no
// such table. A Postgres that can't be reached is said, and nothing else is missing.
func TestMonitorShowsFigures(t *testing.T) {
	t.Parallel()
	url, uri := os.Getenv("MLOPS_TEST_POSTGRES"), os.Getenv("MLOPS_TEST_MLFLOW")
	if url == "" || uri == "" {
		t.Skip("SKIPPED, NOT PASSED: MLOPS_TEST_POSTGRES and MLOPS_TEST_MLFLOW name no servers")
	}
	ctx := t.Context()
	name := fmt.Sprintf("<i>page_%d", time.Now().UnixNano())
	client, err := mlflow.New(uri, mlflow.Options{})
	if err != nil {
		t.Fatal(err)
	}
	experiment, err := client.EnsureExperiment(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	run, err := client.CreateRun(ctx, mlflow.NewRun{ExperimentID: experiment.ID, Name: "r", Start: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	if err := client.LogBatch(ctx, run.ID, mlflow.Batch{Metrics: []mlflow.Metric{{Key: "test_odd_metric", Value: 0.734375, Time: time.Now()}}}); err != nil {
		t.Fatal(err)
	}
	if err := client.EnsureModel(ctx, name, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := client.CreateVersion(ctx, mlflow.NewVersion{Name: name, RunID: run.ID, Source: run.ArtifactURI}); err != nil {
		t.Fatal(err)
	}

	f := newFakePrometheus(t)
	s := monitorPage(t, f)
	s.UseFigures(postgres.Config{ConnString: url})
	body := get(s, "/monitor?board=model").Body.String()
	for _, want := range []string{"Metrics by version", strings.Replace(name, "<i>", "&lt;i&gt;", 1), ">odd_metric</th>", ">0.7344</td>"} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(body, "<i>page_") || strings.Contains(get(s, "/monitor?board=serving").Body.String(), "Metrics by version") {
		t.Error("a name is not escaped, or another dashboard has the table")
	}

	s = monitorPage(t, f)
	s.UseFigures(postgres.Config{ConnString: "host=127.0.0.1 port=1"})
	body = get(s, "/monitor?board=model").Body.String()
	if !strings.Contains(body, "database could not be asked") || strings.Count(body, "<svg") < 5 {
		t.Errorf("without a Postgres: %d pictures\n%s", strings.Count(body, "<svg"), body)
	}
}
