package page

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestCompress(t *testing.T) {
	t.Parallel()
	s := newServer(t, newFake(t, "diabetes").URL)
	for path, packed := range map[string]bool{"/": true, s.assets.address["batch.js"]: true, s.assets.address["style.css"]: true, "/model": true, "/healthz": false} {
		plain := get(s, path)
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.Header.Set("Accept-Encoding", "gzip, br")
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if got := w.Header().Get("Content-Encoding") == "gzip"; got != packed || w.Code != http.StatusOK || plain.Header().Get("Content-Encoding") != "" {
			t.Errorf("%s: status %d, compressed %t, want %t", path, w.Code, got, packed)
			continue
		}
		if !packed {
			continue
		}
		size := w.Body.Len()
		z, err := gzip.NewReader(w.Body)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(z)
		if err != nil || string(body) != plain.Body.String() {
			t.Errorf("%s: %d bytes unpack to %d, want %d: %v", path, size, len(body), plain.Body.Len(), err)
		}
		if w.Header().Get("Vary") != "Accept-Encoding" || size*2 > len(body) {
			t.Errorf("%s: %d of %d bytes, Vary %q", path, size, len(body), w.Header().Get("Vary"))
		}
	}
}

func TestCompressOnlyWhatIsTaken(t *testing.T) {
	t.Parallel()
	s := newServer(t, newFake(t, "diabetes").URL)
	for accept, want := range map[string]string{"": "", "br": "", "gzip;q=0": "", "x-gzip-like": "", "br, gzip;q=0.5": "gzip"} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Accept-Encoding", accept)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if got := w.Header().Get("Content-Encoding"); got != want {
			t.Errorf("Accept-Encoding %q: Content-Encoding %q, want %q", accept, got, want)
		}
	}
}
