package dataset

import (
	"errors"
	"strings"
	"testing"
)

func TestEarlierFeatures(t *testing.T) {
	t.Parallel()
	text := strings.Replace(tiny, "group: who", "group: who\norder: id", 1)
	text = strings.Replace(text, "features:\n", `features:
  - {history: count}
  - {history: sum, number: size}
  - {history: last, category: kind, fold_below: 3}
  - {history: same, category: kind}
`, 1)
	s, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if !s.LooksBack() {
		t.Error("the spec does not look at earlier rows")
	}
	for i, want := range []string{"history_count", "sum_size", "last_kind", "same_kind"} {
		f := &s.Features[i]
		if f.Name != want || f.LooksAtRow() != (want == "same_kind") || f.Categorical() != (want == "last_kind") {
			t.Errorf("feature %d is %q, looks at its row: %t, has levels: %t; want %q", i, f.Name, f.LooksAtRow(), f.Categorical(), want)
		}
	}
	for _, test := range []struct{ why, old, new, want string }{
		{"no order", "order: id\n", "", "line 18: features of earlier rows need order"},
		{"an order that is no number", "order: id", "order: kind", `line 7: column "kind" is a category: rows can be ordered by`},
		{"an unknown order", "order: id", "order: idd", `line 7: no column is called "idd"`},
		{"the target as order", "order: id", "order: y", "is the target"},
		{"an order without a group", "group: who\n", "", "order needs a group"},
		{"an unknown kind", "history: sum", "history: total", `line 20: history is "total"; it can be: count, sum`},
		{"a misspelt kind", "history: last", "history: lats", `did you mean "last"?`},
		{"a sum of levels", "sum, number: size", "sum, category: kind", "history: sum needs numbers"},
		{"a count of something", "{history: count}", "{history: count, number: size}", "takes nothing more than a name"},
		{"a last of nothing", "last, category: kind, fold_below: 3", "last", "exactly one of"},
		{"days since a number", "sum, number: size", "days_since, number: size", "needs date"},
		{"the target in earlier rows", "same, category: kind", "last, category: y", "is the target"},
		{"folding before comparing", "same, category: kind", "same, category: kind, fold_below: 3", "fold_below says nothing"},
		{"a column of that name", "{name: kind,", "{name: history, type: category}\n  - {name: kind,", "no column can be called history"},
	} {
		broken := strings.Replace(text, test.old, test.new, 1)
		_, err := Parse([]byte(broken))
		var wrong *Error
		if broken == text || !errors.As(err, &wrong) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", test.why, err, test.want)
		}
	}
}

func TestPlace(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		column    string
		ascending []string // values, earlier ones first
	}{
		{"type: integer", []string{"-9007199254740993", "-9007199254740992", "0", "9007199254740992", "9007199254740993", "9223372036854775807"}},
		{"type: number", []string{"-1e300", "-2", "-1.5", "-1e-300", "0", "1e-300", "1.5", "2", "1e300"}},
		{"type: date", []string{"1000-01-01", "1969-12-31T23:59:59", "1970-01-01", "2024-01-31T10:00:00", "2024-01-31T10:00:00.000001"}},
	} {
		s, err := Parse([]byte(strings.NewReplacer("group: who", "group: who\norder: id", "{name: id, type: integer}", "{name: id, "+test.column+"}").Replace(tiny)))
		if err != nil {
			t.Fatal(err)
		}
		places := []int64{}
		for _, v := range test.ascending {
			places = append(places, s.Place([]byte(v)))
		}
		places = append(places, s.Place(nil))
		for i := 1; i < len(places); i++ {
			if places[i-1] >= places[i] {
				t.Errorf("%s: %v stand at %v", test.column, test.ascending, places)
				break
			}
		}
	}
}
