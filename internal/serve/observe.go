package serve

import (
	"fmt"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mlops/internal/api"
)

// observe wraps a handler so that its requests are counted and timed.
func (s *Server) observe(name string, next http.HandlerFunc) http.HandlerFunc {
	m := s.metrics
	seconds := m.seconds.WithLabelValues(name)
	ok := m.requests.WithLabelValues(name, "200")
	var busy, overloaded prometheus.Counter
	if slices.Contains(problemTypes[name], api.Overloaded) { // who has no time has none to look labels up
		busy = m.requests.WithLabelValues(name, "503")
		overloaded = m.problems.WithLabelValues(name, problemLabel(api.Overloaded))
	}
	return func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		sw := statusWriter{ResponseWriter: w}
		whole := s.rescue(name, &sw, r, next)
		seconds.Observe(time.Since(start).Seconds())
		switch {
		case sw.code == 0 || sw.code == http.StatusOK:
			ok.Inc()
		case sw.problem == api.Overloaded:
			busy.Inc()
			overloaded.Inc()
		default:
			m.requests.WithLabelValues(name, strconv.Itoa(sw.code)).Inc()
			if sw.problem != "" {
				m.problems.WithLabelValues(name, problemLabel(sw.problem)).Inc()
			}
		}
		if !whole {
			panic(http.ErrAbortHandler) // all that still can tell the client
		}
	}
}

// guard wraps a handler that is not counted so that it can't take its
// connection down.
func (s *Server) guard(name string, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !s.rescue(name, &statusWriter{ResponseWriter: w}, r, next) {
			panic(http.ErrAbortHandler)
		}
	}
}

// rescue calls a handler. Where it panics, that is logged and answered with a
// 500; where part of an answer has gone out already, rescue reports that the
// answer is not whole.
func (s *Server) rescue(name string, w *statusWriter, r *http.Request, next http.HandlerFunc) (whole bool) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		s.metrics.panics.Inc()
		s.log.Error("a handler panicked", "handler", name, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		if whole = w.code == 0; whole {
			w.Header().Del("Content-Length")
			fail(w, api.Problem{Status: http.StatusInternalServerError, Detail: "the server failed on this request; its log says why"})
			return
		}
		w.code, w.problem = http.StatusInternalServerError, api.Untyped
	}()
	next(w, r)
	return true
}

// statusWriter remembers the status code of an answer and, where it is a
// problem, its type.
type statusWriter struct {
	http.ResponseWriter
	code    int // 0 before the answer has begun
	problem string
}

func (w *statusWriter) WriteHeader(code int) {
	w.code = code
	w.ResponseWriter.WriteHeader(code)
}

func (w *statusWriter) Write(b []byte) (int, error) {
	if w.code == 0 {
		w.code = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
