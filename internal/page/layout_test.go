package page

import (
	_ "embed"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mlops/internal/browser"
)

//go:embed testdata/layout.js
var layout []byte

// TestLayoutInBrowser looks at the pages on a telephone's width and a desk's: none scrolls
// sideways, and each control has a name and can be reached by keyboard. Then it scores a
// file.
func TestLayoutInBrowser(t *testing.T) {
	tab := browser.OpenFor(t, 1400, 900)
	page := newServer(t, csvServer(t))
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		got := httptest.NewRecorder()
		page.ServeHTTP(got, r)
		for name, values := range got.Header() {
			w.Header()[name] = values
		}
		// The test shows pages in frames, and reads a download.
		policy := strings.NewReplacer("frame-ancestors 'none'", "frame-ancestors 'self'", "connect-src 'self'", "connect-src 'self' blob:")
		w.Header().Set("Content-Security-Policy", policy.Replace(got.Header().Get("Content-Security-Policy")))
		w.Header().Del("X-Frame-Options")
		w.WriteHeader(got.Code)
		w.Write(got.Body.Bytes())
	})
	mux.HandleFunc("GET /look", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		io.WriteString(w, `<!doctype html><body><script src="/look.js"></script>`)
	})
	mux.HandleFunc("GET /look.js", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/javascript")
		w.Write(layout)
	})
	done := reported(t, mux)
	server := httptest.NewServer(mux)
	defer server.Close()
	text := browse(t, tab, server.URL+"/look", done)
	var got map[string][]string
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	want := map[string][]string{"batch": {
		"30 records scored", "30 of 30 records; 30 rows", "15 of 30 records; 15 rows",
		"scored-ward.csv", `age,race,label,probability,excluded,warnings | [0),Other,1,0.5,,"a, b"`,
	}}
	for _, path := range []string{"/", "/batch", "/about", "/monitor"} {
		want[path+" at 390"], want[path+" at 1280"] = []string{}, []string{}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("found (-want +got):\n%s", diff)
	}
}
