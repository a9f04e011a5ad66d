package chart

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	wfv1 "github.com/argoproj/argo-workflows/v3/pkg/apis/workflow/v1alpha1"
	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/yaml"
)

// Each component's values reach its own pods, on top of those for all pods.
func TestComponents(t *testing.T) {
	t.Parallel()
	eachHelm(t, func(t *testing.T, helm string) {
		r := render(t, helm, "mlops", "mlops", "--values", ownValues)
		found := map[string]bool{}
		for _, p := range pods(t, r) {
			component := p.meta.Labels["app.kubernetes.io/component"]
			account := "mlops-" + component
			if p.workflow {
				account = "mlops-workflow"
				if component == "restore" {
					account = "mlops-restore" // it starts services again
				}
				component = "pipelines"
			}
			if component == "test" {
				continue // helm test's pod has no values of its own
			}
			found[component] = true
			got := map[string]any{
				"nodeSelector":  p.spec.NodeSelector,
				"tolerations":   chosen(p.spec.Tolerations),
				"affinity":      p.spec.Affinity.PodAffinity.PreferredDuringSchedulingIgnoredDuringExecution[0].PodAffinityTerm.TopologyKey,
				"anti-affinity": p.spec.Affinity.PodAntiAffinity != nil,
				"annotations":   []string{p.meta.Annotations["example.com/of"], p.meta.Annotations["example.com/team"]},
				"account":       p.spec.ServiceAccountName,
				"role":          one[*corev1.ServiceAccount](t, r, p.spec.ServiceAccountName).Annotations["example.com/role"],
			}
			seconds := int64(3)
			want := map[string]any{
				"nodeSelector": map[string]string{"node-of": component, "disk": "fast"},
				"tolerations": []corev1.Toleration{{Key: "everyone", Operator: corev1.TolerationOpExists},
					{Key: component, Operator: corev1.TolerationOpEqual, Value: "yes", Effect: corev1.TaintEffectNoSchedule, TolerationSeconds: &seconds}},
				"affinity":      component,
				"anti-affinity": false, // a component's affinity replaces that of all pods
				"annotations":   []string{component, "ml"},
				"account":       account,
				"role":          component,
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", p, diff)
			}
			c := p.spec.Containers[0]
			variables(t, p, c, component)
			if !p.workflow {
				own := corev1.ResourceRequirements{
					Requests: corev1.ResourceList{"cpu": resource.MustParse("7m"), "memory": resource.MustParse("77Mi")},
					Limits:   corev1.ResourceList{"memory": resource.MustParse("777Mi")},
				}
				if diff := cmp.Diff(own, c.Resources); diff != "" {
					t.Errorf("%s: resources (-want +got):\n%s", p, diff)
				}
			}
		}
		want := []string{"alertmanager", "argo-controller", "argo-server", "grafana", "inference", "loadtest", "minio", "mlflow", "pipelines", "postgres", "postgres-exporter", "prometheus", "setup", "ui"}
		if diff := cmp.Diff(want, sorted(found)); diff != "" {
			t.Errorf("components with pods (-want +got):\n%s", diff)
		}
		if got := executor(t, r).Resources.Limits.Memory().String(); got != "777Mi" {
			t.Errorf("Argo's executor may use %s, want 777Mi", got)
		}
	})
}

// variables checks that extraEnv is added to a container's environment, and that no
// name is there twice: a variable of the chart gives way.
func variables(t *testing.T, p pod, c corev1.Container, component string) {
	t.Helper()
	found := map[string]corev1.EnvVar{}
	for _, e := range c.Env {
		if _, twice := found[e.Name]; twice {
			t.Errorf("%s: variable %s is set twice", p, e.Name)
		}
		found[e.Name] = e
	}
	if found["COMPONENT"].Value != component || found["HOME"].Value != "/of/"+component {
		t.Errorf("%s: COMPONENT is %q and HOME %q", p, found["COMPONENT"].Value, found["HOME"].Value)
	}
	if from := found["NODE"].ValueFrom; from == nil || from.FieldRef == nil || from.FieldRef.FieldPath != "spec.nodeName" {
		t.Errorf("%s: NODE comes from %v", p, from)
	}
}

