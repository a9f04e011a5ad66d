package prepare

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

func TestCommit(t *testing.T) {
	dir := t.TempDir()
	if got := Commit(t.Context(), dir); got != "" {
		t.Errorf("no clone: %q, want none", got)
	}
	file := filepath.Join(dir, "a")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("1")
	for _, args := range [][]string{{"init", "-q"}, {"add", "a"}, {"-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "-qm", "one"}, {"-c", "user.name=a", "-c", "user.email=a@example.com", "tag", "-am", "x", "v1.0.0"}} {
		if out, err := exec.CommandContext(t.Context(), "git", append([]string{"-C", dir}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	clean := Commit(t.Context(), dir)
	if !regexp.MustCompile("^[0-9a-f]{40}$").MatchString(clean) {
		t.Errorf("a clone: %q, want a hash", clean)
	}
	write("2")
	if got := Commit(t.Context(), dir); got != clean+"-dirty" {
		t.Errorf("a changed clone: %q, want %s-dirty", got, clean)
	}
}
