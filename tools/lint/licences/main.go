// Licences lists what the programs link and the images carry, with licences, in
// docs/licences.md, and fails if a linked module is under a licence that is
// incompatible with ours (GPL, AGPL, LGPL) or unknown. It runs in the project's root
// and reads the modules' own licence files in the module cache. Without -write it only
// checks that the page is up to date.
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
)

const (
	page  = "docs/licences.md"
	parts = "tools/lint/licences/parts.txt"
)

// Wheels and Debian packages are named in these files.
var (
	wheelLocks = []string{"python/mlflow.txt", "python/requirements.txt"}
	debianLock = "tools/images/debian.lock"
)

// accepted are the licences that linked code may have.
var accepted = []string{"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC-BY-4.0", "FTL", "ISC", "MIT", "MPL-2.0", "OFL-1.1", "Unlicense", "CC0-1.0"}

func main() {
	write := flag.Bool("write", false, "write "+page)
	flag.Parse()
	if err := run(*write); err != nil {
		fmt.Fprintln(os.Stderr, "licences:", err)
		os.Exit(1)
	}
}

func run(write bool) error {
	modules, err := linked()
	if err != nil {
		return err
	}
	bad := 0
	for _, m := range modules {
		for _, l := range m.licences {
			if !slices.Contains(accepted, l) {
				fmt.Printf("%s %s is linked and under %s\n", m.path, m.version, l)
				bad++
			}
		}
	}
	carried, problems, err := carriedParts()
	if err != nil {
		return err
	}
	for _, p := range problems {
		fmt.Println(p)
	}
	if bad += len(problems); bad > 0 {
		return fmt.Errorf("%d problems", bad)
	}
	text := render(modules, carried)
	if write {
		return os.WriteFile(page, []byte(text), 0o644)
	}
	if old, err := os.ReadFile(page); err != nil || string(old) != text {
		return fmt.Errorf("%s is out of date: run `make licences`", page)
	}
	return nil
}

// A linkedModule is a module that a program of ours links.
type linkedModule struct {
	path, version string
	licences      []string
	inImage       bool // linked into a program of images/
}

// linked returns the modules in the programs for Linux, by path.
func linked() ([]linkedModule, error) {
	cmd := exec.Command("go", "list", "-deps", "-json=Dir,ImportPath,Module,Standard", "./images/...")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOFLAGS=")
	found := map[string]*linkedModule{}
	for _, image := range []bool{true, false} {
		if !image {
			next := exec.Command("go", "list", "-deps", "-json=Dir,ImportPath,Module,Standard", "./...")
			next.Env = cmd.Env
			cmd = next
		}
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("go list: %w", err)
		}
		if err := collect(found, out, image); err != nil {
			return nil, err
		}
	}
	var modules []linkedModule
	for _, path := range slices.Sorted(maps.Keys(found)) {
		m := *found[path]
		slices.Sort(m.licences)
		m.licences = slices.Compact(m.licences)
		modules = append(modules, m)
	}
	return modules, nil
}

// collect adds the packages that go list printed to the modules found.
func collect(found map[string]*linkedModule, out []byte, image bool) error {
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			Dir, ImportPath string
			Standard        bool
			Module          *struct {
				Path, Version, Dir string
				Main               bool
				Replace            *struct{ Path, Version, Dir string }
			}
		}
		if err := d.Decode(&p); err == io.EOF {
			return nil
		} else if err != nil {
			return fmt.Errorf("go list: %w", err)
		}
		if p.Standard || p.Module == nil || p.Module.Main {
			continue
		}
		root, version := p.Module.Dir, p.Module.Version
		if r := p.Module.Replace; r != nil {
			root, version = r.Dir, r.Version
		}
		m := found[p.Module.Path]
		if m == nil {
			m = &linkedModule{path: p.Module.Path, version: version, inImage: image}
			found[p.Module.Path] = m
		}
		m.licences = append(m.licences, licencesOf(p.Module.Path, p.Dir, root)...)
	}
}

// licencesOf returns the licences of the package in dir: those in the nearest
// folder, up to the module's root, that has a licence file.
func licencesOf(module, dir, root string) []string {
	if module == "github.com/golang/freetype" {
		return []string{"FTL"} // its choice of FTL or GPL-2.0; both texts are in files of their own
	}
	for ; ; dir = filepath.Dir(dir) {
		entries, _ := os.ReadDir(dir)
		var found []string
		for _, e := range entries {
			if !e.IsDir() && licenceFile.MatchString(e.Name()) {
				if text, err := os.ReadFile(filepath.Join(dir, e.Name())); err == nil {
					found = append(found, classify(string(text))...)
				}
			}
		}
		if len(found) > 0 {
			return found
		}
		if dir == root || len(dir) <= len(root) {
			return []string{"an unknown licence"}
		}
	}
}

var licenceFile = regexp.MustCompile(`(?i)^(un)?(licen[cs]e|copying)([-._].*)?$`)
