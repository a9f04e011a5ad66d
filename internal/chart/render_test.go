package chart

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/argoproj/argo-workflows/v3/config"
	wfv1 "github.com/argoproj/argo-workflows/v3/pkg/apis/workflow/v1alpha1"
	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	appsv1 "k8s.io/api/apps/v1"
)

const workflows = "../../workflows/*.yaml"

// files reads the files that a pattern finds, by name.
func files(t *testing.T, pattern string) map[string]string {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		t.Fatalf("%s finds %d files: %v", pattern, len(paths), err)
	}
	found := map[string]string{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		found[filepath.Base(path)] = string(text)
	}
	return found
}

func TestWorkflowsAreTheFiles(t *testing.T) {
	eachHelm(t, func(t *testing.T, helm string) {
		r := render(t, helm, "mlops", "mlops")
		texts := files(t, workflows)
		for name, text := range texts {
			if !strings.Contains(r.text, "\n"+strings.TrimSpace(text)+"\n") {
				t.Errorf("%s is not rendered byte by byte with the default values", name)
			}
		}
		if n := len(all[*wfv1.WorkflowTemplate](r)); n != len(texts) {
			t.Errorf("%d WorkflowTemplates of %d files", n, len(texts))
		}
	})
}

func TestWorkflowsOfAnotherRelease(t *testing.T) {
	eachHelm(t, func(t *testing.T, helm string) {
		const release = "team-b"
		changed := append(set("global.images.registry=r.example.com:5000/team", "global.images.tag=1.2.3", "global.images.pullPolicy=Always",
			"pipelines.source=s3://sources/a\"$1.csv", "minio.enabled=false", "global.s3.endpoint=http://s3", "global.s3.existingSecret=mlops-s3-theirs"), idFlags()...)
		r := render(t, helm, release, "elsewhere", changed...)
		sources := 0
		for _, w := range all[*wfv1.WorkflowTemplate](r) {
			text, err := yaml.Marshal(w)
			if err != nil {
				t.Fatal(err)
			}
			for _, left := range regexp.MustCompile(`mlops[-.][a-z0-9.-]+`).FindAllString(string(text), -1) {
				if left != "mlops-s3-theirs" {
					t.Errorf("%s still names %s", w.Name, left)
				}
			}
			if w.Spec.ServiceAccountName != release+"-workflow" || w.Spec.Executor.ServiceAccountName != release+"-workflow" {
				t.Errorf("%s runs as %s and %s", w.Name, w.Spec.ServiceAccountName, w.Spec.Executor.ServiceAccountName)
			}
			for _, p := range w.Spec.Arguments.Parameters {
				if p.Name == "source" {
					sources++
					if got := p.Value.String(); got != `s3://sources/a"$1.csv` {
						t.Errorf("%s: source is %q", w.Name, got)
					}
				}
			}
			for _, template := range w.Spec.Templates {
				c := template.Container
				if c == nil {
					continue
				}
				if !regexp.MustCompile(`^r\.example\.com:5000/team/[a-z-]+:1\.2\.3$`).MatchString(c.Image) || c.ImagePullPolicy != corev1.PullAlways {
					t.Errorf("%s/%s: image %s, pulled %s", w.Name, template.Name, c.Image, c.ImagePullPolicy)
				}
			}
		}
		if sources != 2 {
			t.Errorf("%d workflows take a source by default, want load-raw-data and pipeline", sources)
		}
	})
}

