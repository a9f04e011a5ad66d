package ingest

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mlops/internal/postgres"
	"mlops/internal/source"
)

// rubbish is a zip of a table whose lines are too short for a row.
func rubbish(t *testing.T, lines int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "t.zip")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	z := zip.NewWriter(f)
	w, err := z.Create("t.csv")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(w, header)
	text := []byte(strings.Repeat("a\n", 100_000))
	for ; lines > 0; lines -= 100_000 {
		if _, err := w.Write(text); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(z.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestRubbishStops has an archive of many short lines: the load stops after some
// hundred thousand of them, says so and leaves nothing.
func TestRubbishStops(t *testing.T) {
	t.Parallel()
	cfg := strict(t, "key: id")
	cfg.Batch, cfg.Source = Batch, rubbish(t, 800_000)
	_, err := LoadRaw(context.Background(), cfg)
	var losses *LossError
	if !errors.As(err, &losses) || ExitCode(err) != 2 {
		t.Fatalf("got %v, want a *LossError", err)
	}
	if read := losses.Report.Read; read < 100_000 || read > 200_000 {
		t.Errorf("stopped after %d lines", read)
	}
	for _, want := range []string{"load-raw-data rejected 105,000 of the first 105,000 lines (100.0%)", "it stopped there, of 800,001 lines", "not a line of 4 fields", `for example line 2: "a"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %q, want it to say %q", err, want)
		}
	}
	checkEmpty(t, cfg)
}

// TestRejectedBeyondBound loads a table of which nearly everything may be lost: beyond a bound
// the rejected lines are counted by reason, batch by batch, and all of them add up.
func TestRejectedBeyondBound(t *testing.T) {
	t.Parallel()
	for _, keys := range []string{"", "key: id"} {
		var b strings.Builder
		b.WriteString(header)
		for i := range 300 { // every third is good, every third short, every third a key that was there
			fmt.Fprintf(&b, "%d,p%d,1.5,yes\na\n%d,q,1.5,no,\n", i, i, i/2)
		}
		for i := range 60 {
			fmt.Fprintf(&b, "%d,again,2.5,no\n", i)
		}
		cfg := setup(t, keys).from(t, b.String())
		cfg.All, cfg.Batch, cfg.kept = true, 100, 50
		r := load(t, cfg)
		twice := int64(0)
		if keys != "" {
			twice = 60
		}
		if r.Rejected != 600+twice || r.Read != 960 {
			t.Errorf("%q: %s; want %d rejected", keys, r, 600+twice)
		}
		var lines int64
		for _, l := range r.Losses {
			lines += l.Rows
			if l.Line == 0 || l.Value == "" {
				t.Errorf("%q: no example: %s", keys, l)
			}
		}
		if lines != r.Rejected {
			t.Errorf("%q: the reasons make %d lines, want %d", keys, lines, r.Rejected)
		}
		raw := connect(t, cfg, cfg.Postgres.Raw)
		if n := query(t, raw, "SELECT count(*) FILTER (WHERE rows = 1) >= 50, count(*) < 50 + 10 * 3, sum(rows) FROM things_rejected"); n[0] != fmt.Sprintf("t|t|%d", r.Rejected) {
			t.Errorf("%q: kept %s", keys, n)
		}
	}
}

// TestKeyGone loads a file that no longer has some keys of an earlier one: they are
// counted, with one of them, and stay.
func TestKeyGone(t *testing.T) {
	t.Parallel()
	cfg := setup(t, "key: id").from(t, table(40, good))
	cfg.All, cfg.Batch = true, 15
	if r := load(t, cfg); r.Absent != nil {
		t.Errorf("the first file: %s", r)
	}
	// Without the rows 3 to 9, one of the others in another spelling, and with a new one.
	lines := strings.Split(table(41, good), "\n")
	again := cfg.from(t, strings.Join(append(append([]string{}, lines[:4]...), lines[11:]...), "\n"))
	want := &Absent{Rows: 7, Batch: 1, Line: 5, Text: good(3), Key: "id=3"}
	again.All = false
	for r := (Report{}); !r.UsedUp; {
		if r = load(t, again); r.UsedUp {
			if diff := cmp.Diff(want, r.Absent); diff != "" {
				t.Errorf("absent (-want +got):\n%s", diff)
			}
			if text := r.String(); !strings.Contains(text, "7 rows of earlier files not in this one, and kept; for example id=3, batch 1, line 5") {
				t.Errorf("the report says %q", text)
			}
		} else if r.Absent != nil {
			t.Errorf("before the file's end: %s", r)
		}
	}
	if n := query(t, connect(t, cfg, cfg.Postgres.Raw), "SELECT count(*) FROM things"); n[0] != "41" {
		t.Errorf("%s rows, want 41: those that are gone stay", n)
	}
}

// TestNoSpace has a volume that a table does not fit in: nothing is begun.
func TestNoSpace(t *testing.T) {
	t.Parallel()
	cfg := setup(t, "key: id").from(t, table(20_000, good))
	cfg.All = true
	conn := connect(t, cfg, cfg.Postgres.Raw)
	set := func(volume string) {
		if _, err := conn.Exec(context.Background(), fmt.Sprintf("ALTER DATABASE %s SET %s = '%s'", cfg.Postgres.Raw, postgres.VolumeSetting, volume)); err != nil {
			t.Fatal(err)
		}
	}
	set("1Mi")
	_, err := LoadRaw(context.Background(), cfg)
	if ExitCode(err) != 2 || !strings.Contains(fmt.Sprint(err), "loading 20,001 lines of ") || !strings.Contains(err.Error(), "its volume has 0B left: make room or enlarge the volume") {
		t.Fatalf("got %v", err)
	}
	checkEmpty(t, cfg)
	for _, volume := range []string{"1Ti", "much", "", t.TempDir(), "/no/such/folder"} {
		set(volume)
		if r, err := LoadRaw(context.Background(), cfg); err != nil || !r.UsedUp {
			t.Errorf("volume %q: %s, %v", volume, r, err)
		}
	}
}

func TestNeeds(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		size, all, lines int64
		want             int64
	}{
		{0, 0, 0, 0},
		{1000, 10, 0, 0},
		{1000, 10, 10, 2 * (1000 + 10*(rowCost+4))},
		{1000, 10, 5, 1000 + 10*(rowCost+4)},
	} {
		if got := needs(tt.size, tt.all, tt.lines, 4); got != tt.want {
			t.Errorf("%d of %d lines of %d bytes need %d, want %d", tt.lines, tt.all, tt.size, got, tt.want)
		}
	}
}

// TestHopeless tells when a load may as well stop.
func TestHopeless(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		why            string
		read, rejected int64
		left           int64
		want           bool
	}{
		{"few lines yet", enough, enough, 1e6, false},
		{"few rejected", 200_000, 9_000, 0, false},
		{"more than all may lose", 200_000, 60_000, 800_000, true},
		{"those left may make it up", 200_000, 49_000, 800_000, false},
		{"most of it is rubbish, however much is left", 200_000, 110_000, 1e9, true},
	} {
		if got := hopeless(sums{read: tt.read, rejected: tt.rejected}, tt.left, 5); got != tt.want {
			t.Errorf("%s: got %v", tt.why, got)
		}
	}
}

// TestBombStops has a load of a gzip bomb: exit code 2, and nothing is begun.
func TestBombStops(t *testing.T) {
	t.Parallel()
	cfg := strict(t, "")
	cfg.Spec = parse(t, strings.Replace(specText(""), "columns:", "source: {max_lines: 1000, max_size: 1MB}\ncolumns:", 1))
	cfg.Source = rubbish(t, 100_000)
	_, err := LoadRaw(context.Background(), cfg)
	var bad *source.Error
	if !errors.As(err, &bad) || ExitCode(err) != 2 || !strings.Contains(err.Error(), "more than 1000 lines") {
		t.Errorf("got %v", err)
	}
}
