package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mlops/internal/dataset"
	"mlops/internal/source"
)

// strict is a config with a spec whose limit is the default.
func strict(t *testing.T, keys string) Config {
	t.Helper()
	cfg := setup(t, keys)
	cfg.Spec = parse(t, strings.Replace(specText(keys), "rejects: {at_most: 100%}\n", "", 1))
	cfg.All, cfg.Batch = true, 20
	return cfg
}

// table has n good rows whose text good makes of their number.
func table(n int, row func(i int) string) string {
	var b strings.Builder
	b.WriteString(header)
	for i := range n {
		b.WriteString(row(i) + "\n")
	}
	return b.String()
}

func good(i int) string {
	return fmt.Sprintf("%d,p%d,%d.5,%s", i, i%7, i%100, []string{"yes", "no", "no"}[i%3])
}

// every returns row for each kth number and good for the others.
func every(k int, row func(i int) string) func(int) string {
	return func(i int) string {
		if i%k == 0 {
			return row(i)
		}
		return good(i)
	}
}

// progressHandler keeps the "done" of each progress line.
type progressHandler struct {
	slog.Handler
	done *[]int64
}

func (h progressHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h progressHandler) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "progress" {
		r.Attrs(func(a slog.Attr) bool {
			if a.Key == "done" {
				*h.done = append(*h.done, a.Value.Int64())
			}
			return true
		})
	}
	return nil
}

func progressLogger(done *[]int64) *slog.Logger {
	return slog.New(progressHandler{slog.DiscardHandler, done})
}

// pipeline runs the three steps up to the first that fails.
func pipeline(cfg Config) (last Report, err error) {
	for _, step := range []func(context.Context, Config) (Report, error){LoadRaw, Process, Split} {
		if last, err = step(context.Background(), cfg); err != nil {
			return last, err
		}
	}
	return last, nil
}

// checkEmpty checks that a run left nothing behind.
func checkEmpty(t *testing.T, cfg Config) {
	t.Helper()
	for _, database := range []string{cfg.Postgres.Raw, cfg.Postgres.Clean} {
		conn := connect(t, cfg, database)
		for _, name := range []string{"things", "things_batches", "things_rejected"} {
			if ok, err := exists(context.Background(), conn, name); err != nil || !ok {
				continue
			}
			if n := query(t, conn, "SELECT count(*) FROM "+name); n[0] != "0" {
				t.Errorf("%s.%s has %s rows, want none", database, name, n[0])
			}
		}
	}
}

// TestLossesStop has a table and a spec that lose more rows than the limit: the
// run stops with the step, the column, the count, an example and the setting
// that would help, and leaves nothing behind.
func TestLossesStop(t *testing.T) {
	t.Parallel()
	tests := []struct {
		why   string
		table string
		want  []string // parts of the error
		class string   // the reason that metrics name
	}{
		{"thousands separators", table(100, every(4, func(i int) string { return fmt.Sprintf("%d,p,\"1,%03d.94\",yes", i, i) })),
			[]string{"process-data rejected 25 of 100 raw rows (25.0%)", "at_most allows 5%", "25 rows rejected: column Size-cm is not a number", `line 2: "1,000.94"`, `source: {thousands: ","}`}, wrongType},
		{"a decimal comma", table(100, every(4, func(i int) string { return fmt.Sprintf("%d,p,\"%d,94\",yes", i, i) })),
			[]string{`line 2: "0,94"`, `source: {decimal: ","}`}, wrongType},
		{"Latin-1", table(100, every(3, func(i int) string { return fmt.Sprintf("%d,Zo\xe9,1,yes", i) })),
			[]string{"load-raw-data rejected", "of 100 lines", "invalid UTF-8, it looks like windows-1252 (Latin-1)", `"Zoé"`, "source: {encoding: windows-1252}"}, encoding},
		{"fractions in an integer column", table(100, every(2, func(i int) string { return fmt.Sprintf("%d.5,p,1,yes", i) })),
			[]string{"50 rows rejected: column id is not an integer", "type: number would read it"}, wrongType},
		{"a marker that the spec does not name", table(100, every(5, func(i int) string { return fmt.Sprintf("%d,p,null,yes", i) })),
			[]string{"20 rows rejected", `missing: ["null"]`}, wrongType},
		{"a number above the largest float32", table(100, every(10, func(i int) string { return fmt.Sprintf("%d,p,1e39,yes", i) })),
			[]string{"10 rows rejected: column Size-cm is too large for a model", `"1e39"`}, outOfRange},
		{"too few fields", table(100, every(10, func(i int) string { return fmt.Sprintf("%d,p", i) })),
			[]string{"load-raw-data rejected", "not a line of 4 fields", `"0,p"`}, malformed},
		{"a key that is no key", table(100, func(i int) string { return fmt.Sprintf("%d,p,1,yes", i%10) }),
			[]string{"column id is a key that is there already", "name another key"}, repeatedKey},
	}
	for _, tt := range tests {
		t.Run(tt.why, func(t *testing.T) {
			t.Parallel()
			cfg := strict(t, "key: id").from(t, tt.table)
			_, err := pipeline(cfg)
			var lost *LossError
			if !errors.As(err, &lost) || ExitCode(err) != 2 {
				t.Fatalf("got %v, exit code %d; want a LossError and 2", err, ExitCode(err))
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got\n%s\nwant %q in it", err, want)
				}
			}
			checkReport(t, lost.Report)
			if diff := cmp.Diff(map[string]int64{tt.class: lost.Report.Rejected}, lost.Report.Reasons); diff != "" {
				t.Errorf("reasons (-want +got):\n%s", diff)
			}
			checkEmpty(t, cfg)
			// The mended table loads whole, under the same keys.
			mended := cfg.from(t, table(100, good))
			if r, err := pipeline(mended); err != nil || r.Taken != 100 {
				t.Errorf("the mended table: %+v, %v; want 100 rows with a split", r, err)
			}
		})
	}
}