func TestObjects(t *testing.T) {
	eachScenario(t, func(t *testing.T, r *rendering) {
		seen := map[string]bool{}
		for _, o := range r.objects {
			name := o.meta.GetName()
			if seen[o.String()] {
				t.Errorf("%s stands twice", o)
			}
			seen[o.String()] = true
			if o.meta.GetNamespace() != "" {
				t.Errorf("%s names a namespace, %s: it goes where the release goes", o, o.meta.GetNamespace())
			}
			// Workflows keep the names that people know them by.
			if o.kind != "WorkflowTemplate" && o.kind != "CronWorkflow" && name != r.release && !strings.HasPrefix(name, r.release+"-") {
				t.Errorf("%s doesn't begin with the release's name", o)
			}
			if o.kind == "WorkflowTemplate" {
				continue // exactly the file, which has no labels of a chart
			}
			for k, want := range map[string]string{"app.kubernetes.io/part-of": "mlops", "app.kubernetes.io/instance": r.release, "app.kubernetes.io/managed-by": "Helm"} {
				if got := o.meta.GetLabels()[k]; got != want {
					t.Errorf("%s: label %s is %q, want %q", o, k, got, want)
				}
			}
		}
		for _, o := range r.objects {
			if r.release == "mlops" || strings.HasSuffix(o.meta.GetName(), "-dashboards") {
				continue // a dashboard has a name of its own in Grafana
			}
			for _, line := range strings.Split(o.text, "\n") {
				if strings.Contains(line, "helm.sh/chart:") {
					continue
				}
				if strings.Contains(line, "mlops-") || strings.Contains(line, "namespace: mlops") {
					t.Errorf("%s names another release or namespace: %s", o, line)
				}
			}
		}
	})
}

// Rights are for one namespace, and none is for everything.
func TestRoles(t *testing.T) {
	eachScenario(t, func(t *testing.T, r *rendering) {
		if n := len(all[*rbacv1.ClusterRole](r)) + len(all[*rbacv1.ClusterRoleBinding](r)); n > 0 {
			t.Errorf("%d ClusterRoles and bindings, want none", n)
		}
		roles := map[string]bool{}
		for _, role := range all[*rbacv1.Role](r) {
			roles[role.Name] = true
			for _, rule := range role.Rules {
				if slices.Contains(slices.Concat(rule.APIGroups, rule.Resources, rule.Verbs), "*") {
					t.Errorf("Role %s is for everything of a kind: %v", role.Name, rule)
				}
				if slices.Contains(rule.Resources, "secrets") && len(rule.ResourceNames) == 0 {
					t.Errorf("Role %s reads every Secret", role.Name)
				}
			}
		}
		for _, b := range all[*rbacv1.RoleBinding](r) {
			if b.RoleRef.Kind != "Role" || !roles[b.RoleRef.Name] {
				t.Errorf("RoleBinding %s gives %s %s, which is not in the release", b.Name, b.RoleRef.Kind, b.RoleRef.Name)
			}
			for _, s := range b.Subjects {
				if s.Namespace != r.namespace {
					t.Errorf("RoleBinding %s is for namespace %s, the release is in %s", b.Name, s.Namespace, r.namespace)
				}
				one[*corev1.ServiceAccount](t, r, s.Name)
			}
		}
	})
	eachHelm(t, func(t *testing.T, helm string) {
		r := render(t, helm, "mlops", "mlops")
		for name, want := range map[string][]rbacv1.PolicyRule{
			"mlops-workflow": {{APIGroups: []string{"argoproj.io"}, Resources: []string{"workflowtaskresults"}, Verbs: []string{"create", "patch"}}},
			"mlops-setup": {
				{APIGroups: []string{"argoproj.io"}, Resources: []string{"workflows"}, Verbs: []string{"get", "list", "create"}},
				{APIGroups: []string{"argoproj.io"}, Resources: []string{"workflowtemplates"}, Verbs: []string{"get"}},
			},
		} {
			if diff := cmp.Diff(want, one[*rbacv1.Role](t, r, name).Rules); diff != "" {
				t.Errorf("Role %s (-want +got):\n%s", name, diff)
			}
		}
		token := one[*corev1.Secret](t, r, "mlops-workflow.service-account-token")
		if token.Type != corev1.SecretTypeServiceAccountToken || token.Annotations[corev1.ServiceAccountNameKey] != "mlops-workflow" {
			t.Errorf("the token for Argo's containers: type %s, of %q", token.Type, token.Annotations[corev1.ServiceAccountNameKey])
		}
	})
}

