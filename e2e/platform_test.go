//go:build e2e

package e2e

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"mlops/internal/kube"
)

// Addresses of the first release on this machine.
const (
	inference = "http://localhost:30800"
	page      = "http://localhost:30851"
)

func TestPlatform(t *testing.T) {
	m := newMachine(t)
	part := func(name string, test func(t *testing.T)) {
		if !t.Run(name, test) && strings.HasPrefix(name, "install") {
			t.FailNow()
		}
	}
	// Not a Cleanup: there no part of a test may run.
	defer func() {
		if os.Getenv("KEEP") != "1" {
			t.Run("down", func(t *testing.T) { m.must(t, []string{"PURGE=1"}, "make", "down") })
		}
	}()
	part("install cluster", func(t *testing.T) { testCluster(t, m) })
	part("install", func(t *testing.T) { testUp(t, m) })
	part("image sizes", func(t *testing.T) { testImages(t, m) })
	part("again", func(t *testing.T) { testAgain(t, m) })
	part("rows and scores", func(t *testing.T) { testServed(t, m) })
	part("memory", func(t *testing.T) { testMemory(t, m) })
	part("no secret in sight", func(t *testing.T) { testSecrets(t, m) })
	part("closed doors", func(t *testing.T) { testDoors(t, m) })
	part("swap", func(t *testing.T) { testSwap(t, m) })
	part("rollback", func(t *testing.T) { testRollback(t, m) })
	part("a server's pod deleted under load", func(t *testing.T) { testServerDeleted(t, m) })
	part("dashboards", func(t *testing.T) { testDashboards(t, m) })
	part("ingress", func(t *testing.T) { testIngress(t, m) })
	part("install second", func(t *testing.T) { testSecond(t, m) })
	part("a failed step says why", func(t *testing.T) { testSaysWhy(t, m) })
	part("runner and Argo", func(t *testing.T) { testParity(t, m) })
	part("a step's pod deleted", func(t *testing.T) { testStepsDeleted(t, m) })
	part("search", func(t *testing.T) { testSearch(t, m) })
	part("retention", func(t *testing.T) { testRetention(t, m) })
	part("adopt", func(t *testing.T) { testAdopt(t, m) })
	part("users", func(t *testing.T) { testUsers(t, m) })
	part("watched", func(t *testing.T) { testWatched(t, m) })
	part("status", func(t *testing.T) { testStatus(t, m) })
}

// testCluster starts the cluster and makes the second release's namespace under the
// restricted Pod Security Standard; make up makes the first one's.
func testCluster(t *testing.T, m *machine) {
	bin := filepath.Join(m.home, "bin", "cluster")
	m.must(t, []string{"CGO_ENABLED=0"}, "go", "build", "-C", filepath.Join("tools", "cluster"), "-trimpath", "-buildvcs=false", "-o", bin, ".")
	// What an earlier run left, whole or killed.
	m.must(t, []string{"PURGE=1"}, bin, "down")
	began := time.Now()
	m.must(t, nil, bin, "up")
	m.noteTime(t, "one-node cluster up, programs built", time.Since(began), "")
	restricted(t, m.release(t, "penguins"))
}

func restricted(t *testing.T, r *kube.Release) {
	t.Helper()
	_, err := r.Client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: r.Namespace, Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}}}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
}

func testUp(t *testing.T, m *machine) {
	began := time.Now()
	out := m.must(t, nil, "make", "up")
	m.noteTime(t, "make up to a prediction, programs and images cached, cluster running", time.Since(began), "240 s with the cluster")
	for _, want := range []string{"http://localhost:30800", "http://localhost:30851", "in production: readmission version", "The answer: "} {
		if !strings.Contains(out, want) {
			t.Errorf("make up does not say %q", want)
		}
	}
	ws, err := m.release(t, "mlops").Workflows(t.Context(), "")
	if err != nil || len(ws) == 0 {
		t.Fatalf("%d workflows, %v", len(ws), err)
	}
	m.noteTime(t, "pipeline in Argo, 101,766 rows, 3 candidates", ws[0].Status.FinishedAt.Sub(ws[0].Status.StartedAt.Time), "150 s")
}

