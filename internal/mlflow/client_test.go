package mlflow

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Answers of a real MLflow 3.17.2, as it gave them.
const (
	noExperiment = `{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "Could not find experiment with name 'nope'", "sqlstate": "KAM00", "error_class": "RESOURCE_NOT_FOUND"}`
	noAlias      = `{"error_code": "INVALID_PARAMETER_VALUE", "message": "Registered model alias production not found.", "sqlstate": "KAM00", "error_class": "INVALID_PARAMETER_VALUE"}`
	modelExists  = `{"error_code": "RESOURCE_ALREADY_EXISTS", "message": "Registered Model (name=m1) already exists.", "sqlstate": "KAM00", "error_class": "RESOURCE_ALREADY_EXISTS"}`
	isDirectory  = `{"detail":"Artifact path refers to a directory, not a file: '1/model'"}`
	noRoute      = "<!doctype html>\n<html lang=en>\n<title>404 Not Found</title>\n<h1>Not Found</h1>\n<p>The requested URL was not found on the server.</p>\n"
	databaseGone = `{"error_code": "TEMPORARILY_UNAVAILABLE", "message": "(psycopg2.OperationalError) connection to server failed", "sqlstate": "KAM00"}`
	storeGone    = "Internal Server Error"
	notInS3      = `{"error_code":"INTERNAL_ERROR","message":"The following failures occurred while downloading one or more artifacts from s3://mlflow/a:\n##### File 1/a/none.txt #####\nAn error occurred (404) when calling the HeadObject operation: Not Found","sqlstate":"XXM00"}`
)

// quick is for tests of repeating: no wait worth the name.
var quick = Options{Wait: time.Millisecond, Timeout: 5 * time.Second}

func newClient(t *testing.T, url string, opts Options) *Client {
	t.Helper()
	c, err := New(url, opts)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// serve answers the calls one after the other, the last one again and again.
func serve(t *testing.T, answers ...http.HandlerFunc) (*Client, *atomic.Int32) {
	t.Helper()
	var calls atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := int(calls.Add(1))
		answers[min(n, len(answers))-1](w, r)
	}))
	t.Cleanup(s.Close)
	return newClient(t, s.URL, quick), &calls
}

