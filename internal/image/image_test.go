package image

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// small is an image with one file, a folder and a link.
func small(t *testing.T, arch string) v1.Image {
	t.Helper()
	f := NewFiles()
	must(t, f.Data("/program", 0o755, []byte("for "+arch)), f.Dir("/tmp", fs.ModeSticky|0o777), f.Link("/usr/bin/p", "../../program"))
	l, err := f.Layer(t.TempDir())
	must(t, err)
	img, err := New(nil, Config{Arch: arch, User: "65532:65532", Entrypoint: []string{"/program"}, WorkDir: "/", Env: map[string]string{"B": "2", "A": "1"}}, l)
	must(t, err)
	return img
}

func TestTheSameFilesGiveTheSameLayer(t *testing.T) {
	onDisk := filepath.Join(t.TempDir(), "x")
	must(t, os.WriteFile(onDisk, []byte("content"), 0o600))
	add := []func(*Files) error{
		func(f *Files) error { return f.Data("/b/one", 0o644, []byte("1")) },
		func(f *Files) error { return f.Disk("/a/two", 0o755, onDisk) },
		func(f *Files) error { return f.Link("/a/three", "two") },
		func(f *Files) error { return f.Dir("/b", 0o700) },
	}
	var first *layer
	for turn := range 3 {
		f := NewFiles()
		for i := range add {
			must(t, add[(i+turn)%len(add)](f))
		}
		old := time.Unix(int64(1e9*turn), 0)
		must(t, os.Chtimes(onDisk, old, old))
		l, err := f.layer(t.TempDir())
		must(t, err)
		if first == nil {
			first = l
		}
		if l.digest != first.digest || l.diffID != first.diffID || l.size != first.size {
			t.Errorf("turn %d: %v, first %v", turn, l.digest, first.digest)
		}
	}
	r, err := first.Uncompressed()
	must(t, err)
	defer r.Close()
	want := []string{"a/ 755", "a/three 777 two", "a/two 755", "b/ 700", "b/one 644"}
	var got []string
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		must(t, err)
		if !h.ModTime.Equal(time.Unix(0, 0)) || h.Uid != 0 || h.Gid != 0 || h.Uname != "" {
			t.Errorf("%s: time %v, owner %d:%d %q", h.Name, h.ModTime, h.Uid, h.Gid, h.Uname)
		}
		got = append(got, strings.TrimSpace(fmt.Sprintf("%s %o %s", h.Name, h.Mode, h.Linkname)))
	}
	if !slices.Equal(got, want) {
		t.Errorf("entries %q, want %q", got, want)
	}
}

