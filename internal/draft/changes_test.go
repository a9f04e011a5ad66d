package draft_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"mlops/internal/dataset"
	"mlops/internal/draft"
)

// TestChanges compares a second table with the rows loaded before it.
func TestChanges(t *testing.T) {
	t.Parallel()
	spec, err := dataset.Parse([]byte(`
name: t
model: t
task: binary
columns:
  - {name: weight, type: number}
  - {name: sex, type: category}
  - {name: day, type: date}
  - {name: note, type: category}
  - {name: ill, type: category}
target: {column: ill, positive: ["yes"]}
split: {salts: [s], train: 60, validation: 20, test: 20}
features: [{number: weight}, {category: sex}, {date: day, part: month}]
threshold: {maximize: f1}
candidates: [{name: one, rounds: 3}]
`))
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	table := func(rows int, kilograms float64, male string, year, ill int) *draft.Related {
		r := draft.NewRelated(spec)
		for i := range rows {
			word := "no"
			if rng.IntN(100) < ill {
				word = "yes"
			}
			r.Add([][]byte{
				fmt.Appendf(nil, "%.1f", kilograms*(80+10*rng.NormFloat64())), []byte([]string{"f", male}[rng.IntN(2)]),
				fmt.Appendf(nil, "%d-%02d-15", year, 1+rng.IntN(12)), fmt.Appendf(nil, "%d", i%7+year), []byte(word)})
		}
		return r
	}
	before := table(1500, 1, "m", 2023, 50)
	for name, test := range map[string]struct {
		table *draft.Related
		want  []string // what each warning begins with
	}{
		"alike":                {table(600, 1, "m", 2023, 50), nil},
		"another unit":         {table(600, 1000, "m", 2023, 50), []string{"column weight is distributed differently in this table than in the rows loaded before"}},
		"another word":         {table(600, 1, "male", 2023, 50), []string{"column sex is distributed differently"}},
		"a later year":         {table(600, 1, "m", 2024, 50), nil},
		"another target":       {table(600, 1, "m", 2023, 95), []string{"column ill is distributed differently"}},
		"no row":               {table(0, 1, "m", 2023, 50), nil},
		"too few rows to tell": {table(100, 1000, "m", 2023, 50), []string{"the values were not compared"}},
	} {
		got, err := test.table.Changes(before)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(test.want) {
			t.Errorf("%s: %q, want %q", name, got, test.want)
			continue
		}
		for i, want := range test.want {
			if !strings.HasPrefix(got[i], want) {
				t.Errorf("%s: %q, want %q", name, got[i], want)
			}
		}
	}
}
