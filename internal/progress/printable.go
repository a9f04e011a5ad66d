package progress

import (
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"

	"golang.org/x/term"
)

// Printable returns the text with what a person can't see and a terminal may obey written
// out: control characters, which move the cursor or rename the window, and those that
// change the direction of the text around them. Line ends and tabs stay. Names, values
// and reasons come from tables and from other people.
func Printable(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if strings.IndexFunc(text, obeyed) < 0 {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		switch {
		case !obeyed(r):
			b.WriteRune(r)
		case r < 0x80:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// obeyed reports whether a terminal or a browser would do something at the character
// rather than show it.
func obeyed(r rune) bool {
	switch {
	case r == '\n' || r == '\t':
		return false
	case r == '\u2028' || r == '\u2029': // ends of a line and a paragraph
		return true
	}
	return unicode.Is(unicode.Cc, r) || unicode.Is(unicode.Bidi_Control, r)
}

// OneLine returns a text in one line, with single blanks and what Printable writes out.
func OneLine(text string) string {
	return Printable(strings.Join(strings.Fields(text), " "))
}

// Screen returns the writer of a program's own texts: what goes to a terminal is
// Printable, and whatever else the file is gets every byte as it is, since it may be data.
func Screen(file *os.File) io.Writer {
	if term.IsTerminal(int(file.Fd())) {
		return printing{file}
	}
	return file
}

// printing writes texts that end with a whole character.
type printing struct{ out io.Writer }

func (s printing) Write(p []byte) (int, error) {
	if _, err := io.WriteString(s.out, Printable(string(p))); err != nil {
		return 0, err
	}
	return len(p), nil
}
