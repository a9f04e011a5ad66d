package inspect

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"mlops/internal/dataset"
)

func TestCompared(t *testing.T) {
	t.Parallel()
	spec, err := dataset.Parse([]byte(`
name: limits
model: limits
task: binary
columns: [{name: used, type: number}, {name: limit, type: number}, {name: from, type: date}, {name: to, type: date}, {name: over, type: integer}]
target: {column: over, positive: ["1"]}
split: {salts: [s1], train: 60, validation: 20, test: 20}
features: [{number: used}, {number: limit}, {days_from: from, to: 2000-01-01}, {days_from: to, to: 2000-01-01}]
threshold: {fixed: 0.5}
candidates: [{name: one, rounds: 5, params: {eta: 0.3}}]
`))
	if err != nil {
		t.Fatal(err)
	}
	features := []Feature{{Name: "used", Columns: []string{"used"}}, {Name: "limit", Columns: []string{"limit"}}, {Name: "days_from_from", Columns: []string{"from"}}, {Name: "days_from_to", Columns: []string{"to"}}}
	for _, tt := range []struct {
		name string
		is   func(v []float32, r *rand.Rand) bool
		want string // empty: nothing
	}{
		{"a use above its limit", func(v []float32, _ *rand.Rand) bool { return v[0] > v[1] }, "the difference of used and limit has an AUC of 1.0000"},
		{"nearly its limit", func(v []float32, _ *rand.Rand) bool { return v[0] > 0.8*v[1] }, "used divided by limit has an AUC of 1.0000"},
		{"days between dates", func(v []float32, _ *rand.Rand) bool { return v[2]-v[3] > 30 }, "the difference of from and to has an AUC of 1.0000"},
		{"a use near its limit", func(v []float32, r *rand.Rand) bool { return v[0]+60*float32(r.NormFloat64()) > v[1] }, ""},
		{"nothing", func(_ []float32, r *rand.Rand) bool { return r.IntN(3) == 0 }, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(6, 6))
			var x, y []float32
			for range 3000 {
				start := float32(-7000 - r.IntN(900))
				v := []float32{float32(100 + r.IntN(300)), float32(100 + r.IntN(300)), start, start - float32(r.IntN(60))}
				label := float32(0)
				if tt.is(v, r) {
					label = 1
				}
				x, y = append(x, v...), append(y, label)
			}
			found := compared(spec, features, x, y, nil)
			if tt.want == "" && found != nil || tt.want != "" && (found == nil || !strings.Contains(found.Text, tt.want)) {
				t.Errorf("found %v, want %q", found, tt.want)
			}
			if found == nil {
				return
			}
			spec := *spec
			spec.AllowLeak = []string{"used", "limit", "from", "to"}
			if found := compared(&spec, features, x, y, nil); found != nil {
				t.Errorf("found what is allowed: %s", found)
			}
		})
	}
}

func TestBands(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		of   func(y float64, r *rand.Rand) float32
		want bool
	}{
		{"fifths", func(y float64, _ *rand.Rand) float32 { return float32(math.Floor(y / 20)) }, true},
		{"above a limit", func(y float64, _ *rand.Rand) float32 { return float32(math.Floor(y / 90)) }, true},
		{"with a few mistakes", func(y float64, r *rand.Rand) float32 {
			if r.IntN(400) == 0 {
				return 1
			}
			return float32(math.Floor(y / 20))
		}, true},
		{"nearly", func(y float64, r *rand.Rand) float32 { return float32(math.Floor((y + 2*r.NormFloat64()) / 20)) }, false},
		{"noise", func(_ float64, r *rand.Rand) float32 { return float32(r.IntN(3)) }, false},
		{"a rare flag", func(_ float64, r *rand.Rand) float32 { return float32(r.IntN(300) / 299) }, false},
		{"the target itself", func(y float64, _ *rand.Rand) float32 { return float32(y) }, false},
		{"always the same", func(float64, *rand.Rand) float32 { return 1 }, false},
	} {
		r := rand.New(rand.NewPCG(8, 8))
		values, y := make([]float32, 3000), make([]float32, 3000)
		for i := range y {
			v := math.Round(10000*r.Float64()) / 100
			y[i], values[i] = float32(v), tt.of(v, r)
		}
		if got := bands(values, y); got != tt.want {
			t.Errorf("%s: %t, want %t", tt.name, got, tt.want)
		}
		// Of a target of few values, a feature of as few is no band.
		for i := range y {
			y[i] = float32(r.IntN(3))
			values[i] = y[i]
		}
		if bands(values, y) {
			t.Errorf("%s: a target of three values has bands", tt.name)
		}
	}
}
