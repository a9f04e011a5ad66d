package draft_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"mlops/internal/dataset"
	"mlops/internal/draft"
)

// TestDirtyTables drafts tables as people have them: each draft has to be a valid
// spec by which the whole table can be read.
func TestDirtyTables(t *testing.T) {
	t.Parallel()
	latin := func(s string) string { return strings.NewReplacer("ö", "\xf6", "ß", "\xdf", "ü", "\xfc").Replace(s) }
	for _, c := range []struct {
		name, file, content, target string
		want                        []string // texts of the draft
	}{
		{"semicolons, a decimal comma, Latin-1 and German headers", "größen.csv", latin("Größe (cm);Wert;Stadt;Will Buy?\n" + rows(200, func(i int) string {
			return fmt.Sprintf("%d,5;1.%03d,25;Köln%d;%s", 150+i%40, i, i%3, yesNo(i))
		})), "Will Buy?", []string{`separator: ";"`, "encoding: windows-1252", `decimal: ","`, `thousands: "."`, `from: "Größe (cm)"`, `from: "Will Buy?"`}},
		{"tabs, a byte order mark, an index without a name, headers twice", "t.tsv", "\ufeff\tage\tx\tx\tleft\n" + rows(200, func(i int) string {
			return fmt.Sprintf("%d\t%d\t%d\t%d\t%s", i, 20+i%30, i%7, i%5, yesNo(i))
		}), "left", []string{"separator: tab", `ignore: [""]`, "{number: age}", `from: "x#1"`, "{number: x_2}"}},
		{"headers twice with the same values", "same.csv", "age,x,x,left\n" + rows(200, func(i int) string {
			return fmt.Sprintf("%d,%d,%d,%s", 20+i%30, i%7, i%7, yesNo(i))
		}), "left", []string{`ignore: ["x#2"]`, `from: "x#1"`, "the name and the values of an earlier column"}},
		{"the separator in the first line", "sep.csv", "sep=;\r\nage;size;y\r\n" + rows(200, func(i int) string { return fmt.Sprintf("%d;1,%d;%s\r", i%30, i%9, yesNo(i)) }), "y",
			[]string{"skip: 1", `separator: ";"`, `decimal: ","`}},
		{"comments and a title before the header", "title.csv", "# exported on 2024-01-31, by hand\n# for the board\n\nMembers,,\nage,size,y\n" + rows(200, func(i int) string { return fmt.Sprintf("%d,%d,%s", i%30, i%9, yesNo(i)) }), "y",
			[]string{"skip: 4", "{number: age}"}},
		{"a separator at the end of each record", "end.csv", "age,size,y\n" + rows(200, func(i int) string { return fmt.Sprintf("%d,%d,%s,", i%30, i%9, yesNo(i)) }), "y",
			[]string{`ignore: [""]`, "{number: age}"}},
		{"names of rows without a header, as R writes them", "r2.csv", "age,size,y\n" + rows(200, func(i int) string { return fmt.Sprintf("%d,%d,%d,%s", i, i%30, i%9, yesNo(i)) }), "y",
			[]string{`ignore: [""]`, "{number: age}"}},
		{"dates, thousands, booleans in mixed case, missing words", "d.csv", "when,amount,member,age,y\n" + rows(300, func(i int) string {
			age := fmt.Sprint(30 + i%20)
			if i%30 == 0 {
				age = "unknown"
			}
			return fmt.Sprintf("%02d.%02d.2023,\"%d,%03d.5\",%s,%s,%s", 1+i%28, 1+i%12, 1+i%3, i%1000, []string{"Yes", "no", "TRUE", "False"}[i%4], age, yesNo(i))
		}), "y", []string{"type: date, format: DD.MM.YYYY", "{date: when, part: month}", `thousands: ","`, "member, type: boolean", "age, type: integer, missing: [unknown]"}},
		{"quoted line breaks, a comma at the header's end, a target with blanks", "q.csv", "note,n,y,\n" + rows(200, func(i int) string {
			y := []string{"Yes", "No", ""}[i%3]
			return fmt.Sprintf("\"line one %d\nline two\",%d,%s", i, i%17, y)
		}), "y", []string{"66 rows without a target", "note: text that is different in nearly every row"}},
		{"a number that stands for a missing value", "s.csv", "depth,change,y\n" + rows(200, func(i int) string {
			depth := i % 50
			if i%20 == 0 {
				depth = -999
			}
			return fmt.Sprintf("%d,%d,%s", depth, i%9-4, yesNo(i))
		}), "y", []string{`depth, type: integer, missing: ["-999"]`, "change, type: integer, form"}},
		{"units: percent, currencies, kilograms, and codes that only look like it", "u.csv", "rate,price,weight,quarter,mixed,y\n" + rows(700, func(i int) string {
			price := fmt.Sprintf("\"$%d,%03d.50\"", 1+i%5, i%1000)
			if i%9 == 0 {
				price = "-$ 12"
			}
			return fmt.Sprintf("%d.%d%%,%s,%d kg,Q%d,%s,%s", i%90, i%10, price, 40+i%50, 1+i%4, []string{"5 kg", "7 lb"}[i%2], yesNo(i))
		}), "y", []string{`rate, type: number, unit: "%"`, `price, type: number, unit: "$"`, "weight, type: integer, unit: kg", `thousands: ","`, "quarter, type: category", "mixed, type: category"}},
		{"no header, and words in the first line", "h.csv", rows(300, func(i int) string {
			return fmt.Sprintf("'%d-%d','%s','%s'", i%5*10, i%5*10+9, []string{"left", "right"}[i%2], yesNo(i))
		}), "column_3", []string{"header: none", "{category: column_1}", "{category: column_2}"}},
		{"dates in two forms, dashes and codes of the target", "f.csv", "when,size,y\n" + rows(300, func(i int) string {
			when := fmt.Sprintf("2023-%02d-%02d", 1+i%12, 1+i%28)
			if i%3 == 0 {
				when = fmt.Sprintf("%02d/%02d/2023", 1+i%12, 1+i*7%28)
			}
			return fmt.Sprintf("%s,%s,%s", when, []string{"12", "–", "7.5", "n.a."}[i%4], map[string]string{"yes": "2", "no": "1"}[yesNo(i)])
		}), "y", []string{`when, type: date, format: "MM/DD/YYYY"`, `size, type: number, missing: [n.a., "–"]`, `positive: ["2"]`}},
		{"what an editor or a terminal would obey, in names and values", "o.csv", "n\u202egnp,\x1b[2Jsize,y\n" + rows(200, func(i int) string {
			return fmt.Sprintf("%s,%d,%s", []string{"\u2066a", "b\U000E0041", "c\u200d"}[i%3], i%9, yesNo(i))
		}), "y", []string{`from: "n\u202Egnp"`, `from: "\u001B[2Jsize"`, `"\u2066a"`, `"b\U000E0041"`}},
		{"a leak and codes with zeros in front", "l.csv", "code,score,outcome_text,y\n" + rows(400, func(i int) string {
			return fmt.Sprintf("%05d,%d,%s,%s", i%9, i*7%100, map[string]string{"yes": "left us", "no": "stays"}[yesNo(i)], yesNo(i))
		}), "y", []string{"codes: 400 begin with a zero", "outcome_text: suspected leak"}},
		{"one number among the names, plus and minus, a word in many cells, dates with an offset and without separators", "p.csv", "id,score,plan,0,seen,start_date,y\n" + rows(300, func(i int) string {
			score := fmt.Sprintf("%d.5", i%40)
			if i%3 == 0 {
				score = "tbd"
			}
			return fmt.Sprintf("%d,%s,%s,%d,2015-02-%02d 11:35:%02d -0800,2014%02d%02d,%s", i, score, []string{"a", "b"}[i%2], i%9, 1+i%28, i%60, 1+i%12, 1+i%28,
				map[string]string{"yes": "+", "no": "-"}[yesNo(i)])
		}), "y", []string{`score, type: number, missing: [tbd]`, `from: "0"`, "seen, type: date", "start_date, type: date", `positive: ["+"]`}},
		{"names that a program numbered", "n.csv", "0,1,2,3\n" + rows(300, func(i int) string { return fmt.Sprintf("%d,%d.5,%d,%s", i%7, i%50, i%11, yesNo(i)) }), "3",
			[]string{`from: "0"`, `from: "3"`}},
		{"rupiahs with blanks around them, square metres, and a day that may be a month", "r.csv", "area,price,day,y\n" + rows(300, func(i int) string {
			return fmt.Sprintf("%d m²,\" Rp %d,%03d,000 \",%02d/%02d/2023,%s", 30+i%90, 100+i%400, i*7%1000, 1+i%12, 1+i%9, yesNo(i))
		}), "y", []string{`area, type: integer, unit: "m²"`, "price, type: number, unit: Rp", `format: "MM/DD/YYYY"`, "(format: DD/MM/YYYY)"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d, err := draft.Make(context.Background(), table(t, c.file, c.content), draft.Options{Target: c.target})
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range c.want {
				if !strings.Contains(string(d.YAML), want) {
					t.Errorf("the draft lacks %q", want)
				}
			}
			if n := d.Preview.Load.Rejected + d.Preview.Clean.Rejected; n > 0 {
				t.Errorf("%d rows are rejected by the draft: %s %s", n, d.Preview.Load, d.Preview.Clean)
			}
			if stops := d.Preview.Stops(d.Spec); len(stops) > 0 {
				t.Errorf("the draft would stop: %q", stops)
			}
			if _, err := dataset.Parse(d.YAML); err != nil {
				t.Error(err)
			}
			if t.Failed() {
				t.Logf("the draft:\n%s", d.YAML)
			}
		})
	}
}

