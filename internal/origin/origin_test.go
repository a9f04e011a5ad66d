package origin

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mlops/internal/dataset"
)

func TestFind(t *testing.T) {
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
	made := func(*dataset.Spec) (string, error) { return given, nil }
	broken := func(*dataset.Spec) (string, error) { return "", errors.New("no seed") }
	for _, tt := range []struct {
		dataset string
		source  dataset.Source
		make    func(*dataset.Spec) (string, error)
		want    Table
		fail    string
		why     string
	}{
		{given, dataset.Source{Local: []string{"near.zip"}}, nil, Table{URL: "file://" + given, From: given}, "", "DATASET comes before all else"},
		{"s3://bucket/key", dataset.Source{}, nil, Table{URL: "s3://bucket/key", From: "s3://bucket/key"}, "", "an address is taken as it is"},
		{filepath.Join(root, "none"), dataset.Source{Local: []string{"near.zip"}}, nil, Table{}, "is not a file", "a wrong DATASET is an error, not a reason to take another"},
		{root, dataset.Source{}, nil, Table{}, "is not a file", "a folder"},
		{"", dataset.Source{Local: []string{"gone.zip", "near.zip"}, Package: "pkg/a b.csv"}, nil, Table{URL: "file://" + near, From: near}, "", "the first local path that is there"},
		{"", dataset.Source{Local: []string{"gone.zip"}, Package: "pkg/a b.csv"}, nil, Table{URL: fileURL(packaged), From: "the Python package's pkg/a b.csv"}, "", "the package's file, its name quoted in the URL"},
		{"", dataset.Source{URL: web.URL + "/t.zip"}, made, Table{From: web.URL + "/t.zip"}, "", "the public address, left to the step, which checks its digest"},
		{"", dataset.Source{URL: web.URL + "/gone"}, made, Table{URL: "file://" + given, From: given, Synthetic: true}, "", "the generator last, and marked"},
		{"", dataset.Source{URL: web.URL + "/gone"}, broken, Table{}, "no seed", "a generator that fails"},
		{"", dataset.Source{Local: []string{"gone.zip"}, URL: web.URL + "/gone"}, broken, Table{}, "404", "nothing anywhere: all that was tried"},
	} {
		p := Places{Dataset: tt.dataset, Root: root, Site: site, Synthesize: tt.make}
		got, err := p.Find(t.Context(), &dataset.Spec{Name: "x", Source: tt.source})
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
