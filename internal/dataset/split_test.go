package dataset

import (
	"errors"
	"strings"
	"testing"
)

// inTime is tiny with a column of that type that its rows are split by.
func inTime(column, split string) string {
	text := strings.Replace(tiny, "  - {name: y, type: category}\n", "  - {name: at, "+column+"}\n  - {name: y, type: category}\n", 1)
	return strings.Replace(text, "split: {salts: [s], train: 70, validation: 15, test: 15}", "split: {"+split+"}", 1)
}

func TestSplitByTime(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		why, column, split       string
		train, validation, tests []string // values of such rows
	}{
		{"a date", "type: date", "by: at, validation_from: 2024-01-01, test_from: 2024-07-01",
			[]string{"1999-12-31", "2023-12-31T23:59:59.999999"}, []string{"2024-01-01", "2024-06-30T23:59:59"}, []string{"2024-07-01", "2024-07-01T00:00:01", "9999-01-01"}},
		{"a date in the table's form", `type: date, format: DD.MM.YYYY`, `by: at, validation_from: 01.02.2024, test_from: "2024-03-01 12:00"`,
			[]string{"2024-01-31"}, []string{"2024-02-01", "2024-03-01"}, []string{"2024-03-01T12:00:00"}},
		{"a year", "type: integer", "by: at, validation_from: 999, test_from: 2019",
			[]string{"-5", "998"}, []string{"999", "1000", "2018"}, []string{"2019", "10000"}},
		{"a number", "type: number", "by: at, validation_from: 9.50, test_from: 1e1",
			[]string{"-1", "9.4999"}, []string{"9.5", "9.99"}, []string{"10", "2019.5"}},
	} {
		t.Run(tt.why, func(t *testing.T) {
			t.Parallel()
			s, err := Parse([]byte(inTime(tt.column, tt.split)))
			if err != nil {
				t.Fatal(err)
			}
			for split, values := range map[string][]string{Train: tt.train, Validation: tt.validation, Test: tt.tests} {
				for _, v := range values {
					if got := s.SplitOf([]byte(v)); got != split {
						t.Errorf("%s is in %s, want %s (%s)", v, got, split, s.SplitRule())
					}
				}
			}
		})
	}
}

// TestMistakesInTime has splits by time that could not work: each is refused with its line
// and one problem.
func TestMistakesInTime(t *testing.T) {
	t.Parallel()
	const date = "type: date, latest: 2030-01-01"
	for _, tt := range []struct{ why, column, split, want string }{
		{"the wrong way round", date, "by: at, validation_from: 2024-07-01, test_from: 2024-01-01", "test_from 2024-01-01 is not after validation_from 2024-07-01"},
		{"no validation rows", date, "by: at, validation_from: 2024-07-01, test_from: 2024-07-01T00:00", "is not after validation_from"},
		{"a misspelt column", date, "by: att, validation_from: 2024-01-01, test_from: 2024-07-01", `no column is called "att"; did you mean "at"?`},
		{"a category", "type: category", "by: at, validation_from: a, test_from: b", `column "at" is a category: rows are split by a date, or by a number such as a year`},
		{"the target", "type: integer", "by: y, validation_from: 1, test_from: 2", `column "y" is`},
		{"no boundary", date, "by: at, test_from: 2024-07-01", "split.validation_from is missing"},
		{"no column", date, "validation_from: 2024-01-01, test_from: 2024-07-01", "go with split.by"},
		{"no date", date, "by: at, validation_from: soon, test_from: 2024-07-01", `"soon" is not a date`},
		{"a boundary that no row has", date, "by: at, validation_from: 2024-01-01, test_from: 2031-01-01", `after 2030-01-01: column "at" never holds it`},
		{"a missing marker", "type: integer, missing: [\"999\"]", "by: at, validation_from: 999, test_from: 2019", "stands for a missing value"},
		{"both kinds", date, "by: at, validation_from: 2024-01-01, test_from: 2024-07-01, salts: [s]", "either by at"},
		{"a share with a column", date, "by: at, validation_from: 2024-01-01, test_from: 2024-07-01, test: 20", "leave one of them out"},
	} {
		t.Run(tt.why, func(t *testing.T) {
			t.Parallel()
			text := inTime(tt.column, tt.split)
			_, err := Parse([]byte(text))
			var wrong *Error
			if !errors.As(err, &wrong) || len(wrong.Problems) != 1 || wrong.Problems[0].Line != 17 || !strings.Contains(wrong.Problems[0].Reason, tt.want) {
				t.Errorf("got\n%v\nwant one problem on line 17 with %q", err, tt.want)
			}
			if s := Readable([]byte(text)); s == nil || s.ByTime() {
				t.Errorf("the split can't be used, and is %+v", s.Split)
			}
		})
	}
}
