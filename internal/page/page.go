// Package page is the web page: a form for one record, built from what the
// inference server says about its model, with the prediction beside it. It names no
// column of any data set. The page is rendered on the server and works without
// JavaScript; with it, predictions appear without a reload.
package page

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/gorilla/mux"

	"mlops/internal/api"
	"mlops/internal/apikey"
	"mlops/internal/headers"
	"mlops/internal/metrics"
	"mlops/internal/plainhttp"
)

const (
	maxBody      = 1 << 20          // bytes of a request body; a record is far shorter
	drainTimeout = 15 * time.Second // for the requests being served at the end
)

// Server serves the page.
type Server struct {
	inference *inference
	log       *slog.Logger
	templates *template.Template
	assets    *assets
	metrics   *metrics.Page
	handler   http.Handler
	draining  atomic.Bool
	monitor   *monitor
	tls       *tls.Config // nil: connections have none
	hosts     []string    // names, besides addresses, by which clients may call the page; none: any

	keys  *apikey.Ring  // nil: the page asks nobody for a key
	guard *apikey.Guard // nil as well then
	links []Link        // to other services, on the page about the model
}

// New returns the page of the inference server at base, an absolute http or https
// URL. Requests to that server end after timeout.
func New(base string, timeout time.Duration, log *slog.Logger) (*Server, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, fmt.Errorf("address of the inference server: %w", err)
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, fmt.Errorf("address of the inference server: %q is not an absolute http or https URL", base)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 32
	s := &Server{
		log:     log,
		metrics: metrics.NewPage(),
		monitor: newMonitor(),
		inference: &inference{
			url: u.String(),
			log: log,
			client: api.NewClient(u.String(), &http.Client{
				Timeout:       timeout,
				Transport:     transport,
				CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			}),
		},
	}
	if s.assets, err = newAssets(); err != nil {
		return nil, err
	}
	if s.templates, err = parseTemplates(s.assets, func() bool { return s.keys != nil }); err != nil {
		return nil, err
	}
	s.handler = s.secured(s.routes())
	return s, nil
}

// secured puts in front of the routes what every response has, refusals of other names
// included.
func (s *Server) secured(routes http.Handler) http.Handler {
	routes = compress(routes)
	return headers.Secure(s.assets.policy(), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		headers.Known(s.hosts, routes).ServeHTTP(w, r)
	}))
}

func (s *Server) routes() *mux.Router {
	r := mux.NewRouter()
	r.HandleFunc("/", s.showForm).Methods(http.MethodGet, http.MethodHead)
	r.HandleFunc("/", s.submitForm).Methods(http.MethodPost)
	r.HandleFunc("/predict", s.proxyPredict).Methods(http.MethodPost)
	r.HandleFunc("/what-if", s.showCurve).Methods(http.MethodPost)
	r.HandleFunc("/batch", s.batch).Methods(http.MethodGet, http.MethodHead)
	r.HandleFunc("/batch", s.scoreBatch).Methods(http.MethodPost)
	r.HandleFunc("/monitor", s.showMonitor).Methods(http.MethodGet, http.MethodHead)
	r.HandleFunc("/about", s.about).Methods(http.MethodGet, http.MethodHead)
	r.HandleFunc("/about/card", s.card).Methods(http.MethodGet, http.MethodHead)
	r.HandleFunc("/model", s.proxyModel).Methods(http.MethodGet, http.MethodHead)
	r.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") }).Methods(http.MethodGet)
	r.HandleFunc("/readyz", s.ready).Methods(http.MethodGet)
	r.Handle("/metrics", s.metrics.Handler()).Methods(http.MethodGet)
	r.Handle("/assets/{name}", s.assets).Methods(http.MethodGet, http.MethodHead)
	count := func(next http.Handler) http.Handler { return observe(s.metrics, next) }
	r.Use(count)
	// mux does not apply Use to these two.
	r.NotFoundHandler = count(http.HandlerFunc(s.notFound))
	r.MethodNotAllowedHandler = count(http.HandlerFunc(s.notAllowed))
	return r
}

// ServeHTTP responds to a request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, uploadLimit(r))
	s.handler.ServeHTTP(w, r)
}

