package ingest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/text/encoding/charmap"
)

// asIsSpec reads a table as a spreadsheet of a German office saves it.
const asIsSpec = `name: things
model: things
task: binary
missing: ["k.A."]
source: {separator: ";", encoding: windows-1252, decimal: ",", thousands: ".", ignore: ["", Bemerkung]}
key: id
columns:
  - {name: id, from: Nr., type: integer}
  - {name: height, from: "Größe (cm)", type: number, missing: ["-1"]}
  - {name: smoker, from: "1stRaucher?", type: boolean}
  - {name: admitted, type: date, from: Aufnahme, format: DD.MM.YYYY}
  - {name: discharged, type: date, from: Entlassung}
  - {name: town, from: Ort, type: category}
  - {name: y, type: boolean}
target: {column: y, positive: [1]}
split: {salts: [s1], train: 60, validation: 20, test: 20}
features:
  - {number: height}
  - {number: smoker}
  - {days_from: admitted, to: discharged}
threshold: {maximize: f1}
candidates:
  - {name: one, rounds: 10}
`

func windows(t *testing.T, text string) string {
	t.Helper()
	out, err := charmap.Windows1252.NewEncoder().String(text)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestTableAsItIs loads a table with every key that says how it is written, and the
// same rows again in other spellings.
func TestTableAsItIs(t *testing.T) {
	t.Parallel()
	cfg := setup(t, "key: id")
	cfg.Spec = parse(t, asIsSpec)
	cfg.All = true
	const first = `;Nr.; Größe (cm) ;1stRaucher?;Bemerkung;Aufnahme;Entlassung;Ort;y
0;1;1.170,5;yes;"a;b";31.01.2024;2024-02-01 10:30;Köln;1
1;2;-1,0;False;;1.2.2024;;Münster;0
2;3;k.A.;t;x;2024-02-29;20240301;"Bad ""Ems""";true
3;4;12;k.A.;x;k.A.;2024-03-01T00:30:00+01:00;` + "a\\b\tc" + `;no
`
	// The same, by another program: a known row is the same value in any spelling.
	const second = `Nr.;Größe (cm);1stRaucher?;Bemerkung;Aufnahme;Entlassung;Ort;y
1,0;1170,50;TRUE;other;2024-01-31;2024-02-01T10:30:00;Köln;Yes
2;-1;0;;01.02.2024;;Münster;off
3;;1;;29.02.2024;2024-03-01;"Bad ""Ems""";T
4;12,00;;;;2024-02-29T23:30:00Z;` + "a\\b\tc" + `;0
`
	r := load(t, cfg.from(t, windows(t, first)))
	if r.Taken != 4 || r.Rejected != 0 {
		t.Fatalf("got %s", r)
	}
	r = load(t, cfg.from(t, windows(t, second)))
	if r.Known != 4 || r.Taken != 0 || r.Rejected != 0 {
		t.Errorf("the same rows again: %s", r)
	}
	if r, err := Process(context.Background(), cfg); err != nil || r.Taken != 4 {
		t.Fatalf("got %s, %v", r, err)
	}
	clean := connect(t, cfg, cfg.Postgres.Clean)
	types := query(t, clean, `SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
		WHERE attrelid = 'things'::regclass AND attname IN ('smoker', 'admitted', 'height') ORDER BY 1`)
	if diff := cmp.Diff([]string{"admitted|timestamp without time zone", "height|double precision", "smoker|boolean"}, types); diff != "" {
		t.Errorf("types (-want +got):\n%s", diff)
	}
	want := []string{
		"1|1170.5|true|2024-01-31|2024-02-01T10:30:00|Köln|true",
		"2|NULL|false|2024-02-01|NULL|Münster|false",
		`3|NULL|true|2024-02-29|2024-03-01|Bad "Ems"|true`,
		"4|12|NULL|NULL|2024-02-29T23:30:00|a\\b\tc|false",
	}
	for _, style := range []string{"ISO, DMY", "SQL, MDY", "German"} {
		if _, err := clean.Exec(context.Background(), "SET DateStyle = '"+style+"'"); err != nil {
			t.Fatal(err)
		}
		var got []string
		if _, err := Split(context.Background(), cfg); err != nil {
			t.Fatal(err)
		}
		err := Rows(context.Background(), clean, cfg.Spec, Selection{}, func(_ string, fields [][]byte) error {
			texts := make([]string, len(fields))
			for i, f := range fields {
				if texts[i] = string(f); f == nil {
					texts[i] = "NULL"
				}
				if v, err := cfg.Spec.Value(i, f); err != nil || string(v) != string(f) {
					t.Errorf("%s is not canonical: %s, %v", f, v, err)
				}
			}
			got = append(got, strings.Join(texts, "|"))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("rows with the date style %s (-want +got):\n%s", style, diff)
		}
	}
}

// TestSeparatorsInRaw loads one table with each separator, with bytes that COPY
// escapes in its fields.
func TestSeparatorsInRaw(t *testing.T) {
	t.Parallel()
	for key, sep := range map[string]string{`","`: ",", `";"`: ";", "tab": "\t", `"|"`: "|"} {
		t.Run(key, func(t *testing.T) {
			cfg := setup(t, "")
			cfg.Spec = parse(t, strings.Replace(specText(""), "missing:", "source: {separator: "+key+"}\nmissing:", 1))
			cfg.All = true
			rows := []string{"1§back\\slash§1.5§yes", "2§\"quo\"\"ted\"§2.5§no", "3§\"two\nlines\"§3§no", "4§\"in" + sep + "side\"§4§yes"}
			text := strings.ReplaceAll("id§who§Size-cm§good\n"+strings.Join(rows, "\n")+"\n", "§", sep)
			if r := load(t, cfg.from(t, text)); r.Taken != 4 {
				t.Fatalf("got %s", r)
			}
			lengths := query(t, connect(t, cfg, cfg.Postgres.Raw), `SELECT octet_length(who), ascii(substr(who, 3)) FROM things ORDER BY _line`)
			if diff := cmp.Diff([]string{"10|99", "7|111", "9|111", fmt.Sprintf("7|%d", sep[0])}, lengths); diff != "" {
				t.Errorf("lengths and third characters (-want +got):\n%s", diff)
			}
		})
	}
}

// TestTableOfAnotherEncoding has a table of few accents, in an encoding that the spec
// does not name: what is lost is said, with the key that would read it.
func TestTableOfAnotherEncoding(t *testing.T) {
	t.Parallel()
	cfg := strict(t, "key: id")
	text := table(100, func(i int) string { return fmt.Sprintf("%d,Zoë,%d,yes", i, i) })
	for _, tt := range []struct{ why, text, want string }{
		{"windows-1252", windows(t, text), `source: {encoding: windows-1252} would read it`},
		{"what --set-file makes of it", strings.ToValidUTF8(windows(t, text), "\ufffd"), `--set-file, which needs UTF-8: pass the table as an address, with source: {encoding: ...}`},
	} {
		_, err := LoadRaw(context.Background(), cfg.from(t, tt.text))
		if ExitCode(err) != 2 || !strings.Contains(fmt.Sprint(err), tt.want) {
			t.Errorf("%s: got %v, exit code %d; want 2 and %q", tt.why, err, ExitCode(err), tt.want)
		}
	}
	file := filepath.Join(t.TempDir(), "t.csv")
	if err := os.WriteFile(file, []byte(windows(t, "größe\n1\n")), 0o644); err != nil {
		t.Fatal(err)
	}
	cfg.Source = file
	if _, err := LoadRaw(context.Background(), cfg); ExitCode(err) != 2 || !strings.Contains(fmt.Sprint(err), "source: {encoding: windows-1252} would read it") {
		t.Errorf("a header: got %v", err)
	}
}
