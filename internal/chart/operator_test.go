package chart

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	operatorv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	openapi "k8s.io/kube-openapi/pkg/validation/spec"
	"k8s.io/kube-openapi/pkg/validation/strfmt"
	"k8s.io/kube-openapi/pkg/validation/validate"
	"sigs.k8s.io/yaml"
)

// TestPrometheusOperator: off by default; what is rendered is valid to the operator's own
// types, each ServiceMonitor finds a Service with the port that it names, and the rules
// are those of the bundled Prometheus.
func TestPrometheusOperator(t *testing.T) {
	t.Parallel()
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

const operatorModule = "github.com/prometheus-operator/prometheus-operator"

// operatorSchemas returns the schemas by which Kubernetes judges the operator's objects,
// by kind: from its definitions in the operator's own module, of the version whose types
// these tests use.
func operatorSchemas(t *testing.T) map[string]*validate.SchemaValidator {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Version}}", operatorModule+"/pkg/apis/monitoring").Output()
	if err != nil {
		t.Fatal(err)
	}
	download := exec.Command("go", "mod", "download", "-json", operatorModule+"@"+strings.TrimSpace(string(out)))
	download.Dir = t.TempDir() // outside of our module, which doesn't require it
	if out, err = download.Output(); err != nil {
		t.Fatalf("%v: %v\n%s", download, err, out)
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(out, &module); err != nil {
		t.Fatal(err)
	}
	schemas := map[string]*validate.SchemaValidator{}
	for _, name := range []string{"servicemonitors", "prometheusrules"} {
		text, err := os.ReadFile(filepath.Join(module.Dir, "example/prometheus-operator-crd/monitoring.coreos.com_"+name+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		var definition struct {
			Spec struct {
				Names    struct{ Kind string }
				Versions []struct {
					Name   string
					Schema struct{ OpenAPIV3Schema *openapi.Schema }
				}
			}
		}
		if err := yaml.Unmarshal(text, &definition); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if v := definition.Spec.Versions; len(v) != 1 || v[0].Name != "v1" || v[0].Schema.OpenAPIV3Schema == nil {
			t.Fatalf("%s has the versions %+v", name, v)
		}
		schemas[definition.Spec.Names.Kind] = validate.NewSchemaValidator(definition.Spec.Versions[0].Schema.OpenAPIV3Schema, nil, "", strfmt.Default)
	}
	return schemas
}

// TestOperatorSchemas: Kubernetes would accept what is rendered for the operator, whose
// types alone know no patterns, enumerations and required fields.
func TestOperatorSchemas(t *testing.T) {
	eachHelm(t, func(t *testing.T, helm string) {
		schemas := operatorSchemas(t)
		judged := map[string]int{}
		for _, tls := range []string{"false", "true"} {
			for _, o := range render(t, helm, "team-b", "elsewhere", "--set", "prometheusOperator.enabled=true,global.tls.enabled="+tls).objects {
				schema := schemas[o.kind]
				if schema == nil {
					continue
				}
				judged[o.kind]++
				for _, err := range schema.Validate(parse(t, o.text)).Errors {
					t.Errorf("%s, TLS %s: %v", o, tls, err)
				}
			}
		}
		if judged["ServiceMonitor"] != 10 || judged["PrometheusRule"] != 2 {
			t.Errorf("judged %v", judged)
		}
		for _, wrong := range []struct{ kind, text string }{
			{"ServiceMonitor", "spec: {endpoints: [{port: http, scheme: ftp}], selector: {}}"},
			{"ServiceMonitor", "spec: {endpoints: [{port: http, interval: often}], selector: {}}"},
			{"ServiceMonitor", "spec: {endpoints: [{port: http}]}"},
			{"PrometheusRule", "spec: {groups: [{name: a, rules: [{alert: b, expr: up, for: a while}]}]}"},
			{"PrometheusRule", "spec: {groups: [{name: a, rules: [{alert: b}]}]}"},
		} {
			if schemas[wrong.kind].Validate(parse(t, fmt.Sprintf("apiVersion: monitoring.coreos.com/v1\nkind: %s\nmetadata: {name: x}\n%s\n", wrong.kind, wrong.text))).IsValid() {
				t.Errorf("accepted: %s", wrong.text)
			}
		}
	})
}
