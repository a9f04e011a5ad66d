package chart

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// notice is what Alertmanager sends to a webhook.
type notice struct {
	Status string
	Alerts []struct {
		Status              string
		Labels, Annotations map[string]string
	}
}

// The whole way of an alert, with the real programs: the chart's Prometheus sees that a
// server is down, tells the chart's Alertmanager, which tells a webhook by the configuration
// that docs/operating.md shows; the server is back, and the webhook is told that too.
func TestAlertIsReceived(t *testing.T) {
	t.Parallel()
	prometheus, alertmanager := os.Getenv("MLOPS_TEST_PROMETHEUS"), os.Getenv("MLOPS_TEST_ALERTMANAGER")
	if prometheus == "" || alertmanager == "" {
		t.Skip("SKIPPED, NOT PASSED: MLOPS_TEST_PROMETHEUS and MLOPS_TEST_ALERTMANAGER name no programs (make watching does)")
	}
	eachHelm(t, func(t *testing.T, helm string) {
		r := render(t, helm, "team-b", "elsewhere", "--set", "prometheus.alertmanager.enabled=true,prometheus.alertmanager.configSecret=mine,prometheus.scrapeInterval=200ms")
		dir := t.TempDir()
		var up atomic.Bool
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if !up.Load() {
				http.Error(w, "broken", http.StatusInternalServerError)
			}
		}))
		t.Cleanup(server.Close)
		notices := make(chan notice, 100)
		webhook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var n notice
			if err := json.NewDecoder(r.Body).Decode(&n); err != nil {
				t.Errorf("the webhook was sent something else: %v", err)
			}
			notices <- n
		}))
		t.Cleanup(webhook.Close)

		address := freePort(t)
		launch(t, alertmanager, one[*appsv1.Deployment](t, r, "team-b-alertmanager").Spec.Template.Spec.Containers[0].Args,
			"/etc/alertmanager/alertmanager.yml", write(t, dir, "alertmanager.yml", documented(t, webhook.URL)), "=/alertmanager", "="+dir+"/alertmanager", ":9093", address)
		data := one[*corev1.ConfigMap](t, r, "team-b-prometheus").Data
		rules := strings.NewReplacer("for: 5m", "for: 400ms", "for: 10m", "for: 400ms").Replace(data["rules.yml"])
		launch(t, prometheus, one[*appsv1.StatefulSet](t, r, "team-b-prometheus").Spec.Template.Spec.Containers[0].Args,
			"/etc/prometheus/prometheus.yml", write(t, dir, "prometheus.yml", watching(t, data["prometheus.yml"], write(t, dir, "rules.yml", rules), address, strings.TrimPrefix(server.URL, "http://"))),
			"=/prometheus", "="+dir+"/prometheus", ":9090", freePort(t))

		seen := func(status string) {
			t.Helper()
			for {
				select {
				case n := <-notices:
					i := slices.IndexFunc(n.Alerts, func(a struct {
						Status              string
						Labels, Annotations map[string]string
					}) bool {
						return a.Labels["alertname"] == "MlopsServerDown" && a.Status == status
					})
					if i < 0 {
						continue
					}
					a := n.Alerts[i]
					got := map[string]string{"job": a.Labels["job"], "severity": a.Labels["severity"], "release": a.Labels["release"], "runbook": a.Annotations["runbook"]}
					want := map[string]string{"job": "inference", "severity": "critical", "release": "team-b", "runbook": "docs/runbooks/server-down.md"}
					if diff := cmp.Diff(want, got); diff != "" || a.Annotations["summary"] == "" {
						t.Errorf("the alert that is %s (-want +got):\n%s", status, diff)
					}
					return
				case <-time.After(time.Minute):
					t.Fatalf("the webhook was not told of an alert that is %s", status)
				}
			}
		}
		seen("firing")
		up.Store(true)
		seen("resolved")
	})
}

// documented is the configuration in docs/operating.md, with another address and without
// its waits, by which many alerts become one message.
func documented(t *testing.T, webhook string) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, found := strings.Cut(string(text), "(`alertmanager.yml`):\n\n```yaml\n")
	block, _, closed := strings.Cut(after, "```")
	const address, route = "http://chat.example/hook", "route: {"
	if !found || !closed || !strings.Contains(block, address) || !strings.Contains(block, route) {
		t.Fatalf("docs/operating.md shows no alertmanager.yml:\n%s", block)
	}
	return strings.NewReplacer(address, webhook, route, "route: {group_wait: 200ms, group_interval: 500ms, ").Replace(block)
}

// watching is the chart's configuration of Prometheus with a server in place of those that
// DNS would name.
func watching(t *testing.T, text, rules, alertmanager, server string) string {
	t.Helper()
	var config map[string]any
	if err := yaml.Unmarshal([]byte(text), &config); err != nil {
		t.Fatal(err)
	}
	managers := config["alerting"].(map[string]any)["alertmanagers"].([]any)
	static := managers[0].(map[string]any)["static_configs"].([]any)[0].(map[string]any)
	if len(managers) != 1 || !cmp.Equal(static["targets"], []any{"team-b-alertmanager:9093"}) {
		t.Fatalf("Prometheus tells %v", managers)
	}
	static["targets"] = []string{alertmanager}
	config["rule_files"] = []string{rules}
	config["scrape_configs"] = []any{map[string]any{"job_name": "inference", "static_configs": []any{map[string]any{"targets": []string{server}}}}}
	changed, err := yaml.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	return string(changed)
}

// launch starts a program with the arguments of a container, after replacements, until the
// test ends.
func launch(t *testing.T, program string, args []string, replacements ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program)
	for _, a := range args {
		cmd.Args = append(cmd.Args, strings.NewReplacer(replacements...).Replace(a))
	}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s %q:\n%s", filepath.Base(program), cmd.Args[1:], said.String())
		}
	})
}

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
