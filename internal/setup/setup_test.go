package setup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic/fake"

	"mlops/internal/mlflow"
	"mlops/internal/registry"
	"mlops/internal/source"
)

var quiet = slog.New(slog.DiscardHandler)

// store returns the test's S3 server, or skips.
func store(t *testing.T) source.S3 {
	t.Helper()
	u, err := url.Parse(os.Getenv("MLOPS_TEST_S3"))
	if err != nil || u.Host == "" {
		t.Skip("SKIPPED, NOT PASSED: MLOPS_TEST_S3 names no server")
	}
	secret, _ := u.User.Password()
	return source.S3{Endpoint: "http://" + u.Host, AccessKey: u.User.Username(), SecretKey: secret}
}

func TestBuckets(t *testing.T) {
	s3 := store(t)
	client, err := s3.Client()
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("setup-%d", time.Now().UnixNano())
	dir := t.TempDir()
	write := func(text string) {
		if err := os.WriteFile(filepath.Join(dir, "table.csv"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// As a ConfigMap is mounted: a hidden folder, and links into it.
	os.Mkdir(filepath.Join(dir, "..data"), 0o700)
	os.WriteFile(filepath.Join(dir, "..data", "linked.csv"), []byte("x\n"), 0o600)
	os.Symlink(filepath.Join("..data", "linked.csv"), filepath.Join(dir, "linked.csv"))
	var log bytes.Buffer
	c := Config{S3: s3, Buckets: []string{name, name + "-2"}, SourceBucket: name,
		Sources: []string{dir, filepath.Join(dir, "none")}, Log: slog.New(slog.NewTextHandler(&log, nil))}
	t.Cleanup(func() {
		for _, o := range []string{"table.csv", "linked.csv"} {
			client.RemoveObject(context.Background(), name, o, minio.RemoveObjectOptions{})
		}
		for _, b := range c.Buckets {
			client.RemoveBucket(context.Background(), b)
		}
	})
	for i, text := range []string{"a,b\n", "a,b\n", "a,b\n1,2\n"} {
		write(text)
		log.Reset()
		if err := Run(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if put := strings.Contains(log.String(), "file=table.csv uploaded=true"); put != (i != 1) {
			t.Errorf("run %d: put a file: %v\n%s", i, put, log.String())
		}
		o, err := client.GetObject(t.Context(), name, "table.csv", minio.GetObjectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(o)
		o.Close()
		if string(got) != text || err != nil {
			t.Errorf("run %d: the bucket has %q, %v; want %q", i, got, err, text)
		}
	}
	if _, err := client.StatObject(t.Context(), name, "linked.csv", minio.StatObjectOptions{}); err != nil {
		t.Errorf("a linked file: %v", err)
	}

	c.S3.SecretKey = "wrong"
	c.Buckets = []string{name + "-3"}
	if err := Run(t.Context(), c); err == nil || !strings.Contains(err.Error(), "rejects its access keys") {
		t.Errorf("wrong keys: %v", err)
	}
	c.S3.Endpoint, c.Patience = "http://127.0.0.1:9", time.Second
	if err := Run(t.Context(), c); err == nil || !strings.Contains(err.Error(), "did not respond") {
		t.Errorf("no server: %v", err)
	}
}

// TestFirstRun starts the pipeline once, where nothing is in production.
func TestFirstRun(t *testing.T) {
	var alias atomic.Int32 // answers of MLflow: 0 away, 1 none, 2 version 7
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch alias.Load() {
		case 0:
			alias.Store(1)
			w.WriteHeader(http.StatusServiceUnavailable)
		case 1:
			w.WriteHeader(http.StatusBadRequest)
			io.WriteString(w, `{"error_code":"INVALID_PARAMETER_VALUE","message":"Registered model alias production not found."}`)
		default:
			io.WriteString(w, `{"model_version":{"name":"m","version":"7","run_id":"r"}}`)
		}
	}))
	defer server.Close()
	client, err := mlflow.New(server.URL, mlflow.Options{Tries: 1})
	if err != nil {
		t.Fatal(err)
	}
	kube := fake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[schema.GroupVersionResource]string{Resource: "WorkflowList"})
	c := Config{Log: quiet, First: func() (*FirstRun, error) {
		return &FirstRun{
			Registry:  registry.New(client, "m"),
			Workflows: &Pipeline{Client: kube, Namespace: "n", Parameters: map[string]string{"source": "s3://b/x", "all": "true"}},
		}, nil
	}}
	for range 2 {
		if err := Run(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	list, err := kube.Resource(Resource).Namespace("n").List(t.Context(), metav1.ListOptions{})
	if err != nil || len(list.Items) != 1 {
		t.Fatalf("got %d workflows, %v; want 1", len(list.Items), err)
	}
	w := list.Items[0].Object["spec"].(map[string]any)
	if got := fmt.Sprint(w); got != "map[arguments:map[parameters:[map[name:all value:true] map[name:source value:s3://b/x]]] workflowTemplateRef:map[name:pipeline]]" {
		t.Error(got)
	}

	failed := list.Items[0].DeepCopy()
	failed.Object["status"] = map[string]any{"phase": "Failed"}
	if _, err := kube.Resource(Resource).Namespace("n").Update(t.Context(), failed, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := Run(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if again, err := kube.Resource(Resource).Namespace("n").Get(t.Context(), firstName, metav1.GetOptions{}); err != nil || again.Object["status"] != nil {
		t.Errorf("a first run that has failed is not started again: %v", err)
	}

	alias.Store(2)
	if err := kube.Resource(Resource).Namespace("n").Delete(t.Context(), firstName, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := Run(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if list, _ := kube.Resource(Resource).Namespace("n").List(t.Context(), metav1.ListOptions{}); len(list.Items) != 0 {
		t.Error("a version is in production, and yet a first run was started")
	}
}

// TestWrongDataSet makes the buckets first, and says then what is wrong.
func TestWrongDataSet(t *testing.T) {
	var made atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodHead:
			w.WriteHeader(http.StatusNotFound)
		case r.Method == http.MethodPut && strings.HasPrefix(r.URL.Path, "/tables"):
			made.Store(true)
		}
	}))
	defer server.Close()
	wrong := errors.New("dataset.yaml:3: there is no type catgory")
	c := Config{Log: quiet, Patience: time.Second, Buckets: []string{"tables"},
		S3:    source.S3{Endpoint: server.URL, AccessKey: "k", SecretKey: "secret-key", Region: "us-east-1"},
		First: func() (*FirstRun, error) { return nil, wrong }}
	if err := Run(t.Context(), c); err != wrong || !made.Load() {
		t.Errorf("ended with %v, the bucket is there: %v", err, made.Load())
	}
}

func TestWait(t *testing.T) {
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 1 {
			http.Error(w, "starting", http.StatusServiceUnavailable)
		}
	}))
	defer server.Close()
	var log bytes.Buffer
	targets := []string{server.URL + "/health", "tcp://" + server.Listener.Addr().String()}
	if err := Wait(t.Context(), slog.New(slog.NewTextHandler(&log, nil)), targets, "", "", time.Minute); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "503 Service Unavailable: starting") {
		t.Errorf("the log does not say what is waited for:\n%s", log.String())
	}
	sad := []struct{ target, want string }{
		{"tcp://127.0.0.1:9", "did not respond"},
		{"postgres://127.0.0.1:9/raw", "did not respond"},
		{"postgres", `"postgres" is not a postgres://`},
		{"ftp://a", `"ftp://a" is not a postgres://`},
	}
	for _, tt := range sad {
		if err := Wait(t.Context(), quiet, []string{tt.target}, "u", "p", time.Millisecond); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %s", tt.target, err, tt.want)
		}
	}
	if address := os.Getenv("MLOPS_TEST_POSTGRES"); address != "" {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		password, _ := u.User.Password()
		target := "postgres://" + u.Host + "/postgres"
		if err := Wait(t.Context(), quiet, []string{target}, u.User.Username(), password, time.Minute); err != nil {
			t.Error(err)
		}
		if err := Wait(t.Context(), quiet, []string{target}, u.User.Username(), "wrong", time.Millisecond); err == nil || strings.Contains(err.Error(), "wrong ") {
			t.Errorf("a wrong password: %v", err)
		}
	}
}
