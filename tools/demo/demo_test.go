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

func TestTruthQuery(t *testing.T) {
	spec, err := loadSpec("../../workflows/datasets/penguins.yaml")
	if err != nil {
		t.Fatal(err)
	}
	sql, args := truthQuery(spec, map[string]string{"species": "O'x", "body_mass_g": "3750", "bill_length_mm": "39.1"})
	for _, want := range []string{`"species" = $1::text::text`, `"bill_length_mm" = $2::text::double precision`, `"body_mass_g" = $3::text::bigint`, `"island" IS NULL`, "split = 'test'"} {
		if !strings.Contains(sql, want) {
			t.Errorf("query: got %s, want %q in it", sql, want)
		}
	}
	if strings.Contains(sql, `"sex" =`) || strings.Contains(sql, "O'x") {
		t.Errorf("query: got %s, with the target compared or a value in its text", sql)
	}
	if diff := cmp.Diff([]any{"O'x", "39.1", "3750"}, args); diff != "" {
		t.Errorf("arguments (-want +got):\n%s", diff)
	}
}

func TestCompareScores(t *testing.T) {
	view := func() modelView {
		v := modelView{Threshold: 0.5, Model: version{Number: "3", RunID: "r"}}
		v.Samples = append(v.Samples, v.Samples...)
		for _, p := range []float64{0.2, 0.5} {
			v.Samples = append(v.Samples, struct {
				Record      map[string]string `json:"record"`
				Probability float64           `json:"probability"`
			}{nil, p})
		}
		return v
	}()
	for _, tt := range []struct {
		run    string
		labels []int
		probs  []float64
		fail   string
		why    string
	}{
		{"r", []int{0, 1}, []float64{0.2, 0.5}, "", "equal; at the threshold is positive"},
		{"r", []int{0, 1}, []float64{0.2000009, 0.5}, "", "within the tolerance"},
		{"r", []int{0, 1}, []float64{0.200002, 0.5}, "record 0", "beyond it"},
		{"r", []int{0, 0}, []float64{0.2, 0.5}, "record 1: label 0", "a label against the threshold"},
		{"r", []int{0}, []float64{0.2}, "2 records, 1", "a prediction is missing"},
		{"q", []int{0, 1}, []float64{0.2, 0.5}, "version", "another version answered"},
	} {
		var got predictions
		got.Model.RunID = tt.run
		for i := range tt.labels {
			got.Predictions = append(got.Predictions, struct {
				Label       int     `json:"label"`
				Probability float64 `json:"probability"`
			}{tt.labels[i], tt.probs[i]})
		}
		err := compareScores(view, got)
		if tt.fail == "" && err != nil || tt.fail != "" && (err == nil || !strings.Contains(err.Error(), tt.fail)) {
			t.Errorf("%s: got %v, want an error with %q", tt.why, err, tt.fail)
		}
	}
}

func TestCountsAdd(t *testing.T) {
	good := func() counts {
		return counts{raw: 90, rawRejected: 10, clean: 85, cleanRejected: 5, split: map[string]int64{"train": 60, "validation": 10, "test": 15}}
	}
	for _, tt := range []struct {
		change func(*counts)
		want   int64
		fail   string
		why    string
	}{
		{func(*counts) {}, 100, "", "all accounted for"},
		{func(*counts) {}, 0, "", "the source's lines are not asked for"},
		{func(*counts) {}, 101, "want 101", "a line is lost"},
		{func(n *counts) { n.clean++ }, 100, "want the 90 raw", "a row twice in clean"},
		{func(n *counts) { n.split[""] = 1; n.split["test"]-- }, 100, "splits hold 84", "a row without split"},
		{func(n *counts) { *n = counts{} }, 0, "raw", "nothing loaded"},
	} {
		n := good()
		tt.change(&n)
		err := n.add(tt.want)
		if tt.fail == "" && err != nil || tt.fail != "" && (err == nil || !strings.Contains(err.Error(), tt.fail)) {
			t.Errorf("%s: got %v, want an error with %q", tt.why, err, tt.fail)
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
