package setup

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"mlops/dashboards/board"
	"mlops/internal/mlflow"
	"mlops/internal/postgres"
)

// Grafana's role gets the metrics of versions by the dashboard's own statement out of the
// real MLflow's database, and nothing else.
func TestFigures(t *testing.T) {
	url, uri := os.Getenv("MLOPS_TEST_POSTGRES"), os.Getenv("MLOPS_TEST_MLFLOW")
	if url == "" || uri == "" {
		t.Skip("SKIPPED, NOT PASSED: MLOPS_TEST_POSTGRES and MLOPS_TEST_MLFLOW name no servers")
	}
	ctx := t.Context()
	name := fmt.Sprintf("figures_%d", time.Now().UnixNano())
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
	metric := func(key string, value float64) mlflow.Metric {
		return mlflow.Metric{Key: key, Value: value, Time: time.Now()}
	}
	if err := client.LogBatch(ctx, run.ID, mlflow.Batch{Metrics: []mlflow.Metric{metric("test_auc", 0.75), metric("test_auc_low", 0.7), metric("test_auc_high", 0.8), metric("validation_auc", 0.9)}}); err != nil {
		t.Fatal(err)
	}
	if err := client.EnsureModel(ctx, name, ""); err != nil {
		t.Fatal(err)
	}
	version, err := client.CreateVersion(ctx, mlflow.NewVersion{Name: name, RunID: run.ID, Source: run.ArtifactURI})
	if err != nil {
		t.Fatal(err)
	}
	for _, alias := range []string{"production", "best"} {
		if err := client.SetAlias(ctx, name, alias, version.Number); err != nil {
			t.Fatal(err)
		}
	}

	config, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	config.Database = "mlflow"
	admin, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.Background()
		for _, s := range []string{"DROP OWNED BY " + name, "DROP ROLE " + name} {
			if _, err := admin.Exec(ctx, s); err != nil {
				t.Error(err)
			}
		}
		admin.Close(ctx)
	})
	c := Config{Log: quiet, Roles: []postgres.Role{{Name: name, Password: "figures"}}, Figures: name}
	c.Postgres.ConnString = url
	for range 2 { // it may run again
		if err := Run(ctx, c); err != nil {
			t.Fatal(err)
		}
	}
	config = config.Copy()
	config.User, config.Password = name, "figures"
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	rows, err := conn.Query(ctx, board.VersionMetrics)
	if err != nil {
		t.Fatal(err)
	}
	type figure struct {
		Model      string
		Version    int
		Aliases    *string
		Registered time.Time
		Metric     string
		Value      float64
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[figure])
	if err != nil {
		t.Fatal(err)
	}
	var got []figure
	for _, f := range all {
		if f.Model == name {
			if age := time.Since(f.Registered); age < -time.Minute || age > time.Hour {
				t.Errorf("registered at %v", f.Registered)
			}
			f.Registered = time.Time{}
			got = append(got, f)
		}
	}
	if diff := cmp.Diff([]figure{{name, 1, new("best, production"), time.Time{}, "test_auc", 0.75}}, got); diff != "" {
		t.Errorf("figures (-want +got):\n%s", diff)
	}
	for _, s := range []string{"SELECT source FROM model_versions", "SELECT * FROM latest_metrics", "SELECT value FROM params", "SELECT * FROM tags", "SELECT * FROM secrets",
		"DELETE FROM latest_metrics", "UPDATE model_versions SET version = 2", "CREATE TABLE t ()"} {
		if _, err := conn.Exec(ctx, s); postgres.Code(err) != "42501" {
			t.Errorf("%s: %v, want no right to", s, err)
		}
	}
}
