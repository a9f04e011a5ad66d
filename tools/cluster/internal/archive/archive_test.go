package archive

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestWriteAndRead(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "program")
	write := func(text string) (archive []byte, refs []Ref) {
		t.Helper()
		if err := os.WriteFile(program, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "image.tar")
		if err := (Static{Name: "mlops.local/x:1", Path: program, File: "x"}).Write(path); err != nil {
			t.Fatal(err)
		}
		archive, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if refs, err = Refs(path); err != nil {
			t.Fatal(err)
		}
		return archive, refs
	}
	one, refs := write("one")
	again, _ := write("one")
	_, other := write("two")
	if len(refs) != 1 || refs[0].Name != "mlops.local/x:1" {
		t.Fatalf("got %v, want mlops.local/x:1", refs)
	}
	if !bytes.Equal(one, again) {
		t.Error("the same program gave another archive")
	}
	if refs[0].Digest == other[0].Digest {
		t.Error("another program has the same digest")
	}
}

func TestRefs(t *testing.T) {
	const index = `{"manifests":[{"digest":"sha256:aa","annotations":{"io.containerd.image.name":"r/a:1","org.opencontainers.image.ref.name":"1"}},
		{"digest":"sha256:bb","annotations":{"org.opencontainers.image.ref.name":"r/b:2"}},{"digest":"sha256:cc"}]}`
	const docker = `[{"Config":"sha256:dd","RepoTags":["r/d:1","r/d:2"],"Layers":["x.tar"]}]`
	for _, tt := range []struct {
		files [][2]string
		want  []Ref
		why   string
	}{
		{[][2]string{{"blobs/x", "junk"}, {"index.json", index}}, []Ref{{"r/a:1", "sha256:aa"}, {"r/b:2", "sha256:bb"}}, "OCI"},
		{[][2]string{{"./manifest.json", docker}}, []Ref{{"r/d:1", "sha256:dd"}, {"r/d:2", "sha256:dd"}}, "docker save, its names with ./"},
		{[][2]string{{"manifest.json", docker}, {"index.json", index}}, []Ref{{"r/a:1", "sha256:aa"}, {"r/b:2", "sha256:bb"}}, "both"},
		{[][2]string{{"manifest.json", "[]"}}, nil, "no image"},
		{[][2]string{{"index.json", "{"}}, nil, "broken"},
	} {
		path := filepath.Join(t.TempDir(), "x.tar")
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, f := range tt.files {
			w.WriteHeader(&tar.Header{Name: f[0], Mode: 0o644, Size: int64(len(f[1]))})
			w.Write([]byte(f[1]))
		}
		w.Close()
		if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := Refs(path)
		if (err != nil) != (tt.want == nil) || !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %v, %v, want %v", tt.why, got, err, tt.want)
		}
	}
}
