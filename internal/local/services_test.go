package local

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"mlops/internal/host"
	"mlops/internal/prepare"
)

// testVenv is the virtual environment that `make test` names.
func testVenv(t *testing.T) *prepare.Venv {
	t.Helper()
	dir := os.Getenv("MLOPS_VENV")
	if dir == "" {
		t.Skip("MLOPS_VENV is not set; make test sets it")
	}
	sites, _ := filepath.Glob(filepath.Join(dir, "lib", "python3*", "site-packages"))
	if len(sites) != 1 {
		t.Fatalf("%s has %d folders lib/python3*/site-packages, want one", dir, len(sites))
	}
	return &prepare.Venv{Dir: dir, Site: sites[0]}
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
	status := func(host string) string {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, m.URL()+"/api/2.0/mlflow/experiments/get?experiment_id=0", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.Status
	}
	name := func() string { return status("") }
	if got := name(); got != "200 OK" {
		t.Errorf("MLflow's default experiment: got %s, want 200 OK", got)
	}
	port := strconv.Itoa(m.Port)
	for _, host := range []string{"localhost", "localhost:" + port, "127.0.0.1:8888"} { // a forwarded port
		if got := status(host); got != "200 OK" {
			t.Errorf("MLflow as %s: got %s, want 200 OK", host, got)
		}
	}
	for _, host := range []string{"evil.example", "10.evil.example:" + port, "192.168.evil.example", "localhost.evil.example", "10.0.0.7:" + port} {
		if got := status(host); got != "403 Forbidden" {
			t.Errorf("MLflow as %s: got %s, want 403 Forbidden", host, got)
		}
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
	if _, err := postgresBin(t.Context(), v, 3); err == nil || !strings.Contains(err.Error(), "version 3") {
		t.Errorf("data of version 3: got %v, want an error that names it", err)
	}
	dir, err := postgresBin(t.Context(), v, 16)
	if err != nil || !strings.HasSuffix(dir, filepath.Join("pginstall", "bin")) {
		t.Errorf("data of version 16: got %s, %v, want the wheel's older Postgres", dir, err)
	}
}
