//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"mlops/internal/api"
	"mlops/internal/kube"
	"mlops/internal/mlflow"
	"mlops/internal/registry"
)

// TestFaults breaks a platform that was installed by `make up` on purpose, on the
// whole table. After each fault it has to be whole, see (*faults).whole. It takes
// long and is not part of CI.
func TestFaults(t *testing.T) {
	m := newMachine(t)
	defer t.Run("down", func(t *testing.T) { m.must(t, []string{"PURGE=1"}, "make", "down") })
	if !t.Run("install cluster", func(t *testing.T) { testCluster(t, m) }) || !t.Run("install", func(t *testing.T) { testUp(t, m) }) {
		return
	}
	f := newFaults(t, m)
	defer f.report(t)
	t.Run("pods", func(t *testing.T) { testPods(t, f) })
	t.Run("registry", func(t *testing.T) { testRegistry(t, f) })
	t.Run("network policies", func(t *testing.T) { testPolicies(t, f) })
	t.Run("scarce", func(t *testing.T) { testScarce(t, f) })
	t.Run("rotated", func(t *testing.T) { testRotated(t, f) })
	t.Run("TLS inside", func(t *testing.T) { testTLSInside(t, f) })
	t.Run("API keys", func(t *testing.T) { testKeys(t, f) })
	t.Run("steps", func(t *testing.T) { testStepsKilled(t, f) })
	t.Run("a step panics", func(t *testing.T) { testStepPanics(t, f) })
	for _, part := range []string{"postgres", "minio", "argo-controller"} {
		t.Run(part+" deleted in the middle", func(t *testing.T) { testPartDeleted(t, f, part) })
	}
	t.Run("upgrades", func(t *testing.T) { testUpgrades(t, f) })
	t.Run("several servers, two nodes", func(t *testing.T) { testScaling(t, f) })
	t.Run("uninstall and install again", func(t *testing.T) { testReinstall(t, f) })
	t.Run("backup", func(t *testing.T) { testBackup(t, f) })
	t.Run("services that exist", func(t *testing.T) { testExisting(t, m) })
	t.Run("values that are wrong", func(t *testing.T) { testWrongValues(t, m) })
	t.Run("services of the node killed", func(t *testing.T) { testNodeServicesKilled(t, f) })
	t.Run("node killed", func(t *testing.T) { testNodeKilled(t, f) })
}

// What has to succeed of the requests under a fault, in percent: where a pod is lost
// that serves no predictions, or one of two servers; and where the only server is.
const (
	always = 99.99
	single = 99.5
)

// testPods breaks the pods of each service.
func testPods(t *testing.T, f *faults) {
	// Those that predictions don't wait for.
	for _, part := range []string{"mlflow", "postgres", "minio", "argo-controller", "argo-server", "ui", "prometheus"} {
		f.fault(t, part+" deleted", always, func(t *testing.T) { f.remove(t, part) })
	}
	for _, part := range []string{"mlflow", "postgres", "minio"} {
		f.fault(t, part+" killed with -9", always, func(t *testing.T) { f.crash(t, part) })
	}
	for _, part := range []string{"mlflow", "postgres", "minio"} {
		f.fault(t, part+" frozen for 15 s", always, func(t *testing.T) { f.freeze(t, part, 15*time.Second) })
	}
	f.fault(t, "Postgres, MinIO and MLflow away for 20 s", always, func(t *testing.T) { f.away(t, 20*time.Second, "postgres", "minio", "mlflow") })

	f.fault(t, "the only server deleted", single, func(t *testing.T) { f.remove(t, "inference") })
	f.fault(t, "the only server's process killed with -9", single, f.killServer)
	f.fault(t, "the only server's container killed with -9", 0, func(t *testing.T) { f.crash(t, "inference") })
	f.scaled(t, func() {
		t.Run("behind a proxy", func(t *testing.T) {
			direct := f.base
			f.base = f.proxied(t)
			defer func() { f.base = direct }()
			f.fault(t, "the container of one of two servers killed with -9, behind a proxy", always, func(t *testing.T) { f.crash(t, "inference") })
		})
		f.fault(t, "one of two servers deleted", always, func(t *testing.T) { f.remove(t, "inference") })
		f.fault(t, "the process of one of two servers killed with -9", single, f.killServer)
		f.fault(t, "the container of one of two servers killed with -9", single, func(t *testing.T) { f.crash(t, "inference") })
		f.fault(t, "one of two servers deleted while MLflow is away", always, func(t *testing.T) {
			f.scale(t, "mlflow", 0)
			f.remove(t, "inference")
			f.scale(t, "mlflow", 1)
		})
	})
}

