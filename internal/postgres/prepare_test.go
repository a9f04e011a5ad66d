package postgres

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

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
