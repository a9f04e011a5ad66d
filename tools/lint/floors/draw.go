package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

const (
	begin = "<!-- diagram: drawn by tools/lint/floors -write -->"
	end   = "<!-- end of diagram -->"
)

// redraw returns the page's text with the diagram as the packages are now.
func redraw(text string, p *plan, packages []goPackage) (string, error) {
	before, rest, ok := strings.Cut(text, begin+"\n")
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return "", errors.New("no place for the diagram: want the lines " + begin + " and " + end)
	}
	return before + begin + "\n" + draw(p, packages) + end + after, nil
}

// draw returns a diagram of all packages but the programs, whose floor is the top
// one. An arrow that follows from others is left out.
func draw(p *plan, packages []goPackage) string {
	imports := map[string]map[string]bool{}
	for _, pkg := range packages {
		name := strings.TrimPrefix(pkg.ImportPath, module+"/")
		if n := p.floorOf[name]; pkg.Name == "main" || n == 0 {
			continue
		}
		imports[name] = map[string]bool{}
		for _, i := range pkg.Imports {
			if i, ours := strings.CutPrefix(i, module+"/"); ours {
				imports[name][i] = true
			}
		}
	}
	var b strings.Builder
	b.WriteString("```mermaid\nflowchart TD\n")
	for n := len(p.floors); n >= 1; n-- {
		var nodes []string
		for _, name := range p.floors[n-1].packages {
			if imports[name] != nil {
				nodes = append(nodes, fmt.Sprintf("    %s[%s]\n", id(name), strings.TrimPrefix(name, "internal/")))
			}
		}
		if len(nodes) > 0 {
			fmt.Fprintf(&b, "  subgraph floor%d[\"%d: %s\"]\n%s  end\n", n, n, p.floors[n-1].title, strings.Join(nodes, ""))
		}
	}
	for _, from := range slices.Sorted(maps.Keys(imports)) {
		for _, to := range slices.Sorted(maps.Keys(imports[from])) {
			if !implied(imports, from, to) {
				fmt.Fprintf(&b, "  %s --> %s\n", id(from), id(to))
			}
		}
	}
	b.WriteString("```\n")
	return b.String()
}

// implied reports whether a package is also reached through another import.
func implied(imports map[string]map[string]bool, from, to string) bool {
	var reaches func(string) bool
	reaches = func(name string) bool {
		if name == to {
			return true
		}
		for next := range imports[name] {
			if reaches(next) {
				return true
			}
		}
		return false
	}
	for via := range imports[from] {
		if via != to && reaches(via) {
			return true
		}
	}
	return false
}

func id(name string) string {
	return strings.NewReplacer("/", "_", "-", "_").Replace(strings.TrimPrefix(name, "internal/"))
}