func TestArgoTakesItsConfiguration(t *testing.T) {
	eachHelm(t, func(t *testing.T, helm string) {
		data := one[*corev1.ConfigMap](t, render(t, helm, "mlops", "mlops"), "mlops-argo-controller").Data
		var text strings.Builder // as Argo itself puts the keys together
		for key, value := range data {
			text.WriteString(key + ":\n  " + strings.ReplaceAll(strings.TrimSpace(value), "\n", "\n  ") + "\n")
		}
		var c config.Config
		if err := yaml.UnmarshalStrict([]byte(text.String()), &c); err != nil {
			t.Fatalf("%v:\n%s", err, text.String())
		}
		if c.Persistence == nil || !c.Persistence.Archive || c.Persistence.PostgreSQL.Database != "argo" || c.Persistence.PostgreSQL.GetHostname() != "mlops-postgres:5432" {
			t.Errorf("the archive is %+v", c.Persistence)
		}
		if c.WorkflowDefaults == nil || c.WorkflowDefaults.Spec.SecurityContext == nil || !*c.WorkflowDefaults.Spec.SecurityContext.RunAsNonRoot {
			t.Error("a workflow that says nothing runs as root")
		}
	})
}

func TestDefinitionsOfArgo(t *testing.T) {
	eachHelm(t, func(t *testing.T, helm string) {
		for flag, want := range map[string]int{"argo.enabled=true": 8, "argo.enabled=false": 0} {
			out, wrong, err := run(t, helm, nil, "template", "mlops", dir, "--kube-version", kubeVersion, "--include-crds", "--set", flag)
			if err != nil {
				t.Fatal(err, wrong)
			}
			if got := strings.Count(out, "\nkind: CustomResourceDefinition\n"); got != want {
				t.Errorf("%s: %d definitions, want %d", flag, got, want)
			}
		}
	})
}

func TestSchedules(t *testing.T) {
	eachHelm(t, func(t *testing.T, helm string) {
		r := render(t, helm, "mlops", "mlops")
		for name, load := range map[string]string{"load-raw-data": "", "pipeline": "false"} {
			s := one[*wfv1.CronWorkflow](t, r, name).Spec
			if s.ConcurrencyPolicy != wfv1.ForbidConcurrent || s.StartingDeadlineSeconds == nil || s.Timezone == "" || len(s.Schedules) != 1 {
				t.Errorf("%s: %+v", name, s)
			}
			if s.WorkflowSpec.WorkflowTemplateRef == nil || s.WorkflowSpec.WorkflowTemplateRef.Name != name {
				t.Errorf("%s runs %+v", name, s.WorkflowSpec.WorkflowTemplateRef)
			}
			got := ""
			if p := s.WorkflowSpec.Arguments.GetParameterByName("load"); p != nil {
				got = p.Value.String()
			}
			if got != load {
				t.Errorf("%s: parameter load is %q, want %q", name, got, load)
			}
			template := one[*wfv1.WorkflowTemplate](t, r, name)
			if m := template.Spec.Synchronization.Mutexes; len(m) != 1 || m[0].Name != "mlops-data-and-model" {
				t.Errorf("%s takes the mutexes %v", name, m)
			}
		}
		off := render(t, helm, "mlops", "mlops", set("pipelines.schedules.load=")...)
		if got := all[*wfv1.CronWorkflow](off); len(got) != 1 || got[0].Name != "pipeline" {
			t.Errorf("with the load's schedule off there are %d schedules", len(got))
		}
	})
}

// setup returns the set-up Job and its variables that have a plain value.
func setup(t *testing.T, r *rendering) (*batchv1.Job, map[string]string) {
	t.Helper()
	jobs := all[*batchv1.Job](r)
	if len(jobs) != 1 {
		t.Fatalf("%d Jobs, want the set-up's", len(jobs))
	}
	variables := map[string]string{}
	for _, e := range jobs[0].Spec.Template.Spec.Containers[0].Env {
		variables[e.Name] = e.Value
	}
	return jobs[0], variables
}

