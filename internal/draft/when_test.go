package draft_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"mlops/internal/dataset"
	"mlops/internal/draft"
)

// Dates are found where a table writes them as numbers, weeks or two columns, and codes and
// measures of the same size are none.
func TestDatesAsNumbers(t *testing.T) {
	t.Parallel()
	walk := func(i int) float64 { return 50 + 30*math.Sin(float64(i)/40) + float64(draw(i, 1, 100))/50 }
	noise := func(i int) float64 { return float64(draw(i, 1, 10_000)) / 100 }
	for _, c := range []struct {
		why, column string
		cell        func(i int) string
		target      func(i int) float64
		format      string // of a date
		timed       bool
		says        string
	}{
		{"seconds", "ts", func(i int) string { return fmt.Sprint(1_600_000_000 + 3600*i) }, walk, "unix", true, "rows next to each other by ts"},
		{"milliseconds", "created_at", func(i int) string { return fmt.Sprint(1_600_000_000_000 + 3_600_000*int64(i)) }, walk, "unix_ms", true, "rows next to each other by created_at"},
		{"a spreadsheet's days", "day", func(i int) string { return fmt.Sprint(40_000 + i) }, walk, "excel", true, "rows next to each other by day"},
		{"weeks", "week", func(i int) string {
			y, w := time.Date(2000, 1, 3+7*i, 0, 0, 0, 0, time.UTC).ISOWeek()
			return fmt.Sprintf("%d-W%02d", y, w)
		}, walk, "", true, "rows next to each other by week"},
		{"seconds by no name", "x", func(i int) string { return fmt.Sprint(1_600_000_000 + 3600*draw(i, 3, 5000)) }, noise, "-", false, "its numbers may be dates from 2020-09-13 to 2021-04-0"},
		{"identifiers", "customer_no", func(i int) string { return fmt.Sprint(1_600_000_000 + draw(i, 3, 400)) }, noise, "-", false, ""},
		{"minutes of a day", "time", func(i int) string { return fmt.Sprint(draw(i, 3, 1440)) }, noise, "-", false, ""},
		{"amounts", "revenue", func(i int) string { return fmt.Sprint(40_000 + draw(i, 3, 9000)) }, noise, "-", false, ""},
	} {
		d, err := draft.Make(t.Context(), table(t, "t.csv", c.column+",wind,load\n"+rows(800, func(i int) string {
			return fmt.Sprintf("%s,%d,%.2f", c.cell(i), draw(i, 2, 90), c.target(i))
		})), draft.Options{Target: "load", Task: dataset.Regression})
		if err != nil {
			t.Errorf("%s: %v", c.why, err)
			continue
		}
		col := d.Spec.Columns[d.Spec.Column(c.column)]
		format := "-"
		if col.Type == dataset.Date {
			format = col.Format
		}
		if s := d.Summary(); format != c.format || d.Spec.ByTime() != c.timed || !strings.Contains(s, c.says) || c.says == "" && strings.Contains(s, "may be dates") {
			t.Errorf("%s: format %q, split %s, want %q and %q in:\n%s", c.why, format, d.Spec.SplitRule(), c.format, c.says, s)
		}
	}
}

