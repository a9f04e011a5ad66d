package inspect

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"

	"mlops/internal/dataset"
	"mlops/internal/evaluate"
)

const (
	mostTogether = 20_000 // rows by which features are judged together
	partsOf      = 64     // of a feature's values, for the trees
	rounds       = 30
	depth        = 4
	stepSize     = 0.3
	penalty      = 1 // on the sum of second derivatives in a leaf
	// telling is by how much the AUC falls without a column that is named.
	telling = 0.01
	// named is the number of columns that a finding names.
	named = 4
)

// Together warns if a few shallow trees over all features reach an AUC on the rows of
// the last fold that is above what one feature may have: an answer that is given away
// by several columns at once, such as two dates. It can't tell that from an easy
// question, so it only warns, and names the columns that matter most. nil: nothing to
// say. x has one vector per row.
func Together(spec *dataset.Spec, features []Feature, x, y []float32, folds []uint8) *Finding {
	g := grow(features, x, y, folds)
	if g == nil {
		return nil
	}
	auc := g.auc(nil)
	if auc <= LeakAUC || math.IsNaN(auc) {
		return nil
	}
	// All features of a column say the same in other words: those of a date.
	type loss struct {
		column string
		of     float64
	}
	var losses []loss
	known := map[string]bool{}
	for f := range features {
		for _, column := range features[f].Columns {
			if known[column] || !g.used[f] || slices.Contains(spec.AllowLeak, column) {
				continue
			}
			known[column] = true
			of := make([]bool, len(features))
			for i := range features {
				of[i] = slices.Contains(features[i].Columns, column)
			}
			if l := auc - g.auc(of); l >= telling {
				losses = append(losses, loss{column, l})
			}
		}
	}
	if len(losses) == 0 {
		return nil
	}
	slices.SortFunc(losses, func(a, b loss) int { return cmp.Compare(b.of, a.of) })
	var names []string
	for _, l := range losses[:min(named, len(losses))] {
		names = append(names, l.column)
	}
	return &Finding{Level: Warning, Kind: "leak", Feature: names[0], Value: auc, Text: fmt.Sprintf(
		"a few small trees reach an AUC of %.4f on rows that they were not made of, most of all by %s: make sure that each is known before %s is; else leave it out",
		auc, strings.Join(names, ", "), spec.Target.Column)}
}

// forest is a few boosted trees and the rows that they are measured on.
type forest struct {
	trees [][]node
	used  []bool
	bins  [][]uint8 // by feature, of the rows to measure
	y     []float32
}

// node is a split; its children are at 2i+1 and 2i+2. A leaf has feature -1.
type node struct {
	feature int
	upTo    uint8 // bins that go left
	value   float64
}

// grow boosts trees on all folds but the last; nil if either part lacks a class.
func grow(features []Feature, x, y []float32, folds []uint8) *forest {
	step := (len(y) + mostTogether - 1) / mostTogether
	var learn, test []int
	for i := 0; i < len(y); i += max(1, step) {
		fold := uint8(i % Folds)
		if folds != nil {
			fold = folds[i]
		} else if step > 1 {
			fold = uint8(i / step % Folds)
		}
		if fold == Folds-1 {
			test = append(test, i)
		} else {
			learn = append(learn, i)
		}
	}
	labels := func(rows []int) (of []float32, positive float64) {
		for _, i := range rows {
			of = append(of, y[i])
			positive += float64(y[i])
		}
		return of, positive
	}
	learned, positive := labels(learn)
	measured, there := labels(test)
	if positive == 0 || positive == float64(len(learn)) || there == 0 || there == float64(len(test)) {
		return nil
	}
	g := &forest{used: make([]bool, len(features)), bins: make([][]uint8, len(features)), y: measured}
	bins := make([][]uint8, len(features))
	for f := range features {
		bins[f], g.bins[f] = binned(features[f], x, f, len(features), learn, test, learned)
	}
	margin := make([]float64, len(learn))
	gradients, curvatures := make([]float64, len(learn)), make([]float64, len(learn))
	at := make([]int32, len(learn))
	for range rounds {
		for i := range learn {
			p := 1 / (1 + math.Exp(-margin[i]))
			gradients[i], curvatures[i], at[i] = p-float64(learned[i]), p*(1-p), 0
		}
		tree := g.tree(bins, gradients, curvatures, at)
		for i := range margin {
			margin[i] += tree[at[i]].value
		}
		g.trees = append(g.trees, tree)
	}
	return g
}

