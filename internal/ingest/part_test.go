package ingest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"mlops/internal/dataset"
)

// TestSplitWithoutDatabase gives rows with all kinds of values their split in Go and in
// Postgres: it is the same, by whatever the rows are split.
func TestSplitWithoutDatabase(t *testing.T) {
	t.Parallel()
	for _, keys := range []string{"key: id\ngroup: name\n", "key: id\n", "group: price\n", "group: seen\n", "group: smoker\n", ""} {
		cfg := setup(t, "")
		cfg.Spec = parse(t, strings.Replace(strings.Replace(membersSpec, "key: id\n", keys, 1), "{number: price}", "{number: ratio}", 1))
		draw := rand.New(rand.NewPCG(1, 2))
		var b strings.Builder
		b.WriteString("id,small,large,price,ratio,smoker,name,plan,postcode,day,seen,amount,left\n")
		for i := range 400 {
			price := []string{"0.1", "-39", "1e-5", "0.0001", "1e15", "123456789012345", "1e-300", "3.4e38", "", "0", "99999999999999.9", "-0"}[draw.IntN(12)]
			fmt.Fprintf(&b, "%d,%d,7,%s,%v,%s,%q,,01234,2024-0%d-11,%s,%d.%02d,%s\n", i, draw.IntN(9)-4, price, draw.NormFloat64()*1e6,
				[]string{"yes", "0", ""}[draw.IntN(3)], []string{"Zoë", "a,b", "", "two\nlines"}[draw.IntN(4)], 1+draw.IntN(9),
				[]string{"2024-01-31 13:45:00.25", "1999-12-31", "2024-01-31T23:59:59+02:00", ""}[draw.IntN(4)], draw.IntN(1e6), draw.IntN(100), []string{"yes", "no"}[i%2])
		}
		cfg = cfg.from(t, strings.ReplaceAll(b.String(), `\n`, "\n"))
		cfg.All = true
		if r, err := pipeline(cfg); err != nil || r.Taken != 400 {
			t.Fatalf("%q: %s, %v", keys, r, err)
		}
		n := 0
		if err := Rows(context.Background(), connect(t, cfg, cfg.Postgres.Clean), cfg.Spec, Selection{}, func(split string, fields [][]byte) error {
			n++
			if got := partOf(cfg.Spec, "s1", fields); got != split {
				t.Errorf("%q: %q is in %s, want %s", keys, fields, got, split)
			}
			return nil
		}); err != nil || n != 400 {
			t.Errorf("%q: %d rows, %v", keys, n, err)
		}
		p, err := Try(context.Background(), cfg, nil)
		if err != nil {
			t.Fatal(err)
		}
		counts := map[string]int64{}
		for _, s := range []string{dataset.Train, dataset.Validation, dataset.Test} {
			counts[s] = int64(p.Parts[s].Rows)
		}
		last := query(t, connect(t, cfg, cfg.Postgres.Clean), "SELECT split, count(*) FROM members GROUP BY 1 ORDER BY 1")
		if got := fmt.Sprintf("[test|%d train|%d validation|%d]", counts["test"], counts["train"], counts["validation"]); got != fmt.Sprint(last) {
			t.Errorf("%q: a preview has %s, the databases %s", keys, got, last)
		}
	}
}
