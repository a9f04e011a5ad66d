package main

import (
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	"mlops/internal/kube"
	"mlops/internal/origin"
)

// holding is a release in a cluster that holds these objects.
func holding(objects ...runtime.Object) *kube.Release {
	return &kube.Release{Name: releaseName, Namespace: namespace, Client: fake.NewClientset(objects...)}
}

func named(name string, labels map[string]string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: name, Namespace: namespace, Labels: labels}
}

func TestValues(t *testing.T) {
	const spec = "name: a\ntitle: \"{{x}}, \\\\ and a tab:\t\"\n"
	file := filepath.Join(t.TempDir(), "a,b{c}.yaml")
	if err := os.WriteFile(file, []byte(spec), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		why, kind, url, registry, source string
		open                             bool
	}{
		{"NodePorts of our own cluster are open to this machine only", own, "", "", "", true},
		{"those of a cluster on this machine may be a network's", "k3s", "", "", "", false},
		{"those of another's cluster too", "other", "", "r.example.com/mlops", "", false},
		{"a comma and braces belong to the address", own, "https://example.org/t.csv?columns={a,b}", "", "https://example.org/t.csv?columns={a,b}", true},
		{"a file is read from the bucket", own, "file:///data/a,b.csv", "", "s3://sources/a,b.csv", true},
	} {
		c, _ := machine(t, "")
		c.spec, c.registry, c.hosts = file, tt.registry, []string{"localhost"}
		text, err := c.values(t.Context(), target{Kind: tt.kind}, holding(apiSlice), origin.Table{URL: tt.url})
		if err != nil {
			t.Fatal(err)
		}
		var v struct {
			NodePorts map[string]struct{ Enabled bool }
			Global    struct {
				Images  struct{ Registry string }
				Dataset struct{ Spec string }
			}
			Inference, UI   struct{ AllowedHosts []string }
			Pipelines       struct{ Source string }
			NetworkPolicies struct {
				APIServer *struct {
					To    []networkingv1.NetworkPolicyPeer
					Ports []int
				}
			}
		}
		if err := yaml.Unmarshal(text, &v); err != nil {
			t.Fatal(err)
		}
		if v.NodePorts["mlflow"].Enabled != tt.open || v.NodePorts["argo"].Enabled != tt.open || v.NodePorts["loadtest"].Enabled != tt.open || v.NodePorts["prometheus"].Enabled || v.Pipelines.Source != tt.source || v.Global.Images.Registry != tt.registry || v.Global.Dataset.Spec != spec {
			t.Errorf("%s: got\n%s", tt.why, text)
		}
		if known := slices.Equal(v.Inference.AllowedHosts, c.hosts) && slices.Equal(v.UI.AllowedHosts, c.hosts); known != (tt.kind == own) {
			t.Errorf("%s: names are known: %v, in\n%s", tt.why, known, text)
		}
		api := v.NetworkPolicies.APIServer
		if tt.kind != own {
			if api != nil {
				t.Errorf("%s: the API server's address, which may change, is in\n%s", tt.why, text)
			}
		} else if api == nil || len(api.To) != 1 || api.To[0].IPBlock.CIDR != "10.213.255.1/32" || !slices.Equal(api.Ports, []int{6443}) {
			t.Errorf("%s: want the API server's address 10.213.255.1/32, port 6443, got\n%s", tt.why, text)
		}
	}
}

// apiSlice is where Kubernetes' API is.
var apiSlice = &discoveryv1.EndpointSlice{
	ObjectMeta: metav1.ObjectMeta{Name: "kubernetes", Namespace: metav1.NamespaceDefault, Labels: map[string]string{discoveryv1.LabelServiceName: "kubernetes"}},
	Endpoints:  []discoveryv1.Endpoint{{Addresses: []string{"10.213.255.1"}}}, Ports: []discoveryv1.EndpointPort{{Port: ptr.To[int32](6443)}},
}

func TestAddresses(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	_, text, _ := net.SplitHostPort(server.Listener.Addr().String())
	port, _ := strconv.Atoi(text)
	service := func(name string, port int) *corev1.Service {
		return &corev1.Service{ObjectMeta: named(name, nil), Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{NodePort: int32(port)}}}}
	}
	got := addresses(t.Context(), holding(service("mlops-ui", port), service("mlops-inference", 1), service("mlops-mlflow", 0), service("mlops-argo", 0)), "kubectl -n mlops")
	want := "  page        http://localhost:" + text + "\n" +
		"  API         http://localhost:8000 while make forward runs\n" + // its NodePort does not answer
		"  MLflow      http://localhost:5000 while make forward runs\n" + // it has none
		"              user admin, password: kubectl -n mlops get secret mlops-mlflow-admin -o jsonpath='{.data.MLFLOW_AUTH_ADMIN_PASSWORD}' | base64 -d\n" +
		"  Argo        http://localhost:2746 while make forward runs\n" +
		"              token: echo \"Bearer $(kubectl -n mlops create token mlops-argo-user --duration=12h)\"\n"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// helmSecret is what Helm keeps of one revision of a release.
func helmSecret(revision int, status string) *corev1.Secret {
	n := strconv.Itoa(revision)
	return &corev1.Secret{ObjectMeta: named("sh.helm.release.v1.mlops.v"+n, map[string]string{"owner": "helm", "name": releaseName, "version": n, "status": status})}
}

