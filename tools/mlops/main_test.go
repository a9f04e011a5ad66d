package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"mlops/internal/program"
)

func TestHelp(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{nil, {"help"}, {"-h"}, {"--help"}} {
		var out bytes.Buffer
		if err := run(t.Context(), commands(), args, &out); err != nil {
			t.Errorf("mlops %q: %v", args, err)
		}
		for _, c := range commands() {
			if !strings.Contains(out.String(), "  "+c.name) {
				t.Errorf("mlops %q: %s is not listed in\n%s", args, c.name, &out)
			}
		}
	}
	for _, c := range commands() {
		for _, args := range [][]string{append([]string{"help"}, strings.Fields(c.name)...), append(strings.Fields(c.name), "-h")} {
			var out bytes.Buffer
			if err := run(t.Context(), commands(), args, &out); err != nil {
				t.Errorf("mlops %q: %v", args, err)
			}
			if !strings.Contains(out.String(), "Usage: mlops "+c.name) || !strings.Contains(out.String(), strings.TrimSpace(c.long)) {
				t.Errorf("mlops %q says\n%s", args, &out)
			}
		}
	}
	var out bytes.Buffer
	if err := run(t.Context(), commands(), []string{"help", "demo"}, &out); err != nil || !strings.Contains(out.String(), "mlops demo up") || !strings.Contains(out.String(), "mlops demo down") {
		t.Errorf("mlops help demo: %v\n%s", err, &out)
	}
}

func TestWrongCommands(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ args, want string }{
		{"stauts", `unknown command "stauts"; did you mean "status"?`},
		{"chek spec.yaml", `unknown command "chek"; did you mean "check"?`},
		{"dmeo up", `unknown command "dmeo"; did you mean "demo up"?`},
		{"demo", `"demo" needs one more word: demo up, demo down`},
		{"demo -spec=x", `"demo" needs one more word: demo up, demo down`},
		{"demo start", `unknown command "demo start"; there are demo up, demo down`},
		{"frobnicate", `unknown command "frobnicate"; mlops help lists the commands`},
		{"help frobnicate", `unknown command "frobnicate"; mlops help lists the commands`},
		{"status now", `status: unexpected argument "now"; see mlops help status`},
		{"status -wide", `status: flag provided but not defined: -wide; see mlops help status`},
		{"check", `check takes a data set's YAML and, at most, a table: mlops check SPEC [FILE]`},
	} {
		err := run(t.Context(), commands(), strings.Fields(test.args), io.Discard)
		if err == nil || err.Error() != test.want || program.Code(err) != program.BadInput {
			t.Errorf("mlops %s: got %v, exit code %d, want %q, exit code %d", test.args, err, program.Code(err), test.want, program.BadInput)
		}
	}
}

func TestFlagsReachTheCommand(t *testing.T) {
	t.Parallel()
	var got []string
	all := []command{{name: "demo up", args: "FILE", define: func(f *flag.FlagSet) work {
		n := f.String("n", "", "")
		return func(_ context.Context, _ io.Writer, args []string) error {
			got = append([]string{*n}, args...)
			return nil
		}
	}}}
	if err := run(t.Context(), all, []string{"demo", "up", "-n=3", "a", "b"}, io.Discard); err != nil {
		t.Fatal(err)
	}
	if strings.Join(got, " ") != "3 a b" {
		t.Errorf("flag and arguments: got %q", got)
	}
}

func TestDistance(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"status", "status", 0}, {"", "abc", 3}, {"kitten", "sitting", 3}, {"stauts", "status", 2}} {
		if got := distance(test.a, test.b); got != test.want {
			t.Errorf("distance(%q, %q) = %d, want %d", test.a, test.b, got, test.want)
		}
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	spec := filepath.Join("..", "..", "workflows", "datasets", "penguins.yaml")
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const head = "species,island,bill_length_mm,bill_depth_mm,flipper_length_mm,body_mass_g,sex,year\n"
	var rows strings.Builder
	for i := range 300 {
		fmt.Fprintf(&rows, "Adelie,Biscoe,39.%d,17.4,%d,3800,%s,2007\n", i, 150+i%60, []string{"male", "female"}[i%2])
	}
	good := file("good.csv", head+rows.String())
	few := file("few.csv", head+strings.Join(strings.SplitAfter(rows.String(), "\n")[:20], ""))
	text, err := os.ReadFile(spec)
	if err != nil {
		t.Fatal(err)
	}
	mistaken := file("mistaken.yaml", strings.NewReplacer("max_depth: ", "max_dept: ", "task: binary", "task: guess").Replace(string(text)))
	odd := file("odd.csv", head+strings.Replace(rows.String(), ",17.4,", ",deep,", 40))
	males := file("males.csv", "species,island,bill_length_mm,bill_depth_mm,flipper_length_mm,body_mass_g,sex,year\nAdelie,Torgersen,39.1,18.7,181,3750,male,2007\n")
	narrow := file("narrow.csv", "species,island\nAdelie,Torgersen\n")
	local := file("local.yaml", strings.Replace(string(text), "url: https://raw.githubusercontent.com/mcnakhaee/palmerpenguins/master/palmerpenguins/data/penguins.csv", "url: file://"+good, 1))
	bad := file("bad.yaml", "name: x\nunknown: 1\n")
	for _, test := range []struct {
		why, spec, table, want string
		code                   int
	}{
		{"spec and table fit", spec, good, "process-data: 300 read, 300 taken", 0},
		{"too few rows in a split", spec, few, "STOP the validation rows are ", program.BadInput},
		{"mistakes in the YAML, first", mistaken, odd, "task \"guess\" is not known", program.BadInput},
		{"mistakes in the YAML, second", mistaken, odd, "did you mean \"max_depth\"?", program.BadInput},
		{"mistakes in the YAML don't hide those in the table", mistaken, odd, "40 rows rejected: column bill_depth_mm is not a number; for example line 2: \"deep\"", program.BadInput},
		{"mistakes in the YAML, and a table without its columns", mistaken, narrow, "bill_length_mm", program.BadInput},
		{"one class only", spec, males, "every row with a target is positive", program.BadInput},
		{"nothing to compare with", spec, good, "not compared with rows loaded before, neither keys nor values (no demo is running", 0},
		{"no table", spec, "", "no table was checked", 0},
		{"a table that the YAML's file:// URL names", local, "", "process-data: 300 read, 300 taken", 0},
		{"columns are missing", spec, narrow, "bill_length_mm", program.BadInput},
		{"no such table", spec, filepath.Join(dir, "none.csv"), "none.csv", program.BadInput},
		{"a wrong spec", bad, "", "unknown", program.BadInput},
	} {
		var out bytes.Buffer
		err := check(t.Context(), &out, test.spec, test.table, noRows)
		said := out.String()
		if err != nil {
			said += err.Error()
		}
		if program.Code(err) != test.code || !strings.Contains(said, test.want) {
			t.Errorf("%s: exit code %d, want %d, and %q in:\n%s", test.why, program.Code(err), test.code, test.want, said)
		}
	}
}

// noRows is where no demo is running.
func noRows(context.Context) (*pgx.Conn, error) { return nil, nil }
