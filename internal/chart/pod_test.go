package chart

import (
	stdcmp "cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	wfv1 "github.com/argoproj/argo-workflows/v3/pkg/apis/workflow/v1alpha1"
	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"
)

// pod is a pod that an object creates.
type pod struct {
	owner    object
	meta     metav1.ObjectMeta
	spec     corev1.PodSpec
	selector map[string]string // nil if the owner has none
	claims   []string          // volumes that come from claims
	workflow bool
}

// pods returns all pods that the rendering's objects create, those of workflows with the
// containers that Argo's controller adds.
func pods(t *testing.T, r *rendering) []pod {
	t.Helper()
	var found []pod
	for _, o := range r.objects {
		switch x := o.kubernetes.(type) {
		case *appsv1.Deployment:
			found = append(found, pod{owner: o, meta: x.Spec.Template.ObjectMeta, spec: x.Spec.Template.Spec, selector: x.Spec.Selector.MatchLabels})
		case *appsv1.StatefulSet:
			p := pod{owner: o, meta: x.Spec.Template.ObjectMeta, spec: x.Spec.Template.Spec, selector: x.Spec.Selector.MatchLabels}
			for _, c := range x.Spec.VolumeClaimTemplates {
				p.claims = append(p.claims, c.Name)
			}
			found = append(found, p)
		case *batchv1.Job:
			found = append(found, pod{owner: o, meta: x.Spec.Template.ObjectMeta, spec: x.Spec.Template.Spec})
		case *corev1.Pod:
			found = append(found, pod{owner: o, meta: x.ObjectMeta, spec: x.Spec})
		case *wfv1.WorkflowTemplate:
			for _, template := range x.Spec.Templates {
				if template.Container == nil {
					continue
				}
				p := pod{owner: o, workflow: true}
				p.meta.Name, p.meta.Labels, p.meta.Annotations = template.Name, template.Metadata.Labels, template.Metadata.Annotations
				p.spec = corev1.PodSpec{
					SecurityContext:              template.SecurityContext,
					Volumes:                      template.Volumes,
					Containers:                   []corev1.Container{*template.Container},
					ServiceAccountName:           stdcmp.Or(template.ServiceAccountName, x.Spec.ServiceAccountName),
					AutomountServiceAccountToken: x.Spec.AutomountServiceAccountToken,
					NodeSelector:                 template.NodeSelector,
					Tolerations:                  template.Tolerations,
					Affinity:                     template.Affinity,
				}
				if executor := executor(t, r); executor != nil {
					init, wait := *executor, *executor
					init.Name, wait.Name = "init", "wait"
					// As the controller adds it, before it patches.
					token := corev1.VolumeMount{Name: "exec-sa-token", MountPath: "/var/run/secrets/kubernetes.io/serviceaccount", ReadOnly: true}
					init.VolumeMounts, wait.VolumeMounts = append(slices.Clone(init.VolumeMounts), token), append(slices.Clone(wait.VolumeMounts), token)
					p.spec.Volumes = append(slices.Clone(p.spec.Volumes), corev1.Volume{Name: token.Name,
						VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: x.Spec.ServiceAccountName + ".service-account-token"}}})
					p.spec.InitContainers = append(p.spec.InitContainers, init)
					p.spec.Containers = append(p.spec.Containers, wait)
				}
				p.spec = patched(t, p.spec, template.PodSpecPatch)
				found = append(found, p)
			}
		}
	}
	return found
}

// patched applies a template's podSpecPatch as Argo does (util.ApplyPodSpecPatch).
func patched(t *testing.T, spec corev1.PodSpec, patch string) corev1.PodSpec {
	t.Helper()
	before, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	change, err := yaml.YAMLToJSON([]byte(patch))
	if err != nil {
		t.Fatal(err)
	}
	after, err := strategicpatch.StrategicMergePatch(before, change, corev1.PodSpec{})
	if err != nil {
		t.Fatal(err)
	}
	var result corev1.PodSpec
	if err := json.Unmarshal(after, &result); err != nil {
		t.Fatal(err)
	}
	return result
}

