package tree

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// LightGBM writes a model as text: lines "key=value" of the whole model, then those of
// each tree behind "Tree=i", then its parameters, and behind those what its Python
// package knows of the data frame's categories. There is no description of the format
// but its source (src/boosting/gbdt_model_text.cpp and src/io/tree.cpp of LightGBM 4.7).
//
// Its splits compare float64 values. Here a number becomes the count of the feature's
// thresholds that are below it (see Model.Rank), which decides all of them alike, and
// which a float32 holds exactly. Its categories go left if they are in the set, where
// XGBoost's go right, so the children of such a split change places.

// lightGBMBegin is how the text begins.
const lightGBMBegin = "tree\nversion="

// lightGBM is what is read of the text.
type lightGBM struct {
	head       map[string]string
	trees      []map[string]string
	codes      []int   // features that are categories, by the parameters
	categories [][]any // of the data frame's categories, in the order of its columns
}

// Bits and values of decision_type.
const (
	lightCategorical = 1
	lightDefaultLeft = 2
	lightMissing     = 2 // how far to shift for one of the next three
	missingNone      = 0 // NaN is 0
	missingZero      = 1 // 0 is missing too
	missingNaN       = 2
)

// nearZero is LightGBM's kZeroThreshold: values up to it are 0.
const nearZero = float64(float32(1e-35))

// lightLinks are LightGBM's objectives.
var lightLinks = map[string]link{
	"binary":        logistic,
	"cross_entropy": logistic,
	"multiclass":    softmax,
	"multiclassova": oneVersusRest,
	"regression":    identity,
	"regression_l1": identity,
	"huber":         identity,
	"fair":          identity,
	"quantile":      identity,
	"mape":          identity,
	"poisson":       exponential,
	"gamma":         exponential,
	"tweedie":       exponential,
}

// parseLightGBM reads a model of LightGBM's text format, its first iterations if that
// is not 0.
func parseLightGBM(text string, iterations int) (*Model, error) {
	d, err := readLightGBM(text)
	if err == nil {
		var m *Model
		if m, err = d.model(iterations); err == nil {
			return m, nil
		}
	}
	return nil, fmt.Errorf("reading LightGBM model: %w", err)
}

// readLightGBM splits the text.
func readLightGBM(text string) (*lightGBM, error) {
	d := &lightGBM{head: map[string]string{}}
	to, ended := d.head, false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		key, value, _ := strings.Cut(line, "=")
		switch {
		case ended:
			if err := d.after(line); err != nil {
				return nil, err
			}
		case line == "end of trees":
			ended = true
		case key == "Tree":
			if value != strconv.Itoa(len(d.trees)) {
				return nil, fmt.Errorf("tree %s comes after %d trees", value, len(d.trees))
			}
			to = map[string]string{}
			d.trees = append(d.trees, to)
		case line != "":
			if _, twice := to[key]; twice {
				return nil, fmt.Errorf("%s stands there twice", key)
			}
			to[key] = value
		}
	}
	if !ended {
		return nil, errors.New("the text ends before its trees do")
	}
	return d, nil
}

// after reads a line behind the trees.
func (d *lightGBM) after(line string) error {
	if list, ok := strings.CutPrefix(line, "[categorical_feature: "); ok {
		for _, text := range strings.FieldsFunc(strings.TrimSuffix(list, "]"), func(r rune) bool { return r == ',' }) {
			if i, err := strconv.Atoi(text); err == nil { // else it is a name of a column of a file
				d.codes = append(d.codes, i)
			}
		}
		slices.Sort(d.codes)
		d.codes = slices.Compact(d.codes)
	}
	if list, ok := strings.CutPrefix(line, "pandas_categorical:"); ok {
		decoder := json.NewDecoder(strings.NewReader(list))
		decoder.UseNumber()
		if err := decoder.Decode(&d.categories); err != nil {
			return fmt.Errorf("pandas_categorical: %w", err)
		}
	}
	return nil
}

