// Analyze is a tool for go vet (go vet -vettool=...): Staticcheck's checks with
// unused code, unchecked errors, and comparisons that overlook wrapped errors.
// As go vet's tool it uses the build cache, so a second run is quick.
//
// A finding that is right to stay is marked at its line or the one above:
//
//	//lint:ignore SA1019 why
package main

import (
	"slices"
	"strings"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/unitchecker"
	"honnef.co/go/tools/simple"
	"honnef.co/go/tools/staticcheck"
	"honnef.co/go/tools/stylecheck"
)

// off are the checks that Staticcheck leaves off by default, except those on the
// form of doc comments, which this project wants.
var off = []string{
	"SA9003", // empty branches
	"ST1000", // package comments; tests have none
	"ST1003", // names: PostgreSQL's and XGBoost's underscores
}

func main() {
	analyzers := []*analysis.Analyzer{unusedCode, uncheckedErrors, comparedErrors()}
	for _, a := range slices.Concat(staticcheck.Analyzers, simple.Analyzers, stylecheck.Analyzers) {
		if !slices.Contains(off, a.Analyzer.Name) {
			analyzers = append(analyzers, a.Analyzer)
		}
	}
	for _, a := range analyzers {
		a.Run = ignoring(a.Name, a.Run)
	}
	unitchecker.Main(analyzers...)
}

// ignoring runs a check without reporting what a //lint:ignore comment covers.
func ignoring(check string, run func(*analysis.Pass) (any, error)) func(*analysis.Pass) (any, error) {
	return func(pass *analysis.Pass) (any, error) {
		type line struct {
			file string
			line int
		}
		ignored := map[line]bool{}
		for _, f := range pass.Files {
			for _, group := range f.Comments {
				for _, c := range group.List {
					words := strings.Fields(c.Text)
					if len(words) >= 3 && words[0] == "//lint:ignore" && slices.Contains(strings.Split(words[1], ","), check) {
						at := pass.Fset.Position(c.Pos())
						ignored[line{at.Filename, at.Line}] = true
						ignored[line{at.Filename, at.Line + 1}] = true
					}
				}
			}
		}
		filtered := *pass
		filtered.Report = func(d analysis.Diagnostic) {
			at := pass.Fset.Position(d.Pos)
			if !ignored[line{at.Filename, at.Line}] {
				d.Message = check + ": " + d.Message
				pass.Report(d)
			}
		}
		return run(&filtered)
	}
}
