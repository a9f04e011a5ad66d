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

// Joint warns of columns that give the answer away only together: by a formula or a
// comparison, else by a few trees. nil: nothing to say.
func Joint(spec *dataset.Spec, features []Feature, x, y []float32, folds []uint8) *Finding {
	if found := Formula(spec, features, x, y); found != nil {
		return found
	}
	if found := compared(spec, features, x, y, folds); found != nil {
		return found
	}
	return Together(spec, features, x, y, folds)
}

// Together warns if a few shallow trees over all features tell more of the rows of the
// last fold than one feature may: an answer that is given away by several columns at
// once, such as two dates, or a quantity and a price. Of several classes each has to be
// told from the rest. It can't tell that from an easy question, so it only warns, and
// names the columns that matter most. nil: nothing to say. x has one vector per row.
func Together(spec *dataset.Spec, features []Feature, x, y []float32, folds []uint8) *Finding {
	most := LeakAUC
	if spec.Task == dataset.Regression {
		most = LeakR2
	}
	var forests []*forest
	reached := math.Inf(1) // by the forest that tells least
	for _, labels := range questions(spec, y) {
		g := grow(features, x, labels(), folds, spec.Task == dataset.Regression)
		if g == nil {
			return nil
		}
		if g.reached = g.measure(nil); !(g.reached > most) {
			return nil
		}
		forests, reached = append(forests, g), min(reached, g.reached)
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
			used := slices.ContainsFunc(forests, func(g *forest) bool { return g.used[f] })
			if known[column] || !used || slices.Contains(spec.AllowLeak, column) {
				continue
			}
			known[column] = true
			of := make([]bool, len(features))
			for i := range features {
				of[i] = slices.Contains(features[i].Columns, column)
			}
			l := 0.0
			for _, g := range forests {
				l = max(l, g.reached-g.measure(of))
			}
			if l >= telling {
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
	what := "reach an AUC of %.4f"
	switch spec.Task {
	case dataset.Multiclass:
		what = "reach an AUC of at least %.4f for each class"
	case dataset.Regression:
		what = "explain %.4f of the target's variance"
	}
	return &Finding{Level: Warning, Kind: "leak", Feature: names[0], Value: reached, Text: fmt.Sprintf(
		"a few small trees "+what+" on rows that they were not made of, most of all by %s: make sure that each is known before %s is; else leave it out",
		reached, strings.Join(names, ", "), spec.Target.Column)}
}

// mostClasses is how many classes are told from the rest, the most frequent ones.
const mostClasses = 10

// rarer is how many rows the rarer of two classes has.
func rarer(y []float32) int {
	positive := 0
	for _, label := range y {
		positive += int(label)
	}
	return min(positive, len(y)-positive)
}

// questions are what trees are asked to tell: the label itself, or of several classes
// whether it is the one.
func questions(spec *dataset.Spec, y []float32) []func() []float32 {
	if spec.Task == dataset.Binary && rarer(y) < Fewest*Folds {
		return nil // too few to measure it by
	}
	if spec.Task != dataset.Multiclass {
		return []func() []float32{func() []float32 { return y }}
	}
	rows := make([]int, len(spec.Target.Classes))
	for _, label := range y {
		rows[int(label)]++
	}
	classes := make([]int, len(rows))
	for k := range classes {
		classes[k] = k
	}
	slices.SortStableFunc(classes, func(a, b int) int { return cmp.Compare(rows[b], rows[a]) })
	var all []func() []float32
	for _, k := range classes[:min(mostClasses, len(classes))] {
		if rows[k] < Fewest*Folds {
			break // too few to measure it by
		}
		all = append(all, func() []float32 {
			is := make([]float32, len(y))
			for i, label := range y {
				if int(label) == k {
					is[i] = 1
				}
			}
			return is
		})
	}
	return all
}

// forest is a few boosted trees and the rows that they are measured on.
type forest struct {
	trees [][]node
	used  []bool
	bins  [][]uint8 // by feature, of the rows to measure
	y     []float32

	values  bool // y are values and not outcomes
	reached float64
}

// node is a split; its children are at 2i+1 and 2i+2. A leaf has feature -1.
type node struct {
	feature int
	upTo    uint8 // bins that go left
	value   float64
}

// grow boosts trees on all folds but the last, which tell values or two outcomes; nil if
// either part has one outcome, or value, only.
func grow(features []Feature, x, y []float32, folds []uint8, values bool) *forest {
	var learn, test []int
	for at, i := range spaced(len(y), mostTogether) {
		fold := uint8(at % Folds)
		if folds != nil {
			fold = folds[i]
		}
		if fold == Folds-1 {
			test = append(test, i)
		} else {
			learn = append(learn, i)
		}
	}
	return boost(features, x, y, learn, test, values)
}

// boost boosts trees on the rows to learn, for grow.
func boost(features []Feature, x, y []float32, learn, test []int, values bool) *forest {
	labels := func(rows []int) (of []float32, differ bool) {
		for _, i := range rows {
			of = append(of, y[i])
			differ = differ || y[i] != of[0]
		}
		return of, differ
	}
	learned, differ := labels(learn)
	measured, there := labels(test)
	if !differ || !there {
		return nil
	}
	g := &forest{used: make([]bool, len(features)), bins: make([][]uint8, len(features)), y: measured, values: values}
	if values {
		standardize(learned, measured)
	}
	bins := make([][]uint8, len(features))
	for f := range features {
		bins[f], g.bins[f] = binned(features[f], x, f, len(features), learn, test, learned)
	}
	margin := make([]float64, len(learn))
	gradients, curvatures := make([]float64, len(learn)), make([]float64, len(learn))
	at := make([]int32, len(learn))
	for range rounds {
		for i := range learn {
			if at[i] = 0; values {
				gradients[i], curvatures[i] = margin[i]-float64(learned[i]), 1
				continue
			}
			p := 1 / (1 + math.Exp(-margin[i]))
			gradients[i], curvatures[i] = p-float64(learned[i]), p*(1-p)
		}
		tree := g.tree(bins, gradients, curvatures, at)
		for i := range margin {
			margin[i] += tree[at[i]].value
		}
		g.trees = append(g.trees, tree)
	}
	return g
}

// standardize gives the values that are learned a mean of 0 and a variance of 1, and the
// others by the same measure.
func standardize(learned, measured []float32) {
	var mean, squares float64
	for i, v := range learned {
		d := float64(v) - mean
		mean += d / float64(i+1)
		squares += d * (float64(v) - mean)
	}
	deviation := math.Sqrt(squares / float64(len(learned)))
	for _, values := range [][]float32{learned, measured} {
		for i, v := range values {
			values[i] = float32((float64(v) - mean) / deviation)
		}
	}
}

// binned parts one feature's values: a number by its quantiles, a category by the mean
// label of its levels, between the least and the greatest.
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
		mean, means := sum(positive)/float64(len(learn)), make([]float64, groups)
		for i := range means {
			means[i] = (positive[i] + prior*mean) / (rows[i] + prior)
		}
		least, greatest := slices.Min(means), slices.Max(means)
		for i, m := range means {
			if greatest > least {
				place[i] = uint8(math.Round((partsOf - 1) * (m - least) / (greatest - least)))
			}
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

// measure is the AUC on the rows to measure, or the share of the values' variance that
// is explained, with the values of some features shuffled among the rows; nil: of none.
func (g *forest) measure(shuffled []bool) float64 {
	scores := g.scores(shuffled)
	if g.values {
		mean, off, total := 0.0, 0.0, 0.0
		for _, v := range g.y {
			mean += float64(v) / float64(len(g.y))
		}
		for i, v := range g.y {
			off += (float64(v) - scores[i]) * (float64(v) - scores[i])
			total += (float64(v) - mean) * (float64(v) - mean)
		}
		return 1 - off/total
	}
	r, err := evaluate.Rank(scores, g.y)
	if err != nil {
		return math.NaN()
	}
	return r.AUC()
}

// scores are those of the rows to measure, with the values of some features shuffled among them.
func (g *forest) scores(shuffled []bool) []float64 {
	scores := make([]float64, len(g.y))
	other := rand.New(rand.NewPCG(1, 2)).Perm(len(scores))
	for i := range scores {
		for _, tree := range g.trees {
			scores[i] += g.value(tree, i, other[i], shuffled)
		}
	}
	return scores
}

// value is what a tree says of a row to measure, with the values of the shuffled features of
// another one.
func (g *forest) value(tree []node, row, other int, shuffled []bool) float64 {
	n := 0
	for tree[n].feature >= 0 {
		at, of := &tree[n], row
		if shuffled != nil && shuffled[at.feature] {
			of = other
		}
		if n = 2*n + 1; g.bins[at.feature][of] > at.upTo {
			n++
		}
	}
	return tree[n].value
}
