package draft_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"mlops/internal/draft"
)

// said is what is told of a table, with its draft, or the error.
func said(t *testing.T, content string, o draft.Options) (summary, text string) {
	t.Helper()
	d, err := draft.Make(t.Context(), table(t, "t.csv", content), o)
	if err != nil {
		return err.Error(), ""
	}
	if n := d.Preview.Load.Rejected + d.Preview.Clean.Rejected; n > 0 {
		t.Errorf("the draft rejects %d rows: %s %s", n, d.Preview.Load, d.Preview.Clean)
	}
	return d.Summary(), string(d.YAML)
}

// A few cells that are no numbers or no dates don't make text of their column, and are told.
func TestOddCells(t *testing.T) {
	t.Parallel()
	day := func(i int) time.Time { return time.Date(2021, 1, 1+draw(i, 1, 900), 0, 0, 0, 0, time.UTC) }
	for _, tt := range []struct {
		name   string
		column string
		odd    []string // every fiftieth cell is one of them
		cell   func(i int) string
		draft  string
		says   []string
		rows   int
	}{
		{"impossible dates", "when", []string{"2024-02-30", "0000-00-00", "1900-01-00", "2023-13-01", "2023-06-31", "2022-00-10", "2022-02-29"},
			func(i int) string { return day(i).Format(time.DateOnly) },
			`when, type: date, missing: ["0000-00-00", "1900-01-00", "2022-00-10", "2022-02-29", "2023-06-31", "2023-13-01", "2024-02-30"]`,
			[]string{`when: 12 cells are no dates that exist, such as "2024-02-30" (line 2), and are read as missing: correct the table`}, 600},
		{"one impossible date", "when", []string{"31/04/2023"}, func(i int) string { return day(i).Format("02/01/2006") },
			`when, type: date, format: "DD/MM/YYYY", missing: ["31/04/2023"]`, []string{`when: 1 cell is no date that exists, "31/04/2023" (line 2), and is read as missing`}, 40},
		{"more dates than are counted one by one", "when", []string{"2024-02-30 00:00", "tbd."},
			func(i int) string { return day(i).Add(time.Duration(i) * time.Minute).Format("2006-01-02 15:04") },
			`when, type: date, missing: ["2024-02-30 00:00", tbd.]`, []string{`when: 120 cells are no dates that exist`, `missing in when: "tbd."`}, 12_000},
		{"dates without separators", "start_date", []string{"20240230", "00000000", "99999999"}, func(i int) string { return day(i).Format("20060102") },
			`start_date, type: date, missing: ["00000000", "20240230", "99999999"]`, []string{"start_date: 12 cells are no dates that exist"}, 600},
		{"dates in another form", "when", []string{"3 March 2022", "5 May 2022", "7 July 2022", "8 July 2022", "9 July 2022", "1 July 2022"}, func(i int) string { return day(i).Format("02.01.2006") },
			`when, type: date, format: DD.MM.YYYY, missing: ["1 July 2022",`, []string{`when: 12 cells are dates in another form, such as "3 March 2022" (line 2), and are read as missing: write all dates one way`}, 600},
		{"words and amounts among numbers", "dose", []string{"n/a*", "see note", "#REF!", ">100", "ca. 20", "refused", "lost"}, func(i int) string { return fmt.Sprintf("%d.%d", draw(i, 2, 90), draw(i, 3, 10)) },
			`dose, type: number, missing: ["#REF!", ">100", ca. 20, lost, "n/a*", refused, see note]`,
			[]string{`dose: 4 cells have a number in them, such as ">100" (line 152), and are read as missing`, `missing in dose: "#REF!" (2 cells, first on line 102)`, "missing in dose: and 2 more texts"}, 600},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			summary, text := said(t, tt.column+",size,y\n"+rows(tt.rows, func(i int) string {
				v := tt.cell(i)
				if i%50 == 0 {
					v = tt.odd[i/50%len(tt.odd)]
				}
				return fmt.Sprintf("%s,%d,%s", v, draw(i, 4, 40), yesNo(i))
			}), draft.Options{Target: "y"})
			if !strings.Contains(text, tt.draft) {
				t.Errorf("the draft lacks %q:\n%s", tt.draft, text)
			}
			for _, want := range tt.says {
				if !strings.Contains(summary, want) {
					t.Errorf("the summary lacks %q:\n%s", want, summary)
				}
			}
		})
	}
}

