// Package charset has the encodings of text that tables come in, besides UTF-8.
package charset

import (
	"bytes"
	"maps"
	"slices"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	utf16 "golang.org/x/text/encoding/unicode"
)

// encodings by their names in a spec.
var encodings = map[string]encoding.Encoding{
	"utf-16":     utf16.UTF16(utf16.LittleEndian, utf16.UseBOM),
	"utf-16le":   utf16.UTF16(utf16.LittleEndian, utf16.UseBOM),
	"utf-16be":   utf16.UTF16(utf16.BigEndian, utf16.UseBOM),
	"iso-8859-1": charmap.ISO8859_1, "iso-8859-2": charmap.ISO8859_2, "iso-8859-5": charmap.ISO8859_5,
	"iso-8859-7": charmap.ISO8859_7, "iso-8859-9": charmap.ISO8859_9, "iso-8859-15": charmap.ISO8859_15,
	"windows-1250": charmap.Windows1250, "windows-1251": charmap.Windows1251, "windows-1252": charmap.Windows1252,
	"windows-1253": charmap.Windows1253, "windows-1254": charmap.Windows1254, "windows-1257": charmap.Windows1257,
	"cp437": charmap.CodePage437, "cp850": charmap.CodePage850, "cp852": charmap.CodePage852,
	"koi8-r": charmap.KOI8R, "macintosh": charmap.Macintosh,
}

// Of returns an encoding by the name that dataset.Encoding gives it; nil for UTF-8 and
// for names that are none.
func Of(name string) encoding.Encoding { return encodings[name] }

// Names returns the names that Of knows.
func Names() []string { return slices.Sorted(maps.Keys(encodings)) }

// OfLine returns the encoding for lines that are not UTF-8 in a text that is said to be in
// the named one; nil if a line can't be read by itself.
func OfLine(name string) encoding.Encoding {
	if e, ok := encodings[name].(*charmap.Charmap); ok {
		return e
	}
	return nil
}

// Declared returns the encoding that a text says at its start that it has: the byte order
// mark of UTF-16.
func Declared(start []byte) string {
	switch {
	case bytes.HasPrefix(start, []byte("\xff\xfe")):
		return "utf-16le"
	case bytes.HasPrefix(start, []byte("\xfe\xff")):
		return "utf-16be"
	}
	return ""
}
