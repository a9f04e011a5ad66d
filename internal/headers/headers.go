// Package headers adds what every response of our servers has for the sake of
// browsers: headers that keep a page from being framed, sniffed, cached or downgraded. It
// also reads what a client says of the encodings that it takes.
package headers

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
)

// API is the Content-Security-Policy of responses that are not pages.
const API = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"

// Digest is how a Content-Security-Policy allows a style or a script that stands in the
// page.
func Digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// Shared by all responses; nobody changes a header's list in place.
var (
	nosniff     = []string{"nosniff"}
	noReferrer  = []string{"no-referrer"}
	noStore     = []string{"no-store"}
	permissions = []string{"camera=(), geolocation=(), microphone=(), payment=(), usb=()"}
	transport   = []string{"max-age=31536000"} // a year; other names of the domain are not ours to decide on
)

// Secure returns the handler with these headers and a Content-Security-Policy on each
// response, errors included. A handler may set other values.
//
// A response to a GET is not stored unless its handler allows it: a shared cache knows
// that Authorization makes a response private, but not that X-API-Key or a cookie does.
// Strict-Transport-Security is only set where the client came over TLS, here or at the
// proxy in front.
func Secure(policy string, next http.Handler) http.Handler {
	csp, pages := []string{policy}, policy != API
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h["X-Content-Type-Options"] = nosniff
		h["Content-Security-Policy"] = csp
		h["Referrer-Policy"] = noReferrer
		if pages || r.Method != http.MethodPost { // whose response isn't stored anyway
			h["Cache-Control"] = noStore
			h["Permissions-Policy"] = permissions
		}
		if TLS(r) {
			h["Strict-Transport-Security"] = transport
		}
		next.ServeHTTP(w, r)
	})
}

// TLS reports whether a client came over TLS, here or at the proxy in front. A client
// that lies about it harms only itself.
func TLS(r *http.Request) bool {
	if r.TLS != nil {
		return true
	}
	v := r.Header["X-Forwarded-Proto"]
	return len(v) == 1 && v[0] == "https"
}
