package chart

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"mlops/internal/postgres"
)

func TestServersOneAtATime(t *testing.T) {
	t.Parallel()
	eachHelm(t, func(t *testing.T, helm string) {
		if n := len(all[*policyv1.PodDisruptionBudget](render(t, helm, "mlops", "mlops"))); n != 0 {
			t.Errorf("%d disruption budgets for a single server: its node could never be drained", n)
		}
		for name, flags := range map[string][]string{
			"a number of servers":         set("inference.replicas=3"),
			"the release's autoscaler":    set("inference.autoscaling.enabled=true"),
			"somebody else's autoscaler":  set("inference.autoscaling.enabled=true", "inference.autoscaling.external=true"),
			"values of an older release":  {"--set-json", `inference.autoscaling={"enabled":true}`},
			"values for clusters of many": {"--values", manyNodes},
		} {
			r := render(t, helm, "mlops", "mlops", flags...)
			b := one[*policyv1.PodDisruptionBudget](t, r, "mlops-inference").Spec
			if b.MaxUnavailable.IntValue() != 1 || *b.UnhealthyPodEvictionPolicy != policyv1.AlwaysAllow {
				t.Errorf("%s: disruption budget %+v", name, b)
			}
			d := one[*appsv1.Deployment](t, r, "mlops-inference").Spec
			if d.Strategy.RollingUpdate.MaxUnavailable.IntValue() != 0 || d.Strategy.RollingUpdate.MaxSurge.IntValue() != 1 {
				t.Errorf("%s: strategy %+v", name, d.Strategy)
			}
			if autoscaled := d.Replicas == nil; autoscaled != (name != "a number of servers") {
				t.Errorf("%s: the release sets the number of servers: %t", name, !autoscaled)
			}
			p := d.Template.Spec
			c := p.Containers[0]
			if c.ReadinessProbe.HTTPGet.Path != "/readyz" || c.LivenessProbe.HTTPGet.Path != "/healthz" || c.Lifecycle.PreStop.Sleep == nil || *p.TerminationGracePeriodSeconds != 40 {
				t.Errorf("%s: the server stops by %+v after %d s", name, c.Lifecycle, *p.TerminationGracePeriodSeconds)
			}
			var over []string
			for _, s := range p.TopologySpreadConstraints {
				over = append(over, s.TopologyKey)
				if s.WhenUnsatisfiable != corev1.ScheduleAnyway || !slices.Equal(s.MatchLabelKeys, []string{"pod-template-hash"}) {
					t.Errorf("%s: spread %+v", name, s)
				}
				for k, v := range s.LabelSelector.MatchLabels {
					if d.Template.Labels[k] != v {
						t.Errorf("%s: spread over pods with %s=%s, the server's has %q", name, k, v, d.Template.Labels[k])
					}
				}
			}
			want := []string{"kubernetes.io/hostname"}
			if name == "values for clusters of many" {
				want = append(want, "topology.kubernetes.io/zone")
			}
			if diff := cmp.Diff(want, over); diff != "" {
				t.Errorf("%s: spread over (-want +got):\n%s", name, diff)
			}
		}
		if p := one[*appsv1.Deployment](t, render(t, helm, "mlops", "mlops"), "mlops-inference").Spec.Template.Spec; len(p.TopologySpreadConstraints) != 0 {
			t.Errorf("a single server is spread over %+v", p.TopologySpreadConstraints)
		}
	})
}

// whileLost are the tolerations of inference's pods for a node that is lost.
func whileLost() []corev1.Toleration {
	seconds := int64(30)
	var all []corev1.Toleration
	for _, key := range []string{"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"} {
		all = append(all, corev1.Toleration{Key: key, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: &seconds})
	}
	return all
}

// chosen are tolerations without those.
func chosen(tolerations []corev1.Toleration) []corev1.Toleration {
	return slices.DeleteFunc(slices.Clone(tolerations), func(x corev1.Toleration) bool {
		return slices.ContainsFunc(whileLost(), func(y corev1.Toleration) bool { return cmp.Equal(x, y) })
	})
}

