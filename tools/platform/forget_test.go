package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestInSources picks the objects of the release's own bucket among addresses.
func TestInSources(t *testing.T) {
	t.Parallel()
	got := inSources([]string{"s3://sources/my table.csv", "s3://sources/2024/b.parquet", "s3://theirs/c.csv", "https://example.org/sources/d.csv", "/sources/e.csv"})
	if diff := cmp.Diff([]string{"my table.csv", "2024/b.parquet"}, got); diff != "" {
		t.Errorf("objects (-want +got):\n%s", diff)
	}
}
