package draft

import (
	"bytes"
	"math/bits"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"mlops/internal/dataset"
)

// kinds are the ways in which a cell can be read, as bits; a cell may be of
// several: "1,461" has a thousands separator or a decimal comma.
type kinds uint32

const (
	integer      kinds = 1 << iota // 12, -7
	leadingZero                    // 01234: a code, not a number
	number                         // 1.5, 39.0, 1e5
	fraction                       // a number that is not whole
	commaGroups                    // 1,461 and 1,461.94
	pointGroups                    // 1.461 and 1.461,94
	blankGroups                    // 1 461 and 1 461,94
	decimalComma                   // 1,5
	money                          // $1,200, 12 EUR and 12.5%
	truth                          // yes, No, TRUE, f
	marker                         // NA, ?, null
	date                           // in one of dataset.Formats
	text                           // none of these
	endless                        // a whole number of more digits than any type holds exactly
)

const tallied = 14

// tally is how many cells are of a kind, with the first of them.
type tally struct {
	n       int64
	line    int64
	example string
}

type tallies [tallied]tally

func (t *tallies) add(k kinds, n int64, cell []byte, line int64) {
	for k != 0 {
		i := bits.TrailingZeros32(uint32(k))
		k &= k - 1
		if t[i].n == 0 || line < t[i].line {
			t[i].line, t[i].example = line, shorten(string(cell), 60)
		}
		t[i].n += n
	}
}

func (t *tallies) of(k kinds) tally { return t[bits.TrailingZeros32(uint32(k))] }

// markers are texts that stand for a missing value in any column; hints do so
// only in a column whose other values are numbers or dates.
var (
	markers = []string{"?", "na", "n/a", "#n/a", "nan", "null", "(null)", "<na>", "nil", `\n`, "-", "--", "–", "—", ".", "..", "n.a.", "n. a.", "k.a.", "#null!", "#div/0!", "#value!", "missing", "undefined", "not available", "-nan", "1.#qnan"}
	hints   = []string{"none", "unknown", "unk", "tbd", "not known", "not applicable", "not reported", "x", "*", "**", "inf", "-inf", "infinity", "error", "#ref!", "#name?", "unspecified", "not stated", "no data"}
	truths  = []string{"true", "false", "yes", "no", "y", "n", "t", "f"}
)

var (
	withCommas = regexp.MustCompile(`^[-+]?\d{1,3}(,\d{3})+(\.\d+)?$`)
	withPoints = regexp.MustCompile(`^[-+]?\d{1,3}(\.\d{3})+(,\d+)?$`)
	withBlanks = regexp.MustCompile(`^[-+]?\d{1,3}([ '\x{a0}\x{202f}\x{2019}\x{2009}\x{2007}]\d{3})+([.,]\d+)?$`)
	withComma  = regexp.MustCompile(`^[-+]?\d+,\d+$`)
	withMoney  = regexp.MustCompile(`^[-+]?(US\$|[$€£¥₹]|USD|EUR|GBP|CHF) ?[-+]?\d[\d.,' ]*$|^[-+]?\d[\d.,' ]* ?([$€£¥₹%]|USD|EUR|GBP|CHF)$`)
)

// classify says how a cell without blanks around it can be read.
func classify(cell []byte) kinds {
	var k kinds
	digits := bytes.ContainsAny(cell, "0123456789")
	if !digits {
		low := strings.ToLower(string(cell))
		if len(low) <= 5 && slices.Contains(truths, low) {
			k |= truth
		}
		if len(low) <= 14 && slices.Contains(markers, low) {
			return k | marker
		}
		return k | text
	}
	if x, ok := dataset.ParseNumber(cell); ok {
		k |= number
		plain := bytes.TrimLeft(cell, "+-")
		whole := isDigits(plain)
		switch {
		case whole && len(plain) > 1 && plain[0] == '0':
			k |= leadingZero
		case whole && len(plain) <= 18:
			k |= integer
		case whole:
			k |= endless
		case !whole && x != float64(int64(x)):
			k |= fraction
		}
		if bytes.IndexByte(cell, '.') >= 0 && withPoints.Match(cell) {
			k |= pointGroups
		}
		return k
	}
	if bytes.IndexByte(cell, ',') >= 0 {
		if withCommas.Match(cell) {
			k |= commaGroups
		}
		if withComma.Match(cell) {
			k |= decimalComma
		}
	}
	switch {
	case withPoints.Match(cell):
		k |= pointGroups
	case withBlanks.Match(cell):
		k |= blankGroups
	case withMoney.Match(cell):
		k |= money
	}
	if mayBeDate(cell) && len(dataset.Formats(cell)) > 0 {
		k |= date
	}
	if k == 0 {
		if low := strings.ToLower(string(cell)); len(low) <= 14 && slices.Contains(markers, low) {
			return marker
		}
		return text
	}
	return k
}

// mayBeDate reports whether a cell with digits is worth comparing with the formats of
// dates: it begins with a digit, a month's name or a quarter, and has something between its digits.
func mayBeDate(cell []byte) bool {
	if len(cell) < 6 || len(cell) > 35 {
		return false
	}
	if c := cell[0]; c < '0' || c > '9' {
		return (c == 'Q' || c == 'q') && cell[1] >= '1' && cell[1] <= '4' || len(cell) >= 8 && months[strings.ToLower(string(cell[:3]))]
	}
	return bytes.ContainsAny(cell, "-/. TQqWw")
}

var months = map[string]bool{"jan": true, "feb": true, "mar": true, "apr": true, "may": true, "jun": true, "jul": true, "aug": true, "sep": true, "oct": true, "nov": true, "dec": true}

func isDigits(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(b) > 0
}

// sentinels are numbers that often stand for a missing value.
var sentinels = []string{"-1", "-9", "-99", "-999", "-9999", "-99999", "-999.0", "-99.0", "-9999.0", "999", "9999", "99999", "999999"}

// isSpecial reports whether a cell may stand for a missing value, so that it is
// counted even where a column has too many values to count them all.
func isSpecial(cell []byte) bool {
	if len(cell) > 14 {
		return false
	}
	switch c := cell[0]; {
	case c == '-' || c == '9':
		if slices.Contains(sentinels, string(cell)) {
			return true
		}
	case c >= '0' && c <= '8':
		return false
	}
	low := strings.ToLower(string(cell))
	return slices.Contains(markers, low) || slices.Contains(hints, low)
}

// shorten cuts a text for people to at most n bytes, in one line.
func shorten(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Cc, r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xC0 == 0x80 {
		n--
	}
	return s[:n] + "..."
}
