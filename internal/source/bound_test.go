package source

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// deflated is a deflate stream of the table and then of a text as often as it fits into
// size, with the checksum and the length of what it unpacks to. One part of it is packed,
// and stands in it many times: packing all of it takes minutes under the race detector.
func deflated(t *testing.T, text string, size int) (packed []byte, sum uint32, length int) {
	t.Helper()
	add := func(text string, times int) {
		var b bytes.Buffer
		w, err := flate.NewWriter(&b, flate.DefaultCompression)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, text); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil { // to a whole byte, and without an end
			t.Fatal(err)
		}
		packed = append(packed, bytes.Repeat(b.Bytes(), times)...)
		for range times {
			sum = crc32.Update(sum, crc32.IEEETable, []byte(text))
		}
		length += times * len(text)
	}
	part := strings.Repeat(text, max(1, (1<<20)/len(text)))
	add(table, 1)
	add(part, size/len(part))
	return append(packed, 3, 0), sum, length // the last block: an empty one
}

func gzipBomb(t *testing.T, text string, size int) string {
	t.Helper()
	packed, sum, length := deflated(t, text, size)
	b := append([]byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"), packed...)
	b = binary.LittleEndian.AppendUint32(b, sum)
	return string(binary.LittleEndian.AppendUint32(b, uint32(length)))
}

func zipBomb(t *testing.T, text string, size int) string {
	t.Helper()
	packed, sum, length := deflated(t, text, size)
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	f, err := z.CreateRaw(&zip.FileHeader{Name: "t.csv", Method: zip.Deflate, CRC32: sum,
		CompressedSize64: uint64(len(packed)), UncompressedSize64: uint64(length)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(packed); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestBounds opens archives that unpack to more than any table needs, and one of many
// short lines: each ends early, with the bound and the key that raises it.
func TestBounds(t *testing.T) {
	t.Parallel()
	// Enough that 500 times its archive is above ratioFrom and below its size.
	const bombSize = 160 << 20
	equal := strings.Repeat("1,2\n", 1<<12)
	bomb := zipBomb(t, equal, bombSize)
	tests := []struct {
		why    string
		source string
		opts   Options
		want   string // part of the error; empty: none
	}{
		{"a zip bomb", file(t, "t.zip", bomb), Options{}, "the table unpacks to more than 500 times the "},
		{"a gzip bomb", file(t, "t.csv.gz", gzipBomb(t, equal, bombSize)), Options{}, "source: {max_ratio: 5000}"},
		{"a bomb whose encoding is to be guessed", file(t, "t.zip", bomb), Options{Guess: true}, "source: {max_ratio: 5000}"},
		{"a bomb that is meant", file(t, "t.csv.gz", gzipBomb(t, equal, 80<<20)), Options{MaxRatio: 2000}, ""},
		{"a small table of equal rows", file(t, "t.csv.gz", gzipBomb(t, equal, 60<<20)), Options{}, ""},
		{"a table of 100 MB that packs well", file(t, "t.csv.gz", gzipBomb(t, table+"1,\"é\"\n7,19\n", 100e6)), Options{MaxRatio: 1100}, ""},
		{"an archive that is too large", file(t, "t.zip", bomb), Options{MaxSize: 10 << 20}, "the table is larger than 10MiB; if it is meant to be, raise the bound: source: {max_size: 100MiB}"},
		{"a file that is too large", file(t, "t.csv", strings.Repeat(table, 1000)), Options{MaxSize: 1000}, "the table is larger than 1000B"},
		{"many short lines", file(t, "t.zip", zipBomb(t, "1\n", 4<<20)), Options{MaxLines: 1_000_000}, "more than 1000000 lines; if it is meant to, raise the bound: source: {max_lines: 10000000}"},
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
