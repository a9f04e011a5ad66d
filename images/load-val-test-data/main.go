// Load-val-test-data assigns each row of the database clean to training,
// validation or test; a row keeps its split.
package main

import (
	"context"
	"flag"
	"log/slog"
	"os"

	"mlops/internal/ingest"
	"mlops/internal/program"
	"mlops/internal/step"
)

func main() {
	step.FrugalMemory()
	program.Main(run)
}

func run(ctx context.Context, log *slog.Logger) error {
	if err := program.Flags(os.Args[1:], func(*flag.FlagSet) {}); err != nil {
		return err
	}
	spec, err := step.Spec()
	if err != nil {
		return err
	}
	report, err := ingest.Split(ctx, ingest.Config{Spec: spec, Postgres: step.Postgres(), Logger: log})
	return step.Report(log, report, err)
}