func TestDataSet(t *testing.T) {
	eachHelm(t, func(t *testing.T, helm string) {
		diabetes := files(t, "../../workflows/datasets/diabetes.yaml")["diabetes.yaml"]
		penguins := files(t, spec)["penguins.yaml"]
		csv := files(t, table)["table.csv"]
		for _, test := range []struct {
			name                    string
			flags                   []string
			spec, model, source, in string
		}{
			{"the example", nil, diabetes, "readmission", "{}", ""},
			{"a source", set("pipelines.source=https://example.com/a.zip"), diabetes, "readmission", `{"source":"https://example.com/a.zip"}`, ""},
			{"another data set", []string{"--set-file", "global.dataset.spec=" + spec}, penguins, "penguin-sex", "{}", ""},
			{"and its table", []string{"--set-file", "global.dataset.spec=" + spec, "--set-file", "global.dataset.table=" + table}, penguins, "penguin-sex", `{"source":"s3://sources/penguins.csv"}`, csv},
			{"its table, and the values that were built for the example", append(set("pipelines.source=s3://sources/diabetes.zip", "setup.source.image=a.b/c:d"), "--set-file", "global.dataset.spec="+spec, "--set-file", "global.dataset.table="+table),
				penguins, "penguin-sex", `{"source":"s3://sources/penguins.csv"}`, csv},
		} {
			t.Run(test.name, func(t *testing.T) {
				r := render(t, helm, "mlops", "mlops", test.flags...)
				data := one[*corev1.ConfigMap](t, r, "mlops-dataset").Data
				if data["dataset.yaml"] != test.spec {
					t.Error("the data set's YAML is not the file byte by byte")
				}
				if data["model"] != test.model {
					t.Errorf("model %q, want %q", data["model"], test.model)
				}
				_, variables := setup(t, r)
				if got := variables["MLOPS_FIRST_RUN"]; got != test.source {
					t.Errorf("the first run's parameters are %s, want %s", got, test.source)
				}
				if test.in != "" && one[*corev1.ConfigMap](t, r, "mlops-table").Data["penguins.csv"] != test.in {
					t.Error("the table is not the file byte by byte")
				}
			})
		}
	})
}

