package chart

import (
	"crypto/tls"
	"crypto/x509"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/yaml"
)

var ownHTTP = regexp.MustCompile(`(https?)://mlops-(minio|mlflow|inference|ui)\b`)

// With TLS inside, whoever is told of one of its servers is told of https, and has the
// certificate of the authority beside; only the server's own pod has its key.
func TestTLSInside(t *testing.T) {
	t.Parallel()
	eachHelm(t, func(t *testing.T, helm string) {
		r := render(t, helm, "mlops", "mlops", set("global.tls.enabled=true", "nodePorts.mlflow.enabled=true")...)
		for _, o := range r.objects {
			for _, m := range ownHTTP.FindAllStringSubmatch(o.text, -1) {
				if m[1] != "https" {
					t.Errorf("%s is told of %s", o, m[0])
				}
			}
		}
		for _, s := range all[*corev1.Service](r) {
			for _, port := range s.Spec.Ports {
				secure := slices.Contains([]string{"mlops-minio", "mlops-mlflow", "mlops-mlflow-nodeport", "mlops-inference", "mlops-ui"}, s.Name)
				if got := port.AppProtocol != nil && *port.AppProtocol == "https"; got != secure {
					t.Errorf("service %s says https: %t, want %t", s.Name, got, secure)
				}
			}
		}
		steps := one[*corev1.ConfigMap](t, r, "mlops-steps").Data
		told, keys := map[string]int{}, map[string]string{}
		for _, p := range pods(t, r) {
			for _, v := range p.spec.Volumes {
				if v.Secret != nil && strings.HasSuffix(v.Secret.SecretName, "-tls") && v.Name == "tls" {
					keys[v.Secret.SecretName] += p.meta.Labels["app.kubernetes.io/component"] + " "
				}
			}
			for _, c := range p.containers() {
				where := p.owner.String() + "/" + p.meta.Name + "/" + c.Name
				env, text := map[string]string{}, strings.Join(c.Args, " ")
				for _, from := range c.EnvFrom {
					if from.ConfigMapRef != nil && from.ConfigMapRef.Name == "mlops-steps" {
						maps.Copy(env, steps)
					}
				}
				for _, e := range c.Env {
					env[e.Name] = e.Value
				}
				for _, v := range env {
					text += " " + v
				}
				if p.workflow && c.Name != "init" && c.Name != "wait" && strings.Contains(p.owner.text, "https://mlops-") {
					text += " https://mlops-inference" // a parameter of the workflow
				}
				if !regexp.MustCompile(`https://mlops-`).MatchString(text) {
					continue
				}
				told[p.meta.Labels["app.kubernetes.io/component"]]++
				file := env["SSL_CERT_FILE"] + env["AWS_CA_BUNDLE"]
				m := slices.IndexFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return file == m.MountPath+"/ca.crt" })
				if m < 0 {
					t.Errorf("%s trusts %q, which no volume is mounted at", where, file)
					continue
				}
				v := slices.IndexFunc(p.spec.Volumes, func(v corev1.Volume) bool { return v.Name == c.VolumeMounts[m].Name })
				want := &corev1.SecretVolumeSource{SecretName: "mlops-ca", Items: []corev1.KeyToPath{{Key: "ca.crt", Path: "ca.crt"}}}
				if diff := cmp.Diff(want, p.spec.Volumes[v].Secret); diff != "" {
					t.Errorf("%s (-want +got):\n%s", where, diff)
				}
			}
		}
		want := map[string]int{"setup": 1, "mlflow": 1, "inference": 1, "ui": 1, "test": 1, "load-raw-data": 1, "process-data": 1, "load-val-test-data": 1,
			"train-model": 2, "promote-best-model": 6, "load-test": 3, "loadtest": 1, "backup": 1, "restore": 1, "score-batch": 1}
		if diff := cmp.Diff(want, told); diff != "" {
			t.Errorf("containers by component that are told of https (-want +got):\n%s", diff)
		}
		wantKeys := map[string]string{"mlops-minio-tls": "minio ", "mlops-mlflow-tls": "mlflow ", "mlops-inference-tls": "inference ", "mlops-ui-tls": "ui ", "mlops-postgres-tls": "postgres "}
		if diff := cmp.Diff(wantKeys, keys); diff != "" {
			t.Errorf("pods that have a server's key (-want +got):\n%s", diff)
		}
		config := one[*corev1.ConfigMap](t, r, "mlops-prometheus").Data["prometheus.yml"]
		for _, server := range []string{"inference", "ui", "minio"} {
			if !strings.Contains(config, "tls_config: {ca_file: /etc/mlops-ca/ca.crt, server_name: mlops-"+server+"}") {
				t.Errorf("Prometheus does not verify %s", server)
			}
		}
		if n := strings.Count(config, "scheme: https"); n != 3 {
			t.Errorf("Prometheus scrapes %d jobs over TLS, want inference, ui and minio", n)
		}
		refused(t, helm, "mlops", "not both", set("global.tls.enabled=true", "global.tls.certManager.issuer=a", "global.tls.certManager.clusterIssuer=b")...)
		refused(t, helm, "mlops", "global.tls.enabled=true", set("global.tls.certManager.issuer=a")...)
	})
}

