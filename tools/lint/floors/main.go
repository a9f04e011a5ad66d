// Floors compares the packages with docs/inside.md: each package stands on one
// floor there and imports nothing from a floor above, programs link nothing that is
// forbidden to them, and only main packages read the environment. It runs in the
// project's root and prints every breach. With -write it redraws the diagram of the
// page.
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
)

const page = "docs/inside.md"

func main() {
	write := flag.Bool("write", false, "redraw the diagram in "+page)
	flag.Parse()
	if err := run(*write); err != nil {
		fmt.Fprintln(os.Stderr, "floors:", err)
		os.Exit(1)
	}
}

func run(write bool) error {
	text, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	plan, err := parse(string(text))
	if err != nil {
		return fmt.Errorf("%s: %w", page, err)
	}
	packages, err := list()
	if err != nil {
		return err
	}
	breaches := check(plan, packages)
	reads, err := environment(plan, packages)
	if err != nil {
		return err
	}
	breaches = append(breaches, reads...)
	drawn, err := redraw(string(text), plan, packages)
	if err != nil {
		return fmt.Errorf("%s: %w", page, err)
	}
	if drawn != string(text) {
		if !write {
			breaches = append(breaches, "the diagram in "+page+" is out of date: bin/lint/floors -write redraws it")
		} else if err := os.WriteFile(page, []byte(drawn), 0o644); err != nil {
			return err
		}
	}
	for _, b := range breaches {
		fmt.Println(b)
	}
	if len(breaches) > 0 {
		return fmt.Errorf("%d breaches of what %s says", len(breaches), page)
	}
	return nil
}

// A goPackage is what go list tells of a package.
type goPackage struct {
	ImportPath, Dir, Name string
	GoFiles, Imports      []string
	Deps                  []string
}

const module = "mlops"

// list returns the module's packages as they are built for Linux, without tests.
func list() ([]goPackage, error) {
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,Name,GoFiles,Imports,Deps", "./...")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOFLAGS=")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	var packages []goPackage
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := d.Decode(&p); err == io.EOF {
			return packages, nil
		} else if err != nil {
			return nil, fmt.Errorf("go list: %w", err)
		}
		if len(p.GoFiles) > 0 { // tests alone have no place on a floor
			packages = append(packages, p)
		}
	}
}
