// Promote-best-model compares the candidates of the newest training with the
// version in production and puts the best into production if it is better.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"mlops/internal/mlflow"
	"mlops/internal/program"
	"mlops/internal/promote"
	"mlops/internal/registry"
	"mlops/internal/step"
)

func main() { program.Main(run) }

func run(ctx context.Context, log *slog.Logger) error {
	spec, err := step.Spec()
	if err != nil {
		return err
	}
	client, err := step.MLflow(mlflow.Options{UserAgent: "mlops-promote-best-model"})
	if err != nil {
		return err
	}
	// One promotion of a model at a time: the lock is released with the process.
	clean := step.OpenClean(spec, "promote "+spec.Model, log)
	defer clean.Close()
	digest, err := clean.Digest(ctx)
	if err != nil {
		return step.Ingest(err)
	}
	decision, err := promote.Run(ctx, promote.Config{
		Spec:       spec,
		DataDigest: digest,
		Rows:       clean.Rows,
		Registry:   registry.New(client, spec.Model),
		Log:        log,
	})
	if errors.Is(err, promote.ErrRefused) {
		return program.Input(err)
	}
	if err != nil {
		return err
	}
	return step.Output("promoted", fmt.Sprint(decision.Version))
}
