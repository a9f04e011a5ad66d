package chart

import (
	"maps"
	"slices"
	"strings"
	"testing"

	wfv1 "github.com/argoproj/argo-workflows/v3/pkg/apis/workflow/v1alpha1"
	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// Helm reads numbers as floats and writes large ones with an exponent if a template prints
// them.
func TestBigNumbers(t *testing.T) {
	t.Parallel()
	eachHelm(t, func(t *testing.T, helm string) {
		r := render(t, helm, "mlops", "mlops", set("pipelines.startingDeadlineSeconds=31536000", "postgres.settings.log_rotation_size=2000000", "postgres.settings.jit=off")...)
		if got := one[*wfv1.CronWorkflow](t, r, "pipeline").Spec.StartingDeadlineSeconds; *got != 31536000 {
			t.Errorf("startingDeadlineSeconds is %d", *got)
		}
		args := one[*appsv1.StatefulSet](t, r, "mlops-postgres").Spec.Template.Spec.Containers[0].Args
		for _, want := range []string{"log_rotation_size=2000000", "jit=off", "shared_buffers=128MB", "max_connections=200"} {
			if !slices.Contains(args, want) {
				t.Errorf("Postgres is started with %q, want %s", args, want)
			}
		}
	})
}

// Addresses of services, bundled and existing.
func TestAddresses(t *testing.T) {
	t.Parallel()
	eachHelm(t, func(t *testing.T, helm string) {
		steps := func(values ...string) map[string]string {
			return one[*corev1.ConfigMap](t, render(t, helm, "mlops", "mlops", set(values...)...), "mlops-steps").Data
		}
		want := map[string]string{"PGHOST": "mlops-postgres", "PGPORT": "5432", "PGSSLMODE": "prefer", "MLFLOW_TRACKING_URI": "http://mlops-mlflow:5000", "AWS_ENDPOINT_URL": "http://mlops-minio:9000", "AWS_REGION": "us-east-1"}
		if diff := cmp.Diff(want, steps()); diff != "" {
			t.Errorf("bundled services (-want +got):\n%s", diff)
		}
		want = map[string]string{"PGHOST": "db.example.com", "PGPORT": "6432", "PGSSLMODE": "require", "MLFLOW_TRACKING_URI": "https://m.example.com", "AWS_ENDPOINT_URL": "https://s3.example.com", "AWS_REGION": "eu-west-3"}
		if diff := cmp.Diff(want, steps("postgres.enabled=false", "global.postgres.host=db.example.com", "global.postgres.port=6432", "global.postgres.sslMode=require", "global.postgres.existingSecret=p",
			"mlflow.enabled=false", "global.mlflow.uri=https://m.example.com", "minio.enabled=false", "global.s3.endpoint=https://s3.example.com", "global.s3.region=eu-west-3", "global.s3.existingSecret=s")); diff != "" {
			t.Errorf("existing services (-want +got):\n%s", diff)
		}
	})
}

// Names by which the servers may be called: any by default.
func TestNamesOfServers(t *testing.T) {
	t.Parallel()
	eachHelm(t, func(t *testing.T, helm string) {
		names := func(part string, values ...string) string {
			for _, e := range one[*appsv1.Deployment](t, render(t, helm, "mlops", "team", set(values...)...), "mlops-"+part).Spec.Template.Spec.Containers[0].Env {
				if e.Name == "MLOPS_HOSTS" {
					return e.Value
				}
			}
			return ""
		}
		for _, part := range []string{"inference", "ui"} {
			if got := names(part); got != "" {
				t.Errorf("by default, %s answers %s only", part, got)
			}
			want := strings.ReplaceAll("mlops-NAME,mlops-NAME.team,mlops-NAME.team.svc,mlops-NAME.team.svc.cluster.local,localhost,m.example.com", "NAME", part)
			if got := names(part, part+".allowedHosts={localhost,m.example.com}", "ingress.enabled=true", "ingress.host=m.example.com"); got != want {
				t.Errorf("%s answers %s, want %s", part, got, want)
			}
		}
	})
}

// Every container that is told of Postgres verifies its certificate, if one does.
func TestPostgresTLS(t *testing.T) {
	t.Parallel()
	eachHelm(t, func(t *testing.T, helm string) {
		for _, test := range []struct {
			name   string
			flags  []string
			secret string // the authorities' certificates; empty: the image's
		}{
			{"bundled", set("global.postgres.sslMode=verify-full"), "mlops-postgres-tls"},
			{"bundled, an existing certificate", set("global.postgres.sslMode=verify-ca", "global.postgres.tlsSecret=mine"), "mine"},
			{"elsewhere", set("postgres.enabled=false", "global.postgres.host=db.example.com", "global.postgres.existingSecret=p", "global.postgres.sslMode=verify-full", "global.postgres.caSecret=mine"), "mine"},
			{"elsewhere, public", set("postgres.enabled=false", "global.postgres.host=db.example.com", "global.postgres.existingSecret=p", "global.postgres.sslMode=verify-full"), ""},
		} {
			r := render(t, helm, "mlops", "mlops", test.flags...)
			steps := one[*corev1.ConfigMap](t, r, "mlops-steps").Data
			told := 0
			check := func(where string, c corev1.Container, volumes []corev1.Volume) {
				env := map[string]string{}
				for _, from := range c.EnvFrom {
					if from.ConfigMapRef != nil && from.ConfigMapRef.Name == "mlops-steps" {
						maps.Copy(env, steps)
					}
				}
				for _, e := range c.Env {
					env[e.Name] = e.Value
				}
				mode, root := env["PGSSLMODE"], env["PGSSLROOTCERT"]
				if mode == "" && root == "" {
					return
				}
				told++
				if test.secret == "" {
					if root != "system" {
						t.Errorf("%s: %s trusts %q, want system", test.name, where, root)
					}
					return
				}
				mount := slices.IndexFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return root == m.MountPath+"/ca.crt" })
				if mount < 0 {
					t.Errorf("%s: %s trusts %q, which no volume is mounted at", test.name, where, root)
					return
				}
				v := slices.IndexFunc(volumes, func(v corev1.Volume) bool { return v.Name == c.VolumeMounts[mount].Name })
				if v < 0 || volumes[v].Secret == nil || volumes[v].Secret.SecretName != test.secret || len(volumes[v].Secret.Items) != 1 || volumes[v].Secret.Items[0].Key != "ca.crt" {
					t.Errorf("%s: %s trusts what is not ca.crt alone of Secret %s", test.name, where, test.secret)
				}
			}
			for _, p := range pods(t, r) {
				for _, c := range p.containers() {
					check(p.owner.String()+"/"+p.meta.Name+"/"+c.Name, c, p.spec.Volumes)
				}
			}
			if told < 15 { // set-up, waiting, MLflow, Argo's two, ten steps
				t.Errorf("%s: only %d containers are told of TLS", test.name, told)
			}
			postgres := all[*appsv1.StatefulSet](r)
			served := slices.ContainsFunc(postgres, func(s *appsv1.StatefulSet) bool {
				return slices.ContainsFunc(s.Spec.Template.Spec.Containers, func(c corev1.Container) bool { return c.Name == "tls" })
			})
			if want := strings.HasPrefix(test.name, "bundled"); served != want {
				t.Errorf("%s: Postgres has TLS: %t, want %t", test.name, served, want)
			}
		}
		refused(t, helm, "mlops", "global.postgres.caSecret", set("global.postgres.sslMode=verify-full", "global.postgres.caSecret=mine")...)
		refused(t, helm, "mlops", "global.postgres.tlsSecret", set("postgres.enabled=false", "global.postgres.host=db", "global.postgres.existingSecret=p", "global.postgres.tlsSecret=mine")...)
		refused(t, helm, "mlops", "verify-ca: set global.postgres.caSecret", set("postgres.enabled=false", "global.postgres.host=db", "global.postgres.existingSecret=p", "global.postgres.sslMode=verify-ca")...)
	})
}

