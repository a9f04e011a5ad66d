package draft_test

import (
	"fmt"
	"strings"
	"testing"

	"mlops/internal/draft"
)

// Levels that are one in several spellings are told with their cells; others are not.
func TestSpellings(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		levels []string // the first ones in more rows
		want   string   // of the summary; empty: nothing of this kind
	}{
		{"a first letter", []string{"male", "female", "m"}, `"male" (`},
		{"first letters", []string{"single", "married", "div", "sin", "mar", "divorced"}, `and the same goes for 2 other values`},
		{"capitals", []string{"Bern", "Chur", "BERN", "bern "}, `"Bern" (335 cells), "BERN" (164 cells) and "bern" (`},
		{"points", []string{"USA", "Chile", "U.S.A.", "Peru"}, `are 2 values to a model: if they mean the same`},
		{"dashes", []string{"low-fat", "regular", "low fat", "Low Fat"}, `are 3 values to a model`},
		{"two kinds", []string{"male", "f", "m", "female"}, `{number: x, values: {f: 0, female: 0, male: 1, m: 1}}`},
		{"grades", []string{"A", "A-", "B", "B+", "B-"}, ""},
		{"versions", []string{"1.5", "15", "1-5", "x"}, ""},
		{"letters that begin nothing, or several", []string{"S", "C", "Q", "Southampton", "Cherbourg"}, ""},
		{"words that begin others", []string{"in", "india", "indonesia", "no", "north", "south"}, ""},
		{"codes of countries", []string{"Germany", "USA", "FR", "US", "DE", "Chile"}, `and the same goes for 1 other value`},
		{"names of countries", []string{"United Kingdom", "UK", "Ireland", "South Korea"}, `are 2 values to a model`},
		{"codes and names of states", []string{"CA", "California", "NY", "TX", "WA", "Georgia"}, `"CA" (`},
		{"words for sexes", []string{"male", "woman", "man", "female", "unknown"}, `are 2 values to a model`},
		{"countries, one name each", []string{"DE", "FR", "USA", "United Kingdom", "IT", "Georgia", "GA"}, ""},
		{"codes of states", []string{"CA", "IN", "DE", "GA", "CO", "MA", "AL"}, ""},
		{"codes of other things", []string{"US", "USA", "AX", "BX", "CX", "DX7"}, ""},
		{"kinds of people", []string{"man", "woman", "boy", "girl"}, ""},
		{"one pair by chance", []string{"bus", "business", "home"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			summary, _ := said(t, "x,size,y\n"+rows(800, func(i int) string {
				return fmt.Sprintf("%s,%d,%s", tt.levels[min(draw(i, 1, len(tt.levels)), draw(i, 5, len(tt.levels)))], draw(i, 2, 40), yesNo(i))
			}), draft.Options{Target: "y"})
			const kind = "values to a model"
			if tt.want == "" && strings.Contains(summary, kind) || tt.want != "" && (!strings.Contains(summary, kind) || !strings.Contains(summary, strings.TrimSpace(tt.want))) {
				t.Errorf("want %q:\n%s", tt.want, summary)
			}
		})
	}
}

// Words and numbers that say yes and no are a boolean, whichever there are more of.
func TestMixedTruths(t *testing.T) {
	t.Parallel()
	for _, levels := range [][]string{{"yes", "no", "1", "0", "TRUE", "N"}, {"1", "0", "1", "0", "1", "0", "1", "0", "yes", "no"}} {
		summary, text := said(t, "x,size,y\n"+rows(900, func(i int) string {
			return fmt.Sprintf("%s,%d,%s", levels[draw(i, 1, len(levels))], draw(i, 2, 40), yesNo(i))
		}), draft.Options{Target: "y"})
		if !strings.Contains(text, "{name: x, type: boolean, form: Inputs} # guessed: yes or no, in several spellings: ") {
			t.Errorf("%s\n%s", summary, text)
		}
	}
}

