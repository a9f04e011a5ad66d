package ingest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// with returns the config with the spec's text changed.
func (c Config) with(t testing.TB, oldnew ...string) Config {
	t.Helper()
	text := string(c.Spec.Text())
	for i := 0; i < len(oldnew); i += 2 {
		if !strings.Contains(text, oldnew[i]) {
			t.Fatalf("%q is not in the spec", oldnew[i])
		}
	}
	c.Spec = parse(t, strings.NewReplacer(oldnew...).Replace(text))
	return c
}

const (
	size = "{name: Size-cm, type: number, min: 0, max: 300}"
	who  = "{name: who, type: category}"
)

// TestChangedSpec changes the spec after a table was loaded: clean is rebuilt
// from raw, says why, and every row keeps its split.
func TestChangedSpec(t *testing.T) {
	t.Parallel()
	text := table(60, func(i int) string {
		return fmt.Sprintf("%d,%d,%d.0,%s", i, i%7, i*10, []string{"yes", "no"}[i%2])
	}) // 29 sizes are above 300
	for _, tt := range []struct {
		why     string
		oldnew  []string
		changed string
		check   string // of clean
		want    string
	}{
		{"a wider range", []string{"max: 300", "max: 1000"}, "column Size-cm was number, missing \"?\", min 0, max 300; is number, missing \"?\", min 0, max 1000", "SELECT count(*) FROM things", "60"},
		{"a narrower range", []string{"max: 300", "max: 100"}, "max 100", "SELECT count(*) FROM things", "11"},
		{"another type", []string{who, "{name: who, type: integer}"}, "column who was category, missing \"?\"; is integer, missing \"?\"", "SELECT pg_typeof(who), count(*) FROM things GROUP BY 1", "bigint|31"},
		{"a missing marker", []string{"max: 300}", `max: 300, missing: ["10"]}`}, `missing "10" "?"`, `SELECT count(*) FROM things WHERE "Size-cm" IS NULL`, "1"},
		{"a column left out", []string{"  - " + who + "\n", "", "source: {", "source: {"}, "column who is left out", "SELECT count(*) FROM information_schema.columns WHERE table_name = 'things' AND column_name = 'who' AND table_schema = 'public'", "0"},
		{"a column renamed", []string{who, "{name: person, from: who, type: category}"}, "column person was called who", "SELECT count(person) FROM things", "31"},
		{"the key renamed", []string{"key: id", "key: number", "{name: id, type: integer}", "{name: number, from: id, type: integer}"}, "column number was called id", "SELECT count(DISTINCT number) FROM things", "31"},
	} {
		for _, key := range []string{"key: id", ""} {
			if key == "" && strings.Contains(tt.why, "key") {
				continue
			}
			t.Run(tt.why+" "+key, func(t *testing.T) {
				t.Parallel()
				cfg := setup(t, key).from(t, text).with(t, "task: binary", "task: binary\nsource: {ignore: all}")
				cfg.All, cfg.Batch = true, 25
				if _, err := pipeline(cfg); err != nil {
					t.Fatal(err)
				}
				clean := connect(t, cfg, cfg.Postgres.Clean)
				const splits = `SELECT _batch, _line, split FROM things ORDER BY 1, 2`
				before := query(t, clean, splits)
				changed := cfg.with(t, tt.oldnew...)
				if r := load(t, changed); !r.UsedUp || r.Batches != 0 {
					t.Errorf("load: %+v, want that the source is used up", r)
				}
				r := process(t, changed)
				if r.Rebuilt != r.Taken || r.Read != 60 || !strings.Contains(strings.Join(r.Changed, "; "), tt.changed) || !strings.Contains(r.String(), "rows cleaned again, because the spec changed: ") {
					t.Errorf("process: %s\nwant all rows made anew because %s", r, tt.changed)
				}
				split(t, changed)
				if got := query(t, clean, tt.check); got[0] != tt.want {
					t.Errorf("%s: got %v, want %s", tt.check, got, tt.want)
				}
				kept := map[string]bool{}
				for _, row := range query(t, clean, splits) {
					kept[row] = true
				}
				for _, row := range before {
					place := row[:strings.LastIndexByte(row, '|')]
					if !kept[row] && tt.want != "11" {
						t.Errorf("the row at %s has another split than %s", place, row)
					}
				}
				if r := process(t, changed); r.Read != 0 || len(r.Changed) != 0 {
					t.Errorf("a second run: %+v, want nothing to do", r)
				}
				// And back again.
				if _, err := pipeline(cfg); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(before, query(t, clean, splits)); diff != "" {
					t.Errorf("with the spec put back (-before +after):\n%s", diff)
				}
			})
		}
	}
}

