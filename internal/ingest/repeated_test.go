package ingest_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"mlops/internal/dataset"
)

// Rows that come again in a table without a key are told with an example, unless they may
// agree by chance or are said to be right.
func TestRepeatedRows(t *testing.T) {
	t.Parallel()
	const loans = `
name: t
model: t
task: binary
columns:
  - {name: age, type: integer}
  - {name: pay, type: number}
  - {name: town, type: category}
  - {name: y, type: category}
target: {column: y, positive: ["yes"]}
split: {salts: [s], train: 60, validation: 20, test: 20}
features: [{number: age}, {number: pay}]
threshold: {maximize: f1}
candidates: [{name: one, rounds: 3}]
`
	outcome := []string{"yes", "no"}
	loan := func(r *rand.Rand) string {
		return fmt.Sprintf("%d,%.2f,t%d,%s", 20+r.IntN(50), 1000+9000*r.Float64(), r.IntN(20), outcome[r.IntN(2)])
	}
	answer := func(r *rand.Rand) string { // of a survey
		return fmt.Sprintf("%d,%d,t%d,%s", 1+r.IntN(5), 1+r.IntN(5), r.IntN(8), outcome[r.IntN(2)])
	}
	for _, test := range []struct {
		name   string
		line   func(*rand.Rand) string
		rows   int
		again  func(lines []string) []string
		change []string // in the spec
		want   string   // "": nothing is said
	}{
		{name: "no copies", line: loan, rows: 2000},
		{name: "some rows twice", line: loan, rows: 2000, again: func(l []string) []string { return append(l, l[10:90]...) },
			want: "80 rows are equal to earlier ones in every column, for example line 2,002 to line 12: each counts"},
		{name: "a few rows twice", line: loan, rows: 2000, again: func(l []string) []string { return append(l, l[10:14]...) }},
		{name: "they are right", line: loan, rows: 2000, again: func(l []string) []string { return append(l, l[10:90]...) },
			change: []string{"\nsplit:", "\nallow_copies: true\nsplit:"}},
		{name: "a key", line: loan, rows: 2000, change: []string{"\ncolumns:", "\nkey: pay\ncolumns:", ", {number: pay}]", "]"}},
		{name: "people answer alike", line: answer, rows: 600},
		{name: "the file twice", line: answer, rows: 100, again: func(l []string) []string { return append(l, l...) },
			want: "(each comes 2 times, or a multiple of it)"},
		{name: "a large table", line: loan, rows: 70_000, again: func(l []string) []string { return append(l, l[:700]...) }, want: "about "},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			spec, err := dataset.Parse([]byte(strings.NewReplacer(test.change...).Replace(loans)))
			if err != nil {
				t.Fatal(err)
			}
			r := rand.New(rand.NewPCG(4, 2))
			var lines []string
			for range test.rows {
				lines = append(lines, test.line(r))
			}
			if test.again != nil {
				lines = test.again(lines)
			}
			p := try(t, spec, "age,pay,town,y\n"+strings.Join(lines, "\n")+"\n")
			got := strings.Join(p.Notes(spec), "\n")
			if (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
				t.Errorf("got the notes %q, want %q", got, test.want)
			}
			if p.Repeated != nil && p.Repeated.About && (p.Repeated.Rows < 500 || p.Repeated.Rows > 900) {
				t.Errorf("about %d rows, want about 700", p.Repeated.Rows)
			}
		})
	}
}
