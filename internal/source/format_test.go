package source

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	utf16 "golang.org/x/text/encoding/unicode"

	"mlops/internal/charset"
	"mlops/internal/dataset"
)

func encoded(t *testing.T, name, text string) string {
	t.Helper()
	out, err := charset.Of(name).NewEncoder().String(text)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestOpenAsItIs has tables as people have them: every one has the same two records.
func TestOpenAsItIs(t *testing.T) {
	big, err := utf16.UTF16(utf16.BigEndian, utf16.UseBOM).NewEncoder().String("Größe (cm),who\n1,Zoë\n2,Ümit\n")
	if err != nil {
		t.Fatal(err)
	}
	const plain = "Größe (cm),who\n1,Zoë\n2,Ümit\n"
	columns := []string{"Größe (cm)", "who"}
	tests := []struct {
		why, name, text string
		opts            Options
	}{
		{"UTF-8", "t.csv", plain, Options{}},
		{"a UTF-8 byte order mark", "t.csv", "\ufeff" + plain, Options{}},
		{"Latin-1", "t.csv", encoded(t, "iso-8859-1", plain), Options{Encoding: "iso-8859-1"}},
		{"windows-1252 in gzip", "t.csv.gz", gzipped(t, encoded(t, "windows-1252", plain)), Options{Encoding: "windows-1252"}},
		{"UTF-16 that says so", "t.csv", big, Options{}},
		{"UTF-16 that says so, named", "t.csv", big, Options{Encoding: "utf-16"}},
		{"UTF-16 without its mark", "t.csv", strings.TrimPrefix(encoded(t, "utf-16le", plain), "\xff\xfe"), Options{Encoding: "utf-16le"}},
		{"semicolons", "t.csv", strings.ReplaceAll(plain, ",", ";"), Options{Separator: ';'}},
		{"bars and quotes", "t.csv", "\"Größe (cm)\"|who\n\"1\"|Zoë\n2|\"Ümit\"\n", Options{Separator: '|'}},
		{"tabs", "t.csv", strings.ReplaceAll(plain, ",", "\t"), Options{Separator: '\t'}},
		{"a .tsv", "t.tsv", strings.ReplaceAll(plain, ",", "\t"), Options{}},
		{"a .tsv in gzip", "t.tsv.gz", gzipped(t, strings.ReplaceAll(plain, ",", "\t")), Options{}},
		{"a .tsv in a zip", "t.zip", zipped(t, "d/t.TSV", strings.ReplaceAll(plain, ",", "\t")), Options{Member: "d/t.TSV"}},
		{"blanks around names", "t.csv", strings.Replace(plain, "Größe (cm),who", " Größe (cm) , who", 1), Options{}},
		{"an index without a name", "t.csv", ",Größe (cm),who\n0,1,Zoë\n1,2,Ümit\n", Options{Ignore: []string{""}}},
		{"columns nobody wants", "t.csv", "x,who,y,Größe (cm),y\n,Zoë,,1,\n,Ümit,,2,\n", Options{IgnoreAll: true}},
		{"no header", "t.csv", "1,Zoë\n2,Ümit\n", Options{NoHeader: true}},
		{"no header, behind a byte order mark", "t.csv", "\ufeff1,Zoë\n2,Ümit\n", Options{NoHeader: true}},
	}
	for _, tt := range tests {
		t.Run(tt.why, func(t *testing.T) {
			tt.opts.Columns = columns
			tab, err := Open(context.Background(), file(t, tt.name, tt.text), tt.opts)
			if err != nil {
				t.Fatal(err)
			}
			defer tab.Close()
			var got []string
			for _, record := range read(t, tab, Position{}) {
				_, fields, _ := strings.Cut(record, ": ")
				got = append(got, fields)
			}
			if diff := cmp.Diff([]string{"1|Zoë", "2|Ümit"}, got); diff != "" {
				t.Errorf("records (-want +got):\n%s", diff)
			}
			r, err := tab.Records(Position{})
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if _, err := r.Next(); err != nil {
				t.Fatal(err)
			}
			second := read(t, tab, r.Position())
			if len(second) != 1 || !strings.HasSuffix(second[0], ": 2|Ümit") {
				t.Errorf("from the second record on: %q", second)
			}
			for {
				if _, err := r.Next(); err != nil {
					break
				}
			}
			if end := r.Position().Offset; end != tab.Size {
				t.Errorf("the last record ends at %d of %d", end, tab.Size)
			}
		})
	}
}

// TestGuess opens tables of which nothing is known.
func TestGuess(t *testing.T) {
	const plain = "id,town,when\n1,Köln,x\n2,Zoë,y\n"
	for _, tt := range []struct{ why, name, text, want string }{
		{"CSV", "t.csv", plain, `',' "" false [id town when]`},
		{"semicolons in windows-1252", "t.csv", encoded(t, "windows-1252", strings.ReplaceAll(plain, ",", ";")), `';' "windows-1252" false [id town when]`},
		{"an accent far down", "t.csv", "id,town\n" + strings.Repeat("1,x\n", 100_000) + "2,Zo\xeb\n", `',' "windows-1252" false [id town]`},
		{"tabs in UTF-16", "t.csv", encoded(t, "utf-16", strings.ReplaceAll(plain, ",", "\t")), `'\t' "utf-16le" false [id town when]`},
		{"UTF-16 without its mark", "t.csv", strings.TrimPrefix(encoded(t, "utf-16", plain), "\xff\xfe"), `',' "utf-16le" false [id town when]`},
		{"a name with commas", "t.csv", "a;\"b, c, d\";e\n1;2;3\n", `';' "" false [a b, c, d e]`},
		{"quotes behind a byte order mark", "t.csv", "\ufeff\"a\";\"b\"\n1;2\n", `';' "" false [a b]`},
		{"no header", "adult.data", "39, State-gov, 77516, <=50K\n50, Private, 83311, >50K\n", `',' "" true [column_1 column_2 column_3 column_4]`},
		{"years", "t.csv", "country,2019,2020\nDE,1,2\n", `',' "" false [country 2019 2020]`},
		{"years of the nineteenth century", "t.csv", "id,1850,1860,1870\n0,0.5,0.25,0.125\n", `',' "" false [id 1850 1860 1870]`},
		{"numbers as large as years", "t.csv", "1850,1720,1900\n1700,1650,1800\n", `',' "" true [column_1 column_2 column_3]`},
		{"names that are numbers, one of them known", "t.csv", "0.5,0.1,0.9\n1,2,3\n", `',' "" false [0.5 0.1 0.9]`},
	} {
		o := Options{Guess: true}
		if strings.Contains(tt.why, "known") {
			o.Named = "0.1"
		}
		tab, err := Open(context.Background(), file(t, tt.name, tt.text), o)
		if err != nil {
			t.Errorf("%s: %v", tt.why, err)
			continue
		}
		if got := fmt.Sprintf("%q %q %v %v", tab.Separator(), tab.Encoding(), tab.NoHeader(), tab.Names); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.why, got, tt.want)
		}
		tab.Close()
	}
}

