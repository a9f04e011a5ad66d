package source

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/transform"

	"mlops/internal/charset"
)

// text returns the table's text as UTF-8 out of its bytes.
func (t *Table) text(in io.Reader) io.Reader {
	if e := charset.Of(t.encoding); e != nil {
		in = e.NewDecoder().Reader(in)
	}
	if t.cr {
		return &lineFeeds{in}
	}
	return in
}

// settleLines finds out whether the table's lines end in carriage returns alone: its
// beginning has some, and no line feed.
func (t *Table) settleLines() error {
	in, err := t.open()
	if err != nil {
		return err
	}
	defer in.Close()
	start := make([]byte, MaxRecord)
	n, err := io.ReadFull(t.text(in), start)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	t.cr = bytes.IndexByte(start[:n], '\r') >= 0 && bytes.IndexByte(start[:n], '\n') < 0
	return nil
}

// lineFeeds puts a line feed in the place of each carriage return. Its text is as long as
// the one that it reads, so positions are the same.
type lineFeeds struct{ r io.Reader }

func (l *lineFeeds) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	for i, c := range p[:n] {
		if c == '\r' {
			p[i] = '\n'
		}
	}
	return n, err
}

// Encoder returns a writer of UTF-8 text that writes it as a table with these options
// is read: what the encoding does not have becomes a question mark or the like.
func Encoder(w io.Writer, o Options) io.WriteCloser {
	e := charset.Of(o.Encoding)
	if e == nil {
		return transform.NewWriter(w, transform.Nop)
	}
	return transform.NewWriter(w, encoding.ReplaceUnsupported(e.NewEncoder()))
}

// opened opens the table's text. Without another encoding it can be read from any
// position.
func (t *Table) opened() (io.ReadCloser, error) {
	in, err := t.open()
	switch {
	case err != nil || charset.Of(t.encoding) == nil && !t.cr:
		return in, err
	case charset.Of(t.encoding) == nil:
		if s, ok := in.(io.Seeker); ok {
			return struct {
				io.Reader
				io.Seeker
				io.Closer
			}{t.text(in), s, in}, nil
		}
	}
	return struct {
		io.Reader
		io.Closer
	}{t.text(in), in}, nil
}

// GuessEncoding says which encoding a line that is not UTF-8 looks like, and how
// the text around its first foreign byte reads in it.
func GuessEncoding(line []byte) (name, example string) {
	var g encodingGuess
	g.add(line)
	name = g.name()
	if decoded, err := charset.Of(name).NewDecoder().Bytes(g.first); err == nil {
		example = string(decoded)
	}
	return name, example
}

// encodingGuess adds up how likely the fields of some lines read in each encoding.
type encodingGuess struct {
	likely map[string]int
	words  bool   // one has a whole word of foreign letters
	first  []byte // field, around its first foreign byte
}

// add takes in the fields of a line that are not UTF-8.
func (g *encodingGuess) add(line []byte) {
	const around = 30
	if g.likely == nil {
		g.likely = map[string]int{}
	}
	for _, field := range bytes.FieldsFunc(line, func(r rune) bool { return r == ',' || r == ';' || r == '\t' || r == '\n' }) {
		at := 0
		for at < len(field) {
			r, n := utf8.DecodeRune(field[at:])
			if r == utf8.RuneError && n <= 1 {
				break
			}
			at += n
		}
		if at == len(field) {
			continue
		}
		part := field[max(0, at-around):min(len(field), at+around)]
		if g.first == nil {
			g.first = bytes.Clone(part)
		}
		g.words = g.words || longestRun(part) >= 4
		for _, name := range append(western, cyrillic...) {
			if decoded, err := charset.Of(name).NewDecoder().Bytes(part); err == nil {
				g.likely[name] += likely(string(decoded))
			}
		}
	}
}

// Encodings that are guessed, the most common first.
var (
	western  = []string{"windows-1252", "cp850", "macintosh"}
	cyrillic = []string{"windows-1251", "koi8-r"}
)

func (g *encodingGuess) name() string {
	names := western
	if g.words {
		names = cyrillic
	}
	best := names[0]
	for _, name := range names[1:] {
		if g.likely[name] > g.likely[best] {
			best = name
		}
	}
	return best
}

// longestRun is the most foreign bytes that follow one another.
func longestRun(text []byte) int {
	longest, run := 0, 0
	for _, c := range text {
		if run++; c < 0xC0 {
			run = 0
		}
		longest = max(longest, run)
	}
	return longest
}

// likely counts foreign letters, less those that are capital behind a small one, and
// signs that texts often have.
func likely(text string) int {
	n, before := 0, ' '
	for _, r := range text {
		if r >= utf8.RuneSelf && unicode.IsLetter(r) {
			if n++; unicode.IsUpper(r) && unicode.IsLower(before) {
				n -= 2
			}
		} else if strings.ContainsRune("€£‘’“”–—…°", r) {
			n++
		}
		before = r
	}
	return n
}

// notUTF8 is the error of a header that is not UTF-8.
func notUTF8(line []byte) error {
	name, example := GuessEncoding(line)
	return fmt.Errorf("not a CSV table in UTF-8: line 1: %s, it looks like %s (%q): source: {encoding: %s} would read it", InvalidUTF8, name, example, name)
}

// encodingName is the encoding that the table is read in, for people.
func (t *Table) encodingName() string {
	if t.encoding == "" {
		return "UTF-8"
	}
	return t.encoding
}
