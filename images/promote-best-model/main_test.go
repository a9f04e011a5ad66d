package main

import (
	"os/exec"
	"strings"
	"testing"
)

// Fonts and drawing libraries are half of what a program that plots weighs; the
// gate only ranks.
func TestLinksNoPlots(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("go", "list", "-deps", ".").CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	for pkg := range strings.Lines(string(out)) {
		pkg = strings.TrimSpace(pkg)
		if pkg == "mlops/internal/plot" || strings.HasPrefix(pkg, "gonum.org/v1/plot") || pkg == "mlops/internal/xgboost" {
			t.Errorf("imports %s", pkg)
		}
	}
}