// TestDigestIsOfTheText has one table in two encodings.
func TestDigestIsOfTheText(t *testing.T) {
	const text = "a,b\n1,Zoë\n"
	latin := encoded(t, "iso-8859-1", text)
	tab, err := Open(context.Background(), file(t, "t.csv", latin), Options{Columns: []string{"a", "b"}, Encoding: "iso-8859-1", SHA256: digestOf(latin)})
	if err != nil {
		t.Fatal(err)
	}
	defer tab.Close()
	if tab.Digest != digestOf(text) {
		t.Errorf("got digest %s, want that of the text in UTF-8, %s", tab.Digest, digestOf(text))
	}
}

func TestCharactersThatWereLost(t *testing.T) {
	for _, tt := range []struct {
		why, text, encoding, want string
	}{
		{"replaced on the way here", "a,b\n1,Zo\ufffd\n", "", "2! " + Replaced + ": 1,Zo\ufffd"},
		{"replaced, and the spec says that it is UTF-8", "a,b\n1,Zo\ufffd\n", "utf-8", "2: 1|Zo\ufffd"},
		{"a byte that windows-1252 does not have", "a,b\n1,Zo\x81\n", "windows-1252", "2! a byte that is no character in windows-1252: 1,Zo\ufffd"},
	} {
		tab, err := Open(context.Background(), file(t, "t.csv", tt.text), Options{Columns: []string{"a", "b"}, Encoding: tt.encoding})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{tt.want}, read(t, tab, Position{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.why, diff)
		}
		tab.Close()
	}
}

