package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mlops/internal/program"
)

// TestWalk runs the commands of docs/bring-your-own-data.md that need no service.
func TestWalk(t *testing.T) {
	t.Parallel()
	table := filepath.Join("..", "..", "docs", "examples", "members.csv")
	spec := filepath.Join(t.TempDir(), "members.yaml")
	var out bytes.Buffer
	if _, err := initSpec(t.Context(), &out, table, &drafted{target: "Gekündigt?"}, spec); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(spec)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"$schema=", `separator: ";"`, "encoding: windows-1252", `decimal: ","`, `thousands: "."`, `ignore: [""]`,
		`from: "Beitrag (EUR)", type: number`, "type: date, format: DD.MM.YYYY", `missing: [k. A.]`, "key: Mitglied Nr.", "type: boolean",
		"Version: constant", "6 rows without a target",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the draft lacks %q:\n%s", want, text)
		}
	}
	if page, err := os.ReadFile(strings.TrimSuffix(spec, ".yaml") + ".html"); err != nil || !strings.Contains(string(page), "Gekündigt") {
		t.Errorf("the profile: %v", err)
	}
	out.Reset()
	if err := check(t.Context(), &out, spec, table, noRows); err != nil {
		t.Errorf("check: %v\n%s", err, out.String())
	}
	if _, err := initSpec(t.Context(), &out, table, &drafted{target: "Gekündigt?"}, spec); program.Code(err) != program.BadInput {
		t.Errorf("a draft overwrites a file: %v", err)
	}
}
