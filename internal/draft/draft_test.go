package draft_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mlops/internal/dataset"
	"mlops/internal/draft"
)

// table writes a file for a test and returns its path.
func table(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// rows writes n lines by a function of their number, from 0.
func rows(n int, line func(i int) string) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(line(i) + "\n")
	}
	return b.String()
}

// yesNo is yes in about every third row, in no order that a column of the tests
// follows.
func yesNo(i int) string {
	if uint32(i)*2_654_435_761>>8%3 == 0 {
		return "yes"
	}
	return "no"
}

func TestTypes(t *testing.T) {
	t.Parallel()
	path := table(t, "My Shop-2024.csv", "id,age,price,plan,zip,same,churn\n"+rows(300, func(i int) string {
		age := fmt.Sprint(20 + i%50)
		if i%10 == 0 {
			age = "NA"
		}
		return fmt.Sprintf("%d,%s,%.2f,%s,%05d,x,%s", 1000+i, age, float64(i*7%301)/3, []string{"basic", "pro"}[i%2], i*37%2000, yesNo(i))
	}))
	d, err := draft.Make(context.Background(), path, draft.Options{Target: "churn"})
	if err != nil {
		t.Fatal(err)
	}
	s := d.Spec
	if s.Name != "my_shop_2024" || s.Key != "id" || s.Group != "" {
		t.Errorf("name %q, key %q, group %q", s.Name, s.Key, s.Group)
	}
	for column, want := range map[string]dataset.Type{"id": dataset.Integer, "age": dataset.Integer, "price": dataset.Number, "plan": dataset.Category, "zip": dataset.Category} {
		if got := s.Columns[s.Column(column)].Type; got != want {
			t.Errorf("column %s is a %s, want %s", column, got, want)
		}
	}
	if c := &s.Columns[s.Column("age")]; !c.IsMissing("NA") {
		t.Errorf("NA is no missing marker")
	}
	if got := s.Target.Positive; len(got) != 1 || got[0] != "yes" {
		t.Errorf("positive %q, want yes", got)
	}
	for _, f := range s.Features {
		if n := f.Columns()[0]; n == "id" || n == "same" || n == "churn" {
			t.Errorf("%s is a feature", n)
		}
	}
	if !strings.Contains(string(d.YAML), "same: constant: every row has the same value") {
		t.Errorf("the draft doesn't say why column same is left out:\n%s", d.YAML)
	}
}

func TestTargetThatCannotBe(t *testing.T) {
	t.Parallel()
	path := table(t, "t.csv", "a,kind,amount,name,day\n"+rows(90, func(i int) string {
		return fmt.Sprintf("%d,%s,%d,name%[1]dx,2024-01-%02[4]d", i, []string{"red", "green", "blue"}[i%3], i, 1+i%28)
	}))
	for _, c := range []struct {
		options draft.Options
		want    string
	}{
		{draft.Options{Target: "kind", Task: dataset.Binary}, `has 3 values: "red" (30 rows)`},
		{draft.Options{Target: "kind"}, `none of them in at least 40 rows`},
		{draft.Options{Target: "kind", Task: dataset.Regression}, "is text"},
		{draft.Options{Target: "kind", Task: "guess"}, "it can be: binary, multiclass, regression"},
		{draft.Options{Target: "kind", Task: dataset.Multiclass, Positive: []string{"red"}}, "go with task: binary"},
		{draft.Options{Target: "name"}, "has 90 values, and none of them"},
		{draft.Options{Target: "day"}, "is a date"},
		{draft.Options{Target: "Kind"}, `did you mean "kind"?`},
		{draft.Options{Target: "kind", Positive: []string{"pink"}}, `no row has kind = "pink"`},
		{draft.Options{}, "no column has exactly two values"},
	} {
		_, err := draft.Make(context.Background(), path, c.options)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: error %v, want one with %q", c.options, err, c.want)
		}
	}
	var no *draft.Error
	if _, err := draft.Make(context.Background(), path, draft.Options{Target: "kind"}); !errors.As(err, &no) {
		t.Errorf("error %v, want draft.Error", err)
	}
	d, err := draft.Make(context.Background(), path, draft.Options{Target: "kind", Positive: []string{"red"}})
	if err != nil {
		t.Fatal(err)
	}
	if got := d.Spec.Target.Labels.Negative; got != "any other" {
		t.Errorf("negative label %q", got)
	}
}

// A column without a name is left out of the spec, so it is no key either.
func TestUnnamedColumnIsNoKey(t *testing.T) {
	t.Parallel()
	path := table(t, "countries.csv", "\"\",income,oil\n"+rows(60, func(i int) string { return fmt.Sprintf("land%c%c,%d,%s", 'a'+i/26, 'a'+i%26, i*7%41, yesNo(i)) }))
	d, err := draft.Make(t.Context(), path, draft.Options{Target: "oil"})
	if err != nil {
		t.Fatal(err)
	}
	spec, err := dataset.Parse(d.YAML)
	if err != nil {
		t.Fatalf("%v\n%s", err, d.YAML)
	}
	if spec.Key != "" || len(spec.Columns) != 2 {
		t.Errorf("key %q and %d columns, want none and 2:\n%s", spec.Key, len(spec.Columns), d.YAML)
	}
}