// A server on a lost node is replaced after half a minute, whatever else its pods
// tolerate.
func TestServersOfALostNode(t *testing.T) {
	t.Parallel()
	eachHelm(t, func(t *testing.T, helm string) {
		for _, flags := range [][]string{nil, append(set("inference.tolerations[0].key=gpu", "inference.tolerations[0].operator=Exists"), placed...)} {
			r := render(t, helm, "mlops", "mlops", flags...)
			for _, p := range pods(t, r) {
				others := chosen(p.spec.Tolerations)
				lost := len(p.spec.Tolerations) - len(others)
				if want := p.meta.Labels["app.kubernetes.io/component"] == "inference"; want != (lost == 2) || !want && lost != 0 {
					t.Errorf("%s has %d tolerations of a lost node", p, lost)
				} else if want && flags != nil && len(others) != 2 {
					t.Errorf("%s has the other tolerations %v, want two", p, others)
				}
			}
		}
	})
}

func TestAutoscaler(t *testing.T) {
	t.Parallel()
	eachHelm(t, func(t *testing.T, helm string) {
		for _, flags := range [][]string{nil, set("inference.replicas=3"), set("inference.autoscaling.enabled=true", "inference.autoscaling.external=true")} {
			if n := len(all[*autoscalingv2.HorizontalPodAutoscaler](render(t, helm, "mlops", "mlops", flags...))); n != 0 {
				t.Errorf("%v: %d autoscalers, want none", flags, n)
			}
		}
		a := one[*autoscalingv2.HorizontalPodAutoscaler](t, render(t, helm, "mlops", "mlops", set("inference.autoscaling.enabled=true")...), "mlops-inference").Spec
		if a.ScaleTargetRef.Kind != "Deployment" || a.ScaleTargetRef.Name != "mlops-inference" || a.ScaleTargetRef.APIVersion != "apps/v1" || *a.MinReplicas != 2 || a.MaxReplicas != 4 {
			t.Errorf("from %d to %d of %+v", *a.MinReplicas, a.MaxReplicas, a.ScaleTargetRef)
		}
		if len(a.Metrics) != 1 || a.Metrics[0].ContainerResource == nil || a.Metrics[0].ContainerResource.Container != "inference" ||
			a.Metrics[0].ContainerResource.Target.AverageValue.Cmp(resource.MustParse("700m")) != 0 {
			t.Errorf("scales by %+v", a.Metrics)
		}
		up, down := a.Behavior.ScaleUp, a.Behavior.ScaleDown
		if *up.StabilizationWindowSeconds != 0 || *up.SelectPolicy != autoscalingv2.MaxChangePolicySelect || *down.StabilizationWindowSeconds != 300 ||
			len(down.Policies) != 1 || down.Policies[0].Value != 1 || down.Policies[0].PeriodSeconds != 60 {
			t.Errorf("up: %+v, down: %+v", up, down)
		}
		a = one[*autoscalingv2.HorizontalPodAutoscaler](t, render(t, helm, "mlops", "mlops", append(set("inference.autoscaling.enabled=true", "inference.autoscaling.minReplicas=3", "inference.autoscaling.maxReplicas=9",
			"inference.autoscaling.cpu=1", "inference.autoscaling.calmSeconds=20"), "--set-json", `inference.autoscaling.metrics=[{"type":"External","external":{"metric":{"name":"mlops_requests_in_flight"},"target":{"type":"AverageValue","averageValue":"4"}}}]`)...), "mlops-inference").Spec
		if *a.MinReplicas != 3 || a.MaxReplicas != 9 || len(a.Metrics) != 2 || a.Metrics[0].ContainerResource.Target.AverageValue.String() != "1" ||
			a.Metrics[1].External == nil || a.Metrics[1].External.Metric.Name != "mlops_requests_in_flight" || *a.Behavior.ScaleDown.StabilizationWindowSeconds != 20 {
			t.Errorf("with values of one's own: %+v", a)
		}
	})
}

