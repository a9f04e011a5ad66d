package draft_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"mlops/internal/draft"
)

// TestMakeVariable has a real shell and a real make read the line.
func TestMakeVariable(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "Makefile")
	if err := os.WriteFile(file, []byte("show:\n\t@printf %s \"$$V\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, value := range []string{"plain.csv", "two words.csv", "a`echo ran`$(echo ran)'\"$HOME.csv", `back\slash;echo ran`, "größe.csv"} {
		out, err := exec.CommandContext(t.Context(), "sh", "-c", "make -s -f '"+file+"' show "+draft.MakeVariable("V", value)).CombinedOutput()
		if err != nil || string(out) != value {
			t.Errorf("make got %q, %v; want %q", out, err, value)
		}
	}
}