// TestAddedColumn has a column that the table always had and the spec did not:
// it is filled in from the file, and the rows of another file lack it.
func TestAddedColumn(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"key: id", ""} {
		cfg := setup(t, key).with(t, "task: binary", "task: binary\nsource: {ignore: all}", "  - "+who+"\n", "")
		cfg.All, cfg.Batch = true, 20
		other := cfg.from(t, table(10, good))
		first := cfg.from(t, table(60, func(i int) string {
			if i == 30 {
				return "too few"
			}
			return good(i)
		}))
		for _, c := range []Config{other, first} {
			if _, err := pipeline(c); err != nil {
				t.Fatal(err)
			}
		}
		raw, clean := connect(t, cfg, cfg.Postgres.Raw), connect(t, cfg, cfg.Postgres.Clean)
		before := query(t, clean, "SELECT id, split FROM things ORDER BY id")
		whole := func(c Config) Config {
			return c.with(t, "  - {name: Size-cm", "  - "+who+"\n  - {name: Size-cm")
		}
		_, err := pipeline(whole(first))
		if key == "" {
			if ExitCode(err) != 2 || !strings.Contains(err.Error(), "10 rows of "+other.Source) || !strings.Contains(err.Error(), "load that file again first") {
				t.Errorf("without a key: got %v, want that the other file is to be loaded first", err)
			}
			if _, err := pipeline(whole(other)); err != nil {
				t.Errorf("the other file: %v", err)
			}
			if _, err := pipeline(whole(first)); err != nil {
				t.Errorf("the first file after it: %v", err)
			}
		} else {
			if err != nil {
				t.Fatal(err)
			}
			if got := query(t, clean, "SELECT count(who), count(*) FROM things"); got[0] != "49|59" {
				t.Errorf("%s values and rows, want 49|59: those of the other file lack it", got)
			}
			if r := load(t, whole(other)); r.Batches != 0 {
				t.Errorf("the other file again: %+v", r)
			}
			if r := process(t, whole(other)); len(r.Changed) == 0 {
				t.Errorf("the other file again: %+v, want clean made anew", r)
			}
			split(t, whole(other))
		}
		if got := query(t, raw, `SELECT count(*) FILTER (WHERE who = 'p' || (id::int % 7)), count(*) FROM things`); got[0] != "59|59" {
			t.Errorf("%q: %s values are right of rows, want 59|59", key, got)
		}
		if diff := cmp.Diff(before, query(t, clean, "SELECT id, split FROM things ORDER BY id")); diff != "" {
			t.Errorf("%q: splits (-before +after):\n%s", key, diff)
		}
		// A later file is compared with the whole rows.
		if r, err := pipeline(whole(cfg.from(t, table(70, good)))); err != nil || r.Taken != 11 {
			t.Errorf("%q: a grown file: %+v, %v; want 11 new rows", key, r, err)
		}
	}
}

// TestChangedSpecLosesTooMuch has a spec that most rows of raw don't fit: clean
// is as it was before, and raw keeps its rows.
func TestChangedSpecLosesTooMuch(t *testing.T) {
	t.Parallel()
	cfg := strict(t, "key: id").from(t, table(100, good))
	if _, err := pipeline(cfg); err != nil {
		t.Fatal(err)
	}
	before := state(t, cfg)
	wrong := cfg.with(t, who, "{name: who, type: number}")
	for range 2 {
		_, err := pipeline(wrong)
		var lost *LossError
		if !errors.As(err, &lost) || !strings.Contains(err.Error(), "the spec changed: column who was category") {
			t.Fatalf("got %v, want a LossError that names the change", err)
		}
		if diff := cmp.Diff(before, state(t, cfg)); diff != "" {
			t.Errorf("not as it was (-before +after):\n%s", diff)
		}
	}
	// With a new file in the same run, that one goes.
	if _, err := pipeline(wrong.from(t, table(150, good))); ExitCode(err) != 2 {
		t.Fatalf("got %v, want a LossError", err)
	}
	// What is left of it are batches of known rows.
	if diff := cmp.Diff(before, slices.DeleteFunc(state(t, cfg), func(s string) bool { return strings.HasPrefix(s, "raw batches") && strings.Contains(s, ",0,20,0,") })); diff != "" {
		t.Errorf("after a new file (-before +after):\n%s", diff)
	}
	if r, err := pipeline(cfg.from(t, table(150, good))); err != nil || r.Taken != 50 {
		t.Errorf("with the spec put back: %+v, %v; want 50 new rows", r, err)
	}
}

