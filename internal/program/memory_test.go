package program

import (
	"os"
	"path/filepath"
	"testing"
)

func TestMemoryLimit(t *testing.T) {
	old := memoryLimits
	defer func() { memoryLimits = old }()
	for _, tt := range []struct {
		v2, v1 string
		want   int64
	}{
		{"402653184\n", "", 384 << 20}, {"max\n", "", 0}, {"", "402653184\n", 384 << 20}, {"", "9223372036854771712\n", 0}, {"", "", 0},
	} {
		dir := t.TempDir()
		memoryLimits = []string{filepath.Join(dir, "v2"), filepath.Join(dir, "v1")}
		for name, text := range map[string]string{"v2": tt.v2, "v1": tt.v1} {
			if text != "" {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
		if got := MemoryLimit(); got != tt.want {
			t.Errorf("%q and %q: %d, want %d", tt.v2, tt.v1, got, tt.want)
		}
	}
}