func TestInstall(t *testing.T) {
	ready := &appsv1.Deployment{ObjectMeta: named("mlops-ui", map[string]string{"app.kubernetes.io/instance": releaseName})}
	ready.Status.UpdatedReplicas, ready.Status.AvailableReplicas, ready.Status.Replicas = 1, 1, 1
	for _, tt := range []struct {
		why       string
		secrets   []runtime.Object
		installed bool
	}{
		{"the same release is there", []runtime.Object{helmSecret(1, "deployed")}, false},
		{"its tenth upgrade is newer than its ninth", []runtime.Object{helmSecret(9, "failed"), helmSecret(10, "deployed")}, false},
		{"it was uninstalled by hand", nil, true},
		{"it was uninstalled, its history kept", []runtime.Object{helmSecret(1, "uninstalled")}, true},
		{"an upgrade by hand has failed", []runtime.Object{helmSecret(1, "deployed"), helmSecret(2, "failed")}, true},
	} {
		t.Run(tt.why, func(t *testing.T) {
			c, calls := machine(t, "", "helm")
			if err := os.MkdirAll(filepath.Dir(c.valuesFile()), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(c.valuesFile(), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			to := target{Kind: own}
			text, err := c.values(t.Context(), to, holding(apiSlice), origin.Table{})
			if err != nil {
				t.Fatal(err)
			}
			digest, err := c.installDigest(text)
			if err != nil {
				t.Fatal(err)
			}
			note := &corev1.ConfigMap{ObjectMeta: named("mlops-up", nil), Data: map[string]string{"install": digest}}
			if err := c.install(t.Context(), to, holding(append(tt.secrets, ready, note, apiSlice)...), origin.Table{}); err != nil {
				t.Fatal(err)
			}
			if got := strings.HasPrefix(calls(), "helm upgrade --install mlops charts "); got != tt.installed {
				t.Errorf("Helm was called: %q", calls())
			}
		})
	}
	if waits, err := unready(t.Context(), holding()); err != nil || len(waits) == 0 {
		t.Errorf("a release without services is ready: %v", err)
	}
}

// The namespace refuses privileged pods, also where it was there before or said
// something else; other labels stay.
func TestRestrict(t *testing.T) {
	for _, tt := range []struct {
		why    string
		there  []runtime.Object
		labels map[string]string
	}{
		{"no namespace yet", nil, map[string]string{restrictedLabel: "restricted"}},
		{"one without labels", []runtime.Object{&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}}, map[string]string{restrictedLabel: "restricted"}},
		{"one that allows everything", []runtime.Object{&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace, Labels: map[string]string{restrictedLabel: "privileged", "team": "a"}}}},
			map[string]string{restrictedLabel: "restricted", "team": "a"}},
	} {
		t.Run(tt.why, func(t *testing.T) {
			c, _ := machine(t, "")
			r := holding(tt.there...)
			for range 2 {
				if err := c.restrict(t.Context(), r); err != nil {
					t.Fatal(err)
				}
			}
			space, err := r.Client.CoreV1().Namespaces().Get(t.Context(), namespace, metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.labels, space.Labels); diff != "" {
				t.Errorf("labels (-want +got):\n%s", diff)
			}
		})
	}
	// Another's cluster may keep its namespaces to itself.
	client := fake.NewClientset()
	client.PrependReactor("create", "namespaces", func(k8stesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(corev1.Resource("namespaces"), namespace, nil)
	})
	c, _ := machine(t, "")
	if err := c.restrict(t.Context(), &kube.Release{Name: releaseName, Namespace: namespace, Client: client}); err != nil {
		t.Errorf("without the right to label the namespace: %v", err)
	}
}

// A cluster that is down is not one that lacks the services.
func TestPresent(t *testing.T) {
	page := &corev1.Service{ObjectMeta: named("mlops-ui", nil)}
	if got, err := present(t.Context(), holding(page)); err != nil || len(got) != 1 || got[0].title != "page" {
		t.Errorf("a release with a page: %v, %v", got, err)
	}
	if _, err := present(t.Context(), holding()); err == nil || !strings.Contains(err.Error(), "has none of the platform's services") {
		t.Errorf("no release: %v", err)
	}
	file := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(file, []byte(contextNamed("x", "http://127.0.0.1:9")), 0o600); err != nil {
		t.Fatal(err)
	}
	down, err := target{Kubeconfig: file}.release()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := present(t.Context(), down); err == nil || !strings.Contains(err.Error(), "asking the cluster") {
		t.Errorf("a cluster that is down: %v", err)
	}
}

// Without NAMESPACE, the release in the usual namespace comes first, then the only other one.
func TestNearest(t *testing.T) {
	for _, tt := range []struct {
		name   string
		spaces []string
		want   string
		refuse string
	}{
		{"none", nil, namespace, ""},
		{"the usual one, and others", []string{"team-a", namespace}, namespace, ""},
		{"another one", []string{"team-a"}, "team-a", ""},
		{"several others", []string{"team-b", "team-a"}, "", "team-a, team-b have one: choose with NAMESPACE=team-a"},
	} {
		var records []runtime.Object
		for _, space := range tt.spaces {
			records = append(records, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: space, Name: "sh.helm.release.v1.mlops.v1",
				Labels: map[string]string{"owner": "helm", "name": releaseName, "version": "1", "status": "deployed"}}})
		}
		got, err := nearest(t.Context(), &kube.Release{Name: releaseName, Namespace: namespace, Client: fake.NewClientset(records...)})
		switch {
		case tt.refuse != "":
			if err == nil || !strings.Contains(err.Error(), tt.refuse) {
				t.Errorf("%s: %v, want %q", tt.name, err, tt.refuse)
			}
		case err != nil || got.Namespace != tt.want:
			t.Errorf("%s: %+v, %v; want namespace %s", tt.name, got, err, tt.want)
		}
	}
}