func TestSetUp(t *testing.T) {
	eachHelm(t, func(t *testing.T, helm string) {
		first, _ := setup(t, render(t, helm, "mlops", "mlops"))
		if len(first.Annotations) > 0 {
			t.Errorf("the Job has the annotations %v: a hook would wait for what waits for it", first.Annotations)
		}
		rendered.Clear()
		if again, _ := setup(t, render(t, helm, "mlops", "mlops")); again.Name != first.Name {
			t.Errorf("the same values make Job %s and Job %s", first.Name, again.Name)
		}
		names := map[string]string{first.Name: "the default values"}
		for _, values := range []string{"global.s3.buckets.sources=other", "global.images.tag=v2", "global.dataset.table=a", "pipelines.runOnInstall=false", "setup.source.image=a.b/c:d"} {
			job, _ := setup(t, render(t, helm, "mlops", "mlops", set(values)...))
			if other := names[job.Name]; other != "" {
				t.Errorf("%s makes the Job of %s: Kubernetes would refuse to change it", values, other)
			}
			names[job.Name] = values
		}

		external := []string{"postgres.enabled=false", "global.postgres.host=db", "minio.enabled=false", "global.s3.endpoint=http://s3", "global.s3.existingSecret=s"}
		prepared := append(slices.Clone(external), "global.postgres.appSecret=a", "global.postgres.mlflowSecret=b", "global.postgres.argoSecret=c")
		for _, test := range []struct {
			name    string
			values  []string
			without []string
		}{
			{"all of it", nil, nil},
			{"a Postgres that somebody else prepared", prepared, []string{"PGHOST", "PGPASSWORD", "MLOPS_ROLE_APP_PASSWORD"}},
			{"no MLflow", []string{"mlflow.enabled=false", "global.mlflow.uri=http://m"}, []string{"MLOPS_ROLE_MLFLOW_PASSWORD"}},
			{"no Argo", []string{"argo.enabled=false"}, []string{"MLOPS_ROLE_ARGO_PASSWORD"}},
			{"no first run", []string{"pipelines.runOnInstall=false"}, []string{"MLOPS_FIRST_RUN", "MLFLOW_TRACKING_URI"}},
		} {
			t.Run(test.name, func(t *testing.T) {
				_, variables := setup(t, render(t, helm, "mlops", "mlops", set(test.values...)...))
				for _, name := range []string{"PGHOST", "PGUSER", "PGPASSWORD", "MLOPS_ROLE_APP_PASSWORD", "MLOPS_ROLE_MLFLOW_PASSWORD", "MLOPS_ROLE_ARGO_PASSWORD",
					"AWS_ENDPOINT_URL", "MLOPS_BUCKETS", "MLOPS_FIRST_RUN", "MLOPS_SPEC", "MLFLOW_TRACKING_URI", "MLOPS_NAMESPACE"} {
					_, there := variables[name]
					left := slices.Contains(test.without, name) || slices.Contains(test.without, "PGHOST") && (name == "PGUSER" || strings.HasPrefix(name, "MLOPS_ROLE_")) ||
						slices.Contains(test.without, "MLOPS_FIRST_RUN") && (name == "MLOPS_SPEC" || name == "MLOPS_NAMESPACE")
					if there == left {
						t.Errorf("%s is there: %v", name, there)
					}
				}
			})
		}
	})
}

// Helm reads numbers as floats and would write big ones with an exponent.
func TestBigNumbers(t *testing.T) {
	eachHelm(t, func(t *testing.T, helm string) {
		r := render(t, helm, "mlops", "mlops", set("pipelines.startingDeadlineSeconds=31536000", "postgres.settings.log_rotation_size=2000000", "postgres.settings.jit=off")...)
		if got := one[*wfv1.CronWorkflow](t, r, "pipeline").Spec.StartingDeadlineSeconds; *got != 31536000 {
			t.Errorf("startingDeadlineSeconds is %d", *got)
		}
		args := one[*appsv1.StatefulSet](t, r, "mlops-postgres").Spec.Template.Spec.Containers[0].Args
		for _, want := range []string{"log_rotation_size=2000000", "jit=off", "shared_buffers=128MB", "max_connections=100"} {
			if !slices.Contains(args, want) {
				t.Errorf("Postgres is started with %q, want %s", args, want)
			}
		}
	})
}

// Where a service stands that the release doesn't bring.
func TestAddresses(t *testing.T) {
	eachHelm(t, func(t *testing.T, helm string) {
		steps := func(values ...string) map[string]string {
			return one[*corev1.ConfigMap](t, render(t, helm, "mlops", "mlops", set(values...)...), "mlops-steps").Data
		}
		want := map[string]string{"PGHOST": "mlops-postgres", "PGPORT": "5432", "PGSSLMODE": "prefer", "MLFLOW_TRACKING_URI": "http://mlops-mlflow:5000", "AWS_ENDPOINT_URL": "http://mlops-minio:9000", "AWS_REGION": "us-east-1"}
		if diff := cmp.Diff(want, steps()); diff != "" {
			t.Errorf("the release's own (-want +got):\n%s", diff)
		}
		want = map[string]string{"PGHOST": "db.example.com", "PGPORT": "6432", "PGSSLMODE": "require", "MLFLOW_TRACKING_URI": "https://m.example.com", "AWS_ENDPOINT_URL": "https://s3.example.com", "AWS_REGION": "eu-west-3"}
		if diff := cmp.Diff(want, steps("postgres.enabled=false", "global.postgres.host=db.example.com", "global.postgres.port=6432", "global.postgres.sslMode=require", "global.postgres.existingSecret=p",
			"mlflow.enabled=false", "global.mlflow.uri=https://m.example.com", "minio.enabled=false", "global.s3.endpoint=https://s3.example.com", "global.s3.region=eu-west-3", "global.s3.existingSecret=s")); diff != "" {
			t.Errorf("others' (-want +got):\n%s", diff)
		}
	})
}

