package xgboost

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func load(t testing.TB) *Library {
	t.Helper()
	path := os.Getenv("MLOPS_XGBOOST")
	if path == "" {
		t.Skip("NOT TESTED: MLOPS_XGBOOST, the path of libxgboost.so, is not set")
	}
	lib, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return lib
}

// table draws rows of three features, a number, another with gaps and a
// category of 12 codes, with labels that depend on them and on chance.
func table(t testing.TB, lib *Library, seed uint64, rows int) *Matrix {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 0))
	var data, labels []float32
	for range rows {
		a, b, c := rng.NormFloat64(), rng.NormFloat64(), float64(rng.IntN(12))
		p := 1 / (1 + math.Exp(-(a - b + 2*math.Sin(c*5))))
		label := float32(0)
		if rng.Float64() < p {
			label = 1
		}
		if rng.IntN(10) == 0 {
			b = math.NaN()
		}
		data = append(data, float32(a), float32(b), float32(c))
		labels = append(labels, label)
	}
	m, err := lib.NewMatrix(data, rows, 3, []string{"a", "b", "c"}, []bool{false, false, true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := m.SetLabels(labels); err != nil {
		t.Fatal(err)
	}
	return m
}

var params = [][2]string{
	{"objective", "binary:logistic"}, {"tree_method", "hist"}, {"max_depth", "5"},
	{"eta", "0.5"}, {"nthread", "2"}, {"seed", "3"},
}

func train(t testing.TB, lib *Library, c Config, rows int) (*Booster, Result) {
	t.Helper()
	b, r, err := lib.Train(context.Background(), c, table(t, lib, 1, rows), table(t, lib, 2, rows))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b, r
}

func TestTrainStopsEarly(t *testing.T) {
	lib := load(t)
	var told []float64
	c := Config{Params: params, Rounds: 200, EarlyStopping: 5, Progress: func(round int, auc float64) {
		if round != len(told) {
			t.Errorf("progress of round %d, want %d", round, len(told))
		}
		told = append(told, auc)
	}}
	b, r := train(t, lib, c, 500)
	if diff := cmp.Diff(r.Rounds, told); diff != "" {
		t.Errorf("progress and result differ (-result +progress):\n%s", diff)
	}
	if len(r.Rounds) != r.BestRound+1+5 {
		t.Errorf("%d rounds, best is %d, want a stop 5 after the best", len(r.Rounds), r.BestRound)
	}
	for i, auc := range r.Rounds {
		if i < r.BestRound && auc >= r.Best || auc > r.Best {
			t.Errorf("AUC of round %d is %v, of the best, %d, %v", i, auc, r.BestRound, r.Best)
		}
	}
	if n, err := b.Rounds(); err != nil || n != r.BestRound+1 {
		t.Errorf("the model has %d rounds (%v), want %d", n, err, r.BestRound+1)
	}
	metrics, err := b.eval(0, table(t, lib, 2, 500))
	if err != nil {
		t.Fatal(err)
	}
	// A loaded or cut model keeps the configured metric.
	if metrics["auc"] != r.Best {
		t.Errorf("the cut model's AUC is %v, want %v", metrics["auc"], r.Best)
	}
	if v, ok, err := b.attr("best_iteration"); err != nil || !ok || v == "" {
		t.Errorf("attribute best_iteration is %q, %v, %v", v, ok, err)
	}
	if _, ok, err := b.attr("no such"); err != nil || ok {
		t.Errorf("an attribute never set: %v, %v", ok, err)
	}
}

func TestTrainWithoutEarlyStoppingKeepsAllRounds(t *testing.T) {
	b, r := train(t, load(t), Config{Params: params, Rounds: 30}, 500)
	if n, err := b.Rounds(); err != nil || n != 30 || len(r.Rounds) != 30 {
		t.Errorf("the model has %d rounds and %d AUCs (%v), want 30", n, len(r.Rounds), err)
	}
}

func TestTrainIsCancelledBetweenRounds(t *testing.T) {
	lib := load(t)
	ctx, cancel := context.WithCancel(context.Background())
	c := Config{Params: params, Rounds: 100, Progress: func(round int, _ float64) {
		if round == 3 {
			cancel()
		}
	}}
	m := table(t, lib, 1, 100)
	b, _, err := lib.Train(ctx, c, m, m)
	if b != nil || !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "before round 4") {
		t.Errorf("got %v, %v, want no model and context.Canceled before round 4", b, err)
	}
}

