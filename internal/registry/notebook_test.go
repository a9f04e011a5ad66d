package registry

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
	"testing"

	"mlops/internal/mlflow"
)

// stump is a model of one split by size, as XGBoost writes it.
const stump = `{"version":[3,2,0],"learner":{"feature_names":["size"],
"learner_model_param":{"base_score":"[5E-1]","num_feature":"1","num_class":"0","num_target":"1"},
"objective":{"name":"binary:logistic"},
"gradient_booster":{"name":"gbtree","model":{"gbtree_model_param":{"num_trees":"1"},"tree_info":[0],"cats":{"enc":[]},"trees":[
{"id":0,"tree_param":{"size_leaf_vector":"1"},"left_children":[1,-1,-1],"right_children":[2,-1,-1],"split_indices":[0,0,0],
"split_conditions":[2.5,-1,1],"default_left":[0,0,0],"split_type":[0,0,0],"categories_nodes":[],"categories_segments":[],"categories_sizes":[],"categories":[]}
]}}}}`

// TestNotebook reads a version that a notebook registered from a real MLflow.
func TestNotebook(t *testing.T) {
	base := os.Getenv("MLOPS_TEST_MLFLOW")
	if base == "" {
		t.Skip("SKIPPED, NOT PASSED: MLOPS_TEST_MLFLOW names no server")
	}
	client, err := mlflow.New(base, mlflow.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, name := t.Context(), "notebook-"+rand.Text()
	experiment, err := client.EnsureExperiment(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	r := New(client, name)
	if err := r.Ensure(ctx, ""); err != nil {
		t.Fatal(err)
	}
	register := func(mlmodel string) Version {
		run, err := client.CreateRun(ctx, mlflow.NewRun{ExperimentID: experiment.ID})
		if err != nil {
			t.Fatal(err)
		}
		root, err := client.ArtifactPath(run.ArtifactURI)
		if err != nil {
			t.Fatal(err)
		}
		for file, text := range map[string]string{"MLmodel": mlmodel, "model.json": stump, "example.json": `{"columns":["size"],"data":[[3],[NaN]]}`, "conda.yaml": "x"} {
			if err := client.UploadArtifact(ctx, path.Join(root, Folder, file), bytes.NewReader([]byte(text))); err != nil {
				t.Fatal(err)
			}
		}
		v, err := client.CreateVersion(ctx, mlflow.NewVersion{Name: name, Source: fmt.Sprintf("runs:/%s/%s", run.ID, Folder), RunID: run.ID})
		if err != nil {
			t.Fatal(err)
		}
		return version(v)
	}
	const mlmodel = "flavors: {xgboost: {data: model.json}}\nsaved_input_example_info: {artifact_path: example.json, pandas_orient: split}\n"
	m, subject, err := r.Open(ctx, register(mlmodel))
	if err != nil {
		t.Fatal(err)
	}
	if s := m.Serving.Samples; len(s) != 2 || s[0].Record["size"] != "3" || s[0].Probability < 0.73 || s[0].Probability > 0.74 || len(s[1].Record) != 0 {
		t.Errorf("samples %+v, want those of the example with 1/(1+1/e)", s)
	}
	if len(subject.Files) != 3 {
		t.Errorf("a signature would be over %v, want the three files that are read", subject.Files)
	}
	for change, want := range map[string]string{"data: model.json": "not the name of a file", "xgboost:": "no flavor xgboost", "artifact_path: example.json": "no input example"} {
		with := map[string]string{"data: model.json": "data: ../x", "xgboost:": "sklearn:", "artifact_path: example.json": "type: dataframe"}[change]
		_, _, err := r.Open(ctx, register(strings.Replace(mlmodel, change, with, 1)))
		if !errors.Is(err, ErrUnusable) || !strings.Contains(err.Error(), want) {
			t.Errorf("without %q: error %v, want %q", change, err, want)
		}
	}
}