// Run serves on a listener until ctx ends, over at most that many connections (0:
// 1024; see plainhttp.Limiter). From then on /readyz responds with 503, so that no
// more requests are routed here, and Run returns once those being served are done.
func (s *Server) Run(ctx context.Context, inner net.Listener, connections int) error {
	if connections <= 0 {
		connections = 1024
	}
	l := plainhttp.Limit(inner, connections).Secure(s.tls)
	s.metrics.WatchConnections(l.Open, l.Closed, l.Refused)
	server := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
	}
	l.Attach(server)
	if s.keys != nil {
		go s.keys.Watch(ctx, s.log)
	}
	go s.follow(ctx)
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serving the page: %w", err)
	case <-ctx.Done():
	}
	s.log.Info("draining")
	s.draining.Store(true)
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	if err := server.Shutdown(ending); err != nil {
		return fmt.Errorf("draining: %w", errors.Join(err, server.Close()))
	}
	return nil
}

// OnlyHosts has the page refuse requests to other names; addresses are always known.
func (s *Server) OnlyHosts(names []string) { s.hosts = names }

// UseTLS has Run serve TLS connections only.
func (s *Server) UseTLS(config *tls.Config) { s.tls = config }

// ready does not ask the inference server: without it the page can still show why
// there is no form.
func (s *Server) ready(w http.ResponseWriter, _ *http.Request) {
	if s.draining.Load() {
		http.Error(w, "draining", http.StatusServiceUnavailable)
		return
	}
	io.WriteString(w, "ok\n")
}

func (s *Server) showForm(w http.ResponseWriter, r *http.Request) {
	m, err := s.inference.Model(r.Context())
	if err != nil {
		s.wait(w, err)
		return
	}
	q := r.URL.Query()
	sample := findSample(m, q.Get("sample"))
	var record api.Record
	if sample.Number > 0 {
		record = m.Samples[sample.Number-1].Record
	}
	record, changed := linked(&m.Dataset, q, record)
	v := newForm(m, sample, record, nil)
	v.Linked = changed
	s.render(w, http.StatusOK, "form.html", v)
}

// findSample finds the sample that a request names: a number from 1, "none" for an
// empty form, or nothing for the first.
func findSample(m *api.Model, asked string) sampleView {
	n := len(m.Samples)
	v := sampleView{Count: n, Next: 1}
	if asked == "none" || n == 0 {
		return v
	}
	number, err := strconv.Atoi(asked)
	if asked == "" {
		number = 1
	} else if err != nil || number < 1 || number > n {
		v.Missing = asked
		number = 1
	}
	v.Number, v.Next = number, number%n+1
	s := &m.Samples[number-1]
	binary := m.Task == "" || m.Task == api.Binary
	if binary && len(s.Earlier) == 0 { // the form has no place for earlier records
		v.Probability = &s.Probability
	}
	return v
}

// submitForm is the way without JavaScript: the form is submitted and comes back with
// the prediction.
func (s *Server) submitForm(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		status := http.StatusBadRequest
		text := "The request is not a form."
		if tooLarge(err) {
			status, text = http.StatusRequestEntityTooLarge, fmt.Sprintf("A form may have at most %d bytes.", maxBody)
		}
		s.render(w, status, "message.html", messageView{Title: "Bad request", Heading: "The form can't be read", Text: text})
		return
	}
	m, err := s.inference.Model(r.Context())
	if err != nil {
		last := s.inference.Last()
		if last == nil {
			s.wait(w, err)
			return
		}
		m = last // keep what was typed
	}
	record := submitted(&m.Dataset, r.PostForm)
	sample := findSample(m, r.PostForm.Get("sample"))
	if r.PostForm.Get("run") != m.Model.RunID {
		sample.Probability = nil // another version may have other samples
	}

	var answer *api.Predictions
	away := err != nil
	if err == nil {
		if errs := check(&m.Dataset, record); len(errs) > 0 {
			err = &api.Problem{
				Title: "Some values are invalid", Status: http.StatusUnprocessableEntity, Errors: errs,
			}
		}
	}
	if err == nil {
		answer, err = s.inference.Predict(r.Context(), record)
	}
	if err != nil {
		p := asProblem(err)
		v := newForm(m, sample, record, p.Errors)
		v.failed(p)
		v.Asked, v.Away = asked(record), away
		s.render(w, p.Status, "form.html", v)
		return
	}
	if answer.Model.RunID != m.Model.RunID { // replaced between the two requests
		if newer, err := s.inference.Model(r.Context()); err == nil {
			m, sample = newer, findSample(newer, r.PostForm.Get("sample"))
			sample.Probability = nil
		}
	}
	v := newForm(m, sample, record, nil)
	v.answered(answer)
	v.Asked = asked(record)
	if column := r.PostForm.Get(whatIfName); column != "" {
		v.Curve = s.whatIf(r.Context(), v, record, column)
	}
	s.render(w, http.StatusOK, "form.html", v)
}

