//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"mlops/dashboards/board"
	"mlops/internal/promapi"
)

// testWatched switches the kubelet's metrics on and runs a test from the load tester's
// page: their panels have data too. Nothing is wrong with the release, so no alert fires.
func testWatched(t *testing.T, m *machine) {
	r := m.release(t, "mlops")
	m.must(t, nil, m.helm(t, "4"), "upgrade", "mlops", "charts", "--namespace", r.Namespace, "--kubeconfig", m.kubeconfig(),
		"--reuse-values", "--set", "prometheus.kubelet.enabled=true", "--wait", "--timeout", "5m")
	secret, err := r.Client.CoreV1().Secrets(r.Namespace).Get(t.Context(), r.Name+"-loadtest", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	tester := forward(t, r, "loadtest", 8089)
	send := func(path string, form url.Values) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, tester+path, strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.SetBasicAuth("admin", string(secret.Data["MLOPS_LOADTEST_PASSWORD"]))
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusNoContent {
			t.Fatalf("POST %s: %s", path, resp.Status)
		}
	}
	send("/start", url.Values{"model": {"users"}, "level": {"5"}, "think": {"20ms"}, "p99": {"1s"}})
	base := forward(t, r, "prometheus", 9090)
	eventually(t, 2*time.Minute, func() error {
		_, err := board.Check(t.Context(), base, time.Minute, board.Kubelet, board.Containers, board.LoadTest)
		return err
	})
	send("/stop", nil)
	eventually(t, time.Minute, func() error { return ruled(t.Context(), base) })
	eventually(t, time.Minute, func() error { return scraped(t.Context(), base) })
	eventually(t, 2*time.Minute, func() error { return quietAlerts(t.Context(), base) })
	// No part before this one breaks anything of this release for as long as an alert waits;
	// one that does has to name its alert here.
	if err := quietUntilNow(t.Context(), base); err != nil {
		t.Error(err)
	}
}

// metricName is a metric of those that rules ask for.
var metricName = regexp.MustCompile(`\b(?:(?:mlops|argo_workflows|container|kubelet|minio|pg)_[a-z0-9_]+|mlops:[a-z0-9_:]+|up)\b`)

// ruled returns an error unless each rule has something to judge: every recorded series and
// every metric that a rule names is there, other than those of what this release lacks.
func ruled(ctx context.Context, base string) error {
	lacks := []string{"mlops_certificate_end_timestamp_seconds"} // no TLS
	client := promapi.New(base, http.DefaultClient)
	var rules struct {
		Groups []struct {
			Rules []struct{ Name, Type, Query string }
		}
	}
	if err := client.Get(ctx, "/api/v1/rules", &rules); err != nil {
		return err
	}
	asked := map[string]bool{}
	var errs []error
	for _, g := range rules.Groups {
		for _, rule := range g.Rules {
			names := metricName.FindAllString(rule.Query, -1)
			if rule.Type == "recording" {
				names = append(names, rule.Name)
			}
			if len(names) == 0 {
				errs = append(errs, fmt.Errorf("rule %s names no metric: %s", rule.Name, rule.Query))
			}
			for _, name := range names {
				if asked[name] || slices.Contains(lacks, name) {
					continue
				}
				asked[name] = true
				found, err := client.Instant(ctx, name)
				if err == nil && len(found) == 0 {
					err = errors.New("no data")
				}
				if err != nil {
					errs = append(errs, fmt.Errorf("rule %s: %s: %w", rule.Name, name, err))
				}
			}
		}
	}
	if len(asked) < 20 {
		errs = append(errs, fmt.Errorf("the rules name %d metrics", len(asked)))
	}
	return errors.Join(errs...)
}

// quietUntilNow returns an error if an alert fired at any time of the last twelve hours,
// also one that has ended, other than those that tests provoke.
func quietUntilNow(ctx context.Context, base string, provoked ...string) error {
	fired, err := promapi.New(base, http.DefaultClient).Instant(ctx, `count_over_time(ALERTS{alertstate="firing"}[12h])`)
	if err != nil {
		return err
	}
	var errs []error
	for _, f := range fired {
		if !slices.Contains(provoked, f.Labels["alertname"]) {
			errs = append(errs, fmt.Errorf("an alert fired in %v evaluations: %v", f.Value, f.Labels))
		}
	}
	return errors.Join(errs...)
}

// quietAlerts returns an error if an alert fires, or if Prometheus has none that could.
func quietAlerts(ctx context.Context, base string) error {
	var rules struct {
		Groups []struct {
			Rules []struct {
				Name, State, Health, LastError string
				LastEvaluation                 time.Time
				Alerts                         []struct {
					Labels      map[string]string
					Annotations map[string]string
				}
			}
		}
	}
	if err := promapi.New(base, http.DefaultClient).Get(ctx, "/api/v1/rules?type=alert", &rules); err != nil {
		return err
	}
	n := 0
	for _, g := range rules.Groups {
		for _, rule := range g.Rules {
			n++
			switch {
			case rule.LastEvaluation.IsZero():
				return fmt.Errorf("alert %s was not evaluated yet", rule.Name)
			case rule.Health != "ok":
				return fmt.Errorf("alert %s is %s: %s", rule.Name, rule.Health, rule.LastError)
			case rule.State == "firing":
				return fmt.Errorf("alert %s fires: %+v", rule.Name, rule.Alerts)
			}
		}
	}
	if n < 16 {
		return fmt.Errorf("Prometheus has %d alerts", n)
	}
	return nil
}