// What a table doesn't tell for sure is said where the user looks, and in the draft.
func TestUnsure(t *testing.T) {
	t.Parallel()
	path := table(t, "u.csv", "name,amount,rate,day,y\n"+rows(300, func(i int) string {
		amount, rate := fmt.Sprintf("\"%d,%03d.5\"", 1+i%5, i%1000), fmt.Sprintf("%d.5%%", i%90)
		if i%3 == 0 {
			amount, rate = fmt.Sprintf("\"%d.%03d,5\"", 1+i%5, i%1000), fmt.Sprintf("0.%02d", i%90)
		}
		return fmt.Sprintf("n%d,%s,%s,%d/%d/2023,%s", i%9, amount, rate, 1+i%12, 1+i%11, yesNo(i))
	})+"Total,\"9,999.5\",,,\n")
	d, err := draft.Make(t.Context(), path, draft.Options{Target: "y"})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"amount: numbers in two spellings", `decimal point as on line 3 ("2,001.5")`, `decimal comma as on line 2 ("1.000,5")`,
		"rate: 100 values have no % and are up to 0.87", "may have the day or the month first", `line 302, the last one, begins with "Total"`,
	} {
		if !strings.Contains(d.Summary(), want) {
			t.Errorf("the summary lacks %q:\n%s", want, d.Summary())
		}
	}
	if !strings.Contains(string(d.YAML), "numbers in two spellings") {
		t.Errorf("the draft lacks the two spellings:\n%s", d.YAML)
	}
}

// The page says what the terminal does, and which columns are left out.
func TestPage(t *testing.T) {
	t.Parallel()
	path := table(t, "p.csv", "name,amount,same,y\n"+rows(300, func(i int) string {
		amount := fmt.Sprint(i % 40)
		if i%12 == 0 {
			amount = fmt.Sprintf("about %d", i)
		}
		return fmt.Sprintf("n%d,%s,x,%s", i%9, amount, yesNo(i))
	}))
	d, err := draft.Make(t.Context(), path, draft.Options{Target: "y"})
	if err != nil {
		t.Fatal(err)
	}
	var page strings.Builder
	if err := d.Profile.HTML(&page); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"amount: 275 of 300 values are numbers; the others keep the column text", "constant: every row has the same value"} {
		if !strings.Contains(page.String(), want) || !strings.Contains(d.Summary(), want) {
			t.Errorf("page or summary lack %q:\n%s", want, d.Summary())
		}
	}
	if !strings.Contains(page.String(), "Left out: constant") {
		t.Error("the page doesn't say which columns are left out")
	}
}