// asked is a record in JSON, by which the page in a browser tells whether the form has
// been changed since.
func asked(r api.Record) string {
	text, err := json.Marshal(r)
	if err != nil {
		panic(err) // strings
	}
	return string(text)
}

// wait shows that there is no model, on a page that tries again by itself.
func (s *Server) wait(w http.ResponseWriter, err error) {
	p := asProblem(err)
	v := messageView{
		Title: "Waiting for a model", Heading: "No model is being served yet", Detail: p.Detail, Retry: true,
		Text: "The inference server is running, but has no model to serve. As soon as one has been trained and promoted, the form appears here by itself.",
	}
	if p.Status != http.StatusServiceUnavailable {
		v.Title, v.Heading, v.Detail = "Waiting for the server", p.Title, p.Detail
		v.Text = "This page gets its form and its predictions from the inference server. It keeps trying, and shows the form as soon as the server responds."
	}
	w.Header().Set("Retry-After", "3")
	s.render(w, http.StatusServiceUnavailable, "message.html", v)
}

// proxyPredict passes a record on unchanged, and the response back unchanged.
func (s *Server) proxyPredict(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		p := &api.Problem{Type: api.Untyped, Title: "The request can't be read", Status: http.StatusBadRequest, Detail: "The connection ended before the whole request arrived."}
		if tooLarge(err) {
			p.Title, p.Status = "The request is too large", http.StatusRequestEntityTooLarge
			p.Detail = fmt.Sprintf("This page's server takes at most %d bytes; send larger batches to the inference server.", maxBody)
		}
		p.Write(w)
		return
	}
	path := "/predict"
	if r.URL.Query().Has("explain") {
		path = predictPath
	}
	resp, err := s.inference.do(r.Context(), http.MethodPost, path, r.Header.Get("Content-Type"), body)
	if err == nil && resp.Status == http.StatusUnprocessableEntity && path != "/predict" && api.ParseProblem(resp.Status, resp.Body).Type == api.NotExplained {
		resp, err = s.inference.do(r.Context(), http.MethodPost, "/predict", r.Header.Get("Content-Type"), body)
	}
	if err != nil {
		asProblem(err).Write(w)
		return
	}
	copyResponse(w, resp)
}

// proxyModel passes on what the inference server says about its model. Pages ask
// every few seconds: the ETag saves them the body while nothing has changed.
func (s *Server) proxyModel(w http.ResponseWriter, r *http.Request) {
	resp, err := s.inference.do(r.Context(), http.MethodGet, "/model", "", nil)
	if err != nil {
		asProblem(err).Write(w)
		return
	}
	if resp.Status == http.StatusOK {
		sum := sha256.Sum256(resp.Body)
		tag := `"` + hex.EncodeToString(sum[:8]) + `"`
		w.Header().Set("ETag", tag)
		w.Header().Set("Cache-Control", "private, no-cache")
		if headers.Unmodified(r, tag) {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	copyResponse(w, resp)
}

func copyResponse(w http.ResponseWriter, resp *api.Response) {
	for _, name := range []string{"Content-Type", "Retry-After"} {
		if value := resp.Header.Get(name); value != "" {
			w.Header().Set(name, value)
		}
	}
	w.WriteHeader(resp.Status)
	w.Write(resp.Body)
}

func (s *Server) notFound(w http.ResponseWriter, _ *http.Request) {
	s.render(w, http.StatusNotFound, "message.html", messageView{
		Title: "Not found", Heading: "Page not found", Text: "There is no page at this address.",
	})
}

func (s *Server) notAllowed(w http.ResponseWriter, r *http.Request) {
	s.render(w, http.StatusMethodNotAllowed, "message.html", messageView{
		Title: "Not allowed", Heading: "Method not allowed", Text: "This address does not accept " + r.Method + " requests.",
	})
}

// asProblem returns the problem in err. Any other error is the page's own.
func asProblem(err error) *api.Problem {
	if p := api.AsProblem(err); p != nil {
		return p
	}
	return &api.Problem{
		Type: api.Untyped, Title: "The request could not be completed",
		Status: http.StatusBadGateway, Detail: "Please try again.",
	}
}

func tooLarge(err error) bool {
	var limit *http.MaxBytesError
	return errors.As(err, &limit)
}
