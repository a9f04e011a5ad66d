package tree

import (
	"bytes"
	"encoding/binary"
	"encoding/csv"
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func fixture(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestParseFixture(t *testing.T) {
	records, err := csv.NewReader(bytes.NewReader(fixture(t, "small.csv"))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, form := range []string{"small.ubj", "small.json"} {
		m, err := Parse(fixture(t, form))
		if err != nil {
			t.Fatalf("%s: %v", form, err)
		}
		if m.Features() != 4 || m.Trees() != 8 {
			t.Errorf("%s: %d features and %d trees, want 4 and 8", form, m.Features(), m.Trees())
		}
		if diff := cmp.Diff([]string{"age", "visits", "sex", "ward"}, m.FeatureNames()); diff != "" {
			t.Errorf("%s: feature names differ (-want +got):\n%s", form, diff)
		}
		for i, record := range records {
			var values []float32
			for _, field := range record {
				v, err := strconv.ParseFloat(field, 32)
				if err != nil {
					t.Fatal(err)
				}
				values = append(values, float32(v))
			}
			got, want := m.Score(values[:4]), values[4]
			if math.Abs(float64(got-want)) > 1e-6 {
				t.Errorf("%s: row %d: %v, libxgboost %v", form, i, got, want)
			}
		}
	}
}

// object is part of a JSON document, to be changed by the tests.
type object = map[string]any

func at(o object, path ...string) object {
	for _, p := range path {
		o = o[p].(object)
	}
	return o
}

func TestParseRefuses(t *testing.T) {
	learner := func(key string, value any, path ...string) func(object) {
		return func(o object) { at(at(o, "learner"), path...)[key] = value }
	}
	model := func(key string, value any) func(object) {
		return func(o object) { at(o, "learner", "gradient_booster", "model")[key] = value }
	}
	// Tree 2 of the fixture; entry changes one element of one of its arrays.
	tree := func(key string, value any) func(object) {
		return func(o object) {
			at(o, "learner", "gradient_booster", "model")["trees"].([]any)[2].(object)[key] = value
		}
	}
	entry := func(key string, i int, value any) func(object) {
		return func(o object) {
			at(o, "learner", "gradient_booster", "model")["trees"].([]any)[2].(object)[key].([]any)[i] = value
		}
	}
	for _, test := range []struct {
		because string
		change  func(object)
		want    string
	}{
		{"boosters of other kinds are summed in another way", learner("name", "dart", "gradient_booster"), `booster "dart"`},
		{"linear models have no trees", learner("name", "gblinear", "gradient_booster"), `booster "gblinear"`},
		{"not a model", func(o object) { delete(o, "learner") }, "no gradient_booster"},
		{"other objectives have other links", learner("name", "rank:pairwise", "objective"), `objective "rank:pairwise" is not supported`},
		{"classes without their number", learner("name", "multi:softprob", "objective"), "num_class is 0"},
		{"the number of the best class only", learner("name", "multi:softmax", "objective"), `multi:softmax predicts a class`},
		{"one output has no classes", learner("num_class", "3", "learner_model_param"), "num_class is 3"},
		{"one output only, by targets", learner("num_target", "2", "learner_model_param"), "num_target is 2"},
		{"more targets than a model has", learner("num_target", "1000000", "learner_model_param"), `num_target is "1000000"`},
		{"less than no class", learner("num_class", "-3", "learner_model_param"), `num_class is "-3"`},
		{"the number of features is needed", learner("num_feature", "", "learner_model_param"), "num_feature"},
		{"no negative number of features", learner("num_feature", "-4", "learner_model_param"), "num_feature"},
		{"one name for each feature", learner("feature_names", []any{"a"}), "1 feature names for 4"},
		{"a base for each class", learner("base_score", "[5E-1,5E-1]", "learner_model_param"), "base_score"},
		{"the base is a probability", learner("base_score", "2", "learner_model_param"), "base_score"},
		{"the base is a number", learner("base_score", "NaN", "learner_model_param"), "base_score"},
		{"categories of too few features", model("cats", object{"enc": []any{object{}}}), "cats"},
		{"categories cut short", model("cats", object{"enc": []any{object{"offsets": []any{0, 5}, "values": []any{97}}, object{}, object{}, object{}}}), "cats"},
		{"categories that overlap", model("cats", object{"enc": []any{object{}, object{"offsets": []any{0, 2, 1}, "values": []any{97}}, object{}, object{}}}), "cats"},
		{"a tree is missing", model("gbtree_model_param", object{"num_trees": "9"}), `num_trees is "9"`},
		{"a tree of another class", model("tree_info", []any{0, 0, 1, 0, 0, 0, 0, 0}), "tree 2: it has id 2 and group 1"},
		{"a tree in another place", tree("id", 5), "tree 2: it has id 5"},
		{"vector leaves", tree("tree_param", object{"size_leaf_vector": "3"}), "tree 2: leaves with 3 values"},
		{"no nodes at all", tree("left_children", []any{}), "no nodes"},
		{"arrays of unequal length", tree("right_children", []any{-1}), "tree 2: right_children has 1 entries"},
		{"types for some nodes only", tree("split_type", []any{0}), "tree 2: split_type has 1 entries"},
		{"a child outside", entry("left_children", 0, 1000), "tree 2: node 0: child 1000"},
		{"a negative child", entry("right_children", 0, -7), "tree 2: node 0: child -7"},
		{"a split without a right child", entry("right_children", 1, -1), "tree 2: node 1: child -1"},
		{"a cycle to the root", entry("left_children", 1, 0), "tree 2: node 1: child 0"},
		{"a cycle", entry("left_children", 1, 1), "tree 2: node 1: child 1 has two parents"},
		{"two ways to one node", entry("right_children", 1, 2), "has two parents"},
		{"a feature outside", entry("split_indices", 0, 4), "tree 2: node 0: splits on feature 4 of 4"},
		{"a negative feature", entry("split_indices", 0, -1), "tree 2: node 0: splits on feature -1"},
		{"a categorical split without its set", tree("categories_nodes", []any{}), "tree 2: categories_nodes has 0"},
		{"a set outside of the categories", entry("categories_sizes", 0, 1000), "tree 2: node"},
		{"a negative set", entry("categories_sizes", 0, -1), "tree 2: node"},
		{"an empty set", entry("categories_sizes", 0, 0), "tree 2: node"},
		{"overlapping sets", entry("categories_segments", 1, 0), "tree 2: node"},
		{"a set that begins outside", entry("categories_segments", 0, -1), "tree 2: node"},
		{"a negative category", entry("categories", 0, -1), "category -1"},
		{"a category that float32 does not hold", entry("categories", 0, 1<<24), "category 16777216"},
		{"a number past its type", entry("left_children", 0, 1e12), "left_children"},
		{"a text for a number", entry("left_children", 0, "one"), "left_children"},
	} {
		var o object
		if err := json.Unmarshal(fixture(t, "small.json"), &o); err != nil {
			t.Fatal(err)
		}
		test.change(o)
		data, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse(data); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got error %v, want one with %q", test.because, err, test.want)
		}
	}
}

func TestParseTakesOlderBaseScore(t *testing.T) {
	data := fixture(t, "small.json")
	var o object
	if err := json.Unmarshal(data, &o); err != nil {
		t.Fatal(err)
	}
	p := at(o, "learner", "learner_model_param")
	p["base_score"] = strings.Trim(p["base_score"].(string), "[]")
	older, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	a, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	b, err := Parse(older)
	if err != nil {
		t.Fatal(err)
	}
	if a.bases[0] != b.bases[0] || a.bases[0] == 0 {
		t.Errorf("base margin %v of an array, %v of a number", a.bases, b.bases)
	}
}

// TestParseRefusesCut cuts both forms at every byte.
func TestParseRefusesCut(t *testing.T) {
	t.Parallel()
	for _, form := range []string{"small.ubj", "small.json"} {
		data := fixture(t, form)
		for n := range data {
			if _, err := Parse(data[:n]); err == nil {
				t.Errorf("%s: the first %d of %d bytes are taken for a model", form, n, len(data))
			}
		}
		if _, err := Parse(append(bytes.Clone(data), 'x')); err == nil {
			t.Errorf("%s: a byte too many is not seen", form)
		}
	}
}

func TestParseRefusesBadUBJ(t *testing.T) {
	long := func(n int64) string { return string(binary.BigEndian.AppendUint64([]byte{'L'}, uint64(n))) }
	key := func(k string) string { return long(int64(len(k))) + k }
	inTree := func(rest string) string {
		return "{" + key("learner") + "{" + key("gradient_booster") + "{" + key("model") + "{" + key("trees") + "[#" + long(1) + "{" + rest
	}
	for _, test := range []struct{ because, data, want string }{
		{"a key longer than the file", "{" + long(1<<40) + "x", "ends within"},
		{"a key of negative length", "{" + long(-1) + "x", "ends within"},
		{"an array longer than the file", inTree(key("left_children") + "[$l#" + long(1<<60)), "/trees/0/left_children"},
		{"an array of negative length", inTree(key("left_children") + "[$l#" + long(-1)), "/trees/0/left_children"},
		{"a length that overflows", inTree(key("left_children") + "[$l#" + long(1<<62)), "/trees/0/left_children"},
		{"an unknown array of such a length", inTree(key("x") + "[$L#" + long(1<<61)), "/x at byte"},
		{"an unknown array of unknown type", "{" + key("x") + "[$S#" + long(1) + "x", "unknown type"},
		{"a negative length that overflows to nothing", inTree(key("left_children") + "[$l#" + long(-1<<62)), "/trees/0/left_children"},
		{"the same in an unknown array", "{" + key("x") + "[$l#" + long(-1<<62), "/x at byte"},
		{"an array of strings", inTree(key("left_children") + "[$S#" + long(1) + "x"), "want numbers"},
		{"fractions for children", inTree(key("left_children") + "[$d#" + long(1) + "\x3f\x80\x00\x00"), "whole numbers"},
		{"a child past int32", inTree(key("left_children") + "[$L#" + long(1) + long(1 << 40)[1:]), "too large"},
		{"many values announced", "{" + key("x") + "[#" + long(1<<50), "ends within"},
		{"a type that does not exist", "{" + key("x") + "?}", "unknown type"},
		{"nested without end", "{" + key("x") + strings.Repeat("[", 1<<20), "nested"},
		{"trees without nodes", inTree("}"), "no nodes"},
		{"empty file", "", "neither UBJ nor JSON"},
		{"another format", "binf", "neither UBJ nor JSON"},
	} {
		if _, err := Parse([]byte(test.data)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got error %v, want one with %q", test.because, err, test.want)
		}
	}
}

// TestReadUBJ reads arrays that XGBoost does not write today but its reader takes.
func TestReadUBJ(t *testing.T) {
	r := &ubjReader{data: []byte("[i\x05I\x01\x00l\xff\xff\xff\xfe]")}
	if diff := cmp.Diff([]int32{5, 256, -2}, numbers[int32](r)); diff != "" || r.err != nil {
		t.Errorf("untyped numbers differ (-want +got):\n%s%v", diff, r.err)
	}
	r = &ubjReader{data: []byte("[$D#L\x00\x00\x00\x00\x00\x00\x00\x01\x3f\xf8\x00\x00\x00\x00\x00\x00")}
	if diff := cmp.Diff([]float32{1.5}, numbers[float32](r)); diff != "" || r.err != nil {
		t.Errorf("doubles differ (-want +got):\n%s%v", diff, r.err)
	}
}

// FuzzParse checks that no input makes Parse panic or take long or much memory, and that
// what it accepts scores the same in every way.
func FuzzParse(f *testing.F) {
	f.Add(fixture(f, "small.ubj"))
	f.Add(fixture(f, "small.json"))
	f.Add([]byte("{L"))
	for _, name := range []string{"classes-1.7.json", "classes-3.0.ubj", "count-2.1.ubj"} {
		f.Add(fixture(f, filepath.Join("old", name)))
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for _, depth := range []int{0, 2, 7} { // small ones, which are quicker to change
		f.Add(writeJSON(f, []int{0, 3}, 0.5, construct(rng, []int{0, 3}, 2, depth, false)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		m, err := Parse(data)
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; took > 64<<20+uint64(1000*len(data)) {
			t.Errorf("reading %d bytes took %d bytes of memory", len(data), took)
		}
		if err != nil || m.Features() > 1000 {
			return
		}
		const n = slabRows + minSlabRows + 5
		outputs := m.Outputs()
		rows, out := make([]float32, n*m.Features()), make([]float32, n*outputs)
		for i := range rows {
			rows[i] = []float32{0, float32(math.NaN()), 3, -1, 60}[(i/max(m.Features(), 1)+i)%5]
		}
		m.ScoreBatch(rows, out)
		one, slow := make([]float32, outputs), make([]float32, outputs)
		for i := range n {
			row := rows[i*m.Features() : (i+1)*m.Features()]
			m.ScoreBatch(row, one)
			for k := range slow {
				slow[k] = m.walk(row, k)
			}
			m.link.apply(slow, outputs)
			for k, p := range out[i*outputs : (i+1)*outputs] {
				if one[k] != p || slow[k] != p {
					if one[k] == one[k] || slow[k] == slow[k] || p == p { // leaves may add up to NaN
						t.Errorf("row %v: alone %v, in a batch %v, node by node %v", row, one, p, slow)
					}
				}
			}
		}
	})
}
