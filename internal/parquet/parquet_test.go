package parquet

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"

	"mlops/internal/source"
)

// records reads a whole table: the fields of each record, or why it was rejected.
func records(t *testing.T, address string, o source.Options) (*source.Table, [][]string) {
	t.Helper()
	o.Parquet = Open
	tab, err := source.Open(context.Background(), address, o)
	if err != nil {
		t.Fatalf("%s: %v", address, err)
	}
	t.Cleanup(func() { tab.Close() })
	in, err := tab.Records(source.Position{})
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	var all [][]string
	for {
		rec, err := in.Next()
		if errors.Is(err, io.EOF) {
			return tab, all
		}
		if err != nil {
			t.Fatal(err)
		}
		if tab.ByRow() && rec.Line != int64(len(all)+1) {
			t.Fatalf("record %d has number %d", len(all)+1, rec.Line)
		}
		fields := []string{rec.Reason}
		for _, f := range rec.Fields {
			fields = append(fields, string(f))
		}
		all = append(all, fields)
	}
}

// TestEqualToCSV reads tables that pandas and pyarrow wrote as CSV and as Parquet, in
// every codec and with pages and row groups of a few rows: they are the same, cell by
// cell, digest included.
func TestEqualToCSV(t *testing.T) {
	t.Parallel()
	csv, want := records(t, filepath.Join("testdata", "members.csv"), source.Options{})
	if len(want) != 300 {
		t.Fatalf("the CSV has %d rows", len(want))
	}
	files, err := filepath.Glob(filepath.Join("testdata", "members*.parquet"))
	if err != nil || len(files) != 7 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, f := range files {
		tab, got := records(t, f, source.Options{})
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-CSV +Parquet):\n%s", f, diff)
		}
		if diff := cmp.Diff(csv.Names, tab.Names); diff != "" {
			t.Errorf("%s: names (-CSV +Parquet):\n%s", f, diff)
		}
		if tab.Digest != csv.Digest || tab.Lines != 300 {
			t.Errorf("%s: digest %s, want %s; %d rows, want 300", f, tab.Digest, csv.Digest, tab.Lines)
		}
	}
}

// TestPlaces reads a Parquet file out of archives and from a web server, and from the
// middle on.
func TestPlaces(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("testdata", "members-zstd.parquet"))
	if err != nil {
		t.Fatal(err)
	}
	var gz, z bytes.Buffer
	w := gzip.NewWriter(&gz)
	w.Write(text)
	w.Close()
	archive := zip.NewWriter(&z)
	if f, err := archive.Create("members.parquet"); err == nil {
		f.Write(text)
	}
	archive.Close()
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(text) }))
	defer web.Close()
	dir := t.TempDir()
	for name, content := range map[string][]byte{"m.parquet.gz": gz.Bytes(), "m.zip": z.Bytes(), "m.csv": text} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	columns := []string{"price", "name", "id"}
	_, want := records(t, filepath.Join("testdata", "members.csv"), source.Options{Columns: columns, IgnoreAll: true})
	for _, address := range []string{filepath.Join(dir, "m.parquet.gz"), filepath.Join(dir, "m.zip"), filepath.Join(dir, "m.csv"), web.URL + "/members"} {
		// What a spec says of the CSV of the same table does not harm.
		o := source.Options{Columns: columns, IgnoreAll: true, Separator: ';', Encoding: "windows-1252", NoHeader: true}
		tab, got := records(t, address, o)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", address, diff)
		}
		in, err := tab.Records(source.Position{})
		if err != nil {
			t.Fatal(err)
		}
		for range 170 {
			if _, err := in.Next(); err != nil {
				t.Fatal(err)
			}
		}
		at := in.Position()
		in.Close()
		if in, err = tab.Records(at); err != nil {
			t.Fatal(err)
		}
		if rec, err := in.Next(); err != nil || rec.Line != 171 || string(rec.Fields[2]) != "171" {
			t.Errorf("%s: from row 171 on: %+v, %v", address, rec, err)
		}
		in.Close()
	}
}

func TestDecimal(t *testing.T) {
	t.Parallel()
	_, got := records(t, filepath.Join("testdata", "members.parquet"), source.Options{Columns: []string{"ratio", "amount", "day"}, IgnoreAll: true, Decimal: ","})
	if diff := cmp.Diff([]string{"", "2,75", "140,99", ""}, got[0]); diff != "" {
		t.Errorf("numbers of a spec with a decimal comma (-want +got):\n%s", diff)
	}
}

