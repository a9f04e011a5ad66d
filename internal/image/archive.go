package image

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/renameio/v2"
)

// Annotations with which an archive's index names its image: containerd's, with
// the full name, and the standard's, with the tag.
const (
	nameAnnotation = "io.containerd.image.name"
	tagAnnotation  = "org.opencontainers.image.ref.name"
)

// Store writes the images of one name, by architecture, as an OCI layout to a new
// folder.
func Store(dir, name string, byArch map[string]v1.Image) error {
	img, index, err := Index(byArch)
	if err != nil {
		return err
	}
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		return fmt.Errorf("storing %s: %w", name, err)
	}
	_, tag, _ := strings.Cut(name[strings.LastIndexByte(name, '/')+1:], ":")
	named := layout.WithAnnotations(map[string]string{nameAnnotation: name, tagAnnotation: tag})
	if index != nil {
		err = path.AppendIndex(index, named)
	} else {
		for arch := range byArch {
			err = path.AppendImage(img, named, layout.WithPlatform(*platform(arch)))
		}
	}
	if err != nil {
		return fmt.Errorf("storing %s: %w", name, err)
	}
	return nil
}

// Stored describes the content of an OCI layout or archive.
type Stored struct {
	Name   string // registry, name and tag
	Digest string // of the manifest, or of the index of several architectures
	desc   v1.Descriptor
}

// ReadStored describes the layout in the folder.
func ReadStored(dir string) (Stored, error) {
	text, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if err != nil {
		return Stored{}, fmt.Errorf("reading stored image: %w", err)
	}
	return parseStored(text)
}

func parseStored(text []byte) (Stored, error) {
	var m v1.IndexManifest
	if err := json.Unmarshal(text, &m); err != nil {
		return Stored{}, fmt.Errorf("reading stored image: %w", err)
	}
	if len(m.Manifests) != 1 {
		return Stored{}, fmt.Errorf("reading stored image: %d manifests, want 1", len(m.Manifests))
	}
	d := m.Manifests[0]
	return Stored{Name: d.Annotations[nameAnnotation], Digest: d.Digest.String(), desc: d}, nil
}

// ReadArchive describes an archive that WriteArchive wrote. If the file doesn't
// exist, errors.Is(err, fs.ErrNotExist).
func ReadArchive(path string) (Stored, error) {
	f, err := os.Open(path)
	if err != nil {
		return Stored{}, err
	}
	defer f.Close()
	tr := tar.NewReader(f)
	for {
		h, err := tr.Next()
		if err != nil {
			return Stored{}, fmt.Errorf("reading %s: no index.json: %w", path, err)
		}
		if h.Name != "index.json" {
			continue
		}
		text, err := io.ReadAll(io.LimitReader(tr, 1<<20))
		if err != nil {
			return Stored{}, fmt.Errorf("reading %s: %w", path, err)
		}
		return parseStored(text)
	}
}

// WriteArchive writes the layout in dir atomically as a tar archive.
// containerd reads its index.json, Docker its manifest.json. index.json comes
// first, so that ReadArchive doesn't need to read the rest.
func WriteArchive(dir, path string) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("writing %s: %w", path, err)
		}
	}()
	docker, err := dockerManifest(dir)
	if err != nil {
		return err
	}
	out, err := renameio.NewPendingFile(path, renameio.WithTempDir(filepath.Dir(path)), renameio.WithStaticPermissions(0o644))
	if err != nil {
		return err
	}
	defer out.Cleanup()
	tw := tar.NewWriter(out)
	for _, name := range []string{"index.json", "oci-layout"} {
		if err := archiveFile(tw, dir, name); err != nil {
			return err
		}
	}
	if docker != nil {
		if err := tw.WriteHeader(archiveHeader("manifest.json", int64(len(docker)))); err != nil {
			return err
		}
		if _, err := tw.Write(docker); err != nil {
			return err
		}
	}
	blobs, err := fs.Glob(os.DirFS(dir), "blobs/sha256/*") // sorted
	if err != nil {
		return err
	}
	for _, name := range blobs {
		if err := archiveFile(tw, dir, name); err != nil {
			return err
		}
	}
	if err := tw.Close(); err != nil {
		return err
	}
	return out.CloseAtomicallyReplace()
}

func archiveFile(tw *tar.Writer, dir, name string) error {
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if err := tw.WriteHeader(archiveHeader(name, st.Size())); err != nil {
		return err
	}
	_, err = io.Copy(tw, f)
	return err
}

func archiveHeader(name string, size int64) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644, ModTime: time.Unix(0, 0), Format: tar.FormatPAX}
}

// dockerManifest returns the manifest.json that Docker before version 25 needs; it
// can't describe several architectures.
func dockerManifest(dir string) ([]byte, error) {
	s, err := ReadStored(dir)
	if err != nil {
		return nil, err
	}
	if !s.desc.MediaType.IsImage() {
		return nil, nil
	}
	path, err := layout.FromPath(dir)
	if err != nil {
		return nil, err
	}
	img, err := path.Image(s.desc.Digest)
	if err != nil {
		return nil, err
	}
	m, err := img.Manifest()
	if err != nil {
		return nil, err
	}
	blob := func(h v1.Hash) string { return "blobs/" + h.Algorithm + "/" + h.Hex }
	entry := struct {
		Config   string
		RepoTags []string
		Layers   []string
	}{Config: blob(m.Config.Digest), RepoTags: []string{s.Name}}
	for _, l := range m.Layers {
		entry.Layers = append(entry.Layers, blob(l.Digest))
	}
	return json.Marshal([]any{entry})
}

// Sizes are the sizes in bytes of one architecture's image.
type Sizes struct {
	Arch       string
	Compressed int64 // of its layers as they are stored and pulled
	Unpacked   int64 // of its layers' tar archives
}

// Images opens the images in the layout, by architecture.
func Images(dir string) (map[string]v1.Image, error) {
	s, err := ReadStored(dir)
	if err != nil {
		return nil, err
	}
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return nil, fmt.Errorf("opening stored image: %w", err)
	}
	if s.desc.MediaType.IsIndex() {
		if index, err = index.ImageIndex(s.desc.Digest); err != nil {
			return nil, fmt.Errorf("opening stored image: %w", err)
		}
	}
	m, err := index.IndexManifest()
	if err != nil {
		return nil, fmt.Errorf("opening stored image: %w", err)
	}
	images := map[string]v1.Image{}
	for _, d := range m.Manifests {
		if d.Platform == nil {
			return nil, errors.New("opening stored image: a manifest without platform")
		}
		if images[d.Platform.Architecture], err = index.Image(d.Digest); err != nil {
			return nil, fmt.Errorf("opening stored image: %w", err)
		}
	}
	return images, nil
}

// SizesOf measures an image.
func SizesOf(img v1.Image, arch string) (Sizes, error) {
	s := Sizes{Arch: arch}
	layers, err := img.Layers()
	if err != nil {
		return s, fmt.Errorf("measuring an image: %w", err)
	}
	for _, l := range layers {
		n, err := l.Size()
		if err != nil {
			return s, fmt.Errorf("measuring an image: %w", err)
		}
		s.Compressed += n
		r, err := l.Uncompressed()
		if err != nil {
			return s, fmt.Errorf("measuring an image: %w", err)
		}
		n, err = io.Copy(io.Discard, r)
		r.Close()
		if err != nil {
			return s, fmt.Errorf("measuring an image: %w", err)
		}
		s.Unpacked += n
	}
	return s, nil
}
