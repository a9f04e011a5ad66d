package serve

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/gorilla/mux"

	"mlops/internal/api"
	"mlops/internal/apikey"
)

// keyed makes a server ask for keys, and returns a key of each scope.
func keyed(t testing.TB, s *Server) map[apikey.Scope]string {
	t.Helper()
	keys, file := map[apikey.Scope]string{}, ""
	for _, scope := range apikey.Scopes {
		text, k, err := apikey.New(string(scope), []apikey.Scope{scope}, apikey.Rate{})
		if err != nil {
			t.Fatal(err)
		}
		if file, err = apikey.Add(file, k); err != nil {
			t.Fatal(err)
		}
		keys[scope] = text
	}
	path := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.RequireKeys(path); err != nil {
		t.Fatal(err)
	}
	return keys
}

// routes returns every route of the API, as method and path, and two that there are
// not.
func routes(t testing.TB, s *Server) [][2]string {
	t.Helper()
	list := [][2]string{{"GET", "/nothing"}, {"DELETE", "/predict"}}
	err := s.router().Walk(func(route *mux.Route, _ *mux.Router, _ []*mux.Route) error {
		path, err := route.GetPathTemplate()
		if err != nil {
			return err
		}
		methods, err := route.GetMethods()
		for _, m := range methods {
			list = append(list, [2]string{m, strings.NewReplacer("{", "", "}", "").Replace(path)})
		}
		return err
	})
	if err != nil || len(list) < 10 {
		t.Fatalf("%d routes, %v", len(list), err)
	}
	return list
}

// wired sends a request over a connection, as plainhttp or net/http reads it.
func wired(t *testing.T, address, method, path string, header ...string) (*http.Response, string) {
	t.Helper()
	c := connect(t, address)
	body := ""
	if method == http.MethodPost {
		body = "{}"
	}
	fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n", method, path, len(body))
	for _, h := range header {
		fmt.Fprintf(c, "%s\r\n", h)
	}
	fmt.Fprintf(c, "\r\n%s", body)
	res, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(text)
}

// Each route but probes and metrics needs a key of its scope, by either way of reading
// requests.
func TestKeys(t *testing.T) {
	for _, way := range []string{"plain", "net/http"} {
		t.Run(way, func(t *testing.T) {
			s, _ := serving(t, 1)
			s.options.NetHTTPOnly = way != "plain"
			keys := keyed(t, s)
			address := listen(t, s, func(*http.Server) {})
			for _, route := range routes(t, s) {
				method, path := route[0], route[1]
				name := method + " " + path
				res, text := wired(t, address, method, path)
				if path == "/healthz" || path == "/readyz" || path == "/metrics" || path == "/ping" || path == "/health" || strings.HasPrefix(path, "/v2/health/") {
					if res.StatusCode != http.StatusOK {
						t.Errorf("%s without a key: %s", name, res.Status)
					}
					continue
				}
				if res.StatusCode != http.StatusUnauthorized || method != http.MethodHead && !strings.Contains(text, api.Unauthorized) || res.Header.Get("WWW-Authenticate") == "" {
					t.Errorf("%s without a key: %s %s", name, res.Status, text)
				}
				want := map[string]apikey.Scope{"GET": apikey.Read, "HEAD": apikey.Read, "POST": apikey.Predict, "DELETE": apikey.Operate}[method]
				for scope, key := range keys {
					res, text := wired(t, address, method, path, "Authorization: Bearer "+key)
					if (res.StatusCode == http.StatusForbidden) == (scope == want) || res.StatusCode == http.StatusUnauthorized {
						t.Errorf("%s with a key to %s: %s %s", name, scope, res.Status, text)
					}
				}
			}
			if res, text := wired(t, address, "POST", "/predict", "X-API-Key: "+keys[apikey.Predict]); res.StatusCode != http.StatusOK {
				t.Errorf("X-API-Key: %s %s", res.Status, text)
			}
			// The page's script asks this server where both have one address.
			if res, text := wired(t, address, "POST", "/predict", "Cookie: "+apikey.Cookie+"="+keys[apikey.Predict]); res.StatusCode != http.StatusOK {
				t.Errorf("the page's cookie: %s %s", res.Status, text)
			}
			if got := metric(t, s, `mlops_problems_total{handler="key",type="unauthorized"}`); got == "" || got == "0" {
				t.Errorf("%q refusals are counted", got)
			}
		})
	}
}