// binned parts one feature's values: a number by its quantiles, a category by how
// often its levels are positive.
func binned(f Feature, x []float32, at, width int, learn, test []int, y []float32) (learned, measured []uint8) {
	values := make([]float32, len(learn))
	for i, row := range learn {
		values[i] = x[row*width+at]
	}
	cuts, groups := groupsOf(values, f.Codes, partsOf)
	place := make([]uint8, groups)
	if f.Codes == 0 {
		for i := range place {
			place[i] = uint8(i)
		}
	} else {
		rows, positive := make([]float64, groups), make([]float64, groups)
		for i, v := range values {
			group := groupOf(v, cuts, f.Codes, groups)
			rows[group]++
			positive[group] += float64(y[i])
		}
		mean := sum(positive) / float64(len(learn))
		for i := range place {
			place[i] = uint8(math.Round((partsOf - 1) * (positive[i] + prior*mean) / (rows[i] + prior)))
		}
	}
	for _, v := range values {
		learned = append(learned, place[groupOf(v, cuts, f.Codes, groups)])
	}
	for _, row := range test {
		measured = append(measured, place[groupOf(x[row*width+at], cuts, f.Codes, groups)])
	}
	return learned, measured
}

// tree makes one tree level by level, and leaves in at the leaf of each row.
func (g *forest) tree(bins [][]uint8, gradients, curvatures []float64, at []int32) []node {
	tree := make([]node, 1<<(depth+1)-1)
	for i := range tree {
		tree[i].feature = -1
	}
	type sums [partsOf + 2][2]float64
	for level := range depth {
		first, nodes := 1<<level-1, 1<<level
		// Each goroutine has every so many of the features; of equal gains the first
		// feature's wins, whoever found it.
		type split struct {
			gain    float64
			feature int
			upTo    uint8
		}
		workers := min(runtime.GOMAXPROCS(0), len(bins))
		found := make([][]split, workers)
		var wait sync.WaitGroup
		for w := range workers {
			wait.Go(func() {
				best := make([]split, nodes)
				histogram := make([]sums, nodes)
				for f := w; f < len(bins); f += workers {
					clear(histogram)
					column := bins[f]
					for i, n := range at {
						if n >= int32(first) {
							cell := &histogram[n-int32(first)][column[i]]
							cell[0] += gradients[i]
							cell[1] += curvatures[i]
						}
					}
					for n := range histogram {
						var all, left [2]float64
						for _, c := range histogram[n] {
							all[0] += c[0]
							all[1] += c[1]
						}
						for b := range len(histogram[n]) - 1 {
							left[0] += histogram[n][b][0]
							left[1] += histogram[n][b][1]
							rightG, rightH := all[0]-left[0], all[1]-left[1]
							if left[1] < 1 || rightH < 1 {
								continue
							}
							gain := left[0]*left[0]/(left[1]+penalty) + rightG*rightG/(rightH+penalty) - all[0]*all[0]/(all[1]+penalty)
							if gain > best[n].gain+1e-9 {
								best[n] = split{gain, f, uint8(b)}
							}
						}
					}
				}
				found[w] = best
			})
		}
		wait.Wait()
		for n := range nodes {
			best := split{}
			for _, of := range found {
				if s := of[n]; s.gain > best.gain+1e-9 || s.gain > 0 && s.gain > best.gain-1e-9 && s.feature < best.feature {
					best = s
				}
			}
			if best.gain > 0 {
				tree[first+n].feature, tree[first+n].upTo = best.feature, best.upTo
			}
		}
		for i, n := range at {
			if s := &tree[n]; n >= int32(first) && s.feature >= 0 {
				at[i] = 2*n + 1
				if bins[s.feature][i] > s.upTo {
					at[i]++
				}
			}
		}
	}
	value := make([][2]float64, len(tree))
	for i, n := range at {
		value[n][0] += gradients[i]
		value[n][1] += curvatures[i]
	}
	for n := range tree {
		tree[n].value = -stepSize * value[n][0] / (value[n][1] + penalty)
		if f := tree[n].feature; f >= 0 {
			g.used[f] = true
		}
	}
	return tree
}

// auc is the AUC on the rows to measure, with the values of some features shuffled
// among the rows; nil: of none.
func (g *forest) auc(shuffled []bool) float64 {
	scores := make([]float64, len(g.y))
	other := rand.New(rand.NewPCG(1, 2)).Perm(len(scores))
	for i := range scores {
		for _, tree := range g.trees {
			n := 0
			for tree[n].feature >= 0 {
				row := i
				if shuffled != nil && shuffled[tree[n].feature] {
					row = other[i]
				}
				if n = 2*n + 1; g.bins[tree[(n-1)/2].feature][row] > tree[(n-1)/2].upTo {
					n++
				}
			}
			scores[i] += tree[n].value
		}
	}
	r, err := evaluate.Rank(scores, g.y)
	if err != nil {
		return math.NaN()
	}
	return r.AUC()
}
