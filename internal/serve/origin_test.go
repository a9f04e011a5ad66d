package serve

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"mlops/internal/model"
)

// lockedBuffer is a buffer that several goroutines may write to.
type lockedBuffer struct {
	sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.Lock()
	defer b.Unlock()
	return b.Buffer.Write(p)
}

func TestRequestNames(t *testing.T) {
	t.Parallel()
	s, _ := serving(t, 1)
	log := &lockedBuffer{}
	s.log = textLog(log)
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	w := send(s, "/predict", "{}", "X-Request-Id", "my-1", "traceparent", trace)
	if w.Header().Get(requestID) != "my-1" || w.Header().Get(traceParent) != trace || log.Len() > 0 {
		t.Errorf("headers %v, log %s", w.Header(), log)
	}
	if w = send(s, "/predict", `{"size":-1}`, "X-Request-Id", "my-2"); w.Header().Get(requestID) != "my-2" || !strings.Contains(log.String(), "request_id=my-2") {
		t.Errorf("%d, headers %v, log %s", w.Code, w.Header(), log)
	}
	for _, name := range []string{"", "a b", "a\x00b", strings.Repeat("x", maxName+1)} {
		if w := send(s, "/predict", "{}", "X-Request-Id", name); w.Header().Get(requestID) != "" {
			t.Errorf("%q is echoed as %q", name, w.Header().Get(requestID))
		}
	}
	log.Reset()
	send(s, "/predict", `{"size":-1}`)
	if log.Len() > 0 {
		t.Errorf("a client's mistake without a name is logged: %s", log)
	}
	s.score = func(*exchange, *model.Model) (int, error) { panic("broken") }
	w = send(s, "/predict", "{}")
	if id := w.Header().Get(requestID); w.Code != 500 || id == "" || !strings.Contains(log.String(), "request_id="+id) {
		t.Errorf("%d, headers %v, log %s", w.Code, w.Header(), log)
	}
}

func TestCORS(t *testing.T) {
	t.Parallel()
	s, _ := serving(t, 1)
	options := func(origin string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodOptions, "/predict", nil)
		r.Header.Set("Origin", origin)
		r.Header.Set("Access-Control-Request-Method", http.MethodPost)
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		return w
	}
	if w := options("https://a.example"); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Access-Control-Allow-Origin") != "" || w.Header().Get("Vary") != "" {
		t.Errorf("switched off: %d %v", w.Code, w.Header())
	}
	s.options.Origins = []string{"https://a.example", "https://b.example"}
	if w := options("https://a.example"); w.Code != http.StatusNoContent || w.Header().Get("Access-Control-Allow-Origin") != "https://a.example" || !strings.Contains(w.Header().Get("Access-Control-Allow-Headers"), "X-API-Key") {
		t.Errorf("allowed: %d %v", w.Code, w.Header())
	}
	if w := options("https://c.example"); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("another origin: %d %v", w.Code, w.Header())
	}
	if w := send(s, "/predict", "{}", "Origin", "https://b.example"); w.Code != http.StatusOK || w.Header().Get("Access-Control-Allow-Origin") != "https://b.example" || w.Header().Get("Vary") != "Origin" {
		t.Errorf("a request: %d %v", w.Code, w.Header())
	}
	s.options.Origins = []string{"*"}
	if w := send(s, "/predict", "{}", "Origin", "https://c.example"); w.Header().Get("Access-Control-Allow-Origin") != "https://c.example" {
		t.Errorf("any origin: %v", w.Header())
	}
}

// TestHosts calls the server by a name that somebody else's leads to it.
func TestHosts(t *testing.T) {
	t.Parallel()
	s, _ := serving(t, 1)
	s.options.Hosts = []string{"localhost"}
	for host, want := range map[string]int{"localhost:8000": http.StatusOK, "127.0.0.1:8000": http.StatusOK, "evil.example:8000": http.StatusMisdirectedRequest} {
		for _, path := range []string{"/model", "/predict", "/metrics"} {
			r := httptest.NewRequest(http.MethodGet, path, nil)
			if path == "/predict" {
				r = httptest.NewRequest(http.MethodPost, path, strings.NewReader("{}"))
				r.Header.Set("Content-Type", "application/json")
			}
			r.Host = host
			w := httptest.NewRecorder()
			s.Handler().ServeHTTP(w, r)
			if w.Code != want || w.Header().Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%s by the name %s: status %d, want %d", path, host, w.Code, want)
			}
		}
	}
}

func TestModelTag(t *testing.T) {
	t.Parallel()
	s, r := serving(t, 1)
	get := func(tag string) *httptest.ResponseRecorder {
		req := httptest.NewRequest(http.MethodGet, "/model", nil)
		req.Header.Set("If-None-Match", tag)
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, req)
		return w
	}
	tag := get("").Header().Get("ETag")
	for _, known := range []string{tag, `"other", ` + tag, "W/" + tag} {
		if w := get(known); tag == "" || w.Code != http.StatusNotModified || w.Body.Len() > 0 {
			t.Errorf("the same model as %s: %d, tag %s", known, w.Code, tag)
		}
	}
	r.put(t, "2", bundle(t, 2))
	poll(t, s)
	if w := get(tag); w.Code != http.StatusOK || w.Header().Get("ETag") == tag {
		t.Errorf("another model: %d, tag %s", w.Code, w.Header().Get("ETag"))
	}
}
