package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// check returns the breaches of the plan by imports and links.
func check(p *plan, packages []goPackage) []string {
	var breaches []string
	seen := map[string]goPackage{}
	for _, pkg := range packages {
		name := strings.TrimPrefix(pkg.ImportPath, module+"/")
		seen[name] = pkg
		at, ok := p.floorOf[name]
		if !ok {
			breaches = append(breaches, fmt.Sprintf("%s has no row on a floor of %s", name, page))
			continue
		}
		for _, i := range pkg.Imports {
			i, ours := strings.CutPrefix(i, module+"/")
			if above := p.floorOf[i]; ours && above > at {
				breaches = append(breaches, fmt.Sprintf("%s (floor %d) imports %s from floor %d above it", name, at, i, above))
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.floorOf)) {
		if _, ok := seen[name]; !ok {
			breaches = append(breaches, fmt.Sprintf("%s is listed in %s but is not a package", name, page))
		}
	}
	for _, r := range p.forbidden {
		for _, program := range r.programs {
			pkg, ok := seen[program]
			if !ok {
				breaches = append(breaches, fmt.Sprintf("%s is listed under Not linked in %s but is not a package", program, page))
			}
			for _, f := range r.packages {
				full := f
				if strings.HasPrefix(f, "internal/") {
					full = module + "/" + f
				}
				if slices.ContainsFunc(pkg.Deps, func(d string) bool { return d == full || strings.HasPrefix(d, full+"/") }) {
					breaches = append(breaches, fmt.Sprintf("%s links %s (go list -deps shows its imports)", program, f))
				}
			}
		}
	}
	return breaches
}

// environment returns the places outside main packages that read the environment.
func environment(p *plan, packages []goPackage) ([]string, error) {
	reads := []string{"Getenv", "LookupEnv", "Environ", "ExpandEnv"}
	var breaches []string
	for _, pkg := range packages {
		name := strings.TrimPrefix(pkg.ImportPath, module+"/")
		if pkg.Name == "main" || p.env[name] {
			continue
		}
		for _, file := range pkg.GoFiles {
			set := token.NewFileSet()
			f, err := parser.ParseFile(set, filepath.Join(pkg.Dir, file), nil, 0)
			if err != nil {
				return nil, err
			}
			ast.Inspect(f, func(n ast.Node) bool {
				s, ok := n.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				if x, ok := s.X.(*ast.Ident); ok && x.Name == "os" && slices.Contains(reads, s.Sel.Name) {
					at := set.Position(s.Pos())
					breaches = append(breaches, fmt.Sprintf("%s/%s:%d: os.%s outside a main package", name, file, at.Line, s.Sel.Name))
				}
				return true
			})
		}
	}
	return breaches, nil
}