func reply(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if strings.HasPrefix(body, "{") {
			w.Header().Set("Content-Type", "application/json")
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

// cut breaks the connection before an answer.
func cut(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func TestErrors(t *testing.T) {
	experiment := func(c *Client) error { _, err := c.ExperimentByName(t.Context(), "nope"); return err }
	alias := func(c *Client) error { _, err := c.GetAlias(t.Context(), "m1", "production"); return err }
	version := func(c *Client) error { _, err := c.GetVersion(t.Context(), "m1", 1); return err }
	read := func(c *Client) error { _, err := c.readArtifact(t.Context(), "1/model", 10); return err }
	sentinels := []error{ErrNotFound, ErrExists, ErrUnavailable, ErrTooLarge}
	tests := []struct {
		reason string
		status int
		body   string
		call   func(*Client) error
		is     error // the only sentinel that it is
		want   string
	}{
		{"a missing thing is 404", 404, noExperiment, experiment, ErrNotFound,
			"mlflow: GET /api/2.0/mlflow/experiments/get-by-name: 404 RESOURCE_DOES_NOT_EXIST: Could not find experiment with name 'nope'"},
		{"a missing alias is 400", 400, noAlias, alias, ErrNotFound,
			"mlflow: GET /api/2.0/mlflow/registered-models/alias: 400 INVALID_PARAMETER_VALUE: Registered model alias production not found."},
		{"that code means not found for an alias only", 400, noAlias, version, nil, "400 INVALID_PARAMETER_VALUE"},
		{"a taken name", 400, modelExists, func(c *Client) error { return c.post(t.Context(), "registered-models/create", nil, nil) },
			ErrExists, "400 RESOURCE_ALREADY_EXISTS: Registered Model (name=m1) already exists."},
		{"404 of an address without MLflow is no missing thing", 404, noRoute, experiment, nil, "is the base URL right, with its path prefix?"},
		{"the artifact routes have errors of another form", 400, isDirectory, read, nil,
			"mlflow: GET /api/2.0/mlflow-artifacts/artifacts/1/model: 400: Artifact path refers to a directory"},
		{"200 with a page is not MLflow", 200, "<html>hello</html>", experiment, nil, "response is not MLflow's JSON"},
		{"an artifact over the limit", 200, "12345678901", read, ErrTooLarge, "artifact is larger than the limit of 10 bytes"},
		{"the database went away", 503, databaseGone, experiment, ErrUnavailable, "503 TEMPORARILY_UNAVAILABLE: (psycopg2.OperationalError) connection to server failed (tried 5 times)"},
		{"a proxy's page is quoted in short", 502, "<html>\n" + strings.Repeat("Bad Gateway ", 100), experiment, ErrUnavailable, "502: <html> Bad Gateway Bad"},
		{"a wrong password", 401, "You are not authenticated.", experiment, nil, "401: You are not authenticated."},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			c, _ := serve(t, reply(test.status, test.body))
			err := test.call(c)
			var e *Error
			if !errors.As(err, &e) || e.Status != test.status || e.Method == "" || e.Path == "" {
				t.Fatalf("got %#v, want an *Error with method, path and status %d", err, test.status)
			}
			for _, s := range sentinels {
				if errors.Is(err, s) != (s == test.is) {
					t.Errorf("errors.Is(err, %q) = %v", s, s != test.is)
				}
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %q, want it to say %q", err, test.want)
			}
			if len(err.Error()) > 600 {
				t.Errorf("message has %d bytes", len(err.Error()))
			}
		})
	}
}

func TestRepeats(t *testing.T) {
	create := func(c *Client) error { _, err := c.CreateRun(t.Context(), NewRun{ExperimentID: "1"}); return err }
	register := func(c *Client) error { _, err := c.CreateVersion(t.Context(), NewVersion{Name: "m"}); return err }
	batch := func(c *Client) error {
		return c.LogBatch(t.Context(), "r", Batch{Tags: map[string]string{"a": "b"}})
	}
	upload := func(c *Client) error { return c.UploadArtifact(t.Context(), "a/b", strings.NewReader("body")) }
	read := func(c *Client) error { _, err := c.readArtifact(t.Context(), "a/b", 100); return err }
	good := reply(200, `{}`)
	short := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		io.WriteString(w, "half")
	}
	tests := []struct {
		reason  string
		answers []http.HandlerFunc
		call    func(*Client) error
		calls   int32
		ok      bool
	}{
		{"503 twice, then good", []http.HandlerFunc{reply(503, databaseGone), reply(503, ""), good}, batch, 3, true},
		{"502, 504 and 429 pass too", []http.HandlerFunc{reply(502, ""), reply(504, ""), reply(429, ""), good}, batch, 4, true},
		{"five tries at most", []http.HandlerFunc{reply(503, "")}, batch, 5, false},
		{"a broken connection", []http.HandlerFunc{cut, good}, batch, 2, true},
		{"500 is a bug, not a pause", []http.HandlerFunc{reply(500, "")}, batch, 1, false},
		{"a store that is away, seen by an upload", []http.HandlerFunc{reply(500, storeGone), good}, upload, 2, true},
		{"a store that is away, seen by a download", []http.HandlerFunc{reply(500, storeGone), good}, read, 2, true},
		{"what MLflow objects to stays so", []http.HandlerFunc{reply(500, notInS3)}, upload, 1, false},
		{"a wrong call stays wrong", []http.HandlerFunc{reply(400, noAlias)}, batch, 1, false},
		{"an artifact that ends early", []http.HandlerFunc{short, good}, read, 2, true},
		{"a run may have been made before 503", []http.HandlerFunc{reply(503, databaseGone)}, create, 1, false},
		{"a run may have been made before the connection broke", []http.HandlerFunc{cut}, create, 1, false},
		{"429 made no run", []http.HandlerFunc{reply(429, ""), reply(200, `{"run":{"info":{"run_id":"x"}}}`)}, create, 2, true},
		{"a version may have been made", []http.HandlerFunc{reply(502, "")}, register, 1, false},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			c, calls := serve(t, test.answers...)
			err := test.call(c)
			if (err == nil) != test.ok {
				t.Errorf("got error %v, want success %v", err, test.ok)
			}
			if calls.Load() != test.calls {
				t.Errorf("got %d calls, want %d", calls.Load(), test.calls)
			}
		})
	}
}

