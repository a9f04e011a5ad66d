package source

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// repeated reads a text again and again, up to n bytes.
type repeated struct {
	text string
	n    int
}

func (r *repeated) Read(p []byte) (int, error) {
	if r.n <= 0 {
		return 0, io.EOF
	}
	n := 0
	for n < len(p) {
		n += copy(p[n:], r.text)
	}
	n = min(n/len(r.text)*len(r.text), r.n)
	r.n -= n
	return n, nil
}

// TestBounds opens archives that unpack to more than any table needs, and one of many
// short lines: each ends early, with the bound and the key that raises it.
func TestBounds(t *testing.T) {
	t.Parallel()
	const giga = 1 << 30
	pack := func(to func(io.Writer) io.WriteCloser, text string, size int) string {
		var b bytes.Buffer
		w := to(&b)
		if _, err := io.WriteString(w, table); err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyBuffer(w, struct{ io.Reader }{&repeated{text, size}}, make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	gz := func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }
	zipper := func(w io.Writer) io.WriteCloser {
		z := zip.NewWriter(w)
		f, err := z.Create("t.csv")
		if err != nil {
			t.Fatal(err)
		}
		return struct {
			io.Writer
			io.Closer
		}{f, z}
	}
	equal := strings.Repeat("1,2\n", 1<<12)
	bomb := pack(zipper, equal, giga)
	tests := []struct {
		why    string
		source string
		opts   Options
		want   string // part of the error; empty: none
	}{
		{"a zip bomb", file(t, "t.zip", bomb), Options{}, "the table unpacks to more than 500 times the "},
		{"a gzip bomb", file(t, "t.csv.gz", pack(gz, equal, giga)), Options{}, "source: {max_ratio: 5000}"},
		{"a bomb whose encoding is to be guessed", file(t, "t.zip", bomb), Options{Guess: true}, "source: {max_ratio: 5000}"},
		{"a bomb that is meant", file(t, "t.csv.gz", pack(gz, equal, 80<<20)), Options{MaxRatio: 2000}, ""},
		{"a small table of equal rows", file(t, "t.csv.gz", pack(gz, equal, 60<<20)), Options{}, ""},
		{"a table of 100 MB that packs well", file(t, "t.csv.gz", pack(gz, table+"1,\"é\"\n7,19\n", 100e6)), Options{MaxRatio: 1100}, ""},
		{"an archive that is too large", file(t, "t.zip", bomb), Options{MaxSize: 10 << 20}, "the table is larger than 10MiB; if it is meant to be, raise the bound: source: {max_size: 100MiB}"},
		{"a file that is too large", file(t, "t.csv", strings.Repeat(table, 1000)), Options{MaxSize: 1000}, "the table is larger than 1000B"},
		{"many short lines", file(t, "t.zip", pack(zipper, "1\n", 4<<20)), Options{MaxLines: 1_000_000}, "more than 1000000 lines; if it is meant to, raise the bound: source: {max_lines: 10000000}"},
		{"one line too many, without its end", file(t, "t.csv", "a,b\n1,2\n3,4"), Options{MaxLines: 2}, "more than 2 lines"},
		{"as many lines as allowed", file(t, "t.csv", "a,b\n1,2\n3,4"), Options{MaxLines: 3}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.why, func(t *testing.T) {
			t.Parallel()
			if !tt.opts.Guess {
				tt.opts.Columns = []string{"a", "b"}
			}
			begun := time.Now()
			tab, err := Open(context.Background(), tt.source, tt.opts)
			if tab != nil {
				defer tab.Close()
			}
			if tt.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			var bad *Error
			if !errors.As(err, &bad) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v after %s, want a *source.Error that says %q", err, time.Since(begun), tt.want)
			}
		})
	}
}

// TestNoRoom has a remote table that is larger than the temporary folder's disk: it is
// refused before its first byte is copied.
func TestNoRoom(t *testing.T) {
	t.Parallel()
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1152921504606846976")
		w.Write([]byte(table))
	}))
	defer web.Close()
	_, err := Open(context.Background(), web.URL+"/t.csv", Options{MaxBytes: 1 << 61, TempDir: t.TempDir()})
	var bad *Error
	if !errors.As(err, &bad) || !strings.Contains(err.Error(), "the folder for temporary files has room for") {
		t.Errorf("got %v", err)
	}
}
