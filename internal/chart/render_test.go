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
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"
)

const workflows = "../../workflows/*.yaml"

// files reads the files that match a pattern, by name.
func files(t *testing.T, pattern string) map[string]string {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		t.Fatalf("%s matches %d files: %v", pattern, len(paths), err)
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

// With the default values each workflow is the object in its file, braces of Argo's
// included. The keys' order and the comments are lost.
func TestWorkflowsAreTheFiles(t *testing.T) {
	t.Parallel()
	eachHelm(t, func(t *testing.T, helm string) {
		rendered := map[string]any{}
		for _, o := range render(t, helm, "mlops", "mlops").objects {
			if o.kind == "WorkflowTemplate" {
				rendered[o.meta.GetName()] = parse(t, o.text)
			}
		}
		texts := files(t, workflows)
		for name, text := range texts {
			if diff := cmp.Diff(parse(t, text), rendered[strings.TrimSuffix(name, ".yaml")]); diff != "" {
				t.Errorf("%s, file against rendering (-want +got):\n%s", name, diff)
			}
		}
		if len(rendered) != len(texts) {
			t.Errorf("%d WorkflowTemplates for %d files", len(rendered), len(texts))
		}
	})
}

func parse(t *testing.T, text string) any {
	t.Helper()
	var object any
	if err := yaml.UnmarshalStrict([]byte(text), &object); err != nil {
		t.Fatal(err)
	}
	return object
}

func TestWorkflowsOfAnotherRelease(t *testing.T) {
	t.Parallel()
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
					t.Errorf("%s still contains %s", w.Name, left)
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
			t.Errorf("%d workflows have a parameter source, want load-raw-data and pipeline", sources)
		}
	})
}