func TestFilesRefuse(t *testing.T) {
	for _, c := range []struct {
		name string
		add  func(*Files) error
		want string
	}{
		{"relative", func(f *Files) error { return f.Dir("a", 0o755) }, "not a clean absolute path"},
		{"climbing", func(f *Files) error { return f.Dir("/a/../b", 0o755) }, "not a clean absolute path"},
		{"root", func(f *Files) error { return f.Dir("/", 0o755) }, "not a clean absolute path"},
		{"below a link", func(f *Files) error { return f.Data("/link/x", 0o644, nil) }, "/link is not a folder"},
		{"below a file", func(f *Files) error { return f.Data("/file/deep/x", 0o644, nil) }, "/file is not a folder"},
		{"folder over file", func(f *Files) error { return f.Dir("/file", 0o755) }, "as another type"},
		{"file over folder", func(f *Files) error { return f.Data("/dir", 0o644, nil) }, "as another type"},
		{"missing on disk", func(f *Files) error { return f.Disk("/x", 0o644, "/does/not/exist") }, "no such file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := NewFiles()
			must(t, f.Link("/link", "dir"), f.Data("/file", 0o644, nil), f.Dir("/dir", 0o755))
			if err := c.add(f); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestDeb(t *testing.T) {
	if _, err := exec.LookPath("dpkg-deb"); err != nil {
		t.Skip("no dpkg-deb on this machine")
	}
	root := t.TempDir()
	must(t,
		os.MkdirAll(filepath.Join(root, "DEBIAN"), 0o755),
		os.WriteFile(filepath.Join(root, "DEBIAN", "control"), []byte("Package: p\nVersion: 1\nArchitecture: all\nMaintainer: m <m@example.com>\nDescription: d\n"), 0o644),
		os.MkdirAll(filepath.Join(root, "lib", "x"), 0o755),
		os.MkdirAll(filepath.Join(root, "lib64"), 0o755),
		os.MkdirAll(filepath.Join(root, "usr", "share", "doc", "p"), 0o755),
		os.WriteFile(filepath.Join(root, "lib", "x", "libp.so.1.2"), []byte("library"), 0o644),
		os.Symlink("libp.so.1.2", filepath.Join(root, "lib", "x", "libp.so.1")),
		os.Symlink("/lib/x/libp.so.1.2", filepath.Join(root, "lib64", "ld.so")),
		os.WriteFile(filepath.Join(root, "usr", "su"), []byte("tool"), 0o755),
		os.Chmod(filepath.Join(root, "usr", "su"), 0o755|fs.ModeSetuid),
		os.Link(filepath.Join(root, "usr", "su"), filepath.Join(root, "usr", "su2")),
		os.WriteFile(filepath.Join(root, "usr", "share", "doc", "p", "changelog"), []byte("long"), 0o644),
	)
	deb := filepath.Join(t.TempDir(), "p.deb")
	if out, err := exec.Command("dpkg-deb", "--build", root, deb).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	f := NewFiles()
	must(t, f.Deb(t.Context(), deb))
	f.Remove(func(path string) bool { return path == "/usr/share" })
	want := []string{"/lib", "/lib/x", "/lib/x/libp.so.1", "/lib/x/libp.so.1.2", "/lib64", "/lib64/ld.so", "/usr", "/usr/su", "/usr/su2"}
	if got := f.Names(); !slices.Equal(got, want) {
		t.Errorf("names %q, want %q", got, want)
	}
	if link := f.entries["/lib64/ld.so"].link; link != "/lib/x/libp.so.1.2" {
		t.Errorf("the absolute link leads to %q", link)
	}
	if mode := f.entries["/usr/su"].mode; mode != 0o755 {
		t.Errorf("mode of a set-uid program: %v, want 0755 without it", mode)
	}
	if f.entries["/usr/su2"].size != 4 {
		t.Error("the hard link lost its content")
	}
	if err := f.Deb(t.Context(), filepath.Join(root, "usr", "su")); err == nil {
		t.Error("no error for a file that is no package")
	}
}

func TestWheel(t *testing.T) {
	path := filepath.Join(t.TempDir(), "w.whl")
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, m := range []struct {
		name string
		mode fs.FileMode
	}{{"pkg/__init__.py", 0o664}, {"pkg/bin/tool", 0o775}, {"w-1.data/purelib/other.py", 0o644}, {"w-1.data/scripts/run", 0o755}, {"pkg/", 0o755}} {
		h := &zip.FileHeader{Name: m.name, Method: zip.Deflate}
		h.SetMode(m.mode)
		if strings.HasSuffix(m.name, "/") {
			h.SetMode(m.mode | fs.ModeDir)
		}
		w, err := z.CreateHeader(h)
		must(t, err)
		if !strings.HasSuffix(m.name, "/") {
			_, err = io.WriteString(w, m.name)
			must(t, err)
		}
	}
	must(t, z.Close(), os.WriteFile(path, b.Bytes(), 0o644))
	f := NewFiles()
	defer f.Close()
	must(t, f.Wheel(path, "/site"))
	want := []string{"/site", "/site/other.py", "/site/pkg", "/site/pkg/__init__.py", "/site/pkg/bin", "/site/pkg/bin/tool"}
	if got := f.Names(); !slices.Equal(got, want) {
		t.Errorf("names %q, want %q", got, want)
	}
	if a, b := f.entries["/site/pkg/__init__.py"].mode, f.entries["/site/pkg/bin/tool"].mode; a != 0o644 || b != 0o755 {
		t.Errorf("modes %v and %v, want 0644 and 0755", a, b)
	}
}

func TestArchiveOfOneImage(t *testing.T) {
	const ref = "mlops.local/small:1.2"
	dir, archive := filepath.Join(t.TempDir(), "layout"), filepath.Join(t.TempDir(), "small.tar")
	img := small(t, "amd64")
	must(t, Store(dir, ref, map[string]v1.Image{"amd64": img}))
	must(t, WriteArchive(dir, archive))
	digest, err := img.Digest()
	must(t, err)
	s, err := ReadArchive(archive)
	must(t, err)
	if s.Name != ref || s.Digest != digest.String() {
		t.Errorf("the archive holds %s %s, want %s %s", s.Name, s.Digest, ref, digest)
	}
	// As Docker reads it.
	tag, err := name.NewTag(ref)
	must(t, err)
	loaded, err := tarball.ImageFromPath(archive, &tag)
	must(t, err)
	must(t, validate.Image(loaded))
	c, err := loaded.ConfigFile()
	must(t, err)
	if c.Architecture != "amd64" || c.Config.User != "65532:65532" || !slices.Equal(c.Config.Env, []string{"A=1", "B=2"}) || !c.Created.IsZero() {
		t.Errorf("configuration %+v", c)
	}
	// Written again it is the same file.
	again := filepath.Join(t.TempDir(), "again.tar")
	must(t, WriteArchive(dir, again))
	a, err := os.ReadFile(archive)
	must(t, err)
	b, err := os.ReadFile(again)
	must(t, err)
	if !bytes.Equal(a, b) {
		t.Error("two archives of one image differ")
	}
	if _, err := ReadArchive(filepath.Join(t.TempDir(), "none.tar")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an archive that is not there: %v", err)
	}
	must(t, os.WriteFile(archive, a[:600], 0o644))
	if _, err := ReadArchive(archive); err == nil {
		t.Error("no error for an archive that was cut off")
	}
}

func TestPushAndPullTwoPlatforms(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	ref := strings.TrimPrefix(server.URL, "http://") + "/some/where/small:1.2"
	dir := filepath.Join(t.TempDir(), "layout")
	must(t, Store(dir, "mlops.local/small:1.2", map[string]v1.Image{"arm64": small(t, "arm64"), "amd64": small(t, "amd64")}))
	images, err := Images(dir)
	must(t, err)
	digest, err := Push(t.Context(), ref, images)
	must(t, err)
	if s, err := ReadStored(dir); err != nil || s.Digest != digest {
		t.Errorf("stored as %s, pushed as %s (%v)", s.Digest, digest, err)
	}
	r, err := name.ParseReference(ref)
	must(t, err)
	index, err := remote.Index(r)
	must(t, err)
	must(t, validate.Index(index))
	m, err := index.IndexManifest()
	must(t, err)
	if len(m.Manifests) != 2 || m.Manifests[0].Platform.Architecture != "amd64" || m.Manifests[1].Platform.String() != "linux/arm64/v8" {
		t.Errorf("manifests %+v", m.Manifests)
	}
	for _, arch := range []string{"amd64", "arm64"} {
		img, got, err := Pull(t.Context(), ref, arch)
		must(t, err)
		if got != digest {
			t.Errorf("%s: pulled by digest %s, want %s", arch, got, digest)
		}
		root := t.TempDir()
		must(t, Unpack(img, root))
		text, err := os.ReadFile(filepath.Join(root, "usr", "bin", "p")) // through the link
		must(t, err)
		if string(text) != "for "+arch {
			t.Errorf("%s: the program is %q", arch, text)
		}
		if st, err := os.Stat(filepath.Join(root, "tmp")); err != nil || st.Mode()&fs.ModeSticky == 0 || st.Mode().Perm() != 0o777 {
			t.Errorf("%s: /tmp is %v (%v)", arch, st.Mode(), err)
		}
	}
	if _, _, err := Pull(t.Context(), ref+"-not", "amd64"); err == nil {
		t.Error("no error for an image that is not there")
	}
}

// An image on a base keeps the base's files and PATH, and nothing that changes
// from build to build.
func TestNewOnABase(t *testing.T) {
	base, err := mutate.CreatedAt(small(t, "arm64"), v1.Time{Time: time.Unix(1e9, 0)})
	must(t, err)
	base, err = mutate.Config(base, v1.Config{Env: []string{"PATH=/usr/local/bin", "A=base"}, Entrypoint: []string{"/bin/base"}, Labels: map[string]string{"of": "base"}})
	must(t, err)
	f := NewFiles()
	must(t, f.Data("/program", 0o755, []byte("ours")))
	l, err := f.Layer(t.TempDir())
	must(t, err)
	img, err := New(base, Config{Arch: "arm64", Env: map[string]string{"A": "ours"}}, l)
	must(t, err)
	c, err := img.ConfigFile()
	must(t, err)
	if want := []string{"A=ours", "PATH=/usr/local/bin"}; !slices.Equal(c.Config.Env, want) {
		t.Errorf("environment %q, want %q", c.Config.Env, want)
	}
	if c.Config.Entrypoint != nil || c.Config.Labels != nil || !c.Created.IsZero() {
		t.Errorf("of the base's configuration stayed: %+v, made %v", c.Config, c.Created)
	}
	root := t.TempDir()
	must(t, Unpack(img, root))
	if text, err := os.ReadFile(filepath.Join(root, "program")); err != nil || string(text) != "ours" {
		t.Errorf("the upper layer's file is %q (%v)", text, err)
	}
	s, err := SizesOf(img, "arm64")
	must(t, err)
	if s.Compressed <= 0 || s.Unpacked <= s.Compressed {
		t.Errorf("sizes %+v", s)
	}
}
