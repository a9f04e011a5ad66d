package promote_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"mlops/internal/mlflow"
	"mlops/internal/registry"
	"mlops/internal/train"
)

// MLflow goes away after so many calls of a training: it ends with a clear
// error and leaves no version; once MLflow is back, the next run makes one.
func TestMLflowGoesAwayInTheMiddle(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.spec()
	target, err := url.Parse(os.Getenv("MLOPS_TEST_MLFLOW"))
	if err != nil {
		t.Fatal(err)
	}
	var left atomic.Int64
	proxy := httputil.NewSingleHostReverseProxy(target)
	front := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if left.Add(-1) < 0 {
			panic(http.ErrAbortHandler) // the connection breaks off
		}
		r.Host = target.Host
		proxy.ServeHTTP(rw, r)
	}))
	defer front.Close()
	client, err := mlflow.New(front.URL, mlflow.Options{Tries: 2, Wait: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	reg := registry.New(w.client, s.Model)
	failed := 0
	for calls := int64(0); ; calls += 2 {
		left.Store(calls)
		config := w.config(s, "shallow")
		config.MLflow = client
		_, err := train.Run(t.Context(), config)
		versions, searchErr := reg.Trained(t.Context(), registry.Training(s, digest))
		if searchErr != nil {
			t.Fatal(searchErr)
		}
		if err == nil {
			if len(versions) != 1 {
				t.Errorf("after %d failures: %d versions, want 1", failed, len(versions))
			}
			break
		}
		failed++
		if !errors.Is(err, mlflow.ErrUnavailable) {
			t.Errorf("MLflow away after %d calls: %v, want ErrUnavailable", calls, err)
		}
		if len(versions) != 0 {
			t.Fatalf("MLflow away after %d calls: %d versions, want none", calls, len(versions))
		}
	}
	if failed < 4 {
		t.Errorf("only %d runs failed: MLflow was hardly away in the middle", failed)
	}
}
