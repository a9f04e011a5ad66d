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

// lines has a header and these rows.
func lines(rows ...string) string { return header + strings.Join(rows, "\n") + "\n" }

// contents are all rows of raw without where they came from.
func contents(t *testing.T, cfg Config) []string {
	t.Helper()
	return query(t, connect(t, cfg, cfg.Postgres.Raw), `SELECT t.id, who, "Size-cm", good FROM things t ORDER BY t.id, who, "Size-cm", good`)
}

// TestRowsWithoutKey has files that follow one another; each adds what is new in
// it, by content and count, and nothing else.
func TestRowsWithoutKey(t *testing.T) {
	t.Parallel()
	a, b, c, d, e := "1,a,1,yes", "2,b,2,no", "3,c,3,no", "4,d,4,yes", "5,e,5,no"
	for _, tt := range []struct {
		why    string
		first  []string
		next   []string
		want   Report
		absent *Absent
	}{
		{"sorted differently", []string{a, b, c, d}, []string{d, c, b, a}, Report{Known: 4}, nil},
		{"grown in the middle", []string{a, b, c}, []string{a, e, d, b, c}, Report{Known: 3, Taken: 2}, nil},
		{"true duplicates, sorted differently", []string{a, b, a, b, a}, []string{b, b, a, a, a}, Report{Known: 5}, nil},
		{"one duplicate more", []string{a, a, b}, []string{b, a, a, a}, Report{Known: 3, Taken: 1}, nil},
		{"nothing in common", []string{a, b}, []string{c, d}, Report{Taken: 2}, &Absent{Rows: 2, Batch: 0, Line: 2, Text: a}},
		{"a row gone", []string{a, b, c}, []string{c, a}, Report{Known: 2}, &Absent{Rows: 1, Batch: 0, Line: 3, Text: b}},
		{"a duplicate gone", []string{a, a, a, b}, []string{b, a}, Report{Known: 2}, &Absent{Rows: 2, Batch: 0, Line: 3, Text: a}},
		{"another spelling, sorted differently", []string{"1,a,27.33,yes", "2,?,1,no", "3,b,0.5,?"}, []string{"3.0, b ,5e-1,", "1,a,27.330,yes", "02,,1.0,no"}, Report{Known: 3}, nil},
		{"values that are none of their column's", []string{"x,a,none,yes", "x,a,none,yes"}, []string{"x,a,none,yes", "x,a,none,yes", " x ,a, none ,yes", "y,a,none,yes"}, Report{Known: 2, Taken: 2}, nil},
		{"one value in two columns", []string{"1,yes,1,"}, []string{"1,,1,yes"}, Report{Taken: 1}, &Absent{Rows: 1, Batch: 0, Line: 2, Text: "1,yes,1,"}},
		{"rejected lines between", []string{a, b}, []string{b, "too,few", a, "too,few", c}, Report{Known: 2, Taken: 1, Rejected: 2}, nil},
		{"a value with a line break", []string{a, "2,\"b\nb\",2,no"}, []string{"2,\"b\nb\",2,no", c, a}, Report{Known: 2, Taken: 1}, nil},
	} {
		t.Run(tt.why, func(t *testing.T) {
			t.Parallel()
			for _, batch := range []int{1, 2, 100} {
				cfg := setup(t, "")
				cfg.All, cfg.Batch = true, batch
				load(t, cfg.from(t, lines(tt.first...)))
				got := load(t, cfg.from(t, lines(tt.next...)))
				tt.want.UsedUp, tt.want.Absent, tt.want.Batches = true, tt.absent, got.Batches
				if got.Absent != nil && tt.absent != nil {
					tt.absent.Batch = got.Absent.Batch
				}
				if diff := cmp.Diff(tt.want, got, counts); diff != "" {
					t.Errorf("batches of %d (-want +got):\n%s", batch, diff)
				}
				if got := load(t, cfg.from(t, lines(append(slices.Clone(tt.next), "extra,line")...))); got.Taken != 0 || got.Known != tt.want.Known+tt.want.Taken {
					t.Errorf("batches of %d, the same rows once more: %+v", batch, got)
				}
			}
		})
	}
}

