package chart

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestProtectionIsTested: each promise of the page has tests, and those that it names exist.
func TestProtectionIsTested(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/reference/protection.md")
	if err != nil {
		t.Fatal(err)
	}
	word := regexp.MustCompile("`([a-z0-9]+(?:/[a-z0-9]+)*|[tT]est[A-Z][A-Za-z0-9]*)`")
	promises := 0
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		if len(cells) != 2 || cells[0] == " promise" || strings.HasPrefix(cells[0], "---") {
			continue
		}
		promises++
		folder, tests := "", 0
		for _, m := range word.FindAllStringSubmatch(cells[1], -1) {
			if !strings.HasPrefix(strings.ToLower(m[1]), "test") {
				folder = m[1]
				continue
			}
			tests++
			if !hasFunction(t, folder, m[1]) {
				t.Errorf("%s: %s has no %s", strings.TrimSpace(cells[0]), folder, m[1])
			}
		}
		if tests == 0 {
			t.Errorf("no test of: %s", cells[0])
		}
	}
	if promises < 25 {
		t.Errorf("the page has %d promises", promises)
	}
}

// hasFunction reports whether a folder's tests have a function of that name.
func hasFunction(t *testing.T, folder, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("../..", folder, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "\nfunc "+name+"(t *testing.T") {
			return true
		}
	}
	return false
}
