package source

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"mlops/internal/charset"
	"mlops/internal/dataset"
)

// Position is a position in the table where a record starts.
type Position struct {
	Offset int64 // bytes before it, decompressed
	Line   int64 // its physical line; the header is line 1
}

// header is how records are read, mostly by what the first line says.
type header struct {
	end      Position // where the first record starts
	width    int      // fields in the file
	order    []int    // order[i] is the index in the file of wanted column i; nil if it is always i
	none     bool     // the first line is a record
	text     []byte   // the header's line; nil: there is none
	sep      byte
	skip     int    // lines before the header that are none of the table's, empty ones not counted where they are all
	byRow    bool   // records are numbered from 1, whatever lines they have
	replaced string // why a record with U+FFFD is rejected; empty: it isn't
}

// readHeader reads the first record from r and compares it with the wanted columns.
func (t *Table) readHeader(r io.Reader, opts *Options) error {
	sep := opts.Separator
	if sep == 0 {
		sep = ','
		if ext := strings.ToLower(path.Ext(t.name)); ext == ".tsv" || ext == ".tab" {
			sep = '\t'
		}
	}
	byRow := t.rows != nil
	if byRow {
		sep = ','
	}
	in := newReader(r, Position{Line: 1}, header{sep: sep, byRow: byRow})
	start, err := in.peek(MaxRecord)
	if err != nil {
		return archiveError(err)
	}
	if len(start) == 0 {
		return errors.New("the table is empty")
	}
	if bytes.HasPrefix(start, []byte("\xef\xbb\xbf")) {
		in.take(3)
	}
	skip := opts.Skip
	if opts.Guess && len(opts.Columns) == 0 && !byRow {
		var by byte
		if skip, by = guessPreamble(start); by != 0 && opts.Separator == 0 {
			sep = by
		} else if opts.Separator == 0 {
			sep = guessSeparator(start)
		}
		in.header.sep = sep
	}
	if opts.Named != "" && opts.Guess && !byRow && opts.Skip == 0 {
		skip = lineNamed(start, sep, opts.Named, skip)
	}
	if !byRow {
		if _, err := in.skipLines(skip); err != nil {
			return err
		}
	}
	if start, err = in.peek(MaxRecord); err != nil {
		return archiveError(err)
	}
	start = bytes.Clone(start)
	begin := in.Position()
	rec, err := in.Next()
	if errors.Is(err, io.EOF) {
		return errors.New("the table is empty")
	}
	if err != nil {
		return archiveError(err)
	}
	switch {
	case rec.Reason == InvalidUTF8:
		return notUTF8(rec.Text)
	case rec.Reason != "":
		if other := otherSeparator(rec.Text, sep, func(fields []string) bool { return len(fields) > 1 }); other != "" {
			return fmt.Errorf("line %d: %s", begin.Line, other)
		}
		mend := Mend(rec.Reason, rec.Text, sep)
		if mend != "" {
			mend = "; " + mend
		}
		return fmt.Errorf("not a CSV table in %s: line %d: %s%s%s", t.encodingName(), begin.Line, rec.Reason, preambleHint(start, int(begin.Line)-1), mend)
	}
	text := bytes.Clone(rec.Text)
	names := make([]string, len(rec.Fields))
	for i, f := range rec.Fields {
		names[i] = string(bytes.TrimSpace(f))
	}
	noHeader := !byRow && (opts.NoHeader || opts.Guess && len(opts.Columns) == 0 && !(opts.Named != "" && slices.Contains(names, opts.Named)) && looksLikeRecord(names, in.second(sep)))
	if noHeader {
		for i := range names {
			names[i] = fmt.Sprintf("column_%d", i+1)
		}
	}
	if n := len(names); !noHeader && n > 2 && names[n-1] == "" {
		// A separator at the end of the header alone, and not of the records.
		next, err := in.peek(MaxRecord)
		if err != nil {
			return archiveError(err)
		}
		if first, err := newReader(bytes.NewReader(next), Position{Line: 2}, header{sep: sep}).Next(); err == nil && len(first.Fields) == n-1 {
			names = names[:n-1]
		}
	}
	if !noHeader && !byRow {
		if names, err = in.extend(names, opts.Guess, slices.Contains(opts.Ignore, "")); err != nil {
			return err
		}
	}
	names = toldApart(names)
	t.Names = names
	wanted := opts.Columns
	if len(wanted) == 0 {
		wanted = names
	}
	h := header{end: in.Position(), width: len(names), none: noHeader, sep: sep, byRow: byRow, skip: skip}
	switch {
	case byRow:
		h.end.Line = 1
	case !noHeader:
		h.text = text
	}
	if !opts.Guess || len(opts.Columns) > 0 {
		if err := t.refuseNested(wanted); err != nil {
			return err
		}
	}
	switch {
	case t.explicit && charset.Of(t.encoding) == nil: // UTF-8, and the spec says so
	case charset.Of(t.encoding) != nil:
		h.replaced = noCharacter + t.encoding
	default:
		h.replaced = Replaced
	}
	if noHeader {
		h.end = begin
		if len(names) != len(wanted) {
			return fmt.Errorf("line %d has %d fields and the spec lists %d columns; without a header all of the table's columns are listed, in its order%s",
				begin.Line, len(names), len(wanted), otherSeparator(rec.Text, sep, func(fields []string) bool { return len(fields) == len(wanted) }))
		}
	} else if len(opts.Columns) == 0 {
		h.order = nil // all of the header's, even one that is there twice
	} else if h.order, err = match(names, wanted, start, begin.Line, sep, opts); err != nil {
		return err
	}
	t.header = h
	return nil
}

