package ingest

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"mlops/internal/dataset"
	"mlops/internal/source"
)

// Reasons for which the load itself rejects a line, besides those of the reader.
const (
	keyMissing = "missing, and it is the key"
	keyTwice   = "a key that is there already"
	keyChanged = "a key that is known with other values"
	keyLong    = "longer than a key can be"

	valueMissing = "no value, and the column is required"
	timeMissing  = "no value, and the rows are split by the column"
)

var (
	inNumbers  = regexp.MustCompile(` (at byte|inside field|of field|within) \d+( bytes)?`)
	fieldCount = regexp.MustCompile(`^\d+ fields, want (\d+)$`)

	withCommas  = regexp.MustCompile(`^[-+]?\d{1,3}(,\d{3})+(\.\d+)?$`)
	withPoints  = regexp.MustCompile(`^[-+]?\d{1,3}(\.\d{3})+,\d+$|^[-+]?\d{1,3}(\.\d{3}){2,}$`)
	withBlanks  = regexp.MustCompile(`^[-+]?\d{1,3}([ '\x{a0}\x{202f}\x{2019}\x{2009}\x{2007}]\d{3})+([.,]\d+)?$`)
	commaNumber = regexp.MustCompile(`^[-+]?\d+,\d+$`)
	unitBehind  = regexp.MustCompile(`^[-+]?\d[\d.,' ]*?[\s\x{a0}\x{202f}]*([^\d\s.,'"+-][^\d.,"+-]{0,11})$`)
	unitBefore  = regexp.MustCompile(`^[-+]?([^\d\s.,'"+-][^\d\s.,"+-]{0,11})[\s\x{a0}\x{202f}]*[-+]?\d[\d.,' ]*$`)
)

// unitOf is the text before or behind a number, "" where there is none.
func unitOf(v string) string {
	for _, form := range []*regexp.Regexp{unitBehind, unitBefore} {
		if m := form.FindStringSubmatch(v); m != nil {
			return m[1]
		}
	}
	return ""
}

// kindOf cuts from a reader's reason what differs from line to line.
func kindOf(reason string) string {
	if m := fieldCount.FindStringSubmatch(reason); m != nil {
		return "not a line of " + m[1] + " fields"
	}
	return inNumbers.ReplaceAllString(reason, "")
}

// looksLike comes before the encoding that a line which is not UTF-8 looks like.
const looksLike = "invalid UTF-8, it looks like "

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

// byRow marks losses of a table that numbers its rows.
func byRow(table *source.Table, losses []Loss) {
	for i := range losses {
		losses[i].ByRow = table.ByRow()
	}
}

// addRemedies says what would let each loss's example through.
func addRemedies(spec *dataset.Spec, losses []Loss) {
	for i := range losses {
		losses[i].Remedy = remedy(spec, &losses[i])
	}
}

func remedy(spec *dataset.Spec, l *Loss) string {
	switch {
	case strings.HasPrefix(l.Reason, looksLike):
		name, _, _ := strings.Cut(strings.TrimPrefix(l.Reason, looksLike), " ")
		return fmt.Sprintf("source: {encoding: %s} would read it, if other lines are in it too", name)
	case l.Reason == source.Replaced:
		return "what brought the table here did not know its encoding, as --set-file, which needs UTF-8: pass the table as an address, with source: {encoding: ...}; source: {encoding: utf-8} would take these characters as they are"
	case l.Column == "" && source.Mend(l.Reason, []byte(l.Value), spec.Source.Separates()) != "":
		return source.Mend(l.Reason, []byte(l.Value), spec.Source.Separates())
	case l.Reason == keyChanged:
		return "on_change: replace would take the new row in its place"
	case l.Reason == keyTwice:
		return "name another key in the spec, or leave key out"
	case l.Reason == keyMissing:
		return "name another key in the spec, or leave key out"
	case l.Reason == timeMissing:
		return "a row without a value is neither before nor after another; to keep such rows, split by another column or by a hash"
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
	if strings.HasPrefix(l.Reason, "before ") || strings.HasPrefix(l.Reason, "after ") {
		return fmt.Sprintf("the spec's earliest and latest of column %s say what it holds", col.Name)
	}
	missing := fmt.Sprintf("missing: [%q] would take it for a missing value, type: category for text", v)
	switch {
	case strings.HasPrefix(l.Reason, "not a date"):
		if how := dateRemedy(v); how != "" {
			return how
		}
		return missing
	case l.Reason == "not a boolean":
		return missing
	case l.Reason == dataset.TooLarge:
		return "type: category would read an identifier, type: number an amount"
	case l.Reason != "not an integer" && l.Reason != "not a number":
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
	case dateRemedy(v) != "":
		return "type: date; " + dateRemedy(v)
	case strings.EqualFold(v, "true") || strings.EqualFold(v, "false"):
		return "type: boolean would read it"
	case unitOf(v) != "":
		return fmt.Sprintf("a number with a unit: unit: %q in column %s would read it", unitOf(v), col.Name)
	}
	return missing
}

// dateRemedy says which format reads a date, "" where the text is none.
func dateRemedy(v string) string {
	formats := dataset.Formats([]byte(v))
	switch {
	case len(formats) == 0:
		return ""
	case formats[0] == "":
		return "a date in ISO 8601 needs no format"
	case len(formats) == 1:
		return fmt.Sprintf("format: %q would read it", formats[0])
	}
	return fmt.Sprintf("its format may be %q or %q; other rows tell, those with a day above 12", formats[0], formats[1])
}

func firstSeparator(v string) string {
	for _, r := range v {
		if r != '-' && r != '+' && !unicode.IsDigit(r) {
			return string(r)
		}
	}
	return ""
}