// Values of an older release know no autoscaler: what is not set then is what values.yaml
// says.
func TestAutoscalerOfReusedValues(t *testing.T) {
	t.Parallel()
	eachHelm(t, func(t *testing.T, helm string) {
		text, err := run(t, helm, "template", "mlops", valuesBefore(t), "--namespace", "mlops", "--kube-version", kubeVersion, "--set", "inference.autoscaling.enabled=true")
		if err != nil {
			t.Fatal(err)
		}
		before, err := decode("mlops", "mlops", text)
		if err != nil {
			t.Fatal(err)
		}
		want := one[*autoscalingv2.HorizontalPodAutoscaler](t, render(t, helm, "mlops", "mlops", set("inference.autoscaling.enabled=true")...), "mlops-inference")
		if diff := cmp.Diff(want, one[*autoscalingv2.HorizontalPodAutoscaler](t, before, "mlops-inference")); diff != "" {
			t.Errorf("with the new values against those from before (-want +got):\n%s", diff)
		}
	})
}

// Each server may have its connections, also in a rollout of the most servers that there
// may be.
func TestConnectionsOfManyServers(t *testing.T) {
	t.Parallel()
	eachHelm(t, func(t *testing.T, helm string) {
		for want, flags := range map[int][]string{
			12: nil,
			24: set("inference.replicas=3"),
			30: set("inference.autoscaling.enabled=true"),
			38: set("inference.autoscaling.enabled=true", "global.postgres.roles.serve.connections=20"),
			-1: set("inference.replicas=3", "global.postgres.roles.serve.connections=-1"),
		} {
			if got := limitsOf(t, render(t, helm, "mlops", "mlops", flags...))[postgres.ServeRole].Connections; got != want {
				t.Errorf("%v: %d connections, want %d", flags, got, want)
			}
		}
	})
}

// Connections move to other servers where there are others.
func TestConnectionsMove(t *testing.T) {
	t.Parallel()
	eachHelm(t, func(t *testing.T, helm string) {
		for want, flags := range map[string][]string{
			"":      nil,
			"10000": set("inference.replicas=2"),
			"0":     set("inference.autoscaling.enabled=true", "inference.connectionRequests=0"),
			"70":    set("inference.autoscaling.enabled=true", "inference.connectionRequests=70"),
		} {
			got := ""
			for _, e := range one[*appsv1.Deployment](t, render(t, helm, "mlops", "mlops", flags...), "mlops-inference").Spec.Template.Spec.Containers[0].Env {
				if e.Name == "MLOPS_CONNECTION_REQUESTS" {
					got = e.Value
				}
			}
			if got != want {
				t.Errorf("%v: a connection has %q requests on average, want %q", flags, got, want)
			}
		}
	})
}

// With the values for many nodes nothing of the release that is needed for a prediction,
// or that keeps data, is a single pod with a volume.
func TestManyNodes(t *testing.T) {
	t.Parallel()
	eachHelm(t, func(t *testing.T, helm string) {
		r := render(t, helm, "mlops", "mlops", "--values", manyNodes)
		var volumes []string
		for _, s := range all[*appsv1.StatefulSet](r) {
			volumes = append(volumes, s.Name)
		}
		slices.Sort(volumes)
		if diff := cmp.Diff([]string{"mlops-grafana", "mlops-prometheus"}, volumes); diff != "" {
			t.Errorf("what has a volume (-want +got):\n%s", diff)
		}
		if got := one[*corev1.Service](t, r, "mlops-inference").Spec.Type; got != corev1.ServiceTypeClusterIP {
			t.Errorf("inference is of type %s, want it behind the Ingress only", got)
		}
		if n := len(all[*batchv1.Job](r)); n != 1 {
			t.Errorf("%d set-up Jobs", n)
		}
	})
}