// match finds the wanted columns among the names in the file's header and returns
// their places, nil if they are the header's.
func match(names, columns []string, start []byte, at int64, sep byte, opts *Options) ([]int, error) {
	line, _, _ := bytes.Cut(start, []byte{'\n'})
	line = trimEnd(line)
	place := make(map[string]int, len(names))
	wanted := make(map[string]bool, len(columns))
	for _, c := range columns {
		wanted[c] = true
	}
	var twice, missing, unknown []string
	for i, n := range names {
		repeated, several := Repeated(n)
		if several && wanted[repeated] && !slices.Contains(names, repeated) {
			if !slices.Contains(twice, repeated) {
				twice = append(twice, repeated)
			}
			continue
		}
		if several && slices.Contains(opts.Ignore, repeated) {
			continue
		}
		place[n] = i
		if !wanted[n] && !opts.IgnoreAll && !slices.Contains(opts.Ignore, n) {
			unknown = append(unknown, n)
		}
	}
	order := make([]int, len(columns))
	same := len(names) == len(columns)
	for i, c := range columns {
		j, ok := place[c]
		if !ok && !slices.Contains(twice, c) {
			missing = append(missing, c)
		}
		order[i] = j
		same = same && i == j
	}
	switch {
	case len(missing)+len(unknown)+len(twice) == 0 && same:
		return nil, nil
	case len(missing)+len(unknown)+len(twice) == 0:
		return order, nil
	}
	if len(missing) > 0 {
		found := func(fields []string) int {
			n := 0
			for _, f := range fields {
				if wanted[f] {
					n++
				}
			}
			return n
		}
		here := found(names)
		if other := otherSeparator(line, sep, func(fields []string) bool { return found(fields) > here }); other != "" {
			return nil, fmt.Errorf("line %d: %s", at, other)
		}
	}
	if len(missing) == len(columns) && len(names) == len(missing) {
		return nil, fmt.Errorf("line %d has none of the columns' names: it starts with %s; if it is a record and the table has no header: source: {header: none}", at, list(names))
	}
	hint := ""
	if len(missing) > 0 {
		hint = preambleHint(start, int(at)-1)
	}
	return nil, fmt.Errorf("line %d: the header doesn't match the columns; %s%s", at, mismatch(twice, missing, unknown), hint)
}

// mismatch says what is wrong with a header, and what helps.
func mismatch(twice, missing, unknown []string) string {
	var what []string
	if len(twice) > 0 {
		what = append(what, "duplicate: "+list(twice))
	}
	if len(missing) > 0 {
		text := "missing: " + list(missing)
		alike := false
		for _, m := range missing[:min(len(missing), 5)] {
			if near := dataset.Nearest(m, unknown); near != "" {
				text += fmt.Sprintf(" (is %q called %q in the table? from: %q)", m, near, near)
				alike = true
			}
		}
		if !alike {
			text += " (add it to the table, with empty cells where its value is not known, or take it out of the spec)"
		}
		what = append(what, text)
	}
	switch all := list(unknown); {
	case len(unknown) > mostListed:
		what = append(what, fmt.Sprintf("unknown: %s; list them under columns, or leave out every column that is not listed: source: {ignore: all}", all))
	case len(unknown) > 0:
		what = append(what, fmt.Sprintf("unknown: %s; list them under columns, or leave them out: source: {ignore: [%s]} (ignore: all leaves out every column that is not listed)", all, all))
	}
	if len(twice) > 0 {
		what = append(what, fmt.Sprintf("from: %q is the first of several columns with one name, from: %q the second", twice[0]+"#1", twice[0]+"#2"))
	}
	return strings.Join(what, "; ")
}

// separators are the bytes that a table's fields may be parted by, with the words
// for them.
var separators = []struct {
	sep       byte
	key       string
	one, many string
}{
	{',', `","`, "comma", "commas"}, {';', `";"`, "semicolon", "semicolons"}, {'\t', "tab", "tab", "tabs"}, {'|', `"|"`, "bar", "bars"},
}

