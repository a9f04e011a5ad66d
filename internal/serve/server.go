// Package serve is the inference server: it decodes records, encodes and scores
// them with the version that is in production, and follows the registry, so
// that a promoted version is served within two seconds and without a failed
// request.
package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/gorilla/mux"

	"mlops/internal/api"
	"mlops/internal/model"
	"mlops/internal/signature"
)

// Options are what a Server needs.
type Options struct {
	Model    string // registered model's name
	Cache    string // folder of the local copies of versions
	Registry Registry
	Log      *slog.Logger

	// Trusted are the keys one of which must have signed a version's files; nil:
	// signatures are not looked at.
	Trusted signature.Trusted

	// Memory is how many bytes this process may take; 0: nothing says. A version
	// that could not be loaded beside the served one is refused.
	Memory int64

	// Drain is how long a server that was told to stop still takes requests:
	// on a cluster some time passes before nobody sends any more. Meanwhile it
	// is not ready and asks its clients, answer by answer, to connect anew.
	Drain time.Duration

	Limits Limits
}

// Server answers for one registered model.
type Server struct {
	options Options
	log     *slog.Logger
	metrics *metrics

	served  atomic.Pointer[served]
	refused atomic.Pointer[refusal]
	reached atomic.Bool            // the registry has answered since the start
	pointed atomic.Bool            // when it last answered, something was in production
	trouble atomic.Pointer[string] // why the last poll failed; nil when it did not

	draining atomic.Bool // told to stop

	memory memory
	few    *lane // for requests of few records
	many   *lane
	score  func(*exchange, *model.Model) (unknown int, err error)
}

// New returns a server without a model; Watch gives it one.
func New(o Options) *Server {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	l := o.Limits.defaults()
	s := &Server{
		options: o, log: o.Log,
		few: newLane(l.Concurrency, (3*l.Concurrency+3)/4, l.Queue),
		// Who sends many records at once can wait; what bounds them is the memory.
		many:  newLane((l.Concurrency+7)/8, l.Queue, l.Queue),
		score: score,
	}
	s.memory.most = l.BodyMemory
	s.metrics = newMetrics(s)
	return s
}

// Handler returns the API.
func (s *Server) Handler() http.Handler {
	r := mux.NewRouter().SkipClean(true) // a redirect would make a GET of a POST
	get := func(path string, h http.HandlerFunc) { r.HandleFunc(path, h).Methods(http.MethodGet, http.MethodHead) }
	predict := s.observe("predict", s.predict)
	r.HandleFunc("/predict", predict).Methods(http.MethodPost)
	get("/model", s.observe("model", s.describe))
	get("/healthz", s.guard("healthz", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("ok\n")) }))
	get("/readyz", s.guard("readyz", s.ready))
	get("/openapi.json", s.observe("openapi", s.openAPI))
	get("/docs", s.observe("docs", s.docs))
	get("/metrics", s.guard("metrics", s.metrics.handler().ServeHTTP))
	r.NotFoundHandler = s.observe("other", func(w http.ResponseWriter, r *http.Request) {
		fail(w, api.Problem{Type: api.NotFound, Status: http.StatusNotFound, Detail: "no such path; /docs lists what there is"})
	})
	r.MethodNotAllowedHandler = s.observe("other", func(w http.ResponseWriter, r *http.Request) {
		allow := "GET, HEAD"
		if r.URL.Path == "/predict" {
			allow = http.MethodPost
		}
		w.Header().Set("Allow", allow)
		fail(w, api.Problem{Type: api.MethodNotAllowed, Status: http.StatusMethodNotAllowed, Detail: "use " + allow})
	})
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		// The router copies each request, to add to it what nobody here reads.
		if req.Method == http.MethodPost && req.URL.Path == "/predict" {
			predict(w, req)
			return
		}
		r.ServeHTTP(w, req)
	})
}

// Run listens, serves and follows the registry until the context ends, then lets
// the requests under way finish.
func (s *Server) Run(ctx context.Context, l net.Listener) error {
	front := s.newFront(l, s.httpServer())
	watched := make(chan error, 1)
	go func() { watched <- s.Watch(ctx) }()
	done := make(chan error, 1)
	go func() { done <- front.serve() }()
	select {
	case err := <-done:
		return fmt.Errorf("serving: %w", err)
	case <-ctx.Done():
	}
	s.log.Info("stopping: the requests under way are finished first", "taking more for", s.options.Drain.String())
	s.draining.Store(true)
	select {
	case err := <-done:
		return fmt.Errorf("serving: %w", err)
	case <-time.After(s.options.Drain):
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancel()
	if err := front.shutdown(drain); err != nil {
		return fmt.Errorf("stopping: %w", err)
	}
	if err := <-done; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving: %w", err)
	}
	return <-watched
}

// httpServer bounds what a slow or silent client can hold.
func (s *Server) httpServer() *http.Server {
	api := s.Handler()
	return &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if s.draining.Load() {
				w.Header().Set("Connection", "close")
			}
			api.ServeHTTP(w, r)
		}),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       60 * time.Second,
		WriteTimeout:      90 * time.Second, // from the header's end on, so longer than reading may take
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
}

// ready answers /readyz: ready is who serves a verified version, and who has
// reached a registry in which nothing is in production yet.
func (s *Server) ready(w http.ResponseWriter, _ *http.Request) {
	if s.draining.Load() {
		fail(w, api.Problem{Status: http.StatusServiceUnavailable, Title: "Not ready", Detail: "the server is stopping"})
		return
	}
	if s.served.Load() == nil && !(s.reached.Load() && !s.pointed.Load()) {
		fail(w, s.noModel("Not ready"))
		return
	}
	w.Write([]byte("ready\n"))
}

// whyNone says why there is no model to answer with.
func (s *Server) whyNone() string {
	trouble := s.trouble.Load()
	switch r := s.refused.Load(); {
	case r != nil:
		return fmt.Sprintf("version %s of %s is in production but was refused: %s", r.Version, s.options.Model, r.Reason)
	case !s.reached.Load() && trouble != nil:
		return "the registry has not answered yet: " + *trouble
	case !s.reached.Load():
		return "the registry has not answered yet"
	case s.pointed.Load() && trouble != nil:
		return "the version in production can't be fetched: " + *trouble
	case s.pointed.Load():
		return "the version in production is being fetched"
	default:
		return fmt.Sprintf("no version of %s is in production yet: run the training pipeline", s.options.Model)
	}
}