// TestEveryEncodingCanBeRead compares the names that a spec may have with those
// that are read.
func TestEveryEncodingCanBeRead(t *testing.T) {
	for _, name := range dataset.Encodings() {
		if charset.Of(name) == nil && name != "utf-8" {
			t.Errorf("a spec may have the encoding %s, and it can't be read", name)
		}
	}
	for _, name := range charset.Names() {
		if got, ok := dataset.Encoding(name); !ok || got != name {
			t.Errorf("%s can be read, and no spec may have it", name)
		}
	}
}

// bzipped is the tests' table as bzip2 packs it, which Go can't.
func bzipped(t *testing.T) string {
	t.Helper()
	packed, err := hex.DecodeString("425a6839314159265359030c1f1b0000055900001000043c0030002000221ea18843022734e3801e2ee48a70a12006183e36")
	if err != nil {
		t.Fatal(err)
	}
	return string(packed)
}

func zstandard(t *testing.T, text string) string {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	return string(w.EncodeAll([]byte(text), nil))
}

// TestBeforeTheHeader has lines before the header, names that are there twice, and records
// with a field more than the header.
func TestBeforeTheHeader(t *testing.T) {
	t.Parallel()
	records := strings.Repeat("1,2\n", 12)
	for _, c := range []struct {
		why, text string
		opts      Options
		want      string // skipped lines, names and the line of the first record, or the error
	}{
		{"empty lines", "\n \r\na,b\n" + records, Options{Columns: []string{"a", "b"}}, "0 [a b] 4"},
		{"skipped lines", "title\n# by hand\n\na,b\n" + records, Options{Columns: []string{"a", "b"}, Skip: 2}, "2 [a b] 5"},
		{"lines that are not skipped", "title\n# by hand\na,b\n" + records, Options{Columns: []string{"a", "b"}}, "the header seems to be on line 3: source: {skip: 2} would read it"},
		{"a title, guessed", "title\na,b\n" + records, Options{Guess: true}, "1 [a b] 3"},
		{"a comment with as many fields", "# a, b\n" + records, Options{Guess: true}, "0 [# a b] 2"},
		{"a separator line, guessed", "sep=;\na;b\n1,5;2\n1,5;3\n", Options{Guess: true}, "1 [a b] 3"},
		{"two with one name", "a,a\n" + records, Options{Columns: []string{"a#1", "a#2"}}, "0 [a#1 a#2] 2"},
		{"the second of them", "a,a\n" + records, Options{Columns: []string{"a#2"}, Ignore: []string{"a#1"}}, "0 [a#1 a#2] 2"},
		{"one with their name", "a,a\n" + records, Options{Columns: []string{"a"}}, `from: "a#1" is the first`},
		{"a field more", "a,b\n" + strings.Repeat("1,2,\n", 12), Options{Columns: []string{"a", "b"}}, `unknown: ""; list them under columns, or leave them out: source: {ignore: [""]}`},
		{"a field more, ignored", "a,b\n" + strings.Repeat("1,2,\n", 12), Options{Columns: []string{"a", "b"}, Ignore: []string{""}}, "0 [a b ] 2"},
		{"names of rows", "a,b\n" + strings.Repeat("x,1,2\n", 12), Options{Columns: []string{"a", "b"}, Ignore: []string{""}}, "0 [ a b] 2"},
		{"ragged", "a,b\n" + strings.Repeat("x,1,2\n1,2\n", 12), Options{Guess: true}, "0 [a b] 2"},
		{"headers that are numbers from 0", "0,1,2\n" + strings.Repeat("5,6,7\n", 3), Options{Guess: true}, "0 [0 1 2] 2"},
		{"a record of numbers", "4,1,2\n" + strings.Repeat("5,6,7\n", 3), Options{Guess: true}, "0 [column_1 column_2 column_3] 1"},
	} {
		table, err := Open(t.Context(), file(t, "t.csv", c.text), c.opts)
		got := ""
		if err != nil {
			got = err.Error()
		} else {
			got = fmt.Sprint(table.Skipped(), table.Names, table.header.end.Line)
			table.Close()
		}
		if !strings.Contains(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.why, got, c.want)
		}
	}
}
