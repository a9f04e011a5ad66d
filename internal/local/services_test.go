package local

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"mlops/internal/host"
)

// testVenv is the virtual environment that `make test` names.
func testVenv(t *testing.T) *Venv {
	t.Helper()
	dir := os.Getenv("MLOPS_VENV")
	if dir == "" {
		t.Skip("MLOPS_VENV is not set; make test sets it")
	}
	v, err := OpenVenv(dir)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func query(t *testing.T, url, sql string) string {
	t.Helper()
	c, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	var got string
	if err := c.QueryRow(t.Context(), sql).Scan(&got); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return got
}

func TestPostgresAndMLflow(t *testing.T) {
	v, s, log := testVenv(t), testState(t), testLog(t)
	p, err := s.Postgres(t.Context(), log, v)
	if err != nil {
		t.Fatal(err)
	}
	steps := fmt.Sprintf("postgres://steps:%s@127.0.0.1:%d/", p.secrets.Steps, p.Port)
	mlflow := fmt.Sprintf("postgres://mlflow:%s@127.0.0.1:%d/", p.secrets.MLflow, p.Port)
	for _, tt := range []struct{ url, why string }{
		{mlflow + "raw", "MLflow has no business in the raw data"},
		{steps + "mlflow", "the steps reach MLflow by its API only"},
		{strings.Replace(steps, "steps:", "steps:x", 1) + "raw", "wrong password"},
		{fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres", p.Port), "no password"},
	} {
		if c, err := pgx.Connect(t.Context(), tt.url); err == nil {
			c.Close(t.Context())
			t.Errorf("%s: got a connection", tt.why)
		}
	}
	c, err := pgx.Connect(t.Context(), steps+"raw")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Exec(t.Context(), "CREATE TABLE kept AS SELECT 7 AS x"); err != nil {
		t.Fatal(err)
	}
	c.Close(t.Context())
	if got := query(t, p.Admin("postgres"), "SELECT current_setting('fsync') || current_setting('synchronous_commit')"); got != "onon" {
		t.Errorf("fsync and synchronous_commit: got %s, want onon", got)
	}

	m, err := s.MLflow(t.Context(), log, v, p)
	if err != nil {
		t.Fatal(err)
	}
	name := func() string {
		resp, err := http.Get(m.URL() + "/api/2.0/mlflow/experiments/get?experiment_id=0")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.Status
	}
	if got := name(); got != "200 OK" {
		t.Errorf("MLflow's default experiment: got %s, want 200 OK", got)
	}
	if args, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", m.PID)); strings.Contains(string(args), p.secrets.MLflow) {
		t.Error("the password stands in MLflow's command line")
	}

	// Both killed: the next start finds the data, and both again.
	for _, r := range []*Record{m, p.Record} {
		syscall.Kill(r.PID, syscall.SIGKILL)
	}
	host.WaitGone([]host.Process{m.Process, p.Process}, 10*time.Second)
	p2, err := s.Postgres(t.Context(), log, v)
	if err != nil {
		t.Fatal(err)
	}
	if got := query(t, fmt.Sprintf("postgres://steps:%s@127.0.0.1:%d/raw", p2.secrets.Steps, p2.Port), "SELECT x::text FROM kept"); got != "7" {
		t.Errorf("row after SIGKILL: got %s, want 7", got)
	}
	m2, err := s.MLflow(t.Context(), log, v, p2)
	if err != nil {
		t.Fatal(err)
	}
	if m2.Port != m.Port || p2.Port != p.Port {
		t.Errorf("ports after SIGKILL: got %d and %d, want %d and %d as before", m2.Port, p2.Port, m.Port, p.Port)
	}

	// Postgres without a record, as when a command is killed between the start and
	// the writing of the record.
	os.Remove(s.Path("run", "postgres.json"))
	p3, err := s.Postgres(t.Context(), log, v)
	if err != nil {
		t.Fatal(err)
	}
	if p2.Process.Alive() || !p3.Process.Alive() {
		t.Errorf("the one without record alive %v, the new one alive %v, want false, true", p2.Process.Alive(), p3.Process.Alive())
	}
	for _, r := range []*Record{m2, p3.Record} {
		if did, err := s.Down(r); !did || err != nil {
			t.Errorf("stopping %s: got %v, %v, want true, nil", r.Name, did, err)
		}
	}
	if ps := host.WorkingIn(s.Path("postgres", "data")); len(ps) > 0 {
		t.Errorf("processes of Postgres are left: %v", ps)
	}

	// A pid file that names a living process which is no Postgres.
	os.WriteFile(filepath.Join(s.Path("postgres", "data"), "postmaster.pid"), fmt.Appendf(nil, "%d\n", os.Getpid()), 0o600)
	p4, err := s.Postgres(t.Context(), log, v)
	if err != nil {
		t.Fatal(err)
	}
	s.Down(p4.Record)

	if err := s.Purge(false); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.Path("postgres")); !os.IsNotExist(err) {
		t.Errorf("after Purge: the databases are there (%v)", err)
	}
}