// otherSeparator says which separator reads the header better, "" if none does.
func otherSeparator(line []byte, sep byte, better func(fields []string) bool) string {
	for _, s := range separators {
		if s.sep == sep || bytes.IndexByte(line, s.sep) < 0 {
			continue
		}
		rec, err := newReader(bytes.NewReader(line), Position{Line: 1}, header{sep: s.sep}).Next()
		if err != nil || rec.Reason != "" {
			continue
		}
		fields := make([]string, len(rec.Fields))
		for i, f := range rec.Fields {
			fields[i] = string(bytes.TrimSpace(f))
		}
		if !better(fields) {
			continue
		}
		what := fmt.Sprintf("the header's fields are parted by %s", s.many)
		if bytes.IndexByte(line, sep) < 0 {
			n, words := len(fields)-1, s.many
			if n == 1 {
				words = s.one
			}
			what = fmt.Sprintf("the header is one field with %d %s", n, words)
		}
		return fmt.Sprintf("%s: source: {separator: %s} would read it", what, s.key)
	}
	return ""
}

// guessSeparator returns the separator that parts the first line into the most
// fields.
func guessSeparator(start []byte) byte {
	start = bytes.TrimPrefix(start, []byte("\xef\xbb\xbf"))
	best, most := byte(','), 0
	for _, s := range separators {
		rec, err := newReader(bytes.NewReader(start), Position{Line: 1}, header{sep: s.sep}).Next()
		if err == nil && rec.Reason == "" && len(rec.Fields) > most {
			best, most = s.sep, len(rec.Fields)
		}
	}
	return best
}

// second returns the fields of the next record, nil if there is none.
func (r *Reader) second(sep byte) [][]byte {
	next, err := r.peek(MaxRecord)
	if err != nil || len(next) == 0 {
		return nil
	}
	rec, err := newReader(bytes.NewReader(next), Position{Line: 2}, header{sep: sep}).Next()
	if err != nil || rec.Reason != "" {
		return nil
	}
	return rec.Fields
}

// looksLikeRecord reports whether the fields of a first line are rather values than
// names: a number is among them that is no year, or one comes twice. Numbers from 0 or 1
// on are names that a program made up, years that rise from column to column may be of
// any century since 1500, and one number among many words that stand above numbers is a
// name too. next are the fields of the line below.
func looksLikeRecord(fields []string, next [][]byte) bool {
	seen := map[string]bool{}
	value, counted := false, [2]int{}
	words, numbers := 0, 0 // above a number; words above a date too
	firstYear := 1900.0
	if rising(fields) {
		firstYear = 1500
	}
	for i, f := range fields {
		x, ok := dataset.ParseNumber([]byte(f))
		value = value || ok && !(x >= firstYear && x <= 2100 && x == math.Trunc(x)) || f != "" && seen[f] && len(seen) < len(fields)/2
		seen[f] = true
		for from := range counted {
			if f == strconv.Itoa(i+from) {
				counted[from]++
			}
		}
		if i >= len(next) {
			continue
		}
		cell := bytes.TrimSpace(next[i])
		if _, below := dataset.ParseNumber(cell); below && ok {
			numbers++
		} else if (below || len(cell) > 0 && len(dataset.Formats(cell)) > 0 && len(dataset.Formats([]byte(f))) == 0) && f != "" && !slices.Contains(placeholders, strings.ToLower(f)) {
			words++
		}
	}
	n := len(fields)
	return value && !(n > 2 && (counted[0] == n || counted[1] == n)) && words <= numbers
}

// rising reports whether at least three of the fields are numbers, and each is greater than
// the one before.
func rising(fields []string) bool {
	n, last := 0, math.Inf(-1)
	for _, f := range fields {
		x, ok := dataset.ParseNumber([]byte(f))
		if !ok {
			continue
		}
		if x <= last {
			return false
		}
		n, last = n+1, x
	}
	return n >= 3
}

// placeholders are what a first record may have where later ones have numbers.
var placeholders = []string{"?", "na", "n/a", "nan", "null", "none", "-", "."}

// quote quotes a name and keeps it short.
func quote(name string) string {
	if utf8.RuneCountInString(name) > 60 {
		name = string([]rune(name)[:60]) + "..."
	}
	return fmt.Sprintf("%q", name)
}

// mostListed is how many names a message lists.
const mostListed = 5

// list quotes the first names and counts the others.
func list(names []string) string {
	quoted := make([]string, 0, mostListed)
	for _, n := range names[:min(mostListed, len(names))] {
		quoted = append(quoted, quote(n))
	}
	s := strings.Join(quoted, ", ")
	if len(names) > mostListed {
		s += fmt.Sprintf(" and %d more", len(names)-mostListed)
	}
	return s
}
