// Load-raw-data brings one batch of records (with --all, all that are left)
// from the data set's source into the database raw.
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
	"mlops/internal/source"
)

func main() {
	address := flag.String("source", "", "URL or path of the source (default: the spec's)")
	batch := flag.Int("batch", ingest.Batch, "records a batch")
	all := flag.Bool("all", false, "load all that is left, not one batch")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "unexpected argument %q\n", flag.Arg(0))
		os.Exit(2)
	}
	// A batch lives in a few buffers; little garbage is let pile up.
	debug.SetGCPercent(50)
	debug.SetMemoryLimit(64 << 20)

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	logger := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	err := run(ctx, logger, *address, *batch, *all)
	if err != nil {
		logger.Error("load-raw-data failed", "error", err.Error())
	}
	os.Exit(ingest.ExitCode(err))
}

func run(ctx context.Context, logger *slog.Logger, address string, batch int, all bool) error {
	text, err := os.ReadFile(os.Getenv("MLOPS_SPEC"))
	if err != nil {
		return fmt.Errorf("reading the spec that MLOPS_SPEC names: %w", err)
	}
	spec, err := dataset.Parse(text)
	if err != nil {
		return fmt.Errorf("%s:\n%w", os.Getenv("MLOPS_SPEC"), err)
	}
	report, err := ingest.LoadRaw(ctx, ingest.Config{
		Spec:     spec,
		Postgres: postgres.Config{ConnString: postgres.ConnString(os.Getenv("PGHOST"), os.Getenv("PGPORT"), os.Getenv("PGUSER"), os.Getenv("PGPASSWORD"))},
		Logger:   logger,
		Source:   address,
		Batch:    batch,
		All:      all,
		Open: source.Options{S3: source.S3{
			Endpoint:  os.Getenv("AWS_ENDPOINT_URL"),
			AccessKey: os.Getenv("AWS_ACCESS_KEY_ID"),
			SecretKey: os.Getenv("AWS_SECRET_ACCESS_KEY"),
		}},
	})
	if err != nil {
		return err
	}
	logger.Info("load-raw-data ended", "source", report.Source, "digest", report.Digest, "batches", report.Batches,
		"rows", report.Rows, "known", report.Known, "rejected", report.Rejected, "used_up", report.UsedUp)
	return nil
}
