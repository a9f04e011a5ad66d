package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mlops/internal/program"
)

// A key is made, listed and revoked, and is in no file.
func TestKeyCommands(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys")
	call := func(want string, args ...string) string {
		t.Helper()
		var out strings.Builder
		err := run(t.Context(), commands(), args, &out)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want) || program.Code(err) != program.BadInput) {
			t.Fatalf("mlops %s: %v, want %q", strings.Join(args, " "), err, want)
		}
		return out.String()
	}
	said := call("", "key", "new", "--scope", "predict,read", "--rate", "100/s", "--file", file, "partner-a")
	key, _, _ := strings.Cut(said, "\n")
	if !strings.HasPrefix(key, "mlops_") || !strings.Contains(said, "only time") {
		t.Errorf("said:\n%s", said)
	}
	text, err := os.ReadFile(file)
	if err != nil || strings.Contains(string(text), key) || !strings.Contains(string(text), "predict,read 100/s sha256:") {
		t.Errorf("%v; the file holds:\n%s", err, text)
	}
	if info, err := os.Stat(file); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	call("", "key", "new", "--file", file, "partner-b")
	list := call("", "key", "list", "--file", file)
	if strings.Count(list, "\n") != 3 || !strings.Contains(list, "partner-a  predict,read  100/s") || !strings.Contains(list, "partner-b  predict       -") {
		t.Errorf("listed:\n%s", list)
	}
	call("", "key", "revoke", "--file", file, "partner-a")
	if list := call("", "key", "list", "--file", file); strings.Contains(list, "partner-a") || !strings.Contains(list, "partner-b") {
		t.Errorf("after one was revoked:\n%s", list)
	}
	if said := call("", "key", "new", "--file=", "partner-c"); !strings.Contains(said, "the line for the file") || !strings.Contains(said, " predict - sha256:") {
		t.Errorf("without a file:\n%s", said)
	}
	call(`no key "partner-a"`, "key", "revoke", "--file", file, "partner-a")
	call("takes one name", "key", "new")
	call("scope \"write\"", "key", "new", "--scope", "write", "a")
	call("rate \"5\"", "key", "new", "--rate", "5", "a")
	call("name the file", "key", "list", "--file=")
}
