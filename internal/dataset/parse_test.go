package dataset

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestShippedSpecsAreValid(t *testing.T) {
	files, err := filepath.Glob("../../workflows/datasets/*.yaml")
	if err != nil || len(files) < 2 {
		t.Fatalf("specs found: %v, %v", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		s, err := Parse(text)
		if err != nil {
			t.Errorf("%s:\n%v", file, err)
			continue
		}
		if string(s.Text()) != string(text) {
			t.Errorf("%s: Text is not the file byte for byte", file)
		}
		if len(s.Candidates) < 3 {
			t.Errorf("%s: %d candidates, want at least 3", file, len(s.Candidates))
		}
	}
}

// tiny is a whole, valid spec; the tests break it at one place each.
const tiny = `name: tiny
model: tiny
task: binary
missing: ["?"]
key: id
group: who
columns:
  - {name: id, type: integer}
  - {name: who, type: category}
  - {name: size, type: number, min: 0}
  - {name: kind, type: category, values: [a, b]}
  - {name: y, type: category}
target: {column: y, positive: ["1"]}
cohort:
  - {column: kind, values: [z], because: not ours}
split: {salts: [s], train: 70, validation: 15, test: 15}
features:
  - {number: size}
  - {category: kind, fold_below: 10}
  - ranges: kind
    table: [{name: low, from: 0, to: 5}, {name: v, prefix: V}]
  - {name: both, count: [kind, size], of: [a]}
threshold: {recall: 0.5}
candidates:
  - {name: one, rounds: 10, params: {eta: 0.1, max_depth: 3}}
`

func TestParse(t *testing.T) {
	s, err := Parse([]byte(tiny))
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Column("kind"); got != 3 {
		t.Errorf("Column(kind) = %d, want 3", got)
	}
	if got := s.Column("none"); got != -1 {
		t.Errorf("Column(none) = %d, want -1", got)
	}
	if got := s.Features[2].Name; got != "kind_range" {
		t.Errorf("name of the ranges feature = %q, want kind_range", got)
	}
	if got := s.Metrics[0]; got != "auc" {
		t.Errorf("first metric by default = %q, want auc", got)
	}
	if c := &s.Columns[2]; !c.IsMissing("?") || !c.IsMissing("") || c.IsMissing("NA") {
		t.Error("IsMissing: want ? and the empty field, not NA")
	}
}

// A file without an end is left after as many bytes as a YAML may have.
func TestReadIsBounded(t *testing.T) {
	t.Parallel()
	if _, err := Read("/dev/zero"); err == nil || !strings.Contains(err.Error(), "more than 1048576 bytes") {
		t.Errorf("reading /dev/zero: %v", err)
	}
}

func TestParseRefuses(t *testing.T) {
	tests := []struct {
		reason    string
		old, new  string
		wantLine  string
		wantWords string
	}{
		{"unknown key", "task: binary", "task: binary\ntsak: x", "line 4", "tsak"},
		{"not YAML", "key: id", "key: [id", "line ", ""},
		{"wrong type", "train: 70", "train: many", "line 16", "many"},
		{"unknown task", "task: binary", "task: ranking", "line 3", "binary"},
		{"table name that SQL would have to quote", "name: tiny", "name: Tiny Table", "line 1", "Tiny Table"},
		{"table name of a ledger", "name: tiny\n", "name: tiny_batches\n", "line 1", "tiny_batches"},
		{"key that is no column", "key: id", "key: nr", "line 5", `"nr"`},
		{"group that is no column", "group: who", "group: whom", "line 6", `"whom"`},
		{"column twice", "{name: who, type: category}", "{name: id, type: category}", "line 9", "twice"},
		{"unknown type", "type: number, min", "type: float, min", "line 10", "float"},
		{"a table of Postgres", "name: tiny\n", "name: pg_class\n", "line 1", "pg_"},
		{"min on a category", "{name: y, type: category}", "{name: y, type: category, min: 1}", "line 12", "min"},
		{"a required key", "{name: id, type: integer}", "{name: id, type: integer, required: true}", "line 8", "can't be required"},
		{"a required target", "{name: y, type: category}", "{name: y, type: category, required: true}", "line 12", "can't be required"},
		{"required, but how much", "type: number, min: 0", "type: number, required: 2", "line 10", ""},
		{"no positive value", `positive: ["1"]`, "positive: []", "line 13", "positive"},
		{"missing value as positive", `positive: ["1"]`, `positive: ["?"]`, "line 13", "missing"},
		{"cohort without a reason", ", because: not ours", "", "line 15", "because"},
		{"shares that don't make 100", "test: 15", "test: 20", "line 16", "105"},
		{"a share of nothing", "validation: 15, test: 15", "validation: 30, test: 0", "line 16", "test"},
		{"no salt", "salts: [s]", "salts: []", "line 16", "salts"},
		{"category as a number", "{number: size}", "{number: kind}", "line 18", "values"},
		{"feature of no column", "{number: size}", "{number: sise}", "line 18", "sise"},
		{"target as a feature", "{number: size}", "{category: y}", "line 18", "target"},
		{"key as a feature", "{number: size}", "{number: id}", "line 18", "key"},
		{"two kinds in one feature", "{number: size}", "{number: size, category: kind}", "line 18", "exactly one"},
		{"feature twice", "{number: size}", "{category: kind}", "line 19", "twice"},
		{"range upside down", "from: 0, to: 5", "from: 5, to: 0", "line 21", "not below"},
		{"count without of", ", of: [a]", "", "line 22", "of"},
		{"two threshold rules", "threshold: {recall: 0.5}", "threshold: {recall: 0.5, fixed: 0.5}", "line 23", "exactly one"},
		{"recall of 2", "recall: 0.5", "recall: 2", "line 23", "between 0 and 1"},
		{"XGBoost parameter that is ours", "eta: 0.1", "objective: x", "line 25", "objective"},
		{"no rounds", "rounds: 10", "rounds: 0", "line 25", "rounds"},
		{"two documents", "task: binary", "task: binary\n---\na: 1", "line ", ""},
	}
	for _, test := range tests {
		text := strings.Replace(tiny, test.old, test.new, 1)
		if text == tiny {
			t.Fatalf("%s: nothing replaced", test.reason)
		}
		_, err := Parse([]byte(text))
		if err == nil {
			t.Errorf("%s: no error", test.reason)
			continue
		}
		if !strings.Contains(err.Error(), test.wantLine) || !strings.Contains(err.Error(), test.wantWords) {
			t.Errorf("%s: got %q, want %q and %q in it", test.reason, err, test.wantLine, test.wantWords)
		}
	}
	if _, err := Parse(nil); err == nil {
		t.Error("empty spec: no error")
	}
}