func TestNodePorts(t *testing.T) {
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
			t.Errorf("any that is free (-want +got):\n%s", diff)
		}
		want["mlops-mlflow-nodeport"], want["mlops-argo-nodeport"], want["mlops-prometheus-nodeport"] = 30500, 30746, 30909
		if diff := cmp.Diff(want, ports(set("exposeAll=true")...)); diff != "" {
			t.Errorf("with exposeAll (-want +got):\n%s", diff)
		}
	})
}

func TestIngress(t *testing.T) {
	eachHelm(t, func(t *testing.T, helm string) {
		if n := len(all[*networkingv1.Ingress](render(t, helm, "mlops", "mlops"))); n != 0 {
			t.Errorf("%d Ingresses by default", n)
		}
		r := render(t, helm, "mlops", "mlops", set("ingress.enabled=true", "ingress.className=nginx", "ingress.host=m.example.com", "ingress.tlsSecret=tls")...)
		s := one[*networkingv1.Ingress](t, r, "mlops").Spec
		if *s.IngressClassName != "nginx" || len(s.Rules) != 1 || s.Rules[0].Host != "m.example.com" || len(s.TLS) != 1 || s.TLS[0].SecretName != "tls" || !slices.Equal(s.TLS[0].Hosts, []string{"m.example.com"}) {
			t.Errorf("got %+v", s)
		}
		got := map[string]string{}
		for _, p := range s.Rules[0].HTTP.Paths {
			got[p.Path] = p.Backend.Service.Name
			service := one[*corev1.Service](t, r, p.Backend.Service.Name)
			if service.Spec.Ports[0].Name != p.Backend.Service.Port.Name {
				t.Errorf("%s leads to port %q of %s", p.Path, p.Backend.Service.Port.Name, service.Name)
			}
		}
		want := map[string]string{"/": "mlops-ui", "/predict": "mlops-inference", "/model": "mlops-inference", "/openapi.json": "mlops-inference", "/docs": "mlops-inference"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("paths (-want +got):\n%s", diff)
		}
	})
}

func TestServersOneAtATime(t *testing.T) {
	eachHelm(t, func(t *testing.T, helm string) {
		if n := len(all[*policyv1.PodDisruptionBudget](render(t, helm, "mlops", "mlops"))); n != 0 {
			t.Errorf("%d budgets for one server: a node could never be drained", n)
		}
		r := render(t, helm, "mlops", "mlops", set("inference.replicas=3")...)
		if b := one[*policyv1.PodDisruptionBudget](t, r, "mlops-inference"); b.Spec.MaxUnavailable.IntValue() != 1 {
			t.Errorf("budget %+v", b.Spec)
		}
		d := one[*appsv1.Deployment](t, r, "mlops-inference").Spec
		if *d.Replicas != 3 || d.Strategy.RollingUpdate.MaxUnavailable.IntValue() != 0 {
			t.Errorf("%d replicas, strategy %+v", *d.Replicas, d.Strategy)
		}
		p := d.Template.Spec
		c := p.Containers[0]
		if c.ReadinessProbe.HTTPGet.Path != "/readyz" || c.LivenessProbe.HTTPGet.Path != "/healthz" || c.Lifecycle.PreStop.Sleep == nil || *p.TerminationGracePeriodSeconds != 40 {
			t.Errorf("the server ends by %+v after %d s", c.Lifecycle, *p.TerminationGracePeriodSeconds)
		}
	})
}

