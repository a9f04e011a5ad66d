package chart

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var notRendered = regexp.MustCompile(`(?m)^# Secret (\S+) \(keys (.*)\) is not rendered`)

// generated returns the keys of the Secrets with passwords, by name. Without a cluster,
// only comments list them.
func generated(r *rendering) map[string][]string {
	found := map[string][]string{}
	for _, m := range notRendered.FindAllStringSubmatch(r.text, -1) {
		found[m[1]] = strings.Split(m[2], ", ")
	}
	for _, s := range all[*corev1.Secret](r) {
		for key := range s.Data {
			found[s.Name] = append(found[s.Name], key)
		}
	}
	return found
}

func TestNoPasswordWithoutACluster(t *testing.T) {
	t.Parallel()
	eachScenario(t, func(t *testing.T, r *rendering) {
		for _, s := range all[*corev1.Secret](r) {
			if s.Type != corev1.SecretTypeServiceAccountToken || len(s.Data)+len(s.StringData) > 0 {
				t.Errorf("Secret %s is rendered without a cluster: its password would change with each rendering", s.Name)
			}
		}
	})
	eachHelm(t, func(t *testing.T, helm string) {
		want := []string{"mlops-grafana", "mlops-loadtest", "mlops-minio-metrics", "mlops-mlflow-admin", "mlops-mlflow-inference", "mlops-mlflow-steps", "mlops-postgres", "mlops-postgres-app", "mlops-postgres-argo", "mlops-postgres-clean", "mlops-postgres-figures", "mlops-postgres-load", "mlops-postgres-mlflow", "mlops-postgres-monitor", "mlops-postgres-promote", "mlops-postgres-read", "mlops-postgres-score", "mlops-postgres-serve", "mlops-postgres-split", "mlops-postgres-train", "mlops-s3", "mlops-s3-loader", "mlops-s3-mlflow", "mlops-s3-scorer", "mlops-signers", "mlops-signing"}
		var got []string
		for name := range generated(render(t, helm, "mlops", "mlops")) {
			got = append(got, name)
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("the default values name the Secrets %v, want %v", got, want)
		}
	})
}

// cluster serves as much of Kubernetes' API as Helm's lookup of Secrets needs, and counts
// the requests for Secrets.
func cluster(t *testing.T, secrets map[string]*corev1.Secret, installed ...metav1.Object) (url string, asked *atomic.Int32) {
	t.Helper()
	asked = new(atomic.Int32)
	mux := http.NewServeMux()
	answer := func(pattern string, f func(r *http.Request) (int, any)) {
		mux.HandleFunc("GET "+pattern, func(w http.ResponseWriter, r *http.Request) {
			code, body := f(r)
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(code)
			json.NewEncoder(w).Encode(body)
		})
	}
	answer("/version", func(*http.Request) (int, any) {
		return 200, map[string]string{"major": "1", "minor": "33", "gitVersion": "v" + kubeVersion}
	})
	answer("/api", func(*http.Request) (int, any) {
		return 200, metav1.APIVersions{TypeMeta: metav1.TypeMeta{Kind: "APIVersions"}, Versions: []string{"v1"}}
	})
	// Helm 4 also looks up what each kind is called.
	var groups []metav1.APIGroup
	for group, versions := range kinds() {
		for version, resources := range versions {
			gv := metav1.GroupVersionForDiscovery{GroupVersion: group + "/" + version, Version: version}
			path := "/apis/" + gv.GroupVersion
			if group == "" {
				gv.GroupVersion, path = version, "/api/"+version
			} else {
				groups = append(groups, metav1.APIGroup{Name: group, Versions: []metav1.GroupVersionForDiscovery{gv}, PreferredVersion: gv})
			}
			answer(path, func(*http.Request) (int, any) {
				return 200, metav1.APIResourceList{TypeMeta: metav1.TypeMeta{Kind: "APIResourceList"}, GroupVersion: gv.GroupVersion, APIResources: resources}
			})
		}
	}
	answer("/apis", func(*http.Request) (int, any) {
		return 200, metav1.APIGroupList{TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"}, Groups: groups}
	})
	answer("/api/v1/namespaces/mlops/secrets", func(*http.Request) (int, any) {
		asked.Add(1)
		return 200, corev1.SecretList{TypeMeta: metav1.TypeMeta{Kind: "SecretList", APIVersion: "v1"}, Items: []corev1.Secret{}}
	})
	answer("/api/v1/namespaces/mlops/secrets/{name}", func(r *http.Request) (int, any) {
		asked.Add(1)
		if s := secrets[r.PathValue("name")]; s != nil {
			s.TypeMeta = metav1.TypeMeta{Kind: "Secret", APIVersion: "v1"}
			return 200, s
		}
		return 404, metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: "Failure", Reason: metav1.StatusReasonNotFound, Code: 404, Message: "not found"}
	})
	for _, o := range installed {
		path := "/apis/apps/v1/namespaces/mlops/deployments/"
		switch o.(type) {
		case *appsv1.StatefulSet:
			path = "/apis/apps/v1/namespaces/mlops/statefulsets/"
		case *corev1.PersistentVolumeClaim:
			path = "/api/v1/namespaces/mlops/persistentvolumeclaims/"
		}
		answer(path+o.GetName(), func(*http.Request) (int, any) { return 200, o })
	}
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL, asked
}

