package page

import (
	"cmp"
	"net/http"
	"strconv"
	"time"

	"github.com/gorilla/mux"

	"mlops/internal/metrics"
)

// observe is middleware that counts and times requests. The label is the route's
// pattern, never the path: clients could send any number of paths.
func observe(m *metrics.Page, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		route := "other"
		if current := mux.CurrentRoute(r); current != nil {
			if pattern, err := current.GetPathTemplate(); err == nil {
				route = pattern
			}
		}
		start := time.Now()
		sw := &metrics.StatusWriter{ResponseWriter: w}
		next.ServeHTTP(sw, r)
		m.Requests.WithLabelValues(route, strconv.Itoa(cmp.Or(sw.Code, http.StatusOK))).Inc()
		m.Duration.WithLabelValues(route).Observe(time.Since(start).Seconds())
	})
}
