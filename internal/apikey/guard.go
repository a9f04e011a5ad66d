package apikey

import (
	"fmt"
	"math"
	"net/http"
	"strconv"

	"mlops/internal/api"
)

// Cookie holds the key of somebody who has signed in on the page. Browsers take a name
// with this prefix only from this very host, over TLS (or on this machine), and for all
// of its paths.
const Cookie = "__Host-mlops-key"

// Guard is middleware that lets requests with a key through.
type Guard struct {
	Ring *Ring
	// Scope is what a request needs; open means that it needs no key.
	Scope func(r *http.Request) (scope Scope, open bool)
	// Deny responds to a request without a fitting key. The headers are set.
	Deny func(w http.ResponseWriter, r *http.Request, p api.Problem)
}

// Wrap returns the handler behind the guard.
func (g *Guard) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		want, open := g.Scope(r)
		if !open {
			k, refused := g.admit(r, want)
			if refused != nil {
				g.deny(w, r, want, refused)
				return
			}
			k.admitted.Inc()
		}
		next.ServeHTTP(w, r)
	})
}

func (g *Guard) admit(r *http.Request, want Scope) (*held, *refusal) {
	text, because := presented(r.Header)
	if because == NoKey {
		if c, err := r.Cookie(Cookie); err == nil {
			text, because = c.Value, ""
		}
	}
	if because != "" {
		return nil, &refusal{Reason: because}
	}
	return g.Ring.check(text, want)
}

// Try checks a key that came in another way than in a header, for one request.
func (g *Guard) Try(w http.ResponseWriter, text string, want Scope) (api.Problem, bool) {
	k, refused := g.Ring.check(text, want)
	if refused != nil {
		return g.problem(w, want, refused), false
	}
	k.admitted.Inc()
	return api.Problem{}, true
}

func (g *Guard) deny(w http.ResponseWriter, r *http.Request, want Scope, why *refusal) {
	g.Deny(w, r, g.problem(w, want, why))
}

// problem counts a refusal, sets its headers and returns the body. Neither says what
// was presented.
func (g *Guard) problem(w http.ResponseWriter, want Scope, why *refusal) api.Problem {
	g.Ring.metrics.Refused.WithLabelValues(string(why.Reason), why.key).Inc()
	const realm = `Bearer realm="mlops"`
	challenge := func(rest string) { w.Header().Set("Www-Authenticate", realm+rest) }
	switch why.Reason {
	case WrongScope:
		challenge(fmt.Sprintf(`, error="insufficient_scope", scope="%s"`, want))
		return api.Problem{Type: api.Forbidden, Title: "The API key may not do this", Status: http.StatusForbidden,
			Detail: fmt.Sprintf("the request needs a key with the scope %s, and key %s lacks it; an operator makes one with `mlops key new --scope %s NAME`", want, why.key, want)}
	case TooFast:
		seconds := max(1, int64(math.Ceil(why.wait.Seconds())))
		w.Header().Set("Retry-After", strconv.FormatInt(seconds, 10))
		return api.Problem{Type: api.RateLimited, Title: "The API key's rate is exceeded", Status: http.StatusTooManyRequests,
			Detail: fmt.Sprintf("key %s has sent more requests than its rate allows; try again in %d s, put several records into one request, or ask for a key with a higher rate", why.key, seconds)}
	case NoKey:
		challenge("")
		return api.Problem{Type: api.Unauthorized, Title: "An API key is required", Status: http.StatusUnauthorized,
			Detail: "send it as `Authorization: Bearer KEY` or `X-API-Key: KEY`; an operator makes one with `mlops key new`"}
	case BadKey:
		challenge(`, error="invalid_token", error_description="not a key"`)
		return api.Problem{Type: api.Unauthorized, Title: "The API key is not valid", Status: http.StatusUnauthorized,
			Detail: fmt.Sprintf("a key is %s, 8 digits, _ and %d characters; send it once, whole, as `Authorization: Bearer KEY` or `X-API-Key: KEY`", prefix, secretSize)}
	}
	challenge(`, error="invalid_token", error_description="unknown key"`)
	return api.Problem{Type: api.Unauthorized, Title: "The API key is not valid", Status: http.StatusUnauthorized,
		Detail: "this server knows no such key: it was revoked, is for another server, or is so new that the server will read it in a moment"}
}
