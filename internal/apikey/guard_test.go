package apikey

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mlops/internal/api"
	"mlops/internal/metrics"
)

// ring returns a ring of a file with these keys.
func ring(t testing.TB, keys ...Key) (*Ring, *metrics.Inference, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys")
	store(t, path, keys...)
	m := metrics.NewInference()
	r, err := Open(path, m.Keys)
	if err != nil {
		t.Fatal(err)
	}
	return r, m, path
}

func store(t testing.TB, path string, keys ...Key) {
	t.Helper()
	var text strings.Builder
	for _, k := range keys {
		text.WriteString(k.String() + "\n")
	}
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}

// guarded is a guard before a handler that responds with 200.
func guarded(r *Ring) http.Handler {
	g := &Guard{Ring: r,
		Scope: func(r *http.Request) (Scope, bool) {
			switch {
			case r.URL.Path == "/open":
				return "", true
			case r.Method == http.MethodPost:
				return Predict, false
			}
			return Read, false
		},
		Deny: func(w http.ResponseWriter, _ *http.Request, p api.Problem) { p.Write(w) },
	}
	return g.Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "in") }))
}

func metricsOf(t testing.TB, m *metrics.Inference) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	var lines []string
	for line := range strings.Lines(w.Body.String()) {
		if strings.HasPrefix(line, "mlops_key") && !strings.HasSuffix(line, " 0\n") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

func TestGuard(t *testing.T) {
	t.Parallel()
	predict, p := made(t, "p", Rate{}, Predict)
	both, b := made(t, "b", Rate{}, Predict, Read)
	stranger, _ := made(t, "s", Rate{}, Predict, Read)
	wrong := both[:len(both)-1] + "A"
	if wrong == both {
		wrong = both[:len(both)-1] + "B"
	}
	r, m, _ := ring(t, p, b)
	h := guarded(r)
	const realm = `Bearer realm="mlops"`
	for _, test := range []struct {
		name, method, path string
		header             http.Header
		status             int
		kind, challenge    string
	}{
		{"open", "GET", "/open", nil, 200, "", ""},
		{"no key", "POST", "/", nil, 401, api.Unauthorized, realm},
		{"somebody else's login", "POST", "/", http.Header{"Authorization": {"Basic YTpi"}}, 401, api.Unauthorized, realm},
		{"bearer", "POST", "/", http.Header{"Authorization": {"Bearer " + predict}}, 200, "", ""},
		{"bearer in another case", "POST", "/", http.Header{"Authorization": {"bEARER  " + predict + " "}}, 200, "", ""},
		{"X-API-Key", "POST", "/", http.Header{"X-Api-Key": {predict}}, 200, "", ""},
		{"X-API-Key beside a proxy's token", "POST", "/", http.Header{"X-Api-Key": {predict}, "Authorization": {"Bearer eyJhbGciOi"}}, 200, "", ""},
		{"a cookie", "GET", "/", http.Header{"Cookie": {"a=b; " + Cookie + "=" + both}}, 200, "", ""},
		{"a wrong cookie", "GET", "/", http.Header{"Cookie": {Cookie + "=" + stranger}}, 401, api.Unauthorized, realm + `, error="invalid_token", error_description="unknown key"`},
		{"a wrong key beside a right cookie", "GET", "/", http.Header{"X-Api-Key": {stranger}, "Cookie": {Cookie + "=" + both}}, 401, api.Unauthorized, realm + `, error="invalid_token", error_description="unknown key"`},
		{"two keys", "POST", "/", http.Header{"X-Api-Key": {predict, predict}}, 401, api.Unauthorized, realm + `, error="invalid_token", error_description="not a key"`},
		{"two Authorizations", "POST", "/", http.Header{"Authorization": {"Bearer " + predict, "Basic a"}}, 401, api.Unauthorized, realm + `, error="invalid_token", error_description="not a key"`},
		{"half a key", "POST", "/", http.Header{"Authorization": {"Bearer " + predict[:40]}}, 401, api.Unauthorized, realm + `, error="invalid_token", error_description="not a key"`},
		{"another's key", "POST", "/", http.Header{"Authorization": {"Bearer " + stranger}}, 401, api.Unauthorized, realm + `, error="invalid_token", error_description="unknown key"`},
		{"one character is wrong", "POST", "/", http.Header{"Authorization": {"Bearer " + wrong}}, 401, api.Unauthorized, realm + `, error="invalid_token", error_description="unknown key"`},
		{"another scope", "GET", "/", http.Header{"X-Api-Key": {predict}}, 403, api.Forbidden, realm + `, error="insufficient_scope", scope="read"`},
		{"the other scope", "GET", "/", http.Header{"X-Api-Key": {both}}, 200, "", ""},
	} {
		req := httptest.NewRequest(test.method, test.path, nil)
		req.Header = test.header
		if req.Header == nil {
			req.Header = http.Header{}
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, req)
		text := w.Body.String()
		if w.Code != test.status || !strings.Contains(text, test.kind) || w.Header().Get("Www-Authenticate") != test.challenge {
			t.Errorf("%s: %d %s\nchallenge %s\nwant %d %s %s", test.name, w.Code, text, w.Header().Get("Www-Authenticate"), test.status, test.kind, test.challenge)
		}
		for _, secret := range []string{predict, both, stranger, wrong} {
			if strings.Contains(text, secret[len(prefix)+idSize+1:][:20]) {
				t.Errorf("%s: the response holds the key: %s", test.name, text)
			}
		}
	}
	want := `mlops_key_refused_requests_total{key="",reason="malformed"} 3
mlops_key_refused_requests_total{key="",reason="missing"} 2
mlops_key_refused_requests_total{key="",reason="unknown"} 4
mlops_key_refused_requests_total{key="` + p.ID + `",reason="scope"} 1
mlops_key_requests_total{key="KEY"} N
`
	got := metricsOf(t, m)
	got = strings.ReplaceAll(got, `mlops_key_requests_total{key="`+p.ID+`"} 4`, `mlops_key_requests_total{key="KEY"} N`)
	got = strings.ReplaceAll(got, `mlops_key_requests_total{key="`+b.ID+`"} 2`+"\n", "")
	got = strings.ReplaceAll(got, "mlops_keys 2\n", "")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
}

func TestRateLimited(t *testing.T) {
	t.Parallel()
	text, k := made(t, "k", Rate{3, time.Hour}, Predict)
	r, m, path := ring(t, k)
	h := guarded(r)
	send := func() *httptest.ResponseRecorder {
		req := httptest.NewRequest(http.MethodPost, "/", nil)
		req.Header.Set("X-API-Key", text)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, req)
		return w
	}
	for i := range 3 {
		if w := send(); w.Code != http.StatusOK {
			t.Fatalf("request %d: %d", i+1, w.Code)
		}
	}
	w := send()
	if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") != "1200" || !strings.Contains(w.Body.String(), api.RateLimited) {
		t.Errorf("the fourth request: %d, Retry-After %s, %s", w.Code, w.Header().Get("Retry-After"), w.Body)
	}
	if !strings.Contains(metricsOf(t, m), `mlops_key_refused_requests_total{key="`+k.ID+`",reason="rate"} 1`) {
		t.Error(metricsOf(t, m))
	}
	// Another key in the file does not give this one a fresh start.
	_, other := made(t, "o", Rate{}, Read)
	store(t, path, k, other)
	if changed, err := r.load(); !changed || err != nil {
		t.Fatal(changed, err)
	}
	if w := send(); w.Code != http.StatusTooManyRequests {
		t.Errorf("after the file was read again: %d", w.Code)
	}
}

