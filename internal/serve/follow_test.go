package serve

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mlops/internal/api"
	"mlops/internal/dataset"
	"mlops/internal/earlier"
	"mlops/internal/feature"
	"mlops/internal/ingest"
	"mlops/internal/model"
	"mlops/internal/postgres"
	"mlops/internal/registry"
)

// clinic is a data set in databases of the test's own.
type clinic struct {
	cfg    ingest.Config
	source *earlier.Source
}

func newClinic(t *testing.T) *clinic {
	t.Helper()
	url := os.Getenv("MLOPS_TEST_POSTGRES")
	if url == "" {
		t.Skip("SKIPPED, NOT PASSED: MLOPS_TEST_POSTGRES names no server")
	}
	spec, err := dataset.Parse([]byte(visitsSpec))
	if err != nil {
		t.Fatal(err)
	}
	id := fmt.Sprintf("%d_%d", os.Getpid(), time.Now().UnixNano())
	pg := postgres.Config{ConnString: url, Raw: "test_visits_raw_" + id, Clean: "test_visits_clean_" + id, Patience: 10 * time.Second}
	quiet := slog.New(slog.DiscardHandler)
	admin, err := postgres.Connect(t.Context(), pg, "postgres", quiet)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{pg.Raw, pg.Clean} {
		if _, err := admin.Exec(t.Context(), "CREATE DATABASE "+d); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for _, d := range []string{pg.Raw, pg.Clean} {
			if _, err := admin.Exec(context.Background(), "DROP DATABASE "+d+" WITH (FORCE)"); err != nil {
				t.Error(err)
			}
		}
		admin.Close(context.Background())
	})
	c := &clinic{cfg: ingest.Config{Spec: spec, Postgres: pg, Logger: quiet}, source: earlier.NewSource(pg, 2, quiet)}
	t.Cleanup(c.source.Close)
	return c
}

