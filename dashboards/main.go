// Command dashboards writes Grafana's dashboards into dashboards/json, where the chart
// finds them. With -check it asks a Prometheus that has seen traffic whether every
// expression has data.
//
//	go run ./dashboards
//	go run ./dashboards -check http://localhost:9090
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"mlops/dashboards/board"
	"mlops/internal/program"
)

func main() { program.Main(run) }

func run(ctx context.Context, log *slog.Logger) error {
	var check, out string
	var interval time.Duration
	err := program.Flags(os.Args[1:], func(f *flag.FlagSet) {
		f.StringVar(&check, "check", "", "check the expressions in the Prometheus at this base URL instead of writing files")
		f.DurationVar(&interval, "interval", time.Minute, "with -check: the interval of rates; at least four scrapes")
		f.StringVar(&out, "out", filepath.Join("dashboards", "json"), "folder to write the files to")
	})
	if err != nil {
		return err
	}
	if check != "" {
		n, err := board.Check(ctx, check, interval, board.Kubelet, board.Containers, board.LoadTest, board.TLS)
		if err != nil {
			return fmt.Errorf("expressions without data:\n%w", err)
		}
		log.Info("every expression has data", "expressions", n)
		return nil
	}
	for _, d := range board.All() {
		text, err := grafana(&d)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(out, d.File()), text, 0o644); err != nil {
			return fmt.Errorf("writing a dashboard: %w", err)
		}
	}
	return nil
}