// TestSpecPutBackHalfWay has a run that was broken off while clean was rebuilt.
func TestSpecPutBackHalfWay(t *testing.T) {
	t.Parallel()
	cfg := strict(t, "key: id").from(t, table(100, good))
	if _, err := pipeline(cfg); err != nil {
		t.Fatal(err)
	}
	before := state(t, cfg)
	clean := connect(t, cfg, cfg.Postgres.Clean)
	for _, oldnew := range [][]string{{"max: 300", "max: 250"}, {"max: 300", "max: 200"}} {
		if err := createClean(context.Background(), clean, cfg.with(t, oldnew...).Spec, 0); err != nil {
			t.Fatal(err)
		}
		if got := query(t, clean, "SELECT count(*) FROM things"); got[0] != "0" {
			t.Fatalf("%s rows in the tables to be made anew, want none yet", got)
		}
	}
	if r := process(t, cfg); r.Read != 0 {
		t.Errorf("with the spec put back: %+v, want nothing to do", r)
	}
	if diff := cmp.Diff(before, state(t, cfg)); diff != "" {
		t.Errorf("not as it was (-before +after):\n%s", diff)
	}
}

// TestTablesDroppedByHand has the tables of clean dropped by somebody who does not
// know of the one that says what their columns mean.
func TestTablesDroppedByHand(t *testing.T) {
	t.Parallel()
	cfg := strict(t, "key: id").from(t, table(100, good))
	if _, err := pipeline(cfg); err != nil {
		t.Fatal(err)
	}
	clean := connect(t, cfg, cfg.Postgres.Clean)
	if _, err := clean.Exec(context.Background(), "DROP TABLE things, things_batches, things_rejected, things_split"); err != nil {
		t.Fatal(err)
	}
	for _, now := range []Config{cfg, cfg.with(t, "max: 300", "max: 250")} {
		if r, err := pipeline(now); err != nil {
			t.Fatal(err)
		} else if got := query(t, clean, "SELECT count(*) FROM things"); got[0] != "100" {
			t.Errorf("%s rows in clean after %+v, want 100", got, r)
		}
	}
}

// TestKilledRebuild kills process-data at random moments while it makes clean
// anew.
func TestKilledRebuild(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 4))
	const n = 12_000
	cfg := setup(t, "key: id").from(t, table(n, good))
	cfg.All, cfg.Batch = true, 500
	if _, err := pipeline(cfg); err != nil {
		t.Fatal(err)
	}
	clean := connect(t, cfg, cfg.Postgres.Clean)
	before := query(t, clean, "SELECT id, split FROM things ORDER BY id")
	changed := cfg.with(t, `missing: ["?"]`, `missing: ["?", "p3"]`)
	proxy := newProxy(t, changed)
	program := programs(t)["process-data"]
	kills := killTimes(t, rng, 120*time.Millisecond, func() *exec.Cmd { return command(t, changed, proxy.addr, program) }, func() { checkClean(t, cfg) })
	if t.Logf("%d kills", kills); kills == 0 {
		t.Error("the step was never killed: this tests nothing")
	}
	if diff := cmp.Diff(before, query(t, clean, "SELECT id, split FROM things ORDER BY id")); diff != "" {
		t.Errorf("keys and splits (-before +after):\n%s", diff)
	}
	if got := query(t, clean, "SELECT count(*) FROM things WHERE who IS NULL"); got[0] != fmt.Sprint((n+3)/7) {
		t.Errorf("%s rows without a value, want %d", got, (n+3)/7)
	}
	if got := query(t, clean, "SELECT count(*) FROM pg_class c JOIN pg_namespace s ON s.oid = relnamespace WHERE nspname = '_mlops_before'"); got[0] != "0" {
		t.Errorf("%s tables are left of the old ones", got)
	}
}

// TestChangedSpecOfAnEarlierRelease has tables that say nothing of what their
// columns meant.
func TestChangedSpecOfAnEarlierRelease(t *testing.T) {
	t.Parallel()
	cfg := strict(t, "").from(t, table(50, good))
	if _, err := pipeline(cfg); err != nil {
		t.Fatal(err)
	}
	raw, clean := connect(t, cfg, cfg.Postgres.Raw), connect(t, cfg, cfg.Postgres.Clean)
	before := query(t, clean, "SELECT id, split FROM things ORDER BY id")
	if _, err := clean.Exec(context.Background(), "DROP TABLE _things_meaning, things_replaced; ALTER TABLE things_batches DROP replaced, DROP gone, DROP lacks, DROP filled; ALTER TABLE things_rejected DROP replaced_by"); err != nil {
		t.Fatal(err)
	}
	if _, err := raw.Exec(context.Background(), "DROP TABLE things_replaced; ALTER TABLE things_batches DROP replaced, DROP gone, DROP lacks, DROP filled; ALTER TABLE things_rejected DROP replaced_by"); err != nil {
		t.Fatal(err)
	}
	load(t, cfg)
	if r := process(t, cfg); r.Rebuilt != 50 || len(r.Changed) != 1 || !strings.Contains(r.Changed[0], "earlier release") {
		t.Errorf("got %s, want 50 rows made anew", r)
	}
	if diff := cmp.Diff(before, query(t, clean, "SELECT id, split FROM things ORDER BY id")); diff != "" {
		t.Errorf("splits (-before +after):\n%s", diff)
	}
}
