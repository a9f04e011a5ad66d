package ingest

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestForget forgets a data set beside another one, also half way through a
// rebuild, and loads it again under another key.
func TestForget(t *testing.T) {
	t.Parallel()
	cfg := strict(t, "key: id").from(t, table(50, good))
	other := cfg.with(t, "name: things", "name: others")
	for _, c := range []Config{cfg, other} {
		if _, err := pipeline(c); err != nil {
			t.Fatal(err)
		}
	}
	raw, clean := connect(t, cfg, cfg.Postgres.Raw), connect(t, cfg, cfg.Postgres.Clean)
	if err := createClean(context.Background(), clean, cfg.with(t, "max: 300", "max: 200").Spec, 0); err != nil {
		t.Fatal(err)
	}
	shared := cfg.from(t, table(60, good))
	if _, err := LoadRaw(context.Background(), shared); err != nil {
		t.Fatal(err)
	}
	// The first file was loaded for both data sets, the second one for this one only.
	if own, err := OwnSources(context.Background(), raw, cfg.Spec); err != nil || !cmp.Equal(own, []string{shared.Source}) {
		t.Errorf("own sources: %v, %v; want %s", own, err, shared.Source)
	}
	for range 2 {
		if err := Forget(context.Background(), cfg); err != nil {
			t.Fatal(err)
		}
	}
	left := `SELECT relname FROM pg_class WHERE relkind IN ('r', 'i', 'S') AND relname ~ '^_?things'`
	for _, conn := range []string{cfg.Postgres.Raw, cfg.Postgres.Clean} {
		if got := query(t, connect(t, cfg, conn), left); len(got) > 0 {
			t.Errorf("%s still has %v", conn, got)
		}
	}
	for _, got := range [][]string{query(t, raw, "SELECT count(*) FROM others"), query(t, clean, "SELECT count(*) FROM others WHERE split IS NOT NULL")} {
		if diff := cmp.Diff([]string{"50"}, got); diff != "" {
			t.Errorf("the other data set (-want +got):\n%s", diff)
		}
	}
	if r, err := pipeline(cfg.with(t, "key: id\n", "")); err != nil || r.Taken != 50 {
		t.Errorf("loaded again without a key: %+v, %v", r, err)
	}
}
