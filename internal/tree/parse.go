package tree

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

const (
	// maxCategory is the first code that XGBoost considers invalid: above it
	// float32 does not represent every whole number.
	maxCategory = 1 << 24

	// minBase is XGBoost's kRtEps, to which it clamps base_score before taking the
	// log-odds.
	minBase = 1e-6
)

var errTooDeep = fmt.Errorf("it is deeper than %d splits", maxTreeDepth)

// node is a split or a leaf. A split's children are adjacent.
type node struct {
	feature     int32
	left        int32   // the left child's index, the right one's is left+1; 0: a leaf
	value       float32 // of a split: values smaller than it go left; of a leaf: its value
	defaultLeft bool    // missing values go left
	categorical bool
	cover       float32 // the training rows that reached it, by weight; NaN if the model doesn't say
	categories  []int32 // of a categorical split: the codes that go right, ascending
	leaf        float64 // of a leaf of LightGBM: its value
}

// tree is a decision tree. The root is nodes[0], a child comes after its parent.
type tree struct {
	nodes  []node
	depth  int   // the most splits on a path from root to leaf
	output int32 // that its leaves add to
}

// maxTreeDepth bounds the splits on a path, so that scoring and explaining a row takes no
// longer than trained trees need. Leaf by leaf, LightGBM's grow to some hundreds.
const maxTreeDepth = 4096

// maxOutputs bounds the outputs of a model, so that a small file can't cause a lot of
// work.
const maxOutputs = 1000

// Parse reads a model that XGBoost 1.7 to 3 saved as UBJ or JSON, or LightGBM as text
// or, from a scikit-learn wrapper, within a skops file; the first bytes tell which. It must be a model of trees with one of the objectives in
// links or lightLinks. Errors name the tree and the node.
func Parse(data []byte) (*Model, error) { return parse(data, false) }

// ParseBest reads a model as Parse does, and leaves out the trees that XGBoost's
// scikit-learn wrappers don't predict with: those after the best iteration, if training
// stopped early.
func ParseBest(data []byte) (*Model, error) { return parse(data, true) }

