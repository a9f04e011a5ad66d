package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

// write puts a table into a file of its own and returns its path.
func write(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "table.csv")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// read returns a table's records as "line: a|b" and "line! reason: text".
func read(t testing.TB, table *Table, from Position) []string {
	t.Helper()
	r, err := table.Records(from)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	return drain(t, r)
}

func drain(t testing.TB, r *Reader) []string {
	t.Helper()
	var got []string
	for {
		rec, err := r.Next()
		if errors.Is(err, io.EOF) {
			return got
		}
		if err != nil {
			t.Fatal(err)
		}
		if rec.Reason != "" {
			text := Cut(rec.Text)
			if len(text) > 20 {
				text = text[:20] + "..."
			}
			got = append(got, fmt.Sprintf("%d! %s: %s", rec.Line, rec.Reason, text))
			continue
		}
		got = append(got, fmt.Sprintf("%d: %s", rec.Line, bytes.Join(rec.Fields, []byte("|"))))
	}
}

func TestRecords(t *testing.T) {
	long := strings.Repeat("x", MaxRecord)
	tests := []struct {
		why  string
		text string
		want []string
	}{
		{"LF, and a last line without line end", "a,b\n1,2\n3,4", []string{"2: 1|2", "3: 3|4"}},
		{"CRLF", "a,b\r\n1,2\r\n3,4\r\n", []string{"2: 1|2", "3: 3|4"}},
		{"both in one file", "a,b\r\n1,2\n3,4\r\n", []string{"2: 1|2", "3: 3|4"}},
		{"a byte order mark is skipped", "\ufeffa,b\n1,2\n", []string{"2: 1|2"}},
		{"a quoted header", "\"a\",\"b\"\n1,2\n", []string{"2: 1|2"}},
		{"empty fields are fields", "a,b\n1,\n,2\n\"\",\n", []string{"2: 1|", "3: |2", "4: |"}},
		{"quotes hold commas, quotes and line ends", "a,b\n\"x,y\",\"say \"\"hi\"\"\"\n\"l1\nl2\",z\n5,6\n", []string{"2: x,y|say \"hi\"", "3: l1\nl2|z", "5: 5|6"}},
		{"CRLF inside quotes is kept", "a,b\r\n\"l1\r\nl2\",z\r\n5,6\r\n", []string{"2: l1\r\nl2|z", "4: 5|6"}},
		{"an empty quoted field, and one at the very end", "a,b\n\"\",\"\"", []string{"2: |"}},
		{"a quoted field before a lone CR at the very end", "a,b\n1,\"2\"\r", []string{"2: 1|2"}},
		{"other languages", "a,b\nŽluťoučký,日本\n", []string{"2: Žluťoučký|日本"}},

		{"too few fields", "a,b\n1\n3,4\n", []string{"2! 1 fields, want 2: 1", "3: 3|4"}},
		{"too many fields", "a,b\n1,2,3\n3,4\n", []string{"2! 3 fields, want 2: 1,2,3", "3: 3|4"}},
		{"too many quoted fields", "a,b\n\"1\",2,3\n3,4\n", []string{"2! 3 fields, want 2: \"1\",2,3", "3: 3|4"}},
		{"an empty line", "a,b\n\n3,4\n\r\n", []string{"3: 3|4"}},
		{"lines without a value", "a,b\n,\n 	\n3,4\n,,,\n , \n5,\n,,", []string{"4: 3|4", "7: 5|"}},
		{"a NUL byte", "a,b\n1,\x00\n3,4\n", []string{"2! NUL byte at byte 3: 1,\u2400", "3: 3|4"}},
		{"a NUL byte inside quotes takes its whole record", "a,b\n\"l1\n\x00\",2\n3,4\n", []string{"2! NUL byte at byte 5: \"l1\n\u2400\",2", "4: 3|4"}},
		{"invalid UTF-8", "a,b\n1,\xff\n3,4\n", []string{"2! invalid UTF-8: 1,\ufffd", "3: 3|4"}},
		{"a lone carriage return", "a,b\n1,x\ry\n3,4\n", []string{"2! carriage return inside a field without quotes: 1,x\ry", "3: 3|4"}},
		{"a lone carriage return beside quotes", "a,b\n\"1\",x\ry\n3,4\n", []string{"2! carriage return inside a field without quotes: \"1\",x\ry", "3: 3|4"}},
		{"a quote inside a field", "a,b\n1,x\"y\n3,4\n", []string{"2! quote inside field 2, which does not start with one: 1,x\"y", "3: 3|4"}},
		{"text after a closing quote", "a,b\n\"1\"x,2\n3,4\n", []string{"2! text after the closing quote of field 1: \"1\"x,2", "3: 3|4"}},
		{"a quote that is never closed costs one line", "a,b\n1,\"x\n3,4\n5,6\n", []string{"2! a quote is not closed before the end of the file: 1,\"x", "3: 3|4", "4: 5|6"}},
		{"and on the last line", "a,b\n3,4\n1,\"x", []string{"2: 3|4", "3! a quote is not closed before the end of the file: 1,\"x"}},
		{"a stray quote does not take the next quoted line", "a,b\n1,\"x\n\"3\",4\n5,6\n", []string{"2! text after the closing quote of field 2: 1,\"x", "3: 3|4", "4: 5|6"}},
		{"lines taken in by a stray quote come back when the count is wrong", "a,b\n1,\"x\n3,4\n5\",6\n7,8\n",
			[]string{"2! 3 fields, want 2: 1,\"x", "3: 3|4", "4! quote inside field 1, which does not start with one: 5\",6", "5: 7|8"}},
		{"a quote open for longer than a record", "a,b\n1,\"x\n" + strings.Repeat("3,4\n", MaxRecord/4+1) + "5,\"6\"\n",
			append(append([]string{fmt.Sprintf("2! a quote is not closed within %d bytes: 1,\"x", MaxRecord)},
				numbered(3, MaxRecord/4+1, "3|4")...), fmt.Sprintf("%d: 5|6", 3+MaxRecord/4+1))},
		{"a line of the greatest length", "a,b\n1," + long[2:] + "\r\n3,4\n", []string{"2: 1|" + long[2:], "3: 3|4"}},
		{"one byte more", "a,b\n1," + long[1:] + "\r\n3,4\n", []string{"2! longer than 65536 bytes: 1,xxxxxxxxxxxxxxxxxx...", "3: 3|4"}},
		{"far more than the buffer", "a,b\n" + strings.Repeat(long, 9) + "\n3,4\n", []string{"2! longer than 65536 bytes: xxxxxxxxxxxxxxxxxxxx...", "3: 3|4"}},
		{"far more, to the end of the file", "a,b\n3,4\n" + strings.Repeat(long, 9), []string{"2: 3|4", "3! longer than 65536 bytes: xxxxxxxxxxxxxxxxxxxx..."}},
		{"columns in another order are mapped", "b,a\n2,1\n\"4\",3\n", []string{"2: 1|2", "3: 3|4"}},
	}
	for _, tt := range tests {
		t.Run(tt.why, func(t *testing.T) {
			table, err := Open(context.Background(), write(t, tt.text), Options{Columns: []string{"a", "b"}})
			if err != nil {
				t.Fatal(err)
			}
			defer table.Close()
			if diff := cmp.Diff(tt.want, read(t, table, Position{})); diff != "" {
				t.Errorf("records (-want +got):\n%s", diff)
			}
			// The same, where the file comes in small pieces.
			in := newReader(iotest.OneByteReader(strings.NewReader(tt.text[table.header.end.Offset:])), table.header.end, table.header)
			if diff := cmp.Diff(tt.want, drain(t, in)); diff != "" {
				t.Errorf("records, byte for byte (-want +got):\n%s", diff)
			}
		})
	}
}

