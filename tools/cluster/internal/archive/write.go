// Package archive writes and reads OCI archives of container images.
package archive

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
)

// Static describes an image of one static program.
type Static struct {
	Name string // with its tag
	Path string // of the program
	File string // its name in the image's root, which is also the entrypoint
}

type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int64             `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Platform    map[string]string `json:"platform,omitempty"`
}

// Write writes an OCI archive of the image. The same program gives the same bytes.
func (s Static) Write(path string) error {
	if err := s.write(path); err != nil {
		return fmt.Errorf("writing image %s: %w", s.Name, err)
	}
	return nil
}

func (s Static) write(path string) error {
	program, err := os.ReadFile(s.Path)
	if err != nil {
		return err
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	if err := w.WriteHeader(&tar.Header{Name: s.File, Mode: 0o755, Size: int64(len(program)), Format: tar.FormatUSTAR}); err != nil {
		return err
	}
	if _, err := w.Write(program); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	tmp := path + ".new"
	f, err := os.Create(tmp)
	if err != nil {
		return err
	}
	defer os.Remove(tmp)
	defer f.Close()
	out := &writer{w: tar.NewWriter(f)}
	layerDesc := out.blob("application/vnd.oci.image.layer.v1.tar", layer.Bytes())
	config := out.json("application/vnd.oci.image.config.v1+json", map[string]any{
		"architecture": runtime.GOARCH, "os": "linux", "created": "1970-01-01T00:00:00Z",
		"config": map[string]any{"Entrypoint": []string{"/" + s.File}, "User": "65532:65532", "WorkingDir": "/"},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{layerDesc.Digest}},
	})
	manifest := out.json("application/vnd.oci.image.manifest.v1+json", map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config, "layers": []descriptor{layerDesc},
	})
	manifest.Annotations = map[string]string{"io.containerd.image.name": s.Name}
	manifest.Platform = map[string]string{"architecture": runtime.GOARCH, "os": "linux"}
	index, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []descriptor{manifest}})
	if err != nil {
		return err
	}
	out.file("index.json", index)
	out.file("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`))
	if out.err == nil {
		out.err = out.w.Close()
	}
	if out.err == nil {
		out.err = f.Sync()
	}
	if out.err == nil {
		out.err = f.Close()
	}
	if out.err == nil {
		out.err = os.Rename(tmp, path)
	}
	return out.err
}

// writer writes blobs and remembers the first error.
type writer struct {
	w   *tar.Writer
	err error
}

func (a *writer) json(mediaType string, v any) descriptor {
	text, err := json.Marshal(v)
	if a.err == nil {
		a.err = err
	}
	return a.blob(mediaType, text)
}

func (a *writer) blob(mediaType string, b []byte) descriptor {
	sum := sha256.Sum256(b)
	digest := hex.EncodeToString(sum[:])
	a.file("blobs/sha256/"+digest, b)
	return descriptor{MediaType: mediaType, Digest: "sha256:" + digest, Size: int64(len(b))}
}

func (a *writer) file(name string, b []byte) {
	if a.err != nil {
		return
	}
	if a.err = a.w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(b)), Format: tar.FormatUSTAR}); a.err == nil {
		_, a.err = io.Copy(a.w, bytes.NewReader(b))
	}
}