// Codes, and words among a few levels, stay what they are.
func TestNotOdd(t *testing.T) {
	t.Parallel()
	summary, text := said(t, "diagnosis,sleep,grade,y\n"+rows(900, func(i int) string {
		diagnosis := fmt.Sprintf("%d.%d", 200+draw(i, 1, 300), draw(i, 2, 9))
		if i%30 == 0 {
			diagnosis = fmt.Sprintf("V%d", 40+draw(i, 3, 12))
		}
		sleep := fmt.Sprintf("%d hours", 5+draw(i, 5, 5))
		switch {
		case i%100 == 0:
			sleep = "10 or more hours"
		case i%20 == 0:
			sleep = "4 or less hours"
		}
		return fmt.Sprintf("%s,%s,%s,%s", diagnosis, sleep, []string{"1", "2", "3", "4", "retired"}[min(4, draw(i, 4, 6))], yesNo(i))
	}), draft.Options{Target: "y"})
	for _, want := range []string{"{name: diagnosis, type: category", "{name: sleep, type: category, form: Inputs, values", "{name: grade, type: category"} {
		if !strings.Contains(text, want) {
			t.Errorf("the draft lacks %q:\n%s\n%s", want, summary, text)
		}
	}
}

// Rows without a target are not trained on; words beside amounts are no target.
func TestOddTargets(t *testing.T) {
	t.Parallel()
	summary, text := said(t, "size,price\n"+rows(600, func(i int) string {
		price := fmt.Sprintf("%d.5", 100+draw(i, 1, 500))
		if i%40 == 0 {
			price = []string{"on request", "sold", "see note"}[i/40%3]
		}
		return fmt.Sprintf("%d,%s", draw(i, 2, 90), price)
	}), draft.Options{Target: "price"})
	if !strings.Contains(text, "task: regression") || !strings.Contains(text, "15 rows without a target") || !strings.Contains(summary, `missing in price: "on request" (5 cells, first on line 2)`) {
		t.Errorf("%s\n%s", summary, text)
	}
}

// A 0 that stands for a missing value is told where no value is near it; of counts, of
// amounts, and of logarithms 0 is one.
func TestZeros(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		column string
		of     func(r *rand.Rand) float64 // of the rows that are not 0
		told   bool
	}{
		{"insulin", func(r *rand.Rand) float64 { return math.Round(math.Exp(4.8 + 0.7*r.NormFloat64())) }, true},
		{"SkinThickness", func(r *rand.Rand) float64 { return math.Max(7, math.Round(29+10*r.NormFloat64())) }, true},
		{"size_of_house", func(r *rand.Rand) float64 { return math.Max(60, math.Round(150+25*r.NormFloat64())) }, true},
		{"visits", func(r *rand.Rand) float64 { return math.Ceil(4 * r.ExpFloat64()) }, false},
		{"weight_of_parcels", func(r *rand.Rand) float64 { return math.Ceil(4 * r.ExpFloat64()) }, false},
		{"claims", func(r *rand.Rand) float64 { return math.Round(math.Exp(6 + r.NormFloat64())) }, false},
		{"log_of_family", func(r *rand.Rand) float64 { return math.Log(float64(2 + r.IntN(12))) }, false},
	} {
		t.Run(tt.column, func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(7, 7))
			summary, _ := said(t, tt.column+",size,y\n"+rows(800, func(i int) string {
				x := tt.of(r)
				if r.IntN(100) < 45 {
					x = 0
				}
				return fmt.Sprintf("%.6g,%d,%s", x, draw(i, 2, 40), yesNo(i))
			}), draft.Options{Target: "y"})
			if told := strings.Contains(summary, `"0" comes `); told != tt.told {
				t.Errorf("told: %v, want %v:\n%s", told, tt.told, summary)
			}
		})
	}
}

