package setup

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"mlops/dashboards/board"
	"mlops/internal/postgres"
)

// monitored makes a database and the role of the exporter, and returns how that role connects
// to the database postgres, and the name of the one that it made.
func monitored(t *testing.T) (*pgx.ConnConfig, string) {
	t.Helper()
	url := os.Getenv("MLOPS_TEST_POSTGRES")
	if url == "" {
		t.Skip("SKIPPED, NOT PASSED: MLOPS_TEST_POSTGRES names no server")
	}
	database := fmt.Sprintf("monitored_%d", time.Now().UnixNano())
	owner := postgres.Role{Name: database, Password: "owner"}
	role := postgres.Role{Name: database + "_by", Password: "monitor", Of: []string{"pg_monitor"},
		Limits: &postgres.Limits{Connections: 3, Statement: "30s", IdleInTransaction: "1min", Lock: "10s"}}
	c := Config{Log: quiet, Roles: []postgres.Role{owner, role}, Databases: []postgres.Database{{Name: database, Owner: owner.Name}}}
	c.Postgres.ConnString = url
	if err := Run(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	config, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	admin, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.Background()
		for _, s := range []string{"DROP DATABASE " + database + " WITH (FORCE)", "DROP ROLE " + role.Name, "DROP ROLE " + owner.Name} {
			if _, err := admin.Exec(ctx, s); err != nil {
				t.Error(err)
			}
		}
		admin.Close(ctx)
	})
	config = config.Copy()
	config.User, config.Password = role.Name, role.Password
	return config, database
}

// The role of the exporter sees what every database does, and no database from within.
func TestMonitorRole(t *testing.T) {
	config, database := monitored(t)
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	var size, limit, hidden int64
	if err := conn.QueryRow(t.Context(), "SELECT pg_database_size($1), current_setting('max_connections')::bigint", database).Scan(&size, &limit); err != nil || size == 0 || limit == 0 {
		t.Errorf("size %d, limit %d: %v", size, limit, err)
	}
	// What others do is shown as <insufficient privilege> without pg_monitor.
	if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '<insufficient%'").Scan(&hidden); err != nil || hidden > 0 {
		t.Errorf("%d statements are hidden: %v", hidden, err)
	}
	if _, err := conn.Exec(t.Context(), "SELECT rolpassword FROM pg_authid"); postgres.Code(err) != "42501" {
		t.Errorf("reading passwords: %v, want no right to", err)
	}
	config.Database = database
	if other, err := pgx.ConnectConfig(t.Context(), config); postgres.Code(err) != "42501" {
		t.Errorf("entering a database: %v, want no right to", err)
		if err == nil {
			other.Close(context.Background())
		}
	}
}

var postgresSeries = regexp.MustCompile(`\bpg_[a-z_]+`)

// The real exporter with the chart's flags gives every series of Postgres that the
// dashboards use.
func TestExporter(t *testing.T) {
	program := os.Getenv("MLOPS_TEST_POSTGRES_EXPORTER")
	if program == "" {
		t.Skip("SKIPPED, NOT PASSED: MLOPS_TEST_POSTGRES_EXPORTER names no program (make watching does)")
	}
	config, database := monitored(t)
	text, err := os.ReadFile("../../charts/templates/postgres-exporter.yaml")
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	args := regexp.MustCompile(`- (--\S+)`).FindAllStringSubmatch(string(text), -1)
	cmd := exec.CommandContext(t.Context(), program)
	for _, a := range args {
		cmd.Args = append(cmd.Args, strings.Replace(a[1], ":9187", address, 1))
	}
	if len(args) < 3 {
		t.Fatalf("the chart starts the exporter with %v", cmd.Args)
	}
	var said bytes.Buffer
	cmd.Stderr = &said
	cmd.Env = []string{fmt.Sprintf("DATA_SOURCE_URI=%s:%d/postgres?sslmode=disable", config.Host, config.Port), "DATA_SOURCE_USER=" + config.User, "DATA_SOURCE_PASS=" + config.Password}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	var metrics string
	for end := time.Now().Add(20 * time.Second); !strings.Contains(metrics, "\npg_up 1"); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the exporter does not reach Postgres:\n%s\n%s", metrics, said.String())
		}
		if res, err := http.Get("http://" + address + "/metrics"); err == nil {
			body, _ := io.ReadAll(res.Body)
			res.Body.Close()
			metrics = string(body)
		}
	}
	used := map[string]bool{"pg_up": true}
	for _, e := range board.Expressions(time.Minute) {
		for _, name := range postgresSeries.FindAllString(e.Query, -1) {
			used[name] = true
		}
	}
	if len(used) < 8 {
		t.Errorf("the dashboards use %v", used)
	}
	for name := range used {
		if !regexp.MustCompile(`(?m)^` + name + `[{ ]`).MatchString(metrics) {
			t.Errorf("the exporter has no %s", name)
		}
	}
	if !strings.Contains(metrics, `pg_database_size_bytes{datname="`+database+`"}`) {
		t.Errorf("the exporter does not know the size of %s", database)
	}
}