func parse(data []byte, best bool) (*Model, error) {
	if bytes.HasPrefix(data, []byte(lightGBMBegin)) {
		return parseLightGBM(string(data), 0)
	}
	if bytes.HasPrefix(data, []byte(skopsBegin)) {
		return parseSkops(data)
	}
	d, err := read(data)
	if err != nil {
		return nil, fmt.Errorf("reading XGBoost model: %w", err)
	}
	m, err := d.model(best)
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

// model checks the document; best leaves out the trees after the best iteration.
func (d *document) model(best bool) (*Model, error) {
	learner := &d.Learner
	booster := &learner.Booster
	l, known := links[learner.Objective.Name]
	switch {
	case booster.Name == "":
		return nil, errors.New("it has no gradient_booster with a name")
	case booster.Name != "gbtree":
		return nil, fmt.Errorf("booster %q is not supported, only gbtree", booster.Name)
	case learner.Objective.Name == "multi:softmax":
		return nil, errors.New("objective multi:softmax predicts a class and not how sure it is: train it with multi:softprob")
	case !known:
		return nil, fmt.Errorf("objective %q is not supported, only %s", learner.Objective.Name, sortedKeys(links))
	}
	outputs, err := learner.outputs(l)
	if err != nil {
		return nil, err
	}
	features, err := strconv.ParseInt(learner.Param.NumFeature, 10, 32)
	if err != nil || features < 0 {
		return nil, fmt.Errorf("num_feature is %q, want a number of features", learner.Param.NumFeature)
	}
	if n := len(learner.FeatureNames); n > 0 && n != int(features) {
		return nil, fmt.Errorf("it has %d feature names for %d features", n, features)
	}
	categories, err := categoriesOf(booster.Model.Cats.Enc, int(features))
	if err != nil {
		return nil, err
	}
	bases, err := baseMargins(learner.Param.BaseScore, l, outputs)
	if err != nil {
		return nil, err
	}
	count, trees := booster.Model.Param.NumTrees, booster.Model.Trees
	if count != strconv.Itoa(len(trees)) || len(booster.Model.TreeInfo) != len(trees) {
		return nil, fmt.Errorf("num_trees is %q, but there are %d trees and %d entries in tree_info", count, len(trees), len(booster.Model.TreeInfo))
	}
	var checked []tree
	for i := range trees {
		output := booster.Model.TreeInfo[i]
		if output < 0 || int(output) >= outputs || int(trees[i].ID) != i {
			return nil, fmt.Errorf("tree %d: it has id %d and group %d, want id %d and a group below %d", i, trees[i].ID, output, i, outputs)
		}
		t, err := trees[i].tree(int32(features))
		if err != nil {
			return nil, fmt.Errorf("tree %d: %w", i, err)
		}
		t.output = output
		checked = append(checked, t)
	}
	if best {
		n, err := learner.bestTrees(outputs)
		if err != nil {
			return nil, err
		}
		checked = checked[:n]
	}
	m := newModel(int(features), learner.FeatureNames, l, bases, checked)
	m.categories = categories
	return m, nil
}

func sortedKeys(of map[string]link) string {
	return strings.Join(slices.Sorted(maps.Keys(of)), ", ")
}

// outputs returns how many numbers the model gives a row: its classes, or targets.
func (d *learnerDocument) outputs(l link) (int, error) {
	number := func(name, text string) (int, error) {
		if text == "" {
			return 0, nil
		}
		n, err := strconv.ParseInt(text, 10, 32)
		if err != nil || n < 0 || n > maxOutputs {
			return 0, fmt.Errorf("%s is %q, want a number up to %d", name, text, maxOutputs)
		}
		return int(n), nil
	}
	classes, err := number("num_class", d.Param.NumClass)
	if err != nil {
		return 0, err
	}
	targets, err := number("num_target", d.Param.NumTarget)
	if err != nil {
		return 0, err
	}
	switch {
	case l == softmax && (classes < 2 || targets > 1):
		return 0, fmt.Errorf("num_class is %d and num_target %d, want at least two classes and one target for %s", classes, targets, d.Objective.Name)
	case l != softmax && classes > 1:
		return 0, fmt.Errorf("num_class is %d, which %s does not have", classes, d.Objective.Name)
	case l == logistic && targets > 1:
		return 0, fmt.Errorf("num_target is %d, only one is supported for %s", targets, d.Objective.Name)
	}
	return max(classes, targets, 1), nil
}

// bestTrees returns the number of trees up to the best iteration.
func (d *learnerDocument) bestTrees(outputs int) (int, error) {
	model, text := &d.Booster.Model, d.Attributes.BestIteration
	if text == "" {
		return len(model.Trees), nil
	}
	best, err := strconv.ParseInt(text, 10, 32)
	if err != nil || best < 0 {
		return 0, fmt.Errorf("best_iteration is %q, want the number of an iteration", text)
	}
	var trees int64
	if len(model.Begin) > 0 {
		if best+1 >= int64(len(model.Begin)) {
			return 0, fmt.Errorf("best_iteration is %d, iteration_indptr has %d entries", best, len(model.Begin))
		}
		trees = model.Begin[best+1]
	} else {
		parallel := int64(1)
		if text := model.Param.NumParallelTrees; text != "" {
			if parallel, err = strconv.ParseInt(text, 10, 16); err != nil || parallel < 1 {
				return 0, fmt.Errorf("num_parallel_tree is %q, want a number of trees", text)
			}
		}
		trees = (best + 1) * parallel * int64(outputs)
	}
	if trees < 0 || trees > int64(len(model.Trees)) {
		return 0, fmt.Errorf("its iterations up to the best, %d, have %d trees of %d", best, trees, len(model.Trees))
	}
	return int(trees), nil
}

// baseMargins turns base_score into margins, one per output. Since XGBoost 3.1 it is
// an array with one number per output; before, it is one number for all of them.
func baseMargins(text string, l link, outputs int) ([]float32, error) {
	list := []string{text}
	if s, ok := strings.CutPrefix(text, "["); ok {
		list = strings.Split(strings.TrimSuffix(s, "]"), ",")
	}
	if len(list) != 1 && len(list) != outputs {
		return nil, fmt.Errorf("base_score is %q, want one number or %d", text, outputs)
	}
	bases := make([]float32, outputs)
	for i := range bases {
		x, err := strconv.ParseFloat(strings.TrimSpace(list[min(i, len(list)-1)]), 32)
		margin, ok := l.base(float32(x))
		if err != nil || !ok {
			return nil, fmt.Errorf("base_score is %q, want what the objective can predict", text)
		}
		bases[i] = margin
	}
	return bases, nil
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
	if len(d.Cover) != n && len(d.Cover) != 0 {
		return tree{}, fmt.Errorf("sum_hessian has %d entries, left_children %d", len(d.Cover), n)
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
		if to.cover = float32(math.NaN()); len(d.Cover) > 0 {
			to.cover = d.Cover[at]
		}
		if t.depth = level[i]; t.depth > maxTreeDepth {
			return tree{}, errTooDeep
		}
		if d.Left[at] == -1 {
			if v := float64(to.value); math.IsNaN(v) || math.IsInf(v, 0) {
				return tree{}, fmt.Errorf("node %d: leaf value %v", at, v)
			}
			t.nodes[i] = node{value: to.value, cover: to.cover}
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
