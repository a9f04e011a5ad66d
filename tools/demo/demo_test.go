package main

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mlops/internal/dataset"
	"mlops/internal/local"
	"mlops/internal/program"
)

func TestImageName(t *testing.T) {
	for _, tt := range []struct{ image, want, why string }{
		{"mlops.local/train-model:dev", "train-model", "as the manifests have it"},
		{"train-model", "train-model", "neither registry nor tag"},
		{"host:5000/a/ui@sha256:00ff", "ui", "a port before, a digest behind"},
	} {
		if got := imageName(tt.image); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.why, got, tt.want)
		}
	}
}

func TestFindTable(t *testing.T) {
	root, site := t.TempDir(), t.TempDir()
	write := func(dir, name string) string {
		p := filepath.Join(dir, name)
		os.MkdirAll(filepath.Dir(p), 0o755)
		os.WriteFile(p, []byte("x"), 0o644)
		return p
	}
	near, packaged, given := write(root, "near.zip"), write(site, "pkg/a b.csv"), write(root, "mine.csv")
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/t.zip" {
			http.NotFound(w, r)
		}
	}))
	defer web.Close()
	made := func(*dataset.Spec, string) (string, error) { return given, nil }
	broken := func(*dataset.Spec, string) (string, error) { return "", errors.New("no seed") }
	for _, tt := range []struct {
		dataset string
		source  dataset.Source
		make    func(*dataset.Spec, string) (string, error)
		want    table
		fail    string
		why     string
	}{
		{given, dataset.Source{Local: []string{"near.zip"}}, nil, table{url: "file://" + given, from: given}, "", "DATASET comes before all else"},
		{"s3://bucket/key", dataset.Source{}, nil, table{url: "s3://bucket/key", from: "s3://bucket/key"}, "", "an address is taken as it is"},
		{filepath.Join(root, "none"), dataset.Source{Local: []string{"near.zip"}}, nil, table{}, "is no file", "a wrong DATASET is an error, not a reason to take another"},
		{root, dataset.Source{}, nil, table{}, "is no file", "a folder"},
		{"", dataset.Source{Local: []string{"gone.zip", "near.zip"}, Package: "pkg/a b.csv"}, nil, table{url: "file://" + near, from: near}, "", "the first local path that is there"},
		{"", dataset.Source{Local: []string{"gone.zip"}, Package: "pkg/a b.csv"}, nil, table{url: fileURL(packaged), from: "the Python package's pkg/a b.csv"}, "", "the package's file, its name quoted in the URL"},
		{"", dataset.Source{URL: web.URL + "/t.zip"}, made, table{from: web.URL + "/t.zip"}, "", "the public address, left to the step, which checks its digest"},
		{"", dataset.Source{URL: web.URL + "/gone"}, made, table{url: "file://" + given, from: given, synthetic: true}, "", "the generator last, and marked"},
		{"", dataset.Source{URL: web.URL + "/gone"}, broken, table{}, "no seed", "a generator that fails"},
		{"", dataset.Source{Local: []string{"gone.zip"}, URL: web.URL + "/gone"}, broken, table{}, "404", "nothing anywhere: all that was tried"},
	} {
		c := &config{root: root, dataset: tt.dataset, synthesize: tt.make, state: &local.State{Dir: root}}
		got, err := findTable(t.Context(), c, &dataset.Spec{Name: "x", Source: tt.source}, site)
		if tt.fail != "" {
			if err == nil || !strings.Contains(err.Error(), tt.fail) {
				t.Errorf("%s: got %v, want an error with %q", tt.why, err, tt.fail)
			}
			continue
		}
		if err != nil || got != tt.want {
			t.Errorf("%s: got %+v, %v, want %+v", tt.why, got, err, tt.want)
		}
	}
}

func TestStopOrder(t *testing.T) {
	names := []string{"inference-a", "mlflow", "minio", "postgres", "ui-a"}
	slices.SortStableFunc(names, func(a, b string) int { return needed(a) - needed(b) })
	want := []string{"ui-a", "inference-a", "mlflow", "minio", "postgres"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("those that need others first (-want +got):\n%s", diff)
	}
}

func TestParallel(t *testing.T) {
	bad := errors.New("no compiler")
	err := parallel(t.Context(),
		func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		func(context.Context) error { return bad })
	if !errors.Is(err, bad) {
		t.Errorf("got %v, want the error that stopped the other", err)
	}
	if err := parallel(t.Context(), func(context.Context) error { return nil }); err != nil {
		t.Errorf("all went well: got %v", err)
	}
}

func TestDownRefusesUnknownPurge(t *testing.T) {
	c := &config{purge: "yes", state: &local.State{Dir: t.TempDir()}}
	err := down(c, &strings.Builder{})
	if err == nil || program.Code(err) != program.BadInput {
		t.Errorf("PURGE=yes: got %v, want a refusal as bad input", err)
	}
}
