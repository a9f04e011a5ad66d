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
