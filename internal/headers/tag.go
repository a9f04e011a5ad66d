package headers

import (
	"net/http"
	"strings"
)

// Unmodified reports whether a client has what an ETag names already: If-None-Match
// lists it, or anything. A tag that a proxy made weak, which compressed the response,
// is the same tag (RFC 9110, 13.1.2).
func Unmodified(r *http.Request, tag string) bool {
	for _, line := range r.Header.Values("If-None-Match") {
		for known := range strings.SplitSeq(line, ",") {
			if known = strings.TrimSpace(known); known == "*" || strings.TrimPrefix(known, "W/") == tag {
				return true
			}
		}
	}
	return false
}
