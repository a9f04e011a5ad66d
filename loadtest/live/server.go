// Package live is the load tester's page: it starts and stops a test, changes its users
// or rate while it runs, and shows and gives out what was measured.
package live

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"mlops/internal/headers"
	"mlops/internal/metrics"
	"mlops/loadtest"
)

// contentSecurity allows the page's own files and nothing else.
const contentSecurity = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; " +
	"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// Options say what the page may do.
type Options struct {
	URL    string // of the requests, such as http://localhost:8000/predict
	Key    string // API key sent to that URL; never shown
	Any    bool   // the page may name other URLs
	Most   float64
	Errors float64       // threshold that the form begins with
	P99    time.Duration // the same
	Hosts  []string      // names under which the page may be called; nil: any

	// Password is that of the user admin; empty: the page asks for none. Probes and
	// metrics need none.
	Password string
	Log      *slog.Logger
}

// Server serves the page. It runs one test at a time.
type Server struct {
	options Options
	handler http.Handler
	log     *slog.Logger
	run     context.Context // of the tests

	mu      sync.Mutex
	session *loadtest.Session
	number  int // of the session
}

// New returns the page. Tests end with the context.
func New(ctx context.Context, o Options) (*Server, error) {
	u, err := url.Parse(o.URL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, fmt.Errorf("%q is not the URL of requests", o.URL)
	}
	s := &Server{options: o, log: o.Log, run: ctx}
	m := metrics.NewLoadTest(s.status)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.page)
	mux.HandleFunc("GET /state", s.state)
	mux.HandleFunc("POST /start", s.start)
	mux.HandleFunc("POST /stop", s.stop)
	mux.HandleFunc("POST /level", s.level)
	mux.HandleFunc("GET /report.html", s.report("text/html; charset=utf-8", "html", WriteReport))
	mux.HandleFunc("GET /report.csv", s.report("text/csv; charset=utf-8", "csv", func(w io.Writer, r *loadtest.Result) error { return r.WriteCSV(w) }))
	mux.HandleFunc("GET /report.json", s.report("application/json", "json", func(w io.Writer, r *loadtest.Result) error { return r.WriteJSON(w) }))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") })
	mux.Handle("GET /metrics", m.Handler())
	mux.HandleFunc("GET /assets/style.css", asset("text/css; charset=utf-8", style))
	mux.HandleFunc("GET /assets/icon.svg", asset("image/svg+xml", icon))
	mux.HandleFunc("GET /assets/page.js", asset("text/javascript; charset=utf-8", script))
	s.handler = headers.Secure(contentSecurity, headers.Known(o.Hosts, s.login(http.NewCrossOriginProtection().Handler(mux))))
	return s, nil
}

