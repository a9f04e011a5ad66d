package dataset

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

var update = flag.Bool("update", false, "write docs/reference/spec.md and spec.schema.json")

// key is what the reference says of one key of a spec.
type key struct{ path, text, byDefault, example string }

// reference has every key; [] stands for an entry of a list, * for a name that the
// user chooses. The example is YAML.
var reference = []key{
	{"name", "table of the data set in the databases raw and clean: small letters, digits and _", "required", "churn"},
	{"title", "one line for people", "the name", "Churn of customers"},
	{"description", "what is predicted, for people", "none", "Whether a customer leaves within a month."},
	{"model", "registered model's name in MLflow", "required", "churn"},
	{"task", "what is predicted: one of two outcomes, one of several classes, or a number", "binary", "multiclass"},
	{"source", "where the table is found, and how it is written", "none", `{separator: ";"}`},
	{"source.url", "public address, taken if no other place has the table", "none", "https://example.org/churn.csv"},
	{"source.sha256", "digest in hex of the table's bytes at url", "not checked", strings.Repeat("0", 64)},
	{"source.member", "the table's name in an archive with several", "the only table", "churn.csv"},
	{"source.local", "paths tried before url, from the project's root", "none", "[../data/churn.csv]"},
	{"source.package", "path of the table in an installed Python package", "none", "palmerpenguins/data/penguins.csv"},
	{"source.cite", "whom to cite", "none", "Somebody (2024)"},
	{"source.separator", `between fields: ",", ";", "|" or tab`, "the comma, in a file named .tsv the tab", `";"`},
	{"source.encoding", "of the table's text", "utf-8, or utf-16 where the table says so at its start", "windows-1252"},
	{"source.skip", "lines before the header that are none of the table's, such as a title or comments; empty ones need not be counted", "0", "2"},
	{"source.header", "none, where the first line is a record: columns then lists all of the table's, in its order", "the first line has the names", "none"},
	{"source.ignore", "headers of columns that are left out, or all for every column that isn't listed", "none", `["Unnamed: 0"]`},
	{"source.decimal", "between a number's whole and its fraction", `"."`, `","`},
	{"source.thousands", "between groups of three digits", "none", `","`},
	{"source.max_lines", "lines that the table may have; one with more is not loaded", strconv.Itoa(DefaultMaxLines), "500000000"},
	{"source.max_size", "size that the table may have, unpacked", DefaultMaxSize.String(), "100GiB"},
	{"source.max_ratio", "how many times larger than its archive the table may be; Parquet files are not bound by it", strconv.Itoa(DefaultMaxRatio), "2000"},
	{"missing", "texts that stand for a missing value in every column, besides the empty field", "none", `["?", NA]`},
	{"rejects", "how many rows a data step may lose", "{at_most: 5%}", "{at_most: 0.5%}"},
	{"rejects.at_most", "share of the lines in a load, of the raw rows when they are cleaned", "5%", "0.5%"},
	{"on_change", "what becomes of a row whose key is known with other values: reject or replace", "reject", "replace"},
	{"key", "column that identifies a row", "rows are known by content and count", "customer_id"},
	{"group", "column whose rows stay in one split", "each row alone", "household"},
	{"order", "column that orders the rows of a group: an integer, a number or a date", "none", "visited"},
	{"columns", "the table's columns", "required", "[{name: age, type: integer}]"},
	{"columns[].name", "name of the column: letters, digits, blanks, _, . and -, a letter first", "required", "price"},
	{"columns[].from", "its header in the table", "the name", "Price (EUR)"},
	{"columns[].type", "kind of its values", "required", "number"},
	{"columns[].label", "name for people", "the name", "Price"},
	{"columns[].form", "heading under which the page asks for it", "the page does not ask for it", "Contract"},
	{"columns[].values", "usual values of a category, which the page offers", "none", "[basic, pro]"},
	{"columns[].codes", "usual codes of a category with their meaning", "none", `{"1": urgent}`},
	{"columns[].codes.*", "meaning of a code", "none", "urgent"},
	{"columns[].names", "what people call the values of a category with too many codes to list; the first entry that fits counts. Shown by the page and with reasons; the model does not see them", "none", "[{name: Heart failure, from: 428, to: 429}]"},
	{"columns[].names[].name", "the name", "required", "Heart failure"},
	{"columns[].names[].from", "the least number", "none", "428"},
	{"columns[].names[].to", "the number that is already outside", "none", "429"},
	{"columns[].names[].prefix", "how a value begins", "none", "V57"},
	{"columns[].min", "a smaller number can't be cleaned", "none", "0"},
	{"columns[].max", "a larger number can't be cleaned", "none", "120"},
	{"columns[].unit", "a text that the table writes before or behind each number, and that is no part of it", "none", `"%"`},
	{"columns[].required", "a row, or a record to predict, without a value is refused", "false", "true"},
	{"columns[].missing", "texts that stand for a missing value in this column", "none", `["-999"]`},
	{"columns[].format", "how the table writes a date; ISO 8601 is read always", "ISO 8601", "DD.MM.YYYY"},
	{"columns[].earliest", "an earlier date can't be cleaned", "none", `"2000-01-01"`},
	{"columns[].latest", "a later date can't be cleaned", "none", `"2030-12-31"`},
	{"synthetic", "the rows are made up; `SYNTHETIC=1` says so in the data set that it makes", "false", "true"},
	{"target", "what is predicted", "required", `{column: churn, positive: ["yes"]}`},
	{"target.column", "column of the target", "required", "churn"},
	{"target.positive", "of a binary task: values that count as 1; a row without a value is not trained on", "required with binary", `["yes"]`},
	{"target.negative", "of a binary task: values that count as 0; a row with another value can't be cleaned", "every value that is not positive", `["no"]`},
	{"target.classes", "of several classes: all of them; a row with another value can't be cleaned", "required with multiclass", "[basic, pro, none]"},
	{"target.labels", "of a binary task: words for both outcomes", "none", "{positive: leaves, negative: stays}"},
	{"target.labels.positive", "word for the outcome 1", "the target's column", "leaves"},
	{"target.labels.negative", "word for the outcome 0", "not and the positive word", "stays"},
	{"allow_leak", "columns that may tell the target by themselves", "none: training stops at one", "[odor]"},
	{"allow_copies", "rows that are copies of others are right, such as answers that many people give alike", "false: training stops if copies make the figures too good", "true"},
	{"cohort", "rows to leave out of training and predictions", "none", "[{column: plan, values: [test], because: no customers}]"},
	{"cohort[].column", "column that tells them", "required", "plan"},
	{"cohort[].values", "its values that leave a row out", "required", "[test]"},
	{"cohort[].because", "why", "required", "no customers"},
	{"split", "how rows are shared out: by a hash (salts, train, validation, test), or by time (by, validation_from, test_from)", "required", "{salts: [churn-1], train: 70, validation: 15, test: 15}"},
	{"split.salts", "of a split by a hash: the first one is used; the others measure how much scores vary", "required without by", "[churn-1]"},
	{"split.train", "percent of the rows", "required without by", "70"},
	{"split.validation", "percent of the rows", "required without by", "15"},
	{"split.test", "percent of the rows", "required without by", "15"},
	{"split.by", "column that splits the rows by time: a date, or a number such as a year; a row without a value is rejected", "none: by a hash", "signed"},
	{"split.validation_from", "its least value of the validation rows; those before train", "required with by", `"2024-01-01"`},
	{"split.test_from", "its least value of the test rows", "required with by", `"2024-07-01"`},
	{"features", "inputs of the model; each has one of number, category, ranges, count, date and days_from, or is history: count", "required", "[{number: age}]"},
	{"features[].name", "name of the feature", "the column's", "age_in_years"},
	{"features[].number", "column taken as a number", "none", "age"},
	{"features[].values", "numbers that a category's values stand for", "none", `{"[0-10)": 5}`},
	{"features[].values.*", "number of a value", "none", "5"},
	{"features[].category", "column taken as a category", "none", "plan"},
	{"features[].fold_below", "levels with fewer training rows share one, with those never seen", "0", "30"},
	{"features[].ranges", "column that is looked up in table", "none", "diag_1"},
	{"features[].table", "entries of the look-up; the first that fits counts", "none", "[{name: external, prefix: E}]"},
	{"features[].table[].name", "the level", "required", "external"},
	{"features[].table[].from", "least number", "none", "1"},
	{"features[].table[].to", "number above the largest", "none", "140"},
	{"features[].table[].prefix", "beginning of the text", "none", "E"},
	{"features[].count", "columns of which it is counted how many hold a value", "none", "[insulin, metformin]"},
	{"features[].of", "the values that count", "none", `["Yes"]`},
	{"features[].not_of", "the values that don't", "none", `["No"]`},
	{"features[].date", "date column of which part is taken", "none", "since"},
	{"features[].part", "the part", "required with date", "month"},
	{"features[].days_from", "date column from which days are counted", "none", "since"},
	{"features[].to", "date, or date column, to which they are counted", "required with days_from", `"2024-01-31"`},
	{"features[].history", "what is made of that value in the group's earlier rows, instead of the row's own", "the row's own value", "last"},
	{"weights", "how much a row counts in training; figures count every row once", "each counts 1", "{balanced: true}"},
	{"weights.column", "column of numbers from 0 on; a row without one counts 1", "none", "importance"},
	{"weights.balanced", "every class counts as much as another in sum", "false", "true"},
	{"threshold", "of a binary task: how the decision threshold is chosen on the validation rows; exactly one of its keys", "required with binary", "{maximize: f1}"},
	{"threshold.maximize", "what the threshold makes largest", "none", "f1"},
	{"threshold.recall", "least recall", "none", "0.8"},
	{"threshold.precision", "least precision; of such thresholds the one with the most recall", "none", "0.6"},
	{"threshold.cost", "what a wrong label costs, in any unit; the threshold with the least sum is chosen", "none", "{false_positive: 1, false_negative: 5}"},
	{"threshold.cost.false_positive", "cost of a row that is wrongly labelled positive", "required", "1"},
	{"threshold.cost.false_negative", "cost of a row that is wrongly labelled negative", "required", "5"},
	{"threshold.fixed", "the threshold itself", "none", "0.5"},
	{"interval", "of a regression: share of the values that a prediction's interval should hold", "90%", "80%"},
	{"samples", "records that the page shows: made up, or rows of the test split", "synthetic", "real"},
	{"metrics", "logged in this order; the first decides promotion and, of many rows, early stopping", "those of the task", "[auc, recall]"},
	{"slices", "columns by whose values the models are measured too", "none", "[region, plan]"},
	{"candidates", "models to train", "required", "[{name: small, rounds: 300, params: {eta: 0.1, max_depth: 3}}]"},
	{"candidates[].name", "name of the candidate", "required", "small"},
	{"candidates[].rounds", "trees at most", "required", "300"},
	{"candidates[].early_stopping", "rounds without a better value of the first metric on the validation rows after which it ends", "0: never", "30"},
	{"candidates[].params", "parameters by XGBoost's names", "XGBoost's own", "{eta: 0.1, max_depth: 3}"},
	{"candidates[].params.*", "value of a parameter; scale_pos_weight: balanced makes both classes count the same in sum", "XGBoost's own", "0.1"},
	{"search", "looks for one more candidate, called search, by chance and successive halving on the validation rows", "none", "{trials: 20, minutes: 5}"},
	{"search.trials", "sets of parameters that are tried", "20", "40"},
	{"search.minutes", "bound on its time; a search that it ends may find another candidate on another machine", "5", "10"},
	{"search.seed", "of the choice", "0", "7"},
	{"search.rounds", "trees of each trial at most", "1500", "500"},
	{"search.early_stopping", "rounds without a better validation metric after which a trial ends", "50", "30"},
	{"search.space", "what is tried, by XGBoost's names", "eta, max_depth, min_child_weight, colsample_bytree, subsample and lambda", "{max_depth: {one_of: [3, 6]}}"},
	{"search.space.*", "what the parameter may be: one_of, or from and to", "none", "{from: 0.01, to: 0.3, log: true}"},
	{"search.space.*.one_of", "values", "none", "[3, 6]"},
	{"search.space.*.from", "least number", "none", "0.01"},
	{"search.space.*.to", "largest number", "none", "0.3"},
	{"search.space.*.log", "small numbers are as likely as large ones", "false", "true"},
	{"promote", "when a candidate takes the place of the version in production", "its keys' defaults", "{margin: 0.002, confidence: 90%}"},
	{"promote.margin", "by how much it has to be better, in units of the first metric", "0", "0.002"},
	{"promote.confidence", "share of the bootstrap's draws of the validation rows in which it has to be better by more than margin", defaultConfidence.String(), "90%"},
	{"promote.slice_margin", "by how much it may be worse in a slice of slices, in units of the first metric", "0.02; of log_loss, rmse and mae 5% of the value in production", "0.05"},
	{"promote.calibration", "by how much its predictions may say too much on average, as a share of the target's standard deviation; 100%: not checked", defaultCalibration.String(), "50%"},
}

