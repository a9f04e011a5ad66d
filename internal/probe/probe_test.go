package probe

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestHTTP(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/ready":
		case "/empty":
			w.WriteHeader(http.StatusNoContent)
		case "/starting":
			http.Error(w, "starting\nup", http.StatusServiceUnavailable)
		case "/long":
			w.WriteHeader(http.StatusInternalServerError)
			w.Write([]byte(strings.Repeat("x", 10*shown)))
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer server.Close()
	withPassword := strings.Replace(server.URL, "http://", "http://user:secret@", 1)
	for _, tt := range []struct{ address, want string }{
		{server.URL + "/ready", ""},
		{server.URL + "/empty", ""},
		{server.URL + "/starting", "GET " + server.URL + "/starting: 503 Service Unavailable: starting up"},
		{server.URL + "/long", "GET " + server.URL + "/long: 500 Internal Server Error: " + strings.Repeat("x", shown)},
		{withPassword + "/gone", "GET " + strings.Replace(withPassword, "secret", "xxxxx", 1) + "/gone: 404 Not Found"},
		{"http://127.0.0.1:1/", "connection refused"},
		{"http://bad host/", "invalid character"},
	} {
		got := ""
		if err := HTTP(t.Context(), tt.address); err != nil {
			got = err.Error()
		}
		if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
			t.Errorf("%s: got %q, want %q", tt.address, got, tt.want)
		}
		if strings.Contains(got, "secret") {
			t.Errorf("%s: the error shows the password: %q", tt.address, got)
		}
	}
}
