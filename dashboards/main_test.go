package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	sdk "github.com/grafana/grafana-foundation-sdk/go/dashboard"

	"mlops/dashboards/board"
)

// The files that the chart takes are what this package generates, and there are no others.
func TestFilesAreCurrent(t *testing.T) {
	t.Parallel()
	there := map[string]bool{}
	for _, d := range board.All() {
		there[d.File()] = true
		want, err := grafana(&d)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := grafana(&d); err != nil || string(again) != string(want) {
			t.Errorf("%s is not the same twice (%v)", d.File(), err)
		}
		got, err := os.ReadFile(filepath.Join("json", d.File()))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s is out of date; go run ./dashboards rewrites it (-want +got):\n%s", d.File(), diff)
		}
		if strings.Contains(string(got), `\u003`) {
			t.Errorf("%s: comparisons in expressions are escaped", d.File())
		}
	}
	entries, err := os.ReadDir("json")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !there[e.Name()] {
			t.Errorf("nothing generates %s", e.Name())
		}
	}
}

// Panels don't overlap, have numbers of their own, no fixed data source, and all is
// valid to Grafana's own types, which know no other fields.
func TestAsGrafanaReadsIt(t *testing.T) {
	t.Parallel()
	for _, d := range board.All() {
		text, err := grafana(&d)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range strictErrors(text) {
			t.Errorf("%s: Grafana's types: %v", d.File(), e)
		}
		if odd := bytes.Replace(text, []byte(`"transparent"`), []byte(`"transparency"`), 1); len(strictErrors(odd)) == 0 {
			t.Errorf("%s: Grafana's types take an unknown field", d.File())
		}
		//lint:ignore SA1019 see grafana
		var built sdk.Dashboard
		if err := json.Unmarshal(text, &built); err != nil {
			t.Fatal(err)
		}
		if err := built.Validate(); err != nil {
			t.Errorf("%s: Grafana's constraints: %v", d.File(), err)
		}
		var plain struct {
			Panels []struct {
				ID         int
				Type       string
				Title      string
				GridPos    struct{ H, W, X, Y int }
				Datasource struct{ UID string }
				Targets    []struct {
					Expr           string
					RawSQL         string `json:"rawSql"`
					Instant, Range bool
					Datasource     struct{ UID string }
				}
			}
		}
		if err := json.Unmarshal(text, &plain); err != nil {
			t.Fatal(err)
		}
		ids, taken := map[int]bool{}, map[[2]int]string{}
		for _, p := range plain.Panels {
			if ids[p.ID] || p.ID == 0 {
				t.Errorf("%s: %q has the number %d", d.File(), p.Title, p.ID)
			}
			ids[p.ID] = true
			for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
				for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
					if x >= columns || taken[[2]int{x, y}] != "" {
						t.Fatalf("%s: %q lies on %q or past the edge", d.File(), p.Title, taken[[2]int{x, y}])
					}
					taken[[2]int{x, y}] = p.Title
				}
			}
			if p.Type == "row" {
				continue
			}
			if p.Type == "table" {
				if p.Datasource.UID != "${registry}" || len(p.Targets) != 1 || p.Targets[0].RawSQL == "" || p.Targets[0].Datasource.UID != "${registry}" {
					t.Errorf("%s: %q has the data source %q and the queries %+v", d.File(), p.Title, p.Datasource.UID, p.Targets)
				}
				continue
			}
			if p.Datasource.UID != "${datasource}" || len(p.Targets) == 0 {
				t.Errorf("%s: %q has the data source %q and %d queries", d.File(), p.Title, p.Datasource.UID, len(p.Targets))
			}
			for _, q := range p.Targets {
				if q.Expr == "" || q.Instant == q.Range || q.Datasource.UID != "${datasource}" {
					t.Errorf("%s: %q: query %+v", d.File(), p.Title, q)
				}
			}
		}
	}
}

// strictErrors is what Grafana's types do not know, or know to be otherwise. The SDK may
// return an error that holds none.
func strictErrors(text []byte) cog.BuildErrors {
	//lint:ignore SA1019 see grafana
	var d sdk.Dashboard
	var all cog.BuildErrors
	if err := d.UnmarshalJSONStrict(text); err != nil && !errors.As(err, &all) {
		return cog.MakeBuildErrors("dashboard", err)
	}
	return all
}
