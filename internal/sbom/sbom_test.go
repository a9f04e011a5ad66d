package sbom

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// files is a tar archive of an image's root.
func files(t *testing.T, contents map[string]string, program string) *bytes.Buffer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	write := func(name string, mode int64, content []byte) {
		t.Helper()
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: mode, Size: int64(len(content)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	for name, content := range contents {
		write(name, 0o755, []byte(content))
	}
	text, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	write("usr/bin/program", 0o755, text)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &b
}

func scanned(t *testing.T) []Found {
	t.Helper()
	program := filepath.Join(t.TempDir(), "program")
	if out, err := exec.Command("go", "build", "-o", program, "./testdata/program").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	found, err := Scan(files(t, map[string]string{
		"usr/lib/python3/My_Package.Of-1.0.dist-info/METADATA": "Metadata-Version: 2.4\nName: My_Package.Of\nVersion: 1.0\nLicense-Expression: MIT OR Apache-2.0\n\nName: not this\n",
		"usr/lib/python3/other-2.dist-info/METADATA":           "Name: other\nVersion: 2\nLicense: see file\n\n",
		"var/lib/dpkg/status":                                  "Package: libc6\nStatus: install ok installed\nVersion: 2.36-9\nDescription: a\n b\n\nPackage: gone\nStatus: deinstall ok config-files\nVersion: 1\n",
		"var/lib/dpkg/status.d/tzdata":                         "Package: tzdata\nVersion: 2026a-0+deb12u1\n",
		"var/lib/dpkg/status.d/tzdata.md5sums":                 "Package: no\nVersion: 1\n",
		"usr/bin/script":                                       "#!/bin/sh\n",
		"usr/bin/broken":                                       "\x7fELF and nothing else",
	}, program))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestScan(t *testing.T) {
	t.Parallel()
	found := scanned(t)
	var others []Found
	modules := map[string]string{}
	for _, f := range found {
		if f.Kind == Go {
			modules[f.Name] = f.Version
			continue
		}
		others = append(others, f)
	}
	want := []Found{
		{Debian, "libc6", "2.36-9", ""}, {Debian, "tzdata", "2026a-0+deb12u1", ""},
		{Python, "my-package-of", "1.0", "MIT OR Apache-2.0"}, {Python, "other", "2", ""},
	}
	if diff := cmp.Diff(want, others, cmp.AllowUnexported(Found{})); diff != "" {
		t.Errorf("packages (-want +got):\n%s", diff)
	}
	if !strings.HasPrefix(modules["github.com/google/renameio/v2"], "v2.") || modules["stdlib"] == "" {
		t.Errorf("Go modules: %v", modules)
	}
}

func TestDocument(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/licences.md")
	if err != nil {
		t.Fatal(err)
	}
	found := append(scanned(t), Found{Kind: Debian, Name: "dash", Version: "1:0.5"}, Found{Kind: Python, Name: "zipp", Version: "4.1.2"}, Found{Kind: Python, Name: "zipp", Version: "4.1.2"})
	digest := strings.Repeat("0a", 32)
	d := New(Image{Name: "mlflow", Version: "3.1", Digest: "sha256:" + digest, Arch: "amd64"}, found, ReadLicences(string(page)), time.Date(2026, 11, 28, 0, 0, 0, 0, time.UTC))
	text, err := d.JSON()
	if err != nil {
		t.Fatal(err)
	}
	var read Document
	if err := json.Unmarshal(text, &read); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(*d, read, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("read again (-want +got):\n%s", diff)
	}
	// What SPDX 2.3 requires of identifiers and references.
	id := regexp.MustCompile(`^SPDXRef-[A-Za-z0-9.-]+$`)
	ids, named := map[string]bool{d.ID: true}, map[string]bool{}
	byName := map[string]Package{}
	for _, l := range d.Licences {
		named[l.ID] = true
	}
	for _, p := range d.Packages {
		if !id.MatchString(p.ID) || ids[p.ID] {
			t.Errorf("package %s: identifier %q is not valid or not unique", p.Name, p.ID)
		}
		ids[p.ID] = true
		byName[p.Name] = p
		if p.Declared != unknown && !isExpression(p.Declared) {
			t.Errorf("package %s: licence %q is no expression", p.Name, p.Declared)
		}
		for _, ref := range ownLicence.FindAllString(p.Declared, -1) {
			if !named[ref] {
				t.Errorf("package %s: the document doesn't explain %s", p.Name, ref)
			}
		}
		if p.Location == "" || p.Concluded == "" || p.Copyright == "" || len(p.References) != 1 {
			t.Errorf("package %s lacks a field: %+v", p.Name, p)
		}
	}
	for _, r := range d.Relationships {
		if !ids[r.Element] || !ids[r.Related] {
			t.Errorf("relationship with something that is not there: %+v", r)
		}
	}
	for name, want := range map[string][2]string{
		"zipp":                          {"MIT", "pkg:pypi/zipp@4.1.2"},
		"my-package-of":                 {"MIT OR Apache-2.0", "pkg:pypi/my-package-of@1.0"},
		"other":                         {unknown, "pkg:pypi/other@2"},
		"dash":                          {"BSD-3-Clause AND LicenseRef-public-domain", "pkg:deb/debian/dash@1:0.5?arch=amd64"},
		"github.com/google/renameio/v2": {"Apache-2.0", "pkg:golang/github.com/google/renameio/v2@" + byName["github.com/google/renameio/v2"].Version},
		"mlflow":                        {unknown, "pkg:oci/mlflow@sha256%3A" + digest + "?arch=amd64&tag=3.1"},
	} {
		p := byName[name]
		if p.Declared != want[0] || p.References == nil || p.References[0].Locator != want[1] {
			t.Errorf("%s: %q, %v, want %q", name, p.Declared, p.References, want)
		}
	}
	if d.Unlicensed() != 2 { // other and tzdata
		t.Errorf("%d packages without a licence, want 2", d.Unlicensed())
	}
}
