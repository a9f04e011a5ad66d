package main

import (
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"

	"mlops/internal/dataset"
	"mlops/internal/host"
	"mlops/internal/ingest"
	"mlops/internal/program"
	"mlops/internal/xgboost"
)

// bench is what the parts that use services share: their own Postgres with the
// databases raw and clean, the spec, its table, and our programs.
type bench struct {
	log   *slog.Logger
	dir   string // for temporary files
	spec  *dataset.Spec
	path  string // of the spec
	table string // CSV file
	admin *url.URL
	venv  string
}

func open(ctx context.Context, log *slog.Logger) (*bench, error) {
	b := &bench{log: log, path: filepath.Join("workflows", "datasets", "diabetes.yaml")}
	spec, err := dataset.Read(b.path)
	if err != nil {
		return nil, err
	}
	b.spec = spec
	address, err := program.Env("MLOPS_TEST_POSTGRES")
	if err != nil {
		return nil, err
	}
	if b.admin, err = url.Parse(address); err != nil {
		return nil, fmt.Errorf("MLOPS_TEST_POSTGRES: %w", err)
	}
	if b.venv, err = program.Env("MLOPS_VENV"); err != nil {
		return nil, err
	}
	if b.dir, err = os.MkdirTemp("", "bench-"); err != nil {
		return nil, fmt.Errorf("creating a temporary folder: %w", err)
	}
	b.table = filepath.Join(b.dir, "table.csv")
	if err := b.unpack(); err != nil {
		b.close()
		return nil, err
	}
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-o", b.dir+"/", "./images/load-raw-data", "./images/process-data", "./images/load-val-test-data")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.close()
		return nil, fmt.Errorf("building the programs: %w\n%s", err, out)
	}
	return b, nil
}

func (b *bench) close() { os.RemoveAll(b.dir) }

// unpack extracts the table from the first of the spec's local sources that exists.
func (b *bench) unpack() error {
	for _, path := range b.spec.Source.Local {
		z, err := zip.OpenReader(path)
		if err != nil {
			continue
		}
		defer z.Close()
		in, err := z.Open(b.spec.Source.Member)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		out, err := os.Create(b.table)
		if err != nil {
			return fmt.Errorf("unpacking the table: %w", err)
		}
		defer out.Close()
		if _, err := io.Copy(out, in); err != nil {
			return fmt.Errorf("unpacking the table: %w", err)
		}
		return nil
	}
	return fmt.Errorf("none of the table's local sources exists: %v", b.spec.Source.Local)
}

// exec runs SQL statements on a database.
func (b *bench) exec(ctx context.Context, database string, statements ...string) error {
	u := *b.admin
	u.Path = "/" + database
	conn, err := pgx.Connect(ctx, u.String())
	if err != nil {
		return fmt.Errorf("connecting to %s: %w", database, err)
	}
	defer conn.Close(ctx)
	for _, s := range statements {
		if _, err := conn.Exec(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return nil
}

// empty drops the databases raw and clean and creates them again.
func (b *bench) empty(ctx context.Context) error {
	return b.exec(ctx, "postgres",
		"DROP DATABASE IF EXISTS raw WITH (FORCE)", "DROP DATABASE IF EXISTS clean WITH (FORCE)",
		"CREATE DATABASE raw", "CREATE DATABASE clean", "CHECKPOINT")
}

// step runs one of our programs and returns its wall-clock time and peak memory
// (MiB).
func (b *bench) step(ctx context.Context, name string, args ...string) (time.Duration, float64, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(b.dir, name), args...)
	password, _ := b.admin.User.Password()
	cmd.Env = append(os.Environ(), "PGHOST="+b.admin.Hostname(), "PGPORT="+b.admin.Port(),
		"PGUSER="+b.admin.User.Username(), "PGPASSWORD="+password, "MLOPS_SPEC="+b.path)
	var log bytes.Buffer
	cmd.Stderr = &log
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, 0, fmt.Errorf("starting %s: %w", name, err)
	}
	done := make(chan float64)
	go func() { done <- mib(host.PeakMemory(cmd.Process.Pid)) }()
	err := cmd.Wait()
	took, peak := time.Since(start), <-done
	if err != nil {
		return 0, 0, fmt.Errorf("%s: %w\n%s", name, err, log.String())
	}
	return took, peak, nil
}

// mib converts bytes to MiB.
func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }

// fill loads, cleans and splits the whole table, starting from empty databases.
func (b *bench) fill(ctx context.Context) error {
	if err := b.empty(ctx); err != nil {
		return err
	}
	for _, s := range [][]string{{"load-raw-data", "--source=" + b.table, "--all"}, {"process-data"}, {"load-val-test-data"}} {
		if _, _, err := b.step(ctx, s[0], s[1:]...); err != nil {
			return err
		}
	}
	return nil
}

// rows returns a function that reads the cleaned rows with the splits of a salt.
func (b *bench) rows(salt string) func(context.Context, func(string, [][]byte) error) error {
	return func(ctx context.Context, row func(string, [][]byte) error) error {
		u := *b.admin
		u.Path = "/clean"
		conn, err := pgx.Connect(ctx, u.String())
		if err != nil {
			return fmt.Errorf("connecting to clean: %w", err)
		}
		defer conn.Close(ctx)
		return ingest.Rows(ctx, conn, b.spec, ingest.Selection{Salt: salt}, row)
	}
}

// openFilled is like open, but also fills the databases and loads XGBoost.
func openFilled(ctx context.Context, log *slog.Logger) (*bench, *xgboost.Library, error) {
	lib, err := library()
	if err != nil {
		return nil, nil, err
	}
	b, err := open(ctx, log)
	if err != nil {
		return nil, nil, err
	}
	if err := b.fill(ctx); err != nil {
		b.close()
		return nil, nil, err
	}
	return b, lib, nil
}

// library loads XGBoost.
func library() (*xgboost.Library, error) {
	path, err := program.Env("MLOPS_XGBOOST")
	if err != nil {
		return nil, err
	}
	return xgboost.Load(path)
}
