package source

import (
	"archive/zip"
	"bytes"
	"fmt"
	"strings"
)

// kinds are files that are no table of text, by their first bytes.
var kinds = []struct {
	magic string
	at    int
	is    string
}{
	{"\xfd7zXZ\x00", 0, "an .xz file"},
	{"7z\xbc\xaf\x27\x1c", 0, "a 7-Zip archive"},
	{"Rar!", 0, "a RAR archive"},
	{"\x04\x22\x4d\x18", 0, "an .lz4 file"},
	{"\x1f\x9d", 0, "a .Z file"},
	{"ustar", 257, "a tar archive"},
	{"PK\x03\x04", 0, "a zip archive within another file"},
	{"\x1f\x8b", 0, "a gzip file within another file"},
	{"1AY&SY", 4, "a bzip2 file within another file"},
	{"\x28\xb5\x2f\xfd", 0, "a zstd file within another file"},
	{"PAR1", 0, "a Parquet file"},
	{"ORC", 0, "an ORC file"},
	{"Obj\x01", 0, "an Avro file"},
	{"ARROW1", 0, "an Arrow file"},
	{"FEA1", 0, "a Feather file"},
	{"\x89HDF", 0, "an HDF5 file"},
	{"SQLite format 3", 0, "an SQLite database"},
	{"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", 0, "an old Office document such as .xls"},
	{"%PDF-", 0, "a PDF"},
	{"\x89PNG", 0, "a picture"},
	{"\xff\xd8\xff", 0, "a picture"},
	{"GIF8", 0, "a picture"},
	{"\x93NUMPY", 0, "a NumPy array"},
	{"RDX", 0, "an R data file"},
	{"\x80\x03c", 0, "a Python pickle"},
	{"\x80\x04\x95", 0, "a Python pickle"},
	{"\x80\x05\x95", 0, "a Python pickle"},
	{"\xff\xfe\x00\x00", 0, "text in UTF-32, where UTF-8 or UTF-16 is read"},
	{"\x00\x00\xfe\xff", 0, "text in UTF-32, where UTF-8 or UTF-16 is read"},
	{"$FL2", 0, "an SPSS file"},
	{"<stata_dta>", 0, "a Stata file"},
	{"version https://git-lfs.", 0, "a Git LFS pointer, not the file itself"},
	{"@relation", 0, "an ARFF file"},
	{"@RELATION", 0, "an ARFF file"},
}

// unreadable is the message about a file of a kind that can't be read.
func unreadable(is string) string {
	return fmt.Sprintf("not a CSV table: it is %s; a table is text in columns (CSV, TSV) or a Parquet file, by itself or in a .zip, .gz, .bz2 or .zst", is)
}

// foreign says what a file is that starts like that, where it is no table of text
// in the encoding; "" if it may be one.
func foreign(start []byte, encoding string) string {
	for _, k := range kinds {
		if len(start) >= k.at && bytes.HasPrefix(start[k.at:], []byte(k.magic)) {
			return unreadable(k.is)
		}
	}
	text := bytes.TrimLeft(bytes.TrimPrefix(start, []byte("\xef\xbb\xbf")), " \t\r\n")
	lower := bytes.ToLower(text)
	inner := func() byte {
		if rest := bytes.TrimLeft(text[1:], " \t\r\n"); len(rest) > 0 {
			return rest[0]
		}
		return 0
	}
	switch {
	case bytes.HasPrefix(lower, []byte("<?xml")):
		return unreadable("XML")
	case bytes.HasPrefix(text, []byte("<")):
		return "not a CSV table: it starts like a web page; an address may lead to a page about the table, or to one that asks for a login"
	case bytes.HasPrefix(text, []byte("{")) && (inner() == '"' || inner() == '}'):
		return unreadable("JSON")
	case bytes.HasPrefix(text, []byte("[")) && (inner() == '{' || inner() == '['):
		return unreadable("JSON")
	case len(bytes.Trim(start, "\x00")) == 0:
		return "not a CSV table: it begins with NUL bytes only, as a file whose content was never written"
	case encoding == "":
		return utf16WithoutMark(start)
	}
	return ""
}

// utf16WithoutMark is the message about a text that looks like UTF-16, "" if it does
// not.
func utf16WithoutMark(start []byte) string {
	if order := utf16Order(start); order != "" {
		return fmt.Sprintf("not a CSV table in UTF-8: it looks like UTF-16: source: {encoding: %s} would read it", order)
	}
	return ""
}

// utf16Order says which of UTF-16's orders a text looks like, in which every second
// byte of ASCII is NUL; "" if neither.
func utf16Order(start []byte) string {
	var nul [2]int
	for i, c := range start {
		if c == 0 {
			nul[i%2]++
		}
	}
	most := len(start) / 2
	for i, order := range []string{"utf-16be", "utf-16le"} {
		if most >= 4 && 4*nul[i] >= 3*most && nul[1-i] == 0 {
			return order
		}
	}
	return ""
}

// documentOf says which office document a zip archive is, "" if it is none.
func documentOf(files []*zip.File) string {
	for _, f := range files {
		switch {
		case strings.HasPrefix(f.Name, "xl/"):
			return "an Excel workbook (.xlsx); save the sheet as CSV UTF-8"
		case strings.HasPrefix(f.Name, "word/"):
			return "a Word document"
		case f.Name == "META-INF/manifest.xml":
			return "an OpenDocument file; save the sheet as CSV in UTF-8"
		}
	}
	return ""
}
