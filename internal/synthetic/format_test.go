package synthetic

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"mlops/internal/dataset"
	"mlops/internal/source"
)

// TestTableIsReadBySpec makes tables for specs that say how theirs is written, and
// reads them by the same spec.
func TestTableIsReadBySpec(t *testing.T) {
	for _, how := range []string{
		`{separator: ";", decimal: ",", encoding: windows-1252}`, `{separator: tab, encoding: utf-16}`, `{separator: "|", header: none}`, `{thousands: ","}`, `{encoding: utf-16be, ignore: all}`,
	} {
		spec, err := dataset.Parse([]byte(`name: made
model: made
task: binary
missing: [NA]
source: ` + how + `
columns:
  - {name: size, from: "Größe (cm)", type: number, missing: ["-1"]}
  - {name: flag, type: boolean}
  - {name: on, type: date, format: DD.MM.YYYY, earliest: 2020-01-01, latest: 2021-12-31}
  - {name: town, type: category, values: [Köln, Zürich]}
  - {name: y, type: boolean}
target: {column: y, positive: [no]}
split: {salts: [s], train: 70, validation: 15, test: 15}
features: [{number: size}, {number: flag}, {date: on, part: month}]
threshold: {fixed: 0.5}
candidates: [{name: one, rounds: 1}]
`))
		if err != nil {
			t.Fatal(err)
		}
		var text bytes.Buffer
		const rows = 300
		if err := Write(&text, spec, rows, 1); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "t.csv")
		if err := os.WriteFile(file, text.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		table, err := source.Open(context.Background(), file, source.Options{}.For(spec))
		if err != nil {
			t.Errorf("%s: %v", how, err)
			continue
		}
		r, err := table.Records(source.Position{})
		if err != nil {
			t.Fatal(err)
		}
		n, towns, positive := 0, map[string]int{}, 0
		for {
			rec, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil || rec.Reason != "" {
				t.Fatalf("%s: line %d: %v, %s", how, rec.Line, err, rec.Reason)
			}
			fields := make([][]byte, len(rec.Fields))
			for c, f := range rec.Fields {
				if fields[c], err = spec.Cell(c, f); err != nil {
					t.Fatalf("%s: line %d: %v", how, rec.Line, err)
				}
			}
			n++
			towns[string(fields[3])]++
			if label, _ := spec.Label(fields); label == 1 {
				positive++
			}
		}
		if n != rows || len(towns) != 3 || towns["Zürich"] == 0 || positive == 0 || positive == rows {
			t.Errorf("%s: %d rows, towns %v, %d positive", how, n, towns, positive)
		}
		r.Close()
		table.Close()
	}
}
