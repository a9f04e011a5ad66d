//go:build e2e

package e2e

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	wfv1 "github.com/argoproj/argo-workflows/v3/pkg/apis/workflow/v1alpha1"
	"github.com/minio/minio-go/v7"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"mlops/internal/api"
	"mlops/internal/dataset"
	"mlops/internal/ingest"
	"mlops/internal/kube"
	"mlops/internal/registry"
)

// faults is a platform that is broken on purpose.
type faults struct {
	m     *machine
	r     *kube.Release
	spec  *dataset.Spec // the release's
	table []byte        // of the release's source, as CSV
	newer int           // versions of the last run's training have higher numbers
	base  string        // where the users under a fault ask for predictions

	outcomes []outcome
}

func newFaults(t *testing.T, m *machine) *faults {
	t.Helper()
	f := &faults{m: m, r: m.release(t, "mlops"), base: inference}
	text, err := f.r.Client.CoreV1().ConfigMaps(f.r.Namespace).Get(t.Context(), f.r.Service("dataset"), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if f.spec, err = dataset.Parse([]byte(text.Data["dataset.yaml"])); err != nil {
		t.Fatal(err)
	}
	object, err := store(t, f.r).GetObject(t.Context(), "sources", "diabetes-130-us-hospitals.zip", minio.GetObjectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer object.Close()
	archive, err := io.ReadAll(object)
	if err != nil {
		t.Fatal(err)
	}
	z, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	if err != nil {
		t.Fatal(err)
	}
	in, err := z.Open(f.spec.Source.Member)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if f.table, err = io.ReadAll(in); err != nil {
		t.Fatal(err)
	}
	return f
}

// anew deletes the rows and runs the pipeline on a fresh source, under a name that
// begins with name: on a cluster that is used again, the same test ran before.
func (f *faults) anew(t *testing.T, name string) string {
	t.Helper()
	submitted, err := f.r.Submit(t.Context(), name+"-", "pipeline", map[string]string{"source": f.fresh(t, name)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return submitted
}

// fresh deletes the rows and puts a source into the store that differs from all before,
// also from those of earlier tests on this cluster, by one value of any row: if the
// candidates had learnt from the same rows, nothing would be trained.
func (f *faults) fresh(t *testing.T, name string) string {
	t.Helper()
	drop(t, owned(t, f.r), f.spec.Name)
	reg := f.registry(t)
	versions, err := reg.Versions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n := len(versions); n > 0 {
		f.newer = versions[n-1].Number
	}
	text, err := changed(f.table, 1+rand.IntN(rows))
	if err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	z.Write(text) // into memory, which does not fail
	z.Close()
	path := filepath.Join(t.TempDir(), name+".csv.gz")
	if err := os.WriteFile(path, packed.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return put(t, store(t, f.r), path)
}

// changed is the table with one lab procedure more or less in its n-th row.
func changed(table []byte, n int) ([]byte, error) {
	const column = "num_lab_procedures"
	lines := bytes.SplitAfterN(table, []byte("\n"), n+2)
	if len(lines) <= n {
		return nil, fmt.Errorf("the table has no row %d", n)
	}
	at := slices.Index(strings.Split(string(lines[0]), ","), column)
	fields := strings.Split(string(lines[n]), ",")
	if at < 0 || at >= len(fields) {
		return nil, fmt.Errorf("row %d has no %s", n, column)
	}
	value, err := strconv.Atoi(fields[at])
	if err != nil {
		return nil, fmt.Errorf("%s of row %d: %w", column, n, err)
	}
	by := 1
	if value > 60 { // the largest one has nothing above it
		by = -1
	}
	fields[at] = strconv.Itoa(value + by)
	lines[n] = []byte(strings.Join(fields, ","))
	return bytes.Join(lines, nil), nil
}

func (f *faults) registry(t *testing.T) *registry.Registry {
	t.Helper()
	return registry.New(stepsClient(t, f.r), f.spec.Model)
}

// follow waits for the end of a workflow, which has to be a good one.
func (f *faults) follow(t *testing.T, name string) *wfv1.Workflow {
	t.Helper()
	w, err := f.r.Follow(t.Context(), name, nil)
	if err != nil {
		t.Errorf("workflow %s: %v", name, err)
	}
	return w
}

func took(w *wfv1.Workflow) time.Duration {
	return w.Status.FinishedAt.Sub(w.Status.StartedAt.Time)
}

// whole checks what has to be true after each fault: exactly the rows of the
// source, each candidate trained on them into one version, one version in
// production, and that one served.
func (f *faults) whole(t *testing.T) {
	t.Helper()
	if n := checkRows(t, f.r, f.spec.Name, rows); n.Raw != rows {
		t.Errorf("%d rows in raw, want %d", n.Raw, rows)
	}
	reg := f.registry(t)
	f.trained(t, reg)
	var production registry.Version
	eventually(t, time.Minute, func() (err error) {
		if production, err = reg.Production(t.Context()); err != nil {
			return err
		}
		view, err := api.NewClient(inference, nil).Model(t.Context())
		if err != nil {
			return err
		}
		if view.Model.Number != strconv.Itoa(production.Number) || view.Model.RunID != production.RunID {
			return fmt.Errorf("version %s is served, %d is in production", view.Model.Number, production.Number)
		}
		return nil
	})
	served(t, inference)
	best, err := reg.Best(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(best) != 1 || best[0].Number != production.Number {
		t.Errorf("versions %v are tagged as the best, version %d is in production", numbers(best), production.Number)
	}
}

// trained checks that each candidate has one version of the rows as they are now,
// made since the last run began.
func (f *faults) trained(t *testing.T, reg *registry.Registry) {
	t.Helper()
	conn, err := databases(t, f.r)(t.Context(), "clean")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	digest, err := ingest.DataDigest(t.Context(), conn, f.spec)
	if err != nil {
		t.Fatal(err)
	}
	versions, err := reg.Trained(t.Context(), registry.Training(f.spec, digest))
	if err != nil {
		t.Fatal(err)
	}
	if len(versions) != len(f.spec.Candidates) {
		t.Errorf("%d versions of this training, want one of each of the %d candidates", len(versions), len(f.spec.Candidates))
	}
	for _, c := range f.spec.Candidates {
		of := slices.DeleteFunc(slices.Clone(versions), func(v registry.Version) bool { return v.Candidate != c.Name })
		if len(of) != 1 {
			t.Errorf("candidate %s has the versions %v of this training, want one", c.Name, numbers(of))
		}
	}
	for _, v := range versions {
		if v.Number <= f.newer {
			t.Errorf("version %d was there before the run: nothing new was trained", v.Number)
		}
	}
}

func numbers(versions []registry.Version) []int {
	var ns []int
	for _, v := range versions {
		ns = append(ns, v.Number)
	}
	return ns
}
