package bulk

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/minio/minio-go/v7"

	"mlops/internal/api"
	"mlops/internal/dataset"
	"mlops/internal/postgres"
	"mlops/internal/program"
	"mlops/internal/source"
)

const spec = `name: things
title: Things
model: things
source: {url: "file:///nowhere.csv", ignore: [note]}
key: id
columns:
  - {name: id, type: category}
  - {name: size, type: number}
  - {name: label, type: category}
target: {column: label, positive: ["yes"], labels: {positive: P, negative: N}}
split: {salts: [s1], train: 60, validation: 20, test: 20}
features: [{number: size}]
threshold: {maximize: f1}
metrics: [auc]
candidates: [{name: one, rounds: 1, params: {}}]
`

// scorer is an inference server whose probability is the record's size over 1,000,000. It
// says that version of each response.
type scorer struct {
	mu      sync.Mutex
	version int
	after   func(requests int) // not nil: called before each response
	n       int
}

func (s *scorer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.n++
	if s.after != nil && r.URL.Path == "/predict" {
		s.after(s.n)
	}
	version := s.version
	s.mu.Unlock()
	if r.URL.Path == "/model" {
		fmt.Fprintf(w, `{"model": {"name": "things", "version": "%d"}}`, version)
		return
	}
	in := csv.NewReader(r.Body)
	header, _ := in.Read()
	size := -1
	for i, name := range header {
		if name == "size" {
			size = i
		}
	}
	w.Header().Set(api.ModelHeader, "things/"+strconv.Itoa(version))
	var out bytes.Buffer
	out.WriteString("label,probability,excluded,warnings\n")
	for i := 0; ; i++ {
		record, err := in.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		n, err := strconv.ParseFloat(record[size], 64)
		switch {
		case err != nil:
			api.Problem{Title: "no", Type: api.InvalidRecord, Status: 422, Errors: []api.FieldError{{Record: i, Field: "size", Detail: "is no number"}}}.Write(w)
			return
		case n == 13:
			out.WriteString(",,unlucky,\n")
		default:
			fmt.Fprintf(&out, "0,%v,,\n", n/1e6)
		}
	}
	out.WriteTo(w)
}

type world struct {
	Config
	scorer *scorer
	clean  *pgx.Conn
	raw    *pgx.Conn
}

// setup returns a server, and databases of the test's own.
func setup(t *testing.T) *world {
	t.Helper()
	url := os.Getenv("MLOPS_TEST_POSTGRES")
	if url == "" {
		t.Skip("SKIPPED, NOT PASSED: MLOPS_TEST_POSTGRES names no server")
	}
	s, err := dataset.Parse([]byte(spec))
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	w := &world{scorer: &scorer{version: 1}}
	pg := postgres.Config{ConnString: url}
	connect := func(database string) *pgx.Conn {
		conn, err := postgres.Connect(t.Context(), pg.Defaults(), database, log)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close(context.Background()) })
		return conn
	}
	admin := connect("postgres")
	suffix := fmt.Sprintf("_%d", time.Now().UnixNano())
	pg.Raw, pg.Clean = "bulk_raw"+suffix, "bulk_clean"+suffix
	for _, name := range []string{pg.Raw, pg.Clean} {
		if _, err := admin.Exec(t.Context(), "CREATE DATABASE "+name); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { admin.Exec(context.Background(), "DROP DATABASE "+name+" WITH (FORCE)") })
	}
	w.raw, w.clean = connect(pg.Raw), connect(pg.Clean)
	server := httptest.NewServer(w.scorer)
	t.Cleanup(server.Close)
	w.Config = Config{Spec: s, Client: api.NewClient(server.URL, nil), Postgres: pg, Part: 10, Logger: log, Open: source.Options{TempDir: t.TempDir()}}
	return w
}

func exec(t *testing.T, conn *pgx.Conn, sql string, args ...any) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql, args...); err != nil {
		t.Fatal(err)
	}
}

func text(t *testing.T, conn *pgx.Conn, sql string) (text string) {
	t.Helper()
	if err := conn.QueryRow(t.Context(), sql).Scan(&text); err != nil {
		t.Fatal(err)
	}
	return text
}

// things makes the data set's table in raw, as load-raw-data does.
func (w *world) things(t *testing.T, rows int) {
	t.Helper()
	exec(t, w.raw, `CREATE TABLE IF NOT EXISTS things (id text, size text, label text, _batch integer NOT NULL, _line integer NOT NULL)`)
	exec(t, w.raw, `INSERT INTO things SELECT b || '-' || i, i::text, 'yes', b, i + 1 FROM generate_series(1, $1::int) i, (SELECT coalesce(max(_batch), 0) + 1 AS b FROM things) s`, rows)
}

