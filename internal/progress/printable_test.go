package progress

import (
	"os"
	"path/filepath"
	"testing"
)

func TestPrintable(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ text, want, line string }{
		{"plain, naïve\tand 漢字\n", "plain, naïve\tand 漢字\n", "plain, naïve and 漢字"},
		{"\x1b]0;owned\x07\x1b[2Jgone", `\x1b]0;owned\x07\x1b[2Jgone`, `\x1b]0;owned\x07\x1b[2Jgone`},
		{"done\rfailed\b", `done\x0dfailed\x08`, `done failed\x08`},
		{"an 8-bit \u009b2J", `an 8-bit \u009b2J`, `an 8-bit \u009b2J`},
		{"user\u202egnp.exe\u2066\u200f", `user\u202egnp.exe\u2066\u200f`, `user\u202egnp.exe\u2066\u200f`},
		{"one\u2028two\n\nin production: 9", `one\u2028two` + "\n\nin production: 9", `one two in production: 9`},
		{"not \xff UTF-8", "not \uFFFD UTF-8", "not \uFFFD UTF-8"},
		{"joined\u200d and\u200cnot", "joined\u200d and\u200cnot", "joined\u200d and\u200cnot"}, // which changes no direction
	} {
		if got := Printable(test.text); got != test.want {
			t.Errorf("Printable(%q) = %q, want %q", test.text, got, test.want)
		}
		if got := OneLine(test.text); got != test.line {
			t.Errorf("OneLine(%q) = %q, want %q", test.text, got, test.line)
		}
	}
}

// TestScreen writes data as it is to a file, and nothing that a terminal obeys to one.
func TestScreen(t *testing.T) {
	t.Parallel()
	const text = "a\x1b[31m,b\r\n"
	name := filepath.Join(t.TempDir(), "out.csv")
	file, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := Screen(file).Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(name); err != nil || string(got) != text {
		t.Errorf("a file got %q, %v; want %q", got, err, text)
	}
	read, terminal, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	defer terminal.Close()
	if n, err := (printing{terminal}).Write([]byte(text)); err != nil || n != len(text) {
		t.Errorf("writing to a terminal: %d, %v; want %d", n, err, len(text))
	}
	got := make([]byte, 100)
	n, err := read.Read(got)
	if want := `a\x1b[31m,b\x0d` + "\n"; err != nil || string(got[:n]) != want {
		t.Errorf("a terminal got %q, %v; want %q", got[:n], err, want)
	}
}
