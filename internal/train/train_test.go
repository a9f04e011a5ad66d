package train

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mlops/internal/dataset"
	"mlops/internal/evaluate"
	"mlops/internal/ingest"
	"mlops/internal/inspect"
	"mlops/internal/mlflow"
	"mlops/internal/model"
	"mlops/internal/registry"
	"mlops/internal/xgboost"
)

func parse(t *testing.T, name string) *dataset.Spec {
	t.Helper()
	spec, err := dataset.Parse([]byte(fmt.Sprintf(`name: things
title: Things
description: Things to test with.
model: %s
task: binary
columns:
  - {name: a, type: integer}
  - {name: kind, type: category}
  - {name: good, type: category}
target:
  column: good
  positive: ["yes"]
  labels: {positive: good, negative: bad}
allow_leak: [a] # good is a range of a
cohort:
  - {column: kind, values: [dead], because: nothing is to be predicted}
split: {salts: [s1], train: 60, validation: 20, test: 20}
features:
  - {number: a}
  - {category: kind}
threshold: {maximize: f1}
metrics: [auc, recall]
candidates:
  - {name: one, rounds: 5, params: {eta: 0.3, max_depth: 2}}
`, name)))
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

// table is n rows in turn in the four quarters train, train, validation, test;
// every tenth is outside the cohort, every eleventh has no target.
func table(n int) dataset.Rows {
	return func(_ context.Context, row func(string, [][]byte) error) error {
		for i := range n {
			f := [][]byte{fmt.Append(nil, i%17), []byte([]string{"x", "y"}[i%2]), []byte([]string{"yes", "no"}[i%17/9])}
			if i%10 == 9 {
				f[1] = []byte("dead")
			} else if i%11 == 10 {
				f[2] = nil
			}
			if err := row([]string{dataset.Train, dataset.Train, dataset.Validation, dataset.Test}[i/2%4], f); err != nil {
				return err
			}
		}
		return nil
	}
}

func TestPrepare(t *testing.T) {
	spec := parse(t, "things")
	d, err := Prepare(t.Context(), spec, table(400))
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for split, p := range d.Parts {
		total += len(p.Y)
		if len(p.X) != 2*len(p.Y) {
			t.Errorf("%s: %d numbers for %d rows of 2", split, len(p.X), len(p.Y))
		}
	}
	if d.Excluded != 40 || d.Unlabeled == 0 || total+d.Excluded+d.Unlabeled != 400 {
		t.Errorf("%d rows, %d excluded, %d unlabeled; want 400 in all and 40 excluded", total, d.Excluded, d.Unlabeled)
	}
	if len(d.samples) != wantSamples {
		t.Errorf("%d samples, want %d", len(d.samples), wantSamples)
	}
	if _, err := Prepare(t.Context(), spec, table(4)); err == nil || !strings.Contains(err.Error(), "no rows in split") {
		t.Errorf("empty splits: got %v", err)
	}
	for _, second := range []int{200, 800} {
		n := 400
		changing := func(ctx context.Context, row func(string, [][]byte) error) error {
			err := table(n)(ctx, row)
			n = second
			return err
		}
		if _, err := Prepare(t.Context(), spec, changing); err == nil || !strings.Contains(err.Error(), "a moment ago") {
			t.Errorf("%d rows in the second pass: got %v", second, err)
		}
	}
}

func config(t *testing.T) Config {
	t.Helper()
	base, path := os.Getenv("MLOPS_TEST_MLFLOW"), os.Getenv("MLOPS_XGBOOST")
	if base == "" || path == "" {
		t.Skip("SKIPPED, NOT PASSED: MLOPS_TEST_MLFLOW names no server, or MLOPS_XGBOOST no library")
	}
	client, err := mlflow.New(base, mlflow.Options{})
	if err != nil {
		t.Fatal(err)
	}
	lib, err := xgboost.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return Config{Spec: parse(t, "test-"+rand.Text()), Candidate: "one", DataDigest: "d", Rows: table(400), Library: lib, MLflow: client, Threads: 1, Log: slog.New(slog.DiscardHandler)}
}

// A feature that gives the answer away stops the training before a run begins.
func TestLeakStops(t *testing.T) {
	c := config(t)
	spec, err := dataset.Parse([]byte(strings.Replace(string(c.Spec.Text()), "allow_leak: [a]", "", 1)))
	if err != nil {
		t.Fatal(err)
	}
	c.Spec = spec
	_, err = Run(t.Context(), c)
	var stop *inspect.Error
	if !errors.As(err, &stop) || !strings.Contains(err.Error(), "feature a alone has an AUC of 1.0000") || !strings.Contains(err.Error(), "allow_leak: [a]") {
		t.Errorf("trained with a leak: %v", err)
	}
}

// never are rows that must not be read.
func never(context.Context, func(string, [][]byte) error) error {
	return fmt.Errorf("the rows were read")
}

func TestRun(t *testing.T) {
	c := config(t)
	ctx := t.Context()
	key := registry.Training(c.Spec, c.DataDigest) + "/one"
	e, err := c.MLflow.EnsureExperiment(ctx, c.Spec.Model)
	if err != nil {
		t.Fatal(err)
	}
	cut, err := c.MLflow.CreateRun(ctx, mlflow.NewRun{ExperimentID: e.ID, Tags: map[string]string{registry.TagTrainingKey: key}})
	if err != nil {
		t.Fatal(err)
	}
	c.Rows = table(200) // few in each split
	commit := strings.Repeat("0a1b", 10)
	c.Commit = commit + "-dirty"
	c.Ledger = []ingest.Report{{Step: "load-raw-data", Read: 9, Taken: 6, Known: 1, Rejected: 2, Losses: []ingest.Loss{{Column: "a", Reason: "not an integer", Rows: 2, Line: 7, Value: "x"}}}}
	number, err := Run(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := c.MLflow.GetRun(ctx, cut.ID); err != nil || r.Status != mlflow.Killed {
		t.Errorf("the run that was cut short: %v, %v; want %v", r.Status, err, mlflow.Killed)
	}
	reg := registry.New(c.MLflow, c.Spec.Model)
	v, found, err := reg.Find(ctx, registry.Training(c.Spec, c.DataDigest), "one")
	if err != nil || !found || v.Number != number {
		t.Fatalf("version %d, %v; want %d", v.Number, err, number)
	}
	if _, err := reg.Load(ctx, v); err != nil {
		t.Error(err)
	}
	run, err := c.MLflow.GetRun(ctx, v.RunID)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []string{"validation_auc", "test_auc", "validation_recall", "test_recall", "threshold"} {
		if _, ok := run.Metrics[m]; !ok {
			t.Errorf("no metric %s", m)
		}
	}
	if run.Status != mlflow.Finished || run.Params["data_digest"] != "d" || run.Params["max_depth"] != "2" {
		t.Errorf("run %s with params %v", run.Status, run.Params)
	}
	root, err := c.MLflow.ArtifactPath(run.ArtifactURI)
	if err != nil {
		t.Fatal(err)
	}
	if files, err := c.MLflow.ListArtifacts(ctx, root+"/model"); err != nil || len(files) != len(model.Files)+10 {
		t.Errorf("files %v, %v; want %v, 7 entries for Python and 3 of the card", files, err, model.Files)
	}
	file := filepath.Join(t.TempDir(), "findings")
	if err := c.MLflow.DownloadArtifact(ctx, root+"/findings.json", file, 1<<20); err != nil {
		t.Error(err)
	} else if text, err := os.ReadFile(file); err != nil || !strings.Contains(string(text), `"kind": "few"`) {
		t.Errorf("findings %s, %v; want the few rows of a split", text, err)
	}
	if err := c.MLflow.DownloadArtifact(ctx, root+"/rows.txt", file, 1<<20); err != nil {
		t.Error(err)
	} else if text, err := os.ReadFile(file); err != nil || !strings.Contains(string(text), "2 rows rejected: column a is not an integer; for example line 7") {
		t.Errorf("what became of the rows %s, %v; want the losses", text, err)
	}
	if err := c.MLflow.DownloadArtifact(ctx, root+"/rows.json", file, 1<<20); err != nil {
		t.Error(err)
	}
	if run.Tags["rows_rejected"] != "2" || run.Metrics["rows_load_raw_data_rejected"] != 2 || run.Metrics["rows_load_raw_data_known"] != 1 {
		t.Errorf("tag %q, metrics %v; want 2 rows rejected and 1 known before", run.Tags["rows_rejected"], run.Metrics)
	}
	if err := c.MLflow.DownloadArtifact(ctx, root+"/findings.txt", file, 1<<20); err != nil {
		t.Error(err)
	} else if text, err := os.ReadFile(file); err != nil || !strings.Contains(string(text), "warning  few") {
		t.Errorf("findings for people %s, %v; want a table with the few rows of a split", text, err)
	}
	for _, plot := range []string{"roc", "precision_recall", "calibration", "confusion", "importance_gain", "importance_permutation", "importance_contributions"} {
		file := filepath.Join(t.TempDir(), "plot")
		err := c.MLflow.DownloadArtifact(ctx, root+"/plots/"+plot+".png", file, 1<<20)
		b, _ := os.ReadFile(file)
		if err != nil || !strings.HasPrefix(string(b), "\x89PNG") {
			t.Errorf("%s is no PNG: %v", plot, err)
		}
	}
	var report evaluate.Report
	if err := c.MLflow.DownloadArtifact(ctx, root+"/"+FileEvaluation, file, 1<<20); err != nil {
		t.Error(err)
	} else if text, _ := os.ReadFile(file); json.Unmarshal(text, &report) != nil || len(report.Splits) != 3 || report.Schema != 1 {
		t.Errorf("evaluation %s", text)
	}
	for _, name := range []string{"model/" + model.FileCard, "model/" + model.FileCardText, "model/" + model.FileCardPage} {
		if err := c.MLflow.DownloadArtifact(ctx, root+"/"+name, file, 1<<20); err != nil {
			t.Error(err)
		}
	}
	for _, m := range []string{"train_auc", "test_brier", "test_auc_low", "validation_auc_high", "validation_lift_10", "test_true_positives"} {
		if _, ok := run.Metrics[m]; !ok {
			t.Errorf("no metric %s", m)
		}
	}
	registered, err := c.MLflow.GetVersion(ctx, c.Spec.Model, number)
	if want := fmt.Sprintf("On the test rows: %s %.4f (", c.Spec.Metrics[0], run.Metrics["test_"+c.Spec.Metrics[0]]); err != nil || !strings.Contains(registered.Description, want) {
		t.Errorf("description %q, %v; want %q in it", registered.Description, err, want)
	}
	if run.Tags[registry.TagRunDescription] != registered.Description {
		t.Errorf("the run's description is %q, the version's %q", run.Tags[registry.TagRunDescription], registered.Description)
	}
	if run.Tags["mlflow.source.git.commit"] != commit || run.Tags["mlflow.source.git.dirty"] != "true" {
		t.Errorf("the run's tags %v don't have the commit", run.Tags)
	}
	var logged []loggedModel
	if err := json.Unmarshal([]byte(run.Tags[tagModels]), &logged); err != nil || len(logged) != 1 || logged[0].Path != "model" || logged[0].RunID != run.ID || len(logged[0].Flavors) != 2 {
		t.Errorf("the run says of its models %q: %v", run.Tags[tagModels], err)
	}
	if len(run.LoggedModels) != 1 {
		t.Fatalf("the run has %d logged models", len(run.LoggedModels))
	}
	listed := asked(t, "logged-models/"+run.LoggedModels[0])
	for _, want := range []string{
		`"status": "LOGGED_MODEL_READY"`, `"name": "one"`, `"source_run_id": "` + run.ID + `"`, `"key": "max_depth"`, `"key": "test_auc"`, "On the test rows: ", `"value": "train-model"`, `"dataset_name": "` + c.Spec.Name + `"`,
		fmt.Sprintf(`[{\"name\":\"%s\",\"version\":%d}]`, c.Spec.Model, number),
	} {
		if !strings.Contains(listed, want) {
			t.Errorf("MLflow's page Models has no %s: %s", want, listed)
		}
	}
	if said := inputs(t, run.ID); !strings.Contains(said, `"name": "`+c.Spec.Name+`"`) || !strings.Contains(said, `rows_train`) || !strings.Contains(said, `"training"`) {
		t.Errorf("MLflow says of the run's rows: %s", said)
	}
	c.Rows = never
	if again, err := Run(ctx, c); err != nil || again != number {
		t.Errorf("again: version %d, %v; want %d", again, err, number)
	}
}

func TestOnlyRegister(t *testing.T) {
	c := config(t)
	c.Rows = never
	e, err := c.MLflow.EnsureExperiment(t.Context(), c.Spec.Model)
	if err != nil {
		t.Fatal(err)
	}
	run, err := c.MLflow.CreateRun(t.Context(), mlflow.NewRun{ExperimentID: e.ID, Tags: map[string]string{registry.TagTrainingKey: registry.Training(c.Spec, c.DataDigest) + "/one"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.MLflow.UpdateRun(t.Context(), run.ID, mlflow.Finished, time.Now()); err != nil {
		t.Fatal(err)
	}
	n, err := Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if v, err := c.MLflow.GetVersion(t.Context(), c.Spec.Model, n); err != nil || v.RunID != run.ID {
		t.Errorf("version of run %s, %v; want %s", v.RunID, err, run.ID)
	}
}

func TestRunRefuses(t *testing.T) {
	c := config(t)
	c.Candidate = "two"
	if _, err := Run(t.Context(), c); err == nil || !strings.Contains(err.Error(), `no candidate "two"`) {
		t.Errorf("unknown candidate: got %v", err)
	}
}

// inputs is what MLflow says of a run.
func inputs(t *testing.T, run string) string {
	t.Helper()
	_, text, _ := strings.Cut(asked(t, "runs/get?run_id="+run), `"inputs"`)
	return text
}

// asked is MLflow's response to a GET.
func asked(t *testing.T, path string) string {
	t.Helper()
	response, err := http.Get(os.Getenv("MLOPS_TEST_MLFLOW") + "/api/2.0/mlflow/" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