// Rows of raw are scored once, those that come later by the next call, and all of them
// again by the next version.
func TestTableToTable(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.things(t, 35)
	want := func(r Report, err error, want Report) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, r); diff != "" {
			t.Errorf("report (-want +got):\n%s", diff)
		}
	}
	r, err := Run(t.Context(), w.Config)
	want(r, err, Report{Source: "table things", Target: "things", Model: "things/1", Run: 1, Records: 35, New: 35, Excluded: 1})
	if got := text(t, w.clean, "SELECT format('%s %s %s %s %s %s', count(*), count(DISTINCT _record), count(probability), sum(probability * 1e6), min(_record), max(excluded)) FROM scored.things WHERE _run = 1 AND probability IS DISTINCT FROM 1"); got != "35 35 34 617 1,10 unlucky" {
		t.Errorf("scored.things has %s", got)
	}
	r, err = Run(t.Context(), w.Config)
	want(r, err, Report{Source: "table things", Target: "things", Model: "things/1", Run: 1, Records: 35, Excluded: 1})
	w.things(t, 7)
	exec(t, w.raw, "INSERT INTO things VALUES ('late', '5', 'no', 1, 1)")
	r, err = Run(t.Context(), w.Config)
	want(r, err, Report{Source: "table things", Target: "things", Model: "things/1", Run: 1, Records: 42, New: 7, Excluded: 1, Missed: 1})
	w.scorer.version = 2
	r, err = Run(t.Context(), w.Config)
	want(r, err, Report{Source: "table things", Target: "things", Model: "things/2", Run: 2, Records: 43, New: 43, Excluded: 1})
	if got := text(t, w.clean, "SELECT string_agg(format('%s:%s', _run, n), ' ' ORDER BY _run) FROM (SELECT _run, count(*) n FROM scored.things GROUP BY 1) s"); got != "1:42 2:43" {
		t.Errorf("by run: %s", got)
	}
}

// A version that is replaced within a run scores none of its rows.
func TestSwapped(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.things(t, 40)
	w.scorer.after = func(n int) {
		if n == 4 {
			w.scorer.version = 2
		}
	}
	r, err := Run(t.Context(), w.Config)
	if err != nil {
		t.Fatal(err)
	}
	if got := text(t, w.clean, "SELECT format('%s %s %s', count(*), min(_run), (SELECT string_agg(model, ' ') FROM scored.runs)) FROM scored.things"); got != fmt.Sprintf("40 %d things/2", r.Run) {
		t.Errorf("scored.things has %s; report %+v", got, r)
	}
}

