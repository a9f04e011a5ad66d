package promote_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path"
	"testing"

	"mlops/internal/history"
	"mlops/internal/mlflow"
	"mlops/internal/promote"
	"mlops/internal/registry"
)

// stump is a model of one split by age, as XGBoost writes it.
const stump = `{"version":[3,2,0],"learner":{"feature_names":["age"],
"learner_model_param":{"base_score":"[5E-1]","num_feature":"1","num_class":"0","num_target":"1"},
"objective":{"name":"binary:logistic"},
"gradient_booster":{"name":"gbtree","model":{"gbtree_model_param":{"num_trees":"1"},"tree_info":[0],"cats":{"enc":[]},"trees":[
{"id":0,"tree_param":{"size_leaf_vector":"1"},"left_children":[1,-1,-1],"right_children":[2,-1,-1],"split_indices":[0,0,0],
"split_conditions":[2.5,-1,1],"default_left":[0,0,0],"split_type":[0,0,0],"categories_nodes":[],"categories_segments":[],"categories_sizes":[],"categories":[]}
]}}}}`

// notebook registers a version as a notebook would: nothing of ours is in it. Outside a
// run, the version has none.
func (w *world) notebook(model, mlmodel string, outside bool) int {
	w.t.Helper()
	ctx := w.t.Context()
	fatal := func(err error) {
		if err != nil {
			w.t.Helper()
			w.t.Fatal(err)
		}
	}
	experiment, err := w.client.EnsureExperiment(ctx, model)
	fatal(err)
	var logged mlflow.NewVersion
	var root string
	if outside {
		logged, root = w.loggedModel(experiment.ID)
	} else {
		run, err := w.client.CreateRun(ctx, mlflow.NewRun{ExperimentID: experiment.ID})
		fatal(err)
		logged, root = mlflow.NewVersion{Source: fmt.Sprintf("runs:/%s/%s", run.ID, registry.Folder), RunID: run.ID}, run.ArtifactURI+"/"+registry.Folder
	}
	root, err = w.client.ArtifactPath(root)
	fatal(err)
	for file, text := range map[string]string{"MLmodel": mlmodel, "model.json": stump, "example.json": `{"columns":["age"],"data":[[3],[NaN]]}`} {
		fatal(w.client.UploadArtifact(ctx, path.Join(root, file), bytes.NewReader([]byte(text))))
	}
	logged.Name = model
	v, err := w.client.CreateVersion(ctx, logged)
	fatal(err)
	return v.Number
}

