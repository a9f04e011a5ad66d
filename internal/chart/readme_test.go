package chart

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

var update = flag.Bool("update", false, "rewrite charts/README.md")

// charts/README.md is its hand-written head, up to the marker, and tables made from the
// comments in values.yaml.
func TestReadme(t *testing.T) {
	t.Parallel()
	const path, marker = dir + "/README.md", "<!-- What follows is generated from values.yaml: go test ./internal/chart -run TestReadme -update -->\n"
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, _, ok := strings.Cut(string(old), marker)
	if !ok {
		t.Fatalf("%s lacks the line %s", path, marker)
	}
	text, err := os.ReadFile(dir + "/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	tables, err := valueTables(text)
	if err != nil {
		t.Fatal(err)
	}
	want := head + marker + tables
	if want == string(old) {
		return
	}
	if !*update {
		t.Fatalf("%s is stale; run: go test ./internal/chart -run TestReadme -update", path)
	}
	if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

// wholeValues are maps that make one row instead of one per key.
var wholeValues = []string{"image", "resources", "settings", "waitResources"}

// valueTables renders one table for each section of values.yaml, a banner "# ---- Title
// ----". A value's description is the comment above it, or else that of an earlier value
// of the same name: the keys that all components share are explained once.
func valueTables(text []byte) (string, error) {
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		return "", err
	}
	lines := strings.Split(string(text), "\n")
	described := map[string]string{}
	var out strings.Builder
	var section string
	var walk func(prefix string, node *yaml.Node) error
	walk = func(prefix string, node *yaml.Node) error {
		for i := 0; i < len(node.Content); i += 2 {
			key, value := node.Content[i], node.Content[i+1]
			path := prefix + key.Value
			if s := sectionAt(lines, key.Line); s != section {
				section = s
				fmt.Fprintf(&out, "\n## %s\n\n| Value | Description | Default |\n|---|---|---|\n", section)
			}
			if value.Kind == yaml.MappingNode && len(value.Content) > 0 && !slices.Contains(wholeValues, key.Value) {
				if err := walk(path+".", value); err != nil {
					return err
				}
				continue
			}
			description := commentAbove(lines, key.Line)
			if description == "" {
				description = described[key.Value]
			}
			if description == "" {
				return fmt.Errorf("values.yaml:%d: %s has no comment that describes it", key.Line, path)
			}
			described[key.Value] = description
			var content any
			if err := value.Decode(&content); err != nil {
				return fmt.Errorf("values.yaml:%d: %w", value.Line, err)
			}
			var standard bytes.Buffer
			encoder := json.NewEncoder(&standard)
			encoder.SetEscapeHTML(false)
			if err := encoder.Encode(content); err != nil {
				return fmt.Errorf("values.yaml:%d: %w", value.Line, err)
			}
			fmt.Fprintf(&out, "| `%s` | %s | `%s` |\n", path, strings.ReplaceAll(description, "|", `\|`), strings.TrimSpace(standard.String()))
		}
		return nil
	}
	err := walk("", document.Content[0])
	return out.String(), err
}

var banner = regexp.MustCompile(`^# ---- (.*) ----$`)

// sectionAt returns the title of the last banner above a line, counted from 1.
func sectionAt(lines []string, line int) string {
	for i := line - 1; i >= 0; i-- {
		if m := banner.FindStringSubmatch(lines[i]); m != nil {
			return m[1]
		}
	}
	return "Values"
}

// commentAbove returns the comment that ends right above a line, counted from 1.
func commentAbove(lines []string, line int) string {
	var words []string
	for i := line - 2; i >= 0; i-- {
		comment, ok := strings.CutPrefix(strings.TrimSpace(lines[i]), "# ")
		if !ok || banner.MatchString(lines[i]) {
			break
		}
		words = slices.Insert(words, 0, comment)
	}
	return strings.Join(words, " ")
}

// A value without a description is an error, so that the tables are complete.
func TestReadmeIsComplete(t *testing.T) {
	t.Parallel()
	got, err := valueTables([]byte("# ---- One ----\n# Size of\n# a | thing\nsize: 3\nsecond:\n  size: {}\n  image: {tag: <a>}\n"))
	if want := "values.yaml:7: second.image has no comment that describes it"; err == nil || err.Error() != want {
		t.Errorf("got error %v, want %s", err, want)
	}
	if want := "\n## One\n\n| Value | Description | Default |\n|---|---|---|\n| `size` | Size of a \\| thing | `3` |\n| `second.size` | Size of a \\| thing | `{}` |\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
