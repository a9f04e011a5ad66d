package dataset

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

const united = `
name: prices
model: prices
task: binary
source: {decimal: ",", thousands: "."}
missing: [-999]
cohort: [{column: rate, values: ["50 %"], because: half}]
columns:
  - {name: id, type: integer}
  - {name: price, type: number, unit: €, min: -1e9}
  - {name: rate, type: number, unit: "%"}
  - {name: weight, type: integer, unit: kg}
  - {name: "y", type: category}
target: {column: "y", positive: ["1"], labels: {positive: a, negative: b}}
split: {salts: [s], train: 60, validation: 20, test: 20}
features: [{number: price}, {number: rate}, {number: weight}]
threshold: {maximize: f1}
candidates: [{name: one, rounds: 3}]
`

func TestUnit(t *testing.T) {
	t.Parallel()
	s, err := Parse([]byte(united))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ column, cell, want string }{
		{"price", "1.234,50 €", "1234.5"},
		{"price", "€1.234,50", "1234.5"},
		{"price", "-€ 5", "-5"},
		{"price", "€ -5", "-5"},
		{"price", "-5\u00a0€", "-5"},
		{"price", "5", "5"},
		{"price", "-999 €", ""},
		{"price", "€", "not a number"},
		{"price", "€ 5 €", "not a number"},
		{"price", "- -5 €", "not a number"},
		{"price", "5 $", "not a number"},
		{"rate", "12,5%", "12.5"},
		{"rate", "% 12,5", "12.5"},
		{"rate", "12,5%%", "not a number"},
		{"weight", "1.200 kg", "1200"},
		{"weight", "1,5 kg", "not an integer"},
		{"weight", "12 KG", "not an integer"},
	} {
		got, err := s.Cell(s.Column(test.column), []byte(test.cell))
		if strings.HasPrefix(test.want, "not ") {
			if err == nil || !strings.HasSuffix(err.Error(), test.want) || !strings.Contains(err.Error(), test.cell[:1]) {
				t.Errorf("%s %q: %q, %v, want an error %q", test.column, test.cell, got, err, test.want)
			}
		} else if err != nil || string(got) != test.want || (got == nil) != (test.want == "") {
			t.Errorf("%s %q: %q, %v, want %q", test.column, test.cell, got, err, test.want)
		}
	}
	if v, err := s.Value(s.Column("rate"), []byte("50%")); err != nil || s.Columns[s.Column("rate")].Excludes(v) < 0 {
		t.Errorf("the cohort's 50 %% is not the value %q: %v", v, err)
	}
}

// All spellings of a number with its unit are the value of the number without, in the
// table, in a record to predict and in the spec.
func TestUnitIsNoPartOfTheValue(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		unit := []string{"%", "$", "US$", "EUR", "kg", "°C", "km/h", "zł"}[r.IntN(8)]
		s, err := Parse([]byte(strings.NewReplacer("unit: €", fmt.Sprintf("unit: %q", unit), `source: {decimal: ",", thousands: "."}`, "source: {}").Replace(united)))
		if err != nil {
			t.Fatal(err)
		}
		c := s.Column("price")
		plain := fmt.Sprintf("%.*f", r.IntN(4), (r.Float64()-0.5)*1e6)
		want, err := s.Value(c, []byte(plain))
		if err != nil {
			t.Fatal(err)
		}
		sign, digits := "", plain
		if plain[0] == '-' {
			sign, digits = "-", plain[1:]
		}
		for _, spelled := range []string{plain + unit, plain + " " + unit, unit + plain, unit + " " + plain, sign + unit + digits, sign + unit + " " + digits, " " + plain + "\u00a0" + unit + " "} {
			for place, read := range map[string]func(int, []byte) ([]byte, error){"table": s.Cell, "record": s.Value} {
				if got, err := read(c, []byte(spelled)); err != nil || string(got) != string(want) {
					t.Fatalf("%s: %q is %q, %v, want %q as of %q", place, spelled, got, err, want, plain)
				}
			}
			if !s.SameCell(c, []byte(spelled), []byte(plain)) {
				t.Fatalf("%q and %q are not the same cell", spelled, plain)
			}
		}
	}
}

func TestUnitsThatCannotBe(t *testing.T) {
	t.Parallel()
	for unit, want := range map[string]string{"m2": "without digits", "-": "without digits", "e": "without digits", strings.Repeat("x", 17): "at most 16 bytes"} {
		if _, err := Parse([]byte(strings.Replace(united, "unit: €", fmt.Sprintf("unit: %q", unit), 1))); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("unit %q: %v, want %q", unit, err, want)
		}
	}
	if _, err := Parse([]byte(strings.Replace(united, `{name: "y", type: category}`, `{name: "y", type: category, unit: "%"}`, 1))); err == nil || !strings.Contains(err.Error(), "a unit is for numbers") {
		t.Errorf("a category with a unit: %v", err)
	}
}
