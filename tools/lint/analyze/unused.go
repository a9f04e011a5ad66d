package main

import (
	"fmt"
	"go/token"

	"golang.org/x/tools/go/analysis"
	"honnef.co/go/tools/unused"
)

// unusedCode reports what Staticcheck's U1000 does. That one only returns its
// findings, since its own command merges them over a package and its tests; go vet
// looks at a package together with its tests anyway.
var unusedCode = &analysis.Analyzer{
	Name:     "U1000",
	Doc:      "unused code",
	Requires: []*analysis.Analyzer{unused.Analyzer.Analyzer},
	Run: func(pass *analysis.Pass) (any, error) {
		files := map[string]*token.File{}
		for _, f := range pass.Files {
			file := pass.Fset.File(f.Pos())
			files[file.Name()] = file
		}
		for _, o := range pass.ResultOf[unused.Analyzer.Analyzer].(unused.Result).Unused {
			if file := files[o.Position.Filename]; file != nil {
				pass.Report(analysis.Diagnostic{Pos: file.Pos(o.Position.Offset), Message: fmt.Sprintf("%s %s is unused", o.Kind, o.Name)})
			}
		}
		return nil, nil
	},
}