func TestNodePorts(t *testing.T) {
	t.Parallel()
	eachHelm(t, func(t *testing.T, helm string) {
		ports := func(flags ...string) map[string]int32 {
			found := map[string]int32{}
			for _, s := range all[*corev1.Service](render(t, helm, "mlops", "mlops", flags...)) {
				if s.Spec.Type == corev1.ServiceTypeNodePort {
					found[s.Name] = s.Spec.Ports[0].NodePort
				}
			}
			return found
		}
		want := map[string]int32{"mlops-inference": 30800, "mlops-ui": 30851, "mlops-grafana": 30300}
		if diff := cmp.Diff(want, ports()); diff != "" {
			t.Errorf("by default (-want +got):\n%s", diff)
		}
		free := map[string]int32{"mlops-inference": 0, "mlops-ui": 0}
		if diff := cmp.Diff(free, ports(set("inference.service.nodePort=0", "ui.service.nodePort=null", "grafana.service.type=ClusterIP")...)); diff != "" {
			t.Errorf("any free port (-want +got):\n%s", diff)
		}
		for service, port := range map[string]int32{"mlflow": 30500, "argo": 30746, "prometheus": 30909, "loadtest": 30889} {
			named := maps.Clone(want)
			named["mlops-"+service+"-nodeport"] = port
			if diff := cmp.Diff(named, ports(set("nodePorts."+service+".enabled=true")...)); diff != "" {
				t.Errorf("with %s (-want +got):\n%s", service, diff)
			}
		}
		if got := ports(set("nodePorts.mlflow.enabled=true", "nodePorts.mlflow.port=0")...)["mlops-mlflow-nodeport"]; got != 0 {
			t.Errorf("MLflow has port %d, want any that is free", got)
		}
	})
}

