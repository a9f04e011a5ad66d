package prepare

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A build that was killed is not taken for a complete one: what it left is cleared.
// The lock file here holds nothing, so that the test needs no registry.
func TestVenv(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("installing pip takes seconds")
	}
	e, log := Environments{Dir: filepath.Join(t.TempDir(), "venv"), Environ: os.Environ()}, slog.New(slog.NewTextHandler(t.Output(), nil))
	py, err := FindPython(t.Context(), []string{"python3"})
	if err != nil {
		t.Skip(err)
	}
	lock := filepath.Join(t.TempDir(), "requirements.txt")
	os.WriteFile(lock, []byte("# nothing\n"), 0o644)
	v, err := e.Venv(t.Context(), log, py, lock)
	if err != nil {
		t.Fatal(err)
	}
	litter := filepath.Join(v.Dir, "half-unpacked")
	os.WriteFile(litter, nil, 0o644)
	if again, err := e.Venv(t.Context(), log, py, lock); err != nil || again.Dir != v.Dir {
		t.Errorf("second call: got %v, %v, want %s again", again, err, v.Dir)
	}
	if _, err := os.Stat(litter); err != nil {
		t.Error("a complete environment was built again")
	}
	os.Remove(filepath.Join(v.Dir, complete))
	if _, err := e.Venv(t.Context(), log, py, lock); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(litter); err == nil {
		t.Error("what a killed build left was kept")
	}

	os.WriteFile(lock, []byte("==no name==\n"), 0o644)
	if _, err := e.Venv(t.Context(), log, py, lock); err == nil || !strings.Contains(err.Error(), "no name") {
		t.Errorf("a lock file that pip can't read: got %v, want pip's words", err)
	}
	other, err := e.Venv(t.Context(), log, &Python{Path: py.Path, Version: py.Version, Tag: py.Tag + "x"}, lock)
	if err == nil {
		t.Errorf("the same lock file, another Python: got %v, want the same error", other)
	}
}

func TestFindPython(t *testing.T) {
	dir := t.TempDir()
	old := filepath.Join(dir, "python3")
	os.WriteFile(old, []byte("#!/bin/sh\nexit 1\n"), 0o755) // as 3.9 does: the probe fails
	if _, err := FindPython(t.Context(), []string{old}); err == nil || !strings.Contains(err.Error(), "3.10") {
		t.Errorf("an old Python: got %v, want an error that says what is needed", err)
	}
	if _, err := FindPython(t.Context(), []string{filepath.Join(dir, "none")}); err == nil || !strings.Contains(err.Error(), "3.10") {
		t.Errorf("no Python: got %v, want an error that says what is needed", err)
	}
}

// Where uv can't be had, pip installs the packages, and the log says why.
func TestVenvWithoutUV(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("installing pip takes seconds")
	}
	py, err := FindPython(t.Context(), []string{"python3"})
	if err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	lock := filepath.Join(dir, "requirements.txt")
	for name, text := range map[string]string{"requirements.txt": "# nothing\n", "uv.txt": "==no name==\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var log bytes.Buffer
	e := Environments{Dir: filepath.Join(dir, "venv"), Environ: os.Environ()}
	if _, err := e.Venv(t.Context(), slog.New(slog.NewTextHandler(&log, nil)), py, lock); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "uv can't be installed, so pip installs the packages") || !strings.Contains(log.String(), "no name") {
		t.Errorf("the log does not say why pip is used:\n%s", &log)
	}
}

func TestUVEnv(t *testing.T) {
	t.Parallel()
	const config = `global.cert='/etc/ssl/certs/mine.crt'
global.index-url='https://global.example/simple'
install.index-url='https://install.example/simple'
:env:.extra-index-url='https://a.example/simple\nhttps://b.example/simple'
global.extra-index-url='https://never.example/simple'
:env:.find-links='/wheels /more'
:env:.no-index='1'
global.proxy='http://proxy.example:3128'
global.disable-pip-version-check='1'
not a setting
`
	want := []string{
		"UV_DEFAULT_INDEX=https://install.example/simple",
		"UV_INDEX=https://a.example/simple https://b.example/simple",
		"UV_FIND_LINKS=/wheels,/more",
		"SSL_CERT_FILE=/etc/ssl/certs/mine.crt",
		"ALL_PROXY=http://proxy.example:3128",
		"UV_NO_INDEX=1",
		"UV_INDEX_STRATEGY=unsafe-best-match",
	}
	if diff := cmp.Diff(want, uvEnv(config)); diff != "" {
		t.Errorf("uv's variables (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"UV_INDEX_STRATEGY=unsafe-best-match"}, uvEnv("")); diff != "" {
		t.Errorf("nothing configured (-want +got):\n%s", diff)
	}
}

func TestGoOutput(t *testing.T) {
	t.Parallel()
	var c goOutput
	for line, want := range map[string]bool{
		"go: downloading example.com/m v1.2.3":  true,
		"internal/abi":                          true,
		"github.com/jackc/pgx/v5":               true,
		"mlops/tools/mlops":                     true,
		"# mlops/tools/mlops":                   false,
		"tools/mlops/main.go:3:1: syntax error": false,
		"go: finding module for package x":      false,
	} {
		if got := c.add(line); got != want {
			t.Errorf("%q is a report: got %v, want %v", line, got, want)
		}
	}
	if c.downloaded != 1 || c.compiled != 3 {
		t.Errorf("counted %+v, want 1 download and 3 packages", c)
	}
}

func TestCommandError(t *testing.T) {
	t.Parallel()
	var lines []string
	err := Command{Env: os.Environ(), Argv: []string{"sh", "-c", "echo first; echo second >&2; exit 3"}, Line: func(line string) bool {
		lines = append(lines, line)
		return line == "first"
	}}.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "second") || strings.Contains(err.Error(), "first") {
		t.Errorf("got %v, want the exit status and the line that was not a report", err)
	}
	if len(lines) != 2 {
		t.Errorf("lines: %q", lines)
	}
	if err := (Command{Argv: []string{filepath.Join(t.TempDir(), "none")}}).Run(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no such program: got %v", err)
	}
}