// choices are the words that a key takes, where they are a closed list.
func choices(path string) []string {
	switch path {
	case "task":
		return Tasks
	case "on_change":
		return []string{onChangeReject, onChangeReplace}
	case "source.header":
		return []string{NoHeader}
	case "source.decimal":
		return []string{".", ","}
	case "source.separator":
		return []string{",", ";", "|", "tab"}
	case "columns[].type":
		var all []string
		for _, t := range Types {
			all = append(all, string(t))
		}
		return all
	case "features[].part":
		return Parts
	case "features[].history":
		return EarlierKinds
	case "threshold.maximize":
		return []string{"f1", "youden"}
	case "samples":
		return []string{"synthetic", "real"}
	case "metrics[]":
		var all []string
		for _, task := range Tasks {
			all = append(all, Metrics(task)...)
		}
		slices.Sort(all)
		return slices.Compact(all)
	}
	return nil
}

// schema builds the JSON Schema of a type, and lists the keys that it finds.
func schema(t reflect.Type, path string, keys *[]string) map[string]any {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	s := map[string]any{}
	if c := choices(path); c != nil {
		s["enum"] = c
	}
	switch {
	case t == reflect.TypeFor[Percent]():
		s["type"], s["pattern"] = "string", `^[0-9.]+ *%$`
	case t == reflect.TypeFor[Size]():
		s["type"], s["pattern"] = "string", `^[0-9.]+ *([KMGT]i|[kMGT])?B$`
	case t == reflect.TypeFor[Ignore]():
		s["anyOf"] = []any{map[string]any{"enum": []string{"all"}}, map[string]any{"type": "array", "items": map[string]any{"type": "string"}}}
	case t.Kind() == reflect.Struct:
		properties := map[string]any{}
		required := []string{}
		for i := range t.NumField() {
			name := t.Field(i).Tag.Get("yaml")
			if name == "" {
				continue
			}
			at := strings.TrimPrefix(path+"."+name, ".")
			*keys = append(*keys, at)
			p := schema(t.Field(i).Type, at, keys)
			for _, k := range reference {
				if k.path != at {
					continue
				}
				p["description"] = k.text + " (default: " + k.byDefault + ")"
				var example any
				if yaml.Unmarshal([]byte(k.example), &example) == nil {
					p["examples"] = []any{example}
				}
				if k.byDefault == "required" {
					delete(p, "description")
					p["description"] = k.text
					required = append(required, name)
				}
			}
			properties[name] = p
		}
		s["type"], s["properties"], s["additionalProperties"] = "object", properties, false
		if len(required) > 0 {
			s["required"] = required
		}
	case t.Kind() == reflect.Slice:
		s["type"], s["items"] = "array", schema(t.Elem(), path+"[]", keys)
	case t.Kind() == reflect.Map:
		*keys = append(*keys, path+".*")
		s["type"] = "object"
		if t.Elem().Kind() != reflect.Interface {
			s["additionalProperties"] = schema(t.Elem(), path+".*", keys)
			if t.Elem() == reflect.TypeFor[Scope]() {
				s["propertyNames"] = map[string]any{"enum": Parameters()}
			}
		} else {
			s["propertyNames"] = map[string]any{"enum": Parameters()}
		}
	case t.Kind() == reflect.Int:
		s["type"] = "integer"
	case t.Kind() == reflect.Float64:
		s["type"] = "number"
	case t.Kind() == reflect.Bool:
		s["type"] = "boolean"
	case t.Kind() == reflect.String:
		s["type"] = []string{"string", "number", "boolean", "null"} // an unquoted 1 or no is read as its text
		if s["enum"] != nil {
			delete(s, "type")
		}
	}
	return s
}

