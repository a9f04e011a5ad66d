package dataset

import "bytes"

// The canonical forms of a boolean, which are JSON's.
var (
	trueText  = []byte("true")
	falseText = []byte("false")
)

var booleans = map[string][]byte{
	"true": trueText, "t": trueText, "yes": trueText, "y": trueText, "on": trueText, "1": trueText,
	"false": falseText, "f": falseText, "no": falseText, "n": falseText, "off": falseText, "0": falseText,
}

// longestBoolean is the longest word of booleans.
const longestBoolean = len("false")

// scanBoolean returns the canonical form of a boolean, nil where the text is none:
// true, t, yes, y and on in any case, and every spelling of the number 1; false,
// f, no, n and off, and every spelling of 0.
func scanBoolean(text []byte) []byte {
	if len(text) <= longestBoolean {
		var lower [longestBoolean]byte
		for i, c := range text {
			if c >= 'A' && c <= 'Z' {
				c += 'a' - 'A'
			}
			lower[i] = c
		}
		if b, ok := booleans[string(lower[:len(text)])]; ok {
			return b
		}
	}
	switch x, ok := ParseNumber(text); {
	case ok && x == 1:
		return trueText
	case ok && x == 0:
		return falseText
	}
	return nil
}

func (c *Column) boolean(field []byte) ([]byte, error) {
	b := scanBoolean(field)
	if b == nil {
		if c.isMissingNumber(field) {
			return nil, nil // such as the marker 9
		}
		return nil, wrong(field, "not a boolean")
	}
	if bytes.Equal(field, b) {
		return field, nil
	}
	return b, nil
}