func (d *lightGBM) model(iterations int) (*Model, error) {
	if v := d.head["version"]; v != "v2" && v != "v3" && v != "v4" {
		return nil, fmt.Errorf("version is %q, want v2, v3 or v4", v)
	}
	objective, known := d.head["objective"]
	if !known {
		return nil, errors.New("it has no objective (one of your own?), so what its scores mean is not known")
	}
	words := strings.Fields(objective)
	name := ""
	if len(words) > 0 {
		name = words[0]
	}
	l, known := lightLinks[name]
	if !known {
		return nil, fmt.Errorf("objective %q is not supported, only %s", objective, sortedKeys(lightLinks))
	}
	double := &doubles{sigmoid: 1, average: 1}
	for _, word := range words[1:] {
		key, value, _ := strings.Cut(word, ":")
		switch x, err := strconv.ParseFloat(value, 64); {
		case word == "sqrt":
			l = squareRoot
		case key == "sigmoid" && err == nil && x > 0:
			double.sigmoid = x
		case key != "num_class":
			return nil, fmt.Errorf("objective %q: %s is not known", objective, word)
		}
	}
	number := func(name string, most int) (int, error) {
		n, err := strconv.Atoi(d.head[name])
		if err != nil || n < 0 || n > most {
			return 0, fmt.Errorf("%s is %q, want a number up to %d", name, d.head[name], most)
		}
		return n, nil
	}
	outputs, err := number("num_tree_per_iteration", maxOutputs)
	if err != nil {
		return nil, err
	}
	last, err := number("max_feature_idx", 1<<24)
	if err != nil {
		return nil, err
	}
	if several := l == softmax || l == oneVersusRest; outputs == 0 || several != (outputs > 1) {
		return nil, fmt.Errorf("it has %d trees per iteration, which %s does not", outputs, name)
	}
	names := strings.Split(d.head["feature_names"], " ")
	features := last + 1
	if len(names) != features {
		return nil, fmt.Errorf("it has %d feature names for %d features", len(names), features)
	}
	if len(d.trees)%outputs != 0 {
		return nil, fmt.Errorf("it has %d trees, %d per iteration", len(d.trees), outputs)
	}
	if n := iterations * outputs; n > 0 && n < len(d.trees) {
		d.trees = d.trees[:n]
	}
	if _, averaged := d.head["average_output"]; averaged && len(d.trees) > 0 {
		double.average = float64(len(d.trees) / outputs)
	}
	read := &lightReader{features: features, ranks: make([][]float64, features), missing: make([]int8, features), scale: double.sigmoid / double.average}
	if l != logistic && l != oneVersusRest {
		read.scale = 1 / double.average
	}
	if err := read.thresholds(d.trees); err != nil {
		return nil, err
	}
	var trees []tree
	for i, fields := range d.trees {
		t, err := read.tree(fields)
		if err != nil {
			return nil, fmt.Errorf("tree %d: %w", i, err)
		}
		t.output = int32(i % outputs)
		trees = append(trees, t)
	}
	m := &Model{features: features, names: names, link: l, bases: make([]float32, outputs), trees: trees, ranks: read.ranks, missing: read.missing}
	if m.categories, err = d.levels(read); err != nil {
		return nil, err
	}
	for f := range m.missing {
		if read.coded(f) {
			m.missing[f] = codedFeature
		}
	}
	double.layOut(m)
	return m, nil
}

// levels returns the texts of the features' categories, nil if there are none.
func (d *lightGBM) levels(read *lightReader) ([][]string, error) {
	if len(d.categories) == 0 {
		return nil, nil
	}
	all := make([][]string, read.features)
	if len(d.codes) != len(d.categories) {
		// Ordered categories are numbers to LightGBM: which of the columns they are in is
		// known to whoever knows the columns.
		return nil, fmt.Errorf("it has %d columns with categories, of which %d are categories to LightGBM: which ones, it doesn't say; make ordered categories numbers before training", len(d.categories), len(d.codes))
	}
	for k, f := range d.codes {
		if f < 0 || f >= read.features {
			return nil, fmt.Errorf("feature %d of %d is a category", f, read.features)
		}
		all[f] = make([]string, 0, len(d.categories[k]))
		for _, c := range d.categories[k] {
			all[f] = append(all[f], fmt.Sprint(c))
		}
	}
	return all, nil
}

// lightReader reads trees.
type lightReader struct {
	features int
	ranks    [][]float64 // by feature, the thresholds of its numeric splits, ascending
	missing  []int8      // by feature, what is missing at its numeric splits; see Model
	category []bool      // by feature, whether a split has a set of it
	scale    float64     // of leaves, in contributions
}

// coded reports whether a feature's values are codes of categories.
func (r *lightReader) coded(feature int) bool { return r.category[feature] }

