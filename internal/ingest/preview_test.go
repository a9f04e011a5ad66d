package ingest_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mlops/internal/dataset"
	"mlops/internal/ingest"
)

// try is ingest.Try of a table in a file.
func try(t *testing.T, spec *dataset.Spec, table string) *ingest.Preview {
	t.Helper()
	path := filepath.Join(t.TempDir(), "t.csv")
	if err := os.WriteFile(path, []byte(table), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := ingest.Try(t.Context(), ingest.Config{Spec: spec, Source: path, Logger: slog.New(slog.DiscardHandler)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestTry(t *testing.T) {
	t.Parallel()
	spec, err := dataset.Parse([]byte(`
name: t
model: t
task: binary
key: id
columns:
  - {name: id, type: integer}
  - {name: age, type: integer}
  - {name: pay, type: number}
  - {name: y, type: category}
target: {column: y, positive: ["yes"]}
split: {salts: [s], train: 60, validation: 20, test: 20}
features: [{number: age}, {number: pay}]
threshold: {maximize: f1}
candidates: [{name: one, rounds: 3}]
`))
	if err != nil {
		t.Fatal(err)
	}
	p := try(t, spec, "id,age,pay,y\n1,30,1.5,yes\n2,31.5,\"1,461.94\",no\n2,32,2,no\n3,33\n,34,3,no\n4,35,4,\n5,36,5,Yes\n")
	said := p.Load.String() + "\n" + p.Clean.String() + "\n" + strings.Join(p.Stops(spec), "\n")
	for _, want := range []string{
		"load-raw-data: 7 read, 4 taken, 3 rejected",
		`column id is a key that is there already; for example line 4: "2"`,
		`not a line of 4 fields; for example line 5: "3,33"`,
		`column id is missing, and it is the key; for example line 6`,
		"process-data: 4 read, 3 taken, 1 rejected",
		`column age is not an integer; for example line 3: "31.5" (type: number would read it)`,
		`column pay is not a number; for example line 3: "1,461.94" (thousands separators: source: {thousands: ","} would read it)`,
		"load-raw-data would reject 3 of 7 lines (42.9%), and rejects.at_most allows 5%",
		"process-data would reject 1 of 4 rows (25.0%)",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("missing: %s\nin:\n%s", want, said)
		}
	}
	if p.Positive != 1 || p.Negative != 1 || p.Unlabeled != 1 {
		t.Errorf("positive %d, negative %d, unlabeled %d, want 1 each", p.Positive, p.Negative, p.Unlabeled)
	}
}