func TestSavedModelPredictsTheSame(t *testing.T) {
	lib := load(t)
	b, _ := train(t, lib, Config{Params: params, Rounds: 10}, 500)
	m := table(t, lib, 3, 100)
	want, err := b.Predict(m)
	if err != nil {
		t.Fatal(err)
	}
	margins, err := b.predictMargin(m)
	if err != nil {
		t.Fatal(err)
	}
	for i := range want {
		if p := 1 / (1 + math.Exp(-float64(margins[i]))); math.Abs(p-float64(want[i])) > 1e-6 {
			t.Fatalf("row %d: probability %v, margin %v", i, want[i], margins[i])
		}
	}
	for name, save := range map[string]func() ([]byte, error){"ubj": b.SaveUBJ, "json": b.saveJSON} {
		model, err := save()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(model, []byte("feature_names")) {
			t.Errorf("%s: no feature names in it", name)
		}
		loaded, err := lib.loadModel(model)
		if err != nil {
			t.Fatal(err)
		}
		got, err := loaded.Predict(m)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: predictions differ (-want +got):\n%s", name, diff)
		}
		if err := loaded.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestBadInput(t *testing.T) {
	lib := load(t)
	nan := float32(math.NaN())
	m := table(t, lib, 1, 50)
	one, err := lib.NewMatrix([]float32{1, 2, 3}, 3, 1, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer one.Close()
	narrow, err := lib.NewMatrix([]float32{1, 2, 3}, 3, 1, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer narrow.Close()
	if err := narrow.SetLabels([]float32{0, 1, 1}); err != nil {
		t.Fatal(err)
	}
	b, _ := train(t, lib, Config{Params: params, Rounds: 2}, 50)
	closed, err := lib.newBooster(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(closed.Close(), closed.Close()); err != nil {
		t.Errorf("closing twice: %v", err)
	}
	matrix := func(data []float32, rows, cols int, names []string, categorical []bool) func() error {
		return func() error {
			_, err := lib.NewMatrix(data, rows, cols, names, categorical)
			return err
		}
	}
	fit := func(c Config, train, validation *Matrix) func() error {
		return func() error {
			_, _, err := lib.Train(context.Background(), c, train, validation)
			return err
		}
	}
	for _, test := range []struct {
		because string
		do      func() error
		want    string
	}{
		{"a table needs rows", matrix(nil, 0, 3, nil, nil), "0 rows by 3 columns"},
		{"a table needs columns", matrix(nil, 3, 0, nil, nil), "3 rows by 0 columns"},
		{"the data must fill the table", matrix(make([]float32, 5), 2, 3, nil, nil), "5 values"},
		{"each column has one name", matrix(make([]float32, 6), 2, 3, []string{"a"}, nil), "1 names for 3 columns"},
		{"names differ", matrix(make([]float32, 2), 1, 2, []string{"a", "a"}, nil), `duplicate feature name "a"`},
		{"Python refuses such a name", matrix(make([]float32, 1), 1, 1, []string{"a[0]"}, nil), `"a[0]"`},
		{"each column has one kind", matrix(make([]float32, 6), 2, 3, nil, []bool{true}), "1 kinds for 3 columns"},
		{"XGBoost takes no infinity", matrix([]float32{float32(math.Inf(1)), nan}, 2, 1, nil, nil), "inf"},
		{"each row has one label", func() error { return one.SetLabels([]float32{1}) }, "1 labels for 3 rows"},
		{"rounds must be positive", fit(Config{Params: params}, m, m), "0 rounds"},
		{"other metrics can't stop it", fit(Config{Params: [][2]string{{"eval_metric", "logloss"}}, Rounds: 1}, m, m), "eval_metric is logloss"},
		{"a wrong value is XGBoost's error", fit(Config{Params: [][2]string{{"max_depth", "deep"}}, Rounds: 1}, m, m), "max_depth"},
		{"labels are needed", fit(Config{Params: params, Rounds: 1}, one, one), "boosting round 0: XGBoost"},
		{"both tables need the same columns", fit(Config{Params: params, Rounds: 1}, narrow, m), "Number of columns does not match"},
		{"cut past the end", func() error { _, err := b.slice(0, 3); return err }, "it has 2"},
		{"cut to nothing", func() error { _, err := b.slice(1, 1); return err }, "it has 2"},
		{"a model cut short", func() error { _, err := lib.loadModel([]byte(`{"learner":`)); return err }, "loading a model"},
		{"a closed booster", func() error { _, err := closed.Predict(m); return err }, "predicting: XGBoost"},
	} {
		err := test.do()
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got error %v, want one with %q", test.because, err, test.want)
		} else if strings.Contains(err.Error(), "Stack trace") {
			t.Errorf("%s: the error has a stack trace: %v", test.because, err)
		}
	}
}

func TestValidationOfOneClassIsAnError(t *testing.T) {
	lib := load(t)
	m := table(t, lib, 1, 50)
	v, err := lib.NewMatrix(make([]float32, 6), 2, 3, []string{"a", "b", "c"}, []bool{false, false, true})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if err := v.SetLabels([]float32{1, 1}); err != nil {
		t.Fatal(err)
	}
	_, _, err = lib.Train(context.Background(), Config{Params: params, Rounds: 3}, m, v)
	if err == nil || !strings.Contains(err.Error(), "both classes") {
		t.Errorf("got error %v, want one that asks for both classes", err)
	}
}

// TestSeveralAtOnce trains on several goroutines, one of which fails: each gets
// its own model or error.
func TestSeveralAtOnce(t *testing.T) {
	lib := load(t)
	m := table(t, lib, 1, 200)
	want := ""
	var group sync.WaitGroup
	results := make([]string, 6)
	for i := range results {
		group.Go(func() {
			p := params
			if i == 3 {
				p = [][2]string{{"max_depth", "deep"}}
			}
			b, r, err := lib.Train(context.Background(), Config{Params: p, Rounds: 10}, m, m)
			results[i] = fmt.Sprint(r.Rounds)
			if i == 3 && (err == nil || !strings.Contains(err.Error(), "max_depth")) || i != 3 && err != nil {
				t.Errorf("training %d: got error %v", i, err)
			}
			b.Close()
		})
	}
	group.Wait()
	for i, r := range results {
		if i == 0 {
			want = r
		} else if i != 3 && r != want {
			t.Errorf("training %d: AUC %s, want %s", i, r, want)
		}
	}
}

func TestLoadOfWrongFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "libxgboost.so")
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("got error %v, want one that names %s", err, path)
	}
	if err := os.WriteFile(path, []byte("not a library"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("got error %v, want one that names %s", err, path)
	}
}

// attr returns a text stored with the model, and whether it is there.
func (b *Booster) attr(key string) (value string, ok bool, err error) {
	err = b.lib.call("reading attribute "+key, func() int32 {
		var out *byte
		var found int32
		code := b.lib.c.boosterAttr(b.handle, key, &out, &found)
		if code == 0 && found != 0 {
			value, ok = goString(out), true
		}
		return code
	})
	return value, ok, err
}