// A row without a value in a required column is rejected, whatever says that it has
// none, and the others stay.
func TestRequired(t *testing.T) {
	t.Parallel()
	cfg := setup(t, "key: id")
	cfg.Spec = parse(t, strings.Replace(specText("key: id"), "max: 300}", "max: 300, required: true}", 1))
	cfg.All = true
	cfg = cfg.from(t, header+"1,a,5,yes\n2,?,6,no\n3,c,,yes\n4,d,?,no\n5,e,  ,yes\n6,f,0,no\n")
	if _, err := LoadRaw(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	got, err := Process(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	want := Report{Step: "process-data", Batches: 1, Read: 6, Taken: 3, Rejected: 3, Reasons: map[string]int64{missingValue: 3}, Losses: []Loss{{
		Column: "Size-cm", Reason: "no value, and the column is required", Rows: 3, Line: 4, Value: "",
		Remedy: "take required: true from column Size-cm in the spec to keep such rows",
	}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
	var reason string
	if err := connect(t, cfg, cfg.Postgres.Clean).QueryRow(t.Context(), "SELECT reason FROM things_rejected WHERE line = 5").Scan(&reason); err != nil || reason != `"?" is no value, and the column is required` {
		t.Errorf("reason %q, %v", reason, err)
	}
}

// TestLossesMendedBySpec runs the same table again with a spec that reads it.
func TestLossesMendedBySpec(t *testing.T) {
	t.Parallel()
	cfg := strict(t, "key: id").from(t, table(100, every(4, func(i int) string { return fmt.Sprintf("%d,p,\"1,%03d.94\",yes", i, i) })))
	if _, err := pipeline(cfg); ExitCode(err) != 2 {
		t.Fatalf("got %v, want a LossError", err)
	}
	text := string(cfg.Spec.Text())
	for _, mend := range []struct{ why, old, new string }{
		{"the setting that the error names", "task: binary\n", "task: binary\nsource: {thousands: \",\"}\n"},
		{"another type, and with it another table", "{name: Size-cm, type: number, min: 0, max: 300}", "{name: Size-cm, type: category}"},
	} {
		t.Run(mend.why, func(t *testing.T) {
			again := strict(t, "key: id")
			again.Source = cfg.Source
			if _, err := pipeline(again); ExitCode(err) != 2 {
				t.Fatalf("got %v, want a LossError", err)
			}
			mended := strings.Replace(strings.Replace(text, ", max: 300", "", 1), strings.Replace(mend.old, ", max: 300", "", 1), mend.new, 1)
			mended = strings.Replace(mended, "- {number: Size-cm}", "- {category: who}", 1)
			again.Spec = parse(t, mended)
			if r, err := pipeline(again); err != nil || r.Taken != 100 {
				t.Errorf("got %+v, %v; want 100 rows with a split", r, err)
			}
		})
	}
}

// TestLossesLeaveOldRows has a second source above the limit: what the first one
// brought stays as it is.
func TestLossesLeaveOldRows(t *testing.T) {
	t.Parallel()
	cfg := strict(t, "key: id").from(t, table(100, good))
	if _, err := pipeline(cfg); err != nil {
		t.Fatal(err)
	}
	raw, clean := connect(t, cfg, cfg.Postgres.Raw), connect(t, cfg, cfg.Postgres.Clean)
	state := func() []string {
		all := query(t, raw, `SELECT 'raw', t.*::text FROM things t ORDER BY _line`)
		all = append(all, query(t, raw, `SELECT 'batches', t.*::text FROM things_batches t WHERE rows > 0 ORDER BY id`)...)
		all = append(all, query(t, clean, `SELECT 'clean', t.*::text FROM things t ORDER BY _line`)...)
		return append(all, query(t, clean, `SELECT 'batches', t.*::text FROM things_batches t ORDER BY batch`)...)
	}
	before := state()
	for _, bad := range []string{
		table(200, func(i int) string { // fails in the load
			if i < 100 {
				return good(i)
			}
			return fmt.Sprintf("%d,too few", i)
		}),
		table(200, func(i int) string { // fails when it is cleaned
			if i < 100 {
				return good(i)
			}
			return fmt.Sprintf("%d,p,none,yes", i)
		}),
	} {
		if _, err := pipeline(cfg.from(t, bad)); ExitCode(err) != 2 {
			t.Fatalf("got %v, want a LossError", err)
		}
		if diff := cmp.Diff(before, state()); diff != "" {
			t.Errorf("the old rows changed (-before +after):\n%s", diff)
		}
	}
	if r, err := pipeline(cfg.from(t, table(200, good))); err != nil || r.Taken != 100 {
		t.Errorf("a good table after them: %+v, %v; want 100 new rows", r, err)
	}
}

// TestLossesWithin has a table below the limit: it goes on, and the reports tell.
func TestLossesWithin(t *testing.T) {
	t.Parallel()
	cfg := strict(t, "key: id").from(t, table(100, func(i int) string {
		switch i {
		case 10:
			return "10,too few"
		case 20:
			return "20,p,nonsense,yes"
		case 30:
			return "30,\"two\nlines\",1,yes"
		}
		return good(i)
	}))
	var done []int64
	cfg.Logger = progressLogger(&done)
	r, err := LoadRaw(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	want := []Loss{{Reason: "not a line of 4 fields", Rows: 1, Line: 12, Value: "10,too few", Remedy: "the line has too few fields: if it is a note or a total, it is no row of the table; take it out"}}
	if diff := cmp.Diff(want, r.Losses); diff != "" || r.Read != 100 || r.Taken != 99 {
		t.Errorf("load: %+v (-want +got):\n%s", r, diff)
	}
	if last := done[len(done)-1]; last != 99 {
		t.Errorf("progress ends at %d, want 99 rows: neither the rejected line nor the second half of a row is one", last)
	}
	if r, err = Process(context.Background(), cfg); err != nil {
		t.Fatal(err)
	}
	want = []Loss{{Column: "Size-cm", Reason: "not a number", Rows: 1, Line: 22, Value: "nonsense",
		Remedy: `missing: ["nonsense"] would take it for a missing value, type: category for text`}}
	if diff := cmp.Diff(want, r.Losses); diff != "" || r.Read != 99 || r.Taken != 98 {
		t.Errorf("process: %+v (-want +got):\n%s", r, diff)
	}
	all, err := Losses(context.Background(), connect(t, cfg, cfg.Postgres.Clean), "things")
	want[0].Remedy = ""
	if diff := cmp.Diff(want, all); err != nil || diff != "" {
		t.Errorf("Losses: %v (-want +got):\n%s", err, diff)
	}
	ledger, err := Ledger(context.Background(), connect(t, cfg, cfg.Postgres.Raw), connect(t, cfg, cfg.Postgres.Clean), cfg.Spec)
	if err != nil {
		t.Fatal(err)
	}
	if raw, clean := ledger[0], ledger[1]; raw.Read != 100 || raw.Rejected != 1 || len(raw.Losses) != 1 || clean.Read != 99 || clean.Rejected != 1 || len(clean.Losses) != 1 || clean.Losses[0].Remedy == "" {
		t.Errorf("Ledger: %+v, want a row lost in each step, with its remedy", ledger)
	}
	// At the limit is within it: five rows of a hundred.
	cfg = strict(t, "key: id").from(t, table(100, every(20, func(i int) string { return "too,few" })))
	if _, err := pipeline(cfg); err != nil {
		t.Errorf("5 of 100: %v", err)
	}
}

// TestUnfinishedLoadIsNotCleaned has a load that was broken off: its batches wait
// until it is finished, or until another source is loaded.
func TestUnfinishedLoadIsNotCleaned(t *testing.T) {
	t.Parallel()
	cfg := strict(t, "key: id").from(t, table(100, good))
	if _, err := LoadRaw(context.Background(), cfg); err != nil {
		t.Fatal(err)
	}
	raw := connect(t, cfg, cfg.Postgres.Raw)
	unfinished := func(where string) {
		t.Helper()
		if _, err := raw.Exec(context.Background(), "UPDATE things_batches SET accepted = false WHERE "+where); err != nil {
			t.Fatal(err)
		}
	}
	unfinished("true")
	if r := process(t, Config{Spec: cfg.Spec, Postgres: cfg.Postgres, Logger: quiet}); r.Read != 0 {
		t.Errorf("cleaned %+v of an unfinished load", r)
	}
	// A grown table comes: the first one was good as far as it came.
	r, err := pipeline(cfg.from(t, table(150, good)))
	if err != nil || r.Taken != 150 {
		t.Errorf("the grown table: %+v, %v; want 150 rows", r, err)
	}
	// An unfinished bad one is taken back when the next source comes.
	unfinished("id = (SELECT max(id) FROM things_batches)")
	if _, err := raw.Exec(context.Background(), "UPDATE things_batches SET rejected = 1000 WHERE NOT accepted"); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadRaw(context.Background(), cfg.from(t, table(160, good))); err != nil {
		t.Fatal(err)
	}
	if got := query(t, raw, "SELECT count(DISTINCT id) FROM things"); got[0] != "160" {
		t.Errorf("%s keys in raw, want 160", got[0])
	}
}

// TestNamesDoNotClash has columns that Postgres and the platform use themselves,
// and data sets named like what is kept beside another.
func TestNamesDoNotClash(t *testing.T) {
	t.Parallel()
	cfg := setup(t, "")
	cfg.All = true
	names := []string{"xmin", "xmax", "cmin", "cmax", "ctid", "tableoid", "split", "oid", "batch", "line", "select", "user", "column"}
	var columns, row []string
	for _, n := range names {
		columns = append(columns, "  - {name: "+n+", type: category}")
		row = append(row, "v-"+n)
	}
	for _, name := range []string{"b", "b_key", "b_place", "b_batches_pkey", "b_batches_id_seq", "b_batches_digest_batch_key", "b_split_pkey", "text", "b_key_key"} {
		for _, key := range []string{"key: xmin", ""} {
			if key == "" && name != "b" {
				continue
			}
			spec := strings.NewReplacer("name: things\n", "name: "+name+"\n", "key: none\n", key+"\n",
				"  - {name: id, type: integer}\n", "  - {name: id, type: integer}\n"+strings.Join(columns, "\n")+"\n").Replace(specText("key: none"))
			c := cfg
			if key == "" {
				c = setup(t, "")
				c.All = true
			}
			c.Spec = parse(t, spec)
			c = c.from(t, "id,"+strings.Join(names, ",")+",who,Size-cm,good\n1,"+strings.Join(row, ",")+",a,1,yes\n2,"+strings.ReplaceAll(strings.Join(row, ","), "v-xmin", "other")+",a,1,no\n")
			if r, err := pipeline(c); err != nil || r.Taken != 2 {
				t.Fatalf("data set %s, %s: %+v, %v", name, key, r, err)
			}
			conn := connect(t, c, c.Postgres.Clean)
			err := Rows(context.Background(), conn, c.Spec, Selection{}, func(split string, f [][]byte) error {
				for i, n := range names {
					if string(f[1+i]) != row[i] && string(f[1+i]) != "other" {
						return fmt.Errorf("column %s is %q", n, f[1+i])
					}
				}
				return nil
			})
			if err != nil {
				t.Errorf("data set %s: %v", name, err)
			}
		}
	}
}

func TestRemedies(t *testing.T) {
	t.Parallel()
	spec := parse(t, specText("key: id"))
	for value, want := range map[string]string{
		"1,461.94":   `thousands: ","`,
		"-12,461":    `thousands: ","`,
		"1.461,94":   `decimal: ",", thousands: "."`,
		"1 461":      `thousands: " "`,
		"27,5":       `decimal: ","`,
		"12.5 kg":    "unit",
		"$12":        "unit",
		"2026-11-28": "type: date",
		"28.11.2026": `format: "DD.MM.YYYY"`,
		"true":       "type: boolean",
		"n/a":        `missing: ["n/a"]`,
	} {
		if got := remedy(spec, &Loss{Column: "Size-cm", Reason: "not a number", Value: value}); !strings.Contains(got, want) {
			t.Errorf("%q: got %q, want %q in it", value, got, want)
		}
	}
	dates := parse(t, strings.Replace(specText("key: id"), "{name: who, type: category}", "{name: who, type: date}", 1))
	for value, want := range map[string]string{
		"28.11.2026":             `format: "DD.MM.YYYY" would read it`,
		"11/28/2026 05:33:00 PM": `format: "MM/DD/YYYY hh:mm:ss AM"`,
		"04/05/2026":             `may be "DD/MM/YYYY" or "MM/DD/YYYY"`,
		"unknown":                `missing: ["unknown"]`,
	} {
		if got := remedy(dates, &Loss{Column: "who", Reason: "not a date in ISO 8601 (2024-01-31)", Value: value}); !strings.Contains(got, want) {
			t.Errorf("%q: got %q, want %q in it", value, got, want)
		}
	}
	if got := remedy(spec, &Loss{Column: "who", Reason: valueMissing}); !strings.Contains(got, "required: true") {
		t.Errorf("a required column without a value: remedy %q", got)
	}
	for text, want := range map[string]string{"1,Zo\xe9,2": "windows-1252", "1,Zo\x82 L\x82a,2": "cp850", "a,M\xfcller": "windows-1252"} {
		if got, _ := source.GuessEncoding([]byte(text)); !strings.Contains(got, want) {
			t.Errorf("%q: got %q, want %s", text, got, want)
		}
	}
}

// TestTarget has a target of which no row, or every row, is positive.
func TestTarget(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ why, column, positive, want string }{
		{"another case", "{name: good, type: category}", `["yes"]`, `no row has good = "yes"; there are "No" (75) and "Yes" (25)`},
		{"every row", "{name: good, type: category}", `["Yes", "No"]`, `every row with a target is positive; good is "No" (75) and "Yes" (25)`},
		{"a value that is there", "{name: good, type: category}", `["Yes"]`, ""},
	} {
		t.Run(tt.why, func(t *testing.T) {
			cfg := strict(t, "key: id").from(t, table(100, func(i int) string {
				return fmt.Sprintf("%d,p,1,%s", i, []string{"Yes", "No", "No", "No"}[i%4])
			}))
			cfg.Spec = parse(t, strings.Replace(string(cfg.Spec.Text()), "positive: [yes]", "positive: "+tt.positive, 1))
			_, err := pipeline(cfg)
			if tt.want == "" {
				if err != nil {
					t.Errorf("got %v", err)
				}
				return
			}
			if ExitCode(err) != 2 || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, exit code %d; want 2 and %q", err, ExitCode(err), tt.want)
			}
		})
	}
	numbers := make([]class, maxClasses+1)
	if got := targetProblem(&dataset.Spec{Task: dataset.Binary, Target: dataset.Target{Column: "y", Positive: []string{"1"}}}, numbers); !strings.HasSuffix(got, "and others: correct target.positive in the spec") {
		t.Errorf("many values: %s", got)
	}
}
