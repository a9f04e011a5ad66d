package ingest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mlops/internal/earlier"
	"mlops/internal/postgres"
)

// TestEarlierRowsFollowed reads the view with the server's role after each load: all rows
// first, then the groups that got one, a late one among them, and all again once a row was
// replaced, or clean is made anew. Nothing else may be read.
func TestEarlierRowsFollowed(t *testing.T) {
	t.Parallel()
	text := strings.Replace(specText("key: id\ngroup: who\norder: id\non_change: replace"), "features:\n", "features:\n  - {history: last, number: Size-cm}\n", 1)
	cfg := setup(t, "key: id")
	cfg.Spec = parse(t, text)
	as := roles(t, cfg)
	source := earlier.NewSource(as["serve"].Postgres, 2, quiet)
	t.Cleanup(source.Close)
	load := func(rows string) {
		t.Helper()
		for _, role := range []string{"load", "clean", "split"} {
			c := as[role].from(t, header+rows)
			c.Spec = cfg.Spec
			as[role] = c
		}
		eachAs(t, as)
	}
	for name, c := range as {
		c.Spec = cfg.Spec
		as[name] = c
	}
	if _, err := source.State(t.Context(), cfg.Spec); err == nil || !strings.Contains(err.Error(), "has no view _things_earlier yet, which process-data makes") {
		t.Errorf("before anything is there: %v", err)
	}
	var since earlier.State
	read := func(whole bool, want ...string) {
		t.Helper()
		var got []string
		change, err := source.Follow(t.Context(), cfg.Spec, since, func(batch int32, f [][]byte) error {
			if f[3] != nil {
				t.Error("the target was read")
			}
			got = append(got, fmt.Sprintf("%s %s %s batch %d", f[1], f[0], f[2], batch))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" || change.Whole != whole || change.Same != (len(want) == 0) {
			t.Errorf("%+v (-want +got):\n%s", change, diff)
		}
		since = change.State
	}
	load("10,b,1,yes\n9,a,2,no\n7,a,3,yes\n1,,4,no\n")
	read(true, "a 7 3 batch 1", "a 9 2 batch 1", "b 10 1 batch 1")
	read(false)
	load("8,a,5,no\n20,c,6,yes\n") // 8 comes before 9
	read(false, "a 7 3 batch 1", "a 8 5 batch 2", "a 9 2 batch 1", "c 20 6 batch 2")
	load("9,b,7,no\n") // from a to b
	read(true, "a 7 3 batch 1", "a 8 5 batch 2", "b 9 7 batch 3", "b 10 1 batch 1", "c 20 6 batch 2")

	var got []string
	if err := source.Groups(t.Context(), cfg.Spec, []string{"b", "nobody", "c"}, func(_ int32, f [][]byte) error {
		got = append(got, string(f[1])+" "+string(f[0]))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"b 9", "b 10", "c 20"}, got); diff != "" {
		t.Errorf("rows of two groups (-want +got):\n%s", diff)
	}

	cfg.Spec = parse(t, strings.Replace(text, "max: 300", "max: 299", 1)) // clean is made anew
	for name, c := range as {
		c.Spec = cfg.Spec
		as[name] = c
	}
	eachAs(t, as)
	read(true, "a 7 3 batch 1", "a 8 5 batch 2", "b 9 7 batch 3", "b 10 1 batch 1", "c 20 6 batch 2")

	conn := connect(t, as["serve"], cfg.Postgres.Clean)
	if may := query(t, conn, `SELECT relname FROM pg_class WHERE relkind IN ('r', 'v', 'm', 'p') AND relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
		AND has_any_column_privilege(oid, 'SELECT, INSERT, UPDATE')`); !cmp.Equal(may, []string{"_things_earlier"}) {
		t.Errorf("the server's role may read %q, want one view", may)
	}
	if _, err := postgres.Connect(t.Context(), as["serve"].Postgres, cfg.Postgres.Raw, quiet); err == nil {
		t.Error("the server's role enters raw")
	}
	if err := Forget(t.Context(), as["owner"]); err != nil {
		t.Error(err)
	}
}
