package main

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestGuard(t *testing.T) {
	const metrics = "/minio/v2/metrics/cluster"
	for _, tt := range []struct {
		name, token, path, header string
		public, passes            bool
	}{
		{"the token", "secret", metrics, "Bearer secret", true, true},
		{"the token, whatever MinIO checks", "secret", metrics, "Bearer secret", false, true},
		{"no token sent", "secret", metrics, "", true, false},
		{"another token", "secret", metrics, "Bearer secre", true, false},
		{"another scheme", "secret", metrics, "secret", true, false},
		{"nothing configured and nothing sent", "", metrics, "", true, false},
		{"nothing configured, an empty token sent", "", metrics, "Bearer ", true, false},
		{"MinIO's own check", "", metrics, "", false, true},
		{"of a node", "secret", "/minio/v2/metrics/node", "", true, false},
		{"of the third version", "secret", "/minio/metrics/v3/system", "", true, false},
		{"of the first version", "secret", "/minio/prometheus/metrics", "", true, false},
		{"health", "secret", "/minio/health/ready", "", true, true},
		{"the administrator's", "secret", "/minio/admin/v3/metrics", "", true, true},
		{"an object called so", "secret", "/bucket/minio/v2/metrics/cluster", "", true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, tt.path, nil)
			if tt.header != "" {
				r.Header.Set("Authorization", tt.header)
			}
			passed := false
			w := httptest.NewRecorder()
			guard(tt.token, tt.public)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { passed = true })).ServeHTTP(w, r)
			if passed != tt.passes || !tt.passes && w.Code != http.StatusUnauthorized {
				t.Errorf("passed on: %v, status %d", passed, w.Code)
			}
		})
	}
}