// numbered returns the same record on n lines.
func numbered(from, n int, record string) []string {
	s := make([]string, n)
	for i := range s {
		s[i] = fmt.Sprintf("%d: %s", from+i, record)
	}
	return s
}

func TestOneColumn(t *testing.T) {
	table, err := Open(context.Background(), write(t, "a\n\n\"x\"\ny\n"), Options{Columns: []string{"a"}})
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	want := []string{"2: ", "3: x", "4: y"}
	if diff := cmp.Diff(want, read(t, table, Position{})); diff != "" {
		t.Errorf("an empty line is an empty field of the only column (-want +got):\n%s", diff)
	}
}

// TestPositions reads a table of random mischief from every record on; each
// time the rest has to be the same.
func TestPositions(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	pieces := []string{"1", ",", ",", "\n", "\r\n", "\"", "\"\"", "x", "é", "\x00", "\xff", "\r"}
	for round := range 300 {
		var b strings.Builder
		b.WriteString("a,b\n")
		for range 1 + rng.IntN(60) {
			b.WriteString(pieces[rng.IntN(len(pieces))])
		}
		b.WriteString("1,2\n")
		table, err := Open(context.Background(), write(t, b.String()), Options{Columns: []string{"a", "b"}})
		if err != nil {
			t.Fatal(err)
		}
		all := read(t, table, Position{})
		r, err := table.Records(Position{})
		if err != nil {
			t.Fatal(err)
		}
		lines := int64(1)
		for i := range all {
			if diff := cmp.Diff(all[i:], read(t, table, r.Position())); diff != "" {
				t.Fatalf("round %d, %q from record %d (-want +got):\n%s", round, b.String(), i, diff)
			}
			if _, err := r.Next(); err != nil {
				t.Fatal(err)
			}
			lines = r.Position().Line - 1
		}
		if lines != table.Lines || r.Position().Offset != table.Size {
			t.Fatalf("round %d, %q: reading ended after line %d, byte %d; the table has %d lines, %d bytes",
				round, b.String(), lines, r.Position().Offset, table.Lines, table.Size)
		}
		table.Close()
	}
}

