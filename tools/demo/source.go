package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"mlops/internal/dataset"
	"mlops/internal/program"
	"mlops/internal/synthetic"
)

// table is where a data set's table was found.
type table struct {
	url       string // for load-raw-data; empty: the spec's own, checked by its digest
	from      string // for people
	synthetic bool
}

// reachLimit is how long a public address may take to answer.
const reachLimit = 8 * time.Second

// findTable looks for the table: what the user named, the spec's local paths, the
// file in the installed package, the public address, and at last the generator.
func findTable(ctx context.Context, c *config, spec *dataset.Spec, site string) (table, error) {
	if c.dataset != "" {
		return named(c.dataset)
	}
	var tried []string
	for _, p := range spec.Source.Local {
		if !filepath.IsAbs(p) {
			p = filepath.Join(c.root, p)
		}
		if isFile(p) {
			return table{url: fileURL(p), from: p}, nil
		}
		tried = append(tried, "no file "+p)
	}
	if spec.Source.Package != "" {
		p := filepath.Join(site, filepath.FromSlash(spec.Source.Package))
		if isFile(p) {
			return table{url: fileURL(p), from: "the Python package's " + spec.Source.Package}, nil
		}
		tried = append(tried, "no file "+p)
	}
	if spec.Source.URL != "" {
		err := reach(ctx, spec.Source.URL)
		if err == nil {
			return table{from: spec.Source.URL}, nil
		}
		tried = append(tried, err.Error())
	}
	path, err := c.synthesize(spec, c.state.Path("synthetic"))
	if err != nil {
		return table{}, fmt.Errorf("making a synthetic table of %s, since there is no real one (%s): %w", spec.Name, strings.Join(tried, "; "), err)
	}
	return table{url: fileURL(path), from: path, synthetic: true}, nil
}

// syntheticRows is how many rows a synthetic table has.
const syntheticRows = 20_000

// synthesize writes the generator's table of a data set, always the same one.
func synthesize(spec *dataset.Spec, dir string) (path string, err error) {
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

// named takes DATASET: an address as it is, anything else as a path from where
// the user is.
func named(text string) (table, error) {
	if strings.Contains(text, "://") {
		if _, err := url.Parse(text); err != nil {
			return table{}, program.Inputf("DATASET: %w", err)
		}
		return table{url: text, from: text}, nil
	}
	p, err := filepath.Abs(text)
	if err != nil {
		return table{}, fmt.Errorf("DATASET: %w", err)
	}
	if !isFile(p) {
		return table{}, program.Inputf("DATASET: %s is no file", p)
	}
	return table{url: fileURL(p), from: p}, nil
}

func isFile(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.Mode().IsRegular()
}

func fileURL(path string) string {
	return (&url.URL{Scheme: "file", Path: path}).String()
}

// reach asks whether the address would give the file, and fetches nothing of it.
func reach(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, reachLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", address, resp.Status)
	}
	return nil
}
