package archive

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// Ref is one image in an archive.
type Ref struct {
	Name   string // with its tag
	Digest string // of its manifest (OCI) or its configuration (docker save); it identifies the content
}

// Refs lists the images of an archive in the format of OCI or `docker save`. It
// skips the content of layers, so large archives take no longer.
func Refs(path string) ([]Ref, error) {
	refs, err := refs(path)
	if err != nil {
		return nil, fmt.Errorf("reading image archive %s: %w", path, err)
	}
	return refs, nil
}

func refs(path string) ([]Ref, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var docker, oci []Ref
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		switch strings.TrimPrefix(h.Name, "./") {
		case "index.json":
			oci, err = indexRefs(r)
		case "manifest.json":
			docker, err = dockerRefs(r)
		}
		if err != nil {
			return nil, err
		}
	}
	// containerd prefers index.json if there are both.
	all := oci
	if len(all) == 0 {
		all = docker
	}
	if len(all) == 0 {
		return nil, errors.New("it contains no named image")
	}
	slices.SortFunc(all, func(a, b Ref) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

func indexRefs(r io.Reader) ([]Ref, error) {
	var index struct{ Manifests []descriptor }
	if err := json.NewDecoder(r).Decode(&index); err != nil {
		return nil, fmt.Errorf("index.json: %w", err)
	}
	var refs []Ref
	for _, m := range index.Manifests {
		name := m.Annotations["io.containerd.image.name"]
		if name == "" {
			name = m.Annotations["org.opencontainers.image.ref.name"]
		}
		if name != "" {
			refs = append(refs, Ref{name, m.Digest})
		}
	}
	return refs, nil
}

func dockerRefs(r io.Reader) ([]Ref, error) {
	var images []struct {
		Config   string
		RepoTags []string
	}
	if err := json.NewDecoder(r).Decode(&images); err != nil {
		return nil, fmt.Errorf("manifest.json: %w", err)
	}
	var refs []Ref
	for _, i := range images {
		for _, t := range i.RepoTags {
			refs = append(refs, Ref{t, i.Config})
		}
	}
	return refs, nil
}
