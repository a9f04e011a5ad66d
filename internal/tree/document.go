package tree

import (
	"encoding/json"
	"errors"
)

// document is the part of XGBoost's model that is read, as in its JSON form
// (https://xgboost.readthedocs.io/en/stable/tutorials/saving_model.html). Its
// UBJ form has the same names.
type document struct {
	Learner learnerDocument `json:"learner"`
}

type learnerDocument struct {
	FeatureNames []string `json:"feature_names"`
	Attributes   struct {
		BestIteration string `json:"best_iteration"` // from 0; empty: training did not stop early
	} `json:"attributes"`
	Param struct {
		BaseScore  string `json:"base_score"`
		NumFeature string `json:"num_feature"`
		NumClass   string `json:"num_class"`
		NumTarget  string `json:"num_target"`
	} `json:"learner_model_param"`
	Objective struct {
		Name string `json:"name"`
	} `json:"objective"`
	Booster struct {
		Name  string `json:"name"`
		Model struct {
			Param struct {
				NumTrees         string `json:"num_trees"`
				NumParallelTrees string `json:"num_parallel_tree"`
			} `json:"gbtree_model_param"`
			TreeInfo []int32        `json:"tree_info"`
			Begin    []int64        `json:"iteration_indptr"` // the first tree of each iteration, then their number; since XGBoost 2.1
			Trees    []treeDocument `json:"trees"`
			Cats     struct {
				Enc []categoriesDocument `json:"enc"`
			} `json:"cats"`
		} `json:"model"`
	} `json:"gradient_booster"`
}

// treeDocument is one tree: arrays with one entry per node, and the categories of
// all its categorical splits, concatenated.
type treeDocument struct {
	ID    int32 `json:"id"`
	Param struct {
		LeafSize string `json:"size_leaf_vector"`
	} `json:"tree_param"`
	Left        []int32   `json:"left_children"`
	Right       []int32   `json:"right_children"`
	Feature     []int32   `json:"split_indices"`
	Condition   []float32 `json:"split_conditions"` // of a leaf: its value
	DefaultLeft []int32   `json:"default_left"`
	SplitType   []int32   `json:"split_type"`  // 1: categorical
	Cover       []float32 `json:"sum_hessian"` // the training rows in the node, by weight

	CategoryNodes []int32 `json:"categories_nodes"`    // the categorical nodes
	CategoryBegin []int64 `json:"categories_segments"` // where in Categories theirs begin
	CategoryCount []int64 `json:"categories_sizes"`
	Categories    []int32 `json:"categories"`
}

// UnmarshalJSON decodes as usual but rejects a tree without nodes at once, so that
// many of them can't fill the memory.
func (d *treeDocument) UnmarshalJSON(data []byte) error {
	type plain treeDocument
	if err := json.Unmarshal(data, (*plain)(d)); err != nil {
		return err
	}
	return d.checkNodes()
}

func (d *treeDocument) checkNodes() error {
	if len(d.Left) == 0 {
		return errors.New("the tree has no nodes")
	}
	return nil
}

// categoriesDocument are the categories that a feature had in training, in the order of
// their codes: whole numbers, or texts, of which Values are the bytes one after another
// and Offsets where each begins and the last one ends. It is empty for a number.
type categoriesDocument struct {
	Offsets []int64 `json:"offsets"`
	Values  []int64 `json:"values"`
}
