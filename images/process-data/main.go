// Process-data cleans the batches of the database raw that the database clean
// does not have yet.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"mlops/internal/dataset"
	"mlops/internal/ingest"
	"mlops/internal/postgres"
)

func main() {
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "unexpected argument %q\n", flag.Arg(0))
		os.Exit(2)
	}
	// Rows pass through a few buffers; little garbage is let pile up.
	debug.SetGCPercent(50)
	debug.SetMemoryLimit(64 << 20)

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	logger := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	err := run(ctx, logger)
	if err != nil {
		logger.Error("process-data failed", "error", err.Error())
	}
	os.Exit(ingest.ExitCode(err))
}

func run(ctx context.Context, logger *slog.Logger) error {
	text, err := os.ReadFile(os.Getenv("MLOPS_SPEC"))
	if err != nil {
		return fmt.Errorf("reading the spec that MLOPS_SPEC names: %w", err)
	}
	spec, err := dataset.Parse(text)
	if err != nil {
		return fmt.Errorf("%s:\n%w", os.Getenv("MLOPS_SPEC"), err)
	}
	report, err := ingest.Process(ctx, ingest.Config{
		Spec:     spec,
		Postgres: postgres.Config{ConnString: postgres.ConnString(os.Getenv("PGHOST"), os.Getenv("PGPORT"), os.Getenv("PGUSER"), os.Getenv("PGPASSWORD"))},
		Logger:   logger,
	})
	if err != nil {
		return err
	}
	logger.Info("process-data ended", "batches", report.Batches, "rows", report.Rows, "rejected", report.Rejected)
	return nil
}
