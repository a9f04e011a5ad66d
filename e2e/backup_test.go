//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"mlops/internal/backup"
	"mlops/internal/kube"
	"mlops/internal/overview"
	"mlops/internal/registry"
)

// predicted is how many records two servers have to answer alike.
const predicted = 1000

// kept is what a backup has to bring back.
type kept struct {
	rows        overview.Rows
	versions    []registry.Version
	production  registry.Version
	predictions json.RawMessage
}

func (f *faults) kept(t *testing.T, r *kube.Release, base string) (k kept) {
	t.Helper()
	k.rows, k.versions = checkRows(t, r, f.spec.Name, rows), versionsOf(t, r, f)
	var err error
	if k.production, err = registry.New(stepsClient(t, r), f.spec.Model).Production(t.Context()); err != nil {
		t.Fatal(err)
	}
	if view := served(t, base); view.Model.RunID != k.production.RunID {
		t.Errorf("run %s is served, %s is in production", view.Model.RunID, k.production.RunID)
	}
	k.predictions = predictions(t, base, firstRecords(t, f.table, predicted))
	return k
}

// same holds a release against what was kept of another.
func (k kept) same(t *testing.T, is kept) {
	t.Helper()
	if !reflect.DeepEqual(is.rows, k.rows) {
		t.Errorf("the rows were %+v and are %+v", k.rows, is.rows)
	}
	if !reflect.DeepEqual(is.versions, k.versions) || !reflect.DeepEqual(is.production, k.production) {
		t.Errorf("the versions were\n%+v\nand are\n%+v", k.versions, is.versions)
	}
	if len(k.predictions) == 0 || !bytes.Equal(k.predictions, is.predictions) {
		t.Errorf("%d records are answered otherwise than before", predicted)
	}
}

// testBackup backs the release up from inside and from this machine, deletes its
// namespace with all volumes, and brings the copies back: the workflow's into a
// release of another namespace, with passwords and volumes of its own, and that of
// `make backup` into one of the same name.
func testBackup(t *testing.T, f *faults) {
	m := f.m
	var recovery time.Duration
	dir, vault := filepath.Join(t.TempDir(), "backups"), filepath.Join(m.home, "vault")
	if err := os.RemoveAll(vault); err != nil {
		t.Fatal(err)
	}
	values := "pipelines.runOnInstall=false,pipelines.schedules.load=,pipelines.schedules.pipeline=,pipelines.backup.to=/backups,pipelines.backup.volume.existingClaim=vault"
	volume(t, f.r, "vault-1", vault)
	m.must(t, nil, m.helm(t, "4"), "upgrade", "mlops", "charts", "--namespace", "mlops", "--kubeconfig", m.kubeconfig(), "--reuse-values",
		"--set", values, "--wait", "--timeout", "5m")
	before := f.kept(t, f.r, inference)

	began := time.Now()
	m.must(t, nil, "make", "backup", "TO="+dir)
	first := size(t, dir)
	m.note(t, "backup of the example", float64(first)/1e6, "MB", "")
	m.noteTime(t, "backup of the example", time.Since(began), "")
	m.must(t, nil, "make", "backup", "TO="+dir)
	t.Logf("a second backup added %.1f MB to %.1f", float64(size(t, dir)-first)/1e6, float64(first)/1e6)
	began = time.Now()
	f.run(t, f.r, "backup", nil, "")
	m.noteTime(t, "backup by the workflow", time.Since(began), "")
	f.run(t, f.r, "backup", map[string]string{"to": "s3://backups/mlops"}, "") // the release's own store
	f.run(t, f.r, "backup", map[string]string{"to": "s3://mlflow/mlops"}, "bucket mlflow is itself backed up")
	f.run(t, f.r, "restore", nil, "this release holds")

	done, err := f.r.Notes(t.Context(), "up") // of make up, which comes back to this release
	if err != nil {
		t.Fatal(err)
	}
	lost := time.Now()
	defer func() {
		f.outcomes = append(f.outcomes, outcome{fault: "namespace deleted with its volumes, restored from a backup", replicas: 1, recovery: recovery, exact: !t.Failed()})
	}()
	m.deleteNamespace(t, f.r)
	if _, err := http.Get(inference + "/healthz"); err == nil {
		t.Error("the server answers, though its namespace was deleted")
	}

	r := m.namespace(t, "restored")
	volume(t, r, "vault-2", vault)
	// Everything that reaches Postgres here does so over TLS, and verifies its certificate.
	m.install(t, "restored", "--set", values+",global.postgres.sslMode=verify-full", "--wait", "--timeout", "5m")
	began = time.Now()
	f.run(t, r, "restore", nil, "")
	base := forward(t, r, "inference", 8000)
	served(t, base)
	recovery = time.Since(lost)
	m.noteTime(t, "restore by the workflow into another namespace, to a served model", time.Since(began), "120 s")
	before.same(t, f.kept(t, r, base))
	f.run(t, r, "restore", nil, "which backup")
	// As an attempt leaves it whose last steps fail: the next one goes on.
	name := newest(t, vault)
	mark := "'from backup " + name + ", by a restore that has not ended'"
	conn, err := (&faults{m: m, r: r}).admin(t, "postgres")
	if err != nil {
		t.Fatal(err)
	}
	for _, database := range backup.Names {
		if _, err := conn.Exec(t.Context(), "COMMENT ON DATABASE "+database+" IS "+mark); err != nil {
			t.Fatal(err)
		}
	}
	conn.Close(t.Context())
	f.run(t, r, "restore", map[string]string{"backup": name}, "")
	before.same(t, f.kept(t, r, forward(t, r, "inference", 8000)))
	f.run(t, r, "restore", nil, "which backup")
	// The steps can log in, and find that everything is trained: nothing new is made.
	f.run(t, r, "pipeline", map[string]string{"load": "false"}, "")
	if was, is := len(before.versions), len(versionsOf(t, r, f)); was != is {
		t.Errorf("the pipeline after the restore made versions: %d are %d", was, is)
	}
	m.deleteNamespace(t, r)

	m.must(t, nil, m.helm(t, "3"), "install", "mlops", "charts", "--namespace", "mlops", "--create-namespace", "--kubeconfig", m.kubeconfig(),
		"-f", filepath.Join("dist", "values.yaml"), "--set", "nodePorts.mlflow.enabled=true,nodePorts.argo.enabled=true,pipelines.runOnInstall=false", "--wait", "--timeout", "10m")
	for key, value := range done {
		if err := f.r.Note(t.Context(), "up", key, value); err != nil {
			t.Fatal(err)
		}
	}
	began = time.Now()
	m.must(t, nil, "make", "restore", "FROM="+dir)
	served(t, inference)
	m.noteTime(t, "restore of the example, to a served model", time.Since(began), "120 s")
	before.same(t, f.kept(t, f.r, inference))
	if out, err := m.run(t, nil, "make", "restore", "FROM="+dir); err == nil || !strings.Contains(out, "REPLACE=1") {
		t.Errorf("a restore over a living release: %v, without a word of REPLACE=1", err)
	}
	f.whole(t)
}

