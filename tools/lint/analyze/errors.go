package main

import (
	_ "embed"
	"go/ast"
	"go/token"
	"go/types"
	"slices"
	"strings"

	"github.com/kisielk/errcheck/errcheck"
	"github.com/polyfloyd/go-errorlint/errorlint"
	"golang.org/x/tools/go/analysis"
)

//go:embed unchecked.txt
var uncheckedList string

// uncheckedErrors is errcheck without tests and without the calls that
// unchecked.txt allows.
var uncheckedErrors = &analysis.Analyzer{
	Name: "errcheck",
	Doc:  "check for unchecked errors",
	Run: func(pass *analysis.Pass) (any, error) {
		exempt := map[token.Pos]bool{} // the places where errcheck may report an allowed call
		for _, f := range pass.Files {
			ast.Inspect(f, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.CallExpr:
					if mayStayUnchecked(pass, n) {
						exempt[n.Pos()], exempt[n.Lparen] = true, true
					}
				case *ast.UnaryExpr: // waiting for a channel of errors
					exempt[n.Pos()] = true
				}
				return true
			})
		}
		_, err := errcheck.Analyzer.Run(reporting(pass, func(at token.Pos) bool {
			return !exempt[at] && !inTest(pass, at)
		}))
		return nil, err
	},
}

// comparedErrors is errorlint without tests.
func comparedErrors() *analysis.Analyzer {
	a := errorlint.NewAnalyzer()
	run := a.Run
	a.Run = func(pass *analysis.Pass) (any, error) {
		return run(reporting(pass, func(at token.Pos) bool { return !inTest(pass, at) }))
	}
	return a
}

// mayStayUnchecked reports whether unchecked.txt allows a call, or what it writes
// goes to io.Discard or an HTTP client.
func mayStayUnchecked(pass *analysis.Pass, call *ast.CallExpr) bool {
	var id *ast.Ident
	switch f := ast.Unparen(call.Fun).(type) {
	case *ast.Ident:
		id = f
	case *ast.SelectorExpr:
		id = f.Sel
	default:
		return false
	}
	f, ok := pass.TypesInfo.Uses[id].(*types.Func)
	if !ok {
		return false
	}
	if allowed := strings.Split(uncheckedList, "\n"); slices.Contains(allowed, f.Name()) || slices.Contains(allowed, f.FullName()) {
		return true
	}
	if f.FullName() != "io.Copy" && f.FullName() != "io.WriteString" || len(call.Args) == 0 {
		return false
	}
	if to, ok := call.Args[0].(*ast.SelectorExpr); ok && to.Sel.Name == "Discard" {
		return true
	}
	return types.TypeString(pass.TypesInfo.TypeOf(call.Args[0]), nil) == "net/http.ResponseWriter"
}

// reporting returns a pass that drops the findings at places not wanted.
func reporting(pass *analysis.Pass, wanted func(token.Pos) bool) *analysis.Pass {
	filtered := *pass
	filtered.Report = func(d analysis.Diagnostic) {
		if wanted(d.Pos) {
			pass.Report(d)
		}
	}
	return &filtered
}

func inTest(pass *analysis.Pass, at token.Pos) bool {
	return strings.HasSuffix(pass.Fset.Position(at).Filename, "_test.go")
}