// kinds returns the chart's kinds by group and version.
func kinds() map[string]map[string][]metav1.APIResource {
	found := map[string]map[string][]metav1.APIResource{}
	for group, names := range map[string][]string{
		"/v1":                          {"Secret", "ConfigMap", "Service", "ServiceAccount", "Pod", "PersistentVolumeClaim"},
		"apps/v1":                      {"Deployment", "StatefulSet"},
		"batch/v1":                     {"Job"},
		"rbac.authorization.k8s.io/v1": {"Role", "RoleBinding"},
		"networking.k8s.io/v1":         {"NetworkPolicy"},
		"argoproj.io/v1alpha1":         {"WorkflowTemplate", "CronWorkflow"},
	} {
		name, version, _ := strings.Cut(group, "/")
		found[name] = map[string][]metav1.APIResource{}
		for _, kind := range names {
			singular := strings.ToLower(kind)
			found[name][version] = append(found[name][version], metav1.APIResource{
				Name: strings.Replace(singular+"s", "ys", "ies", 1), SingularName: singular, Namespaced: true, Kind: kind, Verbs: metav1.Verbs{"get", "list"},
			})
		}
	}
	return found
}

// renderWith renders the chart with access to a cluster.
func renderWith(t *testing.T, helm string, secrets map[string]*corev1.Secret, flags ...string) *rendering {
	t.Helper()
	url, asked := cluster(t, secrets)
	args := []string{"template", "mlops", dir, "--namespace", "mlops", "--dry-run=server", "--disable-openapi-validation", "--kube-apiserver", url, "--kube-version", kubeVersion}
	args = append(args, flags...)
	out, err := run(t, helm, args...)
	if err != nil {
		t.Fatalf("helm %s: %v", strings.Join(args, " "), err)
	}
	if asked.Load() == 0 {
		t.Fatal("helm requested no Secret from the cluster")
	}
	r, err := decode("mlops", "mlops", out)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestPasswords(t *testing.T) {
	t.Parallel()
	eachHelm(t, func(t *testing.T, helm string) {
		first := renderWith(t, helm, nil)
		made, passwords := map[string]*corev1.Secret{}, map[string]string{}
		for _, s := range all[*corev1.Secret](first) {
			if s.Type == corev1.SecretTypeServiceAccountToken {
				continue
			}
			if s.Annotations["helm.sh/resource-policy"] != "keep" {
				t.Errorf("Secret %s is deleted with the release, but the volumes that depend on it stay", s.Name)
			}
			made[s.Name] = s
			if strings.HasPrefix(s.Name, "mlops-sign") {
				continue // a pair of keys, below
			}
			for key, value := range s.Data {
				switch strings.ToLower(key) {
				case "pguser", "username", "admin-user", "mlflow_auth_admin_username", "mlflow_tracking_username":
					continue
				}
				if len(value) < 24 {
					t.Errorf("%s of Secret %s has %d characters", key, s.Name, len(value))
				}
				if other := passwords[string(value)]; other != "" {
					t.Errorf("Secrets %s and %s have the same password", s.Name, other)
				}
				passwords[string(value)] = s.Name
			}
		}
		// Access keys are generated too: a well-known one would help to forge requests.
		if len(passwords) != 29 {
			t.Errorf("%d passwords are generated, want 29", len(passwords))
		}

		// They are nowhere else: in no ConfigMap, argument or variable.
		for _, o := range first.objects {
			if o.kind == "Secret" {
				continue
			}
			for password, secret := range passwords {
				if strings.Contains(o.text, password) {
					t.Errorf("%s contains the password of Secret %s", o, secret)
				}
			}
		}

		// The next rendering keeps them and adds those that are missing.
		owned := map[string]*corev1.Secret{}
		for name, s := range made {
			kept := s.DeepCopy()
			kept.Annotations["meta.helm.sh/release-name"] = "mlops"
			kept.Annotations["meta.helm.sh/release-namespace"] = "mlops"
			owned[name] = kept
		}
		delete(owned, "mlops-s3")
		second := renderWith(t, helm, owned)
		for name := range made {
			s := one[*corev1.Secret](t, second, name)
			for key, value := range made[name].Data {
				if same := string(s.Data[key]) == string(value); same != (name != "mlops-s3") {
					t.Errorf("%s of Secret %s: kept is %v", key, name, same)
				}
			}
		}

		// The access key that all releases shared before is replaced, its secret kept.
		known := owned["mlops-s3-loader"].DeepCopy()
		known.Name, known.Data["AWS_ACCESS_KEY_ID"] = "mlops-s3", []byte("mlops")
		s := one[*corev1.Secret](t, renderWith(t, helm, map[string]*corev1.Secret{"mlops-s3": known}), "mlops-s3")
		if key := string(s.Data["AWS_ACCESS_KEY_ID"]); len(key) < 24 {
			t.Errorf("the access key is %q", key)
		}
		if string(s.Data["AWS_SECRET_ACCESS_KEY"]) != string(known.Data["AWS_SECRET_ACCESS_KEY"]) {
			t.Error("the secret key changed")
		}

		// A Secret that the release does not own is left alone.
		theirs := made["mlops-postgres"].DeepCopy()
		theirs.Annotations, theirs.Labels = nil, nil
		for _, s := range all[*corev1.Secret](renderWith(t, helm, map[string]*corev1.Secret{"mlops-postgres": theirs})) {
			if s.Name == "mlops-postgres" {
				t.Error("a Secret that the release does not own is rendered: helm would refuse to install")
			}
		}
	})
}
