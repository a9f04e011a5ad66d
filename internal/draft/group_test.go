package draft_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"mlops/internal/dataset"
	"mlops/internal/draft"
)

// draw is a number below n that follows from i and the purpose alone.
func draw(i, purpose, n int) int {
	x := uint64(i)*0x9e3779b97f4a7c15 + uint64(purpose)*0xbf58476d1ce4e5b9
	x = (x ^ x>>31) * 0x94d049bb133111eb
	return int((x ^ x>>29) % uint64(n))
}

// Several records of one thing must not be in two splits, whatever its column is called.
func TestGroupByWhatRowsHaveInCommon(t *testing.T) {
	t.Parallel()
	// Four visits of each of 200 children.
	visits := func(i int) string {
		c := i / 4
		return fmt.Sprintf("%d,%s,%s,%d,%d,S%02d,%s", c+1, []string{"f", "m"}[draw(c, 1, 2)], []string{"high", "low", "mid"}[draw(c, 2, 3)], i%4, draw(i, 3, 90), c%100, []string{"yes", "no"}[draw(c, 4, 2)])
	}
	// Amounts that come again, with bins of them.
	bins := func(i int) string {
		a := draw(i, 5, 150)
		return fmt.Sprintf("%d,%s,%s,%d,%s", 20+a, []string{"young", "adult", "old"}[a/50], []string{"a", "b"}[a/75], draw(i, 6, 40), yesNo(i+a))
	}
	for _, c := range []struct {
		why, header string
		line        func(i int) string
		target      string
		group, says string
	}{
		{"records of children", "childref,gender,status,visit,score,cohort,autism", visits, "autism", "childref", "have the same gender, status, and alike autism"},
		{"their number is of a value", "childref,gender,status,visit,score,cohort,autism", visits, "score", "childref", "have the same gender, status"},
		{"a name and the target alone", "subject,score,reaction", func(i int) string {
			return fmt.Sprintf("%d,%d,%d.5", i/5, draw(i, 7, 50), 100*draw(i/5, 8, 9)+draw(i, 9, 40))
		}, "reaction", "subject", "have alike reaction, which those of neighboring values have not"},
		{"a name and one other column", "School,ses,mean,score", func(i int) string {
			s := draw(i, 27, 60)
			return fmt.Sprintf("%d,%d,%d,%d.5", 1000+s*37, draw(i, 28, 90), draw(s, 29, 2_000), draw(i, 30, 400))
		}, "score", "School", "have the same mean"},
		{"ages and their bins", "age,age_group,half,score,left", bins, "left", "", ""},
		{"what is computed from it", "area,diameter,circumference,side,left", func(i int) string {
			a := 100 + draw(i, 24, 500)
			return fmt.Sprintf("%d,%.3f,%.3f,%d,%s", a, 2*math.Sqrt(float64(a)/math.Pi), 2*math.Sqrt(float64(a)*math.Pi), draw(i, 25, 4), yesNo(i))
		}, "left", "", ""},
		{"a smooth effect", "hours,score,pay", func(i int) string {
			h := draw(i, 10, 80)
			return fmt.Sprintf("%d,%d,%d.25", h, draw(i, 11, 30), 12*h+draw(i, 12, 9))
		}, "pay", "", ""},
		{"rows that come twice", "amount,kind,place,left", func(i int) string {
			i %= 400
			return fmt.Sprintf("%d,%s,%s,%s", draw(i, 13, 5_000), []string{"a", "b", "c"}[draw(i, 14, 3)], []string{"x", "y"}[draw(i, 15, 2)], []string{"yes", "no"}[draw(i, 16, 2)])
		}, "left", "", ""},
		{"years", "season,gdp,inflation,state,left", func(i int) string {
			y := 1950 + i%40
			return fmt.Sprintf("%d,%d,%d,%s,%s", y, draw(y, 17, 900), draw(y, 18, 50), []string{"NY", "TX", "CA"}[draw(i, 19, 3)], yesNo(i))
		}, "left", "", ""},
		{"codes of a property", "zip_code,city,county,score,left", func(i int) string {
			z := draw(i, 20, 80)
			return fmt.Sprintf("%d,city%d,%s,%d,%s", 98_000+z, draw(z, 21, 30), []string{"a", "b", "c"}[draw(z, 22, 3)], draw(i, 23, 40), yesNo(i))
		}, "left", "", ""},
	} {
		d, err := draft.Make(t.Context(), table(t, "t.csv", c.header+"\n"+rows(800, c.line)), draft.Options{Target: c.target})
		if err != nil {
			t.Errorf("%s: %v", c.why, err)
			continue
		}
		if d.Spec.Group != c.group || !strings.Contains(string(d.YAML), c.says) {
			t.Errorf("%s: group %q, want %q by %q:\n%s", c.why, d.Spec.Group, c.group, c.says, d.YAML)
		}
		if stops := d.Preview.Stops(d.Spec); len(stops) > 0 {
			t.Errorf("%s: the draft would not go through: %q", c.why, stops)
		}
	}
}