// Whatever moment a run is stopped at, the target ends with each record once.
func TestStopped(t *testing.T) {
	t.Parallel()
	w := setup(t)
	var table strings.Builder
	table.WriteString("id,size,label,note\n")
	const rows = 400
	for i := range rows {
		fmt.Fprintf(&table, "%d,%d,yes,\"a\nb\"\n", i, 1000+i)
	}
	w.From, w.To = filepath.Join(t.TempDir(), "my.csv"), "mine"
	if err := os.WriteFile(w.From, []byte(table.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	stops := 0
	for wait := 3 * time.Millisecond; ; wait += 20 * time.Millisecond {
		ctx, cancel := context.WithTimeout(t.Context(), wait)
		r, err := Run(ctx, w.Config)
		cancel()
		if err == nil {
			if r.Records != rows {
				t.Errorf("%+v", r)
			}
			break
		}
		stops++
		if stops > 400 {
			t.Fatalf("never ends: %v", err)
		}
	}
	t.Logf("stopped %d times", stops)
	if got := text(t, w.clean, "SELECT format('%s %s %s %s', count(*), count(DISTINCT id), round(sum(probability * 1e6 - size::int))::int, (SELECT count(*) FROM scored.runs)) FROM scored.mine"); stops == 0 || got != "400 400 0 1" {
		t.Errorf("stopped %d times: scored.mine has %s", stops, got)
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.things(t, 25)
	exec(t, w.raw, "CREATE TABLE keyless (size text); CREATE TABLE other (id int PRIMARY KEY, weight text); UPDATE things SET size = 'tall' WHERE _line = 20")
	long := filepath.Join(t.TempDir(), "long.csv")
	os.WriteFile(long, []byte("id,size\n1,2\n3,4,5\n"), 0o600)
	exec(t, w.clean, "CREATE SCHEMA scored; CREATE TABLE scored.taken (a int)")
	for _, tt := range []struct{ from, to, want string }{
		{"", "", `row (_batch,_line) = (1,20), column "size": is no number`},
		{"keyless", "", "the table keyless has no primary key"},
		{"nothing", "", "has no table nothing"},
		{long, "", "line 3: 3 fields, want 2"},
		{filepath.Join(t.TempDir(), "none.csv"), "", "no such file"},
		{"things", "runs", "scored.runs lists the runs"},
		{"things", "s3://bucket", "want s3://bucket/key"},
		{"things", "my table", "is no target"},
	} {
		cfg := w.Config
		cfg.From, cfg.To = tt.from, tt.to
		if _, err := Run(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), tt.want) || program.Code(err) != program.BadInput {
			t.Errorf("%q to %q: code %d, %v; want %q", tt.from, tt.to, program.Code(err), err, tt.want)
		}
	}
	exec(t, w.raw, "UPDATE things SET size = '7' WHERE _line = 20")
	cfg := w.Config
	cfg.To = "taken"
	if _, err := Run(t.Context(), cfg); err == nil || program.Code(err) != program.BadInput || !strings.Contains(err.Error(), `scored.taken has other columns ("a")`) {
		t.Errorf("a table with other columns: %v", err)
	}
	// What was wrong is mended: the run goes on where it was.
	if r, err := Run(t.Context(), w.Config); err != nil || r.Records != 25 || r.New != 15 {
		t.Errorf("%+v, %v", r, err)
	}
}

// An object is there as a whole or not at all, also where its run is stopped.
func TestObject(t *testing.T) {
	t.Parallel()
	w := setup(t)
	u, err := url.Parse(os.Getenv("MLOPS_TEST_S3"))
	if err != nil || u.Host == "" {
		t.Skip("SKIPPED, NOT PASSED: MLOPS_TEST_S3 names no server")
	}
	secret, _ := u.User.Password()
	w.S3 = source.S3{Endpoint: "http://" + u.Host, AccessKey: u.User.Username(), SecretKey: secret}
	w.Open.S3 = w.S3
	client, err := w.S3.Client()
	if err != nil {
		t.Fatal(err)
	}
	bucket := fmt.Sprintf("bulk-%d", time.Now().UnixNano())
	if err := client.MakeBucket(t.Context(), bucket, minio.MakeBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.Background()
		for _, name := range []string{"in.csv", "out/scored.csv"} {
			client.RemoveObject(ctx, bucket, name, minio.RemoveObjectOptions{})
		}
		client.RemoveBucket(ctx, bucket)
	})
	var table strings.Builder
	table.WriteString("id,size,label\n")
	const rows = 400
	for i := range rows {
		fmt.Fprintf(&table, "%d,%d,%s\n", i, 1000+i, strings.Repeat("x", 30_000)) // 12 MB: three parts
	}
	if _, err := client.PutObject(t.Context(), bucket, "in.csv", strings.NewReader(table.String()), int64(table.Len()), minio.PutObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	w.From, w.To, w.Part = "s3://"+bucket+"/in.csv", "s3://"+bucket+"/out/scored.csv", 40
	stop := errors.New("stopped")
	ctx, cancel := context.WithCancelCause(t.Context())
	w.scorer.after = func(n int) {
		if n > 17 { // of the ninth part: six or more have been written
			cancel(stop)
		}
	}
	if _, err := Run(ctx, w.Config); err == nil {
		t.Fatal("the run was not stopped")
	}
	if _, err := client.StatObject(t.Context(), bucket, "out/scored.csv", minio.StatObjectOptions{}); minio.ToErrorResponse(err).Code != "NoSuchKey" {
		t.Errorf("a part of the object is there: %v", err)
	}
	w.scorer.after = nil
	r, err := Run(t.Context(), w.Config)
	if err != nil || r.Records != rows || r.New >= rows || r.Run != 1 {
		t.Fatalf("%+v, %v; want a run that was continued", r, err)
	}
	check := func() {
		t.Helper()
		o, err := client.GetObject(t.Context(), bucket, "out/scored.csv", minio.GetObjectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer o.Close()
		all, err := csv.NewReader(o).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"_record", "id", "size", "label", "predicted_label", "probability", "excluded", "warnings"}, all[0]); diff != "" || len(all) != rows+1 {
			t.Fatalf("%d lines, header (-want +got):\n%s", len(all), diff)
		}
		for i, line := range all[1:] {
			if line[0] != strconv.Itoa(i+2) || line[1] != strconv.Itoa(i) || line[5] != fmt.Sprint(float64(1000+i)/1e6) {
				t.Fatalf("line %d: %.80s", i+2, strings.Join(line, ","))
			}
		}
	}
	check()
	// Killed after the object was completed and before that was noted.
	exec(t, w.clean, "UPDATE scored.runs SET ended_at = NULL")
	if r, err := Run(t.Context(), w.Config); err != nil || r.New != 0 || r.Records != rows {
		t.Errorf("%+v, %v", r, err)
	}
	check()
	// Deleted: it is made again, and not called done.
	if err := client.RemoveObject(t.Context(), bucket, "out/scored.csv", minio.RemoveObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	if r, err := Run(t.Context(), w.Config); err != nil || r.New != rows {
		t.Errorf("%+v, %v", r, err)
	}
	check()
	if got := text(t, w.clean, "SELECT count(ended_at)::text FROM scored.runs"); got != "1" {
		t.Errorf("%s runs ended, want 1", got)
	}
}
