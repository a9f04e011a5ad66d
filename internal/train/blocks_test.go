package train

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"mlops/internal/dataset"
	"mlops/internal/evaluate"
)

// Figures of a split by time have intervals that allow for errors which last, and the card
// says how; other splits have none of it.
func TestIntervalsInTime(t *testing.T) {
	t.Parallel()
	text := `name: load
model: load
task: regression
columns:
  - {name: day, type: date}
  - {name: a, type: number}
  - {name: y, type: number}
target: {column: y}
split: {by: day, validation_from: 2024-01-01, test_from: 2025-01-01}
features: [{number: a}]
metrics: [rmse]
candidates: [{name: one, rounds: 20, params: {eta: 0.3}}]
`
	spec, err := dataset.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	d, r := &Data{}, rand.New(rand.NewPCG(2, 3))
	part, outputs, state := &Part{}, []float32(nil), 0.0
	const days = 400
	for day := range days {
		state = 0.9*state + r.NormFloat64()
		value := fmt.Sprintf("2025-%02d-%02d", 1+day/28%12, 1+day%28)
		if day >= 12*28 {
			value = fmt.Sprintf("2026-%02d-%02d", 1+day/28%12, 1+day%28)
		}
		d.describe(spec, dataset.Test, part, [][]byte{[]byte(value), []byte("1"), []byte("2")})
		part.Y, outputs = append(part.Y, float32(state)), append(outputs, 0)
	}
	width := func(spec *dataset.Spec, p *Part) (float64, evaluate.Split) {
		rated, err := evaluate.Rate(spec, outputs, p.Y)
		if err != nil {
			t.Fatal(err)
		}
		m, err := measure(spec, d, dataset.Test, p, outputs, rated, 0)
		if err != nil {
			t.Fatal(err)
		}
		i := m.split.Figures["bias"].Interval
		return i[1] - i[0], m.split
	}
	byTime, split := width(spec, part)
	if split.Times != days || split.Block < 8 {
		t.Errorf("%d times in blocks of %d, want %d in blocks of 8 or more", split.Times, split.Block, days)
	}
	card := inTime(spec, &evaluate.Report{Splits: []evaluate.Split{split}})
	if want := fmt.Sprintf("of the test rows %d of %d at a time", split.Block, days); !strings.Contains(card, want) {
		t.Errorf("the card says %q, want %q in it", card, want)
	}
	alone := &Part{Y: part.Y, groups: part.groups}
	byRows, split := width(spec, alone)
	if split.Block != 0 || !strings.Contains(inTime(spec, &evaluate.Report{Splits: []evaluate.Split{split}}), "too few") {
		t.Errorf("rows without times: blocks of %d", split.Block)
	}
	// The truth is sqrt(1.9/0.1) = 4.4 times as wide as of independent rows.
	if ratio := byTime / byRows; math.IsNaN(ratio) || ratio < 2.5 || ratio > 6.5 {
		t.Errorf("the interval is %.2f times as wide as by rows, want 2.5 to 6.5", ratio)
	}
}
