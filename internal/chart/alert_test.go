package chart

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	wfv1 "github.com/argoproj/argo-workflows/v3/pkg/apis/workflow/v1alpha1"

	"mlops/dashboards/board"
	"mlops/internal/ingest"
)

var outputName = regexp.MustCompile(`outputs\.parameters\.([a-z_]+)`)

// fromWorkflows are the series that the workflows' own metrics become, with the labels
// that they have.
func fromWorkflows(t *testing.T) map[string][]string {
	t.Helper()
	files, err := filepath.Glob("../../workflows/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("workflows: %v, %v", files, err)
	}
	series := map[string][]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var w wfv1.WorkflowTemplate
		if err := yaml.UnmarshalStrict(text, &w); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		add := func(metrics *wfv1.Metrics, outputs []wfv1.Parameter) {
			if metrics == nil {
				t.Errorf("%s: a workflow without metrics", file)
				return
			}
			for _, m := range metrics.Prometheus {
				var labels []string
				for _, l := range m.Labels {
					labels = append(labels, l.Key)
				}
				if before, ok := series["argo_workflows_"+m.Name]; ok && !slices.Equal(before, labels) {
					t.Errorf("%s: metric %s has the labels %v, elsewhere %v", file, m.Name, labels, before)
				}
				series["argo_workflows_"+m.Name] = labels
				for _, output := range outputName.FindAllStringSubmatch(m.Gauge.Value, -1) {
					if !slices.ContainsFunc(outputs, func(p wfv1.Parameter) bool { return p.Name == output[1] }) {
						t.Errorf("%s: metric %s takes its value from the output %q, which the template does not have", file, m.Name, output[1])
					}
				}
			}
		}
		add(w.Spec.Metrics, nil)
		for _, template := range w.Spec.Templates {
			if template.Metrics != nil {
				add(template.Metrics, template.Outputs.Parameters)
			}
		}
	}
	return series
}

var seriesName = regexp.MustCompile(`\b(?:up\b|ALERTS\b|(?:mlops|argo_workflows|container|kubelet|machine|minio|pg|process|go|prometheus)[_:][a-z_:0-9]+)`)

// TestAlertsAskForWhatIsThere: a rule on a metric that nobody exports never fires.
func TestAlertsAskForWhatIsThere(t *testing.T) {
	t.Parallel()
	listed, err := os.ReadFile("../../docs/reference/metrics.md") // a test of package metrics keeps it true
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("../../charts/charts/prometheus/rules_test.yml")
	if err != nil {
		t.Fatal(err)
	}
	tested := string(text)
	workflows := fromWorkflows(t)
	if _, ok := workflows["argo_workflows_mlops_rejected_rows"]; !ok {
		t.Errorf("the workflows have the metrics %v, none of them the rejected rows", workflows)
	}
	for name, labels := range workflows {
		if want := fmt.Sprintf("| `%s` | gauge | `%s` |", name, strings.Join(labels, "`, `")); !strings.Contains(string(listed), want) {
			t.Errorf("docs/reference/metrics.md has no row %s", want)
		}
	}
	book, err := os.ReadFile("../../docs/runbooks/rows-rejected.md")
	if err != nil {
		t.Fatal(err)
	}
	for step, reasons := range ingest.Reasons {
		for _, reason := range reasons {
			if !regexp.MustCompile("\n\\| `"+reason+"` \\|.*`"+step+"`").Match(listed) || !strings.Contains(string(book), "\n| `"+reason+"` |") {
				t.Errorf("docs/reference/metrics.md or the runbook does not list the reason %q for which %s rejects rows", reason, step)
			}
		}
	}
	// recorded are the series by Prometheus itself and by its rules.
	there := func(t *testing.T, recorded map[string]bool, what, query string) {
		t.Helper()
		names := seriesName.FindAllString(query, -1)
		if len(names) == 0 {
			t.Errorf("%s asks for nothing: %s", what, query)
		}
		for _, name := range names {
			if labels, ok := workflows[name]; ok {
				for _, by := range regexp.MustCompile(`by \(([a-z_, ]+)\)`).FindAllStringSubmatch(query, -1) {
					for label := range strings.SplitSeq(by[1], ", ") {
						if !slices.Contains(labels, label) {
							t.Errorf("%s: %s has no label %s", what, name, label)
						}
					}
				}
			} else if base := regexp.MustCompile(`_(?:bucket|sum|count)$`).ReplaceAllString(name, ""); !recorded[name] && !strings.Contains(string(listed), "| `"+name+"` |") && !strings.Contains(string(listed), "| `"+base+"` | histogram |") {
				t.Errorf("%s asks for %s, which nothing exports", what, name)
			}
		}
	}
	itself := map[string]bool{"up": true, "ALERTS": true}
	for _, e := range board.Expressions(time.Minute) {
		there(t, itself, "a dashboard", e.Query)
	}
	eachHelm(t, func(t *testing.T, helm string) {
		recorded := maps.Clone(itself)
		config := one[*corev1.ConfigMap](t, render(t, helm, "team-b", "elsewhere"), "team-b-prometheus").Data
		if !strings.Contains(config["prometheus.yml"], "rule_files: [/etc/prometheus/rules.yml]") {
			t.Error("Prometheus does not read the rules")
		}
		var rules struct {
			Groups []struct {
				Rules []struct {
					Alert, Record, Expr string
					Annotations         map[string]string
				}
			}
		}
		if err := yaml.Unmarshal([]byte(config["rules.yml"]), &rules); err != nil {
			t.Fatal(err)
		}
		var alerts []string
		for _, g := range rules.Groups {
			for _, r := range g.Rules {
				if r.Record != "" {
					there(t, recorded, r.Record, r.Expr)
					recorded[r.Record] = true
					continue
				}
				alerts = append(alerts, r.Alert)
				there(t, recorded, r.Alert, r.Expr)
				if r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
					t.Errorf("%s says neither what is wrong nor what to do: %v", r.Alert, r.Annotations)
				}
				// A runbook that names the alert, and a test of both its sides (make rules).
				if book, err := os.ReadFile("../../" + r.Annotations["runbook"]); err != nil || !strings.Contains(string(book), "Alert: `"+r.Alert+"`.") {
					t.Errorf("%s has the runbook %q: %v", r.Alert, r.Annotations["runbook"], err)
				}
				if !strings.Contains(tested, "{alertname=\""+r.Alert+"\"}', value: 1}") || !strings.Contains(tested, "alertname: "+r.Alert+"}") {
					t.Errorf("rules_test.yml does not see %s fire and stay quiet", r.Alert)
				}
				if !strings.Contains(string(listed), "| `"+r.Alert+"` |") {
					t.Errorf("%s is not in docs/reference/metrics.md", r.Alert)
				}
			}
		}
		if want := []string{"MlopsVersionRefused", "MlopsRegistryUnreachable", "MlopsEarlierRowsStale", "MlopsRowsRejected", "MlopsErrorBudgetBurns", "MlopsPredictionsSlow", "MlopsNoModel", "MlopsServerDown", "MlopsServerDies", "MlopsRecordsUnlikeTraining", "MlopsRunFailed", "MlopsRunLate", "MlopsControllerStuck", "MlopsDiskFull", "MlopsMemoryNearLimit", "MlopsCertificateEnds"}; !slices.Equal(alerts, want) {
			t.Errorf("alerts %v, want %v", alerts, want)
		}
	})
}
