package source

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// HeaderAgain is the reason of a record that repeats the header.
const HeaderAgain = "the header again, as in files that were put together"

// wantedFields finds how many fields a line should have, in a reason as a Reader gives
// it and as reports group it.
var wantedFields = regexp.MustCompile(`^\d+ fields, want (\d+)$|^not a line of (\d+) fields$`)

// Mend says what would make a record of a line that was rejected for a reason, "" if
// that isn't known. A text that was cut ends with three points.
func Mend(reason string, text []byte, sep byte) string {
	if sep == 0 {
		sep = ','
	}
	if m := wantedFields.FindStringSubmatch(reason); m != nil {
		want, _ := strconv.Atoi(m[1] + m[2])
		return mendFields(text, sep, want)
	}
	switch {
	case strings.HasPrefix(reason, "text after the closing quote"):
		switch {
		case bytes.Contains(text, []byte(`\"`)):
			return `a quote within a field is doubled ("") and not escaped by a backslash: write the table so`
		case bytes.Contains(text, []byte(`" `)) && bytes.IndexByte(text, sep) < 0:
			return "fields that are parted by blanks can't be told apart: write the table with commas or tabs"
		}
		return `a quote within a field has to be doubled ("")`
	case strings.HasPrefix(reason, "quote inside field"):
		if bytes.Contains(text, []byte(`="`)) {
			return `="..." is a spreadsheet's formula: write the text itself`
		}
		return `a field that holds a quote needs quotes around it, and its own doubled ("")`
	case strings.HasPrefix(reason, "a quote is not closed"):
		return `a field that begins with a quote ends with one; a quote within it is doubled ("")`
	case strings.HasPrefix(reason, "carriage return"):
		return "some lines end in a carriage return alone and others don't: write the table with one kind of line end"
	case reason == InvalidUTF8:
		name, _ := GuessEncoding(text)
		return fmt.Sprintf("it looks like %s, and other lines are UTF-8: write the table in one encoding", name)
	case strings.HasPrefix(reason, "NUL"):
		return "take the NUL bytes out of the table"
	case reason == tooLong:
		return "a cell of that size is no value to learn from: leave its column out of the table"
	}
	return ""
}

// mendFields is Mend for a line that has another number of fields than the header.
func mendFields(text []byte, sep byte, want int) string {
	name := "comma"
	for _, s := range separators {
		if s.sep == sep {
			name = s.one
		}
	}
	quoted := fmt.Sprintf("a field that holds a %s needs quotes", name)
	if bytes.HasSuffix(text, []byte("...")) {
		return quoted
	}
	if n := len(text); n > 2 && text[0] == '"' && text[n-1] == '"' && bytes.Count(text, []byte{'"'}) == 2 && bytes.IndexByte(text, sep) > 0 {
		return "the whole line is in quotes, so that it is one field: write the table without them"
	}
	got := bytes.Count(text, []byte{sep}) + 1
	switch {
	case got < want:
		return "the line has too few fields: if it is a note or a total, it is no row of the table; take it out"
	case got > want && len(bytes.TrimSpace(text[bytes.LastIndexByte(text, sep)+1:])) == 0:
		return fmt.Sprintf("the line ends with a %s too many", name)
	case got > want && (text[0] == '\'' || bytes.Contains(text, []byte{sep, '\''})):
		return fmt.Sprintf("a field that holds a %s needs double quotes; single ones are part of the text", name)
	}
	return quoted
}
