// Command links checks the links of the documentation: every relative link in a
// Markdown file that git tracks leads to a file or folder, and to a heading of it where it
// has a fragment. Addresses on the web are not looked at.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

func main() {
	if err := run("."); err != nil {
		fmt.Fprintln(os.Stderr, "links:", err)
		os.Exit(1)
	}
}

func run(root string) error {
	list := exec.Command("git", "ls-files", "-co", "--exclude-standard", "*.md")
	list.Dir = root
	out, err := list.Output()
	if err != nil {
		return fmt.Errorf("listing the documents: %w", err)
	}
	var errs []error
	for _, file := range strings.Fields(string(out)) {
		text, err := os.ReadFile(filepath.Join(root, file))
		if errors.Is(err, os.ErrNotExist) {
			continue // deleted, and not committed yet
		}
		if err != nil {
			return fmt.Errorf("reading a document: %w", err)
		}
		for _, link := range links(string(text)) {
			if why := broken(root, file, link); why != "" {
				errs = append(errs, fmt.Errorf("%s: %s: %s", file, link, why))
			}
		}
	}
	return errors.Join(errs...)
}

var (
	fence  = regexp.MustCompile("(?ms)^```.*?^```")
	inline = regexp.MustCompile(`\[[^\]]*\]\(([^)\s]+)\)`)
	web    = regexp.MustCompile(`^(https?|mailto):`)
	title  = regexp.MustCompile(`(?m)^#+ +(.*)$`)
	mark   = regexp.MustCompile(`[^\p{L}\p{N}_\- ]`)
)

// links are those of a document that lead to the same repository.
func links(text string) []string {
	var found []string
	for _, m := range inline.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		if !web.MatchString(m[1]) {
			found = append(found, m[1])
		}
	}
	return found
}

// broken says why a document's link leads nowhere, "" if it leads somewhere.
func broken(root, file, link string) string {
	path, fragment, _ := strings.Cut(link, "#")
	target := file
	if path != "" {
		target = filepath.Join(filepath.Dir(file), path)
	}
	if _, err := os.Stat(filepath.Join(root, target)); err != nil {
		return "there is no such file"
	}
	if fragment == "" || filepath.Ext(target) != ".md" {
		return ""
	}
	text, err := os.ReadFile(filepath.Join(root, target))
	if err != nil {
		return err.Error()
	}
	if !headings(string(text))[fragment] {
		return "there is no such heading"
	}
	return ""
}

// headings are the fragments that lead to a document's headings, as GitHub makes them.
func headings(text string) map[string]bool {
	found, twins := map[string]bool{}, map[string]int{}
	for _, m := range title.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		name := inline.ReplaceAllStringFunc(m[1], func(link string) string { return link[1:strings.IndexByte(link, ']')] })
		name = strings.ReplaceAll(mark.ReplaceAllString(strings.ToLower(strings.TrimSpace(name)), ""), " ", "-")
		if n := twins[name]; n > 0 {
			found[fmt.Sprintf("%s-%d", name, n)] = true
		} else {
			found[name] = true
		}
		twins[name]++
	}
	return found
}