// Behind an Ingress, its controller is told which services have TLS.
func TestTLSBehindIngress(t *testing.T) {
	t.Parallel()
	eachHelm(t, func(t *testing.T, helm string) {
		r := render(t, helm, "mlops", "mlops", append(set("global.tls.enabled=true"), behindLogin...)...)
		got := map[string]string{}
		for _, i := range all[*networkingv1.Ingress](r) {
			if i.Name != "mlops-api" && i.Annotations["login.example/url"] == "" {
				t.Errorf("Ingress %s asks no login proxy", i.Name)
			}
			for _, rule := range i.Spec.Rules {
				got[rule.HTTP.Paths[0].Backend.Service.Name] = i.Annotations["nginx.ingress.kubernetes.io/backend-protocol"]
			}
		}
		want := map[string]string{"mlops-ui": "HTTPS", "mlops-mlflow": "HTTPS", "mlops-inference": "HTTPS", "mlops-argo": "", "mlops-grafana": "", "mlops-prometheus": ""}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("services (-want +got):\n%s", diff)
		}
	})
}

// Helm makes one authority and a certificate of each server, keeps them, and renews
// certificates that are older than a year by the same authority.
func TestCertificates(t *testing.T) {
	t.Parallel()
	eachHelm(t, func(t *testing.T, helm string) {
		flags := set("global.tls.enabled=true")
		servers := []string{"minio", "mlflow", "inference", "ui", "postgres"}
		owned := func(r *rendering) map[string]*corev1.Secret {
			found := map[string]*corev1.Secret{}
			for _, s := range all[*corev1.Secret](r) {
				s = s.DeepCopy()
				if s.Annotations == nil {
					s.Annotations = map[string]string{}
				}
				s.Annotations["meta.helm.sh/release-name"], s.Annotations["meta.helm.sh/release-namespace"] = "mlops", "mlops"
				found[s.Name] = s
			}
			return found
		}
		check := func(what string, secrets map[string]*corev1.Secret) {
			t.Helper()
			roots := x509.NewCertPool()
			if !roots.AppendCertsFromPEM(secrets["mlops-ca"].Data["ca.crt"]) {
				t.Fatalf("%s: no authority", what)
			}
			for _, server := range servers {
				s := secrets["mlops-"+server+"-tls"]
				pair, err := tls.X509KeyPair(s.Data["tls.crt"], s.Data["tls.key"])
				if err != nil {
					t.Fatalf("%s: %s: %v", what, s.Name, err)
				}
				for _, name := range []string{"mlops-" + server, "mlops-" + server + ".mlops.svc.cluster.local", "localhost", "127.0.0.1"} {
					if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name}); err != nil {
						t.Errorf("%s: %s for %s: %v", what, s.Name, name, err)
					}
				}
				if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: "mlops-other"}); err == nil {
					t.Errorf("%s: %s is valid for another name", what, s.Name)
				}
				if left := time.Until(pair.Leaf.NotAfter); left < 9*365*24*time.Hour {
					t.Errorf("%s: %s ends in %s", what, s.Name, left)
				}
			}
		}
		first := owned(renderWith(t, helm, nil, flags...))
		check("first", first)
		if _, ok := owned(renderWith(t, helm, nil))["mlops-ca"]; ok {
			t.Error("an authority without TLS")
		}

		// The next upgrade keeps all but one that is old and one that is gone.
		given := maps.Clone(first)
		old := first["mlops-mlflow-tls"].DeepCopy()
		old.Annotations["mlops.local/issued"] = strconv.FormatInt(time.Now().Add(-366*24*time.Hour).Unix(), 10)
		given[old.Name] = old
		delete(given, "mlops-ui-tls")
		second := owned(renderWith(t, helm, given, flags...))
		check("second", second)
		for name := range first {
			same := string(second[name].Data["tls.crt"]) == string(first[name].Data["tls.crt"]) && string(second[name].Data["ca.crt"]) == string(first[name].Data["ca.crt"])
			if want := name != "mlops-mlflow-tls" && name != "mlops-ui-tls"; same != want {
				t.Errorf("the upgrade keeps %s: %t, want %t", name, same, want)
			}
		}
		if second[old.Name].Annotations["mlops.local/issued"] == old.Annotations["mlops.local/issued"] {
			t.Error("a renewed certificate counts as old")
		}

		// Postgres' certificate of before there was an authority stays.
		alone := owned(renderWith(t, helm, nil, set("global.postgres.sslMode=verify-full")...))
		if _, ok := alone["mlops-ca"]; ok {
			t.Error("for Postgres alone the authority's key is kept")
		}
		third := owned(renderWith(t, helm, alone, flags...))
		if diff := cmp.Diff(alone["mlops-postgres-tls"].Data, third["mlops-postgres-tls"].Data); diff != "" {
			t.Error("Postgres' certificate changed")
		}

		// The user's own authority, without its key, needs the user's certificates.
		theirs := map[string]*corev1.Secret{"mlops-ca": {Data: map[string][]byte{"ca.crt": first["mlops-ca"].Data["ca.crt"]}}}
		theirs["mlops-ca"].Name = "mlops-ca"
		for _, server := range servers {
			s := first["mlops-"+server+"-tls"].DeepCopy()
			s.Annotations = nil
			theirs[s.Name] = s
		}
		for name := range owned(renderWith(t, helm, theirs, flags...)) {
			if strings.HasSuffix(name, "-tls") || name == "mlops-ca" {
				t.Errorf("Secret %s, which the release does not own, is rendered", name)
			}
		}
		delete(theirs, "mlops-ui-tls")
		url, _ := cluster(t, theirs)
		_, err := run(t, helm, append([]string{"template", "mlops", dir, "--namespace", "mlops", "--dry-run=server", "--disable-openapi-validation", "--kube-apiserver", url, "--kube-version", kubeVersion}, flags...)...)
		if err == nil || !strings.Contains(err.Error(), "also make Secret mlops-ui-tls") {
			t.Errorf("a certificate that nobody can sign: %v", err)
		}
	})
}

