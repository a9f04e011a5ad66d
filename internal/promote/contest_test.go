package promote

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"mlops/internal/dataset"
	"mlops/internal/evaluate"
	"mlops/internal/model"
	"mlops/internal/registry"
)

// lasting is a series of days, each of which keeps so much of the one before.
func lasting(r *rand.Rand, days int, keeps float64) []float64 {
	out, state := make([]float64, days), r.NormFloat64()
	for i := range out {
		state = keeps*state + math.Sqrt(1-keeps*keeps)*r.NormFloat64()
		out[i] = state
	}
	return out
}

// Of two models that are equally good, the newer one is promoted about as often as the
// confidence allows also where errors last; by rows alone it is far more often. One that is
// better is still promoted.
func TestGateInTime(t *testing.T) {
	t.Parallel()
	const many = 20
	for _, test := range []struct {
		name   string
		metric string
		days   int
		rows   int     // of a day
		keeps  float64 // of a model's errors
		worse  float64 // by how much the champion's errors are larger
		// Share of the trials in which the challenger is promoted: by rows alone, and by the gate.
		leastByRows, least, most float64
	}{
		{"independent", "rmse", 100, 1, 0, 0, 0, 0, 0.2},
		{"lasting", "rmse", 200, 1, 0.8, 0, 0.1, 0, 0.15},
		{"better", "rmse", 150, 1, 0.8, 0.5, 0.9, 0.8, 1},
		{"better by AUC", "auc", 150, 1, 0.5, 1, 0.9, 0.8, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(24, 43))
			spec := &dataset.Spec{Task: dataset.Regression, Metrics: []string{test.metric}}
			if test.metric == "auc" {
				spec.Task = dataset.Binary
			}
			byRows, byGate, block := 0, 0, 0
			for range many {
				c := &contest{spec: spec, champion: 0, outputs: make([][]float32, 2), threshold: []float64{0.5, 0.5}}
				shared, own := lasting(r, test.days, test.keeps), [2][]float64{lasting(r, test.days, test.keeps), lasting(r, test.days, test.keeps)}
				for day := range test.days {
					for range test.rows {
						truth, noise := r.NormFloat64(), r.NormFloat64()
						y := float32(truth)
						if spec.Task == dataset.Binary {
							if y = 0; truth > 0 {
								y = 1
							}
						}
						c.labels, c.times, c.groups = append(c.labels, y), append(c.times, float64(day)), append(c.groups, int32(len(c.groups)))
						for i := range own {
							e := 0.7*shared[day] + 0.5*own[i][day]
							if test.rows > 1 {
								e += 0.4*noise + 0.3*r.NormFloat64()
							}
							if i == 0 {
								e *= 1 + test.worse
							}
							out := truth + e
							if spec.Task == dataset.Binary {
								out = 1 / (1 + math.Exp(-out))
							}
							c.outputs[i] = append(c.outputs[i], float32(out))
						}
					}
				}
				if err := c.weigh(); err != nil {
					t.Fatal(err)
				}
				groups, blocks := c.draws(t.Context())
				rows := groups.better(1, 0)
				if rows >= 0.95 {
					byRows++
				}
				if min(rows, blocks.better(1, 0)) >= 0.95 {
					byGate++
				}
				block += blocks.Block()
			}
			rows, gate := float64(byRows)/float64(many), float64(byGate)/float64(many)
			t.Logf("promoted by rows alone %.3f, by the gate %.3f, blocks of %.1f days", rows, gate, float64(block)/float64(many))
			if rows < test.leastByRows {
				t.Errorf("by rows alone %.3f of the challengers are promoted, want at least %.2f: the trials say nothing of blocks", rows, test.leastByRows)
			}
			if gate < test.least || gate > test.most {
				t.Errorf("%.3f of the challengers are promoted, want %.2f to %.2f", gate, test.least, test.most)
			}
		})
	}
}

// What is compared is all rows or those of a slice, with the times of a split by time, and
// the sentence and decision.json say that blocks of them were drawn.
func TestCompareInTime(t *testing.T) {
	t.Parallel()
	spec, err := dataset.Parse([]byte(`name: load
model: load
task: regression
columns:
  - {name: day, type: date}
  - {name: half, type: category}
  - {name: y, type: number}
target: {column: y}
split: {by: day, validation_from: 2024-01-01, test_from: 2025-01-01}
features: [{category: half}]
slices: [half]
metrics: [rmse]
candidates: [{name: one, rounds: 20, params: {eta: 0.3}}]
`))
	if err != nil {
		t.Fatal(err)
	}
	rows, r := newRows(spec), rand.New(rand.NewPCG(5, 6))
	c := &Comparison{Spec: spec, Champion: registry.Version{Number: 1}, Contenders: []Contender{{Version: registry.Version{Number: 1}}, {Version: registry.Version{Number: 2}, Candidate: true}}}
	scorers := []*scorer{{model: &model.Model{}}, {model: &model.Model{}}}
	for i, e := range lasting(r, 300, 0.9) {
		day := time.Date(2024, 1, 1+i, 0, 0, 0, 0, time.UTC).Format(time.DateOnly)
		rows.add(spec, float32(e), [][]byte{[]byte(day), []byte([]string{"a", "b"}[i%2]), []byte("0")})
		scorers[0].scores = append(scorers[0].scores, 0)
		scorers[1].scores = append(scorers[1].scores, float32(e)/2)
	}
	if err := compare(t.Context(), spec, c, scorers, rows); err != nil {
		t.Fatal(err)
	}
	if err := compareSlices(t.Context(), spec, c, scorers, rows); err != nil {
		t.Fatal(err)
	}
	a := c.Contenders[1].Against
	if a == nil || a.Times != 300 || a.Block < 7 || a.Better < 0.99 || len(a.Slices) != 2 || a.Slices[0].Rows != 150 || a.Slices[0].Worse != 0 {
		t.Fatalf("compared as %+v", a)
	}
	if want := fmt.Sprintf("draws of 300 groups, or of 300 times, %d in a row at once, whichever is less", a.Block); !strings.Contains(c.betterOf(&c.Contenders[1]), want) {
		t.Errorf("it says %q, want %q in it", c.betterOf(&c.Contenders[1]), want)
	}
	for _, check := range c.checks(&c.Contenders[1]) {
		if check.Name == "better" && check.Figures["block"] != float64(a.Block) {
			t.Errorf("decision.json has %v", check.Figures)
		}
	}
}

// Of few blocks a share says less than of many rows.
func TestConfidenceOfFewBlocks(t *testing.T) {
	t.Parallel()
	var times []float64
	for i := range 64 {
		times = append(times, float64(i))
	}
	blocks := evaluate.NewBlockDraws(times)
	low, high := blocks.Confidence(0.05), blocks.Confidence(0.95)
	if !(high < 0.94 && high > 0.9) || math.Abs(low+high-1) > 1e-9 || blocks.Confidence(0) != 0 || blocks.Confidence(1) != 1 || blocks.Confidence(0.5) != 0.5 {
		t.Errorf("blocks of %d of 64 times: 5 %% and 95 %% of the draws make %.3f and %.3f", blocks.Block(), low, high)
	}
}