// Cells with several values are told, with the mark that parts them; other marks are not.
func TestParted(t *testing.T) {
	t.Parallel()
	parts := []string{"fever", "cough", "rash", "pain"}
	set := func(mark string) func(i int) string {
		return func(i int) string {
			var all []string
			for k, p := range parts {
				if draw(i, 10+k, 3) == 0 {
					all = append(all, p)
				}
			}
			return strings.Join(all, mark)
		}
	}
	for _, tt := range []struct {
		name string
		of   func(i int) string
		want string
	}{
		{"semicolons", set(";"), `cells have several values of 4 parts, parted by ";", for example line `},
		{"bars", set("|"), `parted by "|"`},
		{"commas", func(i int) string { return `"` + set(", ")(i) + `"` }, `parted by ","`},
		{"lists", func(i int) string { return `"[""a"", ""` + parts[draw(i, 1, 4)] + `""]"` }, "several values, as a list"},
		{"towns and countries", func(i int) string {
			return []string{`"Bern, CH"`, `"Chur, CH"`, `"Wien, AT"`, `"Graz, AT"`, `"Linz, AT"`}[draw(i, 1, 5)]
		}, ""},
		{"ranges", func(i int) string { return []string{`"[10,20]"`, `"(20,30]"`, `"[30,40]"`, `"[40,50]"`}[draw(i, 1, 4)] }, ""},
		{"two words", func(i int) string { return []string{"own/rent", "yes/no", "full/part", "day/night"}[draw(i, 1, 4)] }, ""},
		{"a last word", func(i int) string {
			return []string{"Private; small", "Public; large", "Private; large", "none"}[draw(i, 1, 4)]
		}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			summary, _ := said(t, "x,size,y\n"+rows(900, func(i int) string { return fmt.Sprintf("%s,%d,%s", tt.of(i), draw(i, 2, 40), yesNo(i)) }), draft.Options{Target: "y"})
			if tt.want == "" && strings.Contains(summary, "several values") || !strings.Contains(summary, tt.want) {
				t.Errorf("want %q:\n%s", tt.want, summary)
			}
		})
	}
	summary, _ := said(t, "size,x\n"+rows(900, func(i int) string {
		return fmt.Sprintf("%d,%s", draw(i, 2, 40), []string{"fever", "cough", "fever;cough", "cough;fever"}[draw(i, 1, 4)])
	}), draft.Options{Target: "x"})
	if !strings.Contains(summary, `! x: `) || !strings.Contains(summary, "a class of its own in a target") {
		t.Errorf("a target of several values:\n%s", summary)
	}
}

// Columns that say the same in every row are told once; those that differ anywhere are not.
func TestSame(t *testing.T) {
	t.Parallel()
	const names = "kg,kg2,g,f,c,sex,code,near,city,one,y\n"
	record := func(i int) string {
		kg, c := 40+draw(i, 1, 60), draw(i, 2, 300)
		near := kg
		if i == 599 {
			near++
		}
		return fmt.Sprintf("%d.5,%d.5,%d,%g,%d,%s,%d,%d.5,c%d,%d,%s", kg, kg, 1000*kg+500, float64(18*c)/10+32, c, []string{"m", "f"}[draw(i, 3, 2)], 1+draw(i, 3, 2), near, draw(i, 4, 9), draw(i, 5, 9), yesNo(i))
	}
	summary, _ := said(t, names+rows(600, record), draft.Options{Target: "y"})
	for _, want := range []string{
		"! kg says the same as kg2 (the same values) and g (1000 times as much), in all 600 rows: a model needs one of them",
		"! f says the same as c (0.555556 times as much, less 17.7778), in all 600 rows",
		`! sex says the same as code (one to one, such as "`,
	} {
		if !strings.Contains(summary, want) {
			t.Errorf("the summary lacks %q", want)
		}
	}
	if n := strings.Count(summary, "says the same as"); n != 3 || t.Failed() {
		t.Errorf("%d columns are told:\n%s", n, summary)
	}
}
