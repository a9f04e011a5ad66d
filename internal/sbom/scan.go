package sbom

import (
	"archive/tar"
	"bufio"
	"bytes"
	"cmp"
	"debug/buildinfo"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path"
	"slices"
	"strings"
)

// Kind is where a package comes from.
type Kind string

// The kinds of packages.
const (
	Go     Kind = "go"
	Python Kind = "pypi"
	Debian Kind = "deb"
)

// Found is a package in an image.
type Found struct {
	Kind          Kind
	Name, Version string
	licence       string // as the package itself says, if it is an SPDX expression
}

// purl is the package's URL (https://github.com/package-url/purl-spec).
func (f Found) purl(arch string) string {
	version := url.PathEscape(f.Version)
	switch f.Kind {
	case Go:
		return "pkg:golang/" + strings.ToLower(f.Name) + "@" + version
	case Debian:
		return "pkg:deb/debian/" + f.Name + "@" + version + "?arch=" + arch
	}
	return "pkg:pypi/" + f.Name + "@" + version
}

// maxProgram bounds what is read of a file that may be a Go program, and metadataLimit
// what is read of a package's description.
const (
	maxProgram    = 512 << 20
	metadataLimit = 4 << 20
)

// Scan reads an image's files, a tar archive of its root, and returns its packages. The
// caller adds those that left no trace there.
func Scan(r io.Reader) ([]Found, error) {
	var found []Found
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("reading an image's files: %w", err)
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		name := path.Clean("/" + h.Name)
		var more []Found
		switch {
		case path.Base(name) == "METADATA" && strings.HasSuffix(path.Dir(name), ".dist-info"):
			more, err = pythonPackage(io.LimitReader(tr, metadataLimit))
		case name == "/var/lib/dpkg/status" || path.Dir(name) == "/var/lib/dpkg/status.d" && !strings.HasSuffix(name, ".md5sums"):
			more, err = debianPackages(tr)
		case h.FileInfo().Mode()&0o111 != 0 && h.Size <= maxProgram:
			more, err = goModules(tr)
		}
		if err != nil {
			return nil, fmt.Errorf("reading %s of an image: %w", name, err)
		}
		found = append(found, more...)
	}
	return Sorted(found), nil
}

// Sorted sorts packages and drops duplicates.
func Sorted(found []Found) []Found {
	slices.SortFunc(found, func(a, b Found) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Version, b.Version))
	})
	return slices.CompactFunc(found, func(a, b Found) bool { return a.Kind == b.Kind && a.Name == b.Name && a.Version == b.Version })
}

// goModules returns what a Go program says that it was built from; nothing if the file is
// something else.
func goModules(r io.Reader) ([]Found, error) {
	head := make([]byte, 4)
	if _, err := io.ReadFull(r, head); err != nil || string(head) != "\x7fELF" {
		return nil, nil
	}
	all, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	info, err := buildinfo.Read(bytes.NewReader(append(head, all...)))
	if err != nil {
		return nil, nil // a program in another language
	}
	found := []Found{{Kind: Go, Name: "stdlib", Version: strings.TrimPrefix(info.GoVersion, "go")}}
	for _, m := range info.Deps {
		if m.Replace != nil && m.Replace.Version != "" {
			m = m.Replace
		}
		found = append(found, Found{Kind: Go, Name: m.Path, Version: m.Version})
	}
	return found, nil
}

// pythonPackage reads the head of a package's METADATA.
func pythonPackage(r io.Reader) ([]Found, error) {
	f := Found{Kind: Python}
	s := bufio.NewScanner(r)
	s.Buffer(nil, metadataLimit)
	for s.Scan() && s.Text() != "" {
		key, value, _ := strings.Cut(s.Text(), ": ")
		switch key {
		case "Name":
			f.Name = strings.ReplaceAll(strings.ReplaceAll(strings.ToLower(value), "_", "-"), ".", "-")
		case "Version":
			f.Version = value
		case "License-Expression":
			f.licence = value
		}
	}
	if f.Name == "" || f.Version == "" {
		return nil, cmp.Or(s.Err(), errors.New("a Python package without a name or a version"))
	}
	return []Found{f}, nil
}

// debianPackages reads dpkg's list of installed packages.
func debianPackages(r io.Reader) ([]Found, error) {
	var found []Found
	var f Found
	installed := true
	end := func() {
		if f.Name != "" && f.Version != "" && installed {
			found = append(found, f)
		}
		f, installed = Found{Kind: Debian}, true
	}
	end()
	s := bufio.NewScanner(r)
	s.Buffer(nil, metadataLimit)
	for s.Scan() {
		key, value, _ := strings.Cut(s.Text(), ": ")
		switch {
		case s.Text() == "":
			end()
		case key == "Package":
			f.Name = value
		case key == "Version":
			f.Version = value
		case key == "Status":
			installed = strings.HasSuffix(value, " installed")
		}
	}
	end()
	return found, s.Err()
}
