// Load-val-test-data shares the rows of the database clean out among training,
// validation and test, once for ever.
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
	if err != nil {
		return step.Ingest(err)
	}
	log.Info("load-val-test-data ended", "assigned", report.Assigned, "rows", report.Rows)
	return nil
}
