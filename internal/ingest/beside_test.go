package ingest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCompare(t *testing.T) {
	t.Parallel()
	const (
		first  = header + "1,ann,1,yes\n2,bob,2.50,no\n3,cid,?,no\n4,dee,4,yes\n"
		second = header + "4,dee,4,yes\n2,bob,2.5,no\n3,cid,3,no\n5,eve,5,no\n5,eve,6,no\n,fay,7,no\n"
	)
	for name, test := range map[string]struct {
		keys string
		want Beside
		says []string
	}{
		"by key": {"key: id", Beside{Rows: 4, New: 1, Known: 2, Changed: 1, Gone: 1, Line: 4, Key: "3", Compared: 4},
			[]string{"beside the 4 rows loaded before: 1 new, 2 known", "1 row has a known key with other values and would be rejected, the first on line 4: id = 3", "1 is not in this table and would stay"}},
		"by content": {"", Beside{Rows: 4, New: 4, Known: 2, Gone: 2, Compared: 4},
			[]string{"4 new, 2 known", "2 of them are not in this table and would stay"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := setup(t, test.keys)
			cfg.All = true
			raw := connect(t, cfg, cfg.Postgres.Raw)
			var rows []string
			var p Preview
			compare := func(cfg Config) *Beside {
				t.Helper()
				rows, p = nil, Preview{}
				b, err := Compare(context.Background(), raw, cfg, &p, func(fields [][]byte) {
					words := make([]string, len(fields))
					for i, f := range fields {
						words[i] = string(f)
					}
					rows = append(rows, strings.Join(words, ","))
				})
				if err != nil {
					t.Fatal(err)
				}
				return b
			}
			old, next := cfg.from(t, first), cfg.from(t, second)
			if b := compare(old); b.Rows != 0 || !strings.Contains(b.String(cfg.Spec), "no row of things was loaded before") {
				t.Errorf("before anything was loaded: %+v: %s", b, b.String(cfg.Spec))
			}
			load(t, old)
			if b := compare(old); !b.Loaded || !strings.Contains(b.String(cfg.Spec), "this very table was loaded before") {
				t.Errorf("the same table: %+v: %s", b, b.String(cfg.Spec))
			}
			b := compare(next)
			if diff := cmp.Diff(&test.want, b); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			slices.Sort(rows)
			if diff := cmp.Diff([]string{"1,ann,1,yes", "2,bob,2.5,no", "3,cid,,no", "4,dee,4,yes"}, rows); diff != "" {
				t.Errorf("the earlier rows (-want +got):\n%s", diff)
			}
			for _, want := range test.says {
				if text := b.String(cfg.Spec); !strings.Contains(text, want) {
					t.Errorf("it says\n%s\nwant %s", text, want)
				}
			}
			// What was said is what the load does.
			r := load(t, next)
			if r.Known != b.Known || r.Taken != b.New || r.Rejected < b.Changed {
				t.Errorf("the load: %+v, and before it: %+v", r, b)
			}
			if p.Together == nil || p.Together.Clean.Taken != 4+r.Taken {
				t.Errorf("together %+v, want 4 earlier rows and %d", p.Together, r.Taken)
			}
		})
	}
}

// TestCompareStops has a table of known keys with other values refused, as the load does.
func TestCompareStops(t *testing.T) {
	t.Parallel()
	cfg := setup(t, "key: id")
	cfg.All = true
	load(t, cfg.from(t, header+"1,ann,1,yes\n2,bob,2,no\n"))
	next := cfg.from(t, header+"1,ann,9,yes\n2,bob,9,no\n")
	for limit, want := range map[string]string{"at_most: 5%": "would reject 2 of 2 lines, 2 of them for a known key with other values", "at_most: 100%": ""} {
		next.Spec = parse(t, strings.Replace(specText("key: id"), "at_most: 100%", limit, 1))
		b, err := Compare(context.Background(), connect(t, cfg, cfg.Postgres.Raw), next, &Preview{}, func([][]byte) {})
		if err != nil {
			t.Fatal(err)
		}
		if got := b.Stops(next.Spec, Report{Read: 2}); !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("%s: %q, want %q", limit, got, want)
		}
	}
	replacing := next
	replacing.Spec = parse(t, strings.Replace(specText("key: id"), "task: binary\n", "task: binary\non_change: replace\n", 1))
	b, err := Compare(context.Background(), connect(t, cfg, cfg.Postgres.Raw), replacing, &Preview{}, func([][]byte) {})
	if err != nil {
		t.Fatal(err)
	}
	if text := b.String(replacing.Spec); !strings.Contains(text, "2 rows have a known key with other values and would be put in the place of the earlier ones") || b.Stops(replacing.Spec, Report{Read: 2}) != "" {
		t.Errorf("on_change: replace: %s; %s", text, b.Stops(replacing.Spec, Report{Read: 2}))
	}
}

// TestCompareSmall has a second table of few rows judged with those loaded before, and tells
// earlier rows that come again under other keys.
func TestCompareSmall(t *testing.T) {
	t.Parallel()
	var first, rekeyed strings.Builder
	for i := range 200 {
		row := fmt.Sprintf(",name %d,%d,%s\n", i, i, []string{"yes", "no"}[i%2])
		fmt.Fprintf(&first, "%d%s", i, row)
		fmt.Fprintf(&rekeyed, "%d%s", 1000+i, row)
	}
	cfg := setup(t, "key: id")
	cfg.All = true
	load(t, cfg.from(t, header+first.String()))
	for name, test := range map[string]struct {
		table string
		again int64
		keyed string
	}{
		"few rows of one class": {"900,eve,5,no\n901,fay,6,no\n", 0, ""},
		"the same keys":         {first.String() + "\n", 0, ""},
		"other keys":            {rekeyed.String(), 200, "1000"},
	} {
		next := cfg.from(t, header+test.table)
		p, err := Try(context.Background(), next, nil)
		if err != nil {
			t.Fatal(err)
		}
		b, err := Compare(context.Background(), connect(t, cfg, cfg.Postgres.Raw), next, p, func([][]byte) {})
		if err != nil {
			t.Fatal(err)
		}
		if stops := p.Stops(next.Spec); stops != nil {
			t.Errorf("%s: %v, want nothing that stops, with 200 rows loaded before", name, stops)
		}
		if b.Again != test.again || b.AgainKey != test.keyed || (b.Warning(next.Spec) != "") != (test.again > 0) {
			t.Errorf("%s: %d new rows were there under another key, the first %q, want %d and %q; %q", name, b.Again, b.AgainKey, test.again, test.keyed, b.Warning(next.Spec))
		}
	}
}
