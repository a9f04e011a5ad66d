package page

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gorilla/mux"

	"mlops/internal/api"
	"mlops/internal/apikey"
)

// locked is a page that asks for keys, and a key of each given set of scopes.
func locked(t *testing.T, base string, scopes ...string) (*Server, []string) {
	t.Helper()
	var keys []string
	file := ""
	for _, text := range scopes {
		list, err := apikey.ParseScopes(text)
		if err != nil {
			t.Fatal(err)
		}
		key, k, err := apikey.New("a", list, apikey.Rate{})
		if err != nil {
			t.Fatal(err)
		}
		if file, err = apikey.Add(file, k); err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	path := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newServer(t, base)
	if err := s.RequireKeys(path); err != nil {
		t.Fatal(err)
	}
	return s, keys
}

// send sends a request as a browser does, over TLS unless the scheme is another.
func send(s http.Handler, method, target string, form url.Values, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(form.Encode()))
	r.Header.Set("Accept", "text/html,*/*")
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	r.TLS = nil
	r.Header.Set("X-Forwarded-Proto", "https")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

// A browser signs in with a key, predicts, and signs out.
func TestLogin(t *testing.T) {
	t.Parallel()
	f := newFake(t, "diabetes")
	s, keys := locked(t, f.URL, "read,predict", "read", "predict")
	s.UseKey("mlops_the_pages_own")

	w := send(s, "GET", "/", nil)
	if body := w.Body.String(); w.Code != http.StatusUnauthorized || !strings.Contains(body, `action="/login"`) || strings.Contains(body, "readmission") || w.Header().Get("WWW-Authenticate") == "" {
		t.Fatalf("without a key: %d\n%s", w.Code, body)
	}
	w = send(s, "POST", "/login", url.Values{"key": {" " + keys[0] + "\n"}}, "Origin", "https://example.com", "Sec-Fetch-Site", "same-origin")
	cookie := w.Header().Get("Set-Cookie")
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/" {
		t.Fatalf("signing in: %d %s", w.Code, w.Body)
	}
	for _, want := range []string{"__Host-mlops-key=" + keys[0] + ";", "Path=/", "Max-Age=43200", "HttpOnly", "Secure", "SameSite=Strict"} {
		if !strings.Contains(cookie, want) {
			t.Errorf("the cookie %q lacks %s", strings.Replace(cookie, keys[0], "KEY", 1), want)
		}
	}
	has := "__Host-mlops-key=" + keys[0]
	if w = send(s, "GET", "/", nil, "Cookie", has); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `action="/logout"`) {
		t.Errorf("signed in: %d %.300s", w.Code, w.Body)
	}
	if w = send(s, "POST", "/", parse(t, w).form(), "Cookie", has); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `data-state="predicted"`) {
		t.Errorf("predicting: %d", w.Code)
	}
	if strings.Contains(w.Body.String(), keys[0]) || strings.Contains(w.Body.String(), "the_pages_own") {
		t.Error("the page holds a key")
	}
	if w = send(s, "POST", "/logout", url.Values{}, "Cookie", has); w.Code != http.StatusSeeOther || !strings.Contains(w.Header().Get("Set-Cookie"), "Max-Age=0") {
		t.Errorf("signing out: %d %s", w.Code, w.Header().Get("Set-Cookie"))
	}

	// A key that may only read shows the form, and does not predict.
	only := "__Host-mlops-key=" + keys[1]
	if w = send(s, "GET", "/", nil, "Cookie", only); w.Code != http.StatusOK {
		t.Errorf("with a key to read: %d", w.Code)
	}
	if w = send(s, "POST", "/", parse(t, w).form(), "Cookie", only); w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), "needs a key with the scope predict") {
		t.Errorf("predicting with a key to read: %d %s", w.Code, w.Body)
	}

	// Programs get problems, and send a key in a header.
	w = send(s, "POST", "/predict", nil, "Accept", "*/*")
	if w.Code != http.StatusUnauthorized || w.Header().Get("Content-Type") != api.ProblemMediaType {
		t.Errorf("a program without a key: %d %s", w.Code, w.Body)
	}
	r := httptest.NewRequest("POST", "/predict", strings.NewReader(`{}`))
	r.Header.Set("Authorization", "Bearer "+keys[2])
	w = httptest.NewRecorder()
	if s.ServeHTTP(w, r); w.Code != http.StatusOK {
		t.Errorf("a program with a key: %d %s", w.Code, w.Body)
	}
}

// TestHosts calls the page by a name that somebody else's leads to it.
func TestHosts(t *testing.T) {
	t.Parallel()
	f := newFake(t, "diabetes")
	s, _ := locked(t, f.URL, "read")
	s.OnlyHosts([]string{"localhost"})
	for host, want := range map[string]int{"localhost:8501": http.StatusUnauthorized, "[::1]:8501": http.StatusUnauthorized, "evil.example:8501": http.StatusMisdirectedRequest} {
		r := httptest.NewRequest(http.MethodGet, "/about", nil)
		r.Host = host
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("by the name %s: status %d, want %d", host, w.Code, want)
		}
		if w.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("by the name %s: no security headers", host)
		}
	}
}

