// Package mlflow is a client of the part of MLflow 3's REST API that training,
// promotion and serving use: experiments, runs, artifacts through the server's
// proxy, registered models, versions and their aliases.
//
// A call is retried within bounds while the server is unreachable or overloaded,
// provided that a retry does no harm. The calls where it could (CreateRun,
// CreateVersion) are retried only if the first attempt certainly did nothing.
package mlflow

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"mlops/internal/retry"
)

// Options of a Client. The zero value is usable.
type Options struct {
	// Username and Password for HTTP basic authentication. Default: those of the
	// base URL.
	Username, Password string

	// Token is sent as a bearer token instead.
	Token string

	// Timeout bounds one attempt of a call; for an artifact's transfer it bounds
	// the time without progress. Default 30 s.
	Timeout time.Duration

	// Tries is the maximum number of attempts. Default 5; 1 means no retries.
	Tries int

	// Wait is the pause before the second attempt; it triples each time and is
	// jittered by a quarter. Default 500 ms.
	Wait time.Duration

	// Patience bounds a call with its retries: no attempt starts later than this
	// after the first. Default 30 s.
	Patience time.Duration

	// UserAgent names the calling program. Default "mlops".
	UserAgent string

	// Transport makes the HTTP calls. Default: Go's own, which closes an idle
	// connection before MLflow does.
	Transport http.RoundTripper
}

// Client calls one MLflow server. It can be used by several goroutines.
type Client struct {
	base *url.URL // without user, without slash at the end
	opts Options
	http *http.Client
}

