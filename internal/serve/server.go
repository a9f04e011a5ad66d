// Package serve is the inference server. It decodes records, encodes and scores
// them with the version in production, and follows the registry, so that a promoted
// version is served within two seconds and without a failed request.
package serve

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/mux"

	"mlops/internal/api"
	"mlops/internal/apikey"
	"mlops/internal/headers"
	"mlops/internal/metrics"
	"mlops/internal/model"
	"mlops/internal/plainhttp"
	"mlops/internal/signature"
)

// Options are what a Server needs.
type Options struct {
	Model    string // the registered model's name
	Cache    string // the folder for local copies of versions
	Registry Registry
	Log      *slog.Logger

	// Trusted are the keys of which one must have signed a version's files; if nil,
	// signatures are not checked.
	Trusted signature.Trusted

	// Shadow is the share of the requests, from 0 to 1, that the version which
	// Challengers names scores as well; nobody is told what it says. With 0 none is
	// loaded.
	Shadow      float64
	Challengers Challengers

	// Papers has model cards and the history of what was in production; nil: only local
	// copies are shown.
	Papers Papers

	// Memory is how many bytes this process may use; 0 if unknown. A version that
	// could not be loaded beside the served one is refused.
	Memory int64

	// TLS is the configuration of connections; nil: they have none.
	TLS *tls.Config

	// Drain is how long the server goes on taking requests after it was told to
	// stop: on a cluster it takes a while until none are sent any more. Meanwhile
	// it is not ready, and closes each connection after its next response.
	Drain time.Duration

	Limits Limits

	// Restarts is how often a server process died before this one; its socket stayed.
	Restarts int

	// Earlier is where rows come from that came after a version was trained, for features
	// that look at earlier ones; nil: only the version's own are looked up.
	Earlier EarlierRows

	// EarlierMemory bounds the bytes of earlier rows that are held; 0: 64 MiB. If there
	// are more, Earlier is asked for each request.
	EarlierMemory int64

	// Hosts are the names, besides addresses, by which clients may call the server; none: any.
	Hosts []string

	// Origins are those whose pages may read responses (CORS); "*": all.
	Origins []string

	// NetHTTPOnly leaves every request to net/http; otherwise package plainhttp
	// reads short requests for predictions.
	NetHTTPOnly bool
}

// Server answers for one registered model.
type Server struct {
	options Options
	log     *slog.Logger
	metrics *metrics.Inference

	served  atomic.Pointer[served]
	refused atomic.Pointer[refusal]
	reached atomic.Bool            // the registry has responded since the start
	pointed atomic.Bool            // its last response named a version in production
	trouble atomic.Pointer[string] // why the last poll failed; nil if it did not

	kept [2]string // folders of the local copies, the one that is served last; Watch's own

	draining   atomic.Bool  // told to stop
	complained atomic.Int64 // Unix, ns: when the log last said that Postgres did not answer
	loading    sync.Mutex   // one version at a time: each needs memory
	shadow     *shadow      // nil: no challenger is compared

	papers papers

	keys *apikey.Ring // nil: requests need no key

	memory memory
	small  *slots // for requests with a small body
	large  *slots
	score  func(*exchange, *model.Model) (unknown int, err error)
}

// counter counts predictions.
type counter interface{ Add(n int) }

// New returns a server without a model; Watch gives it one.
func New(o Options) *Server {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.EarlierMemory == 0 {
		o.EarlierMemory = defaultEarlierMemory
	}
	l := o.Limits.defaults()
	s := &Server{
		options: o, log: o.Log,
		small: newSlots(l.Concurrency, (3*l.Concurrency+3)/4, l.Queue),
		// Large requests may wait; memory bounds how many there are.
		large: newSlots((l.Concurrency+31)/32, l.Queue, l.Queue),
		score: score,
	}
	s.memory.total = l.BodyMemory
	s.metrics = newMetrics(s)
	if o.Shadow > 0 && o.Challengers != nil {
		s.shadow = newShadow(s)
	}
	return s
}

// Handler returns the API.
func (s *Server) Handler() http.Handler {
	r := s.router()
	predict := s.observe("predict", s.predict)
	var h http.Handler = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		// The router copies each request to add variables that no handler reads.
		if req.Method == http.MethodPost && req.URL.Path == "/predict" {
			predict(w, req)
			return
		}
		r.ServeHTTP(w, req)
	})
	if s.keys != nil {
		h = s.locked(h)
	}
	return headers.Secure(headers.API, headers.Known(s.options.Hosts, shared(s.options.Origins, traced(h))))
}

