package chart

import (
	"crypto/sha256"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"mlops/internal/apikey"
)

// API keys are off inside the cluster, on behind an Ingress, and what the value says if
// it says so.
func TestAPIKeys(t *testing.T) {
	t.Parallel()
	eachHelm(t, func(t *testing.T, helm string) {
		for _, test := range []struct {
			name            string
			flags           []string
			inference, page bool // ask for a key
			presented       bool // by the page, to inference
		}{
			{"by default", nil, false, false, false},
			{"behind an Ingress", set("ingress.enabled=true"), true, true, true},
			{"switched off behind an Ingress", set("ingress.enabled=true", "global.auth.apiKeys=off"), false, false, false},
			{"switched on inside", set("global.auth.apiKeys=on"), true, true, true},
			{"behind a login proxy", behindLogin, true, false, true},
		} {
			t.Run(test.name, func(t *testing.T) {
				r := render(t, helm, "mlops", "mlops", test.flags...)
				asks := func(name string) bool {
					spec := one[*appsv1.Deployment](t, r, name).Spec.Template.Spec
					c := spec.Containers[0]
					variable := slices.ContainsFunc(c.Env, func(e corev1.EnvVar) bool { return e.Name == "MLOPS_API_KEYS" && e.Value == "/etc/mlops/keys" })
					mounted := slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool {
						return m.Name == "keys" && m.MountPath == "/etc/mlops/keys" && m.ReadOnly
					})
					var sources []string
					for _, v := range spec.Volumes {
						if v.Projected != nil {
							for _, s := range v.Projected.Sources {
								sources = append(sources, s.Secret.Name)
							}
						}
					}
					want := []string{"mlops-api-keys", "mlops-internal-key-hash"}
					if variable != mounted || variable != slices.Equal(sources, want) {
						t.Errorf("%s: variable %v, mounted %v, from %v", name, variable, mounted, sources)
					}
					return variable
				}
				if got := asks("mlops-inference"); got != test.inference {
					t.Errorf("inference asks for keys: %v", got)
				}
				if got := asks("mlops-ui"); got != test.page {
					t.Errorf("the page asks for keys: %v", got)
				}
				page := one[*appsv1.Deployment](t, r, "mlops-ui").Spec.Template.Spec.Containers[0]
				presents := slices.ContainsFunc(page.EnvFrom, func(e corev1.EnvFromSource) bool {
					return e.SecretRef != nil && e.SecretRef.Name == "mlops-internal-key"
				})
				if presents != test.presented {
					t.Errorf("the page presents a key: %v", presents)
				}
				// Inference never sees a key.
				if text := asText(t, r, "mlops-inference"); strings.Contains(text, "mlops-internal-key}") || strings.Contains(text, "name: mlops-internal-key\n") {
					t.Error("inference has the key itself")
				}
			})
		}
	})
}

func asText(t *testing.T, r *rendering, deployment string) string {
	t.Helper()
	for _, o := range r.objects {
		if d, ok := o.kubernetes.(*appsv1.Deployment); ok && d.Name == deployment {
			return o.text
		}
	}
	t.Fatalf("no deployment %s", deployment)
	return ""
}

// The release's own key is one that servers accept, and stays over upgrades.
func TestInternalKey(t *testing.T) {
	t.Parallel()
	eachHelm(t, func(t *testing.T, helm string) {
		first := renderWith(t, helm, nil, set("global.auth.apiKeys=on")...)
		key := one[*corev1.Secret](t, first, "mlops-internal-key")
		hash := one[*corev1.Secret](t, first, "mlops-internal-key-hash")
		keys, err := apikey.Parse(string(hash.Data["internal.keys"]))
		if err != nil || len(keys) != 1 {
			t.Fatalf("%d keys, %v", len(keys), err)
		}
		text := string(key.Data["MLOPS_API_KEY"])
		if keys[0].Hash != sha256.Sum256([]byte(text)) || !strings.HasPrefix(text, "mlops_"+keys[0].ID+"_") || len(text) != 58 {
			t.Errorf("the key and its hash differ: %d characters, %s", len(text), keys[0])
		}
		if diff := cmp.Diff([]apikey.Scope{apikey.Read, apikey.Predict}, keys[0].Scopes); diff != "" {
			t.Errorf("scopes (-want +got):\n%s", diff)
		}
		owned := map[string]*corev1.Secret{}
		for _, s := range []*corev1.Secret{key, hash} {
			kept := s.DeepCopy()
			kept.Annotations["meta.helm.sh/release-name"] = "mlops"
			kept.Annotations["meta.helm.sh/release-namespace"] = "mlops"
			owned[s.Name] = kept
		}
		delete(owned, "mlops-internal-key-hash") // follows from the key
		second := renderWith(t, helm, owned, set("global.auth.apiKeys=on")...)
		if got := one[*corev1.Secret](t, second, "mlops-internal-key"); string(got.Data["MLOPS_API_KEY"]) != text {
			t.Error("an upgrade makes another key")
		}
		if got := one[*corev1.Secret](t, second, "mlops-internal-key-hash"); string(got.Data["internal.keys"]) != string(hash.Data["internal.keys"]) {
			t.Error("an upgrade makes another hash")
		}
	})
}