// testImages looks at the size of our images of one static program.
func testImages(t *testing.T, m *machine) {
	largest := 0.0
	for _, name := range []string{"load-raw-data", "process-data", "load-val-test-data", "promote-best-model", "score-batch", "inference", "ui", "setup", "loadtest"} {
		fi, err := os.Stat(filepath.Join(m.root, "dist", "images", name+".tar"))
		if err != nil {
			t.Fatal(err)
		}
		largest = max(largest, float64(fi.Size())/1e6)
		if _, err := os.Stat(filepath.Join(m.root, "dist", "images", name+"."+runtime.GOARCH+".spdx.json")); err != nil {
			t.Errorf("no list of what is in the image: %v", err)
		}
	}
	m.note(t, "largest of our static images", largest, "MB", "25 MB")
	if largest > 25 {
		t.Errorf("the largest has %.1f MB", largest)
	}
}

// testAgain runs `make up` once more: nothing may change.
func testAgain(t *testing.T, m *machine) {
	r := m.release(t, "mlops")
	before := state(t, r)
	began := time.Now()
	m.must(t, nil, "make", "up")
	m.noteTime(t, "make up again, nothing new", time.Since(began), "quick")
	if after := state(t, r); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

// state is what a second `make up` must not change.
func state(t *testing.T, r *kube.Release) string {
	t.Helper()
	var b strings.Builder
	secrets, err := r.Client.CoreV1().Secrets(r.Namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range secrets.Items {
		fmt.Fprintln(&b, "secret", s.Name, s.ResourceVersion)
	}
	pods, err := r.Pods(t.Context(), "app.kubernetes.io/instance="+r.Name)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pods {
		fmt.Fprintln(&b, "pod", p.Name, p.UID)
	}
	ws, err := r.Workflows(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range ws {
		fmt.Fprintln(&b, "workflow", w.Name, w.Status.Phase)
	}
	return b.String()
}

func testServed(t *testing.T, m *machine) {
	checkRows(t, m.release(t, "mlops"), "diabetes", rows)
	view := served(t, inference)
	if auc := view.Metrics["test_auc"]; !(auc > 0.65 && auc < 0.70) {
		t.Errorf("AUC on the test rows: %v", auc)
	}
	resp, err := http.Get(page)
	if err != nil {
		t.Fatal(err)
	}
	text := body(t, resp)
	for _, want := range []string{view.Dataset.Title, "<form", view.Model.RunID} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not hold %q", want)
		}
	}
}

// testMemory reads what each service holds when nothing runs.
func testMemory(t *testing.T, m *machine) {
	r := m.release(t, "mlops")
	var memory map[string]int64
	eventually(t, 3*time.Minute, func() error {
		text, err := r.Client.CoreV1().RESTClient().Get().AbsPath("/apis/metrics.k8s.io/v1beta1/namespaces/" + r.Namespace + "/pods").DoRaw(t.Context())
		if err != nil {
			return err
		}
		memory = kube.Memory(text)
		if len(memory) < 8 {
			return fmt.Errorf("%d pods are measured", len(memory))
		}
		return nil
	})
	var all, ours int64
	replica := regexp.MustCompile(`(-[0-9a-f]{7,10}-[0-9a-z]{5}|-[0-9]+)$`)
	for pod, bytes := range memory {
		name := replica.ReplaceAllString(pod, "")
		all += bytes
		if strings.HasSuffix(name, "-inference") || strings.HasSuffix(name, "-ui") {
			ours += bytes
		}
		m.note(t, "memory of "+name+", idle", float64(bytes>>20), "MiB", "")
	}
	m.note(t, "memory of the namespace, idle", float64(all>>20), "MiB", "1536 MiB")
	m.note(t, "of that inference and ui", float64(ours>>20), "MiB", "100 MiB")
	if all > 1536<<20 || ours > 100<<20 {
		t.Errorf("all %d MiB, want at most 1536; ours %d MiB, want at most 100", all>>20, ours>>20)
	}
}

// testSecrets looks for each password in what anybody with a view of the
// namespace can read: ConfigMaps, workflows, pods' specs and logs, events. It
// looks at what is there when nothing runs: pods of steps that are gone are not in
// it, but their arguments and outputs are, in the workflows.
func testSecrets(t *testing.T, m *machine) {
	r := m.release(t, "mlops")
	secrets, err := r.Client.CoreV1().Secrets(r.Namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	hidden := map[string][]string{}
	for _, s := range secrets.Items {
		if s.Type != corev1.SecretTypeOpaque {
			continue
		}
		for key, value := range s.Data {
			if k := strings.ToLower(key); strings.Contains(k, "password") || strings.Contains(k, "secret") {
				hidden[s.Name+"/"+key] = forms(value)
			}
		}
	}
	if len(hidden) < 5 {
		t.Fatalf("only %d passwords were found", len(hidden))
	}
	look := func(where, text string) {
		for name, forms := range hidden {
			for _, f := range forms {
				if strings.Contains(text, f) {
					t.Errorf("%s stands in %s", name, where)
				}
			}
		}
	}
	maps, err := r.Client.CoreV1().ConfigMaps(r.Namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range maps.Items {
		look("ConfigMap "+c.Name, c.String())
		for _, b := range c.BinaryData {
			look("ConfigMap "+c.Name, string(b))
		}
	}
	ws, err := r.Workflows(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range ws {
		look("workflow "+w.Name, w.String())
	}
	events, err := r.Client.CoreV1().Events(r.Namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events.Items {
		look("an event of "+e.InvolvedObject.Name, e.String())
	}
	pods, err := r.Pods(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	logs := 0
	for _, p := range pods {
		look("pod "+p.Name, p.String())
		for _, c := range slices.Concat(p.Spec.InitContainers, p.Spec.Containers) {
			log, err := r.Client.CoreV1().Pods(r.Namespace).GetLogs(p.Name, &corev1.PodLogOptions{Container: c.Name}).DoRaw(t.Context())
			if err != nil {
				t.Errorf("log of %s, container %s: %v", p.Name, c.Name, err)
			}
			look("the log of "+p.Name, string(log))
			logs++
		}
	}
	t.Logf("%d passwords looked for in %d ConfigMaps, %d workflows, %d events, %d pods, %d logs", len(hidden), len(maps.Items), len(ws), len(events.Items), len(pods), logs)
}

// forms are a password as it is and in base64, also in the middle of something
// longer ("user:password"), where it may begin at any of three places.
func forms(password []byte) []string {
	all := []string{string(password)}
	for before := range 3 {
		text := base64.StdEncoding.EncodeToString(append(make([]byte, before), password...))
		// The characters at its ends depend on what stands beside it.
		all = append(all, text[(before*8+5)/6:(before+len(password))*8/6])
	}
	return all
}

// testStatus looks at the screen of `make status`.
func testStatus(t *testing.T, m *machine) {
	out := m.must(t, nil, "make", "status")
	for _, want := range []string{"mlops-inference", "101766", "IN PRODUCTION: readmission version", "Succeeded"} {
		if !strings.Contains(out, want) {
			t.Errorf("make status does not say %q", want)
		}
	}
	out = m.must(t, nil, "make", "status", "NAMESPACE=penguins")
	for _, want := range []string{"namespace penguins", "IN PRODUCTION: penguin-sex version"} {
		if !strings.Contains(out, want) {
			t.Errorf("make status of another namespace does not say %q", want)
		}
	}
}
