package promote_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mlops/internal/dataset"
	"mlops/internal/mlflow"
	"mlops/internal/model"
	"mlops/internal/promote"
	"mlops/internal/registry"
	"mlops/internal/train"
	"mlops/internal/xgboost"
)

// world is a real MLflow, the real libxgboost, and the penguins as rows.
type world struct {
	t      *testing.T
	client *mlflow.Client
	lib    *xgboost.Library
	text   string // the penguins' spec with a model name of the test's own
	lines  [][]string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	if os.Getenv("MLOPS_TEST_MLFLOW") == "" || os.Getenv("MLOPS_XGBOOST") == "" || os.Getenv("MLOPS_VENV") == "" {
		t.Skip("SKIPPED, NOT PASSED: MLOPS_TEST_MLFLOW, MLOPS_XGBOOST and MLOPS_VENV are not all set; make test sets them")
	}
	w, err := connectWorld()
	if err != nil {
		t.Fatal(err)
	}
	w.t = t
	name := fmt.Sprintf("test-%s-%d", strings.ToLower(t.Name()), time.Now().UnixNano())
	w.text = strings.Replace(w.text, "model: penguin-sex", "model: "+name, 1)
	return w
}

// connectWorld is newWorld without a test.
func connectWorld() (*world, error) {
	w := &world{}
	var err error
	if w.client, err = mlflow.New(os.Getenv("MLOPS_TEST_MLFLOW"), mlflow.Options{}); err != nil {
		return nil, err
	}
	if w.lib, err = xgboost.Load(os.Getenv("MLOPS_XGBOOST")); err != nil {
		return nil, err
	}
	text, err := os.ReadFile("../../workflows/datasets/penguins.yaml")
	if err != nil {
		return nil, err
	}
	w.text = string(text)
	files, err := filepath.Glob(filepath.Join(os.Getenv("MLOPS_VENV"), "lib", "python3*", "site-packages", "palmerpenguins", "data", "penguins.csv"))
	if err != nil || len(files) != 1 {
		return nil, fmt.Errorf("penguins.csv: %v, %v", files, err)
	}
	table, err := os.ReadFile(files[0])
	if err != nil {
		return nil, err
	}
	w.lines, err = csv.NewReader(bytes.NewReader(table)).ReadAll()
	return w, err
}