// nextUpstream is the annotation that tells ingress-nginx when to ask another server.
const nextUpstream = "nginx.ingress.kubernetes.io/proxy-next-upstream"

// Each host leads to its service; only what people open is behind the login proxy, and
// one Ingress asks cert-manager for the certificate of all hosts.
func TestIngressHosts(t *testing.T) {
	t.Parallel()
	eachHelm(t, func(t *testing.T, helm string) {
		r := render(t, helm, "mlops", "mlops", behindLogin...)
		people := one[*networkingv1.Ingress](t, r, "mlops")
		programs := one[*networkingv1.Ingress](t, r, "mlops-api")
		got := map[string]string{}
		for _, i := range []*networkingv1.Ingress{people, programs} {
			for _, rule := range i.Spec.Rules {
				for _, p := range rule.HTTP.Paths {
					got[rule.Host+p.Path] = i.Name + " " + p.Backend.Service.Name
				}
			}
		}
		want := map[string]string{
			"m.example.com/": "mlops mlops-ui", "mlflow.example.com/": "mlops mlops-mlflow", "argo.example.com/": "mlops mlops-argo",
			"grafana.example.com/": "mlops mlops-grafana", "prometheus.example.com/": "mlops mlops-prometheus",
		}
		for _, path := range []string{"predict", "model", "openapi.json", "docs", "invocations", "v1", "v2", "ping", "health", "version"} {
			want["api.example.com/"+path] = "mlops-api mlops-inference"
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("routes (-want +got):\n%s", diff)
		}
		for _, name := range got {
			one[*corev1.Service](t, r, strings.Fields(name)[1])
		}
		if diff := cmp.Diff(map[string]string{"a.b/c": "d", "login.example/url": "https://login.example.com", "cert-manager.io/cluster-issuer": "letsencrypt"}, people.Annotations); diff != "" {
			t.Errorf("annotations for people (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(map[string]string{"a.b/c": "d", nextUpstream: "error timeout non_idempotent"}, programs.Annotations); diff != "" {
			t.Errorf("annotations for programs (-want +got):\n%s", diff)
		}
		own := render(t, helm, "mlops", "mlops", append(set("ingress.api.annotations."+strings.ReplaceAll(nextUpstream, ".", `\.`)+"=off"), behindLogin...)...)
		if got := one[*networkingv1.Ingress](t, own, "mlops-api").Annotations[nextUpstream]; got != "off" {
			t.Errorf("the API's own annotation is %q", got)
		}
		older := render(t, helm, "mlops", "mlops", append([]string{"--set-json", "ingress.api=null"}, behindLogin...)...)
		if got := one[*networkingv1.Ingress](t, older, "mlops-api").Annotations[nextUpstream]; got == "" {
			t.Error("a release with values from before has no annotation of the API's own")
		}
		hosts := []string{"m.example.com", "mlflow.example.com", "argo.example.com", "grafana.example.com", "prometheus.example.com", "api.example.com"}
		if diff := cmp.Diff([]networkingv1.IngressTLS{{Hosts: hosts, SecretName: "mlops-tls"}}, people.Spec.TLS); diff != "" {
			t.Errorf("certificate (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]networkingv1.IngressTLS{{Hosts: hosts[5:], SecretName: "mlops-tls"}}, programs.Spec.TLS); diff != "" {
			t.Errorf("the API's certificate (-want +got):\n%s", diff)
		}
		// Its policies let the controller in.
		for _, name := range []string{"mlflow", "argo-server", "grafana", "prometheus", "inference", "ui"} {
			policy := one[*networkingv1.NetworkPolicy](t, r, "mlops-"+name)
			if !slices.ContainsFunc(policy.Spec.Ingress, func(rule networkingv1.NetworkPolicyIngressRule) bool {
				return len(rule.From) == 0 || slices.ContainsFunc(rule.From, func(p networkingv1.NetworkPolicyPeer) bool { return p.NamespaceSelector != nil })
			}) {
				t.Errorf("policy %s lets no Ingress controller in", policy.Name)
			}
		}
	})
}