func TestObjects(t *testing.T) {
	t.Parallel()
	eachScenario(t, func(t *testing.T, r *rendering) {
		seen := map[string]bool{}
		for _, o := range r.objects {
			name := o.meta.GetName()
			if seen[o.String()] {
				t.Errorf("%s is rendered twice", o)
			}
			seen[o.String()] = true
			if o.meta.GetNamespace() != "" {
				t.Errorf("%s sets the namespace %s; leave it to Helm", o, o.meta.GetNamespace())
			}
			// Workflows have fixed names, which users know.
			if o.kind != "WorkflowTemplate" && o.kind != "CronWorkflow" && name != r.release && !strings.HasPrefix(name, r.release+"-") {
				t.Errorf("the name of %s doesn't begin with the release's", o)
			}
			if o.kind == "WorkflowTemplate" {
				continue // as in its file, without labels of a chart
			}
			for k, want := range map[string]string{"app.kubernetes.io/part-of": "mlops", "app.kubernetes.io/instance": r.release, "app.kubernetes.io/managed-by": "Helm"} {
				if got := o.meta.GetLabels()[k]; got != want {
					t.Errorf("%s: label %s is %q, want %q", o, k, got, want)
				}
			}
		}
		for _, o := range r.objects {
			if r.release == "mlops" || strings.HasSuffix(o.meta.GetName(), "-dashboards") {
				continue // the names of dashboards don't depend on the release
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

// Rights are limited to one namespace and list what they cover.
func TestRoles(t *testing.T) {
	t.Parallel()
	eachScenario(t, func(t *testing.T, r *rendering) {
		if n := len(all[*rbacv1.ClusterRole](r)) + len(all[*rbacv1.ClusterRoleBinding](r)); n > 0 {
			t.Errorf("%d ClusterRoles and bindings, want none", n)
		}
		roles := map[string]bool{}
		for _, role := range all[*rbacv1.Role](r) {
			roles[role.Name] = true
			for _, rule := range role.Rules {
				if slices.Contains(slices.Concat(rule.APIGroups, rule.Resources, rule.Verbs), "*") {
					t.Errorf("Role %s has a wildcard: %v", role.Name, rule)
				}
				if slices.Contains(rule.Resources, "secrets") && len(rule.ResourceNames) == 0 {
					t.Errorf("Role %s may read every Secret", role.Name)
				}
			}
		}
		for _, b := range all[*rbacv1.RoleBinding](r) {
			if b.RoleRef.Kind != "Role" || !roles[b.RoleRef.Name] {
				t.Errorf("RoleBinding %s grants %s %s, which is not in the release", b.Name, b.RoleRef.Kind, b.RoleRef.Name)
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
			"mlops-setup":    {{APIGroups: []string{"argoproj.io"}, Resources: []string{"workflows"}, Verbs: []string{"get", "create", "delete"}}},
			// The server's own rights are what a caller without a token could get at.
			"mlops-argo-server": {
				{APIGroups: []string{"argoproj.io"}, Resources: []string{"workflows", "workflowtemplates", "cronworkflows", "workfloweventbindings"}, Verbs: []string{"get", "list", "watch"}},
				{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"get", "list", "watch"}},
				{APIGroups: []string{""}, Resources: []string{"events"}, Verbs: []string{"watch", "create", "patch"}},
				{APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{"mlops-postgres-argo"}, Verbs: []string{"get"}},
			},
		} {
			if diff := cmp.Diff(want, one[*rbacv1.Role](t, r, name).Rules); diff != "" {
				t.Errorf("Role %s (-want +got):\n%s", name, diff)
			}
		}
		for _, s := range all[*corev1.Secret](r) {
			if s.Type == corev1.SecretTypeServiceAccountToken {
				t.Errorf("Secret %s holds a token that never expires", s.Name)
			}
		}
	})
}

// Argo's server asks for a token unless the values say otherwise, and people have
// an account to make one of.
func TestArgoAsksForAToken(t *testing.T) {
	t.Parallel()
	eachHelm(t, func(t *testing.T, helm string) {
		for mode, flags := range map[string][]string{"client": nil, "server": set("argo.server.authMode=server")} {
			r := render(t, helm, "mlops", "mlops", flags...)
			args := one[*appsv1.Deployment](t, r, "mlops-argo").Spec.Template.Spec.Containers[0].Args
			if !slices.Contains(args, "--auth-mode="+mode) {
				t.Errorf("the server is started with %q, want mode %s", args, mode)
			}
			account := slices.ContainsFunc(all[*corev1.ServiceAccount](r), func(a *corev1.ServiceAccount) bool { return a.Name == "mlops-argo-user" })
			if account != (mode == "client") {
				t.Errorf("mode %s: the account mlops-argo-user is there: %v", mode, account)
			}
		}
	})
}

func TestArgoTakesItsConfiguration(t *testing.T) {
	t.Parallel()
	eachHelm(t, func(t *testing.T, helm string) {
		data := one[*corev1.ConfigMap](t, render(t, helm, "mlops", "mlops"), "mlops-argo-controller").Data
		var text strings.Builder // as Argo itself joins the keys
		for key, value := range data {
			text.WriteString(key + ":\n  " + strings.ReplaceAll(strings.TrimSpace(value), "\n", "\n  ") + "\n")
		}
		var c config.Config
		if err := yaml.UnmarshalStrict([]byte(text.String()), &c); err != nil {
			t.Fatalf("%v:\n%s", err, text.String())
		}
		if c.Persistence == nil || !c.Persistence.Archive || c.Persistence.PostgreSQL.Database != "argo" || c.Persistence.PostgreSQL.GetHostname() != "mlops-postgres:5432" {
			t.Errorf("archive is %+v", c.Persistence)
		}
		if c.WorkflowDefaults == nil || c.WorkflowDefaults.Spec.SecurityContext == nil || !*c.WorkflowDefaults.Spec.SecurityContext.RunAsNonRoot {
			t.Error("a workflow without a security context runs as root")
		}
	})
}

func TestDefinitionsOfArgo(t *testing.T) {
	t.Parallel()
	eachHelm(t, func(t *testing.T, helm string) {
		for flag, want := range map[string]int{"argo.enabled=true": 8, "argo.enabled=false": 0} {
			out, err := run(t, helm, "template", "mlops", dir, "--kube-version", kubeVersion, "--include-crds", "--set", flag)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Count(out, "\nkind: CustomResourceDefinition\n"); got != want {
				t.Errorf("%s: %d definitions, want %d", flag, got, want)
			}
		}
	})
}

func TestSchedules(t *testing.T) {
	t.Parallel()
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
				t.Errorf("%s has the mutexes %v", name, m)
			}
		}
		off := render(t, helm, "mlops", "mlops", set("pipelines.schedules.load=")...)
		if got := all[*wfv1.CronWorkflow](off); len(got) != 1 || got[0].Name != "pipeline" {
			t.Errorf("without a schedule for load there are %d schedules, want that of pipeline", len(got))
		}
	})
}

// setup returns the set-up Job and the values of its variables.
func setup(t *testing.T, r *rendering) (*batchv1.Job, map[string]string) {
	t.Helper()
	jobs := all[*batchv1.Job](r)
	if len(jobs) != 1 {
		t.Fatalf("%d Jobs, want only the set-up Job", len(jobs))
	}
	variables := map[string]string{}
	for _, e := range jobs[0].Spec.Template.Spec.Containers[0].Env {
		variables[e.Name] = e.Value
	}
	return jobs[0], variables
}

func TestDataSet(t *testing.T) {
	t.Parallel()
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
					t.Error("the data set's YAML is not the file byte for byte")
				}
				if data["model"] != test.model {
					t.Errorf("model %q, want %q", data["model"], test.model)
				}
				_, variables := setup(t, r)
				if got := variables["MLOPS_FIRST_RUN"]; got != test.source {
					t.Errorf("parameters of the first run are %s, want %s", got, test.source)
				}
				if test.in != "" && one[*corev1.ConfigMap](t, r, "mlops-table").Data["penguins.csv"] != test.in {
					t.Error("the table is not the file byte for byte")
				}
			})
		}
	})
}