// login asks for the password, if there is one.
func (s *Server) login(next http.Handler) http.Handler {
	if s.options.Password == "" {
		return next
	}
	want := sha256.Sum256([]byte(s.options.Password))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" && r.URL.Path != "/metrics" {
			user, password, _ := r.BasicAuth()
			got := sha256.Sum256([]byte(password))
			if subtle.ConstantTimeCompare(got[:], want[:]) != 1 || user != "admin" {
				w.Header().Set("WWW-Authenticate", `Basic realm="load test", charset="UTF-8"`)
				http.Error(w, "the user admin's password is required", http.StatusUnauthorized)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

func asset(kind, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		w.Header().Set("Cache-Control", "no-cache")
		io.WriteString(w, text)
	}
}

// ServeHTTP responds to a request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// Run serves until the context ends, and ends the test that runs.
func (s *Server) Run(ctx context.Context, l net.Listener) error {
	server := &http.Server{
		Handler: s, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: time.Minute, WriteTimeout: time.Minute, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serving the page: %w", err)
	case <-ctx.Done():
	}
	if session, _ := s.current(); session != nil {
		session.Stop()
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := server.Shutdown(ending); err != nil {
		return fmt.Errorf("ending: %w", errors.Join(err, server.Close()))
	}
	return nil
}

func (s *Server) current() (*loadtest.Session, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.session, s.number
}

// status is what the metrics show.
func (s *Server) status() *metrics.LoadTestStatus {
	session, _ := s.current()
	if session == nil {
		return nil
	}
	return session.Status()
}

func running(s *loadtest.Session) bool {
	if s == nil {
		return false
	}
	select {
	case <-s.Done():
		return false
	default:
		return true
	}
}

func (s *Server) page(w http.ResponseWriter, r *http.Request) {
	session, _ := s.current()
	view := struct {
		Running, Any               bool
		URL, BodyHint, P99, Errors string
		Most, Level                float64
		Result                     *loadtest.Result
	}{Running: running(session), Any: s.options.Any, URL: s.options.URL, Most: s.options.Most, Level: min(10, s.options.Most)}
	view.BodyHint = "empty: none; {{column}} and {{column|number}} stand for values of the records"
	if strings.HasSuffix(s.options.URL, "/predict") {
		view.BodyHint = "empty: the server's samples, or the records"
	}
	if s.options.Errors > 0 {
		view.Errors = strconv.FormatFloat(s.options.Errors*100, 'f', -1, 64)
	}
	if s.options.P99 > 0 {
		view.P99 = s.options.P99.String()
	}
	if session != nil {
		result := session.Result()
		view.Result = &result
	}
	var b bytes.Buffer
	if err := live.ExecuteTemplate(&b, "page.html", view); err != nil {
		s.failed(w, err)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Write(b.Bytes())
}

func (s *Server) failed(w http.ResponseWriter, err error) {
	s.log.Error("answering a request failed", "error", err)
	http.Error(w, "the load tester failed; its log says why", http.StatusInternalServerError)
}

// state tells the page what has changed since what it has seen.
func (s *Server) state(w http.ResponseWriter, r *http.Request) {
	session, number := s.current()
	answer := struct {
		Running bool    `json:"running"`
		There   bool    `json:"there"`
		Open    bool    `json:"open"`
		Level   float64 `json:"level"`
		Text    string  `json:"text"`
		Seen    string  `json:"seen"`
		Result  string  `json:"result,omitempty"`
	}{Running: running(session), There: session != nil, Text: "ready"}
	if session != nil {
		result := session.Result()
		answer.Open, answer.Level = result.Plan.Model == loadtest.OpenModel, result.Level
		answer.Seen = fmt.Sprintf("%d %d %t", number, len(result.Windows), answer.Running)
		switch {
		case answer.Running:
			answer.Text = "running"
		case result.Stopped:
			answer.Text = "stopped"
		default:
			answer.Text = "ended"
		}
		if r.FormValue("seen") != answer.Seen || answer.Running {
			var err error
			if answer.Result, err = fragment(&result); err != nil {
				s.failed(w, err)
				return
			}
		}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer) // the client may be gone
}

func (s *Server) stop(w http.ResponseWriter, _ *http.Request) {
	if session, _ := s.current(); running(session) {
		session.Stop()
		s.log.Info("test stopped")
	}
	w.WriteHeader(http.StatusNoContent)
}

func (s *Server) level(w http.ResponseWriter, r *http.Request) {
	session, _ := s.current()
	if !running(session) {
		http.Error(w, "no test is running", http.StatusConflict)
		return
	}
	level, err := strconv.ParseFloat(r.FormValue("level"), 64)
	if err != nil || !(level >= 0 && level <= s.options.Most) {
		http.Error(w, fmt.Sprintf("%q is not a number from 0 to %v", r.FormValue("level"), s.options.Most), http.StatusBadRequest)
		return
	}
	if err := session.Set(level); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.log.Info("level set", "level", level)
	w.WriteHeader(http.StatusNoContent)
}

const maxUpload = 64 << 20 // bytes of a plan and its records

// start begins a test. A body that can't be one says all that is wrong.
func (s *Server) start(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxUpload)
	plan, err := s.readForm(r)
	if err == nil {
		plan, err = plan.Check()
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.addKey(&plan)
	ctx, cancel := context.WithTimeout(r.Context(), 30*time.Second)
	defer cancel()
	if _, err := plan.Load(ctx); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if running(s.session) {
		http.Error(w, "a test is running already", http.StatusConflict)
		return
	}
	session, err := loadtest.Start(s.run, plan)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.session = session
	s.number++
	s.log.Info("test started", "model", plan.Model, "targets", len(plan.Targets))
	w.WriteHeader(http.StatusNoContent)
}

// addKey sends the API key to the server that it is for, and to no other.
func (s *Server) addKey(p *loadtest.Plan) {
	if s.options.Key == "" {
		return
	}
	own, _ := url.Parse(s.options.URL)
	for i := range p.Targets {
		t := &p.Targets[i]
		if u, err := url.Parse(t.URL); err == nil && u.Host == own.Host && u.Scheme == own.Scheme {
			if t.Headers == nil {
				t.Headers = map[string]string{}
			}
			t.Headers["Authorization"] = cmp.Or(t.Headers["Authorization"], "Bearer "+s.options.Key)
		}
	}
}

// report gives a result out as a file.
func (s *Server) report(kind, extension string, write func(io.Writer, *loadtest.Result) error) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		session, _ := s.current()
		if session == nil {
			http.Error(w, "no test has run yet", http.StatusNotFound)
			return
		}
		result := session.Result()
		var b bytes.Buffer
		if err := write(&b, &result); err != nil {
			s.failed(w, err)
			return
		}
		w.Header().Set("Content-Type", kind)
		w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=\"load-test-%s.%s\"", result.Began.Format("20060102-150405"), extension))
		w.Write(b.Bytes())
	}
}