func TestRefuses(t *testing.T) {
	t.Parallel()
	good, err := os.ReadFile(filepath.Join("testdata", "members.parquet"))
	if err != nil {
		t.Fatal(err)
	}
	damaged := func(change func([]byte) []byte) string {
		path := filepath.Join(t.TempDir(), "t.parquet")
		if err := os.WriteFile(path, change(bytes.Clone(good)), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	nested := filepath.Join("testdata", "nested.parquet")
	for _, tt := range []struct {
		why, address string
		o            source.Options
		want         string // part of the error; empty: none
	}{
		{"the first of them", nested, source.Options{}, `column "at" is a structure, and a cell of a table holds one value: make columns of its parts, or leave it out: source: {ignore: ["at"]}`},
		{"a structure", nested, source.Options{Columns: []string{"at"}, IgnoreAll: true}, `column "at" is a structure`},
		{"a list", nested, source.Options{Columns: []string{"tags"}, IgnoreAll: true}, `column "tags" is a list`},
		{"a map", nested, source.Options{Columns: []string{"pairs"}, IgnoreAll: true}, `column "pairs" is a map`},
		{"bytes", nested, source.Options{Columns: []string{"raw"}, IgnoreAll: true}, `column "raw" is binary data`},
		{"nested columns that are left out", nested, source.Options{Columns: []string{"id", "left"}, Ignore: []string{"price", "plan", "tags", "at", "pairs", "raw"}}, ""},
		{"nested columns that are not listed", nested, source.Options{Columns: []string{"id", "left"}}, `unknown: "price", "plan", "tags", "at", "pairs" and 1 more`},
		{"a missing column", nested, source.Options{Columns: []string{"id", "leaves"}, IgnoreAll: true}, `missing: "leaves"`},
		{"the end is cut off", damaged(func(b []byte) []byte { return b[:len(b)-100] }), source.Options{}, "truncated or damaged"},
		{"only the beginning", damaged(func(b []byte) []byte { return b[:8] }), source.Options{}, "truncated"},
		{"a damaged page", damaged(func(b []byte) []byte {
			for i := 200; i < 3000; i++ {
				b[i] = 0xff
			}
			return b
		}), source.Options{}, "the Parquet file is damaged"},
		{"a damaged footer", damaged(func(b []byte) []byte {
			footer := len(b) - 8 - int(binary.LittleEndian.Uint32(b[len(b)-8:]))
			for i := footer; i < footer+100; i++ {
				b[i] = 0xff
			}
			return b
		}), source.Options{}, "the Parquet file is damaged"},
		{"more rows than allowed", filepath.Join("testdata", "members.parquet"), source.Options{MaxLines: 299}, "the table has 300 rows, more than 299"},
		{"as many rows as allowed", filepath.Join("testdata", "members.parquet"), source.Options{MaxLines: 300}, ""},
		{"larger than allowed", filepath.Join("testdata", "members.parquet"), source.Options{MaxSize: 5000}, "source: {max_size:"},
	} {
		tt.o.Parquet = Open
		tab, err := source.Open(context.Background(), tt.address, tt.o)
		if tab != nil {
			defer tab.Close()
		}
		var bad *source.Error
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("%s: %v", tt.why, err)
		case tt.want != "" && (!errors.As(err, &bad) || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%s: got %v, want a *source.Error that says %q", tt.why, err, tt.want)
		}
	}
}

// TestLongRow has a cell that is larger than a record may be, with lines in it: one row
// is rejected, and none is lost.
func TestLongRow(t *testing.T) {
	t.Parallel()
	type row struct {
		A string `parquet:"a"`
		B int64  `parquet:"b"`
	}
	path := filepath.Join(t.TempDir(), "t.parquet")
	rows := []row{{"x", 1}, {strings.Repeat("long \"text\"\n", 10_000), 2}, {"y", 3}}
	if err := parquet.WriteFile(path, rows); err != nil {
		t.Fatal(err)
	}
	_, got := records(t, path, source.Options{})
	want := [][]string{{"", "x", "1"}, {"longer than 65536 bytes"}, {"", "y", "3"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

// TestMemory reads a million rows in memory that does not grow with them.
func TestMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("writes a million rows")
	}
	type row struct {
		A int64   `parquet:"a"`
		B float64 `parquet:"b"`
		C string  `parquet:"c,dict"`
	}
	path := filepath.Join(t.TempDir(), "t.parquet")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := parquet.NewGenericWriter[row](f, parquet.MaxRowsPerRowGroup(100_000), parquet.Compression(&parquet.Snappy))
	const n = 1_000_000
	batch := make([]row, 1000)
	for i := 0; i < n; i += len(batch) {
		for j := range batch {
			batch[j] = row{int64(i + j), float64(i+j) / 7, []string{"red", "green", "blue"}[j%3]}
		}
		if _, err := w.Write(batch); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	tab, err := source.Open(context.Background(), path, source.Options{Parquet: Open})
	if err != nil {
		t.Fatal(err)
	}
	defer tab.Close()
	runtime.ReadMemStats(&after)
	if tab.Lines != n {
		t.Errorf("%d rows, want %d", tab.Lines, n)
	}
	if grown := int64(after.Sys) - int64(before.Sys); grown > 48<<20 {
		t.Errorf("memory grew by %d MiB for a table of %d MB", grown>>20, tab.Size/1e6)
	}
}
