package evaluate_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"mlops/internal/dataset"
	"mlops/internal/evaluate"
)

// series are days with errors that last: each day's are rho of those of the day before and
// something new. Every day has that many rows, which share most of it.
func series(r *rand.Rand, days, rows int, rho float64) (predicted, actual []float32, times []float64) {
	state := r.NormFloat64()
	for day := range days {
		state = rho*state + math.Sqrt(1-rho*rho)*r.NormFloat64()
		for range rows {
			e := state
			if rows > 1 {
				e = 0.8*state + 0.6*r.NormFloat64()
			}
			predicted, actual, times = append(predicted, 0), append(actual, float32(e)), append(times, float64(day))
		}
	}
	return predicted, actual, times
}

// Of many series whose true figures are known, about 95 % have them in their intervals; rows
// drawn one by one are right about far fewer.
func TestBlockDrawsCover(t *testing.T) {
	t.Parallel()
	const many = 80
	for _, test := range []struct {
		name        string
		days, rows  int
		rho         float64
		least, most float64 // share of series: at least by blocks, at most by rows
	}{
		{"independent", 200, 1, 0, 0.88, 1},
		{"some days' memory", 400, 1, 0.7, 0.86, 0.84},
		{"lasting", 800, 1, 0.8, 0.86, 0.8},
		{"several rows per day", 200, 5, 0.5, 0.86, 0.8},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(8, 15))
			byRows, byBlocks, block := 0, 0, 0
			for range many {
				predicted, actual, times := series(r, test.days, test.rows, test.rho)
				weigh, err := evaluate.Weigh(task(dataset.Regression), "mae", 0, predicted, actual)
				if err != nil {
					t.Fatal(err)
				}
				covers := func(d *evaluate.Draws) int {
					var values []float64
					d.Each(func(w []int32) { values = append(values, weigh(w)) })
					low, high := d.Interval(evaluate.NewSpread(values))
					if truth := math.Sqrt(2 / math.Pi); low <= truth && truth <= high {
						return 1
					}
					return 0
				}
				alone := make([]int32, len(actual))
				for i := range alone {
					alone[i] = int32(i)
				}
				blocks := evaluate.NewBlockDraws(times, evaluate.Likeness(task(dataset.Regression), predicted, actual)...)
				byRows += covers(evaluate.NewDraws(alone))
				byBlocks += covers(blocks)
				block += blocks.Block()
			}
			t.Logf("covered by rows %.1f %%, by blocks of %.1f days %.1f %%", 100*float64(byRows)/many, float64(block)/many, 100*float64(byBlocks)/many)
			if got := float64(byBlocks) / many; got < test.least {
				t.Errorf("blocks cover %.3f, want at least %.2f", got, test.least)
			}
			if got := float64(byRows) / many; got > test.most {
				t.Errorf("rows cover %.3f, want at most %.2f: this series says nothing of blocks", got, test.most)
			}
		})
	}
}

// A block's rows are drawn together, whole times with all of their rows, in whatever order
// they come; the last time is next to the first.
func TestBlockDraws(t *testing.T) {
	t.Parallel()
	var times []float64
	for i := range 64 { // 32 times, two rows each, not in order
		times = append(times, float64(i*13%32)*86400)
	}
	d := evaluate.NewBlockDraws(times)
	if d.Groups() != 32 || d.Block() != 4 {
		t.Fatalf("%d times in blocks of %d, want 32 in blocks of 4", d.Groups(), d.Block())
	}
	wrapped := false
	d.Each(func(w []int32) {
		var of [32]int32
		sum := int32(0)
		for i, n := range w {
			at := i * 13 % 32
			if i >= 32 && of[at] != n {
				t.Fatalf("rows of one time are drawn %d and %d times", of[at], n)
			}
			of[at], sum = n, sum+n
		}
		if sum != 64 {
			t.Fatalf("%d rows drawn, want 64", sum)
		}
		wrapped = wrapped || of[0] > 0 && of[31] > 0
	})
	if !wrapped {
		t.Error("no block has the last time and the first")
	}
	if evaluate.NewBlockDraws(times[:15]) != nil {
		t.Error("blocks of 15 times")
	}
}
