package dataset

import (
	"maps"
	"slices"
	"strings"
)

// encodings are the names of text encodings, each with the one that Encoding
// returns.
var encodings = map[string]string{
	"utf-8": "utf-8", "utf8": "utf-8",
	"utf-16": "utf-16", "utf16": "utf-16", "utf-16le": "utf-16le", "utf-16-le": "utf-16le", "utf-16be": "utf-16be", "utf-16-be": "utf-16be",
	"latin-1": "iso-8859-1", "latin1": "iso-8859-1", "iso-8859-1": "iso-8859-1", "iso8859-1": "iso-8859-1",
	"latin-2": "iso-8859-2", "latin2": "iso-8859-2", "iso-8859-2": "iso-8859-2",
	"iso-8859-5": "iso-8859-5", "iso-8859-7": "iso-8859-7", "iso-8859-9": "iso-8859-9", "latin-5": "iso-8859-9",
	"iso-8859-15": "iso-8859-15", "latin-9": "iso-8859-15", "latin9": "iso-8859-15",
	"windows-1250": "windows-1250", "cp1250": "windows-1250", "windows-1251": "windows-1251", "cp1251": "windows-1251",
	"windows-1252": "windows-1252", "cp1252": "windows-1252", "ansi": "windows-1252",
	"windows-1253": "windows-1253", "cp1253": "windows-1253", "windows-1254": "windows-1254", "cp1254": "windows-1254",
	"windows-1257": "windows-1257", "cp1257": "windows-1257",
	"cp437": "cp437", "cp850": "cp850", "cp852": "cp852", "koi8-r": "koi8-r", "macintosh": "macintosh", "mac-roman": "macintosh",
}

// Encodings returns the names that Encoding returns.
func Encodings() []string {
	return slices.Compact(slices.Sorted(maps.Values(encodings)))
}

// Encoding returns the one name of an encoding, and whether there is such a one.
// No name is the default, "".
func Encoding(name string) (string, bool) {
	if name == "" {
		return "", true
	}
	e, ok := encodings[strings.ToLower(strings.ReplaceAll(name, "_", "-"))]
	return e, ok
}

// separators are what may stand between fields, by what the spec calls them.
var separators = map[string]byte{"": 0, ",": ',', "comma": ',', ";": ';', "semicolon": ';', "\t": '\t', "tab": '\t', `\t`: '\t', "|": '|', "pipe": '|'}

// Separates returns the byte that parts fields, 0 where the spec does not say.
func (s *Source) Separates() byte { return separators[s.Separator] }
