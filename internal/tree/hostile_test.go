package tree

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// chain is a tree whose n splits lie on one path, each on a feature of its own: the right
// children are the splits.
func chain(n int) tree {
	t := tree{depth: n}
	for i := range n {
		t.nodes = append(t.nodes, node{feature: int32(i), left: int32(2*i + 1), value: 0.5, cover: 1}, node{value: 1, cover: 1})
	}
	t.nodes = append(t.nodes, node{value: 2, cover: 1})
	return t
}

// lightText is a model of LightGBM of one tree, of those lines.
func lightText(features int, lines ...string) string {
	var names []string
	for i := range features {
		names = append(names, fmt.Sprint("f", i))
	}
	return lightGBMBegin + "v4\nnum_class=1\nnum_tree_per_iteration=1\nobjective=binary sigmoid:1\nmax_feature_idx=" + fmt.Sprint(features-1) +
		"\nfeature_names=" + strings.Join(names, " ") + "\n\nTree=0\n" + strings.Join(lines, "\n") + "\n\nend of trees\n"
}

// TestHostile reads models that nobody trained, each made to take time or memory that is
// out of proportion to its size.
func TestHostile(t *testing.T) {
	t.Parallel()
	zeros := func(n int) string { return strings.TrimSuffix(strings.Repeat("0 ", n), " ") }
	// lightChain has n splits on one path.
	lightChain := func(n int, threshold, decision string, more ...string) string {
		var left, right []string
		for i := range n {
			left = append(left, fmt.Sprint(^i))
			right = append(right, fmt.Sprint(i+1))
		}
		right[n-1] = fmt.Sprint(^n)
		same := func(text string) string { return strings.TrimSuffix(strings.Repeat(text+" ", n), " ") }
		return lightText(1, append([]string{"num_leaves=" + fmt.Sprint(n+1), "leaf_value=" + zeros(n+1), "split_feature=" + zeros(n), "decision_type=" + same(decision),
			"threshold=" + same(threshold), "left_child=" + strings.Join(left, " "), "right_child=" + strings.Join(right, " ")}, more...)...)
	}
	set := strings.TrimSuffix(strings.Repeat("4294967295 ", 1000), " ")
	kinds := make([]int, maxTreeDepth+1)
	xgboost := func(n int) string { return string(writeJSON(t, kinds, 0.5, []tree{chain(n)})) }
	for _, tt := range []struct{ name, text, want string }{
		{"leaves without values", lightText(1, "num_leaves=2000000000", "leaf_value=0"), "leaf_value has 1 entries, want 2000000000"},
		{"more features than names", strings.Replace(lightText(1, "num_leaves=1", "leaf_value=0"), "max_feature_idx=0", "max_feature_idx=16777216", 1), "feature names"},
		{"a set that all splits share", lightChain(1000, "0", "1", "num_cat=1", "cat_boundaries=0 1000", "cat_threshold="+set), "set 0 belongs to two splits"},
		{"LightGBM's splits in a ring", lightText(1, "num_leaves=3", "leaf_value=0 0 0", "split_feature=0 0", "decision_type=2 2", "threshold=1 2", "left_child=1 0", "right_child=-1 -2"), "two parents"},
		{"a child that is not there", lightText(1, "num_leaves=2", "leaf_value=0 0", "split_feature=0", "decision_type=2", "threshold=1", "left_child=-2147483648", "right_child=-1"), "leaf 2147483647 of 2"},
		{"LightGBM, deep", lightChain(maxTreeDepth+1, "0.5", "2"), errTooDeep.Error()},
		{"XGBoost, deep", xgboost(maxTreeDepth + 1), errTooDeep.Error()},
		{"as deep as it may be", xgboost(maxTreeDepth), ""},
		{"outputs by the billion", strings.Replace(xgboost(1), `"num_class":"0"`, `"num_class":"2000000000"`, 1), "num_class"},
		{"trees by the billion", strings.Replace(xgboost(1), `"num_trees":"1"`, `"num_trees":"2000000000"`, 1), "num_trees"},
	} {
		began := time.Now()
		_, err := Parse([]byte(tt.text))
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want %q", tt.name, err, tt.want)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("%s: it took %v", tt.name, took)
		}
	}
}

// TestHostileExplained explains trees that score quickly and whose contributions would take
// gigabytes: 4,096 features on a path, in several trees.
func TestHostileExplained(t *testing.T) {
	t.Parallel()
	trees := make([]tree, 4)
	for i := range trees {
		trees[i] = chain(maxTreeDepth)
	}
	m := newModel(maxTreeDepth, nil, logistic, []float32{0}, trees)
	began := time.Now()
	if err := m.Explainable(); err == nil || !strings.Contains(err.Error(), errTooLarge.Error()) {
		t.Errorf("error %v, want %v", err, errTooLarge)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it took %v", took)
	}
	if p := m.Score(make([]float32, maxTreeDepth)); !(p > 0.5) {
		t.Errorf("scored %v", p)
	}
}
