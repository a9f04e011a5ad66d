//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	wfv1 "github.com/argoproj/argo-workflows/v3/pkg/apis/workflow/v1alpha1"
	"github.com/minio/minio-go/v7"

	"mlops/internal/kube"
	"mlops/internal/local"
	"mlops/internal/prepare"
	"mlops/internal/setup"
	tables "mlops/internal/source"
	"mlops/internal/synthetic"
)

// penguins is the number of rows of the small table.
const penguins = 344

// penguinsTable is the small table's file, which a Python package in the shared
// virtual environment holds.
func (m *machine) penguinsTable(t *testing.T) string {
	t.Helper()
	v := m.venv(t)
	return filepath.Join(v.Site, "palmerpenguins", "data", "penguins.csv")
}

func (m *machine) venv(t *testing.T) *prepare.Venv {
	t.Helper()
	state, err := local.OpenState(m.home, m.cache, os.Environ())
	if err != nil {
		t.Fatal(err)
	}
	python, err := prepare.FindPython(t.Context(), prepare.Pythons(os.Getenv("PYTHON")))
	if err != nil {
		t.Fatal(err)
	}
	v, err := state.Venv(t.Context(), quiet, python, filepath.Join(m.root, "python", "requirements.txt"))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// testSecond installs a second release beside the first, with the other Helm, in
// a namespace of its own, of a user's own table: nothing but `helm install`. It
// has to come to a served model by itself.
func testSecond(t *testing.T, m *machine) {
	_, spec := m.spec(t, "penguins")
	began := time.Now()
	m.must(t, nil, m.helm(t, "3"), "install", "mlops", "charts", "--namespace", "penguins", "--create-namespace", "--kubeconfig", m.kubeconfig(),
		"-f", filepath.Join("dist", "values.yaml"),
		"--set", "setup.source.image=", "--set", "pipelines.source=",
		"--set-file", "global.dataset.spec="+spec, "--set-file", "global.dataset.table="+m.penguinsTable(t),
		"--set", "inference.service.nodePort=null,ui.service.nodePort=null",
		"--wait", "--timeout", "10m")
	m.noteTime(t, "helm install --wait (Helm 3, penguins)", time.Since(began), "")
	r := m.release(t, "penguins")
	// The tests count rows and versions, and may run at the hour of a schedule.
	scheduled, err := r.Schedules(t.Context(), "load-raw-data", "pipeline")
	if err != nil || len(scheduled) != 2 {
		t.Fatalf("schedules %q, %v; want 2", scheduled, err)
	}
	for _, name := range scheduled {
		if err := r.Suspend(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	base := forward(t, r, "inference", 8000)
	eventually(t, 6*time.Minute, func() error {
		w, err := r.Workflow(t.Context(), "pipeline-on-install")
		if err != nil || w == nil {
			return fmt.Errorf("no first run: %v", err)
		}
		if w.Status.Phase.Completed() && w.Status.Phase != wfv1.WorkflowSucceeded {
			t.Fatalf("the first run ended %s: %s", w.Status.Phase, w.Status.Message)
		}
		if !w.Status.Phase.Completed() {
			return fmt.Errorf("the first run is %s, %s", w.Status.Phase, w.Status.Progress)
		}
		return nil
	})
	m.noteTime(t, "helm install to a served model (Helm 3, penguins)", time.Since(began), "")
	if view := served(t, base); view.Model.Name != "penguin-sex" {
		t.Errorf("%s is served", view.Model.Name)
	}
	checkRows(t, r, "penguins", penguins)
}

// testSaysWhy has a step fail: its workflow says with which words it ended.
func testSaysWhy(t *testing.T, m *machine) {
	r := m.release(t, "penguins")
	name, err := r.Submit(t.Context(), "wrong-batch-", "load-raw-data", map[string]string{"batch": "many"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.Follow(t.Context(), name, nil)
	if err == nil || !strings.Contains(err.Error(), `(exit code 2): invalid value "many" for flag -batch`) {
		t.Errorf("the workflow ended with: %v", err)
	}
}

// many is the number of rows of a table that is small, but on which a step runs
// for a second or more: long enough to be deleted in its middle.
const many = 150_000

// upload makes such a table and puts it where the pipeline reads it.
func (m *machine) upload(t *testing.T, r *kube.Release) (source string) {
	t.Helper()
	spec, _ := m.spec(t, "penguins")
	path := filepath.Join(t.TempDir(), "many.csv")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := synthetic.Write(f, spec, many, 1); err != nil {
		t.Fatal(err)
	}
	return put(t, store(t, r), path)
}

// store leads to a release's MinIO until the test ends.
func store(t *testing.T, r *kube.Release) *minio.Client {
	t.Helper()
	secret, err := r.Secret(t.Context(), "s3")
	if err != nil {
		t.Fatal(err)
	}
	minio := forwarded(t, r, "minio", 9000)
	client, err := tables.S3{Endpoint: minio.URL, Transport: minio.Transport, AccessKey: secret["AWS_ACCESS_KEY_ID"], SecretKey: secret["AWS_SECRET_ACCESS_KEY"], Region: "us-east-1"}.Client()
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// put brings a file to the bucket of the sources, and returns its address there.
func put(t *testing.T, client *minio.Client, path string) (source string) {
	t.Helper()
	if _, _, err := setup.Upload(t.Context(), client, "sources", path); err != nil {
		t.Fatal(err)
	}
	return "s3://sources/" + filepath.Base(path)
}

// testStepsDeleted deletes a running pod of each kind of step once. The workflow
// ends by itself, with exactly the rows of the source. A kind that was over too
// soon is tried again in another run, and then as soon as its pod has begun.
func testStepsDeleted(t *testing.T, m *machine) {
	r := m.release(t, "penguins")
	source := m.upload(t, r)
	hit := map[string]string{}
	for run := 1; run <= 4 && len(hit) < len(steps); run++ {
		drop(t, owned(t, r), "penguins")
		name, err := r.Submit(t.Context(), fmt.Sprintf("deleted-%d", run), "pipeline", map[string]string{"source": source}, nil)
		if err != nil {
			t.Fatal(err)
		}
		aims := map[string]aim{}
		for _, kind := range steps {
			switch {
			case hit[kind] != "":
			case run > 2:
				aims[kind] = aim{begun: podRuns}
			default:
				aims[kind] = aim{begun: mainRuns}
			}
		}
		deleted := deletePods(t, r, name, aims)
		w, err := r.Follow(t.Context(), name, nil)
		if err != nil {
			t.Fatalf("run %d: %v", run, err)
		}
		for kind, d := range deleted() {
			if how := d.interrupted(w); how != "" {
				hit[kind] = fmt.Sprintf("in run %d: %s", run, how)
			}
		}
		t.Logf("run %d took %s; interrupted so far: %v", run, w.Status.FinishedAt.Sub(w.Status.StartedAt.Time), hit)
		checkRows(t, r, "penguins", many)
	}
	for _, s := range steps {
		if hit[s] == "" {
			t.Errorf("no pod of %s could be deleted while it ran", s)
		}
	}
	served(t, forward(t, r, "inference", 8000))
}
