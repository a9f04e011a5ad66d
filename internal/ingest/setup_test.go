package ingest

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"mlops/internal/dataset"
	"mlops/internal/postgres"
)

var quiet = slog.New(slog.DiscardHandler)

// specText is a table of four columns; keys is its lines for key and group.
func specText(keys string) string {
	return `name: things
title: Things
description: Things to test with.
model: things
task: binary
missing: ["?"]
rejects: {at_most: 100%}
` + keys + `
columns:
  - {name: id, type: integer}
  - {name: who, type: category}
  - {name: Size-cm, type: number, min: 0, max: 300}
  - {name: good, type: category}
target:
  column: good
  positive: [yes]
  labels: {positive: good, negative: bad}
split: {salts: [s1, s2], train: 60, validation: 20, test: 20}
features:
  - {number: Size-cm}
threshold: {maximize: f1}
metrics: [auc]
candidates:
  - {name: one, rounds: 10, params: {eta: 0.1}}
`
}

const header = "id,who,Size-cm,good\n"

func parse(t testing.TB, text string) *dataset.Spec {
	t.Helper()
	spec, err := dataset.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

var databases atomic.Int32

// setup makes two databases of the test's own and returns a Config for them.
func setup(t testing.TB, keys string) Config {
	t.Helper()
	url := os.Getenv("MLOPS_TEST_POSTGRES")
	if url == "" {
		t.Skip("SKIPPED, NOT PASSED: MLOPS_TEST_POSTGRES names no server")
	}
	ctx := context.Background()
	id := fmt.Sprintf("%d_%d", os.Getpid(), databases.Add(1))
	pg := postgres.Config{ConnString: url, Raw: "test_raw_" + id, Clean: "test_clean_" + id, Patience: 10 * time.Second}
	admin, err := postgres.Connect(ctx, pg, "postgres", quiet)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{pg.Raw, pg.Clean} {
		if _, err := admin.Exec(ctx, "CREATE DATABASE "+d); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for _, d := range []string{pg.Raw, pg.Clean} {
			if _, err := admin.Exec(ctx, "DROP DATABASE "+d+" WITH (FORCE)"); err != nil {
				t.Error(err)
			}
		}
		admin.Close(ctx)
	})
	return Config{Spec: parse(t, specText(keys)), Postgres: pg, Logger: quiet}
}

