package main

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
)

// A part is a wheel, a Debian package or a library in a wheel. The name of a library
// is its wheel's and its own with a colon between them.
type part struct {
	kind, name, version, licence string
}

var (
	wheelLine  = regexp.MustCompile(`(?m)^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^ ;\\]+)`)
	debianLine = regexp.MustCompile(`(?m)^([a-z0-9.+-]+)=(\S+)`)
)

// carriedParts returns what the locks name with the licences that parts.txt has,
// and what is missing or too many there. No lock names a wheel's libraries, so only
// their wheels are checked.
func carriedParts() (carried []part, problems []string, err error) {
	text, err := os.ReadFile(parts)
	if err != nil {
		return nil, nil, err
	}
	licences, used := map[string]string{}, map[string]bool{}
	for l := range strings.Lines(string(text)) {
		if l = strings.TrimSpace(l); l == "" || strings.HasPrefix(l, "#") {
			continue
		}
		f := strings.SplitN(l, " ", 3)
		if len(f) != 3 {
			return nil, nil, fmt.Errorf("%s: %q: want kind, name and licence", parts, l)
		}
		licences[f[0]+" "+f[1]] = f[2]
	}
	read := func(kind, file string, line *regexp.Regexp) error {
		lock, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		for _, m := range line.FindAllStringSubmatch(string(lock), -1) {
			name := m[1]
			if kind == "wheel" {
				name = strings.NewReplacer("_", "-", ".", "-").Replace(strings.ToLower(name))
			}
			key := kind + " " + name
			licence, ok := licences[key]
			switch {
			case !ok:
				problems = append(problems, fmt.Sprintf("%s: %s has no line in %s", file, name, parts))
			case !used[key]:
				carried = append(carried, part{kind, name, m[2], licence})
			}
			used[key] = true
		}
		return nil
	}
	for _, file := range wheelLocks {
		if err := read("wheel", file, wheelLine); err != nil {
			return nil, nil, err
		}
	}
	if err := read("deb", debianLock, debianLine); err != nil {
		return nil, nil, err
	}
	for key, licence := range licences {
		if name, ok := strings.CutPrefix(key, "lib "); ok {
			wheel, _, _ := strings.Cut(name, ":")
			if used["wheel "+wheel] {
				carried = append(carried, part{"lib", name, "", licence})
				used[key] = true
			}
		}
		if !used[key] {
			problems = append(problems, fmt.Sprintf("%s: %s is in no lock any more", parts, key))
		}
	}
	slices.Sort(problems)
	slices.SortFunc(carried, func(a, b part) int {
		return strings.Compare(a.kind+a.name, b.kind+b.name)
	})
	return carried, problems, nil
}