// testRegistry moves the alias production to what can't be served: the last good
// version stays, and the server says why.
func testRegistry(t *testing.T, f *faults) {
	client := stepsClient(t, f.r)
	reg := f.registry(t)
	good, err := reg.Production(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	versions, err := reg.Versions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(versions, func(v registry.Version) bool { return v.Number != good.Number && v.Signature == "" })
	if i < 0 {
		t.Fatal("no version is unsigned")
	}
	point := func(t *testing.T, number int, refused string) {
		t.Helper()
		defer func() {
			if err := client.SetAlias(t.Context(), f.spec.Model, registry.Production, good.Number); err != nil {
				t.Fatal(err)
			}
		}()
		if err := client.SetAlias(t.Context(), f.spec.Model, registry.Production, number); err != nil {
			t.Fatal(err)
		}
		eventually(t, 30*time.Second, func() error {
			view, err := api.NewClient(inference, nil).Model(t.Context())
			if err != nil {
				return err
			}
			if view.Model.Number != strconv.Itoa(good.Number) {
				t.Fatalf("version %s is served, the good one is %d", view.Model.Number, good.Number)
			}
			if view.Refused == nil || !strings.Contains(view.Refused.Reason, refused) {
				return fmt.Errorf("refused: %+v, want %q", view.Refused, refused)
			}
			return nil
		})
	}
	f.fault(t, "alias moved to an unsigned version", always, func(t *testing.T) { point(t, versions[i].Number, "sign") })
	f.fault(t, "a file of the promoted version changed in the store", always, func(t *testing.T) {
		number := versions[i].Number
		sign(t, f.r, client, f.spec.Model, number)
		whole, put := stored(t, store(t, f.r), f.modelFile(t, client, number))
		broken := bytes.Clone(whole)
		broken[len(broken)/2] ^= 1
		put(broken)
		defer put(whole)
		point(t, number, "sign")
	})
	f.fault(t, "a version that is too large for the server's memory", always, func(t *testing.T) {
		number := versions[i].Number
		whole, put := stored(t, store(t, f.r), f.modelFile(t, client, number))
		put(append(bytes.Clone(whole), make([]byte, 128<<20)...))
		sign(t, f.r, client, f.spec.Model, number)
		defer func() {
			put(whole)
			sign(t, f.r, client, f.spec.Model, number)
		}()
		point(t, number, "too large")
	})
	f.fault(t, "the files of the promoted version gone from the store", always, func(t *testing.T) {
		number := versions[i].Number
		key := f.modelFile(t, client, number)
		s3 := store(t, f.r)
		copied := minio.CopySrcOptions{Bucket: "mlflow", Object: key}
		if _, err := s3.CopyObject(t.Context(), minio.CopyDestOptions{Bucket: "mlflow", Object: "aside"}, copied); err != nil {
			t.Fatal(err)
		}
		if err := s3.RemoveObject(t.Context(), "mlflow", key, minio.RemoveObjectOptions{}); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if _, err := s3.CopyObject(t.Context(), minio.CopyDestOptions{Bucket: "mlflow", Object: key}, minio.CopySrcOptions{Bucket: "mlflow", Object: "aside"}); err != nil {
				t.Fatal(err)
			}
		}()
		point(t, number, "model.ubj")
	})
	f.fault(t, "alias removed and set again", always, func(t *testing.T) {
		f.unalias(t)
		time.Sleep(3 * time.Second)
		if err := client.SetAlias(t.Context(), f.spec.Model, registry.Production, good.Number); err != nil {
			t.Fatal(err)
		}
	})
	f.fault(t, "two promotions at once", always, func(t *testing.T) {
		var names []string
		for range 2 {
			name, err := f.r.Submit(t.Context(), "promote-at-once-", "promote-best-model", nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, name)
		}
		for _, name := range names {
			f.follow(t, name)
		}
	})
}

