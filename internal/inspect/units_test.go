package inspect

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"mlops/internal/dataset"
)

func TestMixed(t *testing.T) {
	t.Parallel()
	round := func(x float64, digits int) float64 {
		scale := math.Pow(10, float64(digits))
		return math.Round(x*scale) / scale
	}
	for _, tt := range []struct {
		name string
		of   func(r *rand.Rand, i int) float64
		want string // empty: nothing
	}{
		{"heights in m and cm", func(r *rand.Rand, _ int) float64 {
			h := 172 + 9*r.NormFloat64()
			if r.IntN(10) < 3 {
				return round(h/100, 2)
			}
			return round(h, 1)
		}, "times 100, as if they were in another unit"},
		{"a few weights in g", func(r *rand.Rand, _ int) float64 {
			w := 80 + 12*r.NormFloat64()
			if r.IntN(30) == 0 {
				return round(1000*w, 0)
			}
			return round(w, 1)
		}, "times 1000, as if"},
		{"Fahrenheit, then Celsius", func(r *rand.Rand, i int) float64 {
			c := 15 + 8*r.NormFloat64()
			if i < 600 {
				return round(1.8*c+32, 1)
			}
			return round(c, 1)
		}, "(°C and °F)"},
		{"kilograms, then pounds", func(r *rand.Rand, i int) float64 {
			w := 80 + 12*r.NormFloat64()
			if i >= 1300 {
				w *= 2.2046
			}
			return round(w, 1)
		}, "times 2.20462"},

		{"shares of a few towns", func(_ *rand.Rand, i int) float64 { // hispph of mlb1, in Wooldridge
			if i%30 != 0 || i/30 >= 60 {
				return 0
			}
			return []float64{0.54, 0.54, 0.58, 0.58, 1.07, 1.07, 1.07, 1.07, 1.28, 1.28, 1.28, 1.56, 1.92, 1.92, 1.92, 1.92, 1.92, 2.89, 2.89, 3.75, 3.85, 3.85, 4.67, 4.67, 4.67, 5.74, 5.74, 10.88, 10.88, 10.88, 10.88, 10.88, 11.79, 11.79, 11.79, 12.98, 12.98, 12.98, 12.98, 12.98, 12.98, 14.8, 16.33, 16.33, 17.55, 17.55, 17.55, 17.55, 19.58, 19.58, 19.58, 20.09, 25.95, 25.95, 25.95, 31.04, 31.04, 31.04, 31.04, 31.04}[i/30]
		}, ""},
		{"a year's temperatures, Fahrenheit from some day on", func(r *rand.Rand, i int) float64 {
			c := 12 + 10*math.Sin(float64(i)/200) + 3*r.NormFloat64()
			if i >= 1570 {
				c = 1.8*c + 32
			}
			return round(c, 1)
		}, "change at once"},
		{"a year's temperatures", func(r *rand.Rand, i int) float64 { return round(12+10*math.Sin(float64(i)/200)+3*r.NormFloat64(), 1) }, ""},
		{"a machine that is on and off", func(r *rand.Rand, i int) float64 {
			return round((80+5*r.NormFloat64())*[]float64{1, 2.2}[i/420%2], 1)
		}, ""},
		{"one unit", func(r *rand.Rand, _ int) float64 { return round(172+9*r.NormFloat64(), 1) }, ""},
		{"amounts of all sizes", func(r *rand.Rand, _ int) float64 { return round(math.Exp(3*r.NormFloat64()), 2) }, ""},
		{"two kinds of things", func(r *rand.Rand, _ int) float64 {
			if r.IntN(2) == 0 {
				return round(1.7+0.5*r.NormFloat64(), 2)
			}
			return round(172+9*r.NormFloat64(), 1)
		}, ""},
		{"a shift", func(r *rand.Rand, i int) float64 {
			x := 80 + 12*r.NormFloat64()
			if i > 1000 {
				x += 80
			}
			return round(x, 1)
		}, ""},
		{"a number of the row", func(_ *rand.Rand, i int) float64 { return float64(i + 1) }, ""},
		{"years", func(r *rand.Rand, i int) float64 { return float64(1990 + i/100) }, ""},
		{"1 or 100", func(r *rand.Rand, _ int) float64 { return []float64{1, 100}[r.IntN(2)] }, ""},
		{"growth", func(r *rand.Rand, i int) float64 { return round(math.Exp(float64(i)/300+0.1*r.NormFloat64()), 3) }, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(4, 4))
			values, y, sorted := make([]float32, 2000), make([]float32, 2000), make([]float32, 2000)
			for i := range values {
				values[i], y[i] = float32(tt.of(r, i)), float32(r.IntN(2))
			}
			if text := Mixed([][]float32{values}, y, -1)[0]; tt.want == "" && text != "" || !strings.Contains(text, tt.want) {
				t.Errorf("got %q, want %q", text, tt.want)
			}
			for i, v := range values {
				if sorted[i] = 0; v > 40 {
					sorted[i] = 1
				}
			}
			if text := Mixed([][]float32{values}, sorted, -1)[0]; tt.name == "Fahrenheit, then Celsius" && text != "" {
				t.Errorf("rows that are sorted by the target: %s", text)
			}
		})
	}
}