// TestPlanIsMadeAnew has two sources that are loaded a batch at a time, in turns,
// the plan's tables emptied as by a crash, and the spec changed in between.
func TestPlanIsMadeAnew(t *testing.T) {
	t.Parallel()
	cfg := setup(t, "")
	cfg.Batch = 2
	conn := connect(t, cfg, cfg.Postgres.Raw)
	start := cfg.from(t, lines("0,z,0,no"))
	load(t, start)
	one := cfg.from(t, lines("1,a,1,no", "2,b,2,no", "1,a,1,no", "3,c,3,no", "3,c,3.00,no", "7,g,7,no"))
	two := cfg.from(t, lines("3,c,3,no", "1,a,1,no", "4,d,4,no", "3,c,3,no", "2,b,2,no", "0,z,0,no", "1,a,1,no", "1,a,1,no"))
	for n := range 12 {
		source := one
		if n%2 == 1 {
			source = two
		}
		switch n {
		case 2:
			if _, err := conn.Exec(context.Background(), "TRUNCATE _things_plan, _things_plan_lines"); err != nil {
				t.Fatal(err)
			}
		case 3:
			source.Spec = parse(t, strings.Replace(specText(""), `missing: ["?"]`, `missing: ["?", "-"]`, 1))
		}
		load(t, source)
	}
	want := []string{"0|z|0|no", "1|a|1|no", "1|a|1|no", "1|a|1|no", "2|b|2|no", "3|c|3|no", "3|c|3|no", "4|d|4|no", "7|g|7|no"}
	got := contents(t, cfg)
	for i := range got {
		got[i] = strings.Replace(got[i], "3.00", "3", 1)
	}
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	if got := query(t, conn, "SELECT to_regclass('_things_plan') IS NULL"); got[0] != "t" {
		t.Error("a source that is used up leaves its plan behind")
	}
}

// TestPlanIsTakenBack has a keyless source that loses too many: the rows are as
// they were, and its mended form adds what is new.
func TestPlanIsTakenBack(t *testing.T) {
	t.Parallel()
	cfg := strict(t, "")
	if _, err := pipeline(cfg.from(t, table(100, good))); err != nil {
		t.Fatal(err)
	}
	before := contents(t, cfg)
	_, err := pipeline(cfg.from(t, table(150, every(5, func(int) string { return "too,few" }))))
	var lost *LossError
	if !errors.As(err, &lost) || lost.Report.Known == 0 || lost.Report.Taken == 0 {
		t.Fatalf("got %v, want a LossError with known and new rows", err)
	}
	if diff := cmp.Diff(before, contents(t, cfg)); diff != "" {
		t.Errorf("not as it was (-before +after):\n%s", diff)
	}
	if r, err := pipeline(cfg.from(t, table(150, good))); err != nil || r.Taken != 50 {
		t.Errorf("the mended table: %+v, %v; want 50 new rows", r, err)
	}
}

// shuffled is a table of n rows, some of them several times, in random order.
func shuffled(rng *rand.Rand, n int) string {
	var all []string
	for i := range n {
		row := fmt.Sprintf("%d,p%d,%d.5,%s", i, i%50, i%300, []string{"yes", "no"}[i%2])
		for range 1 + i%3/2 {
			all = append(all, row)
		}
		if i%97 == 0 {
			all = append(all, "too,few")
		}
	}
	rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return lines(all...)
}

// TestKilledWithoutKey kills load-raw-data, and loses connections and answers to
// COMMIT, while a larger table in another order is loaded.
func TestKilledWithoutKey(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 3))
	const n = 9000
	want := n + n/3
	program := programs(t)["load-raw-data"]
	for _, how := range []string{"kills", "lost connections", "lost commits"} {
		cfg := setup(t, "")
		cfg.All, cfg.Batch = true, 500
		load(t, cfg.from(t, shuffled(rng, n/2)))
		proxy := newProxy(t, cfg, func(p *proxy) {
			switch how {
			case "lost connections":
				// While it compares; once it has compared; then time and again.
				after := []int{300_000, 780_000, 780_000, 780_000} // comparing takes two connections
				p.cutAfter = func() int {
					if len(after) == 0 {
						return 60_000 + rng.IntN(60_000)
					}
					n := after[0]
					after = after[1:]
					return n
				}
			case "lost commits":
				p.cutCommits = true
			}
		})
		cfg = cfg.from(t, shuffled(rng, n))
		if how == "kills" {
			if kills := killTimes(t, rng, 150*time.Millisecond, func() *exec.Cmd {
				return command(t, cfg, proxy.addr, program, "--all", "--batch=500", "--source="+cfg.Source)
			}, func() { checkRaw(t, cfg) }); kills == 0 {
				t.Error("no run was killed: this tests nothing")
			}
		} else {
			through := throughProxy(t, cfg, proxy)
			through.Postgres.Tries = 10
			if _, err := LoadRaw(context.Background(), through); err != nil {
				t.Fatal(err)
			}
			t.Logf("%d %s", proxy.cuts(), how)
			if proxy.cuts() < 3 {
				t.Errorf("%d %s: this tests nothing", proxy.cuts(), how)
			}
		}
		checkRaw(t, cfg)
		got := query(t, connect(t, cfg, cfg.Postgres.Raw), `SELECT sum(n), count(*), bool_and(n = 1 + (id::int % 3) / 2) FROM (SELECT id, count(*) n FROM things GROUP BY id) r`)
		if diff := cmp.Diff([]string{fmt.Sprintf("%d|%d|t", want, n)}, got); diff != "" {
			t.Errorf("%s: rows, different ones, each as often as it is in the file (-want +got):\n%s", how, diff)
		}
	}
}