// Argo's containers get a token of the pod's account that ends with the pod, and no other
// container of a workflow's pod sees it.
func TestTokensEnd(t *testing.T) {
	t.Parallel()
	eachHelm(t, func(t *testing.T, helm string) {
		n := 0
		for _, p := range pods(t, render(t, helm, "mlops", "mlops")) {
			if !p.workflow {
				continue
			}
			n++
			i := slices.IndexFunc(p.spec.Volumes, func(v corev1.Volume) bool { return v.Name == "exec-sa-token" })
			v := p.spec.Volumes[i]
			if v.Secret != nil || v.Projected == nil || len(v.Projected.Sources) != 3 || v.Projected.Sources[0].ServiceAccountToken == nil || *v.Projected.Sources[0].ServiceAccountToken.ExpirationSeconds != 3600 {
				t.Errorf("%s: the token for Argo's containers is %+v", p, v.VolumeSource)
			}
			for _, c := range p.containers() {
				sees := slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == v.Name })
				if sees != (c.Name == "init" || c.Name == "wait") {
					t.Errorf("%s: container %s sees the token for Argo's containers: %t", p, c.Name, sees)
				}
			}
		}
		if n < 10 {
			t.Errorf("%d kinds of pods of workflows", n)
		}
	})
}

// executor returns the controller's configuration of Argo's containers in the pods of
// workflows; nil if the release has no controller.
func executor(t *testing.T, r *rendering) *corev1.Container {
	t.Helper()
	for _, c := range all[*corev1.ConfigMap](r) {
		if text, ok := c.Data["executor"]; ok {
			x := &corev1.Container{Image: "argoexec:as-the-controller-says"}
			if err := yaml.UnmarshalStrict([]byte(text), x); err != nil {
				t.Fatalf("executor of Argo's configuration: %v", err)
			}
			return x
		}
	}
	return nil
}

// containers returns a pod's containers of both kinds.
func (p pod) containers() []corev1.Container {
	return slices.Concat(p.spec.InitContainers, p.spec.Containers)
}

func (p pod) String() string {
	if p.workflow {
		return fmt.Sprintf("%s/%s", p.owner, p.meta.Name)
	}
	return p.owner.String()
}

func TestPodsAreRestricted(t *testing.T) {
	t.Parallel()
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks())
	if err != nil {
		t.Fatal(err)
	}
	level := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	eachScenario(t, func(t *testing.T, r *rendering) {
		for _, p := range pods(t, r) {
			result := policy.AggregateCheckResults(evaluator.EvaluatePod(level, &p.meta, &p.spec))
			if !result.Allowed {
				t.Errorf("%s: %s: %s", p, result.ForbiddenReason(), result.ForbiddenDetail())
			}
		}
	})
}

// The check itself has to find what is wrong.
func TestRestrictedIsChecked(t *testing.T) {
	t.Parallel()
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks())
	if err != nil {
		t.Fatal(err)
	}
	level := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	if policy.AggregateCheckResults(evaluator.EvaluatePod(level, &metav1.ObjectMeta{}, &corev1.PodSpec{Containers: []corev1.Container{{Name: "x"}}})).Allowed {
		t.Error("a pod without any security context is allowed")
	}
}

