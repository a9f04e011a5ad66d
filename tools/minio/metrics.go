package main

import (
	"crypto/subtle"
	"net/http"
	"os"
	"strings"
)

// MinIO's own protection of its metrics takes a token that only its administrator's
// password can sign, so that whoever is to check or rotate it has to hold that password.
// Any text in this variable does instead: metrics are for whoever sends it as a bearer
// token. MinIO's own check has to be off then (MINIO_PROMETHEUS_AUTH_TYPE=public); with
// that and no token, nobody reads them.
const metricsToken = "MLOPS_METRICS_TOKEN"

func init() {
	middlewares = append(middlewares, guard(os.Getenv(metricsToken), os.Getenv("MINIO_PROMETHEUS_AUTH_TYPE") == "public"))
}

// guard lets requests for metrics pass only with the token.
func guard(token string, public bool) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		if token == "" && !public {
			return next // MinIO's own check is on
		}
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if isMetrics(r.URL.Path) {
				got, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
				if !ok || token == "" || subtle.ConstantTimeCompare([]byte(got), []byte(token)) != 1 {
					w.Header().Set("WWW-Authenticate", "Bearer")
					http.Error(w, "metrics need their token", http.StatusUnauthorized)
					return
				}
			}
			next.ServeHTTP(w, r)
		})
	}
}

// isMetrics reports whether a path is one of MinIO's metrics: /minio/v2/metrics/...,
// /minio/metrics/v3/... and /minio/prometheus/metrics.
func isMetrics(path string) bool {
	rest, ok := strings.CutPrefix(path, "/minio/")
	if !ok {
		return false
	}
	for _, prefix := range []string{"v2/metrics", "metrics/", "prometheus/"} {
		if strings.HasPrefix(rest, prefix) {
			return true
		}
	}
	return false
}
