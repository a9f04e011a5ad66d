package browser

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"mlops/internal/prepare"
)

// axeLock names the package that axe-core is taken from, by its digest.
//
//go:embed axe.txt
var axeLock string

// Axe returns the script of axe-core, which finds what makes a page hard to use. The pip
// of one of the Pythons downloads the package that has it into the folder cache, once.
func Axe(ctx context.Context, pythons []string, cache string) (string, error) {
	script, err := unpackAxe(cache)
	if !errors.Is(err, fs.ErrNotExist) {
		return script, err
	}
	py, err := prepare.FindPython(ctx, pythons)
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "axe-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	lock := filepath.Join(dir, "axe.txt")
	if err := os.WriteFile(lock, []byte(axeLock), 0o644); err != nil {
		return "", err
	}
	out, err := exec.CommandContext(ctx, py.Path, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--require-hashes",
		"--no-input", "--disable-pip-version-check", "--dest", cache, "-r", lock).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("downloading axe-core: %w\n%s", err, out)
	}
	return unpackAxe(cache)
}

// unpackAxe reads the script from the package in a folder; fs.ErrNotExist if the locked
// one is not there.
func unpackAxe(dir string) (string, error) {
	wheels, err := filepath.Glob(filepath.Join(dir, "axe_playwright_python-*.whl"))
	if err != nil {
		return "", err
	}
	for _, name := range wheels {
		data, err := os.ReadFile(name)
		if err != nil {
			return "", err
		}
		if sum := sha256.Sum256(data); !strings.Contains(axeLock, "sha256:"+hex.EncodeToString(sum[:])) {
			continue
		}
		z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return "", fmt.Errorf("opening %s: %w", name, err)
		}
		text, err := fs.ReadFile(z, "axe_playwright_python/axe.min.js")
		return string(text), err
	}
	return "", fmt.Errorf("no package with axe-core in %s: %w", dir, fs.ErrNotExist)
}

// Violations runs axe-core on the page, and describes each violation by its rule and an
// element.
func (p *Page) Violations(ctx context.Context, axe string) ([]string, error) {
	var found []struct {
		ID, Help string
		Nodes    []struct {
			HTML    string `json:"html"`
			Summary string `json:"failureSummary"`
		}
	}
	// The page's policy allows no other script; the protocol asks nobody.
	if err := p.Eval(ctx, "typeof axe === 'undefined' && (() => {"+axe+"\n})()", nil); err != nil {
		return nil, err
	}
	if err := p.Eval(ctx, "axe.run().then((r) => r.violations)", &found); err != nil {
		return nil, err
	}
	var list []string
	for _, v := range found {
		for _, n := range v.Nodes {
			list = append(list, fmt.Sprintf("%s: %s: %.200s: %s", v.ID, v.Help, n.HTML, strings.Join(strings.Fields(n.Summary), " ")))
		}
	}
	return list, nil
}
