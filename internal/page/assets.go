package page

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"regexp"
	"strings"

	"github.com/gorilla/mux"

	"mlops/internal/headers"
	"mlops/internal/linechart"
)

//go:embed assets
var assetFiles embed.FS

// formScripts make the form's script, in this order.
var formScripts = []string{"fields.js", "answer.js", "predict.js", "tried.js", "follow.js"}

// assets serves the embedded files under names that change with their content, so
// that browsers can cache them forever and never use an old one.
type assets struct {
	address map[string]string // style.css: /assets/style.<digest>.css
	file    map[string]asset  // style.<digest>.css

	// The form's page holds its style and its script: it can be used a journey to the
	// server and back sooner.
	style  template.CSS
	script template.JS
}

type asset struct {
	contentType string
	data        []byte
}

func newAssets() (*assets, error) {
	a := &assets{address: map[string]string{}, file: map[string]asset{}}
	entries, err := assetFiles.ReadDir("assets")
	if err != nil {
		return nil, fmt.Errorf("reading the assets: %w", err)
	}
	for _, e := range entries {
		if e.IsDir() {
			continue
		}
		data, err := fs.ReadFile(assetFiles, path.Join("assets", e.Name()))
		if err != nil {
			return nil, fmt.Errorf("reading the assets: %w", err)
		}
		switch e.Name() {
		case "style.css":
			data = append(data, linechart.Style...)
			a.style = template.CSS(squeezed(data))
		case "monitor.js":
			data = append(data, linechart.Script...)
		}
		sum := sha256.Sum256(data)
		ext := path.Ext(e.Name())
		name := strings.TrimSuffix(e.Name(), ext) + "." + hex.EncodeToString(sum[:6]) + ext
		a.address[e.Name()] = "/assets/" + name
		a.file[name] = asset{mime.TypeByExtension(ext), data}
	}
	for _, name := range formScripts {
		data, err := fs.ReadFile(assetFiles, path.Join("assets/form", name))
		if err != nil {
			return nil, fmt.Errorf("reading the assets: %w", err)
		}
		a.script += template.JS(squeezed(data))
	}
	return a, nil
}

// What texts have for their readers only. Browsers make nodes of it, and it travels.
var (
	comments = regexp.MustCompile(`(?m)^\s*//.*\n|(?s:/\*.*?\*/)`)
	indents  = regexp.MustCompile(`(?m)^\s+`)
)

// squeezed is a style or a script without comments and indents.
func squeezed(text []byte) []byte {
	return indents.ReplaceAll(comments.ReplaceAll(text, nil), nil)
}

// policy is the pages' Content-Security-Policy: it allows their own files, the style and
// the script of the form, and nothing else.
func (a *assets) policy() string {
	return "default-src 'none'; style-src 'self' " + headers.Digest(string(a.style)) + "; script-src 'self' " + headers.Digest(string(a.script)) + "; img-src 'self'; " +
		"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
}

// Address is the URL of a file. A template that names one that doesn't exist is in
// error.
func (a *assets) Address(name string) (string, error) {
	address, ok := a.address[name]
	if !ok {
		return "", fmt.Errorf("no asset is named %s", name)
	}
	return address, nil
}

func (a *assets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f, ok := a.file[mux.Vars(r)["name"]]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", f.contentType)
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	w.Write(f.data)
}
