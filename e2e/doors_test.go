//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	wfv1 "github.com/argoproj/argo-workflows/v3/pkg/apis/workflow/v1alpha1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"mlops/internal/api"
	"mlops/internal/kube"
	"mlops/internal/mlflow"
	"mlops/internal/registry"
	"mlops/internal/signature"
)

// Argo's server on the node's port, as make up opens it.
const argo = "http://localhost:30746"

// testDoors tries what an attacker would.
func testDoors(t *testing.T, m *machine) {
	r := m.release(t, "mlops")
	t.Run("a workflow from a web page", func(t *testing.T) { testArgoToken(t, r) })
	t.Run("MLflow without a login", func(t *testing.T) { testMLflowLogin(t, r) })
	t.Run("a name that leads here", testForeignName)
	t.Run("a model that nobody signed", func(t *testing.T) { testFalseModel(t, r) })
	t.Run("a privileged pod", func(t *testing.T) { testPrivileged(t, r) })
	t.Run("what each account may do", func(t *testing.T) { testAccounts(t, m, r) })
	t.Run("a neighbour on the network", func(t *testing.T) { testNeighbour(t, m, r) })
}

// testArgoToken posts a workflow as any page in a browser could, and with the token
// of an account that may not.
func testArgoToken(t *testing.T, r *kube.Release) {
	workflow, err := json.Marshal(map[string]any{"workflow": wfv1.Workflow{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "intruder-"},
		Spec:       wfv1.WorkflowSpec{Entrypoint: "a", Templates: []wfv1.Template{{Name: "a", Container: &corev1.Container{Image: "mlops.local/setup:0.1.0"}}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	send := func(method, path, contentType, token string) int {
		t.Helper()
		var content string
		if method == http.MethodPost {
			content = string(workflow)
		}
		req, err := http.NewRequestWithContext(t.Context(), method, argo+path, strings.NewReader(content))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", contentType)
		req.Header.Set("Origin", "http://evil.example")
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	tokenOf := func(account string) string {
		t.Helper()
		answer, err := r.Client.CoreV1().ServiceAccounts(r.Namespace).CreateToken(t.Context(), account, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return answer.Status.Token
	}
	for name, token := range map[string]string{"without a token": "", "with an invented token": "invented", "with a step's token": tokenOf(r.Service("workflow"))} {
		for _, contentType := range []string{"text/plain", "application/json"} {
			if code := send(http.MethodPost, "/api/v1/workflows/mlops", contentType, token); code < 400 {
				t.Errorf("%s, as %s: a workflow is accepted with status %d", name, contentType, code)
			}
		}
		if code := send(http.MethodGet, "/api/v1/workflows/mlops", "", token); code < 400 {
			t.Errorf("%s: workflows are listed with status %d", name, code)
		}
	}
	if code := send(http.MethodGet, "/api/v1/workflows/mlops", "", tokenOf(r.Service("argo-user"))); code != http.StatusOK {
		t.Errorf("with the token that make up tells people to make: status %d", code)
	}
	ws, err := r.Workflows(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range ws {
		if strings.HasPrefix(w.Name, "intruder-") {
			t.Errorf("workflow %s runs", w.Name)
		}
	}
}

// testMLflowLogin asks MLflow without a login, and as a page of another origin.
func testMLflowLogin(t *testing.T, r *kube.Release) {
	base := forward(t, r, "mlflow", 5000)
	user, password, err := r.MLflowLogin(t.Context(), "steps")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, user, origin string
		want               int
	}{
		{"without a login", "", "", http.StatusUnauthorized},
		{"with a login", user, "", http.StatusOK},
		{"from a page of another origin", user, "http://10.evil.example", http.StatusForbidden},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+"/api/2.0/mlflow/experiments/search", strings.NewReader(`{"max_results": 1}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		if tt.origin != "" {
			req.Header.Set("Origin", tt.origin)
		}
		if tt.user != "" {
			req.SetBasicAuth(tt.user, password)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != tt.want {
			t.Errorf("%s: status %d, want %d", tt.name, resp.StatusCode, tt.want)
		}
	}
}

// testForeignName asks as a browser does that opens a page of another site whose name was
// made to lead to this machine.
func testForeignName(t *testing.T) {
	for _, base := range []string{inference, page} {
		resp, err := (&http.Client{Transport: hostHeader{"evil.example"}}).Get(base + "/model")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusMisdirectedRequest {
			t.Errorf("%s by another site's name: %s", base, resp.Status)
		}
	}
}

// testNeighbour asks from another machine, which is a network namespace with a cable
// to this one and routes to the cluster's addresses.
func testNeighbour(t *testing.T, m *machine, r *kube.Release) {
	const space, ours, theirs = "mlops-e2e", "198.51.100.1", "198.51.100.2"
	exec := func(argv ...string) []string { return append([]string{"ip", "netns", "exec", space}, argv...) }
	m.must(t, nil, "ip", "netns", "add", space)
	defer m.run(t, nil, "ip", "netns", "del", space)
	for _, argv := range [][]string{
		{"ip", "link", "add", "veth-e2e", "type", "veth", "peer", "name", "eth0", "netns", space},
		{"ip", "address", "add", ours + "/24", "dev", "veth-e2e"}, {"ip", "link", "set", "veth-e2e", "up"},
		exec("ip", "address", "add", theirs+"/24", "dev", "eth0"), exec("ip", "link", "set", "eth0", "up"),
		exec("ip", "route", "add", "10.213.0.0/16", "via", ours),
		exec("sysctl", "-q", "-w", "net.ipv4.conf.all.route_localnet=1"), exec("ip", "route", "add", "127.0.0.0/8", "via", ours, "src", theirs),
	} {
		m.must(t, nil, argv...)
	}
	service, err := r.Client.CoreV1().Services(r.Namespace).Get(t.Context(), r.Service("inference"), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pods, err := r.Pods(t.Context(), "app.kubernetes.io/component=inference,app.kubernetes.io/instance="+r.Name)
	if err != nil || len(pods) == 0 {
		t.Fatalf("%d pods of inference, %v", len(pods), err)
	}
	for name, address := range map[string]string{
		"the NodePort on 127.0.0.1": "127.0.0.1/30800", "the NodePort on the node's address": "10.213.255.1/30800",
		"the Service": service.Spec.ClusterIP + "/8000", "a pod": pods[0].Status.PodIP + "/8000",
	} {
		connect := []string{"timeout", "2", "bash", "-c", "exec 3<>/dev/tcp/" + address}
		if out, err := m.run(t, nil, connect...); err != nil {
			t.Errorf("this machine does not reach %s: %v\n%s", name, err, out)
		}
		if _, err := m.run(t, nil, exec(connect...)...); err == nil {
			t.Errorf("a neighbour reaches %s", name)
		}
	}
}

// sign signs a version with the release's key.
func sign(t *testing.T, r *kube.Release, client *mlflow.Client, model string, number int) {
	t.Helper()
	secret, err := r.Secret(t.Context(), "signing")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := signature.ReadSigner([]byte(secret["MLOPS_SIGNING_KEY"]))
	if err != nil {
		t.Fatal(err)
	}
	dir, v := t.TempDir(), registry.Version{Name: model, Number: number}
	if err := registry.New(client, model).Download(t.Context(), v, dir); err != nil {
		t.Fatal(err)
	}
	subject, err := v.Subject(os.DirFS(dir)) // also of files that can't be read as a model
	if err == nil {
		err = client.SetVersionTag(t.Context(), model, number, registry.TagSignature, signer.Sign(subject))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// testFalseModel moves the alias past the gate, with the login of the steps: the version
// that promotion has signed stays.
func testFalseModel(t *testing.T, r *kube.Release) {
	client := stepsClient(t, r)
	before := served(t, inference)
	versions, err := client.SearchVersions(t.Context(), "name='"+before.Model.Name+"'", nil, 10)
	if err != nil {
		t.Fatal(err)
	}
	good, err := strconv.Atoi(before.Model.Number)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range versions {
		if v.Tags[registry.TagSignature] != "" {
			continue
		}
		if err := client.SetAlias(t.Context(), v.Name, registry.Production, v.Number); err != nil {
			t.Fatal(err)
		}
		eventually(t, 30*time.Second, func() error {
			view, err := api.NewClient(inference, nil).Model(t.Context())
			if err != nil {
				return err
			}
			if view.Refused == nil || view.Refused.Version != strconv.Itoa(v.Number) || !strings.Contains(view.Refused.Reason, "not signed") {
				return fmt.Errorf("refused is %+v, want version %d because nobody signed it", view.Refused, v.Number)
			}
			return nil
		})
		if after := served(t, inference); after.Model != before.Model {
			t.Errorf("%+v is served, want %+v", after.Model, before.Model)
		}
		if err := client.SetAlias(t.Context(), v.Name, registry.Production, good); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Error("every version is signed, want one that promotion has not chosen")
}

// testPrivileged asks for root on the machine.
func testPrivileged(t *testing.T, r *kube.Release) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "intruder"}, Spec: corev1.PodSpec{
		Containers: []corev1.Container{{Name: "a", Image: "mlops.local/setup:0.1.0", SecurityContext: &corev1.SecurityContext{Privileged: ptr.To(true)},
			VolumeMounts: []corev1.VolumeMount{{Name: "host", MountPath: "/host"}}}},
		Volumes: []corev1.Volume{{Name: "host", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/"}}}},
	}}
	_, err := r.Client.CoreV1().Pods(r.Namespace).Create(t.Context(), pod, metav1.CreateOptions{})
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "restricted") {
		t.Errorf("a privileged pod with the machine's root folder: %v", err)
	}
}