func TestIngress(t *testing.T) {
	t.Parallel()
	eachHelm(t, func(t *testing.T, helm string) {
		if n := len(all[*networkingv1.Ingress](render(t, helm, "mlops", "mlops"))); n != 0 {
			t.Errorf("%d Ingresses by default", n)
		}
		r := render(t, helm, "mlops", "mlops", set("ingress.enabled=true", "ingress.className=nginx", "ingress.host=m.example.com", "ingress.tlsSecret=tls")...)
		// One for people and one for programs, since only people can pass a login proxy.
		got := map[string]string{}
		for _, name := range []string{"mlops", "mlops-api"} {
			s := one[*networkingv1.Ingress](t, r, name).Spec
			if *s.IngressClassName != "nginx" || len(s.Rules) != 1 || s.Rules[0].Host != "m.example.com" || len(s.TLS) != 1 || s.TLS[0].SecretName != "tls" || !slices.Equal(s.TLS[0].Hosts, []string{"m.example.com"}) {
				t.Errorf("%s: got %+v", name, s)
			}
			for _, p := range s.Rules[0].HTTP.Paths {
				got[p.Path] = p.Backend.Service.Name
				service := one[*corev1.Service](t, r, p.Backend.Service.Name)
				if service.Spec.Ports[0].Name != p.Backend.Service.Port.Name {
					t.Errorf("%s is routed to port %q of %s", p.Path, p.Backend.Service.Port.Name, service.Name)
				}
			}
		}
		want := map[string]string{"/": "mlops-ui"}
		for _, path := range []string{"/predict", "/model", "/openapi.json", "/docs", "/invocations", "/v1", "/v2", "/ping", "/health", "/version"} {
			want[path] = "mlops-inference"
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("paths (-want +got):\n%s", diff)
		}
	})
}

func TestImageIDsRollPods(t *testing.T) {
	t.Parallel()
	eachHelm(t, func(t *testing.T, helm string) {
		annotation := func(r *rendering, name string) string {
			return one[*appsv1.Deployment](t, r, name).Spec.Template.Annotations["mlops.local/images"]
		}
		with := render(t, helm, "mlops", "mlops", idFlags()...)
		if got, want := annotation(with, "mlops-inference"), "sha256:"+strings.Repeat("1b", 32); got != want {
			t.Errorf("inference has %q, want %q", got, want)
		}
		if got, want := annotation(with, "mlops-mlflow"), "sha256:"+strings.Repeat("2c", 32); got != want {
			t.Errorf("mlflow, whose init container is setup, has %q, want %q", got, want)
		}
		if got := annotation(with, "mlops-ui"); got != "" {
			t.Errorf("ui has %q, but no digest is set", got)
		}
	})
}

