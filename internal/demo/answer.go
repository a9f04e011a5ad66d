package demo

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"mlops/internal/api"
	"mlops/internal/mlflow"
	"mlops/internal/origin"
	"mlops/internal/overview"
)

// answer is what make demo ends with.
func (s *services) answer(ctx context.Context, view *api.Model, took time.Duration) (string, error) {
	example, err := overview.Example(ctx, api.NewClient(localhost(s.inference), nil).WithKey(s.key), view, s.spec, func(ctx context.Context, database string) (*pgx.Conn, error) {
		return pgx.Connect(ctx, s.postgres.Steps(database))
	})
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n%s\n\n", view.Dataset.Title)
	fmt.Fprintf(&b, "  page     %s\n", localhost(s.ui))
	fmt.Fprintf(&b, "  API      %s   (POST /predict, GET /model /docs /metrics)\n", localhost(s.inference))
	fmt.Fprintf(&b, "  MLflow   %s\n\n", s.runs(ctx))
	b.WriteString(s.journey.String())
	b.WriteString("\n" + example)
	if s.spec.Synthetic {
		fmt.Fprintf(&b, "  %s\n\n", origin.Warning)
	}
	fmt.Fprintf(&b, "  Ready after %s. make status shows what is running, make demo-down stops it.\n", took.Round(100*time.Millisecond))
	return b.String(), nil
}

// runs is where MLflow's page lists the model's runs. Without a path it shows traces,
// of which there are none.
func (s *services) runs(ctx context.Context) string {
	client, err := mlflow.New(s.mlflow.URL(), mlflow.Options{UserAgent: "mlops-demo"})
	if err != nil {
		return localhost(s.mlflow)
	}
	experiment, err := client.ExperimentByName(ctx, s.spec.Model)
	if err != nil {
		return localhost(s.mlflow)
	}
	return localhost(s.mlflow) + "/#/experiments/" + experiment.ID + "/runs"
}
