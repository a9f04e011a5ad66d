package draft

import (
	"context"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mlops/internal/dataset"
)

// TestParquet drafts a table from its CSV and its Parquet file: but for the file's name
// in it the YAML is the same, and it reads every row.
func TestParquet(t *testing.T) {
	t.Parallel()
	made := map[string]*Draft{}
	for _, ext := range []string{"csv", "parquet"} {
		d, err := Make(context.Background(), filepath.Join("..", "parquet", "testdata", "members."+ext), Options{Target: "left", Name: "members"})
		if err != nil {
			t.Fatal(err)
		}
		if d.Preview.Load.Taken != 300 || d.Preview.Clean.Taken != 300 {
			t.Errorf("%s: %s, %s; want 300 rows taken", ext, d.Preview.Load, d.Preview.Clean)
		}
		made[ext] = d
	}
	types := func(d *Draft) map[string]dataset.Type {
		all := map[string]dataset.Type{}
		for _, c := range d.Spec.Columns {
			all[c.Name] = c.Type
		}
		return all
	}
	if diff := cmp.Diff(types(made["csv"]), types(made["parquet"])); diff != "" {
		t.Errorf("types (-CSV +Parquet):\n%s", diff)
	}
	for name, want := range map[string]dataset.Type{"id": dataset.Integer, "price": dataset.Number, "smoker": dataset.Boolean, "day": dataset.Date, "seen": dataset.Date, "amount": dataset.Number, "postcode": dataset.Category} {
		if got := types(made["parquet"])[name]; got != want {
			t.Errorf("column %s is drafted as %s, want %s", name, got, want)
		}
	}
}

// TestNested drafts a Parquet file with columns that no table can hold: they are left
// out by name.
func TestNested(t *testing.T) {
	t.Parallel()
	d, err := Make(context.Background(), filepath.Join("..", "parquet", "testdata", "nested.parquet"), Options{Target: "left"})
	if err != nil {
		t.Fatal(err)
	}
	ignored := slices.Sorted(slices.Values(d.Spec.Source.Ignore.Names))
	if diff := cmp.Diff([]string{"at", "pairs", "raw", "tags"}, ignored); diff != "" {
		t.Errorf("ignored (-want +got):\n%s\n%s", diff, d.YAML)
	}
}