// A split by a hash puts neighbors in time into training and test: where their targets are
// alike, figures say little about the future.
func TestAlikeInTime(t *testing.T) {
	t.Parallel()
	day := func(i int) string { return time.Date(2020, 1, 1+i, 0, 0, 0, 0, time.UTC).Format(time.DateOnly) }
	walk := func(i int) float64 { return 50 + 30*math.Sin(float64(i)/40) + float64(draw(i, 1, 100))/50 }
	for _, c := range []struct {
		why, header string
		line        func(i int) string
		group, says string
	}{
		{"a series", "when,wind,load", func(i int) string { return fmt.Sprintf("%s,%d,%.2f", day(i), draw(i, 2, 90), walk(i)) }, "", "rows next to each other by when have alike load (1.00"},
		{"a series of quarters", "when,wind,load", func(i int) string {
			return fmt.Sprintf("%d Q%d,%d,%.2f", 1700+i/4, 1+i%4, draw(i, 2, 90), walk(i))
		}, "", "rows next to each other by when have alike load (1.00"},
		{"a series of years", "year,wind,load", func(i int) string {
			return fmt.Sprintf("%d,%d,%.2f", 1800+i/4, draw(i, 2, 90), walk(i))
		}, "", "rows next to each other by year have alike load"},
		{"years that are no time", "year,size,price", func(i int) string {
			size := draw(i, 3, 200)
			return fmt.Sprintf("%d,%d,%.2f", 1800+i/4, size, 3*float64(size)+float64(draw(i, 4, 1000))/100)
		}, "", ""},
		{"a series, in disorder", "when,wind,load", func(i int) string {
			return fmt.Sprintf("%s,%d,%.2f", day(i*7%800), draw(i, 2, 90), walk(i*7%800))
		}, "", "rows next to each other by when have alike load (1.00"},
		{"sales of a day", "sold,size,price", func(i int) string {
			size := draw(i, 3, 200)
			return fmt.Sprintf("%s,%d,%.2f", day(i/3), size, 3*float64(size)+float64(draw(i, 4, 1000))/100)
		}, "", ""},
		{"a series of each customer", "customer_id,when,wind,load", func(i int) string {
			c := i / 10
			return fmt.Sprintf("%d,%s,%d,%.2f", c, day(c*10+i%10), draw(i, 5, 90), float64(draw(c, 6, 900))+float64(draw(i, 7, 100))/50)
		}, "customer_id", ""},
	} {
		d, err := draft.Make(t.Context(), table(t, "t.csv", c.header+"\n"+rows(800, c.line)), draft.Options{Target: c.header[strings.LastIndex(c.header, ",")+1:], Task: dataset.Regression})
		if err != nil {
			t.Errorf("%s: %v", c.why, err)
			continue
		}
		if s := d.Summary(); d.Spec.Group != c.group || !strings.Contains(s, c.says) || c.says == "" && strings.Contains(s, "next to each other") {
			t.Errorf("%s: group %q, want %q and %q:\n%s", c.why, d.Spec.Group, c.group, c.says, s)
		}
		if d.Spec.ByTime() != (c.says != "") {
			t.Errorf("%s: split %s:\n%s", c.why, d.Spec.SplitRule(), d.YAML)
		}
		if !d.Spec.ByTime() {
			continue
		}
		var n []int
		for _, split := range []string{dataset.Train, dataset.Validation, dataset.Test} {
			n = append(n, d.Preview.Parts[split].Rows)
		}
		if n[0] < 470 || n[0] > 490 || n[1] < 150 || n[1] > 170 || n[2] < 150 || n[2] > 170 {
			t.Errorf("%s: %v rows, want about 480, 160 and 160: %s", c.why, n, d.Spec.SplitRule())
		}
	}
}

// The user says by what rows are split, or that a hash does it.
func TestSplitBy(t *testing.T) {
	t.Parallel()
	series := table(t, "t.csv", "Sold On,wind,year,kind,load\n"+rows(800, func(i int) string {
		return fmt.Sprintf("%s,%d,%d,k%d,%.2f", time.Date(2020, 1, 1+i, 9, 30, 0, 0, time.UTC).Format("02.01.2006 15:04"), draw(i, 2, 90), 2000+i/100, i%3, 50+30*math.Sin(float64(i)/40)+float64(draw(i, 1, 100))/50)
	}))
	for by, want := range map[string]string{
		"":        "by Sold On: validation from 2021-04-25, test from 2021-10-02",
		"Sold On": "by Sold On: validation from 2021-04-25, test from 2021-10-02",
		"year":    "by year: validation from 2004, test from 2006",
		"hash":    "by a hash of each row",
	} {
		d, err := draft.Make(t.Context(), series, draft.Options{Target: "load", Task: dataset.Regression, SplitBy: by})
		if err != nil || !strings.HasPrefix(d.Spec.SplitRule(), want) {
			t.Errorf("%q: %v, %s; want %s", by, err, d.Spec.SplitRule(), want)
		}
	}
	for by, want := range map[string]string{
		"sold": `no column is called "sold"; there are: `, "kind": "it takes a column of dates, or of numbers", "load": "that is not the target",
	} {
		if _, err := draft.Make(t.Context(), series, draft.Options{Target: "load", Task: dataset.Regression, SplitBy: by}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", by, err, want)
		}
	}
}