// The file is read again without a restart; a mistake in it changes nothing, and is
// said once.
// A key that was let in before is known by its text: nothing else with its id is, and
// another line for the id forgets it.
func TestSeenBefore(t *testing.T) {
	text, k, err := New("k", []Scope{Predict}, Rate{})
	if err != nil {
		t.Fatal(err)
	}
	r, _, path := ring(t, k)
	other := text[:keySize-1] + "A"
	if other == text {
		other = text[:keySize-1] + "E"
	}
	for range 3 {
		if h, why := r.check(text, Predict); why != nil || h.ID != k.ID {
			t.Fatalf("the key: %+v", why)
		}
		if h, why := r.check(text, Operate); h != nil || why.Reason != WrongScope {
			t.Errorf("another scope: %+v", why)
		}
		for _, wrong := range []string{other, text + "A", text[:keySize-1], strings.Replace(text, "mlops_", "MLOPS_", 1)} {
			if h, why := r.check(wrong, Predict); h != nil || why.Reason != UnknownKey && why.Reason != BadKey {
				t.Errorf("%d characters that are not the key: %+v", len(wrong), why)
			}
		}
	}
	_, next, err := New("k", []Scope{Predict}, Rate{})
	if err != nil {
		t.Fatal(err)
	}
	next.ID = k.ID
	store(t, path, next)
	if _, err := r.load(); err != nil {
		t.Fatal(err)
	}
	if h, why := r.check(text, Predict); h != nil || why.Reason != UnknownKey {
		t.Errorf("the key whose line was replaced: %+v", why)
	}
}

