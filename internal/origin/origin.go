// Package origin finds the table of a data set. In this order it tries the table
// that the user named, files near the project, a file of an installed Python
// package, the public address and the project's own generator.
package origin

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"mlops/internal/dataset"
	"mlops/internal/probe"
	"mlops/internal/program"
	"mlops/internal/synthetic"
)

// Table is where a data set's table was found.
type Table struct {
	URL       string // for load-raw-data; empty: the spec's own, checked by its digest
	From      string // for messages
	Synthetic bool
}

// Warning must be shown to the user of a synthetic table.
const Warning = "!! The real table was not found: this one is SYNTHETIC, made by the project's own generator. Its scores say nothing about the real world. !!"

// Places are the places to look for a table.
type Places struct {
	Dataset    string                                            // path or address that the user named; empty: none
	Root       string                                            // the project's folder, to which the spec's local paths are relative
	Site       string                                            // the folder of installed Python packages; empty: none
	Synthesize func(spec *dataset.Spec) (path string, err error) // the last resort
}

// Unpacked returns the folder in which `make images` unpacks tables of Python
// packages that are not installed, laid out as in site-packages.
func Unpacked(cache string) string { return filepath.Join(cache, "images", "tables") }

// reachLimit is how long a public address may take to respond.
const reachLimit = 8 * time.Second

// Find returns the first table found: the one that the user named, the spec's
// local paths, the file in the installed package, the public address, or the
// generator's.
func (p Places) Find(ctx context.Context, spec *dataset.Spec) (Table, error) {
	if p.Dataset != "" {
		return named(p.Dataset)
	}
	var tried []string
	for _, path := range spec.Source.Local {
		if !filepath.IsAbs(path) {
			path = filepath.Join(p.Root, path)
		}
		if isFile(path) {
			return Table{URL: fileURL(path), From: path}, nil
		}
		tried = append(tried, "no file "+path)
	}
	if spec.Source.Package != "" && p.Site != "" {
		path := filepath.Join(p.Site, filepath.FromSlash(spec.Source.Package))
		if isFile(path) {
			return Table{URL: fileURL(path), From: "the Python package's " + spec.Source.Package}, nil
		}
		tried = append(tried, "no file "+path)
	}
	if spec.Source.URL != "" {
		err := reach(ctx, spec.Source.URL)
		if err == nil {
			return Table{From: spec.Source.URL}, nil
		}
		tried = append(tried, err.Error())
	}
	path, err := p.Synthesize(spec)
	if err != nil {
		return Table{}, fmt.Errorf("making a synthetic table for %s, since there is no real one (%s): %w", spec.Name, strings.Join(tried, "; "), err)
	}
	return Table{URL: fileURL(path), From: path, Synthetic: true}, nil
}

// syntheticRows is the size of a synthetic table.
const syntheticRows = 20_000

// Synthesize writes the generator's table for a data set, which is always the same.
func Synthesize(spec *dataset.Spec, dir string) (path string, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	path = filepath.Join(dir, spec.Name+".csv")
	f, err := os.Create(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if err := synthetic.Write(f, spec, syntheticRows, 1); err != nil {
		return "", err
	}
	return path, f.Close()
}

// named returns the table of DATASET: an address as it is, anything else as a path
// relative to the working folder.
func named(text string) (Table, error) {
	if strings.Contains(text, "://") {
		if _, err := url.Parse(text); err != nil {
			return Table{}, program.Inputf("DATASET: %w", err)
		}
		return Table{URL: text, From: text}, nil
	}
	p, err := filepath.Abs(text)
	if err != nil {
		return Table{}, fmt.Errorf("DATASET: %w", err)
	}
	if !isFile(p) {
		return Table{}, program.Inputf("DATASET: %s is not a file", p)
	}
	return Table{URL: fileURL(p), From: p}, nil
}

func isFile(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.Mode().IsRegular()
}

func fileURL(path string) string {
	return (&url.URL{Scheme: "file", Path: path}).String()
}

// reach checks that the address has the file, without downloading it.
func reach(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, reachLimit)
	defer cancel()
	return probe.HTTP(ctx, address)
}