func TestImageIDsRollPods(t *testing.T) {
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
			t.Errorf("ui has %q, and nobody said its digest", got)
		}
	})
}

func TestDashboards(t *testing.T) {
	eachHelm(t, func(t *testing.T, helm string) {
		r := render(t, helm, "mlops", "mlops")
		want := files(t, "../../dashboards/json/*.json")
		got := one[*corev1.ConfigMap](t, r, "mlops-grafana-dashboards").Data
		for name, text := range want {
			if got[name] != strings.TrimSpace(text) {
				t.Errorf("%s is not the file", name)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%d dashboards of %d files", len(got), len(want))
		}
		var home struct{ Grafana struct{ Home string } }
		text := files(t, dir+"/values.yaml")["values.yaml"]
		if err := yaml.Unmarshal([]byte(text), &home); err != nil {
			t.Fatal(err)
		}
		if got[home.Grafana.Home] == "" {
			t.Errorf("grafana.home is %q, which no dashboard is", home.Grafana.Home)
		}
	})
}

func TestPrometheusFindsTheServices(t *testing.T) {
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
		if want := []string{"inference", "ui", "argo", "minio", "prometheus"}; !slices.Equal(jobs, want) {
			t.Errorf("jobs %v, want %v", jobs, want)
		}
	})
}

func TestNetworkPolicies(t *testing.T) {
	eachHelm(t, func(t *testing.T, helm string) {
		r := render(t, helm, "mlops", "mlops", set("networkPolicies.enabled=true")...)
		policies := all[*networkingv1.NetworkPolicy](r)
		var closed bool
		for _, p := range policies {
			if p.Name == "mlops-default" {
				closed = len(p.Spec.Ingress) == 0 && slices.Equal(p.Spec.PolicyTypes, []networkingv1.PolicyType{networkingv1.PolicyTypeIngress})
			}
		}
		if !closed {
			t.Error("nothing is closed")
		}
		// Every port of every service is let in by some policy of its pod.
		for _, p := range pods(t, r) {
			for _, c := range p.spec.Containers {
				for _, port := range c.Ports {
					if port.Name == "health" {
						continue // the node's own probes are always let in
					}
					if !slices.ContainsFunc(policies, func(n *networkingv1.NetworkPolicy) bool { return lets(n, p.meta, port.ContainerPort) }) {
						t.Errorf("%s: no policy lets anybody to port %d", p, port.ContainerPort)
					}
				}
			}
		}
	})
}

