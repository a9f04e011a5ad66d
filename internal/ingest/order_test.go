package ingest

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestOrderedRows reads rows by group and order, says when each came, and finds late
// and tied rows and those without a place or a group.
func TestOrderedRows(t *testing.T) {
	t.Parallel()
	cfg := setup(t, "group: who\norder: id")
	cfg.Spec = parse(t, strings.Replace(specText("group: who\norder: id"), "features:\n", "features:\n  - {history: count}\n", 1))
	cfg = cfg.from(t, header+"5,b,1,yes\n9,a,2,no\n7,a,3,yes\n"+ // batch 1
		"6,a,4,no\n9,b,5,yes\n,a,6,no\n"+ // batch 2: 6 of a is late
		"5,b,7,no\n3,,8,yes\n3,,9,no\n") // batch 3: 5 of b is late and tied
	cfg.Batch, cfg.All = 3, true
	ctx := context.Background()
	load(t, cfg)
	process(t, cfg)
	split(t, cfg)
	conn := connect(t, cfg, cfg.Postgres.Clean)
	arrivals, err := Arrivals(ctx, conn, cfg.Spec)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	if err := Rows(ctx, conn, cfg.Spec, Selection{}, func(_ string, f [][]byte) error {
		got = append(got, fmt.Sprintf("%s %s %s batch %d", f[1], f[0], f[2], arrivals[len(got)].Batch))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	want := []string{"a 6 4 batch 1", "a 7 3 batch 0", "a 9 2 batch 0", "a  6 batch 1", "b 5 1 batch 0", "b 5 7 batch 2", "b 9 5 batch 1", " 3 8 batch 2", " 3 9 batch 2"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	d, err := FindDisplaced(ctx, conn, cfg.Spec)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(d.Example, "id 5 of who b came in batch 3, a later one of the same group in batch 2") {
		t.Errorf("example %q", d.Example)
	}
	if d.Example = ""; d != (Displaced{Late: 2, Unplaced: 1, Alone: 2, Tied: 2}) {
		t.Errorf("got %+v, want 2 late rows, 1 without a place, 2 without a group and 2 tied", d)
	}
}