func TestReference(t *testing.T) {
	t.Parallel()
	var keys []string
	s := schema(reflect.TypeFor[Spec](), "", &keys)
	s["$schema"], s["title"] = "https://json-schema.org/draft/2020-12/schema", "Data set of mlops"
	var listed []string
	for _, k := range reference {
		listed = append(listed, k.path)
	}
	slices.Sort(keys)
	slices.Sort(listed)
	if diff := cmp.Diff(keys, listed); diff != "" {
		t.Fatalf("the reference and the types have other keys; give each a line in reference, then run with -update (-types +reference):\n%s", diff)
	}
	text, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	var page strings.Builder
	page.WriteString("# Keys of a data set's YAML\n\nWritten by `go test ./internal/dataset -run TestReference -update` from the types.\n" +
		"Editors complete and check by [spec.schema.json](spec.schema.json) where a YAML begins with\n" +
		"`# yaml-language-server: $schema=PATH/spec.schema.json`; `mlops init` writes that line.\n\n| key | meaning | default | example |\n|---|---|---|---|\n")
	cell := func(s string) string { return strings.ReplaceAll(s, "|", `\|`) }
	for _, k := range reference {
		text := k.text
		if c := choices(k.path); c != nil && !strings.Contains(text, c[0]) {
			text += " (" + strings.Join(c, ", ") + ")"
		}
		fmt.Fprintf(&page, "| `%s` | %s | %s | `%s` |\n", k.path, cell(text), cell(k.byDefault), cell(k.example))
	}
	fmt.Fprintf(&page, "\n## Encodings\n%s, and their usual other names.\n\n## Parameters of a candidate\n%s.\n\n## Metrics and objectives\n| task | metrics | those that may come first | objectives; the first is the default |\n|---|---|---|---|\n",
		strings.Join(Encodings(), ", "), strings.Join(Parameters(), ", "))
	for _, task := range Tasks {
		fmt.Fprintf(&page, "| %s | %s | %s | %s |\n", task, metricNames(task, false), metricNames(task, true), strings.Join(objectives[task], ", "))
	}
	page.WriteString("\nLess is better of log_loss, rmse and mae; of all others more is. auc of several classes is the mean of each\nclass against the rest. Rounds are compared by XGBoost's nearest metric: aucpr for average_precision, mlogloss\nfor macro_f1, rmse for r2; of classes by the log loss where validation has up to 2,000 rows and nothing is weighted.\n")
	folder := filepath.Join("..", "..", "docs", "reference")
	for name, want := range map[string][]byte{"spec.md": []byte(page.String()), "spec.schema.json": append(text, '\n')} {
		path := filepath.Join(folder, name)
		if *update {
			if err := os.WriteFile(path, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is out of step with the types (%v); run with -update", path, err)
		}
	}
}

// TestShippedSpecsFitSchema validates every shipped spec against the schema, and
// that a key which isn't known does not fit.
func TestShippedSpecsFitSchema(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "reference", "spec.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	var s map[string]any
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join("..", "..", "workflows", "datasets", "*.yaml"))
	if err != nil || len(files) < 2 {
		t.Fatalf("found %d specs: %v", len(files), err)
	}
	for _, f := range files {
		y, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var doc any
		if err := yaml.Unmarshal(y, &doc); err != nil {
			t.Fatal(err)
		}
		if wrong := misfits(s, doc, ""); len(wrong) > 0 {
			t.Errorf("%s: %q", f, wrong)
		}
	}
	for _, bad := range []string{"nam: x", "columns: [{name: a, type: float}]", "rejects: {at_most: 5}", "split: {train: much}"} {
		var doc any
		if err := yaml.Unmarshal([]byte(bad), &doc); err != nil {
			t.Fatal(err)
		}
		if wrong := misfits(s, doc, ""); !slices.ContainsFunc(wrong, func(w string) bool { return !strings.Contains(w, "is missing") }) {
			t.Errorf("%s fits the schema", bad)
		}
	}
}