// With an issuer, cert-manager makes the certificates.
func TestCertManager(t *testing.T) {
	t.Parallel()
	eachHelm(t, func(t *testing.T, helm string) {
		out, err := run(t, helm, append([]string{"template", "mlops", dir, "--namespace", "mlops", "--kube-version", kubeVersion}, set("global.tls.enabled=true", "global.tls.certManager.clusterIssuer=inside")...)...)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(out, "# Secret mlops-ca") || strings.Contains(out, "# Secret mlops-mlflow-tls") || !strings.Contains(out, "secretName: mlops-ca-tls") {
			t.Error("Helm makes certificates too, or nobody trusts cert-manager's")
		}
		var got []string
		for _, document := range regexp.MustCompile(`(?m)^---\n`).Split(out, -1) {
			var c struct {
				Kind string
				Spec struct {
					SecretName string
					DNSNames   []string
					IssuerRef  struct{ Kind, Name string }
				}
			}
			if yaml.Unmarshal([]byte(document), &c) != nil || c.Kind != "Certificate" {
				continue
			}
			got = append(got, c.Spec.SecretName)
			if c.Spec.IssuerRef.Kind != "ClusterIssuer" || c.Spec.IssuerRef.Name != "inside" || c.Spec.DNSNames[0]+"-tls" != c.Spec.SecretName {
				t.Errorf("%+v", c.Spec)
			}
		}
		slices.Sort(got)
		if diff := cmp.Diff([]string{"mlops-ca-tls", "mlops-inference-tls", "mlops-minio-tls", "mlops-mlflow-tls", "mlops-postgres-tls", "mlops-ui-tls"}, got); diff != "" {
			t.Errorf("certificates (-want +got):\n%s", diff)
		}
	})
}
