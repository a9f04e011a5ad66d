package source

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

const table = "a,b\n1,2\n3,4\n"

// zipped makes an archive of names and texts, taken in turns.
func zipped(t *testing.T, files ...string) string {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for i := 0; i < len(files); i += 2 {
		f, err := w.Create(files[i])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte(files[i+1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func gzipped(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func digestOf(text string) string {
	h := sha256.Sum256([]byte(text))
	return hex.EncodeToString(h[:])
}

func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestOpen(t *testing.T) {
	ab := Options{Columns: []string{"a", "b"}}
	member := func(name string) Options { return Options{Columns: ab.Columns, Member: name} }
	tests := []struct {
		why    string
		source string
		opts   Options
	}{
		{"a plain path", file(t, "t.csv", table), ab},
		{"a file URL", "file://" + file(t, "t.csv", table), ab},
		{"a file URL with an escaped space", "file://" + strings.ReplaceAll(file(t, "my t.csv", table), " ", "%20"), ab},
		{"gzip", file(t, "t.csv.gz", gzipped(t, table)), ab},
		{"gzip by its bytes, not its name", file(t, "t.csv", gzipped(t, table)), ab},
		{"the only CSV file of a zip", file(t, "t.zip", zipped(t, "README", "x", "t.CSV", table)), ab},
		{"the named member", file(t, "t.zip", zipped(t, "u.csv", "x", "t.csv", table)), member("t.csv")},
		{"the named member in a folder", file(t, "t.zip", zipped(t, "u.csv", "x", "d/t.csv", table)), member("t.csv")},
		{"a zip from a Mac", file(t, "t.zip", zipped(t, "__MACOSX/._t.csv", "\x00\x05\x16\x07", "t.csv", table, ".DS_Store", "x")), ab},
		{"the only member of a zip", file(t, "t.zip", zipped(t, "adult.data", table)), ab},
		{"the only member but for its description", file(t, "t.zip", zipped(t, "adult.data", table, "adult.names", "x", "Index", "x")), ab},
		{"gzip in a zip", file(t, "t.zip", zipped(t, "t.csv.gz", gzipped(t, table))), ab},
		{"bzip2", file(t, "t.csv.bz2", bzipped(t)), ab},
		{"zstd", file(t, "t.csv.zst", zstandard(t, table)), ab},
		{"zstd by its bytes, not its name", file(t, "t.csv", zstandard(t, table)), ab},
		{"a member's name says nothing about a plain file", file(t, "u.csv", table), member("t.csv")},
	}
	for _, tt := range tests {
		t.Run(tt.why, func(t *testing.T) {
			tab, err := Open(context.Background(), tt.source, tt.opts)
			if err != nil {
				t.Fatal(err)
			}
			defer tab.Close()
			if tab.Digest != digestOf(table) || tab.Size != int64(len(table)) || tab.Lines != 3 {
				t.Errorf("got digest %s, %d bytes, %d lines; want %s, %d, 3", tab.Digest, tab.Size, tab.Lines, digestOf(table), len(table))
			}
			if diff := cmp.Diff([]string{"2: 1|2", "3: 3|4"}, read(t, tab, Position{})); diff != "" {
				t.Errorf("records (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]string{"3: 3|4"}, read(t, tab, Position{Offset: 8, Line: 3})); diff != "" {
				t.Errorf("records from the second on (-want +got):\n%s", diff)
			}
		})
	}
}

// TestCarriageReturns reads tables whose lines end as an old Mac ends them: they are the
// ones with line feeds, digest included.
func TestCarriageReturns(t *testing.T) {
	t.Parallel()
	mac := strings.ReplaceAll(table, "\n", "\r")
	for why, path := range map[string]string{
		"plain": file(t, "t.csv", mac), "gzip": file(t, "t.gz", gzipped(t, mac)), "without the last": file(t, "t.csv", mac[:len(mac)-1]),
		"UTF-16": file(t, "t.csv", "\xff\xfe"+strings.ReplaceAll(strings.Join(strings.Split(mac, ""), "\x00")+"\x00", "\x00\x00", "\x00")),
	} {
		tab, err := Open(context.Background(), path, Options{Columns: []string{"a", "b"}})
		if err != nil {
			t.Errorf("%s: %v", why, err)
			continue
		}
		defer tab.Close()
		if tab.Lines != 3 || tab.Digest != digestOf(table) && why != "without the last" {
			t.Errorf("%s: %d lines, digest %s; want 3, %s", why, tab.Lines, tab.Digest, digestOf(table))
		}
		if diff := cmp.Diff([]string{"2: 1|2", "3: 3|4"}, read(t, tab, Position{})); diff != "" {
			t.Errorf("%s: records (-want +got):\n%s", why, diff)
		}
		if diff := cmp.Diff([]string{"3: 3|4"}, read(t, tab, Position{Offset: 8, Line: 3})); diff != "" {
			t.Errorf("%s: records from the second on (-want +got):\n%s", why, diff)
		}
	}
	// The digest that a spec names is of the file's bytes.
	if _, err := Open(context.Background(), file(t, "t.csv", mac), Options{SHA256: digestOf(mac)}); err != nil {
		t.Error(err)
	}
}

func TestOpenRefuses(t *testing.T) {
	big := "a,b\n" + strings.Repeat("12345,67890\n", 20_000)
	z, g := zipped(t, "t.csv", big), gzipped(t, big)
	flipped := []byte(z)
	flipped[len(z)/2] ^= 0xff
	tests := []struct {
		why    string
		source string
		want   string // part of the error
	}{
		{"no such file", "/no/such/file.csv", "no such file"},
		{"a folder", t.TempDir(), "not a regular file"},
		{"no path", "file://", "no path"},
		{"a relative file URL", "file://data/t.csv", "three slashes"},
		{"an unknown scheme", "ftp://x/t.csv", `unknown scheme "ftp"`},
		{"an S3 address without key", "s3://bucket", "s3://bucket/key"},
		{"an empty file", file(t, "t.csv", ""), "empty"},
		{"only a byte order mark", file(t, "t.csv", "\ufeff"), "the table is empty"},
		{"a header and nothing else", file(t, "t.csv", "a,b\n"), "no record"},
		{"an empty table in gzip", file(t, "t.gz", gzipped(t, "")), "the table is empty"},
		{"binary garbage", file(t, "t.csv", "\x7fELF\x00\x01\x02\n\x00"), "not a CSV table in UTF-8: line 1: NUL byte"},
		{"no line end in sight", file(t, "t.csv", strings.Repeat("x", 1<<20)), "not a CSV table in UTF-8: line 1: longer than"},
		{"UTF-16 with a header and nothing else", file(t, "t.csv", "\xff\xfea\x00,\x00b\x00\n\x00"), "no record"},
		{"Latin-1 in the header", file(t, "t.csv", "a,b\xe9\n1,2\n"), `line 1: invalid UTF-8, it looks like windows-1252 ("bé"): source: {encoding: windows-1252} would read it`},
		{"a web page", file(t, "t.csv", "<!DOCTYPE html>\n<html>\n"), "like a web page"},
		{"semicolons", file(t, "t.csv", "a;b\n1;2\n"), `line 1: the header is one field with 1 semicolon: source: {separator: ";"} would read it`},
		{"tabs", file(t, "t.csv", "a\tb\n1\t2\n"), "source: {separator: tab} would read it"},
		{"semicolons, and commas in names", file(t, "t.csv", "a;b;\"c, d\"\n1;2;3\n"), "the header's fields are parted by semicolons: source: {separator: \";\"}"},
		{"no header", file(t, "t.csv", "1,2\n3,4\n"), "source: {header: none}"},
		{"another name", file(t, "t.csv", "a,B\n1,2\n"), `is "b" called "B" in the table? from: "B"`},
		{"unwanted columns", file(t, "t.csv", "a,b,,x\n1,2,3,4\n"), `source: {ignore: ["", "x"]} (ignore: all leaves`},
		{"a missing column", file(t, "t.csv", "a\n1\n"), `line 1: the header doesn't match the columns; missing: "b"`},
		{"an unknown column", file(t, "t.csv", "a,b,c\n1,2,3\n"), `unknown: "c"`},
		{"a column twice", file(t, "t.csv", "a,b,a\n1,2,3\n"), `duplicate: "a"`},
		{"all three", file(t, "t.csv", "a,a,x\n1,2,3\n"), `duplicate: "a"; missing: "b" (add it to the table, with empty cells where its value is not known, or take it out of the spec); unknown: "x"`},
		{"a header with an open quote", file(t, "t.csv", "a,\"b\n1,2\n"), "line 1: a quote is not closed"},
		{"a zip cut short", file(t, "t.zip", z[:len(z)/2]), "truncated or damaged"},
		{"a zip whose table is damaged", file(t, "t.zip", string(flipped)), "damaged"},
		{"a gzip cut short", file(t, "t.gz", g[:len(g)-9]), "truncated"},
		{"a gzip with a wrong checksum", file(t, "t.gz", g[:len(g)-8]+"xxxx"+g[len(g)-4:]), "checksum is wrong"},
		{"named .zip and none", file(t, "t.zip", table), "not a zip archive"},
		{"named .gz and none", file(t, "t.gz", table), "not gzip"},
		{"an .xz file", file(t, "t.csv.xz", "\xfd7zXZ\x00\x00\x04"), "it is an .xz file; a table is text"},
		{"a Parquet file", file(t, "t.csv", "PAR1\x15\x04"), "it is a Parquet file"},
		{"a Parquet file in a zip", file(t, "t.zip", zipped(t, "t.parquet", "PAR1\x15\x04")), "it is a Parquet file"},
		{"an Excel workbook", file(t, "t.xlsx", zipped(t, "[Content_Types].xml", "x", "xl/workbook.xml", "x")), "it is an Excel workbook (.xlsx); save the sheet as CSV UTF-8"},
		{"an Excel workbook named .csv", file(t, "t.csv", zipped(t, "xl/workbook.xml", "x")), "Excel workbook"},
		{"an old workbook", file(t, "t.xls", "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\x00"), "such as .xls"},
		{"JSON", file(t, "t.csv", "[\n {\"a\": 1, \"b\": 2}]"), "it is JSON"},
		{"JSON lines", file(t, "t.csv", "{\"a\": 1, \"b\": 2}\n"), "it is JSON"},
		{"XML", file(t, "t.csv", "<?xml version=\"1.0\"?><a/>"), "it is XML"},
		{"a PDF named .zip", file(t, "t.zip", "%PDF-1.7\n"), "named .zip, but not a zip archive: not a CSV table: it is a PDF"},
		{"a PDF", file(t, "t.csv", "%PDF-1.7\n"), "it is a PDF"},
		{"a tar archive in gzip", file(t, "t.tar.gz", gzipped(t, "t.csv"+strings.Repeat("\x00", 252)+"ustar")), "it is a tar archive"},
		{"a file of NULs", file(t, "t.csv", strings.Repeat("\x00", 1000)), "NUL bytes only"},
		{"UTF-16 that does not say so", file(t, "t.csv", "a\x00,\x00b\x00\n\x001\x00,\x002\x00\n\x00"), "source: {encoding: utf-16le} would read it"},
		{"an empty zip", file(t, "t.zip", zipped(t)), "no file"},
		{"a zip without CSV", file(t, "t.zip", zipped(t, "README", "x")), "no CSV file, only: README"},
		{"nothing but empty lines behind the header", file(t, "t.csv", "a,b\n\n \r\n\n"), "no record"},
		{"a zip in a zip", file(t, "t.zip", zipped(t, "t.zip", zipped(t, "t.csv", table))), "it is a zip archive within another file"},
		{"a gzip in a gzip", file(t, "t.csv.gz", gzipped(t, gzipped(t, table))), "it is a gzip file within another file"},
		{"a pickle", file(t, "t.csv", "\x80\x04\x95\x00\x00"), "it is a Python pickle"},
		{"UTF-32", file(t, "t.csv", "\xff\xfe\x00\x00a\x00\x00\x00"), "it is text in UTF-32"},
		{"fields parted by blanks", file(t, "t.txt", "\"a\" \"b\"\n\"1\" \"2\"\n"), "write the table with commas or tabs"},
		{"a zip with several", file(t, "t.zip", zipped(t, "u.csv", table, "v.csv", table)), "several CSV files, and source.member names none: u.csv, v.csv; name one: source: {member: \"u.csv\"}"},
		{"a zip with several that may be tables", file(t, "t.zip", zipped(t, "adult.data", table, "adult.test", table)), "several that may be tables: adult.data, adult.test; name one: source: {member: \"adult.data\"}"},
		{"zstd cut short", file(t, "t.csv.zst", zstandard(t, big)[:40]), "truncated"},
		{"bzip2 cut short", file(t, "t.csv.bz2", bzipped(t)[:30]), "truncated"},
	}
	for _, tt := range tests {
		t.Run(tt.why, func(t *testing.T) {
			_, err := Open(context.Background(), tt.source, Options{Columns: []string{"a", "b"}})
			var bad *Error
			if !errors.As(err, &bad) {
				t.Fatalf("got %v, want a *source.Error", err)
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %q, want it to say %q", err, tt.want)
			}
		})
	}
	t.Run("a member that the zip does not have", func(t *testing.T) {
		_, err := Open(context.Background(), file(t, "t.zip", zipped(t, "u.csv", table)), Options{Columns: []string{"a", "b"}, Member: "t.csv"})
		if err == nil || !strings.Contains(err.Error(), "no t.csv, only: u.csv") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("another digest than expected", func(t *testing.T) {
		_, err := Open(context.Background(), file(t, "t.csv", table), Options{Columns: []string{"a", "b"}, SHA256: digestOf("other")})
		if err == nil || !strings.Contains(err.Error(), "SHA-256 is "+digestOf(table)) {
			t.Errorf("got %v", err)
		}
	})
}

func TestUnchanged(t *testing.T) {
	path := file(t, "t.csv", table)
	tab, err := Open(context.Background(), path, Options{Columns: []string{"a", "b"}})
	if err != nil {
		t.Fatal(err)
	}
	defer tab.Close()
	if err := tab.Unchanged(); err != nil {
		t.Fatalf("nobody wrote: %v", err)
	}
	if err := os.WriteFile(path, []byte(table+"5,6\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := tab.Unchanged(); err == nil {
		t.Error("the file has grown, and Unchanged says nothing")
	}
}

func TestRedact(t *testing.T) {
	tests := []struct{ source, want string }{
		{"/data/t.csv", "/data/t.csv"},
		{"s3://bucket/t.csv", "s3://bucket/t.csv"},
		{"https://user:secret@host/t.csv?X-Amz-Signature=secret#secret", "https://host/t.csv"},
		{"https://user:secret@host:bad/t.csv", "https://(not a URL)"},
	}
	for _, tt := range tests {
		if got := Redact(tt.source); got != tt.want {
			t.Errorf("Redact(%q) = %q, want %q", tt.source, got, tt.want)
		}
	}
}

// flaky serves a table and breaks off after some bytes of each answer.
type flaky struct {
	mu      sync.Mutex
	text    string
	most    int            // bytes an answer; 0: all
	ranges  bool           // whether it goes on in the middle
	log     []string       // of the Range headers
	instead map[int]string // texts that take the table's place from the nth request on
}

func (f *flaky) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.log = append(f.log, r.Header.Get("Range"))
	if s, ok := f.instead[len(f.log)]; ok {
		f.text = s
	}
	tag := fmt.Sprintf("%q", digestOf(f.text)[:8])
	w.Header().Set("Last-Modified", "Mon, 02 Jan 2006 15:04:05 GMT")
	if f.ranges {
		w.Header().Set("ETag", tag)
	} else {
		w.Header().Del("Last-Modified")
	}
	rest, status, from := f.text, http.StatusOK, 0
	if m := r.Header.Get("If-Match"); m != "" && m != tag {
		w.WriteHeader(http.StatusPreconditionFailed)
		return
	}
	fits := r.Header.Get("If-Range") == tag || r.Header.Get("If-Match") == tag
	if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from); err == nil && f.ranges && fits {
		rest, status = f.text[from:], http.StatusPartialContent
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(f.text)-1, len(f.text)))
	}
	w.Header().Set("Content-Length", fmt.Sprint(len(rest)))
	w.WriteHeader(status)
	if f.most > 0 && len(rest) > f.most {
		rest = rest[:f.most]
	}
	w.Write([]byte(rest))
}

func TestDownload(t *testing.T) {
	long := "a,b\n" + strings.Repeat("1,2\n", 1000)
	other := "a,b\n" + strings.Repeat("3,4\n", 1000)
	tests := []struct {
		why    string
		server *flaky
		want   string   // text, or part of the error where it has none
		ranges []string // asked for
	}{
		{"in one go", &flaky{text: long}, long, []string{""}},
		{"goes on where it broke off", &flaky{text: long, most: 1500, ranges: true}, long, []string{"", "bytes=1500-", "bytes=3000-"}},
		{"starts anew where the server can't go on", &flaky{text: long, most: 1500}, "tried 4 times", []string{"", "", "", ""}},
		{"starts anew when the content is another", &flaky{text: long, most: 2500, ranges: true, instead: map[int]string{2: other}}, other, []string{"", "bytes=2500-", "bytes=2500-"}},
	}
	for _, scheme := range []string{"http", "s3"} {
		for _, tt := range tests {
			t.Run(scheme+" "+tt.why, func(t *testing.T) {
				if scheme == "s3" && !tt.server.ranges && tt.server.most > 0 {
					t.Skip("S3 always has ranges")
				}
				server := &flaky{text: tt.server.text, most: tt.server.most, ranges: tt.server.ranges || scheme == "s3", instead: tt.server.instead}
				srv := httptest.NewServer(server)
				defer srv.Close()
				address := srv.URL + "/bucket/t.csv"
				opts := Options{Columns: []string{"a", "b"}, Tries: 4, Wait: time.Millisecond, TempDir: t.TempDir()}
				if scheme == "s3" {
					address = "s3://bucket/t.csv"
					opts.S3 = S3{Endpoint: srv.URL, AccessKey: "key", SecretKey: "secret-key", Region: "us-east-1"}
				}
				tab, err := Open(context.Background(), address, opts)
				if !strings.HasPrefix(tt.want, "a,b") {
					var bad *Error
					if err == nil || !strings.Contains(err.Error(), tt.want) || errors.As(err, &bad) {
						t.Errorf("got %v, want a passing fault that says %q", err, tt.want)
					}
				} else if err != nil {
					t.Fatal(err)
				} else {
					defer tab.Close()
					if tab.Digest != digestOf(tt.want) {
						t.Errorf("another table came than was sent")
					}
				}
				if scheme == "http" {
					if diff := cmp.Diff(tt.ranges, server.log); diff != "" {
						t.Errorf("ranges asked for (-want +got):\n%s", diff)
					}
				}
				if left, _ := os.ReadDir(opts.TempDir); len(left) > 0 {
					t.Errorf("the copy can be seen: %v", left)
				}
			})
		}
	}
}

func TestDownloadRefuses(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("/loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/loop", http.StatusFound) })
	mux.HandleFunc("/once", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/table", http.StatusFound) })
	mux.HandleFunc("/table", func(w http.ResponseWriter, r *http.Request) { w.Write([]byte(table)) })
	mux.HandleFunc("/big", func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush() // no Content-Length
		w.Write([]byte(strings.Repeat("x", 2000)))
	})
	mux.HandleFunc("/silent", func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	mux.HandleFunc("/down", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	srv := httptest.NewServer(mux)
	defer srv.Close()
	tests := []struct {
		why, path, want string
		final           bool // a *source.Error
	}{
		{"one redirect is followed", "/once", "", false},
		{"redirects without end", "/loop", "more than 5 redirects", true},
		{"nothing there, and the secret stays one", "/nothing?token=hidden", "404", true},
		{"more than the limit", "/big", "more than the limit of 1000 bytes", true},
		{"a server that falls silent", "/silent", "tried 2 times): no data for 50ms", false},
		{"a server that is down", "/down", "tried 2 times): the server responded 503", false},
	}
	for _, tt := range tests {
		t.Run(tt.why, func(t *testing.T) {
			tab, err := Open(context.Background(), srv.URL+tt.path, Options{
				Columns: []string{"a", "b"}, Tries: 2, Wait: time.Millisecond, Idle: 50 * time.Millisecond, MaxBytes: 1000,
			})
			if tt.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				tab.Close()
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want it to say %q", err, tt.want)
			}
			var bad *Error
			if errors.As(err, &bad) != tt.final {
				t.Errorf("got %T, want a *source.Error: %v", err, tt.final)
			}
			if strings.Contains(err.Error(), "hidden") {
				t.Errorf("the error holds the address's query: %v", err)
			}
		})
	}
	t.Run("the context ends it", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		if _, err := Open(ctx, srv.URL+"/silent", Options{Columns: []string{"a", "b"}}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}

// TestS3 reads from a real server, whose URL with key and secret is in
// MLOPS_TEST_S3, an object that it puts there first.
func TestS3(t *testing.T) {
	address := os.Getenv("MLOPS_TEST_S3")
	if address == "" {
		t.Skip("SKIPPED, NOT PASSED: MLOPS_TEST_S3 names no server")
	}
	server, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	secret, _ := server.User.Password()
	s3 := S3{Endpoint: "http://" + server.Host, AccessKey: server.User.Username(), SecretKey: secret}
	bucket := fmt.Sprintf("test-%d", time.Now().UnixNano())
	client, err := minio.New(server.Host, &minio.Options{Creds: credentials.NewStaticV4(s3.AccessKey, secret, "")})
	if err != nil {
		t.Fatal(err)
	}
	if err := client.MakeBucket(t.Context(), bucket, minio.MakeBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.PutObject(t.Context(), bucket, "t.csv", strings.NewReader(table), int64(len(table)), minio.PutObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	object := "s3://" + bucket + "/t.csv"
	tab, err := Open(context.Background(), object, Options{Columns: []string{"a", "b"}, S3: s3})
	if err != nil {
		t.Fatal(err)
	}
	defer tab.Close()
	if tab.Digest != digestOf(table) {
		t.Errorf("got digest %s, want %s", tab.Digest, digestOf(table))
	}
	for _, bad := range []string{object + "-not", "s3://no-such-bucket/t.csv"} {
		_, err := Open(context.Background(), bad, Options{Columns: []string{"a", "b"}, S3: s3, Wait: time.Millisecond})
		var e *Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), "404") {
			t.Errorf("%s: got %v, want a *source.Error that says 404", bad, err)
		}
	}
	s3.SecretKey = "wrong-secret"
	if _, err := Open(context.Background(), object, Options{Columns: []string{"a", "b"}, S3: s3, Wait: time.Millisecond}); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("a wrong secret: got %v, want 403", err)
	}
}
