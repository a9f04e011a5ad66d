//go:build e2e

package e2e

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"mlops/internal/api"
	"mlops/internal/overview"
)

// testTLSInside switches TLS on between the parts of the release, runs the pipeline and
// asks for predictions, has a certificate renewed, and switches it off again.
func testTLSInside(t *testing.T, f *faults) {
	m, r := f.m, f.r
	upgrade := func(flags ...string) {
		t.Helper()
		m.must(t, nil, append([]string{m.helm(t, "4"), "upgrade", "mlops", "charts", "--namespace", "mlops", "--kubeconfig", m.kubeconfig(), "--reuse-values",
			"--wait", "--wait-for-jobs", "--timeout", "8m"}, flags...)...)
	}
	began := time.Now()
	upgrade("--set", "global.tls.enabled=true")
	defer func() {
		upgrade("--set", "global.tls.enabled=false")
		eventually(t, most, func() error { return f.works(t) })
		f.whole(t)
	}()
	t.Logf("TLS was on after %v", time.Since(began).Round(time.Second))
	var said bytes.Buffer // as NOTES.txt tells people to
	if err := r.Exec(t.Context(), r.Service("postgres")+"-0", "postgres", nil, &said, "psql", "-U", "postgres", "-d", "raw", "-Atc", "SELECT 6 * 7"); err != nil || said.String() != "42\n" {
		t.Errorf("psql in Postgres' pod: %q, %v", said.String(), err)
	}
	m.must(t, nil, "make", "backup", "TO="+t.TempDir())

	w := f.follow(t, f.anew(t, "over-tls"))
	if w == nil || t.Failed() {
		return
	}
	t.Logf("the pipeline over TLS: %s after %v", w.Status.Phase, took(w))
	server := forwarded(t, r, "inference", 8000)
	if !strings.HasPrefix(server.URL, "https://") {
		t.Fatalf("inference is at %s", server.URL)
	}
	for _, to := range []struct {
		name      string
		base      string
		transport http.RoundTripper
	}{
		{"a forwarded port", server.URL, server.Transport},
		{"the NodePort", strings.Replace(inference, "http:", "https:", 1), server.Transport},
	} {
		client := api.NewClient(to.base, &http.Client{Transport: to.transport, Timeout: time.Minute})
		var view *api.Model
		eventually(t, time.Minute, func() (err error) { view, err = client.Model(t.Context()); return err })
		if err := overview.Scores(t.Context(), client, view); err != nil {
			t.Errorf("%s: %v", to.name, err)
		}
	}
	for _, base := range []string{inference, page, "http://localhost:30500"} {
		resp, err := http.Get(base)
		if err != nil {
			t.Errorf("%s: %v", base, err)
			continue
		}
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest || !strings.Contains(strings.ToLower(string(text)), "https") {
			t.Errorf("%s without TLS: %s: %s", base, resp.Status, text)
		}
	}
	resp, err := (&http.Client{Transport: forwarded(t, r, "ui", 8501).Transport}).Get(strings.Replace(page, "http:", "https:", 1))
	if err != nil {
		t.Error(err)
	} else {
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK || !strings.Contains(string(text), "<form") {
			t.Errorf("the page, which asks inference over TLS: %s", resp.Status)
		}
	}
	eventually(t, 2*time.Minute, func() error { return scraped(t.Context(), forward(t, r, "prometheus", 9090)) })
	m.must(t, nil, m.helm(t, "4"), "test", "mlops", "--namespace", "mlops", "--kubeconfig", m.kubeconfig())

	// An old certificate is renewed by the next upgrade, and served without a restart.
	pods, err := r.Pods(t.Context(), "app.kubernetes.io/instance="+r.Name+",app.kubernetes.io/component in (inference, mlflow, minio)")
	if err != nil {
		t.Fatal(err)
	}
	serials := func() string {
		var text strings.Builder
		for _, s := range []struct {
			name string
			port int
		}{{"inference", 8000}, {"mlflow", 5000}, {"minio", 9000}} {
			f, err := r.Forward(t.Context(), r.Service(s.name), s.port, 0)
			if err != nil {
				t.Fatal(err)
			}
			conn, err := tls.Dial("tcp", f.Address, &tls.Config{InsecureSkipVerify: true})
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintln(&text, conn.ConnectionState().PeerCertificates[0].SerialNumber)
			conn.Close()
			f.Close()
		}
		return text.String()
	}
	before := strings.Fields(serials())
	for _, s := range []string{"inference", "mlflow", "minio"} {
		old := fmt.Sprintf(`{"metadata":{"annotations":{"mlops.local/issued":"%d"}}}`, time.Now().Add(-400*24*time.Hour).Unix())
		if _, err := r.Client.CoreV1().Secrets(r.Namespace).Patch(t.Context(), r.Service(s+"-tls"), types.MergePatchType, []byte(old), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	// Meanwhile no request fails, each on a connection of its own.
	asked, stop := make(chan string, 1), make(chan struct{})
	go func() {
		client := &http.Client{Transport: server.Transport, Timeout: 10 * time.Second}
		asks, failed, last := 0, 0, error(nil)
		for open := true; open; time.Sleep(5 * time.Millisecond) {
			select {
			case <-stop:
				open = false
			default:
			}
			req, err := http.NewRequest(http.MethodGet, strings.Replace(inference, "http:", "https:", 1)+"/model", nil)
			if err != nil {
				panic(err)
			}
			req.Close = true
			resp, err := client.Do(req)
			if asks++; err != nil {
				failed, last = failed+1, err
				continue
			}
			resp.Body.Close()
		}
		if failed > 0 {
			t.Errorf("while certificates were renewed, %d of %d requests failed: %v", failed, asks, last)
		}
		asked <- fmt.Sprintf("%d requests meanwhile, %d failed", asks, failed)
	}()
	defer func() { close(stop); t.Log(<-asked) }()
	upgrade("--force-conflicts") // the annotations are this test's now
	began = time.Now()
	eventually(t, 4*time.Minute, func() error {
		for i, serial := range strings.Fields(serials()) {
			if serial == before[i] {
				return fmt.Errorf("server %d still has its old certificate", i)
			}
		}
		return nil
	})
	t.Logf("renewed certificates were served after %v", time.Since(began).Round(time.Second))
	for _, p := range pods {
		now, err := r.Client.CoreV1().Pods(r.Namespace).Get(t.Context(), p.Name, metav1.GetOptions{})
		if err != nil || now.UID != p.UID {
			t.Errorf("pod %s was replaced for a certificate: %v", p.Name, err)
		}
	}
}
