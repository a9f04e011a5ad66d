package train

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"mlops/internal/dataset"
	"mlops/internal/ingest"
)

// returning is a spec whose features look at earlier rows, and rows of it by group and
// order: group i%50, place i/50.
func returning(t *testing.T, samples string) (*dataset.Spec, dataset.Rows) {
	t.Helper()
	spec, err := dataset.Parse([]byte(`name: returning
model: returning
task: binary
group: who
order: at
columns:
  - {name: who, type: category}
  - {name: at, type: integer}
  - {name: size, type: number}
  - {name: kind, type: category}
  - {name: good, type: category}
target: {column: good, positive: ["yes"]}
cohort:
  - {column: kind, values: [dead], because: nothing is to be predicted}
split: {salts: [s1], train: 60, validation: 20, test: 20}
features:
  - {number: size}
  - {history: count}
  - {history: sum, number: size}
  - {history: last, category: kind}
samples: ` + samples + `
threshold: {maximize: f1}
candidates:
  - {name: one, rounds: 5, params: {eta: 0.3, max_depth: 2}}
`))
	if err != nil {
		t.Fatal(err)
	}
	var rows [][][]byte
	for i := range 1000 {
		kind := []string{"x", "y", "dead"}[i*7%3]
		rows = append(rows, [][]byte{fmt.Append(nil, "p", i%50), fmt.Append(nil, i/50), fmt.Append(nil, i*13%17), []byte(kind), []byte([]string{"yes", "no"}[i%2])})
	}
	slices.SortStableFunc(rows, func(a, b [][]byte) int {
		return cmp.Or(strings.Compare(string(a[0]), string(b[0])), cmp.Compare(spec.Place(a[1]), spec.Place(b[1])))
	})
	return spec, func(_ context.Context, row func(string, [][]byte) error) error {
		for _, r := range rows {
			split := []string{dataset.Train, dataset.Train, dataset.Train, dataset.Validation, dataset.Test}[r[0][len(r[0])-1]%5]
			if err := row(split, r); err != nil {
				return err
			}
		}
		return nil
	}
}

// TestPrepareLooksBack counts that rows outside the cohort are seen by those after
// them, and that samples can be scored again from what is stored of them.
func TestPrepareLooksBack(t *testing.T) {
	t.Parallel()
	for _, samples := range []string{"synthetic", "real"} {
		spec, rows := returning(t, samples)
		d, err := Prepare(t.Context(), spec, rows)
		if err != nil {
			t.Fatal(err)
		}
		for split, p := range d.Parts {
			most := float32(-1)
			for i := range p.Y {
				most = max(most, p.X[4*i+1])
			}
			if most < 18 || most > 19 { // of 20 rows a group, some outside the cohort
				t.Errorf("%s: at most %g earlier rows, want 18 or 19", split, most)
			}
		}
		with := 0
		for i, s := range d.samples {
			if len(s.earlier) > 0 {
				with++
			}
			vector := make([]float32, d.Encoder.Width())
			fields := func(record map[string]string) [][]byte {
				list := make([][]byte, len(spec.Columns))
				for name, v := range record {
					list[spec.Column(name)] = []byte(v)
				}
				return list
			}
			var earlier [][][]byte
			for _, h := range s.earlier {
				earlier = append(earlier, fields(h))
			}
			d.Encoder.EncodeAfter(vector, fields(s.record), earlier)
			for j := range vector {
				if math.Float32bits(vector[j]) != math.Float32bits(s.vector[j]) {
					t.Errorf("%s sample %d: feature %s is %g, stored with %g", samples, i, d.Encoder.Features[j].Name, vector[j], s.vector[j])
				}
			}
			if vector[1] != float32(len(s.earlier)) {
				t.Errorf("%s sample %d has %d earlier records and counts %g", samples, i, len(s.earlier), vector[1])
			}
		}
		if with < len(d.samples)/2 {
			t.Errorf("%s: %d of %d samples have earlier records", samples, with, len(d.samples))
		}
	}
}

// TestPrepareWantsSortedRows has rows that are not sorted stop the training.
func TestPrepareWantsSortedRows(t *testing.T) {
	t.Parallel()
	spec, rows := returning(t, "synthetic")
	var last [][]byte
	backwards := func(ctx context.Context, row func(string, [][]byte) error) error {
		return rows(ctx, func(split string, fields [][]byte) error {
			if last == nil {
				last = fields
				return nil
			}
			fields, last = last, nil
			if err := row(split, fields); err != nil {
				return err
			}
			return row(split, [][]byte{fields[0], []byte("-1"), fields[2], fields[3], fields[4]})
		})
	}
	if _, err := Prepare(t.Context(), spec, backwards); err == nil || !strings.Contains(err.Error(), "not in order") {
		t.Errorf("got %v, want that rows are not in order", err)
	}
}

func TestOrderIsSaid(t *testing.T) {
	t.Parallel()
	spec, _ := returning(t, "synthetic")
	found := Order(spec, ingest.Displaced{Late: 2, Example: "at 3 of who p1", Unplaced: 1, Tied: 4})
	if len(found) != 3 || !strings.Contains(found[0].Text, "2 rows came in a later batch") || !strings.Contains(found[0].Text, "at 3 of who p1") {
		t.Errorf("got %v", found)
	}
}
