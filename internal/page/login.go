package page

import (
	"net"
	"net/http"
	"strings"
	"time"

	"mlops/internal/api"
	"mlops/internal/apikey"
	"mlops/internal/headers"
)

const signedIn = 12 * time.Hour // how long a browser keeps the key

// UseKey makes the page present an API key to the inference server; empty: none.
func (s *Server) UseKey(key string) {
	s.inference.client = s.inference.client.WithKey(key)
}

// RequireKeys makes the page ask for one of the API keys in a file, or in the files of a
// folder; see package apikey. A person signs in with the key, and the browser keeps it in
// a cookie that no script can read. Call it before the page is served.
func (s *Server) RequireKeys(path string) error {
	ring, err := apikey.Open(path, s.metrics.Keys)
	if err != nil {
		return err
	}
	if ring.Len() == 0 {
		s.log.Warn("there are no API keys: every visitor is refused until there is one", "path", path)
	}
	s.keys = ring
	s.guard = &apikey.Guard{Ring: ring, Scope: scope, Deny: s.deny}
	routes := s.routes()
	routes.HandleFunc("/login", s.login).Methods(http.MethodPost)
	routes.HandleFunc("/logout", s.logout).Methods(http.MethodPost)
	s.handler = s.secured(s.guard.Wrap(routes))
	return nil
}

// scope is what a key has to be for. Without one, there are probes and metrics, the
// way in and out, and the assets, which are the same for everyone.
func scope(r *http.Request) (need apikey.Scope, open bool) {
	switch path := r.URL.Path; path {
	case "/healthz", "/readyz", "/metrics", "/login", "/logout":
		return "", true
	default:
		if strings.HasPrefix(path, "/assets/") {
			return "", true
		}
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		return apikey.Read, false
	case http.MethodPost:
		return apikey.Predict, false
	}
	return apikey.Operate, false
}

// loginView is what login.html shows.
type loginView struct {
	Title, Heading, Text string
	Problem              string
	Asks                 bool // for a key
}

// deny responds to a request without a fitting key: to a browser with a page, which asks
// for a key if there was none, and to everything else with the problem.
func (s *Server) deny(w http.ResponseWriter, r *http.Request, p api.Problem) {
	switch {
	case !strings.Contains(r.Header.Get("Accept"), "text/html"):
		if p.Status == http.StatusUnauthorized {
			p.Detail += "; in a browser, open this page in another tab to sign in"
		}
		p.Write(w)
	case p.Status != http.StatusUnauthorized:
		s.render(w, p.Status, "message.html", messageView{Title: p.Title, Heading: p.Title, Text: sentence(p.Detail)})
	default:
		problem := ""
		if _, err := r.Cookie(apikey.Cookie); err == nil {
			problem = "The key that you had signed in with is no longer valid."
		}
		s.askForKey(w, r, p.Status, problem)
	}
}

// askForKey shows the form that takes a key, unless the key would cross a network in
// the clear.
func (s *Server) askForKey(w http.ResponseWriter, r *http.Request, status int, problem string) {
	v := loginView{Title: "Sign in", Heading: "Sign in", Problem: problem, Asks: private(r),
		Text: "With an API key that may read and predict. Whoever runs this server hands keys out."}
	if !v.Asks {
		v.Text = "This page asks for an API key, and takes none over plain HTTP, where others could read it. Open it over HTTPS, or on this machine through a forwarded port."
	}
	s.render(w, status, "login.html", v)
}

// private reports whether what a browser sends can't be read on the way.
func private(r *http.Request) bool {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return headers.TLS(r) || host == "localhost" || ip != nil && ip.IsLoopback()
}

var sameOrigin = http.NewCrossOriginProtection()

// login takes a key from the form. Another site's form can't sign anyone in.
func (s *Server) login(w http.ResponseWriter, r *http.Request) {
	if err := sameOrigin.Check(r); err != nil {
		s.askForKey(w, r, http.StatusForbidden, "The form came from another site.")
		return
	}
	if err := r.ParseForm(); err != nil || !private(r) {
		s.askForKey(w, r, http.StatusBadRequest, "")
		return
	}
	key := strings.TrimSpace(r.PostForm.Get("key"))
	if p, ok := s.guard.Try(w, key, apikey.Read); !ok {
		s.askForKey(w, r, p.Status, p.Title+": "+p.Detail+".")
		return
	}
	setKey(w, key, int(signedIn.Seconds()))
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (s *Server) logout(w http.ResponseWriter, r *http.Request) {
	if err := sameOrigin.Check(r); err != nil {
		s.askForKey(w, r, http.StatusForbidden, "The form came from another site.")
		return
	}
	setKey(w, "", -1)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func setKey(w http.ResponseWriter, key string, maxAge int) {
	http.SetCookie(w, &http.Cookie{Name: apikey.Cookie, Value: key, Path: "/", MaxAge: maxAge, Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode})
}

// sentence makes one of a problem's detail.
func sentence(detail string) string {
	if detail == "" {
		return ""
	}
	return strings.ToUpper(detail[:1]) + detail[1:] + "."
}
