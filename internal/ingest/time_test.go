package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"mlops/internal/dataset"
)

// visits is the spec of rows that are split by a column at of that type.
func visits(kind, from, to string) string {
	return strings.NewReplacer(
		"  - {name: good, type: category}\n", "  - {name: good, type: category}\n  - {name: at, type: "+kind+"}\n",
		"split: {salts: [s1, s2], train: 60, validation: 20, test: 20}", fmt.Sprintf("split: {by: at, validation_from: %s, test_from: %s}", from, to),
	).Replace(specText("key: id\ngroup: who"))
}

// visited is a table with a row per value of at; each two rows are of one group.
func visited(at ...string) string {
	var b strings.Builder
	b.WriteString("id,who,Size-cm,good,at\n")
	for i, v := range at {
		fmt.Fprintf(&b, "%d,p%d,%d,%s,%s\n", i, i/2, i%250, []string{"yes", "no"}[i%2], v)
	}
	return b.String()
}

const bySplit = "SELECT split, count(*), min(at), max(at) FROM things GROUP BY 1 ORDER BY 3"

// TestSplitByTime splits rows by columns of every kind that can: in Postgres as in a
// preview, the same in whichever batch a row comes.
func TestSplitByTime(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		kind, from, to string
		value          func(i int) string
	}{
		{"date", "2024-01-01", "2024-07-01 12:00", func(i int) string {
			return fmt.Sprintf("202%d-0%d-0%d %02d:00:00.25", 2+i%3, 1+i%9, 1+i%7, i%24)
		}},
		{"integer", "-3", "1000", func(i int) string { return fmt.Sprint(i*37%3000 - 700) }},
		{"number", "9.5", "1e3", func(i int) string { return fmt.Sprintf("%d.%d", i*37%3000-700, i%10) }},
	} {
		t.Run(tt.kind, func(t *testing.T) {
			t.Parallel()
			var values []string
			for i := range 300 {
				values = append(values, tt.value(i))
			}
			cfg := setup(t, "")
			cfg.Spec = parse(t, visits(tt.kind, tt.from, tt.to))
			cfg = cfg.from(t, visited(values...))
			cfg.All, cfg.Batch = true, 70
			if r, err := pipeline(cfg); err != nil || r.Taken != 300 {
				t.Fatalf("%s, %v", r, err)
			}
			clean := connect(t, cfg, cfg.Postgres.Clean)
			want := map[string]int{}
			if err := Rows(context.Background(), clean, cfg.Spec, Selection{}, func(split string, fields [][]byte) error {
				if of := cfg.Spec.SplitOf(fields[4]); of != split {
					t.Errorf("%s is in %s, want %s", fields[4], split, of)
				}
				want[split]++
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			if len(want) != 3 {
				t.Fatalf("a split has no rows: %v", want)
			}
			p, err := Try(context.Background(), cfg, nil)
			if err != nil {
				t.Fatal(err)
			}
			for split, n := range want {
				if p.Parts[split].Rows != n {
					t.Errorf("a preview has %d rows in %s, want %d", p.Parts[split].Rows, split, n)
				}
			}
			// Another salt is nothing to a split by time.
			if err := Rows(context.Background(), clean, cfg.Spec, Selection{Salt: "s2", Splits: []string{dataset.Test}}, func(split string, fields [][]byte) error {
				want[dataset.Test]--
				return nil
			}); err != nil || want[dataset.Test] != 0 {
				t.Errorf("%d test rows more by another salt, %v", -want[dataset.Test], err)
			}
		})
	}
}

// TestRowsWithoutTime rejects rows that have no place in time, in a preview as in the
// step, with what helps.
func TestRowsWithoutTime(t *testing.T) {
	t.Parallel()
	cfg := setup(t, "")
	cfg.Spec = parse(t, visits("date", "2024-01-01", "2024-07-01"))
	cfg = cfg.from(t, visited("2023-05-01", "2023-05-02", "", "?", "soon", "2024-02-01", "2024-08-01", "2024-08-02"))
	cfg.All = true
	load(t, cfg)
	r := process(t, cfg)
	p, err := Try(context.Background(), cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []Report{r, p.Clean} {
		i := slices.IndexFunc(r.Losses, func(l Loss) bool { return l.Reason == timeMissing })
		if r.Taken != 5 || r.Rejected != 3 || i < 0 || r.Losses[i].Rows != 2 || r.Losses[i].Line != 4 || !strings.Contains(r.Losses[i].Remedy, "by a hash") {
			t.Errorf("got %s; want 3 rows rejected, 2 of them for want of a date, the first on line 4", r)
		}
	}
}

// TestGroupsInTime counts groups on both sides of a boundary, with one of them, and says
// where a split has hardly any rows.
func TestGroupsInTime(t *testing.T) {
	t.Parallel()
	cfg := setup(t, "")
	cfg.Spec = parse(t, visits("integer", "10", "20"))
	values := []string{"1", "2", "3", "11", "4", "5", "12", "25", "21", "22", "23", "24"} // of p0 to p5
	cfg = cfg.from(t, visited(values...))
	cfg.All = true
	r, err := pipeline(cfg)
	if err != nil {
		t.Fatal(err)
	}
	p, err := Try(context.Background(), cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	const both = "2 of 6 groups have rows on both sides of a boundary, for example who p1"
	const small = "only 41 % of the rows are before at 10 and train"
	for _, notes := range [][]string{r.Notes, p.Notes(cfg.Spec)} {
		if text := strings.Join(notes, "\n"); len(notes) != 2 || !strings.Contains(text, both) || !strings.Contains(text, small) {
			t.Errorf("got the notes\n%s\nwant %q and %q", text, both, small)
		}
	}
	outside := cfg.with(t, "test_from: 20", "test_from: 99")
	if p, err = Try(context.Background(), outside, nil); err != nil || !strings.Contains(strings.Join(p.Notes(outside.Spec), "\n"), "the split test has no rows") ||
		!strings.Contains(strings.Join(p.Stops(outside.Spec), "\n"), "move split.test_from to earlier") {
		t.Errorf("a boundary beyond all rows: %q, %q, %v", p.Notes(outside.Spec), p.Stops(outside.Spec), err)
	}
}

// TestBoundariesMove moves the boundaries to later, which moves rows, and back, which is
// refused; a hash in place of the column is too.
func TestBoundariesMove(t *testing.T) {
	t.Parallel()
	cfg := setup(t, "")
	cfg.Spec = parse(t, visits("date", "2024-02-01", "2024-03-01"))
	cfg = cfg.from(t, visited("2024-01-10", "2024-01-20", "2024-02-10", "2024-02-20", "2024-03-10", "2024-03-20", "2024-04-10", "2024-04-20"))
	cfg.All = true
	if _, err := pipeline(cfg); err != nil {
		t.Fatal(err)
	}
	clean := connect(t, cfg, cfg.Postgres.Clean)
	digest := func(cfg Config) string {
		d, err := DataDigest(context.Background(), clean, cfg.Spec)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	first := digest(cfg)
	later := cfg.with(t, "2024-02-01", "2024-03-01", "2024-03-01", "2024-04-01")
	r, err := pipeline(later)
	if err != nil || fmt.Sprint(r.Splits) != "map[test:2 train:4 validation:2]" {
		t.Fatalf("later boundaries: %v, %v", r.Splits, err)
	}
	if got, want := fmt.Sprint(query(t, clean, bySplit)), "[train|4|2024-01-10 00:00:00|2024-02-20 00:00:00 validation|2|2024-03-10 00:00:00|2024-03-20 00:00:00 test|2|2024-04-10 00:00:00|2024-04-20 00:00:00]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if digest(later) == first {
		t.Error("other boundaries, and the data have the same digest: nothing would be trained")
	}
	for why, changed := range map[string]Config{
		"earlier boundaries": cfg,
		"an earlier test":    later.with(t, "test_from: 2024-04-01", "test_from: 2024-03-15"),
		"a hash":             later.with(t, "by: at, validation_from: 2024-03-01, test_from: 2024-04-01", "salts: [s1], train: 60, validation: 20, test: 20"),
	} {
		var other *Mismatch
		if _, err := pipeline(changed); !errors.As(err, &other) || !strings.Contains(err.Error(), "rows would move from one split to another") {
			t.Errorf("%s: %v", why, err)
		}
		if ok, err := exists(context.Background(), clean, before+"."+tablesOf(cfg.Spec).rows); err != nil || ok {
			t.Errorf("%s: the rows were being cleaned again before it was refused (%v)", why, err)
		}
	}
	if _, err := pipeline(later); err != nil {
		t.Errorf("the spec put back: %v", err)
	}
}

// TestReplacedInTime corrects the date of a row: it goes where it belongs, as if it had
// come so at first.
func TestReplacedInTime(t *testing.T) {
	t.Parallel()
	cfg := setup(t, "")
	cfg.Spec = parse(t, strings.Replace(visits("date", "2024-02-01", "2024-03-01"), "key: id", "on_change: replace\nkey: id", 1))
	cfg = cfg.from(t, visited("2024-01-10", "2024-01-20", "2024-02-10", "2024-03-20"))
	cfg.All = true
	if _, err := pipeline(cfg); err != nil {
		t.Fatal(err)
	}
	cfg = cfg.from(t, visited("2024-01-10", "2024-03-21", "2024-02-11", "2024-03-20"))
	if _, err := pipeline(cfg); err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(query(t, connect(t, cfg, cfg.Postgres.Clean), "SELECT id, split FROM things ORDER BY 1"))
	if want := "[0|train 1|test 2|validation 3|test]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestTimeReadOtherwise reads the dates in another format: rows go where they belong now.
func TestTimeReadOtherwise(t *testing.T) {
	t.Parallel()
	cfg := setup(t, "")
	cfg.Spec = parse(t, strings.NewReplacer("{name: at, type: date}", `{name: at, type: date, format: MM/DD/YYYY}`, "group: who\n", "").Replace(visits("date", "2024-02-01", "2024-03-01")))
	cfg = cfg.from(t, visited("01/02/2024", "02/01/2024", "02/03/2024", "03/01/2024"))
	cfg.All = true
	if _, err := pipeline(cfg); err != nil {
		t.Fatal(err)
	}
	cfg = cfg.with(t, "MM/DD/YYYY", "DD/MM/YYYY")
	if _, err := pipeline(cfg); err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(query(t, connect(t, cfg, cfg.Postgres.Clean), "SELECT id, split FROM things ORDER BY 1"))
	if want := "[0|validation 1|train 2|test 3|train]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
