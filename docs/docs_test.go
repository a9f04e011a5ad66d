// Package docs tests what its pages say of tests: those that they name exist.
package docs

import (
	"iter"
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
	cases := map[string]bool{}
	word := regexp.MustCompile("`(internal/[a-z]+|Test[A-Za-z]+)`")
	for line := range lines(t, "reference/cases.md") {
		cells := strings.Split(line, " | ")
		if len(cells) != 3 || !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| case") {
			continue
		}
		tested(t, strings.TrimPrefix(cells[0], "| "), word.FindAllStringSubmatch(cells[2], -1))
		cases[line[2:3]] = true
	}
	for letter := 'A'; letter <= 'K'; letter++ {
		if !cases[string(letter)] {
			t.Errorf("case %c is not listed", letter)
		}
	}
}

// TestProtectionIsTested: each promise of the page has tests, and those that it names exist.
func TestProtectionIsTested(t *testing.T) {
	t.Parallel()
	word := regexp.MustCompile("`([a-z0-9]+(?:/[a-z0-9]+)*|[tT]est[A-Z][A-Za-z0-9]*)`")
	promises := 0
	for line := range lines(t, "reference/protection.md") {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		if len(cells) != 2 || cells[0] == " promise" || strings.HasPrefix(cells[0], "---") {
			continue
		}
		promises++
		tested(t, strings.TrimSpace(cells[0]), word.FindAllStringSubmatch(cells[1], -1))
	}
	if promises < 25 {
		t.Errorf("the page has %d promises", promises)
	}
}

// lines are those of a page.
func lines(t *testing.T, page string) iter.Seq[string] {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Lines(string(text))
}

// tested complains if none of the words is a test, or one that is does not exist. The folder
// of a test is the last one before it.
func tested(t *testing.T, what string, words [][]string) {
	t.Helper()
	folder, tests := "", 0
	for _, m := range words {
		if !strings.HasPrefix(strings.ToLower(m[1]), "test") {
			folder = m[1]
			continue
		}
		tests++
		if !exists(t, folder, m[1]) {
			t.Errorf("%s: %s has no test %s", what, folder, m[1])
		}
	}
	if tests == 0 {
		t.Errorf("no test of: %s", what)
	}
}

// exists reports whether a folder's tests have a function of that name: one with more
// parameters than a test has, if it is part of one.
func exists(t *testing.T, folder, name string) bool {
	t.Helper()
	function := "\nfunc " + name + "(t *testing.T"
	if strings.HasPrefix(name, "Test") {
		function += ")"
	}
	files, err := filepath.Glob(filepath.Join("..", folder, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), function) {
			return true
		}
	}
	return false
}
