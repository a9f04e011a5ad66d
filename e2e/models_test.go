//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	wfv1 "github.com/argoproj/argo-workflows/v3/pkg/apis/workflow/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"mlops/internal/kube"
	"mlops/internal/mlflow"
	"mlops/internal/promote"
	"mlops/internal/registry"
)

// run submits a workflow and returns it once it has succeeded.
func run(t *testing.T, r *kube.Release, template string, parameters map[string]string) *wfv1.Workflow {
	t.Helper()
	name, err := r.Submit(t.Context(), "tried-"+template+"-", template, parameters, nil)
	if err != nil {
		t.Fatal(err)
	}
	w, err := r.Follow(t.Context(), name, nil)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// all are a model's versions, the newest first.
func all(t *testing.T, client *mlflow.Client, model string) []mlflow.Version {
	t.Helper()
	versions, err := client.SearchVersions(t.Context(), "name='"+model+"'", []string{"version_number DESC"}, 200)
	if err != nil {
		t.Fatal(err)
	}
	return versions
}

// testSearch has a training look for one more candidate, which is a pod beside those of
// the listed ones.
func testSearch(t *testing.T, m *machine) {
	r := m.release(t, "penguins")
	client := stepsClient(t, r)
	configs := r.Client.CoreV1().ConfigMaps(r.Namespace)
	config, err := configs.Get(t.Context(), "mlops-dataset", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	listed := config.Data["dataset.yaml"]
	write := func(spec string) {
		t.Helper()
		config, err := configs.Get(t.Context(), "mlops-dataset", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		config.Data["dataset.yaml"] = spec
		if _, err := configs.Update(t.Context(), config, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	defer write(listed)
	write(listed + "\nsearch: {trials: 9, rounds: 40, early_stopping: 5, seed: 7, minutes: 5}\n")
	before := all(t, client, "penguin-sex")[0].Number
	w := run(t, r, "train-model", nil)

	var pods []wfv1.NodeStatus
	for _, n := range w.Status.Nodes {
		if n.Type == wfv1.NodeTypePod && n.TemplateName == "train" {
			pods = append(pods, n)
		}
	}
	slices.SortFunc(pods, func(a, b wfv1.NodeStatus) int { return a.StartedAt.Compare(b.StartedAt.Time) })
	if len(pods) != 4 {
		t.Fatalf("%d pods trained, want 3 listed candidates and the search", len(pods))
	}
	if !pods[1].StartedAt.Time.Before(pods[0].FinishedAt.Time) {
		t.Errorf("one candidate after the other: the second began at %s, the first ended at %s", pods[1].StartedAt, pods[0].FinishedAt)
	}
	var names []string
	for _, v := range all(t, client, "penguin-sex") {
		if v.Number <= before {
			continue
		}
		names = append(names, v.Tags[registry.TagCandidate])
		if v.Tags[registry.TagCandidate] != "search" {
			continue
		}
		training, err := client.GetRun(t.Context(), v.RunID)
		if err != nil {
			t.Fatal(err)
		}
		where, err := client.ArtifactPath(training.ArtifactURI)
		if err != nil {
			t.Fatal(err)
		}
		files, err := client.ListArtifacts(t.Context(), where)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(files, func(f mlflow.Artifact) bool { return strings.HasSuffix(f.Path, "search.json") }) {
			t.Errorf("the run of the search has no search.json: %+v", files)
		}
	}
	if slices.Sort(names); !slices.Equal(names, []string{"deep", "medium", "search", "shallow"}) {
		t.Errorf("trained %q", names)
	}
}

// testRetention removes the versions that nobody needs, and no other.
func testRetention(t *testing.T, m *machine) {
	r := m.release(t, "penguins")
	client := stepsClient(t, r)
	base := forward(t, r, "inference", 8000)
	serving := served(t, base).Model.Number
	before := all(t, client, "penguin-sex")
	rule := map[string]string{"remove": "true", "newest": "0", "days": "0", "by": "e2e"}
	retained := func() (out promote.Retained) {
		t.Helper()
		w := run(t, r, "retain-models", rule)
		for _, n := range w.Status.Nodes {
			if n.Type != wfv1.NodeTypePod || n.Outputs == nil {
				continue
			}
			for _, p := range n.Outputs.Parameters {
				if p.Name == "report" {
					if err := json.Unmarshal([]byte(p.Value.String()), &out); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		return out
	}
	out := retained()
	t.Log(out.Words(), out.Kept)
	after := all(t, client, "penguin-sex")
	if len(out.Removed) == 0 || !out.Done || out.Bytes == 0 || len(after) != len(before)-len(out.Removed) {
		t.Fatalf("%d versions before, %d after, removed %+v", len(before), len(after), out)
	}
	stays := map[string]bool{}
	for _, v := range after {
		stays[fmt.Sprint(v.Number)] = true
	}
	for _, gone := range out.Removed {
		if stays[fmt.Sprint(gone.Number)] {
			t.Errorf("version %d is there, and was said to be removed", gone.Number)
		}
		training, err := client.GetRun(t.Context(), gone.RunID)
		if err != nil {
			t.Fatal(err)
		}
		if len(training.Metrics) == 0 {
			t.Errorf("the run of version %d lost its metrics", gone.Number)
		}
		where, err := client.ArtifactPath(training.ArtifactURI)
		if err != nil {
			t.Fatal(err)
		}
		if files, err := client.ListArtifacts(t.Context(), where); err != nil || len(files) != 0 {
			t.Errorf("version %d left %+v, %v", gone.Number, files, err)
		}
	}
	if !stays[serving] || served(t, base).Model.Number != serving {
		t.Errorf("version %s was served, %v stay", serving, stays)
	}
	if again := retained(); len(again.Removed) != 0 {
		t.Errorf("a second time it removed %+v", again.Removed)
	}
}

// notebook logs a model as a data scientist's notebook does.
const notebook = `
import sys, pandas, mlflow, xgboost
sys.path.insert(0, "python")
import mlops_models
frame = pandas.read_csv(sys.argv[1]).dropna(subset=["sex"])
records = frame[["species", "island", "bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g"]]
records = records.astype({"species": "category", "island": "category"})
model = xgboost.XGBClassifier(n_estimators=20, max_depth=3, enable_categorical=True).fit(records, (frame["sex"] == "male").astype(int))
mlflow.xgboost.log_model(model, name="model", registered_model_name="penguin-sex", pip_requirements=["xgboost"],
                         **mlops_models.served(records.head(), title="Sex of a penguin", threshold=0.5))
`

// testAdopt puts a notebook's model into production; one that a pipeline trained is for
// the gate.
func testAdopt(t *testing.T, m *machine) {
	r := m.release(t, "penguins")
	client := stepsClient(t, r)
	base := forward(t, r, "inference", 8000)
	user, password, err := r.MLflowLogin(t.Context(), "steps")
	if err != nil {
		t.Fatal(err)
	}
	before := all(t, client, "penguin-sex")[0].Number
	name, err := r.Submit(t.Context(), "tried-adopt-model-", "adopt-model", map[string]string{"version": fmt.Sprint(before), "why": "no notebook's"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Follow(t.Context(), name, nil); err == nil || !strings.Contains(err.Error(), "was trained by a pipeline") {
		t.Errorf("a pipeline's version was adopted: %v", err)
	}
	m.must(t, []string{"MLFLOW_TRACKING_URI=" + forward(t, r, "mlflow", 5000), "MLFLOW_TRACKING_USERNAME=" + user, "MLFLOW_TRACKING_PASSWORD=" + password},
		filepath.Join(m.venv(t).Dir, "bin", "python"), "-c", notebook, m.penguinsTable(t))
	run(t, r, "adopt-model", map[string]string{"why": "from a notebook", "anyway": "true", "by": "e2e"})
	eventually(t, 5*time.Second, func() error {
		if now := served(t, base).Model.Number; now != fmt.Sprint(before+1) {
			return fmt.Errorf("version %s is served, want the notebook's %d", now, before+1)
		}
		return nil
	})
	resp, err := http.Post(base+"/predict", "application/json", strings.NewReader(`{"species":"Gentoo","island":"Biscoe","bill_length_mm":50.1,"bill_depth_mm":15.9,"flipper_length_mm":225,"body_mass_g":5700}`))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct {
		Predictions []struct{ Probability float64 }
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || resp.StatusCode != 200 || len(answer.Predictions) != 1 || answer.Predictions[0].Probability < 0.5 {
		t.Errorf("a large Gentoo is male with %+v, %s, %v", answer, resp.Status, err)
	}
}