// Many cells that are no dates leave text, which is told.
func TestManyOddDates(t *testing.T) {
	t.Parallel()
	summary, _ := said(t, "when,size,y\n"+rows(600, func(i int) string {
		when := time.Date(2021, 1, 1+draw(i, 1, 900), 0, 0, 0, 0, time.UTC).Format(time.DateOnly)
		if i%4 == 0 {
			when = fmt.Sprintf("%d-00-%02d", 1980+draw(i, 2, 40), 1+draw(i, 3, 28))
		}
		return fmt.Sprintf("%s,%d,%s", when, draw(i, 4, 40), yesNo(i))
	}), draft.Options{Target: "y"})
	if !strings.Contains(summary, "! when: 450 of 600 values are dates (ISO 8601); the others keep the column text, for example line 2: ") {
		t.Error(summary)
	}
}

// Dates with the day first beside others with the month first are told, and not read as one.
func TestDayAndMonth(t *testing.T) {
	t.Parallel()
	for every, want := range map[int]string{2: "it is taken as text", 40: "it is taken as text"} {
		summary, text := said(t, "when,size,y\n"+rows(600, func(i int) string {
			form := "02/01/2006"
			if i%every == 0 {
				form = "01/02/2006"
			}
			return fmt.Sprintf("%s,%d,%s", time.Date(2022, 1, 1+draw(i, 1, 700), 0, 0, 0, 0, time.UTC).Format(form), draw(i, 2, 40), yesNo(i))
		}), draft.Options{Target: "y"})
		if !strings.Contains(summary, "! when: dates of two forms, which can't be read as one: DD/MM/YYYY as on line ") || !strings.Contains(summary, want) || strings.Contains(text, "when, type: date") {
			t.Errorf("%s\n%s", summary, text)
		}
	}
}

// A second line of names or units is no record, and told.
func TestSecondHeader(t *testing.T) {
	t.Parallel()
	record := func(i int) string {
		return fmt.Sprintf("%d,%d.5,%d,c%d,%s", 40+draw(i, 1, 60), 150+draw(i, 2, 40), 20+draw(i, 3, 50), draw(i, 4, 3), yesNo(i))
	}
	const header = "weight,height,age,city,y\n"
	for _, tt := range []struct {
		name, content, want string
	}{
		{"units", header + "kg,cm,years,,\n" + rows(300, record), `line 2 has words where the other lines have numbers or dates (weight: "kg", height: "cm", age: "years")`},
		{"units in one column", "city,weight,y\n,kg,\n" + rows(300, func(i int) string { return fmt.Sprintf("c%d,%d,%s", draw(i, 1, 3), draw(i, 2, 60), yesNo(i)) }), `line 2 has words where the other lines have numbers or dates (weight: "kg")`},
		{"descriptions", header + "body weight,body height,age at entry,place,outcome\n" + rows(300, record), `line 2 has words where`},
		{"names again in other capitals", header + rows(300, record) + strings.ToUpper(header) + rows(300, record), `line 302 has words where the other lines have numbers or dates (weight: "WEIGHT", height: "HEIGHT", age: "AGE")`},
		{"no second header", header + rows(300, record), ""},
		{"a person who refused", header + rows(300, record) + "refused,refused,refused,c1,no\n" + rows(300, record), ""},
		{"words here and there", header + rows(300, func(i int) string {
			if i == 0 || i == 17 {
				return fmt.Sprintf("%s,160.5,30,c1,no", []string{"lost", "heavy"}[i/17])
			}
			return record(i)
		}), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			summary, _ := said(t, tt.content, draft.Options{Target: "y"})
			if tt.want == "" && strings.Contains(summary, "has words where") || !strings.Contains(summary, tt.want) {
				t.Errorf("want %q:\n%s", tt.want, summary)
			}
		})
	}
}

// Records that are columns are told in one line.
func TestTransposed(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for line, name := range []string{"name", "age", "size", "y"} {
		b.WriteString(name)
		for i := range 41 {
			fmt.Fprintf(&b, ",%s", []string{fmt.Sprintf("p%d", i), fmt.Sprint(draw(i, 1, 80)), fmt.Sprint(draw(i, 2, 50)), yesNo(i)}[line])
		}
		b.WriteString("\n")
	}
	if got, _ := said(t, b.String(), draft.Options{Target: "y"}); got != `no column is called "y", but line 4 begins with it: each record seems to be a column of the table; exchange its lines and columns` {
		t.Errorf("got %s", got)
	}
	if got, _ := said(t, b.String(), draft.Options{Target: "outcome"}); !strings.Contains(got, "p10 and 30 more") {
		t.Errorf("got %s", got)
	}
}
