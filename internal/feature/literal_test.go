package feature

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"mlops/internal/dataset"
)

func TestLiteral(t *testing.T) {
	e := fitColumn(t, "category", "[]", "1.0", "2", "02", "True", "01234", "a")
	for _, test := range []struct {
		literal, want string
		ok            bool
	}{
		{"1.0", "1.0", true}, {"1", "1.0", true}, {"1e0", "1.0", true}, {"2", "2", true}, {"2.0", "2", true}, {"1234", "01234", true},
		{"3", "3", true}, {"3.0", "3", true}, {"2.50", "2.5", true}, {"true", "True", true}, {"false", "", false},
	} {
		got, ok := e.Literal(0, []byte(test.literal))
		if ok != test.ok || ok && string(got) != test.want {
			t.Errorf("%s: got %q, %v; want %q, %v", test.literal, got, ok, test.want, test.ok)
		}
	}
}

// fitColumn returns an encoder of one column x, which is a number feature where
// its type lets it be one, a category and a count of its first value.
func fitColumn(t *testing.T, kind, missing string, values ...string) *Encoder {
	t.Helper()
	number := "  - {number: x, name: number}\n"
	if kind == "category" {
		number = ""
	}
	s, err := dataset.Parse([]byte(fmt.Sprintf(`name: one
model: one
task: binary
missing: %s
columns:
  - {name: x, type: %s}
  - {name: y, type: %s}
target: {column: y, positive: [%q]}
cohort:
  - {column: x, values: [%q], because: a test}
split: {salts: [s], train: 70, validation: 15, test: 15}
features:
%s  - {category: x, name: category}
  - {name: first, count: [x], of: [%q]}
threshold: {fixed: 0.5}
candidates: [{name: one, rounds: 1}]
`, missing, kind, kind, values[0], values[0], number, values[0])))
	if err != nil {
		t.Fatal(err)
	}
	f := NewFitter(s)
	for _, v := range values {
		cleaned, err := s.Value(0, []byte(v))
		if err != nil {
			t.Fatal(err)
		}
		f.Add([][]byte{cleaned, cleaned})
	}
	e, err := f.Encoder()
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// spellings of a number: all that a file, a spec or a JSON writer may make of it.
func spellings(rng *rand.Rand, x float64) []string {
	plain := strconv.FormatFloat(x, 'f', -1, 64)
	all := []string{plain, strconv.FormatFloat(x, 'e', -1, 64), strconv.FormatFloat(x, 'g', 17, 64), " " + plain + "\t", strconv.FormatFloat(x, 'E', -1, 64)}
	if strings.Contains(plain, ".") {
		all = append(all, plain+strings.Repeat("0", 1+rng.IntN(3)))
	} else {
		all = append(all, plain+".0", plain+"."+strings.Repeat("0", 1+rng.IntN(5)), plain+".")
	}
	if x >= 0 {
		all = append(all, "+"+plain, "0"+plain, "00"+plain)
	} else {
		all = append(all, "-0"+plain[1:])
	}
	return all
}

// TestOneValueOneMeaning draws columns, values and spellings, and puts each in
// every place that takes a value: the training rows, a missing marker, the
// cohort, the target's positive value, a count, a record's string and number.
// All of them find one answer.
func TestOneValueOneMeaning(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for round := range 300 {
		whole := round%2 == 0
		kind, draw := "number", func() float64 { return math.Round(rng.NormFloat64()*1e6) / math.Pow10(rng.IntN(6)) }
		if whole {
			kind, draw = "integer", func() float64 { return float64(rng.Int64N(2e9) - 1e9) }
		}
		x, other, missing := draw(), draw()+0.5, draw()+1
		if whole {
			other, missing = x+1, x+2
		}
		if x == other || x == missing || other == missing {
			continue
		}
		pick := func(x float64) string { s := spellings(rng, x); return s[rng.IntN(len(s))] }
		e := fitColumn(t, kind, fmt.Sprintf("[%q]", pick(missing)), pick(x), pick(other), pick(x))
		s := e.Spec()
		if len(e.Features[1].Levels) != 2 {
			t.Fatalf("%s %g and %g: levels %q, want two", kind, x, other, e.Features[1].Levels)
		}
		var want []float32
		for _, spelled := range spellings(rng, x) {
			v, err := s.Value(0, []byte(spelled))
			if err != nil {
				t.Fatalf("%s %q: %v", kind, spelled, err)
			}
			row := [][]byte{v, v}
			if label, known := s.Label(row); label != 1 || !known || !s.Excluded(row) {
				t.Fatalf("%s %q: label %v, %v, excluded %v; want 1, true, true", kind, spelled, label, known, s.Excluded(row))
			}
			vector := make([]float32, e.Width())
			e.Encode(vector, row)
			if want == nil {
				want = slices.Clone(vector)
				if vector[0] != float32(x) || vector[2] != 1 || math.IsNaN(float64(vector[1])) {
					t.Fatalf("%s %q: vector %v", kind, spelled, vector)
				}
			}
			if diff := differ(want, vector); diff != "" {
				t.Fatalf("%s %q (-want +got):\n%s", kind, spelled, diff)
			}
			// As a request has it, string or number.
			e.Reset(vector)
			text, _ := e.Literal(0, []byte(spelled))
			if _, found := e.SetUsual(vector, 0, text); !found {
				v, err := s.Value(0, text)
				if err != nil {
					t.Fatal(err)
				}
				e.Set(vector, 0, v)
			}
			if diff := differ(want, vector); diff != "" {
				t.Fatalf("%s %q in a request (-want +got):\n%s", kind, spelled, diff)
			}
			if !s.SameCell(0, []byte(spelled), v) {
				t.Fatalf("%s %q is not the same cell as %s", kind, spelled, v)
			}
		}
		for _, spelled := range spellings(rng, missing) {
			if v, err := s.Value(0, []byte(spelled)); v != nil || err != nil {
				t.Fatalf("%s %q: got %s, %v; want missing", kind, spelled, v, err)
			}
		}
	}
}
