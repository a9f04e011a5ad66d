package ingest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"mlops/internal/dataset"
)

func process(t testing.TB, cfg Config) Report {
	t.Helper()
	r, err := Process(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	checkClean(t, cfg)
	checkReport(t, r)
	return r
}

func split(t testing.TB, cfg Config) Report {
	t.Helper()
	r, err := Split(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestProcess(t *testing.T) {
	t.Parallel()
	cfg := setup(t, "key: id").from(t, header+
		"7, ann ,1.50,yes\n"+ // 2: spaces go
		"07,bob,1,no\n"+ // 3: the same key once it is typed
		"+8,\"tab\there \\N\",?,\n"+ // 4
		"9,c,1e400,no\n"+ // 5
		"10,c,-0.1,no\n"+ // 6
		"11,c,300.5,no\n"+ // 7
		"12,c,abc,no\n"+ // 8
		"1.0,c,1,no\n"+ // 9
		"99999999999999999999,c,1,no\n"+ // 10
		"13,c,inf,no\n"+ // 11
		"14,c,1e-400,no\n"+ // 12: less than Postgres would read
		"007,d,1,no\n") // 13: the key again, in another batch
	cfg.Batch, cfg.All = 8, true
	load(t, cfg)
	if diff := cmp.Diff(Report{Batches: 2, Taken: 4, Rejected: 6}, process(t, cfg), counts); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
	conn := connect(t, cfg, cfg.Postgres.Clean)
	want := []string{
		`7|ann|1.5|yes|2|2|\N`,
		`8|tab\there \\N|\N|\N|2|4|\N`,
		`1|c|1|no|2|9|\N`,
		`14|c|0|no|3|12|\N`,
	}
	if diff := cmp.Diff(want, query(t, conn, `SELECT *  FROM things ORDER BY _batch, _line`)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	want = []string{
		`2|5|Size-cm|"1e400" is not a number`,
		`2|6|Size-cm|"-0.1" is below 0`,
		`2|7|Size-cm|"300.5" is above 300`,
		`2|8|Size-cm|"abc" is not a number`,
		`3|10|id|"99999999999999999999" is too large for an integer`,
		`3|11|Size-cm|"inf" is not a number`,
	}
	if diff := cmp.Diff(want, query(t, conn, `SELECT _batch, line, "column", reason FROM things_rejected ORDER BY 1, 2`)); diff != "" {
		t.Errorf("rejected (-want +got):\n%s", diff)
	}
	// A key is one key in whatever spelling: raw has it once already.
	want = []string{`2|3|key id=7 is already on line 2`, `3|13|key id=7 is already on line 2`}
	if diff := cmp.Diff(want, query(t, connect(t, cfg, cfg.Postgres.Raw), `SELECT _batch, line, reason FROM things_rejected ORDER BY 1, 2`)); diff != "" {
		t.Errorf("rejected by the load (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(Report{}, process(t, cfg), counts); diff != "" {
		t.Errorf("a second run has nothing to do (-want +got):\n%s", diff)
	}
}

// TestKeyTypedLater has keys that were loaded as texts and become numbers: those
// that are the same number are one key in clean.
func TestKeyTypedLater(t *testing.T) {
	t.Parallel()
	cfg := setup(t, "key: id").from(t, header+"7,a,1,yes\n07,b,1,no\n8,c,1,no\n007,d,1,no\n")
	cfg.Batch, cfg.All = 3, true
	text := cfg
	text.Spec = parse(t, strings.Replace(specText("key: id"), "{name: id, type: integer}", "{name: id, type: category}", 1))
	if diff := cmp.Diff(Report{Batches: 2, Taken: 4, UsedUp: true}, load(t, text), counts); diff != "" {
		t.Errorf("load (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(Report{Batches: 2, Taken: 2, Rejected: 2}, process(t, cfg), counts); diff != "" {
		t.Errorf("process (-want +got):\n%s", diff)
	}
	want := []string{`1|3|id|key id=7 is already on line 2`, `2|5|id|key id=7 is already there, from batch 1, line 2`}
	if diff := cmp.Diff(want, query(t, connect(t, cfg, cfg.Postgres.Clean), `SELECT _batch, line, "column", reason FROM things_rejected ORDER BY 1, 2`)); diff != "" {
		t.Errorf("rejected (-want +got):\n%s", diff)
	}
}

func TestProcessNothing(t *testing.T) {
	t.Parallel()
	cfg := setup(t, "")
	if diff := cmp.Diff(Report{}, process(t, cfg), counts); diff != "" {
		t.Errorf("an empty raw (-want +got):\n%s", diff)
	}
	// A batch that is rejected whole, first field first: no row is ever there.
	text := header + strings.Repeat("x,a,1,no\n", 20_000)
	cfg = cfg.from(t, text)
	cfg.Batch = 30_000
	load(t, cfg)
	if diff := cmp.Diff(Report{Batches: 1, Rejected: 20_000}, process(t, cfg), counts); diff != "" {
		t.Errorf("all rejected (-want +got):\n%s", diff)
	}
}

// people makes rows of some people each, with a few of nobody.
func people(from, n int) string {
	var b strings.Builder
	for i := from; i < from+n; i++ {
		who := fmt.Sprintf("p%d", i%97)
		if i%50 == 0 {
			who = "?"
		}
		fmt.Fprintf(&b, "%d,%s,%g,%s\n", i, who, float64(i%300)/7, []string{"yes", "no"}[i%2])
	}
	return b.String()
}

func TestSplit(t *testing.T) {
	t.Parallel()
	for _, keys := range []string{"key: id\ngroup: who", "group: who", "key: id", ""} {
		t.Run(strings.ReplaceAll(keys, "\n", ", "), func(t *testing.T) {
			cfg := setup(t, keys)
			old := cfg.from(t, header+people(0, 1000))
			old.Batch, old.All = 300, true
			load(t, old)
			process(t, old)
			r := split(t, old)
			if r.Taken != 1000 || r.Splits[dataset.Train]+r.Splits[dataset.Validation]+r.Splits[dataset.Test] != 1000 || r.Splits[dataset.Train] < 450 {
				t.Errorf("got %+v", r)
			}
			conn := connect(t, cfg, cfg.Postgres.Clean)
			before := query(t, conn, "SELECT id, split FROM things ORDER BY id")

			grown := cfg.from(t, header+people(0, 1500))
			grown.Batch, grown.All = 300, true
			load(t, grown)
			process(t, grown)
			if r := split(t, grown); r.Taken != 500 {
				t.Errorf("the grown source: got %+v, want 500 assigned", r)
			}
			if diff := cmp.Diff(before, query(t, conn, "SELECT id, split FROM things WHERE id < 1000 ORDER BY id")); diff != "" {
				t.Errorf("rows moved (-before +after):\n%s", diff)
			}
			if r := split(t, grown); r.Taken != 0 {
				t.Errorf("a third run: got %+v, want none assigned", r)
			}
			if strings.Contains(keys, "group") {
				if got := query(t, conn, "SELECT who FROM things WHERE who IS NOT NULL GROUP BY who HAVING count(DISTINCT split) > 1"); got != nil {
					t.Errorf("in two splits: %v", got)
				}
			}
			// The expression in SQL and the function in Go agree, under each salt.
			for _, salt := range []string{"", "s2", "it's \\ ž"} {
				seen := 0
				err := Rows(context.Background(), conn, cfg.Spec, Selection{Salt: salt}, func(split string, f [][]byte) error {
					seen++
					group := rowGroup(f)
					if cfg.Spec.Key != "" {
						group = string(f[0])
					}
					if cfg.Spec.Group != "" && f[1] != nil {
						group = string(f[1])
					}
					s := salt
					if s == "" {
						s = "s1"
					}
					if want := splitOf(s, group, cfg.Spec.Split); split != want {
						return fmt.Errorf("salt %q, group %q: SQL says %s, Go says %s", s, group, split, want)
					}
					return nil
				})
				if err != nil || seen != 1500 {
					t.Fatalf("salt %q: %v after %d rows, want 1500", salt, err, seen)
				}
			}
			for _, change := range [][2]string{{"salts: [s1", "salts: [s3"}, {"train: 60, validation: 20", "train: 50, validation: 30"}} {
				other := cfg
				other.Spec = parse(t, strings.Replace(specText(keys), change[0], change[1], 1))
				if _, err := Split(context.Background(), other); ExitCode(err) != 2 || !strings.Contains(err.Error(), "rows would move") {
					t.Errorf("%s: got %v, want a refusal", change[1], err)
				}
			}
		})
	}
}

func TestSplitBeforeProcess(t *testing.T) {
	t.Parallel()
	_, err := Split(context.Background(), setup(t, ""))
	if err == nil || !strings.Contains(err.Error(), "process-data makes it") {
		t.Errorf("got %v", err)
	}
}

// TestSplitOf pins values: a row's split must be the same in every version of
// this program. They were computed with Python's hashlib.
func TestSplitOf(t *testing.T) {
	t.Parallel()
	tests := []struct{ salt, group, want string }{
		{"diabetes-1", "8222157", "train"},
		{"diabetes-1", "55629189", "train"},
		{"diabetes-2", "8222157", "train"},
		{"s", "ž", "validation"},
		{"", "", "test"},
		{"diabetes-1", "23", "train"},
		{"diabetes-1", "63555939", "test"},
		{"penguins-1", "a\x1fb", "validation"},
	}
	for _, tt := range tests {
		if got := splitOf(tt.salt, tt.group, dataset.Split{Train: 70, Validation: 15, Test: 15}); got != tt.want {
			t.Errorf("splitOf(%q, %q) = %s, want %s", tt.salt, tt.group, got, tt.want)
		}
	}
	if got := splitOf("s", "g", dataset.Split{Train: 0, Validation: 0, Test: 100}); got != dataset.Test {
		t.Errorf("all to test: got %s", got)
	}
	if got := splitOf("s", "g", dataset.Split{Train: 100}); got != dataset.Train {
		t.Errorf("all to train: got %s", got)
	}
}

func TestRows(t *testing.T) {
	t.Parallel()
	text := header + people(0, 200)
	cfg := setup(t, "key: id\ngroup: who").from(t, text)
	cfg.Batch, cfg.All = 60, true
	ctx := context.Background()
	load(t, cfg)
	process(t, cfg)
	conn := connect(t, cfg, cfg.Postgres.Clean)
	if _, err := DataDigest(ctx, conn, cfg.Spec); err == nil || !strings.Contains(err.Error(), "not split yet") {
		t.Errorf("the digest before the split: got %v", err)
	}
	report := split(t, cfg)
	got := map[string]int64{}
	last := -1
	err := Rows(ctx, conn, cfg.Spec, Selection{}, func(split string, f [][]byte) error {
		got[split]++
		var id int
		if _, err := fmt.Sscan(string(f[0]), &id); err != nil || id != last+1 {
			return fmt.Errorf("row %q after %d", f[0], last)
		}
		if last = id; (f[1] == nil) != (id%50 == 0) {
			return fmt.Errorf("row %d has the group %q", id, f[1])
		}
		if want := fmt.Sprint(float64(id%300) / 7); string(f[2]) != want {
			return fmt.Errorf("row %d has the number %q, want %s", id, f[2], want)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(report.Splits, got); diff != "" {
		t.Errorf("rows by split (-report +read):\n%s", diff)
	}
	two := map[string]int64{}
	if err := Rows(ctx, conn, cfg.Spec, Selection{Splits: []string{dataset.Validation, dataset.Test}}, func(split string, _ [][]byte) error {
		two[split]++
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	delete(got, dataset.Train)
	if diff := cmp.Diff(got, two); diff != "" {
		t.Errorf("validation and test only (-want +got):\n%s", diff)
	}

	count, err := Count(ctx, connect(t, cfg, cfg.Postgres.Raw), conn, cfg.Spec)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Counts{Raw: 200, Clean: 200, Splits: report.Splits}, count); diff != "" {
		t.Errorf("Count (-want +got):\n%s", diff)
	}

	arrivals, err := Arrivals(ctx, conn, cfg.Spec)
	batches := make([]int64, 4)
	for i, a := range arrivals {
		batches[a.Batch]++
		if i > 0 && arrivals[i-1].Compare(a) >= 0 {
			t.Errorf("row %d came at %v, the one before at %v", i, a, arrivals[i-1])
		}
	}
	if diff := cmp.Diff([]int64{60, 60, 60, 20}, batches); err != nil || diff != "" {
		t.Errorf("Arrivals: %v, rows by batch (-want +got):\n%s", err, diff)
	}
	ledger, err := Ledger(ctx, connect(t, cfg, cfg.Postgres.Raw), conn, cfg.Spec)
	if diff := cmp.Diff([]Report{
		{Step: "load-raw-data", Read: 200, Taken: 200}, {Step: "process-data", Read: 200, Taken: 200},
		{Step: "load-val-test-data", Read: 200, Taken: 200, Splits: report.Splits},
	}, ledger, cmpopts.EquateEmpty()); err != nil || diff != "" {
		t.Errorf("Ledger: %v (-want +got):\n%s", err, diff)
	}

	digest, err := DataDigest(ctx, conn, cfg.Spec)
	if err != nil {
		t.Fatal(err)
	}
	again := setup(t, "key: id\ngroup: who").from(t, text)
	again.Batch, again.All = 60, true
	load(t, again)
	process(t, again)
	split(t, again)
	other := connect(t, again, again.Postgres.Clean)
	if d, err := DataDigest(ctx, other, cfg.Spec); err != nil || d != digest {
		t.Errorf("the same data elsewhere: got digest %s, %v; want %s", d, err, digest)
	}
	grown := again.from(t, text+"200,x,1,no\n")
	load(t, grown)
	process(t, grown)
	if d, err := DataDigest(ctx, other, cfg.Spec); err != nil || d == digest {
		t.Errorf("more data: the digest is the same (%v)", err)
	}

	stop := errors.New("stop")
	seen := 0
	if err := Rows(ctx, other, cfg.Spec, Selection{}, func(string, [][]byte) error { seen++; return stop }); !errors.Is(err, stop) || seen != 1 {
		t.Errorf("an error of the callback: got %v after %d rows", err, seen)
	}
	empty := setup(t, "")
	none, err := Count(ctx, connect(t, empty, empty.Postgres.Raw), connect(t, empty, empty.Postgres.Clean), empty.Spec)
	if diff := cmp.Diff(Counts{Splits: map[string]int64{}}, none); err != nil || diff != "" {
		t.Errorf("Count without tables: %v (-want +got):\n%s", err, diff)
	}
	if s := slices.Sorted(maps.Keys(report.Splits)); len(s) != 3 {
		t.Errorf("splits %v, want three", s)
	}
}