// thresholds collects those of each feature.
func (r *lightReader) thresholds(trees []map[string]string) error {
	r.category = make([]bool, r.features)
	const unseen = -1
	for f := range r.missing {
		r.missing[f] = unseen
	}
	for i, fields := range trees {
		s, err := r.splits(fields)
		if err != nil {
			return fmt.Errorf("tree %d: %w", i, err)
		}
		for k, f := range s.feature {
			if s.decision[k]&lightCategorical != 0 {
				r.category[f] = true
				continue
			}
			r.ranks[f] = append(r.ranks[f], s.threshold[k])
			zero := int8(bit(s.decision[k]>>lightMissing&3 == missingZero))
			if r.missing[f] == unseen {
				r.missing[f] = zero
			}
			if r.missing[f] != zero {
				return fmt.Errorf("tree %d: zero is missing at some splits of feature %d and a number at others, which is not supported", i, f)
			}
		}
	}
	for f := range r.ranks {
		slices.Sort(r.ranks[f])
		r.ranks[f] = slices.Compact(r.ranks[f])
		r.missing[f] = max(0, r.missing[f])
		if r.category[f] && len(r.ranks[f]) > 0 {
			return fmt.Errorf("feature %d is a number at some splits and a category at others, which is not supported", f)
		}
	}
	return nil
}

// lightSplits are the splits of a tree, and its leaves.
type lightSplits struct {
	feature, decision, left, right []int
	threshold, leaf, count, inner  []float64
	begin                          []int    // of each set in words
	used                           []bool   // by set: a split has it
	words                          []uint32 // of bits
}

// splits reads the arrays of a tree and checks their lengths.
func (r *lightReader) splits(fields map[string]string) (*lightSplits, error) {
	leaves, err := strconv.Atoi(fields["num_leaves"])
	if err != nil || leaves < 1 {
		return nil, fmt.Errorf("num_leaves is %q", fields["num_leaves"])
	}
	if linear := fields["is_linear"]; linear != "" && linear != "0" {
		return nil, errors.New("its leaves are linear models (linear_tree), which are not supported")
	}
	s := &lightSplits{}
	if err := decimals(fields, "leaf_value", leaves, &s.leaf); err != nil {
		return nil, err
	}
	if leaves == 1 {
		return s, nil
	}
	n := leaves - 1
	for _, a := range []struct {
		name string
		to   *[]int
	}{{"split_feature", &s.feature}, {"decision_type", &s.decision}, {"left_child", &s.left}, {"right_child", &s.right}} {
		if err := integers(fields, a.name, n, a.to); err != nil {
			return nil, err
		}
	}
	if err := decimals(fields, "threshold", n, &s.threshold); err != nil {
		return nil, err
	}
	if fields["leaf_count"] != "" && fields["internal_count"] != "" {
		if err := errors.Join(decimals(fields, "leaf_count", leaves, &s.count), decimals(fields, "internal_count", n, &s.inner)); err != nil {
			return nil, err
		}
	}
	if sets := fields["num_cat"]; sets != "" && sets != "0" {
		k, err := strconv.Atoi(sets)
		if err != nil || k < 0 || k > n {
			return nil, fmt.Errorf("num_cat is %q, want up to %d", sets, n)
		}
		if err := integers(fields, "cat_boundaries", k+1, &s.begin); err != nil {
			return nil, err
		}
		for _, text := range strings.Fields(fields["cat_threshold"]) {
			w, err := strconv.ParseUint(text, 10, 32)
			if err != nil {
				return nil, fmt.Errorf("cat_threshold has %q", text)
			}
			s.words = append(s.words, uint32(w))
		}
		s.used = make([]bool, k)
		if s.begin[0] != 0 || !slices.IsSorted(s.begin) || s.begin[k] != len(s.words) {
			return nil, fmt.Errorf("cat_boundaries from %d to %d are not those of %d words", s.begin[0], s.begin[k], len(s.words))
		}
	}
	for i, f := range s.feature {
		if f < 0 || f >= r.features {
			return nil, fmt.Errorf("node %d: splits on feature %d of %d", i, f, r.features)
		}
		if s.decision[i] < 0 || s.decision[i]>>lightMissing > missingNaN {
			return nil, fmt.Errorf("node %d: decision_type %d", i, s.decision[i])
		}
	}
	return s, nil
}

