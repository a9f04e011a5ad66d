package postgres

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

func TestPrepare(t *testing.T) {
	cfg := server(t)
	conn := connectTo(t, cfg)
	ctx := t.Context()
	name := fmt.Sprintf("prepare_%d", os.Getpid())
	other := name + "_other"
	drop := func() {
		for _, d := range []string{name, other} {
			conn.Exec(context.Background(), "DROP DATABASE IF EXISTS "+d)
		}
		for _, r := range []string{name, other} {
			conn.Exec(context.Background(), "DROP ROLE IF EXISTS "+r)
		}
	}
	drop()
	t.Cleanup(drop)

	enter := func(user, password, database string) error {
		pc, err := pgx.ParseConfig(cfg.ConnString)
		if err != nil {
			t.Fatal(err)
		}
		pc.User, pc.Password, pc.Database = user, password, database
		c, err := pgx.ConnectConfig(ctx, pc)
		if err != nil {
			return err
		}
		defer c.Close(ctx)
		_, err = c.Exec(ctx, "CREATE TABLE IF NOT EXISTS mine (x int)")
		return err
	}
	databases := []Database{{name, name}, {other, other}}
	for _, password := range []string{"first", `se'co\nd "one"`} {
		// Twice: the second run finds all of it.
		for range 2 {
			if err := Prepare(ctx, conn, []Role{{Name: name, Password: password}, {Name: other, Password: "other"}}, databases); err != nil {
				t.Fatal(err)
			}
		}
		if err := enter(name, password, name); err != nil {
			t.Errorf("the role can't use its database: %v", err)
		}
		if err := enter(name, password, other); err == nil || !strings.Contains(err.Error(), "permission denied") {
			t.Errorf("the role entered another's database: %v", err)
		}
	}
	if err := enter(name, "first", name); Code(err) != "28P01" {
		t.Errorf("the old password: got %v, want SQLSTATE 28P01", err)
	}
	var kept string
	if err := conn.QueryRow(ctx, "SELECT rolpassword FROM pg_authid WHERE rolname = $1", name).Scan(&kept); err != nil || !strings.HasPrefix(kept, "SCRAM-SHA-256$4096:") {
		t.Errorf("the server keeps %q, %v", kept, err)
	}
}

// TestLimits meets each limit of a role.
func TestLimits(t *testing.T) {
	cfg := server(t)
	admin := connectTo(t, cfg)
	ctx := t.Context()
	name := fmt.Sprintf("limits_%d", os.Getpid())
	t.Cleanup(func() {
		admin.Exec(context.Background(), "DROP DATABASE IF EXISTS "+name)
		admin.Exec(context.Background(), "DROP ROLE IF EXISTS "+name)
	})
	prepare := func(l *Limits) {
		t.Helper()
		if err := Prepare(ctx, admin, []Role{{Name: name, Password: "x", Limits: l}}, []Database{{name, name}}); err != nil {
			t.Fatal(err)
		}
	}
	connect := func() (*pgx.Conn, error) {
		pc, err := pgx.ParseConfig(cfg.ConnString)
		if err != nil {
			t.Fatal(err)
		}
		pc.User, pc.Password, pc.Database = name, "x", name
		conn, err := pgx.ConnectConfig(ctx, pc)
		if err == nil {
			t.Cleanup(func() { conn.Close(context.Background()) })
		}
		return conn, err
	}
	prepare(&Limits{Connections: 2, Statement: "300ms", IdleInTransaction: "200ms", Lock: "100ms"})
	first, err := connect()
	if err != nil {
		t.Fatal(err)
	}
	second, err := connect()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := connect(); Code(err) != "53300" {
		t.Errorf("a third connection: got %v, want SQLSTATE 53300", err)
	}
	if _, err := first.Exec(ctx, "SELECT pg_sleep(5)"); Code(err) != "57014" || !strings.Contains(err.Error(), "statement timeout") {
		t.Errorf("a long statement: got %v, want SQLSTATE 57014", err)
	}
	if _, err := first.Exec(ctx, "CREATE TABLE things (x text)"); err != nil {
		t.Fatal(err)
	}
	if _, err := first.Exec(ctx, "BEGIN; LOCK TABLE things"); err != nil {
		t.Fatal(err)
	}
	if _, err := second.Exec(ctx, "SELECT * FROM things"); Code(err) != "55P03" {
		t.Errorf("a lock that is taken: got %v, want SQLSTATE 55P03", err)
	}
	time.Sleep(400 * time.Millisecond)
	if _, err := first.Exec(ctx, "SELECT 1"); err == nil {
		t.Error("a transaction that did nothing goes on")
	}
	// nil leaves the limits as they are; others replace them.
	limits := func() string {
		t.Helper()
		var got string
		if err := admin.QueryRow(ctx, `SELECT rolconnlimit || ' ' || array_to_string(array(SELECT unnest(setconfig) ORDER BY 1), ' ')
			FROM pg_roles r JOIN pg_db_role_setting s ON s.setrole = r.oid WHERE rolname = $1`, name).Scan(&got); err != nil {
			t.Fatal(err)
		}
		return got
	}
	prepare(nil)
	if got, want := limits(), "2 idle_in_transaction_session_timeout=200ms lock_timeout=100ms statement_timeout=300ms"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	prepare(&Limits{Connections: -1, Statement: "0", IdleInTransaction: "1h", Lock: "2min"})
	if got, want := limits(), "-1 idle_in_transaction_session_timeout=1h lock_timeout=2min statement_timeout=0"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
