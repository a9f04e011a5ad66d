package tree

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
)

// BenchmarkContributionsDrawn explains rows by 375 full trees whose splits are drawn: of 45
// features, 12 are asked most. It reports processor time, since a busy machine takes the
// rest. It needs no libxgboost.
func BenchmarkContributionsDrawn(b *testing.B) {
	for _, depth := range []int{4, 6, 8} {
		b.Run(fmt.Sprintf("depth %d", depth), func(b *testing.B) {
			const features = 45
			rng := rand.New(rand.NewPCG(1, uint64(depth)))
			var trees []tree
			for range 375 {
				t := tree{depth: depth}
				for i := range 2<<depth - 1 {
					n := node{value: rng.Float32(), cover: float32(1 + rng.IntN(1000))}
					if i < 1<<depth-1 {
						n.left, n.feature, n.value = int32(2*i+1), int32(rng.IntN([]int{12, features}[rng.IntN(2)])), float32(rng.IntN(200))/200
					}
					t.nodes = append(t.nodes, n)
				}
				trees = append(trees, t)
			}
			m := newModel(features, nil, identity, []float32{0}, trees)
			rows := make([]float32, 1000*features)
			for i := range rows {
				rows[i] = rng.Float32()
			}
			out := make([]float64, features+1)
			m.Contributions(rows[:features], 0, out)
			i := 0
			var from, to syscall.Rusage
			syscall.Getrusage(syscall.RUSAGE_SELF, &from)
			for b.Loop() {
				m.Contributions(rows[i*features:(i+1)*features], 0, out)
				if i++; i == 1000 {
					i = 0
				}
			}
			syscall.Getrusage(syscall.RUSAGE_SELF, &to)
			b.ReportMetric(float64(to.Utime.Nano()-from.Utime.Nano())/float64(b.N), "cpu-ns/op")
		})
	}
}
