package main

import (
	"slices"
	"strings"
	"testing"
)

const text = `
### Floor 1: ground
| package | what |
|---|---|
| ` + "`internal/a` | a |" + `

### Floor 2: first
| ` + "`internal/b` | b |" + `
| ` + "`images/c` | c |" + `

### Not linked
| program | package | why |
| ` + "`images/c` | `example.org/heavy` `internal/a` | slow |" + `

### Diagram
` + begin + "\n" + end + "\n"

func TestCheck(t *testing.T) {
	p, err := parse(text)
	if err != nil {
		t.Fatal(err)
	}
	packages := []goPackage{
		{ImportPath: "mlops/internal/a", Name: "a", Imports: []string{"mlops/internal/b"}},
		{ImportPath: "mlops/internal/b", Name: "b", Imports: []string{"fmt"}},
		{ImportPath: "mlops/images/c", Name: "main", Deps: []string{"example.org/heavy/x", "example.org/heavyweight", "mlops/internal/a"}},
		{ImportPath: "mlops/internal/d", Name: "d"},
	}
	got := check(p, packages)
	want := []string{
		"internal/a (floor 1) imports internal/b from floor 2 above it",
		"internal/d has no row on a floor of docs/inside.md",
		"images/c links example.org/heavy (go list -deps shows its imports)",
		"images/c links internal/a (go list -deps shows its imports)",
	}
	if !slices.Equal(got, want) {
		t.Errorf("breaches:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if got := check(p, packages[:1]); !slices.Contains(got, "internal/b is listed in docs/inside.md but is not a package") {
		t.Errorf("a row without a package was not reported: %q", got)
	}
}

func TestRedraw(t *testing.T) {
	p, err := parse(text)
	if err != nil {
		t.Fatal(err)
	}
	got, err := redraw(text, p, []goPackage{
		{ImportPath: "mlops/internal/a", Name: "a"},
		{ImportPath: "mlops/internal/b", Name: "b", Imports: []string{"mlops/internal/a"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := "```mermaid\nflowchart TD\n  subgraph floor2[\"2: first\"]\n    b[b]\n  end\n" +
		"  subgraph floor1[\"1: ground\"]\n    a[a]\n  end\n  b --> a\n```\n"
	if !strings.Contains(got, begin+"\n"+want+end) {
		t.Errorf("page:\n%s\nwant in it:\n%s", got, want)
	}
}
