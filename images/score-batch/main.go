// Score-batch scores a whole table with the inference server: a file, an object of S3 or a
// table of the database raw, into a table of the database clean (schema scored) or an
// object of S3. It may be killed and run again: each record is in the target once.
//
// It reads the environment: MLOPS_SPEC, PGHOST, PGPORT, PGUSER, PGPASSWORD,
// MLOPS_INFERENCE (the server's URL), MLOPS_API_KEY (where it wants one),
// AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"mlops/internal/api"
	"mlops/internal/bulk"
	"mlops/internal/parquet"
	"mlops/internal/program"
	"mlops/internal/source"
	"mlops/internal/step"
)

// requestLimit is how long the server may take for one request, its queue included.
const requestLimit = 5 * time.Minute

func main() {
	step.FrugalMemory()
	program.Main(run)
}

func run(ctx context.Context, log *slog.Logger) error {
	s3 := source.S3{
		Endpoint:  os.Getenv("AWS_ENDPOINT_URL"),
		AccessKey: os.Getenv("AWS_ACCESS_KEY_ID"),
		SecretKey: os.Getenv("AWS_SECRET_ACCESS_KEY"),
		Region:    os.Getenv("AWS_REGION"),
	}
	cfg := bulk.Config{Postgres: step.Postgres(), S3: s3, Open: source.Options{Parquet: parquet.Open, S3: s3}, Logger: log}
	server := program.EnvOr("MLOPS_INFERENCE", "http://localhost:8000")
	err := program.Flags(os.Args[1:], func(f *flag.FlagSet) {
		f.StringVar(&cfg.From, "from", "", "`URL` or path of a file, or a table of the database raw (default: the data set's)")
		f.StringVar(&cfg.To, "to", "", "s3://bucket/key, or a `table` of the schema scored in the database clean (default: the data set's name)")
		f.StringVar(&server, "server", server, "`URL` of the inference server")
		f.IntVar(&cfg.Part, "part", 0, "`records` per part (default 10000)")
	})
	if err != nil {
		return err
	}
	if cfg.Spec, err = step.Spec(); err != nil {
		return err
	}
	cfg.Client = api.NewClient(server, &http.Client{Timeout: requestLimit})
	if key := strings.TrimSpace(program.EnvOr("MLOPS_API_KEY", "")); key != "" {
		cfg.Client = cfg.Client.WithKey(key)
	}
	report, err := bulk.Run(ctx, cfg)
	log.Info("score-batch ended", "report", report)
	if err != nil {
		return err
	}
	if report.Missed > 0 {
		log.Warn("rows came behind the run with a key before its last one, and are not scored; give the target another name to score all of them", "rows", report.Missed)
	}
	text, err := json.Marshal(report)
	if err != nil {
		return err
	}
	if err := step.Output("report", string(text)); err != nil {
		if _, set := os.LookupEnv("MLOPS_OUTPUTS"); set {
			return err
		}
	}
	return nil
}
