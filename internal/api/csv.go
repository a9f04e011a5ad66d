package api

import "bytes"

// separators are the characters that may part the fields of a CSV body.
var separators = []byte{',', ';', '\t', '|'}

// Separator is the character that parts the header of a CSV body, its first line, into
// the most fields; a comma if there is but one. Server and clients decide it alike.
func Separator(header []byte) byte {
	best, most := separators[0], 0
	for _, c := range separators {
		if n := bytes.Count(header, []byte{c}); n > most {
			best, most = c, n
		}
	}
	return best
}
