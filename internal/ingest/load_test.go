package ingest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"mlops/internal/source"
)

var counts = cmpopts.IgnoreFields(Report{}, "Step", "Source", "Digest", "Read", "Losses", "Reasons")

const (
	// Batches by their number in the source: a batch that was broken off has
	// used an id up.
	allRows = `SELECT t.id, who, "Size-cm", good, 'b' || b.batch, _line
		FROM things t JOIN things_batches b ON b.id = _batch ORDER BY _batch, _line`
	allRejected = `SELECT 'b' || b.batch, line, reason, replace(text, repeat('9', 1001), '9...')
		FROM things_rejected JOIN things_batches b ON b.id = _batch ORDER BY _batch, line`
)

func TestLoadRaw(t *testing.T) {
	t.Parallel()
	cfg := setup(t, "key: id").from(t, header+
		"1,ann,1.5,yes\r\n"+ // 2
		"2,\"b,\\\"\"o\tb\",?,no\n"+ // 3: a comma, a backslash, a quote, a tab
		"3,c\n"+ // 4
		"1,ann,1.5,yes\n"+ // 5: the key again, in the same batch
		"4,\x00,1,no\n"+ // 6
		" ? ,d,1,no\n"+ // 7
		"5,,nonsense,\n"+ // 8: not for raw to judge
		"2,z,1,no\n"+ // 9: the key again, in a later batch
		"\n"+ // 10: no record
		strings.Repeat("9", maxKey+1)+",d,1,no\n") // 11
	cfg.Batch = 4
	conn := connect(t, cfg, cfg.Postgres.Raw)

	got := load(t, cfg)
	if diff := cmp.Diff(Report{Batches: 1, Taken: 2, Rejected: 2}, got, counts); diff != "" {
		t.Errorf("first run (-want +got):\n%s", diff)
	}
	got = load(t, cfg)
	if diff := cmp.Diff(Report{Batches: 1, Taken: 1, Rejected: 3}, got, counts); diff != "" {
		t.Errorf("second run (-want +got):\n%s", diff)
	}
	cfg.All = true
	got = load(t, cfg)
	if diff := cmp.Diff(Report{Batches: 1, Rejected: 1, Empty: 1, EmptyLine: 10, UsedUp: true}, got, counts); diff != "" {
		t.Errorf("third run (-want +got):\n%s", diff)
	}
	got = load(t, cfg)
	if diff := cmp.Diff(Report{UsedUp: true}, got, counts); diff != "" {
		t.Errorf("a run on a source that is used up (-want +got):\n%s", diff)
	}
	want := []string{
		`1|ann|1.5|yes|b1|2`,
		`2|b,\\"o\tb|?|no|b1|3`,
		`5||nonsense||b2|8`,
	}
	if diff := cmp.Diff(want, query(t, conn, allRows)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	want = []string{
		`b1|4|2 fields, want 4|3,c`,
		`b1|5|key id=1 is already on line 2|1,ann,1.5,yes`,
		"b2|6|NUL byte at byte 3|4,\u2400,1,no",
		`b2|7|the key is missing| ? ,d,1,no`,
		`b2|9|key id=2 is already on line 3|2,z,1,no`,
		`b3|11|the key has 1001 bytes, more than 1000|9...,d,1,no`,
	}
	if diff := cmp.Diff(want, query(t, conn, allRejected)); diff != "" {
		t.Errorf("rejected (-want +got):\n%s", diff)
	}
}

func TestGrownSourceByKey(t *testing.T) {
	t.Parallel()
	cfg := setup(t, "key: id")
	cfg.Batch = 2
	first := header + "1,a,1,yes\n2,b,2,no\n3,c,3,no\n4,d,4,no\n"
	old := cfg.from(t, first)
	old.All = true
	load(t, old)

	grown := cfg.from(t, first+"5,e,5,no\n5,e,5,no\n2,b,2,no\n3,c,OTHER,no\n1,a,1,yes\n6,f,6,no\n")
	got := load(t, grown)
	if diff := cmp.Diff(Report{Batches: 3, Taken: 1, Known: 4, Rejected: 1}, got, counts); diff != "" {
		t.Errorf("one run passes over known batches up to the first with a new row (-want +got):\n%s", diff)
	}
	grown.All = true
	got = load(t, grown)
	if diff := cmp.Diff(Report{Batches: 2, Taken: 1, Known: 2, Rejected: 1, UsedUp: true}, got, counts); diff != "" {
		t.Errorf("the rest (-want +got):\n%s", diff)
	}
	conn := connect(t, cfg, cfg.Postgres.Raw)
	if diff := cmp.Diff([]string{"1", "2", "3", "4", "5", "6"}, query(t, conn, "SELECT id FROM things ORDER BY id")); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
	want := []string{
		"7|key id=5 is already on line 6|5,e,5,no",
		"9|key id=3 is known with other values, from batch 2, line 4|3,c,OTHER,no",
	}
	if diff := cmp.Diff(want, query(t, conn, "SELECT line, reason, text FROM things_rejected ORDER BY line")); diff != "" {
		t.Errorf("rejected (-want +got):\n%s", diff)
	}
	if got := load(t, old); got.Batches != 0 || !got.UsedUp {
		t.Errorf("the first source again: got %+v, want that it is used up", got)
	}
}

func TestGrownSourceWithoutKey(t *testing.T) {
	t.Parallel()
	cfg := setup(t, "")
	cfg.Batch = 2
	first := header + "1,a,1,yes\n1,a,1,yes\n3,c,3,no\n"
	old := cfg.from(t, first)
	old.All = true
	if got := load(t, old); got.Taken != 3 || got.Rejected != 0 {
		t.Errorf("without a key equal rows are rows: got %+v", got)
	}
	grown := cfg.from(t, first+"3,c,3,no\n5,e,5,no\n")
	grown.All = true
	if diff := cmp.Diff(Report{Batches: 3, Taken: 2, Known: 3, UsedUp: true}, load(t, grown), counts); diff != "" {
		t.Errorf("grown (-want +got):\n%s", diff)
	}
	changed := cfg.from(t, strings.Replace(first, "3,c,3,no", "3,c,4,no", 1))
	changed.All = true
	if diff := cmp.Diff(Report{Batches: 2, Taken: 1, Known: 2, UsedUp: true, Absent: &Absent{Rows: 3, Batch: 2, Line: 4, Text: "3,c,3,no"}}, load(t, changed), counts); diff != "" {
		t.Errorf("a changed row is another row (-want +got):\n%s", diff)
	}
}

// TestKnownInAnotherSpelling has a re-export that writes the same values
// differently: its rows are known, with and without a key.
func TestKnownInAnotherSpelling(t *testing.T) {
	t.Parallel()
	for _, keys := range []string{"key: id", ""} {
		cfg := setup(t, keys)
		cfg.All, cfg.Batch = true, 2
		load(t, cfg.from(t, header+"1,a,27.33,yes\n2,?,1,no\n3,c,0.5,no\n4,01234,?,yes\n"))
		again := cfg.from(t, header+"1.0,a,27.330,yes\n2,,1.0,no\n03, c ,5e-1,no\n4,01234,,yes\n5,e,1,no\n")
		if diff := cmp.Diff(Report{Batches: 3, Taken: 1, Known: 4, UsedUp: true}, load(t, again), counts); diff != "" {
			t.Errorf("%q, a re-export (-want +got):\n%s", keys, diff)
		}
		changed := cfg.from(t, header+"1,a,27.331,yes\n2,?,1,no\n3,c,0.5,no\n4,1234,?,yes\n")
		want := Report{Batches: 2, Known: 2, Rejected: 2, UsedUp: true, Absent: &Absent{Rows: 1, Batch: 5, Line: 6, Text: "5,e,1,no", Key: "id=5"}}
		if keys == "" {
			want = Report{Batches: 2, Known: 2, Taken: 2, UsedUp: true, Absent: &Absent{Rows: 3, Batch: 1, Line: 2, Text: "1,a,27.33,yes"}}
		}
		if diff := cmp.Diff(want, load(t, changed), counts); diff != "" {
			t.Errorf("%q, other values (-want +got):\n%s", keys, diff)
		}
	}
}

// TestManyRejected has more rejected lines in one batch than wait in memory.
func TestManyRejected(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString(header)
	for i := range 4000 {
		fmt.Fprintf(&b, "%d,a,1,no\n%d,%s\n", i, i, strings.Repeat("x", 1500))
	}
	for _, keys := range []string{"", "key: id"} {
		cfg := setup(t, keys).from(t, b.String())
		if diff := cmp.Diff(Report{Batches: 1, Taken: 4000, Rejected: 4000, UsedUp: true}, load(t, cfg), counts); diff != "" {
			t.Errorf("with %q (-want +got):\n%s", keys, diff)
		}
	}
}

func TestLoadRawRefuses(t *testing.T) {
	t.Parallel()
	cfg := setup(t, "key: id").from(t, header+"1,a,1,yes\n")
	load(t, cfg)
	other := func(old, new string) Config {
		c := cfg
		c.Spec = parse(t, strings.Replace(specText("key: id"), old, new, 1))
		return c
	}
	tests := []struct {
		why  string
		cfg  Config
		want string
	}{
		{"another key", other("key: id", "key: who"), `has the key "id" where the spec has "who": put the spec back, or remove the rows of things with ` + "`mlops forget SPEC`"},
		{"no key any more", other("key: id", ""), `has the key "id" where the spec has ""`},
		{"a source with another header", cfg.from(t, "id,who\n1,a\n"), `missing: "Size-cm", "good"`},
		{"no source", func() Config { c := cfg; c.Source = ""; return c }(), "no source"},
		{"a batch of less than nothing", func() Config { c := cfg; c.Batch = -1; return c }(), "batch of -1"},
	}
	for _, tt := range tests {
		t.Run(tt.why, func(t *testing.T) {
			_, err := LoadRaw(context.Background(), tt.cfg)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want it to say %q", err, tt.want)
			}
			if code := ExitCode(err); code != 2 {
				t.Errorf("got exit code %d, want 2", code)
			}
		})
	}
	t.Run("a context that has ended", func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if _, err := LoadRaw(ctx, cfg); !errors.Is(err, context.Canceled) || ExitCode(err) != 1 {
			t.Errorf("got %v", err)
		}
	})
	checkRaw(t, cfg)
}

