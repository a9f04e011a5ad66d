package live

import (
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"strings"

	"mlops/internal/linechart"
	"mlops/loadtest"
)

//go:embed html
var htmlFiles embed.FS

//go:embed assets/style.css
var pageStyle string

//go:embed assets/icon.svg
var icon string

//go:embed assets/page.js
var pageScript string

var (
	style  = pageStyle + linechart.Style
	script = pageScript + linechart.Script
)

var live, standalone = parse(true), parse(false)

// parse returns the templates of the page, or of a report, which has no script.
func parse(live bool) *template.Template {
	draw := func(r *loadtest.Result) []template.HTML { return charts(r, live) }
	return template.Must(template.New("").Funcs(functions).Funcs(template.FuncMap{"charts": draw}).ParseFS(htmlFiles, "html/*.html"))
}

// WriteReport writes a result as one HTML file that needs no other: its pictures are in
// it, it has no script and loads nothing.
func WriteReport(w io.Writer, r *loadtest.Result) error {
	sum := sha256.Sum256([]byte(style))
	err := standalone.ExecuteTemplate(w, "report.html", struct {
		Result    *loadtest.Result
		Style     template.CSS
		StyleHash string
	}{r, template.CSS(style), base64.StdEncoding.EncodeToString(sum[:])})
	if err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

// fragment is a result as the page shows it.
func fragment(r *loadtest.Result) (string, error) {
	var b strings.Builder
	if err := live.ExecuteTemplate(&b, "result", r); err != nil {
		return "", fmt.Errorf("drawing the result: %w", err)
	}
	return b.String(), nil
}