// stored returns a file of MLflow's bucket, and a function that puts another one in its
// place.
func stored(t *testing.T, s3 *minio.Client, key string) (whole []byte, put func(text []byte)) {
	t.Helper()
	object, err := s3.GetObject(t.Context(), "mlflow", key, minio.GetObjectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if whole, err = io.ReadAll(object); err != nil {
		t.Fatal(err)
	}
	return whole, func(text []byte) {
		if _, err := s3.PutObject(t.Context(), "mlflow", key, bytes.NewReader(text), int64(len(text)), minio.PutObjectOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

// modelFile is the key of a version's trees in MLflow's bucket.
func (f *faults) modelFile(t *testing.T, client *mlflow.Client, number int) string {
	t.Helper()
	v, err := client.GetVersion(t.Context(), f.spec.Model, number)
	if err != nil {
		t.Fatal(err)
	}
	root, err := client.ResolveArtifacts(t.Context(), v)
	if err != nil {
		t.Fatal(err)
	}
	return path.Join(root, "model.ubj")
}

// unalias takes the alias production away, as an administrator may.
func (f *faults) unalias(t *testing.T) {
	t.Helper()
	conn, err := f.admin(t, "mlflow")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), "DELETE FROM registered_model_aliases WHERE name = $1 AND alias = $2", f.spec.Model, registry.Production); err != nil {
		t.Fatal(err)
	}
}

// testPartDeleted deletes a service's pod when the pipeline is in the middle of
// its data, and again when it trains.
func testPartDeleted(t *testing.T, f *faults, part string) {
	f.observe(t, part+" deleted while data is cleaned and while models are trained", always, func(t *testing.T) time.Duration { return deleteMidway(t, f, part) })
}

func deleteMidway(t *testing.T, f *faults, part string) time.Duration {
	r := f.r
	name := f.anew(t, "without-"+part)
	moments := []string{"process-data", "train"}
	for _, kind := range moments {
		eventually(t, 5*time.Minute, func() error {
			pods, err := r.Pods(t.Context(), "workflows.argoproj.io/workflow="+name)
			if err != nil {
				return err
			}
			for _, p := range pods {
				if template(&p) == kind && mainRuns(&p) {
					return nil
				}
			}
			if w, err := r.Workflow(t.Context(), name); err == nil && w != nil && w.Status.Fulfilled() {
				t.Fatalf("the workflow ended %s before a pod of %s was seen to run: %s", w.Status.Phase, kind, w.Status.Message)
			}
			return fmt.Errorf("no pod of %s runs", kind)
		})
		pods, err := r.Pods(t.Context(), "app.kubernetes.io/component="+part+",app.kubernetes.io/instance="+r.Name)
		if err != nil || len(pods) == 0 {
			t.Fatalf("%d pods of %s, %v", len(pods), part, err)
		}
		if err := r.Client.CoreV1().Pods(r.Namespace).Delete(t.Context(), pods[0].Name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if w := f.follow(t, name); w != nil {
		t.Logf("%s deleted during %s: %s after %s", part, strings.Join(moments, " and "), w.Status.Phase, took(w))
		return took(w)
	}
	return 0
}

// testUpgrades upgrades from a chart that knew fewer values, both ways that Helm has to
// keep the user's own, and goes back: no request fails, passwords stay.
func testUpgrades(t *testing.T, f *faults) {
	m, r := f.m, f.r
	before := secrets(t, r)
	old := filepath.Join(t.TempDir(), "charts")
	m.must(t, nil, "cp", "-rL", "charts", old)
	m.must(t, nil, "cp", filepath.Join("internal", "chart", "testdata", "values-before.yaml"), filepath.Join(old, "values.yaml"))
	helm := func(t *testing.T, version string, args ...string) {
		t.Helper()
		m.must(t, nil, append(append([]string{m.helm(t, version)}, args...), "--namespace", "mlops", "--kubeconfig", m.kubeconfig(), "--wait", "--timeout", "5m")...)
	}
	for _, by := range []struct{ version, keep string }{{"4", "--reuse-values"}, {"3", "--reset-then-reuse-values"}} { // Helm 4 goes on in Helm 3's way then
		version, keep := by.version, by.keep
		// The user's own values, and the old chart's defaults.
		helm(t, version, "upgrade", "mlops", old, "--reset-values", "-f", filepath.Join("dist", "values.yaml"), "-f", filepath.Join(m.home, "values.yaml"))
		f.fault(t, "upgrade with a new value, Helm "+version+" "+keep, always, func(t *testing.T) {
			helm(t, version, "upgrade", "mlops", "charts", keep, "--set", "inference.resources.limits.memory=30"+version+"Mi,pipelines.backup.keep=9")
		})
		f.fault(t, "rollback, Helm "+version, always, func(t *testing.T) { helm(t, version, "rollback", "mlops") })
	}
	if after := secrets(t, r); after != before {
		t.Error("passwords have changed")
	}
	out, err := m.run(t, nil, m.helm(t, "4"), "upgrade", "mlops", "charts", "--reuse-values", "--set", "postgres.persistence.size=11Gi", "--namespace", "mlops", "--kubeconfig", m.kubeconfig())
	if err == nil || !strings.Contains(out, "Grow a volume") {
		t.Errorf("an upgrade with a larger volume: %v: %s", err, tail(out))
	}
}

// testReinstall takes the release away and installs it again on what it kept.
func testReinstall(t *testing.T, f *faults) {
	m, r := f.m, f.r
	before := secrets(t, r)
	view := served(t, inference)
	f.fault(t, "uninstalled and installed again", 0, func(t *testing.T) {
		m.must(t, nil, m.helm(t, "3"), "uninstall", "mlops", "--namespace", "mlops", "--kubeconfig", m.kubeconfig(), "--wait")
		m.must(t, nil, m.helm(t, "3"), "install", "mlops", "charts", "--namespace", "mlops", "--kubeconfig", m.kubeconfig(),
			"-f", filepath.Join("dist", "values.yaml"), "--set", "nodePorts.mlflow.enabled=true,nodePorts.argo.enabled=true", "--wait", "--timeout", "10m")
	})
	if after := secrets(t, r); after != before {
		t.Error("passwords have changed")
	}
	if again := served(t, inference); again.Model != view.Model {
		t.Errorf("%+v is served, it was %+v", again.Model, view.Model)
	}
	if w, err := r.Workflow(t.Context(), "pipeline-on-install"); err != nil || w != nil {
		t.Errorf("a first run was started, though a version is in production: %v", err)
	}
	f.whole(t)
}

func secrets(t *testing.T, r *kube.Release) string {
	t.Helper()
	list, err := r.Client.CoreV1().Secrets(r.Namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, s := range list.Items {
		if s.Type == corev1.SecretTypeOpaque {
			fmt.Fprintln(&b, s.Name, s.Data)
		}
	}
	return b.String()
}

// testNodeServicesKilled kills the node's services one by one under load. The node
// starts them again by itself, and no prediction fails.
func testNodeServicesKilled(t *testing.T, f *faults) {
	cluster := filepath.Join(f.m.home, "bin", "cluster")
	for _, name := range []string{"kubelet", "containerd", "proxy", "etcd", "apiserver"} {
		f.observe(t, name+" of the node killed", always, func(t *testing.T) time.Duration {
			began := time.Now()
			f.m.must(t, nil, cluster, "kill", name)
			eventually(t, time.Minute, func() error {
				out, err := f.m.run(t, nil, cluster, "status")
				if err == nil && (strings.Contains(out, "down") || strings.Contains(out, "up, but") || strings.Contains(out, "no: ")) {
					err = fmt.Errorf("it does not work yet:\n%s", out)
				}
				return err
			})
			took := time.Since(began)
			f.m.noteTime(t, name+" killed, until the node works again", took, "")
			return took
		})
	}
}

// testNodeKilled kills all processes of the node at once, and starts it again.
func testNodeKilled(t *testing.T, f *faults) {
	m := f.m
	cluster := filepath.Join(m.home, "bin", "cluster")
	f.observe(t, "node killed", 0, func(t *testing.T) time.Duration {
		m.must(t, nil, cluster, "kill")
		began := time.Now()
		m.must(t, nil, "make", "up")
		took := time.Since(began)
		m.noteTime(t, "make up after the whole node was killed", took, "")
		f.r = m.release(t, "mlops")
		eventually(t, most, func() error { return f.works(t) })
		return took
	})
}