// TestLedgerGoesBack has the server lose its last two batches, as one that does
// not wait for its disk may in a crash, in the middle of a run.
func TestLedgerGoesBack(t *testing.T) {
	t.Parallel()
	text, want := bigTable(2000)
	cfg := setup(t, "key: id").from(t, text)
	cfg.Batch, cfg.All = 300, true
	ctx := context.Background()
	table, err := source.Open(ctx, cfg.Source, source.Options{Columns: []string{"id", "who", "Size-cm", "good"}})
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	conn := connect(t, cfg, cfg.Postgres.Raw)
	if err := createRaw(ctx, conn, cfg.Spec); err != nil {
		t.Fatal(err)
	}
	l := &loader{cfg: cfg, table: table, t: tablesOf(cfg.Spec), logger: quiet}
	defer l.drop()
	for n := 0; !l.begun || l.last.endOffset < table.Size; n++ {
		if err := l.next(ctx, conn); err != nil {
			t.Fatal(err)
		}
		if n == 3 {
			if _, err := conn.Exec(ctx, `DELETE FROM things WHERE _batch IN (SELECT id FROM things_batches WHERE batch > 2);
				DELETE FROM things_rejected WHERE _batch IN (SELECT id FROM things_batches WHERE batch > 2);
				DELETE FROM things_batches WHERE batch > 2`); err != nil {
				t.Fatal(err)
			}
		}
	}
	checkRaw(t, cfg)
	if err := l.tell(ctx, conn); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Report{Batches: 7, Taken: 1978, Rejected: 22, UsedUp: true}, l.report, counts); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
	if err := acceptSource(ctx, conn, l.t, table.Digest); err != nil {
		t.Fatal(err)
	}
	process(t, cfg)
	if diff := cmp.Diff(want, query(t, connect(t, cfg, cfg.Postgres.Clean), "SELECT id FROM things ORDER BY id")); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
}
