package setup

import (
	"net/http"
	"testing"
)

// MinIO as the chart runs it gives its metrics to whoever has the token, and to no one else.
func TestMetricsToken(t *testing.T) {
	root := store(t)
	for token, want := range map[string]int{"": http.StatusUnauthorized, root.SecretKey + "x": http.StatusUnauthorized, root.SecretKey: http.StatusOK} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, root.Endpoint+"/minio/v2/metrics/cluster", nil)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("with the token %q: %s, want %d", token, res.Status, want)
		}
	}
}
