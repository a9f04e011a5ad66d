package tree

import (
	"math/rand/v2"
	"testing"
)

// benchModel trains 500 trees of depth 6 over 45 features on 20,000 rows, and
// draws 10,000 others to score. Every fourth feature is a category where
// categorical is set. So many rows in random order are more than a branch
// predictor can learn.
func benchModel(b *testing.B, categorical bool) (*Model, []float32) {
	b.Helper()
	lib := library(b)
	rng := rand.New(rand.NewPCG(1, 1))
	kinds := make([]int, 45)
	if categorical {
		for j := 0; j < len(kinds); j += 4 {
			kinds[j] = []int{3, 8, 20, 60}[j/4%4]
		}
	}
	booster := boost(b, lib, draw(rng, kinds, 20000, 0.05, false), 500, map[string]any{"max_depth": 6, "eta": 0.05, "tree_method": "hist"})
	data, err := booster.SaveUBJ()
	if err != nil {
		b.Fatal(err)
	}
	m, err := Parse(data)
	if err != nil {
		b.Fatal(err)
	}
	return m, draw(rng, kinds, 10000, 0.05, false).data
}

var kindsOfModel = []struct {
	name        string
	categorical bool
}{{"numeric", false}, {"categorical", true}}

func BenchmarkScoreOne(b *testing.B) {
	for _, kind := range kindsOfModel {
		b.Run(kind.name, func(b *testing.B) {
			m, rows := benchModel(b, kind.categorical)
			n, width := len(rows)/m.Features(), m.Features()
			i := 0
			for b.Loop() {
				m.Score(rows[i*width : (i+1)*width])
				if i++; i == n {
					i = 0
				}
			}
		})
	}
}

func BenchmarkScoreBatch(b *testing.B) {
	for _, kind := range kindsOfModel {
		b.Run(kind.name, func(b *testing.B) {
			m, rows := benchModel(b, kind.categorical)
			out := make([]float32, len(rows)/m.Features())
			for b.Loop() {
				m.ScoreBatch(rows, out)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(out)), "ns/row")
		})
	}
}