// loggedModel makes a model as MLflow logs one outside a run, and returns where its files
// belong.
func (w *world) loggedModel(experiment string) (v mlflow.NewVersion, root string) {
	w.t.Helper()
	body, err := json.Marshal(map[string]string{"experiment_id": experiment, "name": "model"})
	if err != nil {
		w.t.Fatal(err)
	}
	resp, err := http.Post(os.Getenv("MLOPS_TEST_MLFLOW")+"/api/2.0/mlflow/logged-models", "application/json", bytes.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	var made struct {
		Model struct {
			Info struct {
				ID  string `json:"model_id"`
				URI string `json:"artifact_uri"`
			}
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&made); err != nil || resp.StatusCode != http.StatusOK {
		w.t.Fatal(resp.Status, err)
	}
	return mlflow.NewVersion{Source: "models:/" + made.Model.Info.ID, ModelID: made.Model.Info.ID}, made.Model.Info.URI
}

// A notebook's version is signed, put into production and noted in the history; what
// can't be served, or would refuse what is answered today, is refused.
func TestAdopt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	log := historyLog(t)
	s := w.spec(weak...)
	reg := registry.New(w.client, s.Model)
	signer, trusted := key(t)
	adopt := func(version int, anyway bool) (history.Event, error) {
		return promote.Adopt(t.Context(), promote.AdoptConfig{
			Registry: reg, History: log, Signer: signer, Version: version, Anyway: anyway, Why: "the notebook is better", By: "ann", Log: quiet(),
		})
	}
	refused := func(version int, words ...string) {
		t.Helper()
		_, err := adopt(version, false)
		if !errors.Is(err, promote.ErrRefused) {
			t.Fatalf("adopting %d: %v, want ErrRefused", version, err)
		}
		contains(t, "error", err.Error(), words...)
	}
	trained := w.train(s, "shallow")
	w.promoteSigned(s, signer, trusted)
	refused(0, fmt.Sprintf("version %d of %s was trained by a pipeline", trained, s.Model))
	refused(99, "has no version 99")

	const mlmodel = "flavors: {xgboost: {data: model.json}}\nsaved_input_example_info: {artifact_path: example.json, pandas_orient: split}\n"
	refused(w.notebook(s.Model, "flavors: {sklearn: {}}\n", false), "can't be served", "no flavor xgboost")
	refused(w.notebook(s.Model, "flavors: {xgboost: {data: model.json}}\n", false), "no input example")
	version := w.notebook(s.Model, mlmodel, false)
	refused(version, fmt.Sprintf("clients of version %d would get errors: it has no column", trained), "-anyway")
	if err := reg.Pin(t.Context(), "an audit"); err != nil {
		t.Fatal(err)
	}
	refused(version, "is pinned (an audit)")
	if err := reg.Unpin(t.Context()); err != nil {
		t.Fatal(err)
	}

	for range 2 { // the second time changes nothing
		if e, err := adopt(0, true); err != nil || e.To != version {
			t.Fatalf("adopted %+v, %v; want version %d", e, err, version)
		}
		if err := w.signed(s, trusted); err != nil {
			t.Errorf("the version in production: %v", err)
		}
	}
	v, err := reg.Production(t.Context())
	if err != nil || v.Number != version || !v.Best || v.Outcome != registry.Promoted || v.Replaces != trained {
		t.Errorf("in production is %+v, %v; want version %d in the place of %d", v, err, version, trained)
	}
	events, err := log.List(t.Context(), s.Model, 0)
	if err != nil || len(events) == 0 {
		t.Fatal(events, err)
	}
	adopted := 0
	for _, e := range events {
		if e.Kind == history.Adopted && e.To == version && e.By == "ann" && e.Why == "the notebook is better" {
			adopted++
		}
	}
	if adopted == 0 {
		t.Errorf("the history has %+v, want that version %d was adopted", events, version)
	}

	// It can be taken back like any other.
	if e, err := promote.Rollback(t.Context(), promote.RollbackConfig{Registry: reg, History: log, Trusted: trusted, Why: "worse", By: "ann", Log: quiet()}); err != nil || e.To != trained {
		t.Errorf("rolled back to %d, %v; want %d", e.To, err, trained)
	}

	// MLflow logs a model outside a run too, and its version then has none.
	outside := w.notebook(s.Model, mlmodel, true)
	if e, err := adopt(outside, true); err != nil || e.To != outside {
		t.Fatalf("adopted %+v, %v; want version %d", e, err, outside)
	}
	if v, err := reg.Production(t.Context()); err != nil || v.Number != outside || v.RunID != "" || v.Outcome != registry.Promoted {
		t.Errorf("in production is %+v, %v; want version %d, without a run", v, err, outside)
	}
	if err := w.signed(s, trusted); err != nil {
		t.Errorf("the version without a run: %v", err)
	}
	left, err := reg.Events(t.Context(), registry.Version{Name: s.Model, Number: outside})
	if err != nil || len(left.Events) == 0 || left.Events[0].Kind != string(history.Adopted) || left.Events[0].To != outside {
		t.Errorf("with the version without a run, the gate left the history %+v, %v; want that the version was adopted", left, err)
	}
	if e, err := promote.Rollback(t.Context(), promote.RollbackConfig{Registry: reg, History: log, Trusted: trusted, To: trained, Why: "worse", By: "ann", Log: quiet()}); err != nil || e.From != outside || e.To != trained {
		t.Errorf("rolled back %+v, %v", e, err)
	}
}