// The OpenAPI document says which operations need a key, and only if they do.
func TestKeysInOpenAPI(t *testing.T) {
	s, _ := serving(t, 1)
	if text := ask(s, http.MethodGet, "/openapi.json", "").Body.String(); strings.Contains(text, "security") {
		t.Error("a server without keys names security schemes")
	}
	keyed(t, s)
	document := s.document()
	lockDocument(document)
	if len(document["components"].(object)["securitySchemes"].(object)) != 2 {
		t.Errorf("schemes: %v", document["components"])
	}
	operation := func(path, method string) object {
		return document["paths"].(object)[path].(object)[method].(object)
	}
	if o := operation("/predict", "post"); len(o["security"].([]any)) != 2 || !strings.Contains(fmt.Sprint(o["responses"].(object)["403"]), "scope predict") {
		t.Errorf("POST /predict: %v", o)
	}
	if o := operation("/readyz", "get"); len(o["security"].([]any)) != 0 || o["responses"].(object)["401"] != nil {
		t.Errorf("GET /readyz: %v", o)
	}
}

// Every response has the headers that browsers need, errors included, however the
// request was read.
func TestSecurityHeaders(t *testing.T) {
	for _, way := range []string{"plain", "net/http", "plain, with keys"} {
		t.Run(way, func(t *testing.T) {
			s, _ := serving(t, 1)
			s.options.NetHTTPOnly = way == "net/http"
			list := routes(t, s)
			if way == "plain, with keys" {
				keyed(t, s) // and none is sent
			}
			address := listen(t, s, func(*http.Server) {})
			for _, route := range list {
				for _, proto := range []string{"http", "https"} {
					res, _ := wired(t, address, route[0], route[1], "X-Forwarded-Proto: "+proto, "Content-Encoding: none")
					name := fmt.Sprintf("%s %s over %s (%s)", route[0], route[1], proto, res.Status)
					h := res.Header
					if h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Referrer-Policy") != "no-referrer" || !strings.Contains(h.Get("Content-Security-Policy"), "frame-ancestors 'none'") || !strings.HasPrefix(h.Get("Content-Security-Policy"), "default-src 'none'") {
						t.Errorf("%s: %v", name, h)
					}
					if got := h.Get("Strict-Transport-Security"); (got != "") != (proto == "https") {
						t.Errorf("%s: Strict-Transport-Security %q", name, got)
					}
					if route[0] == "GET" && h.Get("Cache-Control") != "no-store" {
						t.Errorf("%s: Cache-Control %q", name, h.Get("Cache-Control"))
					}
				}
			}
		})
	}
}

// No log line holds a key, whatever is sent and goes wrong.
func TestKeysAreNotLogged(t *testing.T) {
	var log bytes.Buffer
	var mu sync.Mutex
	r := newShelf(t)
	r.put(t, "1", bundle(t, 1))
	s := New(Options{Model: "tiny", Cache: t.TempDir(), Registry: r, Log: slog.New(slog.NewTextHandler(lockedLog{&mu, &log}, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	poll(t, s)
	keys := keyed(t, s)
	address := listen(t, s, func(*http.Server) {})
	for _, key := range keys {
		for _, header := range []string{"Authorization: Bearer " + key, "X-API-Key: " + key, "Authorization: " + key, "X-API-Key: " + key[:40], "Cookie: k=" + key} {
			for _, path := range []string{"/predict", "/model", "/" + key, "/predict?key=" + key} {
				if res, text := wired(t, address, "POST", path, header); strings.Contains(text, key[15:40]) {
					t.Errorf("%s: the response to POST %.10s holds the key: %s", res.Status, path, text)
				}
			}
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if log.Len() == 0 {
		t.Error("the log is empty")
	}
	for _, key := range keys {
		if strings.Contains(log.String(), key[15:40]) {
			t.Errorf("the log holds a key:\n%s", log.String())
		}
	}
}

type lockedLog struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l lockedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}