func TestSetUp(t *testing.T) {
	t.Parallel()
	eachHelm(t, func(t *testing.T, helm string) {
		first, _ := setup(t, render(t, helm, "mlops", "mlops"))
		if len(first.Annotations) > 0 {
			t.Errorf("the Job has the annotations %v: as a hook it would wait for pods that wait for it", first.Annotations)
		}
		second, err := renderAgain(t, helm, "mlops", "mlops")
		if err != nil {
			t.Fatal(err)
		}
		if again, _ := setup(t, second); again.Name != first.Name {
			t.Errorf("the same values render Job %s and Job %s", first.Name, again.Name)
		}
		names := map[string]string{first.Name: "the default values"}
		for _, values := range []string{"global.s3.buckets.sources=other", "global.images.tag=v2", "global.dataset.table=a", "pipelines.runOnInstall=false", "setup.source.image=a.b/c:d"} {
			job, _ := setup(t, render(t, helm, "mlops", "mlops", set(values)...))
			if other := names[job.Name]; other != "" {
				t.Errorf("%s renders a Job with the name for %s: Kubernetes would refuse to change it", values, other)
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
			{"a prepared Postgres", prepared, []string{"PGHOST", "PGPASSWORD", "MLOPS_ROLE_APP_PASSWORD"}},
			{"one role for all steps", []string{"global.postgres.appSecret=a", "global.postgres.roles.train.secret=b"}, []string{"MLOPS_ROLE_LOAD_PASSWORD", "MLOPS_ROLE_READ_PASSWORD"}},
			{"no MLflow", []string{"mlflow.enabled=false", "global.mlflow.uri=http://m"}, []string{"MLOPS_ROLE_MLFLOW_PASSWORD"}},
			{"no Argo", []string{"argo.enabled=false"}, []string{"MLOPS_ROLE_ARGO_PASSWORD"}},
			{"no first run", []string{"pipelines.runOnInstall=false", "global.mlflow.login=false", "global.signing.enabled=false"}, []string{"MLOPS_FIRST_RUN", "MLFLOW_TRACKING_URI"}},
		} {
			t.Run(test.name, func(t *testing.T) {
				_, variables := setup(t, render(t, helm, "mlops", "mlops", set(test.values...)...))
				for _, name := range []string{"PGHOST", "PGUSER", "PGPASSWORD", "MLOPS_ROLE_APP_PASSWORD", "MLOPS_ROLE_MLFLOW_PASSWORD", "MLOPS_ROLE_ARGO_PASSWORD",
					"MLOPS_ROLE_LOAD_PASSWORD", "MLOPS_ROLE_TRAIN_PASSWORD", "MLOPS_ROLE_READ_PASSWORD",
					"AWS_ENDPOINT_URL", "MLOPS_BUCKETS", "MLOPS_FIRST_RUN", "MLOPS_SPEC", "MLFLOW_TRACKING_URI", "MLOPS_NAMESPACE"} {
					_, there := variables[name]
					left := slices.Contains(test.without, name) || slices.Contains(test.without, "PGHOST") && (name == "PGUSER" || strings.HasPrefix(name, "MLOPS_ROLE_")) ||
						slices.Contains(test.without, "MLOPS_FIRST_RUN") && (name == "MLOPS_SPEC" || name == "MLOPS_NAMESPACE")
					if there == left {
						t.Errorf("variable %s is set: %v", name, there)
					}
				}
			})
		}
	})
}
