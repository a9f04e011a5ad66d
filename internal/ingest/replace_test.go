package ingest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mlops/internal/dataset"
)

// replacing is a config whose spec replaces rows with a known key.
func replacing(t testing.TB, keys string) Config {
	t.Helper()
	cfg := setup(t, keys)
	cfg.Spec = parse(t, strings.Replace(specText(keys), "task: binary\n", "task: binary\non_change: replace\n", 1))
	cfg.All, cfg.Batch = true, 2
	return cfg
}

const historyOf = `SELECT h.id, who, "Size-cm", 'b' || _batch, _line, 'by b' || _replaced_by FROM things_replaced h ORDER BY _replaced_by, _batch, _line`

func TestReplace(t *testing.T) {
	t.Parallel()
	cfg := replacing(t, "key: id\ngroup: who")
	raw, clean := connect(t, cfg, cfg.Postgres.Raw), connect(t, cfg, cfg.Postgres.Clean)
	first := cfg.from(t, header+"1,ann,1,yes\n2,bob,2,no\n3,cid,3,no\n4,dee,4,yes\n5,eve,none,no\n")
	if r := load(t, first); r.Taken != 5 {
		t.Fatalf("first: %+v", r)
	}
	if r := process(t, first); r.Taken != 4 || r.Rejected != 1 {
		t.Fatalf("first, cleaned: %+v", r)
	}
	split(t, first)
	before := query(t, clean, "SELECT id, split FROM things WHERE id <> 3 ORDER BY id")

	next := cfg.from(t, header+
		"2,bob,2.0,no\n"+ // 2: the same in another spelling
		"1,ann,1.5,no\n"+ // 3: replaces
		"3,zoe,3,no\n"+ // 4: replaces, with another group
		"3,zoe,4,no\n"+ // 5: the key again in the same source
		"4,dee,bad,yes\n"+ // 6: replaces, and can't be cleaned
		"5,eve,5,yes\n"+ // 7: replaces one that could not be cleaned
		"6,fay,6,no\n") // 8: new
	r := load(t, next)
	want := Report{Batches: 4, Taken: 1, Known: 1, Replaced: 4, Rejected: 1, UsedUp: true,
		Replacement: &Replacement{Key: "id=1", Line: 3, Column: "Size-cm", Was: "1", Now: "1.5", Batch: 1, Before: 2}}
	if diff := cmp.Diff(want, r, counts); diff != "" {
		t.Errorf("load (-want +got):\n%s", diff)
	}
	if s := `4 rows replaced; for example line 3: id=1, column Size-cm was "1", is "1.5" (the earlier row: batch 1, line 2)`; !strings.Contains(r.String(), s) {
		t.Errorf("the report says\n%s\nwant %s", r, s)
	}
	if diff := cmp.Diff([]string{`7|key id=3 is already on line 4`}, append([]string{}, query(t, raw, "SELECT line + 2, reason FROM things_rejected")...)); diff != "" {
		t.Errorf("rejected (-want +got):\n%s", diff)
	}
	history := []string{"1|ann|1|b1|2|by b4", "3|cid|3|b2|4|by b5", "4|dee|4|b2|5|by b6", "5|eve|none|b3|6|by b6"}
	if diff := cmp.Diff(history, query(t, raw, historyOf)); diff != "" {
		t.Errorf("replaced rows of raw (-want +got):\n%s", diff)
	}
	r = process(t, next)
	want = Report{Batches: 4, Taken: 2, Replaced: 2, Rejected: 1}
	if diff := cmp.Diff(want, func() Report { r.Replacement = nil; return r }(), counts); diff != "" {
		t.Errorf("process (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"1|ann|1.5", "2|bob|2", "3|zoe|3", "5|eve|5", "6|fay|6"}, query(t, clean, `SELECT id, who, "Size-cm" FROM things ORDER BY id`)); diff != "" {
		t.Errorf("clean (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"1|ann|1|b1|2|by b4", "3|cid|3|b2|4|by b5", "4|dee|4|b2|5|by b6"}, query(t, clean, historyOf)); diff != "" {
		t.Errorf("replaced rows of clean (-want +got):\n%s", diff)
	}
	// Before it is shared out again: the split stays, but for the row whose group
	// is another one, and 4, which could not be cleaned.
	if diff := cmp.Diff(append(before[:2:2], `3|\N`, `5|\N`, `6|\N`), query(t, clean, "SELECT id, split FROM things ORDER BY id")); diff != "" {
		t.Errorf("splits (-want +got):\n%s", diff)
	}
	split(t, next)
	count, err := Count(context.Background(), raw, clean, cfg.Spec)
	if err != nil || count.Raw != 6 || count.Clean != 5 || count.Rejected != 1 || count.Replaced != 4 {
		t.Errorf("Count: %+v, %v; want raw 6 = clean 5 + rejected 1", count, err)
	}
	losses, err := Losses(context.Background(), clean, "things")
	if err != nil || len(losses) != 1 || losses[0].Value != "bad" {
		t.Errorf("Losses: %+v, %v; want the bad value alone: none was replaced", losses, err)
	}
	// A third source, and the second again.
	kept := &Absent{Rows: 4, Batch: 1, Line: 3, Text: "2,bob,2,no", Key: "id=2"}
	if diff := cmp.Diff(Report{Batches: 1, Replaced: 1, Known: 1, UsedUp: true, Absent: kept}, func() Report {
		r := load(t, cfg.from(t, header+"1,ann,1,yes\n6,fay,6,no\n"))
		r.Replacement = nil
		return r
	}(), counts); diff != "" {
		t.Errorf("back again (-want +got):\n%s", diff)
	}
	process(t, cfg)
	if got := query(t, clean, `SELECT "Size-cm", good FROM things WHERE id = 1`); got[0] != "1|yes" {
		t.Errorf("row 1 is %s, want 1|yes", got[0])
	}
	if r := load(t, next); r.Batches != 0 || !r.UsedUp {
		t.Errorf("the second source again: %+v, want that it is used up", r)
	}
}

// TestReplaceDoesNotDependOnBatches loads the same two sources in batches of many
// sizes, and cleans after each source or after both.
func TestReplaceDoesNotDependOnBatches(t *testing.T) {
	t.Parallel()
	old := header + "1,a,1,yes\n2,b,2,no\n3,c,3,no\n1,a,9,no\n"
	// Key 1: known, then replacing, then a repetition; key 2 replaces at once.
	next := header + "1,a,1,yes\n1,a,5,yes\n1,a,1,yes\n2,b,7,no\n2,b,7,no\n4,d,4,no\n3,c,3.0,no\n"
	var want []string
	for _, batch := range []int{1, 2, 3, 4, 100} {
		for _, late := range []bool{false, true} {
			cfg := replacing(t, "key: id")
			cfg.Batch = batch
			load(t, cfg.from(t, old))
			if !late {
				process(t, cfg)
			}
			load(t, cfg.from(t, next))
			process(t, cfg)
			split(t, cfg)
			raw, clean := connect(t, cfg, cfg.Postgres.Raw), connect(t, cfg, cfg.Postgres.Clean)
			got := query(t, raw, `SELECT 'raw', id, "Size-cm", _line FROM things ORDER BY id`)
			got = append(got, query(t, raw, `SELECT 'replaced', id, "Size-cm", _line FROM things_replaced ORDER BY id`)...)
			got = append(got, query(t, raw, `SELECT line, reason FROM things_rejected ORDER BY line`)...)
			got = append(got, query(t, clean, `SELECT 'clean', id, "Size-cm", _line, split FROM things ORDER BY id`)...)
			got = append(got, query(t, clean, `SELECT 'replaced', id, "Size-cm", _line FROM things_replaced ORDER BY id`)...)
			if want == nil {
				want = got
				if len(got) != 4+2+3+4+2 {
					t.Fatalf("got %v", got)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("batches of %d, cleaned late %v (-batches of 1 +got):\n%s", batch, late, diff)
			}
		}
	}
}

// state is all that the databases hold but for when it came, and what the ledgers
// say of batches that brought nothing.
func state(t *testing.T, cfg Config) []string {
	t.Helper()
	raw, clean := connect(t, cfg, cfg.Postgres.Raw), connect(t, cfg, cfg.Postgres.Clean)
	var all []string
	for _, sql := range []string{"SELECT 'raw', t.*::text FROM things t ORDER BY id", "SELECT 'raw replaced', t.*::text FROM things_replaced t ORDER BY id",
		"SELECT 'raw rejected', t.*::text FROM things_rejected t ORDER BY _batch, line", "SELECT 'raw batches', t.*::text FROM things_batches t ORDER BY id"} {
		all = append(all, query(t, raw, sql)...)
	}
	for _, sql := range []string{"SELECT 'clean', t.*::text FROM things t ORDER BY id", "SELECT 'clean replaced', t.*::text FROM things_replaced t ORDER BY id",
		"SELECT 'clean rejected', t.*::text FROM things_rejected t ORDER BY _batch, line", "SELECT 'clean batches', t.*::text FROM things_batches t ORDER BY batch"} {
		all = append(all, query(t, clean, sql)...)
	}
	return all
}

// TestReplacedIsTakenBack has sources that replace rows and lose too many: what
// was there before is there again, whichever step stops.
func TestReplacedIsTakenBack(t *testing.T) {
	t.Parallel()
	cfg := replacing(t, "key: id")
	cfg.Spec = parse(t, strings.Replace(string(cfg.Spec.Text()), "rejects: {at_most: 100%}\n", "", 1))
	cfg.Batch = 20
	first := table(100, func(i int) string {
		if i == 50 {
			return "50,p,nonsense,yes"
		}
		return good(i)
	})
	for _, text := range []string{first, table(100, func(i int) string { return fmt.Sprintf("%d,again,%d,%s", i, i%3, []string{"yes", "no"}[i%2]) })} {
		if _, err := pipeline(cfg.from(t, text)); err != nil {
			t.Fatal(err)
		}
	}
	before := state(t, cfg)
	other := func(i int) string { return fmt.Sprintf("%d,other,%d,no", i, i) }
	for _, bad := range []struct{ why, text string }{
		{"the load", table(120, func(i int) string {
			if i%4 == 0 {
				return fmt.Sprintf("%d,too few", i)
			}
			return other(i)
		})},
		{"the cleaning", table(120, func(i int) string {
			if i%4 == 0 {
				return fmt.Sprintf("%d,other,none,no", i)
			}
			return other(i)
		})},
	} {
		_, err := pipeline(cfg.from(t, bad.text))
		var lost *LossError
		if !errors.As(err, &lost) || lost.Report.Replaced == 0 {
			t.Fatalf("%s: got %v, want a LossError with replaced rows", bad.why, err)
		}
		if diff := cmp.Diff(before, state(t, cfg)); diff != "" {
			t.Errorf("%s: not as it was (-before +after):\n%s", bad.why, diff)
		}
		checkRaw(t, cfg)
		checkClean(t, cfg)
	}
	if r, err := pipeline(cfg.from(t, table(120, func(i int) string { return fmt.Sprintf("%d,other,%d,%s", i, i, []string{"yes", "no"}[i%2]) }))); err != nil || r.Taken != 20 {
		t.Errorf("a good source after them: %+v, %v; want the 20 new rows without a split", r, err)
	}
}

// TestKilledReplace kills the steps at random moments while every other row of a
// source replaces one.
func TestKilledReplace(t *testing.T) {
	t.Parallel()
	const n = 6000
	row := func(i, size int) string {
		return fmt.Sprintf("%d,p%d,%d,%s", i, i%50, size, []string{"yes", "no"}[i%2])
	}
	old := table(n, func(i int) string { return row(i, i%300) })
	grown := table(n+n/2, func(i int) string {
		switch {
		case i%100 == 7:
			return fmt.Sprintf("%d,too few", i)
		case i%100 == 9:
			return fmt.Sprintf("%d,p,nonsense,no", i)
		case i%2 == 0:
			return row(i, (i+1)%300)
		}
		return row(i, i%300)
	})
	calm := replacing(t, "key: id\ngroup: who")
	calm.Batch = 500
	wild := replacing(t, "key: id\ngroup: who")
	proxy := newProxy(t, wild)
	steps := programs(t)
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 2))
	kills := 0
	for _, text := range []string{old, grown} {
		if _, err := pipeline(calm.from(t, text)); err != nil {
			t.Fatal(err)
		}
		cfg := wild.from(t, text)
		kills += killTimes(t, rng, 120*time.Millisecond, func() *exec.Cmd {
			return command(t, cfg, proxy.addr, steps["load-raw-data"], "--all", "--batch=500", "--source="+cfg.Source)
		}, func() { checkRaw(t, cfg) })
		kills += killTimes(t, rng, 120*time.Millisecond, func() *exec.Cmd { return command(t, cfg, proxy.addr, steps["process-data"]) }, func() { checkClean(t, cfg) })
		kills += killTimes(t, rng, 30*time.Millisecond, func() *exec.Cmd { return command(t, cfg, proxy.addr, steps["load-val-test-data"]) }, func() {})
	}
	if kills == 0 {
		t.Error("no step was killed: this tests nothing")
	}
	t.Logf("%d kills", kills)
	// Ids of batches differ, since a batch that was broken off has used one up.
	for _, database := range []struct{ name, calm, wild, split, id string }{
		{"raw", calm.Postgres.Raw, wild.Postgres.Raw, "''", "id"}, {"clean", calm.Postgres.Clean, wild.Postgres.Clean, "split", "batch"},
	} {
		sql := fmt.Sprintf(`SELECT t.id, who, "Size-cm", good, digest, _line, %[1]s FROM things t JOIN things_batches b ON b.%[2]s = _batch
			UNION ALL SELECT t.id, who, "Size-cm", good, digest, _line, 'replaced' FROM things_replaced t JOIN things_batches b ON b.%[2]s = _batch ORDER BY 1, 5, 6`, database.split, database.id)
		want, got := query(t, connect(t, calm, database.calm), sql), query(t, connect(t, wild, database.wild), sql)
		if diff := cmp.Diff(want, got); diff != "" || len(got) < n+n/2 {
			t.Errorf("%s, %d rows (-calm +killed):\n%s", database.name, len(got), diff)
		}
	}
}

func TestOnChangeInTheSpec(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"task: binary\non_change: repalce\nkey: id": `did you mean "replace"?`,
		"task: binary\non_change: replace":          "on_change: replace needs a key",
		"task: binary\non_change: reject":           "",
		"task: binary\non_change: replace\nkey: id": "",
	} {
		_, err := dataset.Parse([]byte(strings.Replace(specText(""), "task: binary", text, 1)))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}