// load brings rows to clean, by the real steps.
func (c *clinic) load(t *testing.T, rows [][][]byte) {
	t.Helper()
	var table bytes.Buffer
	for i := range c.cfg.Spec.Columns {
		table.WriteString(map[bool]string{true: ","}[i > 0] + c.cfg.Spec.Columns[i].Name)
	}
	for _, r := range rows {
		r = slices.Clone(r)
		r[5] = []byte{'0' + r[0][0]%2} // two labels
		table.WriteString("\n" + string(bytes.Join(r, []byte(","))))
	}
	cfg := c.cfg
	cfg.Source, cfg.All = filepath.Join(t.TempDir(), "t.csv"), true
	if err := os.WriteFile(cfg.Source, table.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, step := range []func(context.Context, ingest.Config) (ingest.Report, error){ingest.LoadRaw, ingest.Process, ingest.Split} {
		if _, err := step(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
	}
}

// vectors are those that training would make of all rows, with the rows.
func (c *clinic) vectors(t *testing.T, e *feature.Encoder) (rows [][][]byte, vectors [][]float32) {
	t.Helper()
	conn, err := postgres.Connect(t.Context(), c.cfg.Postgres, c.cfg.Postgres.Clean, c.cfg.Logger)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	stream := e.Stream()
	err = ingest.Rows(t.Context(), conn, c.cfg.Spec, ingest.Selection{}, func(_ string, fields [][]byte) error {
		row := make([][]byte, len(fields))
		for i, f := range fields {
			row[i] = bytes.Clone(f)
		}
		vector := make([]float32, e.Width())
		rows, vectors = append(rows, row), append(vectors, vector)
		return stream.Encode(vector, fields)
	})
	if err != nil {
		t.Fatal(err)
	}
	return rows, vectors
}

// same checks that records of all rows get training's vectors.
func (c *clinic) same(t *testing.T, s *Server, served *served) {
	t.Helper()
	e := served.model.Encoder
	rows, want := c.vectors(t, e)
	var err error
	for i, r := range rows {
		if e.Spec().Excluded(r) {
			continue
		}
		x := &exchange{memory: &memory{total: 1 << 20}}
		if x.body, err = json.Marshal(sent(e.Spec(), r)); err != nil {
			t.Fatal(err)
		}
		s.findEarlier(t.Context(), x, served)
		var got []float32
		d := decoder{exchange: x}
		if err := d.decode(x.body, e, func() []float32 { got = make([]float32, e.Width()); return got }); err != nil {
			t.Fatal(err)
		}
		if !sameVector(got, want[i]) || slices.ContainsFunc(x.warnings, func(w warning) bool { return w.odd == feature.NoEarlier }) {
			t.Fatalf("row %s is %v with %d warnings, in training %v", r[0], got, len(x.warnings), want[i])
		}
	}
}

// TestFollowsPostgres loads batch after batch, one of them with rows that come before
// known ones, and expects the vectors that a training would make now: of a server that
// holds rows, and of one that asks for those of each request.
func TestFollowsPostgres(t *testing.T) {
	t.Parallel()
	c := newClinic(t)
	all := visitRows(700)
	e, _, trained := looking(t, all[:350])
	first := slices.DeleteFunc(slices.Clone(all[:350]), func(r [][]byte) bool { return bytes.HasSuffix(r[0], []byte("30")) })
	c.load(t, first)
	var log bytes.Buffer
	dir := t.TempDir()
	start := func(o Options) (*Server, *served) {
		t.Helper()
		o.Model, o.Cache, o.Log = "visits", dir, slog.New(slog.NewTextHandler(&log, nil))
		s := New(o)
		next := &served{version: registry.Version{Name: "visits", Number: 1, RunID: "r"}, model: &model.Model{Spec: e.Spec(), Encoder: e, Earlier: trained}}
		if err := os.MkdirAll(s.folder(next.version), 0o755); err != nil {
			t.Fatal(err)
		}
		s.beginEarlier(next, s.folder(next.version))
		s.served.Store(next)
		return s, next
	}
	holding, holds := start(Options{Earlier: c.source})
	asking, asks := start(Options{Earlier: c.source, EarlierMemory: 100})
	catchUp := func() {
		t.Helper()
		for s, v := range map[*Server]*served{holding: holds, asking: asks} {
			err := s.catchUp(t.Context(), v)
			s.noteFollowed(v, err)
			if err != nil {
				t.Fatal(err)
			}
			c.same(t, s, v)
		}
	}
	if got := holding.describeEarlier(holds); got.From != api.EarlierFromVersion || got.Rows != 350 {
		t.Errorf("before it has read Postgres it holds %+v", got)
	}
	catchUp()
	if got := holding.describeEarlier(holds); got.From != api.EarlierFromPostgres || got.Rows != len(first) || got.Stale != "" {
		t.Errorf("it holds %+v, want the %d rows of Postgres", got, len(first))
	}
	if got := asking.describeEarlier(asks); got.From != api.EarlierAsked || got.Rows != 0 || got.Stale != "" {
		t.Errorf("above its bound it holds %+v, want that it asks", got)
	}
	c.load(t, all[350:360])
	catchUp()
	log.Reset()
	c.load(t, all[:350]) // those that the first batch lacked
	catchUp()
	if text := log.String(); !strings.Contains(text, "late=") || !strings.Contains(text, "came in batch 3, a later one of the same group in batch 1") {
		t.Errorf("the log does not say that rows were late: %s", text)
	}
	if got := holding.describeEarlier(holds); got.Rows != 360 {
		t.Errorf("%d rows, want 360", got.Rows)
	}

	// Without Postgres, a start has the local copy, and says that it may be old.
	nowhere := earlier.NewSource(postgres.Config{ConnString: "host=127.0.0.1 port=1 user=nobody"}, 1, nil)
	again, from := start(Options{Earlier: nowhere})
	if got := again.describeEarlier(from); got.From != api.EarlierFromCopy || got.Rows != 360 {
		t.Errorf("started from %+v, want the local copy", got)
	}
	c.same(t, again, from)
	again.noteFollowed(from, again.catchUp(t.Context(), from))
	from.earlier.asOf.Store(time.Now().Add(-2 * staleAfter).UnixNano())
	if got := again.describeEarlier(from); !strings.Contains(got.Stale, "Postgres at 127.0.0.1:1/clean could not be reached") {
		t.Errorf("without Postgres it says %+v", got)
	}
	if _, page := scrape(t, again); !strings.Contains(page, "\nmlops_earlier_stale 1\n") || !strings.Contains(page, "\nmlops_earlier_rows 360\n") {
		t.Errorf("metrics: %s", page)
	}
	// One that asks says so in each prediction.
	deaf, silent := start(Options{Earlier: nowhere, EarlierMemory: 100})
	x := &exchange{memory: &memory{total: 1 << 20}}
	x.body = []byte(`{"who": 3}`)
	deaf.findEarlier(t.Context(), x, silent)
	d := decoder{exchange: x}
	if err := d.decode(x.body, e, func() []float32 { return make([]float32, e.Width()) }); err != nil {
		t.Fatal(err)
	}
	said := ""
	for _, w := range x.warnings {
		said += w.wire(x, e).Detail
	}
	if !strings.Contains(said, "Postgres, which the server asks for earlier records, did not answer in time") {
		t.Errorf("warnings %q", said)
	}
}

func scrape(t *testing.T, s *Server) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return w.Code, w.Body.String()
}

// slowRows is a Postgres that does not answer.
type slowRows struct{ EarlierRows }

func (slowRows) Groups(ctx context.Context, _ *dataset.Spec, _ []string, _ earlier.Row) error {
	<-ctx.Done()
	return ctx.Err()
}

// TestAskingIsBounded asks a Postgres that does not answer.
func TestAskingIsBounded(t *testing.T) {
	t.Parallel()
	e, _, _ := looking(t, visitRows(70))
	s := New(Options{Model: "visits", Cache: t.TempDir(), Earlier: slowRows{}, Log: slog.New(slog.DiscardHandler)})
	v := &served{model: &model.Model{Spec: e.Spec(), Encoder: e}}
	v.earlier.held.Store(&held{from: api.EarlierAsked})
	x := &exchange{memory: &memory{total: 1 << 20}}
	x.body = []byte(`[{"who": 3}, {"who": 4}, {"who": 3}, {"who": 5, "history": []}, {}]`)
	if got := x.groups(v); !slices.Equal(got, []string{"3", "4"}) {
		t.Errorf("groups %q, want 3 and 4", got)
	}
	start := time.Now()
	s.findEarlier(t.Context(), x, v)
	if took := time.Since(start); took > 5*askTimeout || !x.unanswered || x.earlier != nil {
		t.Errorf("it took %s, unanswered %t", took, x.unanswered)
	}
}

// TestLocalCopyDamaged reads a whole copy, and refuses half of one.
func TestLocalCopyDamaged(t *testing.T) {
	t.Parallel()
	e, _, held := looking(t, visitRows(70))
	dir := t.TempDir()
	if _, _, err := readFollowed(dir, e, 1<<20); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a copy: %v", err)
	}
	note := followedNote{"1:0:5", time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	if err := writeFollowed(dir, held, note); err != nil {
		t.Fatal(err)
	}
	rows, got, err := readFollowed(dir, e, 1<<20)
	if err != nil || got != note || rows.Rows() != 70 {
		t.Errorf("read %+v, %v", got, err)
	}
	path := filepath.Join(dir, followed)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text[:len(text)-9], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := readFollowed(dir, e, 1<<20); err == nil {
		t.Error("half a copy was read")
	}
}
