//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"mlops/dashboards/board"
	"mlops/internal/api"
	"mlops/internal/kube"
	"mlops/internal/promapi"
	"mlops/internal/registry"
	"mlops/loadtest"
)

func body(t *testing.T, resp *http.Response) string {
	t.Helper()
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s: %s", resp.Request.URL, resp.Status, text[:min(len(text), 500)])
	}
	return string(text)
}

// testSwap moves the alias to another version and back, under load: each is
// served soon, and no request fails.
func testSwap(t *testing.T, m *machine) {
	r := m.release(t, "mlops")
	client := stepsClient(t, r)
	before := served(t, inference)
	name := before.Model.Name
	versions, err := client.SearchVersions(t.Context(), "name='"+name+"'", nil, 10)
	if err != nil || len(versions) < 2 {
		t.Fatalf("%d versions, %v; want at least 2", len(versions), err)
	}
	var first, other int
	for _, v := range versions {
		if fmt.Sprint(v.Number) == before.Model.Number {
			first = v.Number
		} else {
			other = v.Number
		}
	}
	sign(t, r, client, name, other) // as promotion would have
	report := underLoad(t, 10, func() {
		for _, number := range []int{other, first} {
			began := time.Now()
			if err := client.SetAlias(t.Context(), name, registry.Production, number); err != nil {
				t.Error(err)
				return
			}
			eventually(t, 30*time.Second, func() error {
				view, err := api.NewClient(inference, nil).Model(t.Context())
				if err != nil {
					return err
				}
				if view.Model.Number != fmt.Sprint(number) {
					return fmt.Errorf("version %s is served, want %d", view.Model.Number, number)
				}
				return nil
			})
			m.noteTime(t, "promotion to its first response", time.Since(began), "2 s")
		}
	})
	if n := len(report.Stages[0].Versions); n != 2 {
		t.Errorf("answers of %d versions: %v", n, report.Stages[0].Versions)
	}
	served(t, inference)
}

// underLoad does work while users ask the inference server, and fails the test
// with each request that failed.
func underLoad(t *testing.T, users int, work func()) loadtest.Report {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	type result struct {
		report loadtest.Report
		err    error
	}
	done := make(chan result, 1)
	go func() {
		report, err := loadtest.Run(ctx, loadtest.Config{Target: inference, Users: []int{users}, Duration: 20 * time.Minute})
		done <- result{report, err}
	}()
	time.Sleep(2 * time.Second)
	work()
	time.Sleep(2 * time.Second)
	cancel()
	got := <-done
	if len(got.report.Stages) != 1 || got.report.Requests == 0 {
		t.Fatalf("the load test: %d requests, %v", got.report.Requests, got.err)
	}
	s := got.report.Stages[0]
	t.Logf("%d users: %d requests, %d failed, %.0f/s, p50 %.1f ms, p99 %.1f ms", users, s.Requests, s.Failed, s.PerSecond, s.Latency.P50, s.Latency.P99)
	for _, f := range s.Failures {
		t.Errorf("a request failed: %s: %s", f.Kind, f.Text)
	}
	return got.report
}

// testServerDeleted deletes one of two pods of the inference server under load.
func testServerDeleted(t *testing.T, m *machine) {
	r := m.release(t, "mlops")
	scale := func(n int) {
		t.Helper()
		patch := fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, n)
		if _, err := r.Client.AppsV1().Deployments(r.Namespace).Patch(t.Context(), r.Service("inference"), types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
		eventually(t, 2*time.Minute, func() error {
			ready := readyServers(t, r)
			if len(ready) != n {
				return fmt.Errorf("%d servers are ready, want %d", len(ready), n)
			}
			return nil
		})
	}
	scale(2)
	defer scale(1)
	underLoad(t, 20, func() {
		victim := readyServers(t, r)[0]
		if err := r.Client.CoreV1().Pods(r.Namespace).Delete(t.Context(), victim, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
			return
		}
		eventually(t, 2*time.Minute, func() error {
			if _, err := r.Client.CoreV1().Pods(r.Namespace).Get(t.Context(), victim, metav1.GetOptions{}); err == nil {
				return fmt.Errorf("pod %s is still there", victim)
			}
			if ready := readyServers(t, r); len(ready) != 2 {
				return fmt.Errorf("%d servers are ready, want 2", len(ready))
			}
			return nil
		})
	})
}

func readyServers(t *testing.T, r *kube.Release) []string {
	t.Helper()
	pods, err := r.Pods(t.Context(), "app.kubernetes.io/component=inference,app.kubernetes.io/instance="+r.Name)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range pods {
		if kube.Ready(&p) {
			names = append(names, p.Name)
		}
	}
	return names
}

// testDashboards sends each expression of each panel to the real Prometheus while two users
// ask for predictions: all give data.
func testDashboards(t *testing.T, m *machine) {
	base := forward(t, m.release(t, "mlops"), "prometheus", 9090)
	underLoad(t, 2, func() {
		eventually(t, 2*time.Minute, func() error { _, err := board.Check(t.Context(), base, time.Minute); return err })
	})
	// A server that has just gone away is a target until Prometheus looks again.
	eventually(t, time.Minute, func() error { return scraped(t.Context(), base) })
}

// scraped returns an error unless Prometheus reaches all that it should scrape.
func scraped(ctx context.Context, base string) error {
	var targets struct {
		ActiveTargets []struct{ ScrapePool, Health, LastError string }
	}
	if err := promapi.New(base, http.DefaultClient).Get(ctx, "/api/v1/targets", &targets); err != nil {
		return err
	}
	pools := map[string]bool{}
	for _, a := range targets.ActiveTargets {
		pools[a.ScrapePool] = true
		if a.Health != "up" {
			return fmt.Errorf("Prometheus can't scrape %s: %s", a.ScrapePool, a.LastError)
		}
	}
	if len(pools) < 5 {
		return fmt.Errorf("Prometheus scrapes %v, want inference, ui, Argo's controller, MinIO and itself", pools)
	}
	return nil
}
