package ingest

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestCasesAreTested: each test that the list of cases names exists, and every case
// has one.
func TestCasesAreTested(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/reference/cases.md")
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]bool{}
	word := regexp.MustCompile("`(internal/[a-z]+|Test[A-Za-z]+)`")
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, " | ")
		if len(cells) != 3 || !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| case") {
			continue
		}
		folder, tests := "", 0
		for _, m := range word.FindAllStringSubmatch(cells[2], -1) {
			if strings.HasPrefix(m[1], "internal/") {
				folder = m[1]
				continue
			}
			tests++
			if !testExists(t, folder, m[1]) {
				t.Errorf("%s: %s has no test %s", strings.TrimPrefix(cells[0], "| "), folder, m[1])
			}
		}
		if tests == 0 {
			t.Errorf("no test of: %s", cells[0])
		}
		cases[line[2:3]] = true
	}
	for letter := 'A'; letter <= 'K'; letter++ {
		if !cases[string(letter)] {
			t.Errorf("case %c is not listed", letter)
		}
	}
}

func testExists(t *testing.T, folder, test string) bool {
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
		if strings.Contains(string(text), "func "+test+"(t *testing.T)") {
			return true
		}
	}
	return false
}
