package chart

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/yaml"
)

// Prometheus tells a user's Alertmanager what fires, and may reach it.
func TestAlertmanager(t *testing.T) {
	t.Parallel()
	eachHelm(t, func(t *testing.T, helm string) {
		for url, want := range map[string]struct {
			scheme, prefix, target string
			port                   int32
		}{
			"":                                    {},
			"http://alertmanager.monitoring:9093": {"http", "/", "alertmanager.monitoring:9093", 9093},
			"https://alerts.example.com/prom":     {"https", "/prom", "alerts.example.com:443", 443},
		} {
			r := render(t, helm, "team-b", "elsewhere", "--set", "prometheus.alertmanager.url="+url)
			var config struct {
				Alerting *struct {
					Alertmanagers []struct {
						Scheme        string
						PathPrefix    string                       `json:"path_prefix"`
						StaticConfigs []struct{ Targets []string } `json:"static_configs"`
					}
				}
			}
			if err := yaml.Unmarshal([]byte(one[*corev1.ConfigMap](t, r, "team-b-prometheus").Data["prometheus.yml"]), &config); err != nil {
				t.Fatal(err)
			}
			ports := map[int32]bool{}
			for _, e := range one[*networkingv1.NetworkPolicy](t, r, "team-b-prometheus").Spec.Egress {
				for _, p := range e.Ports {
					ports[p.Port.IntVal] = true
				}
			}
			if url == "" {
				if config.Alerting != nil || ports[9093] {
					t.Errorf("without an Alertmanager: %+v, ports %v", config.Alerting, ports)
				}
				continue
			}
			if config.Alerting == nil || len(config.Alerting.Alertmanagers) != 1 {
				t.Fatalf("%s: %+v", url, config.Alerting)
			}
			a := config.Alerting.Alertmanagers[0]
			if a.Scheme != want.scheme || a.PathPrefix != want.prefix || strings.Join(a.StaticConfigs[0].Targets, " ") != want.target || !ports[want.port] {
				t.Errorf("%s: %+v, ports %v", url, a, ports)
			}
		}
	})
}
