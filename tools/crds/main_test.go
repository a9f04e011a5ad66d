package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func TestTheChartHasWhatTheTypesSay(t *testing.T) {
	want, err := generate()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"workflows.yaml", "workflowtemplates.yaml", "cronworkflows.yaml", "clusterworkflowtemplates.yaml",
		"workfloweventbindings.yaml", "workflowtasksets.yaml", "workflowtaskresults.yaml", "workflowartifactgctasks.yaml",
	} {
		if want[name] == nil {
			t.Errorf("the types give no %s; Argo's controller needs it", name)
		}
	}
	dir := "../../charts/charts/argo/crds"
	for name, text := range want {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Error(err)
		} else if !bytes.Equal(got, text) {
			t.Errorf("%s is not what the types give now: go run ./tools/crds charts/charts/argo/crds", name)
		}
	}
	there, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	if len(there) != len(want) {
		t.Errorf("the chart has %d definitions, the types give %d", len(there), len(want))
	}
}

func TestWriteTakesOutWhatIsOld(t *testing.T) {
	dir := t.TempDir()
	old := filepath.Join(dir, "gone.yaml")
	if err := os.WriteFile(old, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := write(dir, map[string][]byte{"new.yaml": []byte("y")}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(old); !os.IsNotExist(err) {
		t.Errorf("gone.yaml: got %v, want it gone", err)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "new.yaml")); err != nil || string(text) != "y" {
		t.Errorf("new.yaml: got %q, %v", text, err)
	}
}
