package ingest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mlops/internal/parquet"
	"mlops/internal/source"
)

const membersSpec = `name: members
model: members
task: binary
key: id
source: {ignore: all}
columns:
  - {name: id, type: integer}
  - {name: small, type: integer}
  - {name: large, type: integer}
  - {name: price, type: number}
  - {name: ratio, type: number}
  - {name: smoker, type: boolean}
  - {name: name, type: category}
  - {name: plan, type: category}
  - {name: postcode, type: category}
  - {name: day, type: date}
  - {name: seen, type: date}
  - {name: amount, type: number}
  - {name: left, type: category}
target: {column: left, positive: ["yes"]}
split: {salts: [s1], train: 60, validation: 20, test: 20}
features: [{number: price}]
threshold: {maximize: f1}
candidates: [{name: one, rounds: 10, params: {eta: 0.1}}]
`

// TestParquetRows loads and cleans a table from its CSV and from its Parquet file: the
// rows are the same. Where the one was loaded, the other brings nothing new.
func TestParquetRows(t *testing.T) {
	t.Parallel()
	for _, keys := range []string{"key: id\n", ""} {
		var want []string
		for _, name := range []string{"members.csv", "members.parquet", "members-zstd.parquet"} {
			cfg := setup(t, "")
			cfg.Spec, cfg.All, cfg.Open.Parquet = parse(t, strings.Replace(membersSpec, "key: id\n", keys, 1)), true, parquet.Open
			cfg.Source = filepath.Join("..", "parquet", "testdata", name)
			if last, err := pipeline(cfg); err != nil || last.Taken != 300 {
				t.Fatalf("%s: %s, %v", name, last, err)
			}
			got := query(t, connect(t, cfg, cfg.Postgres.Clean), "SELECT (to_jsonb(r) - '_line' - '_batch')::text FROM members r ORDER BY id")
			if want == nil {
				want = got
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s: clean (-CSV +Parquet):\n%s", name, diff)
			}
			// The CSV with a blank in its header is another file with the same rows.
			text, err := os.ReadFile(filepath.Join("..", "parquet", "testdata", "members.csv"))
			if err != nil {
				t.Fatal(err)
			}
			again := cfg.from(t, strings.Replace(string(text), "id,small", "id, small", 1))
			if r, err := LoadRaw(t.Context(), again); err != nil || r.Known != 300 || r.Taken != 0 {
				t.Errorf("%s, then the CSV: %s, %v; want every row known", name, r, err)
			}
		}
	}
}

// TestParquetLosses names the rows of a Parquet file by their number.
func TestParquetLosses(t *testing.T) {
	t.Parallel()
	spec := strings.Replace(membersSpec, "{name: postcode, type: category}", "{name: postcode, type: date}", 1)
	p, err := Try(t.Context(), Config{Spec: parse(t, spec), Source: filepath.Join("..", "parquet", "testdata", "members.parquet"), Open: source.Options{Parquet: parquet.Open}, Logger: quiet}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if said := p.Clean.String(); !strings.Contains(said, `; for example row 1: "01234"`) {
		t.Errorf("the check says %s", said)
	}
}