func TestDashboards(t *testing.T) {
	t.Parallel()
	eachHelm(t, func(t *testing.T, helm string) {
		r := render(t, helm, "mlops", "mlops")
		want := files(t, "../../dashboards/json/*.json")
		got := one[*corev1.ConfigMap](t, r, "mlops-grafana-dashboards").Data
		for name, text := range want {
			if got[name] != strings.TrimSpace(text) {
				t.Errorf("dashboard %s differs from its file", name)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%d dashboards for %d files", len(got), len(want))
		}
		var home struct{ Grafana struct{ Home string } }
		text := files(t, dir+"/values.yaml")["values.yaml"]
		if err := yaml.Unmarshal([]byte(text), &home); err != nil {
			t.Fatal(err)
		}
		if got[home.Grafana.Home] == "" {
			t.Errorf("grafana.home is %q, which is no dashboard", home.Grafana.Home)
		}
	})
}

func TestPrometheusFindsTheServices(t *testing.T) {
	t.Parallel()
	eachHelm(t, func(t *testing.T, helm string) {
		r := render(t, helm, "team-b", "elsewhere")
		var c struct {
			Configs []struct {
				Job string `json:"job_name"`
				DNS []struct {
					Names []string
					Port  int32
				} `json:"dns_sd_configs"`
			} `json:"scrape_configs"`
		}
		if err := yaml.Unmarshal([]byte(one[*corev1.ConfigMap](t, r, "team-b-prometheus").Data["prometheus.yml"]), &c); err != nil {
			t.Fatal(err)
		}
		var jobs []string
		for _, s := range c.Configs {
			jobs = append(jobs, s.Job)
			for _, d := range s.DNS {
				service := one[*corev1.Service](t, r, strings.TrimSuffix(d.Names[0], ".elsewhere.svc"))
				if service.Spec.Ports[0].Port != d.Port {
					t.Errorf("%s: port %d, the service has %d", s.Job, d.Port, service.Spec.Ports[0].Port)
				}
			}
		}
		if want := []string{"inference", "ui", "argo", "minio", "postgres", "loadtest", "prometheus"}; !slices.Equal(jobs, want) {
			t.Errorf("jobs %v, want %v", jobs, want)
		}
	})
}

func TestNetworkPolicies(t *testing.T) {
	t.Parallel()
	eachHelm(t, func(t *testing.T, helm string) {
		r := render(t, helm, "mlops", "mlops")
		policies := all[*networkingv1.NetworkPolicy](r)
		var closed bool
		for _, p := range policies {
			if p.Name == "mlops-default" {
				closed = len(p.Spec.Ingress)+len(p.Spec.Egress) == 0 && slices.Equal(p.Spec.PolicyTypes, []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress})
			}
		}
		if !closed {
			t.Error("no policy denies by default")
		}
		components := map[string]bool{}
		for _, p := range pods(t, r) {
			components[p.meta.Labels["app.kubernetes.io/component"]] = true
		}
		for _, p := range policies {
			for _, rule := range p.Spec.Ingress {
				for _, peer := range rule.From {
					for _, e := range peer.PodSelector.MatchExpressions {
						for _, name := range e.Values {
							if e.Key != "app.kubernetes.io/component" || !components[name] {
								t.Errorf("policy %s allows pods with %s: %s, but there are none", p.Name, e.Key, name)
							}
						}
					}
				}
			}
		}
		// Every port is opened by a policy for its pod.
		for _, p := range pods(t, r) {
			for _, c := range p.spec.Containers {
				for _, port := range c.Ports {
					if port.Name == "health" {
						continue // probes from the node are always allowed
					}
					if !slices.ContainsFunc(policies, func(n *networkingv1.NetworkPolicy) bool { return opens(n, p.meta, port.ContainerPort) }) {
						t.Errorf("%s: no policy opens port %d", p, port.ContainerPort)
					}
				}
			}
		}
	})
}

// opens reports whether a policy allows connections to a port of a pod.
func opens(n *networkingv1.NetworkPolicy, pod metav1.ObjectMeta, port int32) bool {
	if !contains(pod.Labels, n.Spec.PodSelector.MatchLabels) {
		return false
	}
	for _, rule := range n.Spec.Ingress {
		for _, p := range rule.Ports {
			if p.Port.IntVal == port {
				return true
			}
		}
	}
	return false
}
