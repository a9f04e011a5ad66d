package draft_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"mlops/internal/draft"
	"mlops/internal/source"
)

// TestStrangers drafts tables that have something odd: either it is read, or the user is
// told in one message with place, example and remedy.
func TestStrangers(t *testing.T) {
	t.Parallel()
	swiss := func(sep string) string {
		return "Nr;Lohn;Kauf\n" + rows(300, func(i int) string {
			return fmt.Sprintf("%d;CHF %d%s%03d.50;%s", i, 1+i%9, sep, i%1000, map[string]string{"yes": "WAHR", "no": "FALSCH"}[yesNo(i)])
		})
	}
	for _, c := range []struct {
		name, content, target string
		says                  []string // texts of the summary, or of the error
		draft                 []string // texts of the draft
		not                   []string // texts of neither
	}{
		{"Swiss amounts with a currency", swiss("'"), "Kauf", []string{"WAHR counts as 1"}, []string{"Lohn, type: number, unit: CHF", `thousands: "'"`}, []string{"STOP"}},
		{"and as a spreadsheet writes them", swiss("\u2019"), "Kauf", nil, []string{"Lohn, type: number", "thousands: \"\u2019\""}, []string{"STOP"}},
		{"thousands parted by blanks that don't break, all with a decimal comma", "id;inc;y\n" + rows(300, func(i int) string { return fmt.Sprintf("%d;%d\u00a0%03d,00;%s", i, 1+i%90, i%1000, yesNo(i)) }), "y",
			nil, []string{`decimal: ","`, `thousands: "\u00A0"`, "inc, type: number"}, []string{"STOP"}},
		{"euros in Windows' encoding", "Nr;Betrag;Ort;Ja?\n" + rows(300, func(i int) string {
			return fmt.Sprintf("%d;%d.%03d,50 \x80;%s;%s", i, 1+i%9, i%1000, []string{"Z\xfcrich", "Gen\xe8ve"}[i%2], yesNo(i))
		}), "Ja?", nil, []string{"encoding: windows-1252", "Betrag, type: number", `unit: "€"`, "Zürich"}, []string{"STOP"}},
		{"some lines in another encoding", "size,city,y\n" + rows(300, func(i int) string {
			return fmt.Sprintf("%d,%s,%s", i%50, map[bool]string{true: "Z\xfcrich", false: []string{"Bern", "Zürich"}[i%2]}[i%50 == 0], yesNo(i))
		}), "y", []string{"6 records could not be read, for example line 2: invalid UTF-8 (it looks like windows-1252, and other lines are UTF-8"}, []string{"Zürich"}, []string{"encoding: windows", "ZÃ"}},
		{"text that was read in a wrong encoding", "size,city,y\n" + rows(300, func(i int) string { return fmt.Sprintf("%d,%s,%s", i%50, []string{"ZÃ¼rich", "Bern"}[i%2], yesNo(i)) }), "y",
			[]string{`city: 150 values look as if they had been read in a wrong encoding, for example line 2: "ZÃ¼rich"`}, nil, nil},
		{"characters that can't be seen", "size,city,y\n" + rows(300, func(i int) string {
			return fmt.Sprintf("%d,Bern%s,%s", i%50, []string{"", "\u200b"}[i%2], yesNo(i))
		}), "y", []string{`city: 150 values have characters that can't be seen, for example line 3: "Bern\u200b"`}, nil, nil},
		{"commas in single quotes", "age,city,y\n" + rows(300, func(i int) string { return fmt.Sprintf("%d,'Bern, CH',%s", i%9, yesNo(i)) }), "y",
			[]string{"line 2 has 4 fields, want 3", "needs double quotes"}, nil, nil},
		{"quotes with a backslash", "age,city,y\n" + rows(300, func(i int) string { return fmt.Sprintf(`%d,"say \"hi\", ok",%s`, i%9, yesNo(i)) }), "y",
			[]string{"line 2 has text after the closing quote", "not escaped by a backslash"}, nil, nil},
		{"whole lines in quotes", "age,city,y\n" + rows(300, func(i int) string { return fmt.Sprintf(`"%d,Bern,%s"`, i%9, yesNo(i)) }), "y",
			[]string{"the whole line is in quotes"}, nil, nil},
		{"a spreadsheet's formulas", "id,age,y\n" + rows(300, func(i int) string { return fmt.Sprintf(`="%05d",%d,%s`, i, i%9, yesNo(i)) }), "y",
			[]string{"a spreadsheet's formula"}, nil, nil},
		{"two kinds of line ends", "age,city,y\n" + rows(300, func(i int) string { return fmt.Sprintf("%d,Bern,%s\r%d,Chur,%[2]s", i%9, yesNo(i), i%7) }), "y",
			[]string{"one kind of line end"}, nil, nil},
		{"empty lines, and lines of separators", "age,city,y\n" + rows(300, func(i int) string { return fmt.Sprintf("%d,Bern%d,%s\n\n,,", i%9, i%3, yesNo(i)) }), "y",
			[]string{"600 lines without a value, which are no records, the first on line 3"}, nil, []string{"could not be read", "STOP"}},
		{"the header again", "age,city,y\n" + rows(300, func(i int) string {
			return fmt.Sprintf("%d,Bern%d,%s%s", i%9, i%3, yesNo(i), map[bool]string{true: "\nage,city,y"}[i%100 == 99])
		}), "y", []string{"3 records could not be read, for example line 102: the header again"}, nil, []string{"missing in age", "STOP"}},
		{"two lines of names", "person,person,place,target\nage,inc,city,y\n" + rows(300, func(i int) string { return fmt.Sprintf("%d,%d,Bern%d,%s", i%9, i%50, i%3, yesNo(i)) }), "y",
			nil, []string{"skip: 1", "{number: age}"}, nil},
		{"another separator", "age~city~y\n" + rows(300, func(i int) string { return fmt.Sprintf("%d~Bern~%s", i%9, yesNo(i)) }), "y",
			[]string{"fields that are parted by '~' can't be told apart"}, nil, nil},
		{"totals between the rows", "city,size,y\n" + rows(300, func(i int) string {
			return fmt.Sprintf("Bern%d,%d,%s%s", i%3, i%50, yesNo(i), map[bool]string{true: "\nSubtotal,1200,"}[i%100 == 99])
		}), "y", []string{`3 lines begin as totals do, for example line 102: "Subtotal"`}, nil, nil},
		{"amounts that are not read", "id,owed,crp,when,y\n" + rows(300, func(i int) string {
			return fmt.Sprintf("%d,%s,%s,2023-%02d-%02d %02d:00 CET,%s", i, []string{fmt.Sprintf("(%d.5)", i), fmt.Sprint(i)}[i%2], []string{"<0.5", fmt.Sprint(i)}[i%2], 1+i%12, 1+i%28, i%24, yesNo(i))
		}), "y", []string{`owed: values such as "(0.5)" (line 2)`, `crp: values such as "<0.5" (line 2)`, `when: values such as "2023-01-01 00:00 CET" (line 2)`}, nil, nil},
		{"codes of a missing value", "age,inc,kids,y\n" + rows(400, func(i int) string {
			age, inc := 18+i%60, 100+i%200
			if i%20 == 0 {
				age, inc = 999, -1
			}
			return fmt.Sprintf("%d,%d,%d,%s", age, inc, i%5, yesNo(i))
		}), "y", []string{`age: "999" comes 20 times, first on line 2, and the next greatest value is 77`, `inc: "-1" comes 20 times`}, nil, []string{"kids:"}},
		{"X or nothing", "age,city,y\n" + rows(300, func(i int) string {
			return fmt.Sprintf("%d,Bern%d,%s", i%9, i%3, map[string]string{"yes": "X"}[yesNo(i)])
		}), "y", []string{`the target "y" has one value only, "X"`, "rows without one", "write a word there"}, nil, nil},
		{"a target of numbers and a word", "age,city,y\n" + rows(300, func(i int) string {
			return fmt.Sprintf("%d,Bern%d,%s", i%9, i%4, []string{"0", "1", "many"}[i*i/7%3])
		}), "y", []string{"3 classes"}, []string{`classes: ["0", "1", many]`}, []string{"missing in y"}},
		{"classes in several spellings", "age,city,y\n" + rows(600, func(i int) string {
			return fmt.Sprintf("%d,Bern%d,%s", i%9, i%3, []string{"Gone", "gone.", "stay", "here"}[i%4])
		}), "y", []string{`"Gone" and "gone." differ only in how they are spelled`}, nil, nil},
		{"numbers of rows that pandas wrote, and a count", "Unnamed: 0,age,visit,y\n" + rows(300, func(i int) string { return fmt.Sprintf("%d,%d,%d,%s", 299-i, i%9, i+1, yesNo(i)) }), "y",
			[]string{"visit", "left out: it counts the rows"}, []string{`ignore: ["Unnamed: 0"]`}, []string{"key:"}},
		{"whole numbers beyond 15 digits", "id,age,n,y\n" + rows(300, func(i int) string { return fmt.Sprintf("%d,%d,%d,%s", i, i%9, 9007199254740993+i*7, yesNo(i)) }), "y",
			nil, []string{`{number: "n"}`}, nil},
		{"a pressure of 0", "bp,n,y\n" + rows(400, func(i int) string {
			return fmt.Sprintf("%d,%d,%s", max(0, min(1, i%12))*(80+i*7%60), i%14, yesNo(i))
		}), "y", []string{`! bp: "0" comes 34 times, first on line 2, and the next smallest value is 81: if it stands for a missing value`}, nil, []string{"! n:"}},
		{"points beside decimal commas", "a;b;y\n" + rows(300, func(i int) string { return fmt.Sprintf("%d.%d;%d,5;%s", i%37, 1+i%8, i%41, yesNo(i)) }), "y",
			[]string{`! a: numbers with a decimal point, as on line 2: "0.1", in a table with decimal commas`}, nil, nil},
		{"a target of two currencies", "a,price\n" + rows(300, func(i int) string { return fmt.Sprintf("%d,%s%d.%02d", i%37, []string{"$", "€"}[i%2], i, i%97) }), "price",
			[]string{`numbers in 2 units: $ (150 cells, such as line 2: "$0.00") and €`}, nil, nil},
		{"a band of the target", "a,band,price\n" + rows(600, func(i int) string {
			price := i * 7919 % 1000
			return fmt.Sprintf("%d,%s,%d.5", i%37, []string{"low", "mid", "high"}[price/334], price)
		}), "price", []string{"band", "left out: suspected leak"}, nil, []string{"{category: band}"}},
		{"days between two dates", "start,end,age,late\n" + rows(900, func(i int) string {
			start, took := time.Date(2023, 1, 1+draw(i, 90, 600), 0, 0, 0, 0, time.UTC), draw(i, 91, 60)
			return fmt.Sprintf("%s,%s,%d,%s", start.Format(time.DateOnly), start.AddDate(0, 0, took).Format(time.DateOnly), draw(i, 92, 50), []string{"no", "yes"}[took/30])
		}), "late", []string{"! suspected leak: the difference of start and end has an AUC of 1.0000"}, nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d, err := draft.Make(t.Context(), table(t, "t.csv", c.content), draft.Options{Target: c.target})
			var wrong *source.Error
			var no *draft.Error
			said, text := "", ""
			switch {
			case err == nil:
				said, text = d.Summary(), string(d.YAML)
			case errors.As(err, &wrong), errors.As(err, &no):
				said = err.Error()
			default:
				t.Fatal(err)
			}
			for _, want := range c.says {
				if !strings.Contains(said, want) {
					t.Errorf("not said: %q", want)
				}
			}
			for _, want := range c.draft {
				if !strings.Contains(text, want) {
					t.Errorf("the draft lacks %q", want)
				}
			}
			for _, unwanted := range c.not {
				if strings.Contains(said+text, unwanted) {
					t.Errorf("there is %q", unwanted)
				}
			}
			if t.Failed() {
				t.Logf("%s\n%s", said, text)
			}
		})
	}
}
