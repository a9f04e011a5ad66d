package serve

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// peek skips white space and returns the next byte, 0 at the end.
func (d *decoder) peek() byte {
	for d.pos < len(d.text) {
		switch b := d.text[d.pos]; b {
		case ' ', '\n', '\r', '\t':
			d.pos++
		default:
			return b
		}
	}
	return 0
}

func (d *decoder) literal(word string) error {
	if !bytes.HasPrefix(d.text[d.pos:], []byte(word)) {
		return d.syntax("expected %s", word)
	}
	d.pos += len(word)
	return nil
}

// number returns the text of a JSON number (RFC 8259, section 6).
func (d *decoder) number() ([]byte, error) {
	start := d.pos
	if d.at() == '-' {
		d.pos++
	}
	if d.at() == '0' {
		d.pos++
	} else if !d.digits() {
		return nil, d.syntax("not a number")
	}
	if d.at() == '.' {
		d.pos++
		if !d.digits() {
			return nil, d.syntax("not a number: no digit after the point")
		}
	}
	if b := d.at(); b == 'e' || b == 'E' {
		d.pos++
		if b := d.at(); b == '+' || b == '-' {
			d.pos++
		}
		if !d.digits() {
			return nil, d.syntax("not a number: no digit in the exponent")
		}
	}
	return d.text[start:d.pos], nil
}

func (d *decoder) at() byte {
	if d.pos < len(d.text) {
		return d.text[d.pos]
	}
	return 0
}

func (d *decoder) digits() bool {
	start := d.pos
	for b := d.at(); b >= '0' && b <= '9'; b = d.at() {
		d.pos++
	}
	return d.pos > start
}

// str returns the value of a JSON string. Without escapes it is part of the
// request's text; with them it lies in scratch until the next string.
func (d *decoder) str() ([]byte, error) {
	d.pos++ // "
	start := d.pos
	for d.pos < len(d.text) {
		if d.pos+8 <= len(d.text) {
			n := plain(binary.LittleEndian.Uint64(d.text[d.pos:]))
			if d.pos += n; n == 8 {
				continue
			}
		}
		switch b := d.text[d.pos]; {
		case b == '"':
			s := d.text[start:d.pos]
			d.pos++
			return s, nil
		case b == '\\':
			return d.escaped(start)
		case b < ' ':
			return nil, d.syntax("a string contains a control character")
		case b < utf8.RuneSelf:
			d.pos++
		default:
			r, n := utf8.DecodeRune(d.text[d.pos:])
			if r == utf8.RuneError && n == 1 {
				return nil, d.syntax("a string is not valid UTF-8")
			}
			d.pos += n
		}
	}
	return nil, d.syntax("a string is not terminated")
}

// plain is how many of eight bytes, from the lowest on, a string may hold as they are:
// ASCII, and neither a quote, a backslash nor a control character.
func plain(bytes uint64) int {
	const each = 0x0101010101010101
	quote, backslash := bytes^each*'"', bytes^each*'\\'
	// The highest bit of each byte that is none; above the first such byte also of others.
	special := (bytes | (quote-each)&^quote | (backslash-each)&^backslash | (bytes-each*' ')&^bytes) & (each << 7)
	return bits.TrailingZeros64(special) / 8
}

// maxEscaped bounds a string that has to be copied; no name or value is that long.
const maxEscaped = 64 << 10

// escaped reads the rest of a string, from its first escape on.
func (d *decoder) escaped(start int) ([]byte, error) {
	out := append(d.scratch[:0], d.text[start:d.pos]...)
	for d.pos < len(d.text) {
		b := d.text[d.pos]
		switch {
		case b == '"':
			d.pos++
			d.scratch = out
			return out, nil
		case len(out) > maxEscaped:
			return nil, d.syntax("a string with escapes is longer than %d bytes", maxEscaped)
		case b < ' ':
			return nil, d.syntax("a string contains a control character")
		case b != '\\':
			r, n := utf8.DecodeRune(d.text[d.pos:])
			if r == utf8.RuneError && n == 1 {
				return nil, d.syntax("a string is not valid UTF-8")
			}
			out = append(out, d.text[d.pos:d.pos+n]...)
			d.pos += n
			continue
		}
		d.pos++
		const from, to = `"\/bfnrt`, "\"\\/\b\f\n\r\t"
		if i := bytes.IndexByte([]byte(from), d.at()); i >= 0 {
			out = append(out, to[i])
			d.pos++
			continue
		}
		r, ok := d.unicode()
		if !ok {
			return nil, d.syntax("a string contains an escape that JSON doesn't have")
		}
		if utf16.IsSurrogate(r) {
			low := rune(-1)
			if d.at() == '\\' {
				d.pos++
				low, ok = d.unicode()
			}
			if r = utf16.DecodeRune(r, low); r == utf8.RuneError || !ok {
				return nil, d.syntax("a string contains half a surrogate pair")
			}
		}
		out = utf8.AppendRune(out, r)
	}
	return nil, d.syntax("a string is not terminated")
}

// unicode reads uXXXX.
func (d *decoder) unicode() (rune, bool) {
	if d.at() != 'u' || d.pos+5 > len(d.text) {
		return 0, false
	}
	x, err := strconv.ParseUint(string(d.text[d.pos+1:d.pos+5]), 16, 32)
	d.pos += 5
	return rune(x), err == nil
}

// over reads over the value of a field, whatever it is.
func (d *decoder) over(field string) error {
	for depth := 0; ; {
		switch b := d.peek(); {
		case b == '"':
			if _, err := d.str(); err != nil {
				return err
			}
		case b == '{' || b == '[':
			depth++
			d.pos++
		case depth > 0 && (b == '}' || b == ']'):
			depth--
			d.pos++
		case depth > 0 && (b == ',' || b == ':'):
			d.pos++
			continue
		case d.bare():
		default:
			return d.syntax("expected a value for %q", field)
		}
		if depth == 0 {
			return nil
		}
	}
}

// bare reads over a number or a word, and reports whether there was one.
func (d *decoder) bare() bool {
	start := d.pos
	for b := d.at(); b == '+' || b == '-' || b == '.' || b == '_' || b >= '0' && b <= '9' || b >= 'A' && b <= 'Z' || b >= 'a' && b <= 'z'; b = d.at() {
		d.pos++
	}
	return d.pos > start
}
