package headers

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Known returns the handler, which refuses requests to a name that is none of names.
// Otherwise a page of another site whose name was made to lead to this server (DNS
// rebinding) would be of its origin, and a browser would let it read every response.
// Addresses can't be rebound, and are always known. Without names, all names are.
func Known(names []string, next http.Handler) http.Handler {
	if len(names) == 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !slices.Contains(names, r.Host) && !known(names, r.Host) {
			http.Error(w, "this server is not known by that name", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func known(names []string, host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(name, host) }) {
		return true
	}
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil
}

// Names reads the names of a server from a list separated by commas; "*", or none, is any
// name.
func Names(text string) []string {
	names := strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' })
	if slices.Contains(names, "*") {
		return nil
	}
	return names
}
