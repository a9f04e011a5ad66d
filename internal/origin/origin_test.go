package origin

import (
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
	for _, tt := range []struct {
		dataset string
		source  dataset.Source
		last    string
		want    Table
		fail    string
		why     string
	}{
		{given, dataset.Source{Local: []string{"near.zip"}}, "", Table{URL: "file://" + given, From: given}, "", "DATASET comes before all else"},
		{"s3://bucket/key", dataset.Source{}, "", Table{URL: "s3://bucket/key", From: "s3://bucket/key"}, "", "an address is taken as it is"},
		{filepath.Join(root, "none"), dataset.Source{Local: []string{"near.zip"}}, "", Table{}, "is not a file", "a wrong DATASET is an error, not a reason to take another"},
		{root, dataset.Source{}, "", Table{}, "is not a file", "a folder"},
		{"", dataset.Source{Local: []string{"gone.zip", "near.zip"}, Package: "pkg/a b.csv"}, "", Table{URL: "file://" + near, From: near}, "", "the first local path that is there"},
		{"", dataset.Source{Local: []string{"gone.zip"}, Package: "pkg/a b.csv"}, "", Table{URL: fileURL(packaged), From: "the Python package's pkg/a b.csv"}, "", "the package's file, its name quoted in the URL"},
		{"", dataset.Source{URL: web.URL + "/t.zip"}, fileURL(given), Table{From: web.URL + "/t.zip"}, "", "the public address, left to the step, which checks its digest"},
		{"", dataset.Source{URL: web.URL + "/gone"}, fileURL(given), Table{URL: fileURL(given), From: fileURL(given) + ", loaded last", Last: true}, "", "the one that was loaded last, and marked"},
		{"", dataset.Source{}, "s3://u:secret@bucket/key", Table{URL: "s3://u:secret@bucket/key", From: "s3://u:xxxxx@bucket/key, loaded last", Last: true}, "", "an address that was loaded last, without its password in messages"},
		{"", dataset.Source{}, fileURL(filepath.Join(root, "gone.csv")), Table{}, "the table that was loaded last is gone: ", "the last one is gone"},
		{"", dataset.Source{Local: []string{"gone.zip"}, URL: web.URL + "/gone"}, "", Table{}, "404", "nothing anywhere: all that was tried"},
		{"", dataset.Source{}, "", Table{}, "name one with DATASET=path-or-address; SYNTHETIC=1 makes up rows instead, in a data set of their own", "nothing anywhere: what helps"},
	} {
		p := Places{Dataset: tt.dataset, Root: root, Site: site, Last: tt.last}
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

// TestInvent makes the synthetic twin of each data set that ships: its names are
// its own, and it says what it is.
func TestInvent(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"workflows/datasets/diabetes", "workflows/datasets/penguins", "docs/examples/species", "docs/examples/body-mass"} {
		spec, err := dataset.Read(filepath.Join("..", "..", filepath.FromSlash(file)+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		dir, name := t.TempDir(), spec.Name
		made, err := Invent(spec, dir)
		if err != nil {
			t.Fatal(err)
		}
		again, err := dataset.Read(made.Path)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range []*dataset.Spec{made.Spec, again} {
			if s.Name != name+"_synthetic" || s.Model != spec.Model+"-synthetic" || !s.Synthetic || !strings.HasPrefix(s.Title, "SYNTHETIC ROWS: ") || s.Source.URL != "" || len(s.Source.Local) > 0 {
				t.Errorf("%s: name %s, model %s, synthetic %v, title %q, source %+v", name, s.Name, s.Model, s.Synthetic, s.Title, s.Source)
			}
			if len(s.Columns) != len(spec.Columns) || len(s.Candidates) != len(spec.Candidates) {
				t.Errorf("%s: %d columns and %d candidates, want those of the real one", name, len(s.Columns), len(s.Candidates))
			}
		}
		text, err := os.ReadFile(made.Table.From)
		if err != nil || strings.Count(string(text), "\n") != syntheticRows+1 {
			t.Errorf("%s: %d lines, %v; want %d rows and a header", name, strings.Count(string(text), "\n"), err, syntheticRows)
		}
		twice, err := Invent(made.Spec, dir)
		if err != nil || !twice.Spec.Synthetic {
			t.Errorf("%s: the twin's twin: %v", name, err)
		}
	}
	long := strings.Repeat("a", 40)
	spec, err := dataset.Read(filepath.Join("..", "..", "workflows", "datasets", "penguins.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if spec, err = dataset.Parse([]byte(strings.Replace(string(spec.Text()), "name: penguins", "name: "+long, 1))); err != nil {
		t.Fatal(err)
	}
	if made, err := Invent(spec, t.TempDir()); err != nil || len(made.Spec.Name) != 40 {
		t.Errorf("a long name: %v", err)
	}
}