// run runs a workflow, which fails with a text unless that is empty.
func (f *faults) run(t *testing.T, r *kube.Release, template string, parameters map[string]string, want string) {
	t.Helper()
	name, err := r.Submit(t.Context(), template+"-", template, parameters, nil)
	if err != nil {
		t.Fatal(err)
	}
	w, err := r.Follow(t.Context(), name, nil)
	if want == "" {
		if err != nil {
			t.Fatalf("workflow %s: %v", name, err)
		}
		t.Logf("%s: %s, %v", name, took(w), kube.Outputs(w))
	} else if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("workflow %s: %v, want %q", name, err, want)
	}
}

// volume makes a claim vault in a release's namespace on a folder of this machine.
func volume(t *testing.T, r *kube.Release, name, path string) {
	t.Helper()
	if err := os.MkdirAll(path, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o777); err != nil { // whatever the umask is
		t.Fatal(err)
	}
	capacity := corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("5Gi")}
	modes := []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}
	class := ""
	_, err := r.Client.CoreV1().PersistentVolumes().Create(t.Context(), &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PersistentVolumeSpec{
		Capacity: capacity, AccessModes: modes, PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
		PersistentVolumeSource: corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: path}},
		ClaimRef:               &corev1.ObjectReference{Namespace: r.Namespace, Name: "vault"},
	}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // t's own context has ended by then
		r.Client.CoreV1().PersistentVolumes().Delete(context.Background(), name, metav1.DeleteOptions{})
	})
	_, err = r.Client.CoreV1().PersistentVolumeClaims(r.Namespace).Create(t.Context(), &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "vault"}, Spec: corev1.PersistentVolumeClaimSpec{
		AccessModes: modes, StorageClassName: &class, VolumeName: name, Resources: corev1.VolumeResourceRequirements{Requests: capacity},
	}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// deleteNamespace deletes a release's namespace, and waits until its volumes have gone.
func (m *machine) deleteNamespace(t *testing.T, r *kube.Release) {
	t.Helper()
	if err := r.Client.CoreV1().Namespaces().Delete(t.Context(), r.Namespace, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, 3*time.Minute, func() error {
		if _, err := r.Client.CoreV1().Namespaces().Get(t.Context(), r.Namespace, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			return fmt.Errorf("namespace %s is still there (%v)", r.Namespace, err)
		}
		volumes, err := r.Client.CoreV1().PersistentVolumes().List(t.Context(), metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, v := range volumes.Items {
			if c := v.Spec.ClaimRef; c != nil && c.Namespace == r.Namespace && v.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimDelete {
				return fmt.Errorf("the volume of %s is still there", c.Name)
			}
		}
		return nil
	})
}

func versionsOf(t *testing.T, r *kube.Release, f *faults) []registry.Version {
	t.Helper()
	all, err := registry.New(stepsClient(t, r), f.spec.Model).Versions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// newest is the name of the newest backup in a folder.
func newest(t *testing.T, dir string) string {
	t.Helper()
	m, err := backup.Find(t.Context(), backup.Folder(dir), "")
	if err != nil {
		t.Fatal(err)
	}
	return m.Name
}

// size is how many bytes a folder's files have.
func size(t *testing.T, dir string) (n int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			n += info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// firstRecords returns a table's first rows as the body of a request.
func firstRecords(t *testing.T, table []byte, n int) []byte {
	t.Helper()
	in := csv.NewReader(bytes.NewReader(table))
	header, err := in.Read()
	if err != nil {
		t.Fatal(err)
	}
	var records []map[string]string
	for len(records) < n {
		row, err := in.Read()
		if err != nil {
			t.Fatal(err)
		}
		record := map[string]string{}
		for i, name := range header {
			record[name] = row[i]
		}
		records = append(records, record)
	}
	text, err := json.Marshal(records)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// predictions are the predictions for a body, as the server writes them.
func predictions(t *testing.T, base string, records []byte) json.RawMessage {
	t.Helper()
	resp, err := http.Post(base+"/predict", "application/json", bytes.NewReader(records))
	if err != nil {
		t.Fatal(err)
	}
	var answer struct{ Predictions json.RawMessage }
	if err := json.Unmarshal([]byte(body(t, resp)), &answer); err != nil {
		t.Fatal(err)
	}
	return answer.Predictions
}