func TestPods(t *testing.T) {
	t.Parallel()
	eachScenario(t, func(t *testing.T, r *rendering) {
		withToken := map[string]bool{r.release + "-argo-controller": true, r.release + "-argo": true}
		for _, p := range pods(t, r) {
			name := p.owner.meta.GetName()
			if token := p.spec.AutomountServiceAccountToken; token == nil {
				t.Errorf("%s doesn't set automountServiceAccountToken", p)
			} else if *token && !withToken[name] && !strings.HasPrefix(name, r.release+"-setup-") {
				t.Errorf("%s gets a token for Kubernetes' API, which it does not need", p)
			}
			if p.meta.Labels["app.kubernetes.io/part-of"] != "mlops" {
				t.Errorf("%s has the labels %v, want app.kubernetes.io/part-of: mlops", p, p.meta.Labels)
			}
			component := p.meta.Labels["app.kubernetes.io/component"]
			if component == "" || p.meta.Labels["app.kubernetes.io/name"] != "mlops" {
				t.Errorf("%s has the labels %v, want app.kubernetes.io/name: mlops and a component", p, p.meta.Labels)
			}
			want := map[string]string{"app.kubernetes.io/name": "mlops", "app.kubernetes.io/instance": r.release, "app.kubernetes.io/component": component}
			if p.selector != nil {
				// Selectors are immutable: another label in them breaks an upgrade.
				if diff := cmp.Diff(want, p.selector); diff != "" {
					t.Errorf("selector of %s (-want +got):\n%s", p, diff)
				}
			}
			for k, v := range p.selector {
				if p.meta.Labels[k] != v {
					t.Errorf("%s selects %s: %s, its pods have %q", p, k, v, p.meta.Labels[k])
				}
				if k == "helm.sh/chart" || k == "app.kubernetes.io/version" {
					t.Errorf("%s selects by %s, which changes with an upgrade", p, k)
				}
			}
			volumes := slices.Clone(p.claims)
			for _, v := range p.spec.Volumes {
				volumes = append(volumes, v.Name)
			}
			for _, c := range p.containers() {
				container(t, r, p, c, volumes)
			}
		}
	})
}

func container(t *testing.T, r *rendering, p pod, c corev1.Container, volumes []string) {
	where := fmt.Sprintf("%s, container %s", p, c.Name)
	image, _, _ := strings.Cut(c.Image, "@")
	if _, tag, ok := strings.Cut(image[strings.LastIndexByte(image, '/')+1:], ":"); !ok || tag == "" || tag == "latest" {
		t.Errorf("%s: image %s has no tag of its own", where, c.Image)
	}
	if c.Resources.Limits.Memory().IsZero() || c.Resources.Requests.Memory().IsZero() || c.Resources.Requests.Cpu().IsZero() {
		t.Errorf("%s: want a memory limit, and memory and processor requested", where)
	}
	if c.SecurityContext == nil || c.SecurityContext.ReadOnlyRootFilesystem == nil || !*c.SecurityContext.ReadOnlyRootFilesystem {
		t.Errorf("%s: its root file system is writable", where)
	}
	// Argo's own containers write their termination message themselves.
	if !(p.workflow && (c.Name == "init" || c.Name == "wait")) && c.TerminationMessagePolicy != corev1.TerminationMessageFallbackToLogsOnError {
		t.Errorf("%s: a failure leaves no message in the pod's state", where)
	}
	for _, m := range c.VolumeMounts {
		if !slices.Contains(volumes, m.Name) {
			t.Errorf("%s: no volume %s", where, m.Name)
		}
	}
	ports := map[string]bool{}
	for _, port := range c.Ports {
		ports[port.Name] = true
	}
	for _, other := range p.spec.Containers { // by number, another container's are reached too
		for _, port := range other.Ports {
			ports[strconv.Itoa(int(port.ContainerPort))] = true
		}
	}
	for _, probe := range []*corev1.Probe{c.StartupProbe, c.ReadinessProbe, c.LivenessProbe} {
		switch {
		case probe == nil:
		case probe.HTTPGet != nil && !ports[probe.HTTPGet.Port.String()], probe.TCPSocket != nil && !ports[probe.TCPSocket.Port.String()]:
			t.Errorf("%s: a probe uses a port that it does not have", where)
		}
	}
}

