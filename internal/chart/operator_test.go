package chart

import (
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	operatorv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"
)

// TestPrometheusOperator: off by default; what is rendered is valid to the operator's own
// types, each ServiceMonitor finds a Service with the port that it names, and the rules
// are those of the bundled Prometheus.
func TestPrometheusOperator(t *testing.T) {
	eachHelm(t, func(t *testing.T, helm string) {
		if n := len(all[*operatorv1.ServiceMonitor](render(t, helm, "mlops", "mlops"))); n > 0 {
			t.Errorf("%d ServiceMonitors by default", n)
		}
		for _, tls := range []string{"false", "true"} {
			r := render(t, helm, "team-b", "elsewhere", "--set", "prometheusOperator.enabled=true,prometheusOperator.labels.release=kps,prometheus.enabled=false,grafana.enabled=false,global.tls.enabled="+tls)
			var jobs []string
			for _, m := range all[*operatorv1.ServiceMonitor](r) {
				if m.Labels["release"] != "kps" || len(m.Spec.Endpoints) != 1 {
					t.Fatalf("%s has the labels %v and %d endpoints", m.Name, m.Labels, len(m.Spec.Endpoints))
				}
				e := m.Spec.Endpoints[0]
				var keep string
				for _, relabel := range e.RelabelConfigs {
					switch {
					case relabel.TargetLabel == "job":
						jobs = append(jobs, *relabel.Replacement)
					case relabel.Action == "keep":
						keep = relabel.Regex
					}
				}
				found := 0
				for _, s := range all[*corev1.Service](r) {
					if !labels.SelectorFromSet(m.Spec.Selector.MatchLabels).Matches(labels.Set(s.Labels)) || keep != "" && s.Name != keep {
						continue
					}
					if slices.ContainsFunc(s.Spec.Ports, func(p corev1.ServicePort) bool { return p.Name == e.Port }) {
						found++
					}
				}
				if found != 1 {
					t.Errorf("%s finds %d Services with a port %s, want one", m.Name, found, e.Port)
				}
				if secure := e.Scheme == "https"; secure != (tls == "true" && m.Name != "team-b-argo-controller" && m.Name != "team-b-postgres-exporter") || secure && (e.TLSConfig == nil || e.TLSConfig.CA.Secret == nil) {
					t.Errorf("%s with TLS %s is scraped by %q, %+v", m.Name, tls, e.Scheme, e.TLSConfig)
				}
			}
			if diff := cmp.Diff([]string{"argo", "inference", "minio", "postgres", "ui"}, slices.Sorted(slices.Values(jobs))); diff != "" {
				t.Errorf("jobs (-want +got):\n%s", diff)
			}
			for _, m := range all[*operatorv1.ServiceMonitor](r) {
				a := m.Spec.Endpoints[0].Authorization
				if m.Name == "team-b-minio" && (a == nil || a.Credentials.Name != "team-b-minio-metrics" || a.Credentials.Key != "token") || m.Name != "team-b-minio" && a != nil {
					t.Errorf("%s is scraped with the authorization %+v", m.Name, a)
				}
			}
			text, err := os.ReadFile(dir + "/charts/prometheus/rules.yml")
			if err != nil {
				t.Fatal(err)
			}
			var want operatorv1.PrometheusRuleSpec
			if err := yaml.UnmarshalStrict(text, &want); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, one[*operatorv1.PrometheusRule](t, r, "team-b-rules").Spec); diff != "" || len(want.Groups) == 0 {
				t.Errorf("rules (-want +got):\n%s", diff)
			}
		}
	})
}
