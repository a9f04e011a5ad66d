package tree

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"testing"
)

// floats are numbers as XGBoost's reader wants them: with a point or an exponent.
type floats []float32

func (f floats) MarshalJSON() ([]byte, error) {
	text := []byte{'['}
	for i, v := range f {
		if i > 0 {
			text = append(text, ',')
		}
		text = strconv.AppendFloat(text, float64(v), 'E', -1, 32)
	}
	return append(text, ']'), nil
}

// writeJSON writes trees as XGBoost would save them; both readers must then find
// the same in it.
func writeJSON(tb testing.TB, kinds []int, base float64, trees []tree) []byte {
	tb.Helper()
	var names, types []string
	for j, kind := range kinds {
		names = append(names, fmt.Sprintf("f%d", j))
		types = append(types, map[bool]string{true: "c", false: "q"}[kind > 0])
	}
	count := strconv.Itoa
	info, begins := make([]int, len(trees)), []int{0}
	var documents []object
	for id, t := range trees {
		n := len(t.nodes)
		left, right, parents, feature := make([]int32, n), make([]int32, n), make([]int32, n), make([]int32, n)
		condition, nothing := make(floats, n), make(floats, n)
		defaultLeft, splitType := make([]int, n), make([]int, n)
		nodes, codes, segments, sizes := []int32{}, []int32{}, []int{}, []int{}
		parents[0] = 1<<31 - 1
		for i := range t.nodes {
			s := &t.nodes[i]
			left[i], right[i], condition[i] = -1, -1, s.value
			if s.left == 0 {
				continue
			}
			left[i], right[i], feature[i] = s.left, s.left+1, s.feature
			parents[s.left], parents[s.left+1] = int32(i), int32(i)
			defaultLeft[i], splitType[i] = int(bit(s.defaultLeft)), int(bit(s.categorical))
			if s.categorical {
				nodes, segments, sizes = append(nodes, int32(i)), append(segments, len(codes)), append(sizes, len(s.categories))
				codes = append(codes, s.categories...)
			}
		}
		begins = append(begins, id+1)
		documents = append(documents, object{
			"id": id, "left_children": left, "right_children": right, "parents": parents, "split_indices": feature,
			"split_conditions": condition, "default_left": defaultLeft, "split_type": splitType,
			"categories_nodes": nodes, "categories": codes, "categories_segments": segments, "categories_sizes": sizes,
			"base_weights": nothing, "loss_changes": nothing, "sum_hessian": nothing,
			"tree_param": object{"num_deleted": "0", "num_feature": count(len(kinds)), "num_nodes": count(n), "size_leaf_vector": "1"},
		})
	}
	data, err := json.Marshal(object{"version": []int{3, 2, 0}, "learner": object{
		"attributes": object{}, "feature_names": names, "feature_types": types,
		"learner_model_param": object{"base_score": fmt.Sprintf("[%E]", base), "boost_from_average": "1",
			"num_class": "0", "num_feature": count(len(kinds)), "num_target": "1"},
		"objective": object{"name": "binary:logistic", "reg_loss_param": object{"scale_pos_weight": "1"}},
		"gradient_booster": object{"name": "gbtree", "model": object{
			"gbtree_model_param": object{"num_parallel_tree": "1", "num_trees": count(len(trees))},
			"cats":               object{"enc": []int{}, "feature_segments": []int{}, "sorted_idx": []int{}},
			"iteration_indptr":   begins, "tree_info": info, "trees": documents,
		}},
	}})
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

// construct draws trees over features of the given kinds, which training need
// not ever make: thresholds that no row has, sets of any codes, and directions
// for missing values where none was seen.
func construct(rng *rand.Rand, kinds []int, trees, depth int, full bool) []tree {
	var list []tree
	for range trees {
		t := grow(rng, depth, len(kinds), 0, full)
		for i := range t.nodes {
			n := &t.nodes[i]
			if n.left == 0 {
				continue
			}
			kind := kinds[n.feature]
			switch n.value = float32(rng.NormFloat64() * 2); {
			case kind > 0:
				n.categorical, n.value = true, 0
				one := rng.IntN(3) == 0 // one code alone, or any of them
				only := rng.IntN(kind)
				for c := range kind {
					if c == only || !one && rng.IntN(2) == 0 {
						n.categories = append(n.categories, int32(c))
					}
				}
			case n.feature%3 == 0: // as draw's whole numbers
				n.value = float32(rng.IntN(9) - 4)
			}
		}
		list = append(list, t)
	}
	return list
}

// TestConstructedSameAsLibxgboost lets both read models that were drawn, not
// trained, of every depth, and compares all ways to score a row.
func TestConstructedSameAsLibxgboost(t *testing.T) {
	ref := newReference(t)
	var rows atomic.Int64
	t.Cleanup(func() { t.Logf("%d rows: margins equal to the bit", rows.Load()) })
	compare := func(t *testing.T, rng *rand.Rand, kinds []int, trees []tree, walked bool) error {
		data := writeJSON(t, kinds, 0.02+0.96*rng.Float64(), trees)
		m, err := Parse(data)
		if err != nil {
			return err
		}
		if (m.forest == nil) != walked {
			return fmt.Errorf("walked as it is: %v, want %v", m.forest == nil, walked)
		}
		check := draw(rng, kinds, 300, []float64{0, 0.1, 0.9}[rng.IntN(3)], true)
		margins, err := ref.margins(data, check)
		if err != nil {
			return err
		}
		if err := sameMargins(m, check.data, margins); err != nil {
			return err
		}
		rows.Add(int64(check.rows))
		batch := make([]float32, check.rows)
		m.ScoreBatch(check.data, batch)
		for i, p := range batch {
			row := check.data[i*len(kinds) : (i+1)*len(kinds)]
			if one, slow := m.Score(row), sigmoid(m.walk(row, 0)); one != p || slow != p {
				return fmt.Errorf("row %d %v: alone %v, in a batch %v, node by node %v", i, row, one, p, slow)
			}
		}
		return nil
	}
	draws := 8
	if testing.Short() {
		draws = 2
	}
	for depth := 1; depth <= 12; depth++ {
		t.Run(fmt.Sprintf("depth %d", depth), func(t *testing.T) {
			t.Parallel()
			for seed := range draws {
				rng := rand.New(rand.NewPCG(uint64(depth), uint64(seed)))
				kinds := make([]int, 1+rng.IntN(12))
				for j := range kinds {
					if rng.IntN(2) == 0 {
						kinds[j] = 1 + rng.IntN(100)
					}
				}
				trees := construct(rng, kinds, 1+rng.IntN(20), depth, depth <= 8 && seed%2 == 0)
				if err := compare(t, rng, kinds, trees, false); err != nil {
					t.Errorf("seed %d: %v", seed, err)
				}
			}
		})
	}
	t.Run("more questions than a forest answers", func(t *testing.T) {
		t.Parallel()
		rng := rand.New(rand.NewPCG(12, 12))
		kinds := []int{40, 0, 0, 7, 0, 0} // numbers 1, 2, 4 and 5 are not rounded: each split asks another question
		if err := compare(t, rng, kinds, construct(rng, kinds, 24, 12, true), true); err != nil {
			t.Error(err)
		}
	})
}