// A table whose outcome changes once can't be split by time: the draft says why it is
// not.
func TestTimeThatSplitsNothing(t *testing.T) {
	t.Parallel()
	d, err := draft.Make(t.Context(), table(t, "t.csv", "when,wind,left\n"+rows(800, func(i int) string {
		return fmt.Sprintf("%s,%d,%s", time.Date(2020, 1, 1+i, 0, 0, 0, 0, time.UTC).Format(time.DateOnly), draw(i, 2, 90), []string{"no", "yes"}[i/400])
	})), draft.Options{Target: "left", Leaks: []string{"when"}})
	if err != nil {
		t.Fatal(err)
	}
	if s := d.Summary(); d.Spec.ByTime() || !strings.Contains(s, "the draft splits by a hash") || !strings.Contains(s, "next to each other by when") {
		t.Errorf("split %s:\n%s", d.Spec.SplitRule(), s)
	}
}

// Each of 200 rows of noise comes five times under a key of its own: the draft says so, as
// the figures of its model would be those of a memory.
func TestCopies(t *testing.T) {
	t.Parallel()
	d, err := draft.Make(t.Context(), table(t, "copies.csv", "row_id,a,b,c,y\n"+rows(1000, func(i int) string {
		of := i % 200
		return fmt.Sprintf("%d,0.%03d,1.%03d,%d,%s", i+1, draw(of, 1, 1000), draw(of, 2, 1000), draw(of, 3, 100), []string{"yes", "no"}[draw(of, 4, 2)])
	})), draft.Options{Target: "y"})
	if err != nil {
		t.Fatal(err)
	}
	const want = "800 of 1,000 rows are copies of others: the same value, or nearly, in every column but row_id"
	if !slices.ContainsFunc(d.Profile.Warnings, func(w string) bool { return strings.HasPrefix(w, want) && strings.Contains(w, "allow_copies: true") }) {
		t.Errorf("warnings %q, want %q", d.Profile.Warnings, want)
	}
	if !strings.Contains(string(d.YAML), `negative: ["no"]`) {
		t.Errorf("the draft does not list the negative value:\n%s", d.YAML)
	}
}

// A name of people may be the group, but only where their rows have alike targets: one
// diagnosis each. Towns whose rows have the same county are none.
func TestGroupOfWords(t *testing.T) {
	t.Parallel()
	name := func(i int) string {
		return string(rune('A'+i%26)) + string(rune('a'+i/26)) + "na Hill"
	}
	for header, c := range map[string]struct {
		line  func(i int) string
		group string
	}{
		"speaker,jitter,hnr,y": {func(i int) string {
			of := i % 100
			return fmt.Sprintf("%s,0.%03d,1.%03d,%s", name(of), draw(i, 1, 1000), draw(i, 2, 1000), []string{"yes", "no"}[draw(of, 3, 2)])
		}, "speaker"},
		"town,county,income,y": {func(i int) string {
			of := draw(i, 1, 100)
			return fmt.Sprintf("%s,C%d,%d,%s", name(of), of/10, draw(i, 2, 1000), []string{"yes", "no"}[draw(i, 3, 2)])
		}, ""},
	} {
		d, err := draft.Make(t.Context(), table(t, "people.csv", header+"\n"+rows(1500, c.line)), draft.Options{Target: "y"})
		if err != nil {
			t.Fatal(err)
		}
		if d.Spec.Group != c.group {
			t.Errorf("%s: group %q, want %q", header, d.Spec.Group, c.group)
		}
	}
}

// Values that are identifiers make a group, whatever their column is called.
func TestGroupOfIdentifiers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		format string
		want   bool
	}{
		{"who%03d@example.org", true},
		{"6f1c0b1e-7d3e-4a39-9a0e-0000000000%02x", true},
		{"word %d", false},
	} {
		d, err := draft.Make(t.Context(), table(t, "t.csv", "contact,a,y\n"+rows(1200, func(i int) string {
			return fmt.Sprintf(c.format+",%d,%s", draw(i, 1, 200), draw(i, 2, 50), yesNo(i))
		})+",30000,\n"), draft.Options{Target: "y"})
		if err != nil {
			t.Fatal(err)
		}
		if got := d.Spec.Group == "contact"; got != c.want {
			t.Errorf("%s: group %q, want one: %t\n%s", c.format, d.Spec.Group, c.want, d.Summary())
		}
	}
}