// router returns the routes of the API.
func (s *Server) router() *mux.Router {
	r := mux.NewRouter().SkipClean(true) // a redirect would turn a POST into a GET
	get := func(path string, h http.HandlerFunc) { r.HandleFunc(path, h).Methods(http.MethodGet, http.MethodHead) }
	r.HandleFunc("/predict", s.observe("predict", s.predict)).Methods(http.MethodPost)
	get("/model", s.observe("model", s.describe))
	get(pathCard, s.observe("card", s.showCard))
	get(pathEvents, s.observe("history", s.showEvents))
	get("/healthz", s.guard("healthz", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("ok\n")) }))
	get("/readyz", s.guard("readyz", s.ready))
	get("/openapi.json", s.observe("openapi", s.openAPI))
	get("/docs", s.observe("docs", s.docs))
	get("/metrics", s.guard("metrics", s.metrics.Handler().ServeHTTP))
	s.protocols(r)
	r.NotFoundHandler = s.observe("other", func(w http.ResponseWriter, r *http.Request) {
		fail(w, api.Problem{Type: api.NotFound, Status: http.StatusNotFound, Detail: "no such path; /docs lists what there is"})
	})
	r.MethodNotAllowedHandler = s.observe("other", func(w http.ResponseWriter, r *http.Request) {
		allow := "GET, HEAD"
		if posted(r.URL.Path) {
			allow = http.MethodPost
		}
		w.Header().Set("Allow", allow)
		fail(w, api.Problem{Type: api.MethodNotAllowed, Status: http.StatusMethodNotAllowed, Detail: "use " + allow})
	})
	return r
}

// posted reports whether a path takes records.
func posted(path string) bool {
	return path == "/predict" || path == "/invocations" ||
		strings.HasPrefix(path, "/v1/models/") && strings.HasSuffix(path, ":predict") ||
		strings.HasPrefix(path, "/v2/models/") && strings.HasSuffix(path, "/infer")
}

// Run serves and follows the registry until the context ends. Then it drains, and
// lets the requests being served finish.
func (s *Server) Run(ctx context.Context, inner net.Listener) error {
	l := plainhttp.Limit(inner, s.options.Limits.defaults().Connections).Secure(s.options.TLS)
	s.metrics.WatchConnections(l.Open, l.Closed, l.Refused)
	h := s.httpServer()
	if s.options.NetHTTPOnly {
		l.Attach(h)
	}
	server := s.wire(h)
	// A local copy is served at once: connections may already be waiting.
	s.autopsy()
	if s.served.Load() == nil {
		s.fromCache()
	}
	watched := make(chan error, 1)
	go func() { watched <- s.Watch(ctx) }()
	followed := make(chan struct{})
	go func() { defer close(followed); s.follow(ctx) }()
	if s.keys != nil {
		go s.keys.Watch(ctx, s.log)
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	select {
	case err := <-done:
		return fmt.Errorf("serving: %w", err)
	case <-ctx.Done():
	}
	s.log.Info("stopping", "drain", s.options.Drain.String())
	s.draining.Store(true)
	select {
	case err := <-done:
		return fmt.Errorf("serving: %w", err)
	case <-time.After(s.options.Drain):
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancel()
	if err := server.Shutdown(drain); err != nil {
		return fmt.Errorf("stopping: %w", err)
	}
	if err := <-done; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving: %w", err)
	}
	<-followed
	return <-watched
}

// listener serves connections: an http.Server, or a plainhttp.Server in front of it.
type listener interface {
	Serve(net.Listener) error
	Shutdown(context.Context) error
	Close() error
}

// wire returns what serves connections: plain requests for predictions are read
// without net/http, unless that is switched off.
func (s *Server) wire(h *http.Server) listener {
	if s.options.NetHTTPOnly {
		return h
	}
	return plainhttp.New(h, http.MethodPost, "/predict", s.log)
}

// httpServer bounds what a slow or silent client can hold up.
func (s *Server) httpServer() *http.Server {
	api := s.Handler()
	requests := s.options.Limits.ConnectionRequests
	return &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			// By chance, since a count would have to be kept for each connection.
			if s.draining.Load() || requests > 0 && rand.Uint32N(requests) == 0 {
				w.Header().Set("Connection", "close")
			}
			api.ServeHTTP(w, r)
		}),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       60 * time.Second,
		WriteTimeout:      90 * time.Second, // counts from the end of the header, so longer than ReadTimeout
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
}

// ready responds to /readyz. The server is ready once it serves a verified version,
// or has reached a registry in which nothing is in production yet.
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

// whyNone says why no model is loaded.
func (s *Server) whyNone() string {
	trouble := s.trouble.Load()
	switch r := s.refused.Load(); {
	case r != nil:
		return fmt.Sprintf("version %s of %s is in production, but the server refused it: %s", r.Version, s.options.Model, r.Reason)
	case !s.reached.Load() && trouble != nil:
		return "the registry has not responded yet: " + *trouble
	case !s.reached.Load():
		return "the registry has not responded yet"
	case s.pointed.Load() && trouble != nil:
		return "fetching the version in production failed: " + *trouble
	case s.pointed.Load():
		return "the version in production is being fetched"
	default:
		return fmt.Sprintf("no version of %s is in production yet: run the training pipeline", s.options.Model)
	}
}
