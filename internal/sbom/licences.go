package sbom

import (
	"regexp"
	"strings"
)

// Licences are the licences of packages, by kind and name.
type Licences map[Kind]map[string]string

// The sections of docs/licences.md whose tables begin with name, version and licence.
var sections = map[string]Kind{"## Go modules linked": Go, "## Python wheels": Python, "## Debian packages": Debian}

// ReadLicences reads the tables of docs/licences.md, which lint holds against the
// packages' own files.
func ReadLicences(page string) Licences {
	l := Licences{Go: {"stdlib": "BSD-3-Clause"}, Python: {}, Debian: {}}
	var kind Kind
	for line := range strings.Lines(page) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "## ") {
			kind = sections[line]
		}
		cells := strings.Split(line, "|")
		if kind == "" || len(cells) < 5 || strings.HasPrefix(cells[1], "---") {
			continue
		}
		name, licence := strings.TrimSpace(cells[1]), strings.TrimSpace(cells[3])
		if expression := strings.ReplaceAll(licence, ", ", " AND "); isExpression(expression) {
			l[kind][name] = expression
		}
	}
	return l
}

// of returns a package's licence as an SPDX expression, or that it is not known.
func (l Licences) of(f Found) string {
	if licence := l[f.Kind][f.Name]; licence != "" {
		return licence
	}
	if isExpression(f.licence) {
		return f.licence
	}
	return unknown
}

var expression = regexp.MustCompile(`^\(*[A-Za-z0-9][A-Za-z0-9.+-]*\)*( (AND|OR|WITH) \(*[A-Za-z0-9][A-Za-z0-9.+-]*\)*)*$`)

// isExpression reports whether a text has the form of an SPDX licence expression.
func isExpression(text string) bool { return expression.MatchString(text) }