// A year and its month in two columns are told where the target follows both together, and
// several rows of one date where they have alike targets that the next date hasn't.
func TestTimeThatIsTold(t *testing.T) {
	t.Parallel()
	const together, atOnce = "by year and month together have alike load", "the rows with the same at have alike load, which those of the next one have not"
	for _, c := range []struct {
		why, header string
		line        func(i int) string
		says        string // of both; empty: neither
	}{
		{"twenty years of months", "year,month,wind,load", func(i int) string {
			i = i * 7 % 240
			return fmt.Sprintf("%d,%d,%d,%.2f", 2000+i/12, 1+i%12, draw(i, 2, 90), 50+30*math.Sin(float64(i)/5)+float64(draw(i, 1, 100))/50)
		}, together},
		{"months that tell nothing", "year,month,wind,load", func(i int) string {
			return fmt.Sprintf("%d,%d,%d,%.2f", 2000+i/12, 1+i%12, draw(i, 2, 90), float64(draw(i, 1, 10_000))/100)
		}, ""},
		{"events", "at,wind,load", func(i int) string {
			return fmt.Sprintf("2024-01-%02dT%02d:%02d:00,%d,%.2f", 1+i/96, i/4%24, draw(i/4, 9, 60), draw(i, 2, 90), float64(draw(i/4, 1, 1000))+float64(draw(i, 4, 100))/50)
		}, atOnce},
		{"what happens on some weekdays", "at,wind,load", func(i int) string {
			day := time.Date(2024, 1, 1+i/4, 0, 0, 0, 0, time.UTC)
			return fmt.Sprintf("%s,%d,%.2f", day.Format(time.DateOnly), draw(i, 2, 90), float64(draw(int(day.Weekday()), 1, 1000))+float64(draw(i, 4, 100))/50)
		}, ""},
		{"rows that share a time by chance", "at,wind,load", func(i int) string {
			return fmt.Sprintf("2024-01-%02dT%02d:00:00,%d,%.2f", 1+i/96, i/4%24, draw(i, 2, 90), float64(draw(i, 1, 10_000))/100)
		}, ""},
	} {
		path := table(t, "t.csv", c.header+"\n"+rows(240, c.line))
		d, err := draft.Make(t.Context(), path, draft.Options{Target: "load", Task: dataset.Regression})
		if err != nil {
			t.Errorf("%s: %v", c.why, err)
			continue
		}
		for _, text := range []string{together, atOnce} {
			if s := d.Summary(); strings.Contains(s, text) != (c.says == text) {
				t.Errorf("%s: want %q in:\n%s", c.why, c.says, s)
			}
		}
	}
}

// Identifiers that pandas wrote as floats are identifiers, and amounts are none.
func TestIdentifiersAsFloats(t *testing.T) {
	t.Parallel()
	d, err := draft.Make(t.Context(), table(t, "t.csv", "record_id,patient_id,pay,kind,y\n"+rows(1000, func(i int) string {
		return fmt.Sprintf("%d.0,%d.0,%d.0,%s,%d", 50_000+i*3, 1000+i/10, draw(i, 1, 900), []string{"m", "M", "f"}[draw(i, 3, 3)], draw(i/10, 2, 2))
	})), draft.Options{Target: "y"})
	if err != nil {
		t.Fatal(err)
	}
	if pay := d.Spec.Columns[d.Spec.Column("pay")]; d.Spec.Key != "record_id" || d.Spec.Group != "patient_id" || pay.Type != dataset.Number {
		t.Errorf("key %q, group %q, pay is a %s:\n%s", d.Spec.Key, d.Spec.Group, pay.Type, d.YAML)
	}
	if s := d.Summary(); !strings.Contains(s, `"M" (336 cells) and "m" (328 cells) are 2 values to a model`) {
		t.Errorf("two spellings are not told in:\n%s", s)
	}
	if _, err := draft.Make(t.Context(), table(t, "t.csv", "pay,y\n"+rows(400, func(i int) string {
		return fmt.Sprintf("\"(%d,%03d)\",%d", 1+draw(i, 1, 9), draw(i, 4, 1000), draw(i, 2, 2))
	})), draft.Options{Target: "y"}); err == nil || !strings.Contains(err.Error(), "read neither as numbers nor as dates") {
		t.Errorf("a table of amounts that can't be read: %v", err)
	}
}

// A whole number that no type holds exactly is a code, and times without a date have a remedy.
func TestNumbersThatAreNone(t *testing.T) {
	t.Parallel()
	d, err := draft.Make(t.Context(), table(t, "t.csv", "account,call,y\n"+rows(400, func(i int) string {
		return fmt.Sprintf("12345678901234567%02d,%d:%02d,%s", draw(i, 1, 10), draw(i, 2, 24), draw(i, 3, 60), []string{"no", "yes"}[draw(i, 4, 2)])
	})), draft.Options{Target: "y"})
	if err != nil {
		t.Fatal(err)
	}
	if c := d.Spec.Columns[d.Spec.Column("account")]; c.Type != dataset.Category {
		t.Errorf("account is a %s:\n%s", c.Type, d.YAML)
	}
	if s := d.Summary(); !strings.Contains(s, "write them as hours (9:30 is 9.5)") {
		t.Errorf("no remedy for times of day in:\n%s", s)
	}
}
