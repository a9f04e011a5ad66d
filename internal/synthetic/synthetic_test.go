package synthetic

import (
	"bytes"
	"encoding/csv"
	"os"
	"path/filepath"
	"testing"

	"mlops/internal/dataset"
)

func TestTableFitsItsSpec(t *testing.T) {
	files, err := filepath.Glob("../../workflows/datasets/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("specs: %v, %v", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		spec, err := dataset.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		const rows = 2000
		var a, b, other bytes.Buffer
		for w, seed := range map[*bytes.Buffer]uint64{&a: 1, &b: 1, &other: 2} {
			if err := Write(w, spec, rows, seed); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
		}
		if !bytes.Equal(a.Bytes(), b.Bytes()) {
			t.Errorf("%s: the same seed gives another table", file)
		}
		if bytes.Equal(a.Bytes(), other.Bytes()) {
			t.Errorf("%s: another seed gives the same table", file)
		}
		records, err := csv.NewReader(&a).ReadAll()
		if err != nil || len(records) != rows+1 {
			t.Fatalf("%s: %d records, %v", file, len(records), err)
		}
		keys, positives := map[string]bool{}, 0
		for i, record := range records[1:] {
			fields := make([][]byte, len(record))
			for c, field := range record {
				v, err := spec.Value(c, []byte(field))
				if err != nil {
					t.Fatalf("%s: row %d, column %s: %v", file, i, spec.Columns[c].Name, err)
				}
				fields[c] = v
			}
			label, known := spec.Label(fields)
			if !known {
				t.Fatalf("%s: row %d has no target", file, i)
			}
			positives += int(label)
			if spec.Key != "" {
				keys[record[spec.Column(spec.Key)]] = true
			}
		}
		if spec.Key != "" && len(keys) != rows {
			t.Errorf("%s: %d keys for %d rows", file, len(keys), rows)
		}
		if positives < rows/50 || positives > rows*49/50 {
			t.Errorf("%s: %d of %d rows are positive", file, positives, rows)
		}
	}
}

// The target of every task has values that the spec takes, and that the other columns
// tell something of.
func TestTargets(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ task, column, target string }{
		{"binary", "{name: y, type: integer}", `{column: y, positive: ["1"]}`},
		{"binary", "{name: y, type: integer, min: 1}", `{column: y, positive: ["1"]}`},
		{"multiclass", "{name: y, type: integer}", `{column: y, classes: ["1", "2", "7"]}`},
		{"multiclass", "{name: y, type: category}", `{column: y, classes: [a, b, c, d]}`},
		{"regression", "{name: y, type: number}", `{column: y}`},
		{"regression", "{name: y, type: integer, min: 100, max: 900}", `{column: y}`},
	} {
		threshold := map[string]string{"binary": "threshold: {fixed: 0.5}\n"}[c.task]
		spec, err := dataset.Parse([]byte(threshold + "name: t\nmodel: t\ntask: " + c.task + "\ncolumns: [{name: x, type: number}, " + c.column + "]\ntarget: " + c.target +
			"\nsplit: {salts: [s], train: 60, validation: 20, test: 20}\nfeatures: [{number: x}]\ncandidates: [{name: one, rounds: 3}]\n"))
		if err != nil {
			t.Fatal(err)
		}
		var table bytes.Buffer
		if err := Write(&table, spec, 1000, 1); err != nil {
			t.Fatal(err)
		}
		records, err := csv.NewReader(&table).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		labels := map[float32]int{}
		for _, record := range records[1:] {
			v, err := spec.Cell(1, []byte(record[1]))
			if err != nil {
				t.Fatalf("%s %s: %v", c.task, c.column, err)
			}
			label, known := spec.Label([][]byte{nil, v})
			if !known {
				t.Fatalf("%s %s: %q has no label", c.task, c.column, record[1])
			}
			labels[label]++
		}
		if want := map[string]int{"binary": 2, "multiclass": max(3, len(spec.Target.Classes)), "regression": 50}[c.task]; len(labels) < want {
			t.Errorf("%s %s: %d different targets, want at least %d", c.task, c.column, len(labels), want)
		}
	}
}
