package tree

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

const (
	logistic = "binary:logistic"

	// maxCategory is the first code that XGBoost considers invalid: above it
	// float32 does not represent every whole number.
	maxCategory = 1 << 24

	// minBase is XGBoost's kRtEps, to which it clamps base_score before taking the
	// log-odds.
	minBase = 1e-6
)

// node is a split or a leaf. A split's children are adjacent.
type node struct {
	feature     int32
	left        int32   // the left child's index, the right one's is left+1; 0: a leaf
	value       float32 // of a split: values smaller than it go left; of a leaf: its value
	defaultLeft bool    // missing values go left
	categorical bool
	categories  []int32 // of a categorical split: the codes that go right, ascending
}

// tree is a decision tree. The root is nodes[0], a child comes after its parent.
type tree struct {
	nodes []node
	depth int // the most splits on a path from root to leaf
}

// Parse reads a model that XGBoost 3 saved as UBJ or JSON; the first bytes tell
// which. It must be a boosted model of trees with the objective binary:logistic.
// Errors name the tree and the node.
func Parse(data []byte) (*Model, error) {
	d, err := read(data)
	if err != nil {
		return nil, fmt.Errorf("reading XGBoost model: %w", err)
	}
	m, err := d.model()
	if err != nil {
		return nil, fmt.Errorf("reading XGBoost model: %w", err)
	}
	return m, nil
}

// read tells the two formats apart by what follows the first brace: in UBJ the
// type of a key's length.
func read(data []byte) (*document, error) {
	if bytes.HasPrefix(data, []byte("{L")) {
		return readUBJ(data)
	}
	if !bytes.HasPrefix(bytes.TrimLeft(data, " \t\r\n"), []byte("{")) {
		return nil, errors.New("it is neither UBJ nor JSON")
	}
	d := &document{}
	if err := json.Unmarshal(data, d); err != nil {
		return nil, err
	}
	return d, nil
}

func (d *document) model() (*Model, error) {
	learner := &d.Learner
	booster := &learner.Booster
	switch {
	case booster.Name == "":
		return nil, errors.New("it has no gradient_booster with a name")
	case booster.Name != "gbtree":
		return nil, fmt.Errorf("booster %q is not supported, only gbtree", booster.Name)
	case learner.Objective.Name != logistic:
		return nil, fmt.Errorf("objective %q is not supported, only %s", learner.Objective.Name, logistic)
	case len(booster.Model.Cats.Enc) > 0:
		return nil, errors.New("it holds its own encoding of categories (cats), want one trained on codes")
	}
	for _, p := range []struct{ name, value string }{
		{"num_class", learner.Param.NumClass},
		{"num_target", learner.Param.NumTarget},
	} {
		if p.value != "" && p.value != "0" && p.value != "1" {
			return nil, fmt.Errorf("%s is %s, only one output is supported", p.name, p.value)
		}
	}
	features, err := strconv.ParseInt(learner.Param.NumFeature, 10, 32)
	if err != nil || features < 0 {
		return nil, fmt.Errorf("num_feature is %q, want a number of features", learner.Param.NumFeature)
	}
	if n := len(learner.FeatureNames); n > 0 && n != int(features) {
		return nil, fmt.Errorf("it has %d feature names for %d features", n, features)
	}
	base, err := baseMargin(learner.Param.BaseScore)
	if err != nil {
		return nil, err
	}
	count, trees := booster.Model.Param.NumTrees, booster.Model.Trees
	if count != strconv.Itoa(len(trees)) || len(booster.Model.TreeInfo) != len(trees) {
		return nil, fmt.Errorf("num_trees is %q, but there are %d trees and %d entries in tree_info", count, len(trees), len(booster.Model.TreeInfo))
	}
	var checked []tree
	for i := range trees {
		if booster.Model.TreeInfo[i] != 0 || int(trees[i].ID) != i {
			return nil, fmt.Errorf("tree %d: it has id %d and group %d, want id %d and group 0", i, trees[i].ID, booster.Model.TreeInfo[i], i)
		}
		t, err := trees[i].tree(int32(features))
		if err != nil {
			return nil, fmt.Errorf("tree %d: %w", i, err)
		}
		checked = append(checked, t)
	}
	return newModel(int(features), learner.FeatureNames, base, checked), nil
}

