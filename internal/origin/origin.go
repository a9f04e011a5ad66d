// Package origin finds the table of a data set. In this order it tries the table
// that the user named, files near the project, a file of an installed Python
// package, the public address and the table that was loaded last. Invented rows are
// made only where they are asked for, as a data set of their own.
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
)

// Table is where a data set's table was found.
type Table struct {
	URL  string // for load-raw-data; empty: the spec's own, checked by its digest
	From string // for messages
	Last bool   // none was found; this is the one that was loaded last
}

// Warning must be shown to the user of a synthetic table.
const Warning = "!! These rows are SYNTHETIC, made by the project's own generator because SYNTHETIC=1 asked for them. Scores of a model of them say nothing about the real world. !!"

// NotFoundError says that there is no table, and where it was looked for.
type NotFoundError struct {
	Name  string // of the data set
	Tried []string
}

func (e *NotFoundError) Error() string {
	return fmt.Sprintf("no table of %s was found (%s): name one with DATASET=path-or-address; SYNTHETIC=1 makes up rows instead, in a data set of their own",
		e.Name, strings.Join(append(e.Tried, "DATASET is not set"), "; "))
}

// Places are the places to look for a table.
type Places struct {
	Dataset string // path or address that the user named; empty: none
	Root    string // the project's folder, to which the spec's local paths are relative
	Site    string // the folder of installed Python packages; empty: none
	Last    string // URL of the table that was loaded last, the last resort; empty: none
}

// Unpacked returns the folder in which `make images` unpacks tables of Python
// packages that are not installed, laid out as in site-packages.
func Unpacked(cache string) string { return filepath.Join(cache, "images", "tables") }

// reachLimit is how long a public address may take to respond.
const reachLimit = 8 * time.Second

// Find returns the first table found: the one that the user named, the spec's
// local paths, the file in the installed package, the public address, or the one
// that was loaded last, which brings no new row. None is a *NotFoundError.
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
	if u, err := url.Parse(p.Last); p.Last != "" && err == nil {
		if u.Scheme != "file" || isFile(u.Path) {
			return Table{URL: p.Last, From: u.Redacted() + ", loaded last", Last: true}, nil
		}
		tried = append(tried, "the table that was loaded last is gone: "+u.Path)
	}
	return Table{}, program.Input(&NotFoundError{spec.Name, tried})
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
