package headers

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestKnown(t *testing.T) {
	t.Parallel()
	ok := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") })
	for _, tt := range []struct {
		names, host string
		want        int
	}{
		{"localhost", "localhost", 200},
		{"localhost", "localhost:8501", 200},
		{"localhost", "LOCALHOST:8501", 200},
		{"localhost", "127.0.0.1:8501", 200},
		{"localhost", "[::1]:8501", 200},
		{"localhost", "[::1]", 200},
		{"localhost", "evil.example", 421},
		{"localhost", "evil.example:8501", 421},
		{"localhost", "localhost.evil.example", 421},
		{"localhost", "127.0.0.1.evil.example:8501", 421},
		{"localhost", "evil.example:localhost", 421},
		{"localhost", "", 421},
		{"localhost, models.example", "models.example:443", 200},
		{"", "evil.example", 200},
		{"localhost,*", "evil.example", 200},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Host = tt.host
		w := httptest.NewRecorder()
		Known(Names(tt.names), ok).ServeHTTP(w, r)
		if w.Code != tt.want {
			t.Errorf("server %q, host %q: status %d, want %d", tt.names, tt.host, w.Code, tt.want)
		}
	}
}