// Rows that are sorted by what they are of, such as a diagnosis, change in most columns; in
// another unit are only those that a conversion explains.
func TestMixedOrSorted(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(6, 6))
	const rows = 1200
	var y []float32
	columns := make([][]float32, 5) // pounds after kilograms, feet after meters, a size of the second kind, and two that stay
	for i := range rows {
		second := i >= rows/2
		for k, of := range []struct{ mean, factor float64 }{{80, 2.2046}, {1.7, 3.2808}, {30, 1.7}, {40, 1}, {50, 1}} {
			x := of.mean * (1 + 0.1*r.NormFloat64())
			if second {
				x *= of.factor
			}
			columns[k] = append(columns[k], float32(x))
		}
		y = append(y, float32(r.IntN(2)))
	}
	for _, tt := range []struct {
		columns []int
		want    []int // those that are told
	}{
		{[]int{0, 3, 4}, []int{0}},
		{[]int{0, 1, 2, 3}, []int{0, 1}},
		{[]int{0, 2, 3, 4}, nil}, // as many change for another reason
		{[]int{2, 3, 4}, nil},
	} {
		var all [][]float32
		for _, k := range tt.columns {
			all = append(all, columns[k])
		}
		var got []int
		for i, text := range Mixed(all, y, -1) {
			if text != "" {
				got = append(got, tt.columns[i])
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("of columns %v, %v are told, want %v", tt.columns, got, tt.want)
		}
	}
}

// A batch in another unit stops training, unless the spec says which values are right.
func TestBatchInAnotherUnit(t *testing.T) {
	t.Parallel()
	parse := func(column string) *dataset.Spec {
		spec, err := dataset.Parse([]byte(`
name: people
model: people
task: regression
columns: [{name: weight, type: number` + column + `}, {name: cost, type: number}]
target: {column: cost}
split: {salts: [s1], train: 60, validation: 20, test: 20}
features: [{number: weight}]
candidates: [{name: one, rounds: 5, params: {eta: 0.3}}]
`))
		if err != nil {
			t.Fatal(err)
		}
		return spec
	}
	feature := []Feature{{Name: "weight", Columns: []string{"weight"}}}
	for _, tt := range []struct {
		name, column string
		batch        []int32
		factor       float64
		offset       float64
		want         string // level, with what the text says; empty: nothing
	}{
		{"pounds", "", batches(900, 300), 2.2046, 0, "stop times 2.20462, as if they were in another unit (kg and pounds)"},
		{"grams", "", batches(900, 300), 1000, 0, "stop times 1000"},
		{"another kilogram", "", batches(900, 300), 1, 0, ""},
		{"heavier ones", "", batches(900, 300), 1, 60, "warning its median was"},
		{"halves of one batch", "", batches(1200), 2.2046, 0, "warning times 2.20462"},
		{"the spec says that both are right", ", min: 0, max: 1000", batches(900, 300), 2.2046, 0, "warning its median was"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(5, 5))
			part := func(n int) Part {
				p := Part{}
				for i := range n {
					w := 80 + 12*r.NormFloat64()
					p.Y = append(p.Y, float32(w+30*r.NormFloat64()))
					if i >= n*3/4 || tt.batch[len(tt.batch)-1] == 0 && i >= n/2 {
						w = w*tt.factor + tt.offset
					}
					p.X = append(p.X, float32(w))
				}
				return p
			}
			train := part(1200)
			train.Batch = tt.batch
			found, err := Rows(parse(tt.column), feature, map[string]Part{dataset.Train: train, dataset.Validation: part(300), dataset.Test: part(300)})
			if err != nil {
				t.Fatal(err)
			}
			found = slices.DeleteFunc(found, func(f Finding) bool { return f.Kind != Drift })
			if tt.want == "" {
				if len(found) > 0 {
					t.Errorf("found %v", found)
				}
				return
			}
			level, text, _ := strings.Cut(tt.want, " ")
			if len(found) != 1 || string(found[0].Level) != level || !strings.Contains(found[0].Text, text) {
				t.Errorf("found %v, want %s with %q", found, level, text)
			}
		})
	}
}

// Of equal shares of the same few numbers, the distance is 0, however many rows there are.
func TestDistanceOfTies(t *testing.T) {
	t.Parallel()
	few, many := []float32{1, 2, 2, 3}, []float32{1, 1, 1, 2, 2, 2, 2, 2, 2, 3, 3, 3}
	for _, pair := range [][2][]float32{{few, many}, {many, few}} {
		if d := distance(pair[0], pair[1], 1, 0); d > 1e-9 {
			t.Errorf("the distance of %v and %v is %g, want 0", pair[0], pair[1], d)
		}
	}
}
