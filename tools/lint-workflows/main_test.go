package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestManifestsAreValid(t *testing.T) {
	var out, wrong bytes.Buffer
	if !lint("../../workflows", &out, &wrong) {
		t.Fatalf("our manifests are not valid:\n%s", wrong.String())
	}
	if !strings.HasPrefix(out.String(), "15 workflows") {
		t.Errorf("lint says %q, want it to have seen 15 workflows", out.String())
	}
}

func TestMistakesAreNamed(t *testing.T) {
	for _, test := range []struct {
		name, file, old, new, want string
	}{
		{"only Argo refuses a name that Kubernetes can't take", "process-data.yaml",
			"    - name: process-data\n", "    - name: process_data!\n", "process-data.yaml"},
		{"only Argo refuses a policy that it does not know", "process-data.yaml",
			"strategy: OnPodSuccess", "strategy: Whenever", "process-data.yaml: podGC.strategy unknown strategy 'Whenever'"},
		{"the runner refuses a field that it can't honour", "process-data.yaml",
			"      container:\n", "      daemon: true\n      container:\n", "process-data.yaml: spec.templates[process-data].daemon"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			files, err := filepath.Glob("../../workflows/*.yaml")
			if err != nil {
				t.Fatal(err)
			}
			for _, path := range files {
				text, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if filepath.Base(path) == test.file {
					changed := bytes.Replace(text, []byte(test.old), []byte(test.new), 1)
					if bytes.Equal(changed, text) {
						t.Fatalf("%s has no %q", test.file, test.old)
					}
					text = changed
				}
				if err := os.WriteFile(filepath.Join(dir, filepath.Base(path)), text, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			var out, wrong bytes.Buffer
			if lint(dir, &out, &wrong) {
				t.Fatal("lint found nothing wrong")
			}
			if !strings.Contains(wrong.String(), test.want) {
				t.Errorf("lint says %q, want it to name %q", wrong.String(), test.want)
			}
		})
	}
}