func lets(n *networkingv1.NetworkPolicy, pod metav1.ObjectMeta, port int32) bool {
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

// One version: the chart's, its parts', the images' in the workflows, and the
// helper that stands in for it in subcharts.
func TestVersions(t *testing.T) {
	type chart struct {
		Version, AppVersion, KubeVersion string
		Dependencies                     []struct{ Name, Version, Condition, Repository string }
	}
	read := func(path string) (c chart) {
		t.Helper()
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal(text, &c); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		return c
	}
	umbrella := read(dir + "/Chart.yaml")
	helper := files(t, dir+"/templates/_helpers.tpl")["_helpers.tpl"]
	if want := `{{- define "mlops.version" -}}` + umbrella.AppVersion + `{{- end -}}`; !strings.Contains(helper, want) {
		t.Errorf("templates/_helpers.tpl lacks %s", want)
	}
	for name, text := range files(t, workflows) {
		for _, m := range regexp.MustCompile(`image: mlops\.local/[a-z-]+:(\S+)`).FindAllStringSubmatch(text, -1) {
			if m[1] != umbrella.AppVersion {
				t.Errorf("%s has an image of version %s, the chart is %s", name, m[1], umbrella.AppVersion)
			}
		}
	}
	parts, err := filepath.Glob(dir + "/charts/*/Chart.yaml")
	if err != nil || len(parts) != len(umbrella.Dependencies) {
		t.Errorf("%d parts, %d dependencies: %v", len(parts), len(umbrella.Dependencies), err)
	}
	for _, d := range umbrella.Dependencies {
		if d.Condition != d.Name+".enabled" || d.Repository != "" {
			t.Errorf("dependency %+v", d)
		}
		if c := read(dir + "/charts/" + d.Name + "/Chart.yaml"); c.Version != d.Version {
			t.Errorf("%s is %s, the umbrella wants %s", d.Name, c.Version, d.Version)
		}
	}
}

func TestLint(t *testing.T) {
	eachHelm(t, func(t *testing.T, helm string) {
		out, wrong, err := run(t, helm, nil, "lint", dir, "--strict", "--kube-version", kubeVersion)
		if err != nil || strings.Contains(out, "[WARNING]") || strings.Contains(out, "[ERROR]") {
			t.Errorf("%v\n%s%s", err, out, wrong)
		}
	})
}

// A package has the files themselves where the tree has links.
func TestPackage(t *testing.T) {
	eachHelm(t, func(t *testing.T, helm string) {
		to := t.TempDir()
		if out, wrong, err := run(t, helm, nil, "package", dir, "--destination", to); err != nil {
			t.Fatalf("%v\n%s%s", err, out, wrong)
		}
		packages, err := filepath.Glob(to + "/mlops-*.tgz")
		if err != nil || len(packages) != 1 {
			t.Fatalf("%d packages: %v", len(packages), err)
		}
		rendered.Clear()
		out, wrong, err := run(t, helm, nil, "template", "mlops", packages[0], "--namespace", "mlops", "--kube-version", kubeVersion)
		if err != nil {
			t.Fatal(err, wrong)
		}
		if want := render(t, helm, "mlops", "mlops").text; out != want {
			t.Error("the package renders another text than the folder")
		}
	})
}

// The notes say how the release is reached. Only Helm 4 renders them without a
// cluster.
func TestNotes(t *testing.T) {
	eachHelm(t, func(t *testing.T, helm string) {
		if out, _, _ := run(t, helm, nil, "version", "--template", "{{.Version}}"); !strings.HasPrefix(out, "v4") {
			t.Skip("this Helm renders notes only with a cluster")
		}
		for _, test := range []struct {
			name       string
			flags      []string
			want, lack []string
		}{
			{"by default", nil, []string{"http://<node>:30800", "http://<node>:30851", "http://<node>:30300", "port-forward svc/mlops-mlflow 5000", "make images", "helm test mlops -n team",
				"get secret mlops-grafana", "from the data set's own address"}, []string{"%!", "30500"}},
			{"everything open, no Grafana", set("exposeAll=true", "grafana.enabled=false"), []string{"http://<node>:30500", "http://<node>:30746", "http://<node>:30909", "Only on a machine of one's own"}, []string{"Grafana", "%!"}},
			{"an ingress", set("ingress.enabled=true", "ingress.host=m.example.com", "ingress.tlsSecret=tls", "ui.service.type=ClusterIP"), []string{"https://m.example.com/", "port-forward svc/mlops-ui 8501"}, []string{"30851", "%!"}},
			{"without pipelines", set("pipelines.enabled=false", "inference.model=m"), []string{"A PREDICTION"}, []string{"THE PIPELINE"}},
		} {
			t.Run(test.name, func(t *testing.T) {
				out, wrong, err := run(t, helm, nil, append([]string{"install", "mlops", dir, "--namespace", "team", "--dry-run=client"}, test.flags...)...)
				if err != nil {
					t.Fatal(err, wrong)
				}
				_, notes, _ := strings.Cut(out, "\nNOTES:\n")
				for _, want := range test.want {
					if !strings.Contains(notes, want) {
						t.Errorf("the notes lack %q", want)
					}
				}
				for _, lack := range test.lack {
					if strings.Contains(notes, lack) {
						t.Errorf("the notes have %q", lack)
					}
				}
				if t.Failed() {
					t.Log(notes)
				}
			})
		}
	})
}