// tree reads a tree.
func (r *lightReader) tree(fields map[string]string) (tree, error) {
	s, err := r.splits(fields)
	if err != nil {
		return tree{}, err
	}
	n := len(s.feature)
	t := tree{nodes: make([]node, 1, 2*n+1)}
	at, level := make([]int, 1, 2*n+1), make([]int, 1, 2*n+1) // at: the split, or the complement of the leaf
	if n == 0 {
		at[0] = -1
	}
	reached := make([]bool, n)
	for i := 0; i < len(t.nodes); i++ {
		if t.depth = max(t.depth, level[i]); t.depth > maxTreeDepth {
			return tree{}, errTooDeep
		}
		cover := math.NaN()
		if at[i] < 0 {
			leaf := ^at[i]
			if leaf >= len(s.leaf) {
				return tree{}, fmt.Errorf("leaf %d of %d", leaf, len(s.leaf))
			}
			v := s.leaf[leaf]
			if math.IsNaN(v) || math.IsInf(v, 0) || math.Abs(v*r.scale) > math.MaxFloat32 {
				return tree{}, fmt.Errorf("leaf %d: value %v", leaf, v)
			}
			if s.count != nil {
				cover = s.count[leaf]
			} else if n == 0 {
				cover = 0
			}
			t.nodes[i] = node{value: float32(v * r.scale), leaf: v, cover: float32(cover)}
			continue
		}
		k := at[i]
		if k >= n || reached[k] {
			return tree{}, fmt.Errorf("node %d of %d is missing or has two parents", k, n)
		}
		reached[k] = true
		if s.inner != nil {
			cover = s.inner[k]
		}
		to := node{feature: int32(s.feature[k]), left: int32(len(t.nodes)), cover: float32(cover)}
		children := [2]int{s.left[k], s.right[k]}
		if s.decision[k]&lightCategorical != 0 {
			to.categorical, to.defaultLeft = true, true
			children[0], children[1] = children[1], children[0]
			if to.categories, err = s.set(s.threshold[k]); err != nil {
				return tree{}, fmt.Errorf("node %d: %w", k, err)
			}
		} else {
			if math.IsNaN(s.threshold[k]) {
				return tree{}, fmt.Errorf("node %d: splits at NaN", k)
			}
			rank, _ := slices.BinarySearch(r.ranks[to.feature], s.threshold[k])
			to.value = float32(rank + 1)
			to.defaultLeft = s.decision[k]&lightDefaultLeft != 0
			if s.decision[k]>>lightMissing == missingNone {
				to.defaultLeft = 0 <= s.threshold[k]
			}
		}
		t.nodes[i] = to
		for _, child := range children {
			t.nodes, at, level = append(t.nodes, node{}), append(at, child), append(level, level[i]+1)
		}
		if len(t.nodes) > 2*n+1 {
			return tree{}, fmt.Errorf("it has more than %d nodes", 2*n+1)
		}
	}
	return t, nil
}

// set returns the codes of a categorical split, ascending.
func (s *lightSplits) set(threshold float64) ([]int32, error) {
	k := int(threshold)
	if !(threshold >= 0) || float64(k) != threshold || k+1 >= len(s.begin) {
		return nil, fmt.Errorf("set %v of %d", threshold, max(0, len(s.begin)-1))
	}
	if s.used[k] { // LightGBM gives each split a set; if they could share one, a small file could cause a lot of work
		return nil, fmt.Errorf("set %d belongs to two splits", k)
	}
	s.used[k] = true
	words := s.words[s.begin[k]:s.begin[k+1]]
	if len(words) > maxCategory/32 {
		return nil, fmt.Errorf("it has codes of more than %d", maxCategory)
	}
	codes := []int32{}
	for w, word := range words {
		for b := range 32 {
			if word>>b&1 == 1 {
				codes = append(codes, int32(32*w+b))
			}
		}
	}
	return codes, nil
}

// decimals reads an array of n numbers.
func decimals(fields map[string]string, name string, n int, to *[]float64) error {
	words := strings.Fields(fields[name])
	if len(words) != n {
		return fmt.Errorf("%s has %d entries, want %d", name, len(words), n)
	}
	*to = make([]float64, n)
	for i, word := range words {
		x, err := strconv.ParseFloat(word, 64)
		if err != nil && !errors.Is(err, strconv.ErrRange) {
			return fmt.Errorf("%s has %q", name, word)
		}
		(*to)[i] = x
	}
	return nil
}

// integers reads an array of n whole numbers.
func integers(fields map[string]string, name string, n int, to *[]int) error {
	words := strings.Fields(fields[name])
	if len(words) != n {
		return fmt.Errorf("%s has %d entries, want %d", name, len(words), n)
	}
	*to = make([]int, n)
	for i, word := range words {
		x, err := strconv.ParseInt(word, 10, 32)
		if err != nil {
			return fmt.Errorf("%s has %q", name, word)
		}
		(*to)[i] = int(x)
	}
	return nil
}