// baseMargin turns base_score, a probability, into log-odds, in the float32
// steps that XGBoost takes. Since 3.1 it is an array with one number per output.
func baseMargin(text string) (float32, error) {
	number := text
	if s, ok := strings.CutPrefix(text, "["); ok {
		number = strings.TrimSuffix(s, "]")
	}
	p, err := strconv.ParseFloat(number, 32)
	if err != nil || !(p >= 0 && p <= 1) {
		return 0, fmt.Errorf("base_score is %q, want one probability", text)
	}
	q := min(max(float32(p), minBase), 1-float32(minBase))
	return -float32(math.Log(float64(1/q - 1))), nil
}

// tree checks the arrays and copies the nodes that can be reached.
func (d *treeDocument) tree(features int32) (tree, error) {
	n := len(d.Left)
	for _, a := range []struct {
		name string
		size int
	}{
		{"right_children", len(d.Right)},
		{"split_indices", len(d.Feature)},
		{"split_conditions", len(d.Condition)},
		{"default_left", len(d.DefaultLeft)},
	} {
		if a.size != n {
			return tree{}, fmt.Errorf("%s has %d entries, left_children %d", a.name, a.size, n)
		}
	}
	if len(d.SplitType) != n && len(d.SplitType) != 0 {
		return tree{}, fmt.Errorf("split_type has %d entries, left_children %d", len(d.SplitType), n)
	}
	if s := d.Param.LeafSize; s != "" && s != "0" && s != "1" {
		return tree{}, fmt.Errorf("leaves with %s values are not supported", s)
	}
	categories, err := d.categories()
	if err != nil {
		return tree{}, err
	}

	// Breadth first: from[i] is the place in the file of nodes[i].
	t := tree{nodes: make([]node, 1, n)}
	from, level := make([]int32, 1, n), make([]int, 1, n)
	reached := make([]bool, n)
	reached[0] = true
	for i := 0; i < len(t.nodes); i++ {
		at := from[i]
		to := node{feature: d.Feature[at], value: d.Condition[at], defaultLeft: d.DefaultLeft[at] != 0}
		t.depth = level[i]
		if d.Left[at] == -1 {
			if v := float64(to.value); math.IsNaN(v) || math.IsInf(v, 0) {
				return tree{}, fmt.Errorf("node %d: leaf value %v", at, v)
			}
			t.nodes[i] = node{value: to.value}
			continue
		}
		if to.feature < 0 || to.feature >= features {
			return tree{}, fmt.Errorf("node %d: splits on feature %d of %d", at, to.feature, features)
		}
		if len(d.SplitType) > 0 && d.SplitType[at] == 1 {
			to.categorical, to.categories = true, categories[at]
			if to.categories == nil {
				return tree{}, fmt.Errorf("node %d: a categorical split without categories", at)
			}
		} else if math.IsNaN(float64(to.value)) {
			return tree{}, fmt.Errorf("node %d: splits at NaN", at)
		}
		to.left = int32(len(t.nodes))
		t.nodes[i] = to
		for _, child := range []int32{d.Left[at], d.Right[at]} {
			if child <= 0 || int(child) >= n {
				return tree{}, fmt.Errorf("node %d: child %d of %d nodes", at, child, n)
			}
			if reached[child] {
				return tree{}, fmt.Errorf("node %d: child %d has two parents", at, child)
			}
			reached[child] = true
			t.nodes = append(t.nodes, node{})
			from = append(from, child)
			level = append(level, level[i]+1)
		}
	}
	return t, nil
}

// categories returns, by node, the codes that go right.
func (d *treeDocument) categories() (map[int32][]int32, error) {
	n := len(d.CategoryNodes)
	if len(d.CategoryBegin) != n || len(d.CategoryCount) != n {
		return nil, fmt.Errorf("categories_nodes has %d entries, categories_segments %d, categories_sizes %d", n, len(d.CategoryBegin), len(d.CategoryCount))
	}
	byNode := make(map[int32][]int32, n)
	next := int64(0)
	for i, at := range d.CategoryNodes {
		// Segments are consecutive; if they could overlap, a small file could cause
		// a lot of work.
		begin, count, all := d.CategoryBegin[i], d.CategoryCount[i], int64(len(d.Categories))
		if begin != next || count < 1 || count > all-begin {
			return nil, fmt.Errorf("node %d: its %d categories from %d on are not among the %d that follow %d", at, count, begin, all, next)
		}
		next = begin + count
		if _, ok := byNode[at]; ok {
			return nil, fmt.Errorf("node %d: has its categories twice", at)
		}
		codes := d.Categories[begin:next]
		for _, c := range codes {
			if c < 0 || c >= maxCategory {
				return nil, fmt.Errorf("node %d: category %d is out of range", at, c)
			}
		}
		slices.Sort(codes)
		byNode[at] = slices.Compact(codes)
	}
	return byNode, nil
}
