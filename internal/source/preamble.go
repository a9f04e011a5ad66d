package source

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"mlops/internal/dataset"
)

// A table may have lines before its header that are none of its records: a title,
// comments, the line sep=; that spreadsheets read.

const (
	maxPreamble = 30 // lines
	followers   = 20 // records by which a header is known
	fewRecords  = 10 // too few to say that the header lacks a name, where the spec describes the table
)

// separatorLine is the first line by which a spreadsheet knows the separator.
var separatorLine = regexp.MustCompile(`(?i)^"?sep=(.)"?\r?\n?$`)

// skipLines consumes n lines, and then those that are empty. It returns how many there
// were.
func (r *Reader) skipLines(n int) (skipped int, err error) {
	for {
		length, err := r.findLine()
		switch {
		case errors.Is(err, io.EOF):
			return skipped, nil
		case err != nil:
			return skipped, archiveError(err)
		case length < 0 && skipped < n:
			if err := r.skipLong(); err != nil {
				return skipped, err
			}
		case length < 0:
			return skipped, nil
		case skipped < n || len(bytes.TrimSpace(r.buf[r.start:r.start+length])) == 0:
			r.takeLine(length)
		default:
			return skipped, nil
		}
		skipped++
	}
}

// guessPreamble returns how many of the first lines are none of the table's: those before
// the first one whose fields are as many as those of most records below it, if they have
// far fewer. sep is the separator by which they were counted, 0 where there is none.
func guessPreamble(start []byte) (lines int, sep byte) {
	start = bytes.TrimPrefix(start, []byte("\xef\xbb\xbf"))
	given := byte(0)
	var before [][]byte
	for ; lines < maxPreamble && len(start) > 0; lines++ {
		end := bytes.IndexByte(start, '\n') + 1
		if end == 0 {
			end = len(start)
		}
		line := start[:end]
		if m := separatorLine.FindSubmatch(line); lines == 0 && m != nil {
			given = m[1][0]
		} else if len(bytes.TrimSpace(line)) > 0 {
			if width, by := widthOf(start, given); width > 0 {
				for _, b := range before {
					if !oddLine(b, by, width) {
						return 0, 0
					}
				}
				return lines, by
			}
		}
		before = append(before, line)
		start = start[end:]
	}
	return 0, 0
}

// widthOf is the number of fields of the first line, by the separator that gives the
// most, if most of the records below it have as many; 0 if they don't.
func widthOf(start []byte, given byte) (width int, sep byte) {
	for _, s := range separators {
		if given != 0 && s.sep != given {
			continue
		}
		r := newReader(bytes.NewReader(start), Position{Line: 1}, header{sep: s.sep})
		first, full, same, more, n := 0, 0, 0, 0, 0
		for n <= followers {
			rec, err := r.Next()
			if err != nil {
				break
			}
			if rec.Reason != "" && rec.Reason != InvalidUTF8 {
				if n == 0 {
					break
				}
				continue
			}
			switch fields := len(rec.Fields); {
			case n == 0:
				first = fields
				for _, f := range rec.Fields {
					if len(bytes.TrimSpace(f)) > 0 {
						full++
					}
				}
			case fields == first:
				same++
			case fields == first+1: // a header without a name for the rows' own, or for an empty last field
				more++
			}
			n++
		}
		records := n - 1
		if start[0] != '#' && more == records {
			same = records
		}
		if first > 1 && full*2 >= first && full > 1 && same*10 >= records*6 && first > width {
			width, sep = first, s.sep
		}
	}
	return width, sep
}

// lineNamed returns how many lines are before the one that has a field with that name, no
// number and mostly different fields, if the line behind the first skip lines has none; else
// skip.
func lineNamed(start []byte, sep byte, name string, skip int) int {
	r := newReader(bytes.NewReader(bytes.TrimPrefix(start, []byte("\xef\xbb\xbf"))), Position{Line: 1}, header{sep: sep})
	for r.line <= maxPreamble {
		line := int(r.line) - 1
		rec, err := r.Next()
		if err != nil {
			break
		}
		number := func(f []byte) bool { _, ok := dataset.ParseNumber(bytes.TrimSpace(f)); return ok }
		named := slices.ContainsFunc(rec.Fields, func(f []byte) bool { return string(bytes.TrimSpace(f)) == name })
		different := map[string]bool{}
		for _, f := range rec.Fields {
			different[string(bytes.TrimSpace(f))] = true
		}
		if line >= skip && named && (line == skip || !slices.ContainsFunc(rec.Fields, number) && 2*len(different) > len(rec.Fields)) {
			return line
		}
	}
	return skip
}

// oddLine reports whether a line before a header is none of the table's records.
func oddLine(line []byte, sep byte, width int) bool {
	line = bytes.TrimSpace(line)
	if len(line) == 0 || line[0] == '#' || separatorLine.Match(line) {
		return true
	}
	full := 0
	fields := bytes.Split(line, []byte{sep})
	for _, f := range fields {
		if len(bytes.Trim(f, "\" \t")) > 0 {
			full++
		}
	}
	return full <= 1 || len(fields)*2 <= width
}

// preambleHint says on which line the header rather is, "" where it is the first.
func preambleHint(start []byte, skipped int) string {
	if n, _ := guessPreamble(start); n > 0 {
		return fmt.Sprintf("; the header seems to be on line %d: source: {skip: %d} would read it", skipped+n+1, skipped+n)
	}
	return ""
}

// extend gives a name to a field that all records have beyond those of the header, as
// pandas does: none, to the last one where it is empty, else to the first, which is a row's
// number or name.
//
// A first field counts as one only if it differs from row to row, or expected says that
// there is a column without a name: else the records have a separator too many in a field.
func (r *Reader) extend(names []string, guess, expected bool) ([]string, error) {
	next, err := r.peek(MaxRecord)
	if err != nil {
		return nil, archiveError(err)
	}
	more := newReader(bytes.NewReader(next), Position{Line: 2}, header{sep: r.header.sep})
	n, empty := 0, 0
	first := map[string]bool{}
	for ; n < followers; n++ {
		rec, err := more.Next()
		if err != nil || rec.Reason != "" {
			break
		}
		if len(rec.Fields) != len(names)+1 {
			return names, nil
		}
		first[string(rec.Fields[0])] = true
		if len(bytes.TrimSpace(rec.Fields[len(names)])) == 0 {
			empty++
		}
	}
	switch {
	case n < fewRecords && !(guess && n > 0) || len(names) < 2 || slices.Contains(names, ""):
		return names, nil
	case empty == n:
		return append(names, ""), nil
	case empty == 0 && (expected || len(first) == n):
		return append([]string{""}, names...), nil
	}
	return names, nil
}

// toldApart tells columns with the same name apart: x, x become x#1, x#2.
func toldApart(names []string) []string {
	count := map[string]int{}
	for _, n := range names {
		count[n]++
	}
	seen := map[string]int{}
	out := slices.Clone(names)
	for i, n := range names {
		if n == "" || count[n] < 2 {
			continue
		}
		seen[n]++
		if out[i] = fmt.Sprintf("%s#%d", n, seen[n]); count[out[i]] > 0 {
			return names // which are called so
		}
	}
	return out
}

// Repeated returns the header that a name was made of because several columns have it, and
// ok false if it is one as it stands.
func Repeated(name string) (header string, ok bool) {
	i := strings.LastIndexByte(name, '#')
	if i < 1 {
		return "", false
	}
	for _, c := range name[i+1:] {
		if c < '0' || c > '9' {
			return "", false
		}
	}
	return name[:i], i+1 < len(name)
}
