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

// Targets that rows at one end of time have none of but one of are told; those that come about
// little by little, or in long runs, are not.
func TestTargetsNotedFromADayOn(t *testing.T) {
	t.Parallel()
	day := func(i int) string { return time.Date(2023, 1, 1, i/2, 0, 0, 0, time.UTC).Format("2006-01-02") }
	const n = 2000
	ill := func(i int) string { return []string{"1", "0", "0", "0", "0"}[draw(i, 1, 5)] }
	for _, c := range []struct {
		why  string
		line func(i int) string
		says string
	}{
		{"noted from a day on", func(i int) string {
			if i < n/3 {
				return "0"
			}
			return ill(i)
		}, `, all have "0" in y, which `},
		{"always noted", ill, ""},
		{"more often little by little", func(i int) string { return []string{"0", "1"}[draw(i, 1, n)*2/(2*n+1-i)] }, ""},
		{"more often, from none", func(i int) string {
			if draw(i, 1, n) < max(0, i-n/3) {
				return "1"
			}
			return "0"
		}, ""},
		{"by day and night", func(i int) string {
			if i/200%2 == 0 {
				return "0"
			}
			return []string{"0", "1"}[draw(i, 1, 2)]
		}, ""},
		{"sales from a day on", func(i int) string {
			if i < n/3 || draw(i, 2, 3) == 0 {
				return "0"
			}
			return fmt.Sprint(draw(i, 1, 500))
		}, `, all have 0 in y, which `},
		{"sales that end", func(i int) string {
			if i > n*9/10 || draw(i, 2, 3) == 0 {
				return "0"
			}
			return fmt.Sprint(draw(i, 1, 500))
		}, "of the others have: are their outcomes known yet?"},
		{"classes from a day on", func(i int) string {
			if i < n/3 {
				return "unpaid"
			}
			return []string{"unpaid", "paid", "late"}[draw(i, 1, 3)]
		}, `, all have "unpaid" in y, which `},
	} {
		d, err := draft.Make(t.Context(), table(t, "t.csv", "day,age,y\n"+rows(n, func(i int) string {
			k := i * 1597 % n // in no order
			return fmt.Sprintf("%s,%d,%s", day(k), draw(k, 7, 60), c.line(k))
		})), draft.Options{Target: "y"})
		if err != nil {
			t.Fatalf("%s: %v", c.why, err)
		}
		text := d.Summary()
		if !strings.Contains(text, c.says) || c.says == "" && strings.Contains(text, "leave such rows out") {
			t.Errorf("%s: want %q in:\n%s", c.why, c.says, text)
		}
	}
}

// Values that name the target and have one outcome are told, in the words of whoever wrote them;
// those of both outcomes, and those that only sound alike, are not.
func TestRemarksThatNameTheTarget(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		target, remark, says string
		both                 bool // rows of both outcomes have the remark
	}{
		{"died", "patient died", `remark: of the`, false},
		{"Kündigung", "hat gekündigt", `remark: of the`, false},
		{"complained", "complaint, called back", `remark: of the`, false},
		{"died", "tired patient", "", false},
		{"died", "mother died", "", true},
	} {
		d, err := draft.Make(t.Context(), table(t, "t.csv", "age,remark,"+c.target+"\n"+rows(3000, func(i int) string {
			y, remark := draw(i, 1, 6)/5, []string{"", "seen", "call again"}[draw(i, 2, 3)]
			if draw(i, 3, 3) == 0 && (y == 1 || c.both) {
				remark = c.remark
			}
			return fmt.Sprintf("%d,%q,%d", draw(i, 7, 60), remark, y)
		})), draft.Options{Target: c.target})
		if err != nil {
			t.Fatalf("%s: %v", c.remark, err)
		}
		text := d.Summary()
		if !strings.Contains(text, c.says) || c.says == "" && strings.Contains(text, "or these words") {
			t.Errorf("%s, %q: want %q in:\n%s", c.target, c.remark, c.says, text)
		}
	}
}

// A table of counts is told, whatever the count is called; one of cases is not.
func TestTablesOfCounts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		counts bool
		count  func(i int) int
		again  bool
	}{
		{"n", true, func(i int) int { return draw(i, 1, 9) }, false},
		{"people", true, func(i int) int { return draw(i, 1, 900) }, false},
		{"dose", false, func(i int) int { return draw(i, 1, 9) }, false},
		{"people", false, func(i int) int { return draw(i, 1, 900) }, true},
	} {
		d, err := draft.Make(t.Context(), table(t, "t.csv", "age,sex,job,ill,"+c.name+"\n"+rows(8*2*10*2, func(i int) string {
			k := i
			if c.again {
				k = draw(i, 9, 8*2*10*2)
			}
			return fmt.Sprintf("%d0-%d9,%s,job %d,%s,%d", 1+k/40, 1+k/40, []string{"m", "f"}[k/20%2], k/2%10, []string{"yes", "no"}[k%2], c.count(i))
		})), draft.Options{Target: "ill"})
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if text := d.Summary(); strings.Contains(text, "Write a row for each case") != c.counts {
			t.Errorf("%s: counts %t, want %t:\n%s", c.name, !c.counts, c.counts, text)
		}
	}
}