// Whatever a pod reads from ConfigMaps and Secrets is rendered, or exists by the scenario's
// own account.
func TestPodsFindWhatTheyRead(t *testing.T) {
	t.Parallel()
	eachScenario(t, func(t *testing.T, r *rendering) {
		there := map[string][]string{}
		for _, c := range all[*corev1.ConfigMap](r) {
			there["ConfigMap "+c.Name] = nil
			for key := range c.Data {
				there["ConfigMap "+c.Name] = append(there["ConfigMap "+c.Name], key)
			}
		}
		for name, keys := range generated(r) {
			there["Secret "+name] = keys
		}
		// Those that exist in the scenarios.
		there["Secret my-postgres"] = []string{"postgres-user", "postgres-password"}
		there["Secret my-ca"], there["Secret my-cert"] = []string{"ca.crt"}, []string{"ca.crt", "tls.crt", "tls.key"}
		there["Secret my-app"] = []string{"PGUSER", "PGPASSWORD"}
		there["Secret my-mlflow"] = []string{"PGUSER", "PGPASSWORD"}
		there["Secret my-argo"] = []string{"username", "password"}
		there["Secret my-s3"] = []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
		there["Secret my-s3-mlflow"], there["Secret my-s3-loader"] = there["Secret my-s3"], there["Secret my-s3"]
		there["Secret my-login"] = []string{"MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"}
		there["Secret my-reader"] = there["Secret my-login"]
		there["Secret my-signers"], there["Secret my-signing"] = []string{"MLOPS_SIGNERS"}, []string{"MLOPS_SIGNING_KEY"}
		there["Secret my-alertmanager"] = []string{"alertmanager.yml"}
		there["Secret my-grafana"] = []string{"admin-user", "admin-password"}
		accounts := map[string]bool{"": true}
		for _, a := range all[*corev1.ServiceAccount](r) {
			accounts[a.Name] = true
		}
		for _, p := range pods(t, r) {
			want := func(what string, optional *bool, key string) {
				t.Helper()
				if optional != nil && *optional {
					return
				}
				if keys, ok := there[what]; !ok || key != "" && !slices.Contains(keys, key) {
					t.Errorf("%s needs %s (key %q), which nothing creates", p, what, key)
				}
			}
			if !accounts[p.spec.ServiceAccountName] {
				t.Errorf("%s runs as account %s, which nothing creates", p, p.spec.ServiceAccountName)
			}
			for _, v := range p.spec.Volumes {
				if v.ConfigMap != nil {
					want("ConfigMap "+v.ConfigMap.Name, v.ConfigMap.Optional, "")
				}
				if v.Secret != nil {
					want("Secret "+v.Secret.SecretName, v.Secret.Optional, "")
				}
			}
			for _, c := range p.containers() {
				for _, e := range c.EnvFrom {
					if e.ConfigMapRef != nil {
						want("ConfigMap "+e.ConfigMapRef.Name, e.ConfigMapRef.Optional, "")
					}
					if e.SecretRef != nil {
						want("Secret "+e.SecretRef.Name, e.SecretRef.Optional, "")
					}
				}
				for _, e := range c.Env {
					if e.ValueFrom != nil && e.ValueFrom.ConfigMapKeyRef != nil {
						want("ConfigMap "+e.ValueFrom.ConfigMapKeyRef.Name, e.ValueFrom.ConfigMapKeyRef.Optional, e.ValueFrom.ConfigMapKeyRef.Key)
					}
					if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil {
						want("Secret "+e.ValueFrom.SecretKeyRef.Name, e.ValueFrom.SecretKeyRef.Optional, e.ValueFrom.SecretKeyRef.Key)
					}
				}
			}
		}
	})
}

func TestServicesLeadToPods(t *testing.T) {
	t.Parallel()
	eachScenario(t, func(t *testing.T, r *rendering) {
		for _, s := range all[*corev1.Service](r) {
			if _, ok := s.Spec.Selector["helm.sh/chart"]; ok {
				t.Errorf("Service %s selects by the chart's version", s.Name)
			}
			var found []pod
			for _, p := range pods(t, r) {
				if p.selector != nil && contains(p.meta.Labels, s.Spec.Selector) {
					found = append(found, p)
				}
			}
			if len(found) != 1 {
				t.Errorf("Service %s selects %v, want the pods of one owner", s.Name, found)
				continue
			}
			for _, port := range s.Spec.Ports {
				if !slices.ContainsFunc(found[0].spec.Containers, func(c corev1.Container) bool {
					return slices.ContainsFunc(c.Ports, func(p corev1.ContainerPort) bool { return p.Name == port.TargetPort.StrVal })
				}) {
					t.Errorf("Service %s forwards to port %s, which %s doesn't have", s.Name, port.TargetPort.StrVal, found[0])
				}
			}
		}
	})
}

// contains reports whether a selector that isn't empty selects the labels.
func contains(labels, selector map[string]string) bool {
	for k, v := range selector {
		if labels[k] != v {
			return false
		}
	}
	return len(selector) > 0
}