// spec returns the penguins' spec with some words replaced.
func (w *world) spec(oldNew ...string) *dataset.Spec {
	w.t.Helper()
	s, err := dataset.Parse([]byte(strings.NewReplacer(oldNew...).Replace(w.text)))
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// rows gives the penguins as a spec reads them, split by a hash of the line.
func (w *world) rows(s *dataset.Spec) dataset.Rows {
	return func(_ context.Context, row func(string, [][]byte) error) error {
		for i, line := range w.lines[1:] {
			fields := make([][]byte, len(s.Columns))
			for j, name := range w.lines[0] {
				if c := s.Column(name); c >= 0 {
					v, err := s.Value(c, []byte(line[j]))
					if err != nil {
						return err
					}
					fields[c] = v
				}
			}
			h := fnv.New32a()
			fmt.Fprint(h, "penguin ", i)
			split := []string{dataset.Train, dataset.Train, dataset.Validation, dataset.Test}[h.Sum32()>>8%4]
			if err := row(split, fields); err != nil {
				return err
			}
		}
		return nil
	}
}

const digest = "digest-of-the-penguins"

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// config is that of a training without the plots, which the race detector makes slow;
// TestRunLogsAllOfAVersion draws them.
func (w *world) config(s *dataset.Spec, candidate string) train.Config {
	return train.Config{
		Spec: s, Candidate: candidate, DataDigest: digest, Rows: w.rows(s),
		Library: w.lib, MLflow: w.client, Threads: 1, NoPlots: true, Log: quiet(),
	}
}

func (w *world) train(s *dataset.Spec, candidate string) int {
	w.t.Helper()
	return w.run(w.config(s, candidate))
}

func (w *world) run(c train.Config) int {
	w.t.Helper()
	v, err := train.Run(w.t.Context(), c)
	if err != nil {
		w.t.Fatalf("training %s: %v", c.Candidate, err)
	}
	return v
}

func (w *world) trainAll(s *dataset.Spec) []int {
	var versions []int
	for _, c := range s.Candidates {
		versions = append(versions, w.train(s, c.Name))
	}
	return versions
}

func (w *world) promote(s *dataset.Spec) promote.Decision {
	w.t.Helper()
	r, err := promote.Run(w.t.Context(), promote.Config{
		Spec: s, DataDigest: digest, Rows: w.rows(s),
		Registry: registry.New(w.client, s.Model), Log: quiet(),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.consistent(s, r.Version)
	return r
}

// consistent checks that one version is in production and alone has the tag.
func (w *world) consistent(s *dataset.Spec, want int) {
	w.t.Helper()
	v, err := w.client.GetAlias(w.t.Context(), s.Model, registry.Production)
	if err != nil || v.Number != want {
		w.t.Errorf("alias production: version %d, %v, want %d", v.Number, err, want)
	}
	tagged, err := registry.New(w.client, s.Model).Best(w.t.Context())
	if err != nil || len(tagged) != 1 || tagged[0].Number != want {
		w.t.Errorf("versions with the tag %s: %v, %v, want version %d alone", registry.TagBest, tagged, err, want)
	}
}

func (w *world) tag(s *dataset.Spec, version int, name string) string {
	w.t.Helper()
	v, err := w.client.GetVersion(w.t.Context(), s.Model, version)
	if err != nil {
		w.t.Fatal(err)
	}
	return v.Tags[name]
}

// decision checks decision.json of a version, and the tags of its run.
func (w *world) decision(s *dataset.Spec, version int, outcome registry.Outcome, results map[string]string) {
	w.t.Helper()
	v, err := w.client.GetVersion(w.t.Context(), s.Model, version)
	if err != nil {
		w.t.Fatal(err)
	}
	run, err := w.client.GetRun(w.t.Context(), v.RunID)
	if err != nil {
		w.t.Fatal(err)
	}
	root, err := w.client.ArtifactPath(run.ArtifactURI)
	if err != nil {
		w.t.Fatal(err)
	}
	file := filepath.Join(w.t.TempDir(), registry.FileDecision)
	if err := w.client.DownloadArtifact(w.t.Context(), path.Join(root, registry.FileDecision), file, 1<<20); err != nil {
		w.t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		w.t.Fatal(err)
	}
	var r promote.Record
	if err := json.Unmarshal(text, &r); err != nil {
		w.t.Fatalf("%v in %s", err, text)
	}
	got := map[string]string{}
	for _, c := range r.Checks {
		got[c.Name] = c.Result
		if want := c.Result + ": " + c.Found; c.Found == "" || run.Tags["gate."+c.Name] != want {
			w.t.Errorf("version %d: tag gate.%s is %q, want %q", version, c.Name, run.Tags["gate."+c.Name], want)
		}
	}
	if diff := cmp.Diff(results, got); diff != "" {
		w.t.Errorf("version %d: checks (-want +got):\n%s\n%s", version, diff, text)
	}
	if r.Version != version || r.Outcome != string(outcome) || r.Rows == 0 || r.Value == 0 || len(r.Contenders) == 0 || r.Reason != v.Tags[registry.TagPromotion] && outcome == registry.Promoted && v.Tags[registry.TagOutcome] == string(outcome) {
		w.t.Errorf("version %d: %s", version, text)
	}
}

func contains(t *testing.T, what, text string, words ...string) {
	t.Helper()
	for _, word := range words {
		if !strings.Contains(text, word) {
			t.Errorf("%s: %q, want %q in it", what, text, word)
		}
	}
}

// weak makes candidates that learn next to nothing.
var weak = []string{"rounds: 300", "rounds: 1", "max_depth: 2", "max_depth: 1", "max_depth: 4", "max_depth: 1", "max_depth: 6", "max_depth: 1", "subsample: 0.8", "colsample_bytree: 0.2"}

func TestRunLogsAllOfAVersion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.spec()
	withPlots := w.config(s, "medium")
	withPlots.NoPlots = false
	number := w.run(withPlots)
	v, err := w.client.GetVersion(t.Context(), s.Model, number)
	if err != nil {
		t.Fatal(err)
	}
	for tag, want := range map[string]string{registry.TagDataset: "penguins", registry.TagCandidate: "medium", registry.TagTraining: registry.Training(s, digest), registry.TagTrainingKey: registry.Training(s, digest) + "/medium"} {
		if v.Tags[tag] != want {
			t.Errorf("tag %s = %q, want %q", tag, v.Tags[tag], want)
		}
	}
	run, err := w.client.GetRun(t.Context(), v.RunID)
	if err != nil {
		t.Fatal(err)
	}
	if run.Status != mlflow.Finished {
		t.Errorf("status of the run: %s, want %s", run.Status, mlflow.Finished)
	}
	for _, split := range []string{"validation", "test"} {
		for _, m := range s.Metrics {
			if _, ok := run.Metrics[split+"_"+m]; !ok {
				t.Errorf("the run has no metric %s_%s", split, m)
			}
		}
	}
	if auc := run.Metrics["test_auc"]; !(auc > 0.7 && auc <= 1) {
		t.Errorf("test AUC %v: nothing was learnt", auc)
	}
	for param, want := range map[string]string{"data_digest": digest, "max_depth": "4", "objective": "binary:logistic", "rows_unlabeled": "11"} {
		if run.Params[param] != want {
			t.Errorf("parameter %s = %q, want %q", param, run.Params[param], want)
		}
	}
	root, err := w.client.ArtifactPath(run.ArtifactURI)
	if err != nil {
		t.Fatal(err)
	}
	for _, plot := range []string{"roc", "precision_recall", "calibration"} {
		file := filepath.Join(t.TempDir(), "plot")
		err := w.client.DownloadArtifact(t.Context(), path.Join(root, "plots", plot+".png"), file, 1<<20)
		png, _ := os.ReadFile(file)
		if err != nil || !bytes.HasPrefix(png, []byte("\x89PNG")) {
			t.Errorf("plot %s: %d bytes, %v, want a PNG", plot, len(png), err)
		}
	}
	reg := registry.New(w.client, s.Model)
	m, err := reg.Load(t.Context(), registry.Version{Name: s.Model, Number: number, RunID: v.RunID})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(m.Spec.Text(), s.Text()) || m.Serving.Candidate != "medium" || len(m.Serving.Samples) == 0 {
		t.Errorf("the version that was read back is another: %+v", m.Serving)
	}
	if again := w.train(s, "medium"); again != number {
		t.Errorf("trained again: version %d, want %d as before", again, number)
	}
}

func TestRunTakesUpWhatWasCutShort(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.spec()
	ctx := t.Context()
	experiment, err := w.client.EnsureExperiment(ctx, s.Model)
	if err != nil {
		t.Fatal(err)
	}
	left := func(candidate string) mlflow.Run {
		run, err := w.client.CreateRun(ctx, mlflow.NewRun{ExperimentID: experiment.ID, Tags: map[string]string{registry.TagTrainingKey: registry.Training(s, digest) + "/" + candidate}})
		if err != nil {
			t.Fatal(err)
		}
		return run
	}
	cut := left("shallow")
	v, err := w.client.GetVersion(ctx, s.Model, w.train(s, "shallow"))
	if err != nil || v.RunID == cut.ID {
		t.Errorf("version of run %s, %v; want one of a new run, not of %s, which was cut short", v.RunID, err, cut.ID)
	}
	if run, err := w.client.GetRun(ctx, cut.ID); err != nil || run.Status != mlflow.Killed {
		t.Errorf("run that was cut short: %s, %v, want %s", run.Status, err, mlflow.Killed)
	}
	whole := left("deep")
	if err := w.client.UpdateRun(ctx, whole.ID, mlflow.Finished, time.Now()); err != nil {
		t.Fatal(err)
	}
	if v, err = w.client.GetVersion(ctx, s.Model, w.train(s, "deep")); err != nil || v.RunID != whole.ID {
		t.Errorf("version of run %s, %v; want the finished run %s to be registered", v.RunID, err, whole.ID)
	}
}

func TestPromotion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	sliced := []string{"metrics: [auc", "slices: [year, island]\n\nmetrics: [auc"}
	poor, good := w.spec(append(weak, sliced...)...), w.spec(sliced...)
	if _, err := promote.Run(ctx, promote.Config{Spec: poor, DataDigest: digest, Rows: w.rows(poor), Registry: registry.New(w.client, poor.Model), Log: quiet()}); err == nil || !strings.Contains(err.Error(), "train-model") {
		t.Errorf("without any version: error %v, want one that says to train", err)
	}

	w.trainAll(poor)
	first := w.promote(poor)
	if !first.Promoted {
		t.Errorf("the first: %+v, want it promoted", first)
	}
	contains(t, "reason of the first", w.tag(poor, first.Version, registry.TagPromotion), "nothing was in production")
	if again := w.promote(poor); again.Promoted || again.Version != first.Version {
		t.Errorf("the same again: %+v, want version %d to stay", again, first.Version)
	}

	w.trainAll(good)
	second := w.promote(good)
	if !second.Promoted || second.Version == first.Version {
		t.Errorf("a better one: %+v, want it promoted", second)
	}
	if v, err := w.client.GetAlias(ctx, good.Model, registry.Previous); err != nil || v.Number != first.Version {
		t.Errorf("alias previous: version %d, %v, want %d", v.Number, err, first.Version)
	}
	contains(t, "reason of the better one", w.tag(good, second.Version, registry.TagPromotion), "promoted: version", "is better than version", "same")
	contains(t, "reason on the one before", w.tag(good, first.Version, registry.TagPromotion), "replaced by version "+strconv.Itoa(second.Version))
	whole, err := w.client.GetVersion(t.Context(), good.Model, first.Version)
	if err != nil {
		t.Fatal(err)
	}
	contains(t, "description of the one before", whole.Description, "On the test rows: ", "**Decision:** replaced by version "+strconv.Itoa(second.Version))
	if strings.Count(whole.Description, "Decision:") != 1 {
		t.Errorf("more than one decision in %q", whole.Description)
	}
	if run, err := w.client.GetRun(t.Context(), whole.RunID); err != nil || run.Tags[registry.TagRunDescription] != whole.Description {
		t.Errorf("the run's description is %q, %v; the version's %q", run.Tags[registry.TagRunDescription], err, whole.Description)
	}

	w.decision(good, second.Version, registry.Promoted, map[string]string{"chance": "passed", "constant": "passed", "calibration": "passed", "samples": "passed", "better": "passed", "slices": "passed"})
	w.decision(poor, first.Version, registry.Promoted, map[string]string{"chance": "passed", "constant": "passed", "calibration": "passed", "samples": "passed"})

	// A later training whose candidates are no better.
	worse := w.spec(append(weak, "Sex of a penguin", "Another title")...)
	versions := w.trainAll(worse)
	third := w.promote(worse)
	if third.Promoted || third.Version != second.Version {
		t.Errorf("worse ones: %+v, want version %d to stay", third, second.Version)
	}
	contains(t, "what the run says", third.Reason, "not promoted", "no better than version "+strconv.Itoa(second.Version))
	reasons := ""
	for _, v := range versions {
		reasons += w.tag(worse, v, registry.TagPromotion) + "\n"
	}
	contains(t, "reasons of worse ones", reasons, "no better than version "+strconv.Itoa(second.Version))

	// What a promotion that was killed half-way leaves is put right.
	if err := w.client.SetVersionTag(ctx, good.Model, first.Version, registry.TagBest, "true"); err != nil {
		t.Fatal(err)
	}
	if err := w.client.DeleteVersionTag(ctx, good.Model, second.Version, registry.TagBest); err != nil {
		t.Fatal(err)
	}
	if err := w.client.SetAlias(ctx, good.Model, registry.Previous, second.Version); err != nil {
		t.Fatal(err)
	}
	w.promote(good)
	if v, err := w.client.GetAlias(ctx, good.Model, registry.Previous); err != nil || v.Number != first.Version {
		t.Errorf("alias previous after a kill: version %d, %v, want %d", v.Number, err, first.Version)
	}

	// A version in production that can't be read any more is replaced.
	v, err := w.client.GetVersion(ctx, good.Model, second.Version)
	if err != nil {
		t.Fatal(err)
	}
	root, err := w.client.ResolveArtifacts(ctx, v)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.client.UploadArtifact(ctx, path.Join(root, "model.ubj"), strings.NewReader("cut")); err != nil {
		t.Fatal(err)
	}
	fourth := w.promote(worse)
	if !fourth.Promoted || fourth.Version == second.Version {
		t.Errorf("the one in production is broken: %+v, want another promoted", fourth)
	}
	contains(t, "reason", fourth.Reason, "can't be scored", "model.ubj")
	reg := registry.New(w.client, good.Model)
	if _, err := reg.Load(ctx, registry.Version{Name: good.Model, Number: second.Version}); !errors.Is(err, registry.ErrUnusable) {
		t.Errorf("loading the broken version: %v, want ErrUnusable", err)
	}
}

// A champion of an older spec, with fewer columns and features, is scored on
// the same rows by the columns' names.
func TestPromotionAcrossSpecs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	older := w.spec("  - {category: island}\n", "", "  - {name: island, type: category, form: Penguin, values: [Biscoe, Dream, Torgersen]}\n", "")
	w.trainAll(older)
	first := w.promote(older)
	newer := w.spec(weak...)
	w.trainAll(newer)
	if second := w.promote(newer); second.Promoted || second.Version != first.Version {
		t.Errorf("%+v, want version %d of the older spec to stay: it is better", second, first.Version)
	}
}

func TestSamplesAreWhatXGBoostGave(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.spec()
	number := w.train(s, "deep")
	reg := registry.New(w.client, s.Model)
	m, err := reg.Load(t.Context(), registry.Version{Name: s.Model, Number: number})
	if err != nil {
		t.Fatal(err)
	}
	m.Serving.Samples[0].Probability += 2 * model.Tolerance
	if err := m.Verify(); err == nil {
		t.Error("a sample's probability was changed: Verify says nothing")
	}
}
