//go:build e2e

package e2e

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
)

// testKeys switches API keys on, makes one with `make key`, uses and revokes it.
func testKeys(t *testing.T, f *faults) {
	m := f.m
	switched := func(how string) {
		m.must(t, nil, m.helm(t, "4"), "upgrade", "mlops", "charts", "--namespace", "mlops", "--kubeconfig", m.kubeconfig(), "--reuse-values",
			"--set", "global.auth.apiKeys="+how, "--wait", "--timeout", "5m")
	}
	out := m.must(t, []string{"NAME=partner", "SCOPE=predict", "RATE=5/m"}, "make", "key")
	key := regexp.MustCompile(`mlops_[0-9a-f]{8}_\S+`).FindString(out)
	if key == "" {
		t.Fatalf("make key shows no key:\n%s", out)
	}
	switched("on")
	defer switched("auto")
	own, err := f.r.APIKey(t.Context())
	if err != nil || own == "" {
		t.Fatalf("the release's own key is %q, %v", own, err)
	}
	code := func(method, path, key string) int {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, inference+path, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		if key != "" {
			req.Header.Set("Authorization", "Bearer "+key)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode
	}
	// The server from before answers on open connections until it has drained.
	eventually(t, 30*time.Second, func() error {
		http.DefaultClient.CloseIdleConnections()
		if got := code(http.MethodPost, "/predict", ""); got != http.StatusUnauthorized {
			return fmt.Errorf("without a key: status %d", got)
		}
		return nil
	})
	for _, tt := range []struct {
		name, method, path, key string
		want                    int
	}{
		{"no key", http.MethodPost, "/predict", "", 401},
		{"no key", http.MethodGet, "/model", "", 401},
		{"an invented key", http.MethodPost, "/predict", "mlops_00000000_" + strings.Repeat("A", 43), 401},
		{"no key, for probes", http.MethodGet, "/readyz", "", 200},
		{"the release's own key", http.MethodPost, "/predict", own, 200},
		{"a partner's key", http.MethodPost, "/predict", key, 200},
		{"a partner's key, for what it does not open", http.MethodGet, "/model", key, 403},
	} {
		if got := code(tt.method, tt.path, tt.key); got != tt.want {
			t.Errorf("%s: %s %s: status %d, want %d", tt.name, tt.method, tt.path, got, tt.want)
		}
	}
	limited := false
	for range 10 {
		limited = limited || code(http.MethodPost, "/predict", key) == http.StatusTooManyRequests
	}
	if !limited {
		t.Error("a key with 5 requests a minute may send more")
	}
	m.must(t, []string{"NAME=partner"}, "make", "key-revoke")
	began := time.Now()
	eventually(t, 3*time.Minute, func() error {
		if got := code(http.MethodPost, "/predict", key); got != http.StatusUnauthorized {
			return fmt.Errorf("a revoked key: status %d", got)
		}
		return nil
	})
	t.Logf("a revoked key was refused after %v", time.Since(began).Round(time.Second))
}
