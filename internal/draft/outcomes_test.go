package draft_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"mlops/internal/draft"
)

// Outcomes that the latest rows can't have yet, and values that were cut off, are told;
// an outcome that gets rarer little by little, and the end of a scale, are not.
func TestOutcomesThatAreNoneYet(t *testing.T) {
	t.Parallel()
	day := func(i int) string { return time.Date(2023, 1, 1, i/4, 0, 0, 0, time.UTC).Format("2006-01-02") }
	yes := func(often bool) string {
		if often {
			return "yes"
		}
		return "no"
	}
	const n = 4000
	for _, c := range []struct {
		why  string
		line func(i int) string // day, age, y
		says string
	}{
		{"cancelled so far", func(i int) string {
			return yes(draw(i, 1, 5) == 0 && (i < n*9/10 || draw(i, 2, 20) == 0))
		}, "rows, by day"},
		{"cancelled as ever", func(i int) string { return yes(draw(i, 1, 5) == 0) }, ""},
		{"rarer little by little", func(i int) string { return yes(draw(i, 1, n) < n/4-i/8) }, ""},
		{"prices up to 500", func(i int) string { return fmt.Sprint(min(500, 100+draw(i, 1, 44_000)/100)) }, "have exactly 500, the largest value"},
		{"prices as they are", func(i int) string { return fmt.Sprint(100 + draw(i, 1, 44_000)/100) }, ""},
		{"percents", func(i int) string { return fmt.Sprint(min(100, draw(i, 1, 12_000)/100)) }, ""},
	} {
		d, err := draft.Make(t.Context(), table(t, "t.csv", "day,age,y\n"+rows(n, func(i int) string {
			return fmt.Sprintf("%s,%d,%s", day(i), draw(i, 7, 60), c.line(i))
		})), draft.Options{Target: "y"})
		if err != nil {
			t.Fatalf("%s: %v", c.why, err)
		}
		text := d.Summary()
		for _, says := range []string{"known yet", "cut off"} {
			if c.says == "" && strings.Contains(text, says) {
				t.Errorf("%s: want no %q in:\n%s", c.why, says, text)
			}
		}
		if !strings.Contains(text, c.says) {
			t.Errorf("%s: want %q in:\n%s", c.why, c.says, text)
		}
	}
}

// Columns that are filled in for one outcome only are told, however few rows they are.
func TestColumnsFilledInAfterwards(t *testing.T) {
	t.Parallel()
	d, err := draft.Make(t.Context(), table(t, "t.csv", "age,refunds,visits,complaint,note,left\n"+rows(3000, func(i int) string {
		left, refunds, complaint, note := "no", 0, "", ""
		if draw(i, 1, 8) == 0 {
			left = "yes"
			if draw(i, 2, 4) == 0 {
				refunds = 1 + draw(i, 3, 9)
			}
			if draw(i, 4, 5) == 0 {
				complaint = fmt.Sprintf("2024-0%d-1%d", 1+draw(i, 5, 9), draw(i, 6, 9))
			}
		}
		if draw(i, 9, 3) == 0 {
			note = fmt.Sprint(draw(i, 10, 50))
		}
		return fmt.Sprintf("%d,%d,%d,%s,%s,%s", draw(i, 7, 60), refunds, max(0, draw(i, 8, 9)-5), complaint, note, left)
	})), draft.Options{Target: "left"})
	if err != nil {
		t.Fatal(err)
	}
	text := d.Summary()
	for _, want := range []string{"in which refunds is not 0 are positive", "that have a value are yes, as if it were filled in afterwards"} {
		if !strings.Contains(text, want) {
			t.Errorf("want %q in:\n%s", want, text)
		}
	}
	for _, honest := range []string{"in which visits", "in which note", "in which age"} {
		if strings.Contains(text, honest) {
			t.Errorf("want no %q in:\n%s", honest, text)
		}
	}
}