func TestPostgresSaysWhatIsClosed(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root's Postgres runs as another user")
	}
	v := testVenv(t)
	home, err := os.MkdirTemp("", "mlops-closed-") // mode 0700
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(home)
	s, err := OpenState(filepath.Join(home, "state"), "", os.Environ())
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Postgres(t.Context(), testLog(t), v)
	if err == nil || !strings.Contains(err.Error(), "can't enter "+home+" on the way") || !strings.Contains(err.Error(), "MLOPS_HOME") {
		t.Errorf("got %v, want an error that names %s and MLOPS_HOME", err, home)
	}
}

func TestPostgresBin(t *testing.T) {
	v := testVenv(t)
	if _, err := PostgresBin(t.Context(), v, 3); err == nil || !strings.Contains(err.Error(), "version 3") {
		t.Errorf("data of version 3: got %v, want an error that names it", err)
	}
	dir, err := PostgresBin(t.Context(), v, 16)
	if err != nil || !strings.HasSuffix(dir, filepath.Join("pginstall", "bin")) {
		t.Errorf("data of version 16: got %s, %v, want the wheel's older Postgres", dir, err)
	}
}

// A build that was killed is not taken for a whole one: what it left is cleared.
// The lock file here holds nothing, so that the test needs no registry.
func TestVenv(t *testing.T) {
	s, log := testState(t), testLog(t)
	py, err := FindPython(t.Context(), []string{"python3"})
	if err != nil {
		t.Skip(err)
	}
	lock := filepath.Join(t.TempDir(), "requirements.txt")
	os.WriteFile(lock, []byte("# nothing\n"), 0o644)
	v, err := s.Venv(t.Context(), log, py, lock)
	if err != nil {
		t.Fatal(err)
	}
	litter := filepath.Join(v.Dir, "half-unpacked")
	os.WriteFile(litter, nil, 0o644)
	if again, err := s.Venv(t.Context(), log, py, lock); err != nil || again.Dir != v.Dir {
		t.Errorf("second call: got %v, %v, want %s again", again, err, v.Dir)
	}
	if _, err := os.Stat(litter); err != nil {
		t.Error("a whole environment was built again")
	}
	os.Remove(filepath.Join(v.Dir, completeMark))
	if _, err := s.Venv(t.Context(), log, py, lock); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(litter); err == nil {
		t.Error("what a killed build left was kept")
	}

	os.WriteFile(lock, []byte("==no name==\n"), 0o644)
	if _, err := s.Venv(t.Context(), log, py, lock); err == nil || !strings.Contains(err.Error(), "no name") {
		t.Errorf("a lock file that pip can't read: got %v, want pip's words", err)
	}
	other, err := s.Venv(t.Context(), log, &Python{Path: py.Path, Version: py.Version, Tag: py.Tag + "x"}, lock)
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
