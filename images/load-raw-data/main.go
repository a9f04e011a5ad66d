// Load-raw-data loads one batch of records (with --all, all that are left) from
// the data set's source into the database raw.
package main

import (
	"context"
	"flag"
	"log/slog"
	"os"

	"mlops/internal/ingest"
	"mlops/internal/parquet"
	"mlops/internal/program"
	"mlops/internal/source"
	"mlops/internal/step"
)

func main() {
	step.FrugalMemory()
	program.Main(run)
}

func run(ctx context.Context, log *slog.Logger) error {
	cfg := ingest.Config{Postgres: step.Postgres(), Logger: log, Open: source.Options{Parquet: parquet.Open, S3: source.S3{
		Endpoint:  os.Getenv("AWS_ENDPOINT_URL"),
		AccessKey: os.Getenv("AWS_ACCESS_KEY_ID"),
		SecretKey: os.Getenv("AWS_SECRET_ACCESS_KEY"),
	}}}
	err := program.Flags(os.Args[1:], func(f *flag.FlagSet) {
		f.StringVar(&cfg.Source, "source", "", "URL or path of the source (default: the spec's)")
		f.IntVar(&cfg.Batch, "batch", ingest.Batch, "records per batch")
		f.BoolVar(&cfg.All, "all", false, "load all remaining records, not one batch")
	})
	if err != nil {
		return err
	}
	if cfg.Spec, err = step.Spec(); err != nil {
		return err
	}
	report, err := ingest.LoadRaw(ctx, cfg)
	return step.Report(log, report, err)
}