func TestCut(t *testing.T) {
	tests := []struct{ why, text, want string }{
		{"text stays", "a,ž", "a,ž"},
		{"NUL and bad bytes are shown", "a\x00\xfe,", "a\u2400\ufffd,"},
		{"no rune is cut in two", "x" + strings.Repeat("é", MaxText), "x" + strings.Repeat("é", (MaxText-1)/2)},
	}
	for _, tt := range tests {
		if got := Cut([]byte(tt.text)); got != tt.want {
			t.Errorf("%s: got %.40q, want %.40q", tt.why, got, tt.want)
		}
	}
}

func TestNextAllocatesNothing(t *testing.T) {
	table, err := Open(context.Background(), write(t, "a,b\n"+strings.Repeat("1,2\n\"3\"\"\",4\n", 2000)), Options{Columns: []string{"a", "b"}})
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	r, err := table.Records(Position{})
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(3000, func() {
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a record, want none", n)
	}
}

func BenchmarkNext(b *testing.B) {
	line := "2278392,8222157,Caucasian,Female,[0-10),?,6,25,1,1,?,Pediatrics-Endocrinology,41,0,1,0,0,0,250.83,?,?,1,None,None," +
		strings.Repeat("No,", 25) + "NO\r\n"
	names := make([]string, strings.Count(line, ",")+1)
	for i := range names {
		names[i] = fmt.Sprint("c", i)
	}
	table, err := Open(context.Background(), write(b, strings.Join(names, ",")+"\n"+strings.Repeat(line, 100_000)), Options{Columns: names})
	if err != nil {
		b.Fatal(err)
	}
	defer table.Close()
	b.SetBytes(table.Size)
	b.ReportAllocs()
	for b.Loop() {
		r, err := table.Records(Position{})
		if err != nil {
			b.Fatal(err)
		}
		for {
			if _, err := r.Next(); err != nil {
				break
			}
		}
	}
}