// A server that is not there did nothing: even CreateRun is repeated.
func TestRefused(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	c := newClient(t, "http://"+l.Addr().String(), Options{Wait: time.Millisecond, Tries: 3})
	_, err = c.CreateRun(t.Context(), NewRun{})
	var e *Error
	if !errors.As(err, &e) || e.Tries != 3 || !errors.Is(err, ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable after 3 tries", err)
	}
	if want := "connection refused (tried 3 times)"; err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("got %q, want it to end with %q", err, want)
	}
}

// Every try of an upload sends the whole body, with its length.
func TestUploadRewinds(t *testing.T) {
	body := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	var got []byte
	halfway := func(w http.ResponseWriter, r *http.Request) {
		io.CopyN(io.Discard, r.Body, 1000)
		panic(http.ErrAbortHandler)
	}
	c, calls := serve(t, halfway, halfway, func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != int64(len(body)) {
			t.Errorf("Content-Length is %d, want %d", r.ContentLength, len(body))
		}
		got, _ = io.ReadAll(r.Body)
	})
	if err := c.UploadArtifact(t.Context(), "a/b", bytes.NewReader(body)); err != nil {
		t.Fatal(err)
	}
	if calls.Load() != 3 || !bytes.Equal(got, body) {
		t.Errorf("after %d calls the server has %d bytes, want %d", calls.Load(), len(got), len(body))
	}
}

type brokenReader struct{ *strings.Reader }

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("disk is broken") }

func TestUploadOfBrokenFile(t *testing.T) {
	c, calls := serve(t, reply(200, ""))
	err := c.UploadArtifact(t.Context(), "a/b", brokenReader{strings.NewReader("body")})
	if err == nil || !strings.Contains(err.Error(), "reading the body: disk is broken") || errors.Is(err, ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	if calls.Load() > 1 {
		t.Errorf("got %d calls for a body that can't be read", calls.Load())
	}
}

func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c, calls := serve(t, func(w http.ResponseWriter, r *http.Request) {
		cancel()
		reply(503, databaseGone)(w, r)
	})
	_, err := c.GetRun(ctx, "x")
	if !errors.Is(err, context.Canceled) || calls.Load() != 1 {
		t.Errorf("got %v after %d calls, want context.Canceled after one", err, calls.Load())
	}

	// In the wait between two tries, the error tells of the server too.
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	c, _ = serve(t, reply(503, databaseGone))
	c.opts.Wait = 20 * time.Second
	_, err = c.GetRun(ctx, "x")
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "TEMPORARILY_UNAVAILABLE") {
		t.Errorf("got %v", err)
	}
}

// Once Patience is used up no further try is made, though tries are left.
func TestPatience(t *testing.T) {
	c, calls := serve(t, reply(503, ""))
	c.opts.Wait, c.opts.Patience = time.Hour, time.Minute
	if _, err := c.GetRun(t.Context(), "x"); !errors.Is(err, ErrUnavailable) || calls.Load() != 1 {
		t.Errorf("got %v after %d calls", err, calls.Load())
	}
	// The server's own wish counts.
	c, calls = serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "600")
		w.WriteHeader(429)
	})
	if _, err := c.GetRun(t.Context(), "x"); !errors.Is(err, ErrUnavailable) || calls.Load() != 1 {
		t.Errorf("got %v after %d calls", err, calls.Load())
	}
}

// A server that says nothing is left; one that sends slowly is not.
func TestTimeout(t *testing.T) {
	silent := make(chan struct{})
	c, calls := serve(t, func(w http.ResponseWriter, r *http.Request) { <-silent })
	t.Cleanup(func() { close(silent) })
	c.opts.Timeout, c.opts.Tries = 30*time.Millisecond, 2
	_, err := c.GetRun(t.Context(), "x")
	if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "no response within 30ms") || calls.Load() != 2 {
		t.Errorf("got %v after %d calls", err, calls.Load())
	}

	c, _ = serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "10")
		for range 10 {
			io.WriteString(w, "x")
			w.(http.Flusher).Flush()
			time.Sleep(100 * time.Millisecond)
		}
	})
	c.opts.Timeout, c.opts.Tries = 500*time.Millisecond, 1
	got, err := c.readArtifact(t.Context(), "a/b", 100)
	if err != nil || len(got) != 10 {
		t.Errorf("got %d bytes and %v of a slow artifact", len(got), err)
	}
}