// from returns the Config with a source of that text.
func (c Config) from(t testing.TB, text string) Config {
	t.Helper()
	c.Source = filepath.Join(t.TempDir(), "t.csv")
	if err := os.WriteFile(c.Source, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return c
}

func connect(t testing.TB, cfg Config, database string) *pgx.Conn {
	t.Helper()
	conn, err := postgres.Connect(context.Background(), cfg.Postgres, database, quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// briefly connects until end is called: a check after each of many kills must not use up
// the server's connections.
func briefly(t testing.TB, cfg Config, database string) (conn *pgx.Conn, end func()) {
	t.Helper()
	conn, err := postgres.Connect(context.Background(), cfg.Postgres, database, quiet)
	if err != nil {
		t.Fatal(err)
	}
	return conn, func() { conn.Close(context.Background()) }
}

// query returns a query's rows, their fields joined by "|".
func query(t testing.TB, conn *pgx.Conn, sql string) []string {
	t.Helper()
	var b bytes.Buffer
	if _, err := conn.PgConn().CopyTo(context.Background(), &b, "COPY ("+sql+") TO STDOUT"); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	if b.Len() == 0 {
		return nil
	}
	return strings.Split(strings.ReplaceAll(strings.TrimSuffix(b.String(), "\n"), "\t", "|"), "\n")
}

// load runs LoadRaw and checks that its report adds up.
func load(t testing.TB, cfg Config) Report {
	t.Helper()
	r, err := LoadRaw(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	checkRaw(t, cfg)
	checkReport(t, r)
	return r
}

// checkReport checks that a report adds up.
func checkReport(t testing.TB, r Report) {
	t.Helper()
	var lost int64
	for _, l := range r.Losses {
		lost += l.Rows
	}
	var counted int64
	for reason, rows := range r.Reasons {
		if counted += rows; !slices.Contains(Reasons[r.Step], reason) {
			t.Errorf("%s rejected rows for the reason %q, which it does not have", r.Step, reason)
		}
	}
	if r.Read != r.Taken+r.Known+r.Replaced+r.Rejected || lost != r.Rejected || counted != r.Rejected || r.Step == "" {
		t.Errorf("the report does not add up: %+v", r)
	}
}

// checkRaw checks that raw is whole: each batch of the ledger has just the rows
// and the rejected lines that it says, and nothing else is there.
func checkRaw(t testing.TB, cfg Config) {
	t.Helper()
	conn, end := briefly(t, cfg, cfg.Postgres.Raw)
	defer end()
	if ok, err := exists(context.Background(), conn, "things_batches"); err != nil || !ok {
		return // killed before the first transaction
	}
	bad := query(t, conn, `SELECT b.id, b.rows, b.replaced, r.n, b.rejected, j.n FROM things_batches b
		FULL JOIN (SELECT _batch, count(*) n FROM (SELECT _batch FROM things UNION ALL SELECT _batch FROM things_replaced) r GROUP BY 1) r ON r._batch = b.id
		FULL JOIN (SELECT _batch, sum(rows) n FROM things_rejected GROUP BY 1) j ON j._batch = coalesce(b.id, r._batch)
		WHERE b.id IS NULL OR b.rows + b.replaced <> coalesce(r.n, 0) OR b.rejected <> coalesce(j.n, 0)`)
	bad = append(bad, query(t, conn, `SELECT b.id, b.replaced, r.n FROM things_batches b
		FULL JOIN (SELECT _replaced_by, count(*) n FROM things_replaced GROUP BY 1) r ON r._replaced_by = b.id
		WHERE b.id IS NULL OR b.replaced <> coalesce(r.n, 0)`)...)
	// Batches of a source follow one another without a gap.
	bad = append(bad, query(t, conn, `SELECT * FROM (SELECT id, batch, first_line,
			lag(last_line) OVER w AS before, row_number() OVER w AS n FROM things_batches
			WINDOW w AS (PARTITION BY digest ORDER BY batch)) b
		WHERE batch <> n OR first_line <> coalesce(before + 1, 2)`)...)
	if len(bad) > 0 {
		t.Errorf("raw does not add up with its ledger: %s", strings.Join(bad, "; "))
	}
}

// checkClean checks the same of clean, and that raw = clean + rejected.
func checkClean(t testing.TB, cfg Config) {
	t.Helper()
	raw, endRaw := briefly(t, cfg, cfg.Postgres.Raw)
	defer endRaw()
	clean, endClean := briefly(t, cfg, cfg.Postgres.Clean)
	defer endClean()
	for _, c := range []*pgx.Conn{raw, clean} {
		if ok, err := exists(context.Background(), c, "things_batches"); err != nil || !ok {
			return // killed before the first transaction
		}
	}
	bad := query(t, clean, `SELECT b.batch, b.rows, b.replaced, r.n, b.rejected, j.n FROM things_batches b
		FULL JOIN (SELECT _batch, count(*) n FROM (SELECT _batch FROM things UNION ALL SELECT _batch FROM things_replaced) r GROUP BY 1) r ON r._batch = b.batch
		FULL JOIN (SELECT _batch, sum(rows) n FROM things_rejected GROUP BY 1) j ON j._batch = coalesce(b.batch, r._batch)
		WHERE b.batch IS NULL OR b.rows + b.replaced <> coalesce(r.n, 0) OR b.rejected <> coalesce(j.n, 0)`)
	sums := map[string]string{}
	for _, s := range query(t, raw, "SELECT id, rows + replaced FROM things_batches") {
		id, n, _ := strings.Cut(s, "|")
		sums[id] = n
	}
	for _, s := range query(t, clean, "SELECT batch, rows + replaced + rejected FROM things_batches") {
		if id, n, _ := strings.Cut(s, "|"); sums[id] != n {
			bad = append(bad, fmt.Sprintf("batch %s: %s rows in raw, %s in clean and rejected", id, sums[id], n))
		}
	}
	if len(bad) > 0 {
		t.Errorf("clean does not add up with its ledger: %s", strings.Join(bad, "; "))
	}
}
