package figures

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "bench.json")
	for _, value := range []float64{1, 2} {
		r, err := Read(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Replace("demo", []Figure{{Name: "whole", Value: value, Unit: "s"}}); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"a", "b", "a"} {
			if err := r.Add("cluster", Figure{Name: name, Value: value}); err != nil {
				t.Fatal(err)
			}
		}
	}
	r, err := Read(file)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Figures["demo"]) != 1 || r.Figures["demo"][0].Value != 2 || len(r.Figures["cluster"]) != 2 || r.Figures["cluster"][1].Name != "a" {
		t.Errorf("got %+v", r.Figures)
	}
	var b strings.Builder
	if err := r.Table(&b); err != nil || !strings.Contains(b.String(), "whole   2 s") {
		t.Errorf("%v\n%s", err, &b)
	}
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(file); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("a broken file: %v", err)
	}
}
