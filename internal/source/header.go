package source

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Position is a position in the table where a record starts.
type Position struct {
	Offset int64 // bytes before it, decompressed
	Line   int64 // its physical line; the header is line 1
}

// header is the content of the first record.
type header struct {
	end   Position // where the first record starts
	width int      // fields in the file
	order []int    // order[i] is the index in the file of wanted column i; nil if it is always i
}

// readHeader reads the first record from r and compares it with the wanted columns.
func (t *Table) readHeader(r io.Reader, columns []string) error {
	in := newReader(r, Position{Line: 1}, header{})
	start, err := in.peek(4)
	if err != nil {
		return archiveError(err)
	}
	switch {
	case len(start) == 0:
		return errors.New("the table is empty")
	case bytes.HasPrefix(start, []byte("\xff\xfe")), bytes.HasPrefix(start, []byte("\xfe\xff")):
		return errors.New("the table is in UTF-16, want UTF-8")
	case bytes.HasPrefix(start, []byte("\xef\xbb\xbf")):
		in.take(3)
	}
	rec, err := in.Next()
	if errors.Is(err, io.EOF) {
		return errors.New("the table is empty")
	}
	if err != nil {
		return archiveError(err)
	}
	if rec.Reason != "" {
		return fmt.Errorf("not a CSV table in UTF-8: line 1: %s", rec.Reason)
	}
	names := make([]string, len(rec.Fields))
	for i, f := range rec.Fields {
		names[i] = string(f)
	}
	t.Names = names
	if len(columns) == 0 {
		columns = names
	}
	if t.header, err = match(names, columns); err != nil {
		if bytes.HasPrefix(bytes.TrimSpace(rec.Text), []byte("<")) {
			return errors.New("not a CSV table: it starts like a web page")
		}
		return err
	}
	t.header.end = in.Position()
	return nil
}

// match finds the wanted columns among the names in the file's header.
func match(names, columns []string) (header, error) {
	place := make(map[string]int, len(names))
	var twice, missing, unknown []string
	for i, n := range names {
		if _, ok := place[n]; ok {
			twice = append(twice, n)
		}
		place[n] = i
	}
	h := header{width: len(names), order: make([]int, len(columns))}
	same := true
	wanted := make(map[string]bool, len(columns))
	for i, c := range columns {
		wanted[c] = true
		j, ok := place[c]
		if !ok {
			missing = append(missing, c)
		}
		h.order[i] = j
		same = same && i == j
	}
	for _, n := range names {
		if !wanted[n] {
			unknown = append(unknown, n)
		}
	}
	var what []string
	if len(twice) > 0 {
		what = append(what, "duplicate: "+list(twice))
	}
	if len(missing) > 0 {
		what = append(what, "missing: "+list(missing))
	}
	if len(unknown) > 0 {
		what = append(what, "unknown: "+list(unknown))
	}
	if len(what) > 0 {
		hint := ""
		if len(names) == 1 && strings.ContainsAny(names[0], ";\t|") {
			hint = " (it has one column: is its separator not a comma?)"
		}
		return header{}, fmt.Errorf("line 1: the header doesn't match the columns; %s%s", strings.Join(what, "; "), hint)
	}
	if same {
		h.order = nil
	}
	return h, nil
}

// list quotes the first names and counts the others.
func list(names []string) string {
	const most = 5
	quoted := make([]string, 0, most)
	for _, n := range names[:min(most, len(names))] {
		if utf8.RuneCountInString(n) > 60 {
			n = string([]rune(n)[:60]) + "..."
		}
		quoted = append(quoted, fmt.Sprintf("%q", n))
	}
	s := strings.Join(quoted, ", ")
	if len(names) > most {
		s += fmt.Sprintf(" and %d more", len(names)-most)
	}
	return s
}
