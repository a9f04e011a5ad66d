package mlflow

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"
)

// repeatable reports whether a call that failed like this may be retried.
func repeatable(e *Error, r request) bool {
	if e.Status != 0 {
		if r.once {
			// A proxy's 502 or MLflow's 503 (its database went away) may arrive
			// after the work was done.
			return e.Status == http.StatusTooManyRequests
		}
		return e.passing()
	}
	if local(e.Err) {
		return false
	}
	// A call that could not connect did nothing.
	var op *net.OpError
	if errors.As(e.Err, &op) && op.Op == "dial" {
		return true
	}
	return !r.once
}

// localError is a failure on our side: the same call would fail again.
type localError struct{ error }

func (e localError) Unwrap() error { return e.error }

func local(err error) bool {
	var l localError
	var cert *tls.CertificateVerificationError
	return errors.As(err, &l) || errors.As(err, &cert) || errors.Is(err, context.Canceled)
}

// retryAfter reads the header Retry-After if it is in seconds.
func retryAfter(resp *http.Response) time.Duration {
	s, err := strconv.Atoi(resp.Header.Get("Retry-After"))
	if err != nil || s < 0 || s > 3600 {
		return 0
	}
	return time.Duration(s) * time.Second
}

// watch ends an attempt that takes too long, or makes no progress for too long.
type watch struct {
	ctx    context.Context
	parent context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
	limit  time.Duration
}

func newWatch(parent context.Context, limit time.Duration) *watch {
	w := &watch{parent: parent, limit: limit}
	w.ctx, w.cancel = context.WithCancelCause(parent)
	w.timer = time.AfterFunc(limit, func() { w.cancel(timeoutError{limit}) })
	return w
}

func (w *watch) stop() {
	w.timer.Stop()
	w.cancel(nil)
}

// moved restarts the timeout.
func (w *watch) moved() { w.timer.Reset(w.limit) }

// explain replaces a bare "context canceled" by its cause and leaves out what Error
// says already.
func (w *watch) explain(err error) error {
	if w.parent.Err() != nil {
		return w.parent.Err()
	}
	if cause := context.Cause(w.ctx); cause != nil {
		return cause
	}
	var ue *url.Error
	if errors.As(err, &ue) {
		return ue.Err
	}
	return err
}

type timeoutError struct{ after time.Duration }

func (e timeoutError) Error() string { return fmt.Sprintf("no response within %v", e.after) }
func (e timeoutError) Timeout() bool { return true }

// answer is the body of a successful response. It notes whether the network cut it
// off.
type answer struct {
	r      io.Reader
	length int64 // bytes; -1 if unknown
	moved  func()
	err    error
}

func (a *answer) Read(p []byte) (int, error) {
	n, err := a.r.Read(p)
	if n > 0 && a.moved != nil {
		a.moved()
	}
	if err != nil && err != io.EOF {
		a.err = err
	}
	return n, err
}

// upload is a body that is read from its start. After Close it is no longer read,
// so that the next attempt can rewind it.
type upload struct {
	size  int64
	moved func()

	mu     sync.Mutex
	body   io.Reader
	err    error
	closed bool
}

func newUpload(body io.ReadSeeker) (*upload, error) {
	size, err := body.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	if _, err := body.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return &upload{body: body, size: size}, nil
}

func (u *upload) Read(p []byte) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed {
		return 0, errors.New("this attempt is over")
	}
	n, err := u.body.Read(p)
	if n > 0 && u.moved != nil {
		u.moved()
	}
	if err != nil && err != io.EOF {
		u.err = err
	}
	return n, err
}

func (u *upload) Close() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.closed = true
	return nil
}

// failure is the error of reading the body itself.
func (u *upload) failure() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.err
}
