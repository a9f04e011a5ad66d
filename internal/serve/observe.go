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
	"mlops/internal/metrics"
)

// observe wraps a handler so that its requests are counted and timed.
func (s *Server) observe(name string, next http.HandlerFunc) http.HandlerFunc {
	m := s.metrics
	timer := m.Timer(name)
	ok := m.Answered(name)
	var busy, overloaded prometheus.Counter
	if slices.Contains(problemTypes[name], api.Overloaded) { // an overloaded server has no time to look labels up
		busy = m.Requests.WithLabelValues(name, "503")
		overloaded = m.Problems.WithLabelValues(name, problemLabel(api.Overloaded))
	}
	return func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		sw := metrics.StatusWriter{ResponseWriter: w}
		complete := s.rescue(name, &sw, r, next)
		timer.Observe(start, time.Since(start), traceID(w.Header()[traceParent]))
		switch {
		case sw.Code == 0 || sw.Code == http.StatusOK:
			ok.Add(1)
		case sw.Problem == api.Overloaded:
			busy.Inc()
			overloaded.Inc()
		default:
			m.Requests.WithLabelValues(name, strconv.Itoa(sw.Code)).Inc()
			s.logFailure(w, name, sw.Code, sw.Problem)
			if sw.Problem != "" {
				m.Problems.WithLabelValues(name, problemLabel(sw.Problem)).Inc()
			}
		}
		if !complete {
			panic(http.ErrAbortHandler) // the only way left to tell the client
		}
	}
}

// guard wraps a handler that is not counted, so that a panic in it can't take its
// connection down.
func (s *Server) guard(name string, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !s.rescue(name, &metrics.StatusWriter{ResponseWriter: w}, r, next) {
			panic(http.ErrAbortHandler)
		}
	}
}

// rescue calls a handler. If the handler panics, rescue logs that and responds
// with a 500, or, if part of a response is already on its way, reports that the
// response is incomplete.
func (s *Server) rescue(name string, w *metrics.StatusWriter, r *http.Request, next http.HandlerFunc) (complete bool) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		s.metrics.Panics.Inc()
		s.log.Error("a handler panicked", "handler", name, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		if complete = w.Code == 0; complete {
			w.Header().Del("Content-Length")
			fail(w, api.Problem{Status: http.StatusInternalServerError, Detail: "the server failed on this request; its log says why"})
			return
		}
		w.Code, w.Problem = http.StatusInternalServerError, api.Untyped
	}()
	next(w, r)
	return true
}