// misfits checks a value against the parts of JSON Schema that schema writes.
func misfits(s map[string]any, v any, at string) (wrong []string) {
	if forms, ok := s["anyOf"].([]any); ok {
		for _, one := range forms {
			if len(misfits(one.(map[string]any), v, at)) == 0 {
				return nil
			}
		}
		return []string{at + ": fits none of the forms"}
	}
	if enum, ok := s["enum"].([]any); ok && !slices.ContainsFunc(enum, func(e any) bool { return fmt.Sprint(e) == fmt.Sprint(v) }) {
		return []string{fmt.Sprintf("%s: %v is none of %v", at, v, enum)}
	}
	kind := map[bool]string{true: "null"}[v == nil]
	switch x := v.(type) {
	case map[string]any:
		kind = "object"
		properties, _ := s["properties"].(map[string]any)
		for k, e := range x {
			p, known := properties[k].(map[string]any)
			if !known {
				p, known = s["additionalProperties"].(map[string]any)
			}
			if !known && s["additionalProperties"] == false {
				wrong = append(wrong, at+"."+k+": unknown")
			} else if known {
				wrong = append(wrong, misfits(p, e, at+"."+k)...)
			}
		}
		required, _ := s["required"].([]any)
		for _, r := range required {
			if _, ok := x[r.(string)]; !ok {
				wrong = append(wrong, at+"."+r.(string)+" is missing")
			}
		}
	case []any:
		kind = "array"
		for i, e := range x {
			if items, ok := s["items"].(map[string]any); ok {
				wrong = append(wrong, misfits(items, e, fmt.Sprintf("%s[%d]", at, i))...)
			}
		}
	case string:
		kind = "string"
	case bool:
		kind = "boolean"
	case int:
		kind = "integer"
	case float64:
		kind = "number"
	}
	types, _ := s["type"].([]any)
	if one, ok := s["type"].(string); ok {
		types = []any{one}
	}
	if len(types) > 0 && !slices.ContainsFunc(types, func(t any) bool { return t == kind || t == "number" && kind == "integer" }) {
		wrong = append(wrong, fmt.Sprintf("%s is of type %s, not %v", at, kind, types))
	}
	return wrong
}