// New returns a client of the server at baseURL: http or https, optionally with
// user and password and with a path prefix. It makes no call.
func New(baseURL string, opts Options) (*Client, error) {
	u, err := url.Parse(baseURL)
	if err != nil {
		// url.Error quotes the whole address, which may hold a password.
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return nil, fmt.Errorf("MLflow's base URL: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("MLflow's base URL %q: want http:// or https://", u.Redacted())
	}
	if u.Hostname() == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("MLflow's base URL %q: want a host, and neither query nor fragment", u.Redacted())
	}
	if u.User != nil && opts.Username == "" && opts.Password == "" && opts.Token == "" {
		opts.Username = u.User.Username()
		opts.Password, _ = u.User.Password()
	}
	u.User = nil
	u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), strings.TrimRight(u.RawPath, "/")
	if opts.Timeout <= 0 {
		opts.Timeout = 30 * time.Second
	}
	if opts.Tries <= 0 {
		opts.Tries = 5
	}
	if opts.Wait <= 0 {
		opts.Wait = 500 * time.Millisecond
	}
	if opts.Patience <= 0 {
		opts.Patience = 30 * time.Second
	}
	if opts.UserAgent == "" {
		opts.UserAgent = "mlops"
	}
	if opts.Transport == nil {
		// uvicorn closes a connection that was idle for 5 s. A call sent at that
		// moment fails, and CreateRun could not be retried.
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.IdleConnTimeout = 3 * time.Second
		opts.Transport = t
	}
	return &Client{
		base: u,
		opts: opts,
		http: &http.Client{
			Transport: opts.Transport,
			// A redirected POST would become a GET, and the password might go
			// to another host: a redirect is reported instead.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

const (
	api          = "api/2.0/mlflow/"
	maxAnswer    = 64 << 20 // of an API call; the largest are pages of a search
	maxComplaint = 64 << 10 // of an error's body
)

// request is one call of the API.
type request struct {
	method string
	path   string // below the base, each segment escaped
	query  url.Values
	in     any // body, as JSON; nil: none

	// once is set for a call that is not idempotent: it is retried only if the
	// first attempt certainly did nothing.
	once bool

	// upload is the body of an artifact, instead of in.
	upload io.ReadSeeker

	// read takes the body of a successful response. Its own errors are not
	// retried.
	read func(*answer) error
}

// get, post and remove are calls with JSON both ways; out may be nil. All are
// idempotent.
func (c *Client) get(ctx context.Context, path string, query url.Values, out any) error {
	return c.do(ctx, request{method: http.MethodGet, path: api + path, query: query, read: decoder(out)})
}

func (c *Client) post(ctx context.Context, path string, in, out any) error {
	return c.do(ctx, request{method: http.MethodPost, path: api + path, in: in, read: decoder(out)})
}

func (c *Client) remove(ctx context.Context, path string, in any) error {
	return c.do(ctx, request{method: http.MethodDelete, path: api + path, in: in})
}

func decoder(out any) func(*answer) error {
	if out == nil {
		return nil
	}
	return func(r *answer) error {
		text, err := io.ReadAll(io.LimitReader(r, maxAnswer+1))
		if err != nil {
			return err
		}
		if len(text) > maxAnswer {
			return fmt.Errorf("response is longer than %d bytes", maxAnswer)
		}
		if err := json.Unmarshal(text, out); err != nil {
			return fmt.Errorf("response is not MLflow's JSON: %w", err)
		}
		return nil
	}
}

// do makes a call, with the retries of Options.
func (c *Client) do(ctx context.Context, r request) error {
	var payload []byte
	if r.in != nil {
		var err error
		if payload, err = json.Marshal(r.in); err != nil {
			return fmt.Errorf("encoding the body of %s %s: %w", r.method, r.path, err)
		}
	}
	target := *c.base
	escaped := c.base.EscapedPath() + "/" + r.path
	var err error
	if target.Path, err = url.PathUnescape(escaped); err != nil {
		return fmt.Errorf("mlflow: path %q: %w", escaped, err)
	}
	target.RawPath, target.RawQuery = escaped, r.query.Encode()

	var last *Error
	policy := retry.Policy{
		Tries: c.opts.Tries, Patience: c.opts.Patience, Wait: c.opts.Wait, Factor: 3, MaxWait: c.opts.Patience, Jitter: 0.25,
	}
	tries := 0
	err = retry.Do(ctx, policy, func(ctx context.Context) error {
		var body io.ReadSeeker
		switch {
		case r.upload != nil:
			body = r.upload
		case payload != nil:
			body = bytes.NewReader(payload)
		}
		var after time.Duration
		if last, after = c.try(ctx, r, &target, body); last == nil {
			return nil
		}
		tries++
		last.Method, last.Path, last.Tries = r.method, target.Path, tries
		if !repeatable(last, r) {
			return retry.Permanent(last)
		}
		return retry.Later(last, after)
	})
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return last.stopped(ctx)
	}
	return last
}

// try makes one attempt. The duration is how long the server wants the client to
// wait.
func (c *Client) try(ctx context.Context, r request, target *url.URL, body io.ReadSeeker) (*Error, time.Duration) {
	w := newWatch(ctx, c.opts.Timeout)
	defer w.stop()

	var sent *upload
	req, err := http.NewRequestWithContext(w.ctx, r.method, target.String(), nil)
	if err != nil {
		return &Error{Err: localError{err}}, 0
	}
	if body != nil {
		if sent, err = newUpload(body); err != nil {
			return &Error{Err: localError{fmt.Errorf("rewinding the body: %w", err)}}, 0
		}
		// The transport may still read when Do has returned.
		defer sent.Close()
		if r.upload != nil {
			sent.moved = w.moved
		}
		// The length is always sent: MLflow's own WSGI route, which answers
		// below a static prefix, stores a chunked body as an empty file.
		req.ContentLength = sent.size
		req.Body = sent
		if sent.size == 0 {
			req.Body = http.NoBody
		}
	}
	switch {
	case r.upload != nil:
		req.Header.Set("Content-Type", "application/octet-stream")
	case body != nil:
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("User-Agent", c.opts.UserAgent)
	if c.opts.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.opts.Token)
	} else if c.opts.Username != "" || c.opts.Password != "" {
		req.SetBasicAuth(c.opts.Username, c.opts.Password)
	}

	resp, err := c.http.Do(req)
	if err != nil {
		if sent != nil && sent.failure() != nil {
			return &Error{Err: localError{fmt.Errorf("reading the body: %w", sent.failure())}}, 0
		}
		return &Error{Err: w.explain(err)}, 0
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return complaint(resp), retryAfter(resp)
	}
	if r.read == nil {
		// A connection whose response is read to the end can be reused.
		io.Copy(io.Discard, io.LimitReader(resp.Body, maxComplaint))
		return nil, 0
	}
	got := &answer{r: resp.Body, length: resp.ContentLength}
	if r.upload == nil && r.in == nil {
		got.moved = w.moved
	}
	if err := r.read(got); err != nil {
		if got.err != nil {
			return &Error{Err: fmt.Errorf("reading the response: %w", w.explain(got.err))}, 0
		}
		return &Error{Status: resp.StatusCode, Err: localError{err}}, 0
	}
	return nil, 0
}

// complaint reads a response other than 200.
func complaint(resp *http.Response) *Error {
	e := &Error{Status: resp.StatusCode}
	text, _ := io.ReadAll(io.LimitReader(resp.Body, maxComplaint))
	var m struct {
		Code    string `json:"error_code"`
		Message string `json:"message"`
		Detail  any    `json:"detail"` // FastAPI's own errors, of the artifact routes
	}
	switch {
	case resp.StatusCode/100 == 3:
		e.Message = fmt.Sprintf("the server redirects to %q; use that as the base URL", resp.Header.Get("Location"))
	case json.Unmarshal(text, &m) == nil && (m.Code != "" || m.Message != "" || m.Detail != nil):
		e.Code, e.Message = m.Code, m.Message
		if m.Detail != nil {
			e.Message = fmt.Sprint(m.Detail)
		}
	case resp.StatusCode == http.StatusNotFound:
		e.Message = "this address is not MLflow's API (is the base URL right, with its path prefix?)"
	default:
		s := strings.Join(strings.Fields(string(text)), " ")
		if len(s) > 300 {
			s = strings.ToValidUTF8(s[:300], "") + "..."
		}
		e.Message = s
	}
	return e
}
