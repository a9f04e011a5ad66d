package ingest

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"

	"mlops/internal/dataset"
)

// Reasons for which the load itself rejects a line, besides those of the reader.
const (
	keyMissing = "missing, and it is the key"
	keyTwice   = "a key that is there already"
	keyChanged = "a key that is known with other values"
	keyLong    = "longer than a key can be"

	valueMissing = "no value, and the column is required"
)

var (
	inNumbers  = regexp.MustCompile(` (at byte|inside field|of field|within) \d+( bytes)?`)
	fieldCount = regexp.MustCompile(`^\d+ fields, want (\d+)$`)

	withCommas  = regexp.MustCompile(`^[-+]?\d{1,3}(,\d{3})+(\.\d+)?$`)
	withPoints  = regexp.MustCompile(`^[-+]?\d{1,3}(\.\d{3})+,\d+$|^[-+]?\d{1,3}(\.\d{3}){2,}$`)
	withBlanks  = regexp.MustCompile(`^[-+]?\d{1,3}([ '\x{a0}\x{202f}]\d{3})+([.,]\d+)?$`)
	commaNumber = regexp.MustCompile(`^[-+]?\d+,\d+$`)
	numberUnit  = regexp.MustCompile(`^\D{0,3}[-+]?\d[\d.,]*\D{0,3}$`)
	dateLike    = regexp.MustCompile(`^\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}`)
)

// kindOf cuts from a reader's reason what differs from line to line.
func kindOf(reason string) string {
	if m := fieldCount.FindStringSubmatch(reason); m != nil {
		return "not a line of " + m[1] + " fields"
	}
	return inNumbers.ReplaceAllString(reason, "")
}

// guessEncoding says which encoding a line that is not UTF-8 looks like, and the
// text around its first foreign byte in it.
func guessEncoding(line []byte) (kind, example string) {
	at := 0
	for at < len(line) {
		r, n := utf8.DecodeRune(line[at:])
		if r == utf8.RuneError && n <= 1 {
			break
		}
		at += n
	}
	from := bytes.LastIndexAny(line[:at], ",;\t") + 1
	to := len(line)
	if i := bytes.IndexAny(line[at:], ",;\t\n"); i >= 0 {
		to = at + i
	}
	from, to = max(from, at-maxExample/2), min(to, at+maxExample/2)
	name, best := "", -1
	var text string
	for _, e := range []struct {
		name string
		of   *charmap.Charmap
	}{{"windows-1252", charmap.Windows1252}, {"cp850", charmap.CodePage850}, {"macintosh", charmap.Macintosh}} {
		decoded, err := e.of.NewDecoder().Bytes(line[from:to])
		if err != nil {
			continue
		}
		letters := 0
		for _, r := range string(decoded) {
			if r >= utf8.RuneSelf && unicode.IsLetter(r) {
				letters++
			}
		}
		if letters > best {
			name, best, text = e.name, letters, string(decoded)
		}
	}
	if name == "windows-1252" {
		name += " (Latin-1)"
	}
	return "invalid UTF-8, it looks like " + name, text
}

// maxExample is how many bytes of a rejected value a report shows.
const maxExample = 60

// example cuts a value to what a report shows.
func example(value []byte) string {
	s := strings.ReplaceAll(strings.ToValidUTF8(string(value[:min(len(value), 4*maxExample)]), "\uFFFD"), "\x00", "\u2400")
	if len(s) <= maxExample {
		return s
	}
	n := maxExample
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "..."
}

// addRemedies says what would let each loss's example through.
func addRemedies(spec *dataset.Spec, losses []Loss) {
	for i := range losses {
		losses[i].Remedy = remedy(spec, &losses[i])
	}
}

func remedy(spec *dataset.Spec, l *Loss) string {
	switch {
	case strings.HasPrefix(l.Reason, "invalid UTF-8, it looks like "):
		name, _, _ := strings.Cut(strings.TrimPrefix(l.Reason, "invalid UTF-8, it looks like "), " ")
		return fmt.Sprintf("the table has to be UTF-8: iconv -f %s -t UTF-8 old.csv > new.csv", name)
	case strings.HasPrefix(l.Reason, "not a line of"):
		return "a field that holds a comma needs quotes"
	case l.Reason == keyChanged:
		return "on_change: replace would take the new row in its place"
	case l.Reason == keyTwice:
		return "name another key in the spec, or leave key out"
	case l.Reason == keyMissing:
		return "name another key in the spec, or leave key out"
	case l.Reason == valueMissing:
		return fmt.Sprintf("take required: true from column %s in the spec to keep such rows", l.Column)
	}
	c := spec.Column(l.Column)
	if c < 0 {
		return ""
	}
	col, v := &spec.Columns[c], strings.TrimSpace(l.Value)
	if strings.HasPrefix(l.Reason, "below ") || strings.HasPrefix(l.Reason, "above ") {
		return fmt.Sprintf("the spec's min and max of column %s say what it holds", col.Name)
	}
	if l.Reason != "not an integer" && l.Reason != "not a number" {
		return ""
	}
	if _, ok := dataset.ParseNumber([]byte(v)); ok && col.Type == dataset.Integer {
		return "type: number would read it"
	}
	switch {
	case withCommas.MatchString(v):
		return `thousands separators: source: {thousands: ","} would read it`
	case withPoints.MatchString(v):
		return `decimal comma and thousands separators: source: {decimal: ",", thousands: "."} would read it`
	case withBlanks.MatchString(v):
		return fmt.Sprintf("thousands separators: source: {thousands: %q} would read it", firstSeparator(v))
	case commaNumber.MatchString(v):
		return `decimal comma: source: {decimal: ","} would read it`
	case dateLike.MatchString(v):
		return "a date: type: category would take it as text"
	case numberUnit.MatchString(v) && !strings.ContainsAny(v, `"`):
		return "a number with a unit: take the unit out of the table, or type: category takes it as text"
	}
	return fmt.Sprintf("missing: [%q] would take it for a missing value, type: category for text", v)
}

func firstSeparator(v string) string {
	for _, r := range v {
		if r != '-' && r != '+' && !unicode.IsDigit(r) {
			return string(r)
		}
	}
	return ""
}