// Resources of a step are merged into those of its manifest.
func TestResourcesOfSteps(t *testing.T) {
	t.Parallel()
	eachHelm(t, func(t *testing.T, helm string) {
		limits := func(flags ...string) map[string]corev1.ResourceRequirements {
			found := map[string]corev1.ResourceRequirements{}
			for _, w := range all[*wfv1.WorkflowTemplate](render(t, helm, "mlops", "mlops", flags...)) {
				for _, template := range w.Spec.Templates {
					if template.Container != nil {
						found[template.Name] = *template.Container.Resources.DeepCopy()
					}
				}
			}
			return found
		}
		want := limits()
		want["train"].Limits["memory"] = resource.MustParse("5Gi")
		want["load-test"].Requests["cpu"] = resource.MustParse("1")
		if diff := cmp.Diff(want, limits("--values", ownValues)); diff != "" {
			t.Errorf("resources (-want +got):\n%s", diff)
		}

		// The schema knows the steps by name.
		var schema struct {
			Properties struct {
				Pipelines struct {
					Properties struct {
						Resources struct{ Properties map[string]any }
					}
				}
			}
		}
		if err := yaml.Unmarshal([]byte(files(t, dir+"/values.schema.json")["values.schema.json"]), &schema); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(sorted(want), sorted(schema.Properties.Pipelines.Properties.Resources.Properties)); diff != "" {
			t.Errorf("steps in workflows/ against pipelines.resources in values.schema.json (-want +got):\n%s", diff)
		}
	})
}

// global.pod applies to the pods of workflows too, even under an existing Argo. The
// release's Argo applies it to workflows from elsewhere as well.
func TestPlacement(t *testing.T) {
	t.Parallel()
	eachHelm(t, func(t *testing.T, helm string) {
		r := render(t, helm, "mlops", "mlops", placed...)
		check := func(name string, selector map[string]string, tolerations []corev1.Toleration, affinity *corev1.Affinity, annotations map[string]string) {
			t.Helper()
			if selector["ml"] != "1" || len(tolerations) != 1 || tolerations[0].Key != "ml" || affinity == nil || affinity.NodeAffinity == nil || annotations["a.b/c"] != "d" {
				t.Errorf("%s: selector %v, tolerations %v, affinity %v, annotations %v", name, selector, tolerations, affinity, annotations)
			}
		}
		for _, p := range pods(t, r) {
			check(p.String(), p.spec.NodeSelector, chosen(p.spec.Tolerations), p.spec.Affinity, p.meta.Annotations)
		}
		var w wfv1.Workflow
		text := one[*corev1.ConfigMap](t, r, "mlops-argo-controller").Data["workflowDefaults"]
		if err := yaml.UnmarshalStrict([]byte(text), &w); err != nil || w.Spec.PodMetadata == nil {
			t.Fatalf("%v:\n%s", err, text)
		}
		check("other workflows", w.Spec.NodeSelector, w.Spec.Tolerations, w.Spec.Affinity, w.Spec.PodMetadata.Annotations)
	})
}

// With a mirror, nothing is pulled from a public registry: neither by init containers,
// nor by Argo's executor, whose image is an argument of the controller.
func TestMirror(t *testing.T) {
	t.Parallel()
	eachHelm(t, func(t *testing.T, helm string) {
		images := func(values ...string) []string {
			r := render(t, helm, "mlops", "mlops", set(values...)...)
			found := map[string]bool{}
			for _, p := range pods(t, r) {
				for _, c := range p.containers() {
					if !p.workflow || c.Name != "init" && c.Name != "wait" {
						found[c.Image] = true
					}
				}
			}
			for _, arg := range one[*appsv1.Deployment](t, r, "mlops-argo-controller").Spec.Template.Spec.Containers[0].Args {
				if image, ok := strings.CutPrefix(arg, "--executor-image="); ok {
					found[image] = true
				}
			}
			return sorted(found)
		}
		digest := "postgres.image.digest=sha256:" + strings.Repeat("0a", 32)
		public := regexp.MustCompile(`^(docker|quay)\.io/`)
		var want []string
		for _, image := range images(digest) {
			want = append(want, public.ReplaceAllString(image, "r.example.com:5000/mirror/"))
		}
		slices.Sort(want)
		if n := strings.Count(strings.Join(want, " "), "r.example.com:5000/mirror/"); n != 7 {
			t.Fatalf("%d third-party images in %v, want 7", n, want)
		}
		if diff := cmp.Diff(want, images(digest, "global.images.mirror=r.example.com:5000/mirror")); diff != "" {
			t.Errorf("images (-want +got):\n%s", diff)
		}
		// What `make images` built in place of a public image is the project's own.
		got := images("global.images.mirror=r.example.com", "prometheus.image.registry=mlops.local", "prometheus.image.repository=prometheus")
		if !slices.ContainsFunc(got, func(image string) bool { return strings.HasPrefix(image, "mlops.local/prometheus:") }) {
			t.Errorf("the build of Prometheus is not used: %v", got)
		}
	})
}

func sorted[V any](set map[string]V) []string {
	return slices.Sorted(maps.Keys(set))
}