func TestLoginRefused(t *testing.T) {
	t.Parallel()
	f := newFake(t, "diabetes")
	s, keys := locked(t, f.URL, "read", "predict")
	stranger, _, err := apikey.New("a", apikey.Scopes, apikey.Rate{})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, key string
		header    []string
		status    int
		want      string
	}{
		{"nothing", "", nil, 401, "not valid"},
		{"nonsense", "let me in", nil, 401, "not valid"},
		{"a stranger's key", stranger, nil, 401, "not valid"},
		{"a key that may not read", keys[1], nil, 403, "may not do this"},
		{"another site's form", keys[0], []string{"Sec-Fetch-Site", "cross-site"}, 403, "another site"},
		{"another origin's form", keys[0], []string{"Origin", "https://evil.example"}, 403, "another site"},
		{"plain HTTP", keys[0], []string{"X-Forwarded-Proto", "http"}, 400, "takes none over plain HTTP"},
	} {
		w := send(s, "POST", "/login", url.Values{"key": {test.key}}, test.header...)
		if w.Code != test.status || !strings.Contains(w.Body.String(), test.want) || w.Header().Get("Set-Cookie") != "" {
			t.Errorf("%s: %d %s", test.name, w.Code, w.Body)
		}
		if test.key != "" && strings.Contains(w.Body.String(), test.key) {
			t.Errorf("%s: the page shows what was sent", test.name)
		}
	}
	// Over plain HTTP the form isn't shown either, but for this machine's own names.
	for host, shown := range map[string]bool{"models.example": false, "192.0.2.1:30851": false, "localhost:8501": true, "127.0.0.1:8501": true, "[::1]:8501": true} {
		w := send(s, "GET", "http://"+host+"/", nil, "X-Forwarded-Proto", "http")
		if got := strings.Contains(w.Body.String(), `action="/login"`); w.Code != http.StatusUnauthorized || got != shown {
			t.Errorf("http://%s: %d, the form is shown: %v", host, w.Code, got)
		}
	}
	// A revoked key in the cookie is said.
	if w := send(s, "GET", "/", nil, "Cookie", apikey.Cookie+"="+stranger); !strings.Contains(w.Body.String(), "no longer valid") {
		t.Errorf("a revoked key: %s", w.Body)
	}
}

// Every route has the headers that browsers need, errors included, and every route but
// a few needs a key.
func TestRoutes(t *testing.T) {
	t.Parallel()
	f := newFake(t, "diabetes")
	open, _ := locked(t, f.URL, "read")
	open.keys, open.guard = nil, nil
	s, _ := locked(t, f.URL, "read")
	list := [][2]string{{"GET", "/nothing"}, {"DELETE", "/"}, {"GET", open.assets.address["style.css"]}, {"GET", "/assets/none.css"}, {"POST", "/login"}, {"POST", "/logout"}, {"GET", "/login"}}
	err := open.routes().Walk(func(route *mux.Route, _ *mux.Router, _ []*mux.Route) error {
		path, err := route.GetPathTemplate()
		if err != nil {
			return err
		}
		methods, err := route.GetMethods()
		for _, m := range methods {
			if !strings.Contains(path, "{") {
				list = append(list, [2]string{m, path})
			}
		}
		return err
	})
	if err != nil || len(list) < 12 {
		t.Fatalf("%d routes, %v", len(list), err)
	}
	free := newServer(t, f.URL)
	for _, route := range list {
		for _, server := range []*Server{free, s} {
			for _, proto := range []string{"http", "https"} {
				w := send(server, route[0], route[1], nil, "X-Forwarded-Proto", proto)
				h := w.Header()
				if h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Referrer-Policy") != "no-referrer" || h.Get("Content-Security-Policy") != open.assets.policy() || h.Get("Permissions-Policy") == "" || h.Get("Cache-Control") == "" {
					t.Errorf("%s %s (%d): %v", route[0], route[1], w.Code, h)
				}
				if (h.Get("Strict-Transport-Security") != "") != (proto == "https") {
					t.Errorf("%s %s over %s: Strict-Transport-Security %q", route[0], route[1], proto, h.Get("Strict-Transport-Security"))
				}
				path := route[1]
				isFree := path == "/healthz" || path == "/readyz" || path == "/metrics" || strings.HasPrefix(path, "/assets/") || strings.HasPrefix(path, "/log")
				if server == s && (w.Code == http.StatusUnauthorized) == isFree && path != "/login" {
					t.Errorf("%s %s without a key: %d", route[0], path, w.Code)
				}
			}
		}
	}
}