func TestNew(t *testing.T) {
	tests := []struct {
		reason, url, err string
	}{
		{"plain", "http://localhost:5000", ""},
		{"prefix and slash", "https://host/ml/flow/", ""},
		{"no scheme", "localhost:5000", "want http:// or https://"},
		{"a database", "sqlite:///x.db", "want http:// or https://"},
		{"empty", "", "want http:// or https://"},
		{"no host", "http:///x", "want a host"},
		{"the page's address", "http://host:5000/#/experiments", "want a host, and neither query nor fragment"},
		{"password stays unsaid", "http://me:secret@host:port", "invalid port"},
	}
	for _, test := range tests {
		_, err := New(test.url, Options{})
		if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("%s: New(%q) = %v, want %q", test.reason, test.url, err, test.err)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error holds the password: %v", test.reason, err)
		}
	}
}

func TestRequest(t *testing.T) {
	var got *http.Request
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		io.WriteString(w, "{}")
	}))
	defer s.Close()
	url := strings.Replace(s.URL, "http://", "http://me:se%2Fcret@", 1) + "/ml/"
	c := newClient(t, url, Options{UserAgent: "train-model"})
	if _, err := c.readArtifact(t.Context(), "1/a b/ä?.txt", 10); err != nil {
		t.Fatal(err)
	}
	user, password, _ := got.BasicAuth()
	have := []string{got.RequestURI, user, password, got.UserAgent()}
	want := []string{"/ml/api/2.0/mlflow-artifacts/artifacts/1/a%20b/%C3%A4%3F.txt", "me", "se/cret", "train-model"}
	if diff := cmp.Diff(want, have); diff != "" {
		t.Error(diff)
	}
}

// A redirect is not followed: it would turn a POST into a GET.
func TestRedirect(t *testing.T) {
	c, calls := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://elsewhere/", http.StatusMovedPermanently)
	})
	err := c.EnsureModel(t.Context(), "m", "")
	if err == nil || !strings.Contains(err.Error(), `301: the server redirects to "https://elsewhere/"`) || calls.Load() != 1 {
		t.Errorf("got %v after %d calls", err, calls.Load())
	}
}

// With S3 behind the proxy, a missing artifact is a 500; the list tells.
func TestMissingInS3(t *testing.T) {
	for name, want := range map[string]bool{"other.txt": true, "none.txt": false} {
		list := fmt.Sprintf(`{"files":[{"path":%q,"is_dir":false,"file_size":3}]}`, name)
		c, _ := serve(t, reply(500, notInS3), reply(200, list))
		_, err := c.readArtifact(t.Context(), "1/a/none.txt", 10)
		if err == nil || errors.Is(err, ErrNotFound) != want {
			t.Errorf("the folder has %s: got %v, want ErrNotFound %v", name, err, want)
		}
	}
}

// Nor does it say the length there, and ends well where it failed.
func TestCutShortInS3(t *testing.T) {
	body := func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		io.WriteString(w, "abc")
	}
	for list, want := range map[string]string{
		`{"path":"b","is_dir":false,"file_size":3}`: "",
		`{"path":"b","is_dir":false,"file_size":9}`: "artifact a/b: got 3 of 9 bytes",
		`{"path":"b","is_dir":true}`:                "artifact a/b is not a file",
	} {
		c, _ := serve(t, body, reply(200, `{"files":[`+list+`]}`))
		got, err := c.readArtifact(t.Context(), "a/b", 10)
		if want == "" && (err != nil || string(got) != "abc") || want != "" && (err == nil || err.Error() != want) {
			t.Errorf("%s: got %q, %v, want error %q", list, got, err, want)
		}
	}
}

func TestVersionNumber(t *testing.T) {
	c, _ := serve(t, reply(200, `{"model_version":{"name":"m","version":"one"}}`))
	if _, err := c.GetVersion(t.Context(), "m", 1); err == nil || !strings.Contains(err.Error(), `version number "one"`) {
		t.Errorf("got %v", err)
	}
}
