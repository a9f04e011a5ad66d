package main

import (
	"encoding/xml"
	"net/http"
	"strings"
	_ "unsafe" // for go:linkname

	"github.com/minio/mux"
)

// MinIO's last open release accepts writes whose signature it never checks
// (CVE-2026-41145, CVE-2026-40344), and no later one can be built from a public Go
// module. So the requests that get past its checks are refused before its handlers
// see them. Clients that sign what they send as the SDKs do don't meet any of this.

// middlewares is MinIO's own list, through which every request passes.
//
//go:linkname middlewares github.com/minio/minio/cmd.globalMiddlewares
var middlewares []mux.MiddlewareFunc

func init() { middlewares = append(middlewares, refuse) }

func refuse(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if why := refused(r); why != "" {
			w.Header().Set("Content-Type", "application/xml")
			w.WriteHeader(http.StatusForbidden)
			xml.NewEncoder(w).Encode(struct {
				XMLName       xml.Name `xml:"Error"`
				Code, Message string
				Resource      string
			}{Code: "AccessDenied", Message: why, Resource: r.URL.Path})
			return
		}
		next.ServeHTTP(w, r)
	})
}

// refused returns why a request is refused, or "".
func refused(r *http.Request) string {
	if r.Header.Get("X-Amz-Content-Sha256") != "STREAMING-UNSIGNED-PAYLOAD-TRAILER" {
		return ""
	}
	// CVE-2026-41145: credentials in the query are believed, and the signature isn't
	// checked. (MinIO itself refuses a request with both.)
	if !strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ") {
		return "an unsigned payload with a trailer needs a signature in the Authorization header"
	}
	// CVE-2026-40344: the handler that unpacks archives checks no signature at all.
	if len(r.Header.Values("X-Amz-Meta-Snowball-Auto-Extract")) > 0 {
		return "an archive to unpack needs a signed payload"
	}
	return ""
}
