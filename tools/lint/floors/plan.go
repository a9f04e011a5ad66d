package main

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// A plan is what the page says.
type plan struct {
	floors    []floor        // from the lowest up
	floorOf   map[string]int // by folder, e.g. internal/dataset
	forbidden []rule
	env       map[string]bool // folders that may read the environment although not main
}

type floor struct {
	title    string
	packages []string
}

// A rule says what some programs must not link.
type rule struct {
	programs, packages []string
}

var (
	floorHeading = regexp.MustCompile(`^### Floor (\d+): (.+)$`)
	quoted       = regexp.MustCompile("`([^`]+)`")
)

// parse reads the headings "### Floor N: title" with the tables below them, the
// table below "### Not linked" and the names below "### Only main packages read the environment".
func parse(text string) (*plan, error) {
	p := &plan{floorOf: map[string]int{}, env: map[string]bool{}}
	section := ""
	for i, l := range strings.Split(text, "\n") {
		if m := floorHeading.FindStringSubmatch(l); m != nil {
			n, _ := strconv.Atoi(m[1])
			if n != len(p.floors)+1 {
				return nil, fmt.Errorf("line %d: floor %d, want %d", i+1, n, len(p.floors)+1)
			}
			p.floors = append(p.floors, floor{title: m[2]})
			section = "floor"
			continue
		}
		if strings.HasPrefix(l, "#") {
			section = strings.TrimLeft(l, "# ")
			continue
		}
		cells := strings.Split(strings.Trim(l, "|"), "|")
		switch {
		case section == "floor" && strings.HasPrefix(l, "| `"):
			n := len(p.floors)
			for _, name := range names(cells[0]) {
				if at, ok := p.floorOf[name]; ok {
					return nil, fmt.Errorf("line %d: %s is on floor %d already", i+1, name, at)
				}
				p.floorOf[name] = n
				p.floors[n-1].packages = append(p.floors[n-1].packages, name)
			}
		case section == "Not linked" && strings.HasPrefix(l, "| `"):
			if len(cells) < 2 {
				return nil, fmt.Errorf("line %d: want programs and packages", i+1)
			}
			p.forbidden = append(p.forbidden, rule{programs: names(cells[0]), packages: names(cells[1])})
		case section == "Only main packages read the environment":
			for _, name := range names(l) {
				if strings.HasPrefix(name, "internal/") {
					p.env[name] = true
				}
			}
		}
	}
	if len(p.floors) == 0 {
		return nil, fmt.Errorf("no heading like %q", "### Floor 1: ...")
	}
	return p, nil
}

// names returns the names in backquotes.
func names(s string) []string {
	var out []string
	for _, m := range quoted.FindAllStringSubmatch(s, -1) {
		out = append(out, m[1])
	}
	return out
}