func TestWatch(t *testing.T) {
	t.Parallel()
	first, a := made(t, "a", Rate{}, Predict)
	second, b := made(t, "b", Rate{}, Predict)
	r, m, path := ring(t, a)
	var mu sync.Mutex
	var log bytes.Buffer
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		r.Watch(ctx, slog.New(slog.NewTextHandler(&lockedWriter{&mu, &log}, nil)))
		close(done)
	}()
	defer func() { cancel(); <-done }()
	known := func(text string) bool { _, why := r.check(text, Predict); return why == nil }
	until := func(what string, ok func() bool) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("not in time: %s", what)
			}
		}
	}
	store(t, path, a, b)
	until("a new key", func() bool { return known(second) })
	if err := os.WriteFile(path, []byte("nonsense\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	until("two errors", func() bool { return strings.Contains(metricsOf(t, m), "mlops_key_reload_errors_total 2") })
	if !known(first) || !known(second) {
		t.Error("a mistake in the file revoked a key")
	}
	mu.Lock()
	if n := strings.Count(log.String(), "line 1: 1 fields"); n != 1 {
		t.Errorf("the mistake is said %d times:\n%s", n, log.String())
	}
	mu.Unlock()
	store(t, path, b)
	until("a revoked key", func() bool { return !known(first) })
	if !known(second) || strings.Contains(metricsOf(t, m), a.ID) {
		t.Errorf("after one key was revoked:\n%s", metricsOf(t, m))
	}
}

type lockedWriter struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// Whatever a header says, only the text of a key in the ring is let in, and nothing of
// it comes back.
func FuzzHeader(f *testing.F) {
	text, k, err := New("k", []Scope{Read}, Rate{})
	if err != nil {
		f.Fatal(err)
	}
	r, _, _ := ring(f, k)
	h := guarded(r)
	f.Add("Bearer "+text, "", 1)
	f.Add("", text, 1)
	f.Add("Bearer "+text, text, 2)
	f.Add("bearer "+text[:30], text+" ", 1)
	f.Add("Basic YTpi", "mlops_00000000_", 0)
	f.Add("Bearer\t"+text, "\x00", 3)
	f.Fuzz(func(t *testing.T, authorization, xAPIKey string, times int) {
		req := httptest.NewRequest(http.MethodGet, "/", nil)
		for range max(1, min(times, 3)) {
			if authorization != "" {
				req.Header.Add("Authorization", authorization)
			}
			if xAPIKey != "" {
				req.Header.Add("X-API-Key", xAPIKey)
			}
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, req)
		right := xAPIKey == text || xAPIKey == "" && len(authorization) > 7 &&
			strings.EqualFold(authorization[:7], "bearer ") && strings.Trim(authorization[7:], " ") == text
		right = right && times <= 1
		if got := w.Code == http.StatusOK; got != right {
			t.Errorf("Authorization %q, X-API-Key %q, %d times: %d", authorization, xAPIKey, times, w.Code)
		}
		if w.Code != http.StatusOK && w.Code != http.StatusUnauthorized {
			t.Errorf("status %d", w.Code)
		}
	})
}

func BenchmarkGuard(b *testing.B) {
	text, k, err := New("k", []Scope{Predict}, Rate{1_000_000, time.Second})
	if err != nil {
		b.Fatal(err)
	}
	r, _, _ := ring(b, k)
	(*r.held.Load())[k.ID].limiter = &limiter{pace: 1, period: int64(time.Second)} // which it doesn't reach
	h := guarded(r)
	req := httptest.NewRequest(http.MethodPost, "/", nil)
	req.Header.Set("Authorization", "Bearer "+text)
	w := httptest.NewRecorder()
	w.Body = nil
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(w, req)
	}
}
