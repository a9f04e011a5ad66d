package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"mlops/internal/history"
	"mlops/internal/postgres"
)

const denied = "42501" // insufficient privilege

// roles makes the programs' roles and an owner of the test's databases, as set-up
// does, and returns a Config for each role.
func roles(t *testing.T, cfg Config) map[string]Config {
	t.Helper()
	ctx := context.Background()
	admin := connect(t, cfg, "postgres")
	owner := "owner_of_" + cfg.Postgres.Raw
	var all []postgres.Role
	for _, name := range postgres.ProgramRoles() { // they stay: other tests of the server have them too
		all = append(all, postgres.Role{Name: name, Password: "of " + name})
	}
	all = append(all, postgres.Role{Name: owner, Password: "of " + owner, Of: postgres.ProgramRoles()})
	if err := postgres.Prepare(ctx, admin, all, nil); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{cfg.Postgres.Raw, cfg.Postgres.Clean} {
		if _, err := admin.Exec(ctx, fmt.Sprintf("ALTER DATABASE %s OWNER TO %s", d, owner)); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for _, d := range []string{cfg.Postgres.Raw, cfg.Postgres.Clean} {
			admin.Exec(ctx, fmt.Sprintf("ALTER DATABASE %s OWNER TO postgres", d))
			conn := connect(t, cfg, d)
			conn.Exec(ctx, "DROP OWNED BY "+owner)
		}
		if _, err := admin.Exec(ctx, "DROP ROLE "+owner); err != nil {
			t.Error(err)
		}
	})
	if err := Share(ctx, cfg.Postgres, quiet); err != nil {
		t.Fatal(err)
	}
	configs := map[string]Config{}
	for _, r := range all {
		pc, err := pgx.ParseConfig(cfg.Postgres.ConnString)
		if err != nil {
			t.Fatal(err)
		}
		c := cfg
		c.Postgres.ConnString = postgres.ConnString(pc.Host, fmt.Sprint(pc.Port), r.Name, r.Password) + " sslmode=disable"
		configs[strings.TrimPrefix(strings.TrimSuffix(r.Name, "_of_"+cfg.Postgres.Raw), "mlops_")] = c
	}
	return configs
}

// eachAs runs the data steps and what training, promotion and status read, each
// with its own role.
func eachAs(t *testing.T, as map[string]Config) {
	t.Helper()
	ctx := t.Context()
	if _, err := LoadRaw(ctx, as["load"]); err != nil {
		t.Fatalf("load: %v", err)
	}
	if _, err := Process(ctx, as["clean"]); err != nil {
		t.Fatalf("clean: %v", err)
	}
	if _, err := Split(ctx, as["split"]); err != nil {
		t.Fatalf("split: %v", err)
	}
	for _, role := range []string{"train", "read", "owner"} {
		c := as[role]
		if _, err := Ledger(ctx, connect(t, c, c.Postgres.Raw), connect(t, c, c.Postgres.Clean), c.Spec); err != nil {
			t.Errorf("%s reads the ledgers: %v", role, err)
		}
	}
	for _, role := range []string{"train", "promote"} {
		c := as[role]
		conn := connect(t, c, c.Postgres.Clean)
		if _, err := DataDigest(ctx, conn, c.Spec); err != nil {
			t.Errorf("%s reads the digest: %v", role, err)
		}
		n := 0
		if err := Rows(ctx, conn, c.Spec, Selection{}, func(string, [][]byte) error { n++; return nil }); err != nil || n == 0 {
			t.Errorf("%s reads rows: %d, %v", role, n, err)
		}
	}
}

const (
	someThings  = header + "1,a,10,yes\n2,b,20,no\n3,c,30,yes\n4,d,x,no\n"
	otherThings = header + "3,c,31,yes\n5,e,50,no\n6\n"
)

// TestRoles runs each step with its role, and shows what the role can't do.
func TestRoles(t *testing.T) {
	t.Parallel()
	cfg := setup(t, "key: id\ngroup: who\non_change: replace").from(t, someThings)
	as := roles(t, cfg)
	eachAs(t, as)
	for name, c := range as { // a second file that replaces a row
		as[name] = c.from(t, otherThings)
	}
	eachAs(t, as)
	checkClean(t, cfg)

	const raw, clean = "raw", "clean"
	tests := []struct {
		database, sql string
		may           []string // of the roles, besides the owner
	}{
		{raw, "SELECT * FROM things", []string{"load", "clean", "score", "read"}},
		{raw, "SELECT count(*) FROM things", []string{"load", "clean", "train", "score", "read"}},
		{raw, "SELECT * FROM things_batches", []string{"load", "clean", "train", "read"}},
		{raw, "SELECT * FROM things_rejected", []string{"load", "train", "read"}},
		{raw, "SELECT who FROM things", []string{"load", "clean", "score", "read"}},
		{raw, "SELECT * FROM things_replaced", []string{"load", "clean", "read"}},
		{raw, "INSERT INTO things (_batch, _line) VALUES (9, 9)", []string{"load"}},
		{raw, "UPDATE things SET who = 'me'", []string{"load"}},
		{raw, "DELETE FROM things", []string{"load"}},
		{raw, "UPDATE things_batches SET accepted = false", []string{"load"}},
		{raw, "TRUNCATE things", []string{"load"}},
		{raw, "DROP TABLE things", []string{"load"}},
		{raw, "ALTER TABLE things ADD COLUMN x int", []string{"load"}},
		{raw, "CREATE TABLE mine (x int)", []string{"load"}},
		{raw, "CREATE SCHEMA mine", []string{"load"}},
		{raw, "CREATE TEMP TABLE mine (x int)", []string{"load"}},
		{raw, "SELECT _things_take_back(99)", []string{"load", "clean"}},
		{raw, "CREATE OR REPLACE FUNCTION _things_take_back(first integer) RETURNS void LANGUAGE sql AS ''", []string{"load"}},
		{clean, "SELECT * FROM things", []string{"clean", "split", "train", "promote", "read"}},
		{clean, "SELECT * FROM things_batches", []string{"clean", "split", "train", "promote", "read"}},
		{clean, "UPDATE things SET split = 'test'", []string{"clean", "split"}},
		{clean, "UPDATE things SET good = 'yes'", []string{"clean"}},
		{clean, "INSERT INTO things (_batch, _line) VALUES (9, 9)", []string{"clean"}},
		{clean, "DELETE FROM things", []string{"clean"}},
		{clean, "UPDATE things_split SET train = 100", []string{"clean"}},
		{clean, "UPDATE things_batches SET accepted = false", []string{"clean"}},
		{clean, "DROP TABLE things", []string{"clean"}},
		{clean, "TRUNCATE things", []string{"clean"}},
		{clean, "CREATE TABLE mine (x int)", []string{"clean"}},
		{clean, "CREATE SCHEMA mine", []string{"clean"}},
		{clean, "CREATE TEMP TABLE mine (x int)", []string{"clean"}},
		{clean, "SELECT * FROM scored.runs", []string{"score", "read"}},
		{clean, "INSERT INTO scored.runs (source, identity, target, model) VALUES ('a', 'a', 'a', 'a')", []string{"score"}},
		{clean, "CREATE TABLE scored.mine (x int)", []string{"score"}},
		{clean, "SET ROLE mlops_clean", []string{"clean"}},
		{raw, "SET ROLE mlops_load", []string{"load"}},
		{clean, "SELECT pg_read_file('PG_VERSION')", nil},
		{clean, "COPY (SELECT 1) TO PROGRAM 'true'", nil},
		{clean, "SELECT rolpassword FROM pg_authid", nil},
	}
	for _, role := range []string{"load", "clean", "split", "train", "promote", "serve", "score", "read"} {
		c := as[role]
		for _, tt := range tests {
			database := c.Postgres.Raw
			if tt.database == clean {
				database = c.Postgres.Clean
			}
			err := attempt(c, database, tt.sql)
			if slices.Contains(tt.may, role) {
				if err != nil {
					t.Errorf("%s in %s: %s: %v", role, tt.database, tt.sql, err)
				}
			} else if postgres.Code(err) != denied {
				t.Errorf("%s in %s: %s: got %v, want it denied", role, tt.database, tt.sql, err)
			}
		}
	}
	// Nobody else enters.
	admin := connect(t, cfg, "postgres")
	stranger := "stranger_of_" + cfg.Postgres.Raw
	if err := postgres.Prepare(t.Context(), admin, []postgres.Role{{Name: stranger, Password: "x"}}, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { admin.Exec(context.Background(), "DROP ROLE "+stranger) })
	other := as["load"]
	other.Postgres.ConnString = strings.NewReplacer("mlops_load", stranger, "of mlops_load", "x").Replace(other.Postgres.ConnString)
	other.Postgres.ConnString = strings.Replace(as["load"].Postgres.ConnString, "user='mlops_load' password='of mlops_load'", "user='"+stranger+"' password='x'", 1)
	for _, d := range []string{cfg.Postgres.Raw, cfg.Postgres.Clean} {
		if err := attempt(other, d, "SELECT 1"); postgres.Code(err) != denied {
			t.Errorf("a role of somebody else in %s: got %v, want it denied", d, err)
		}
	}
}

// attempt runs SQL in a transaction that is rolled back.
func attempt(c Config, database, sql string) error {
	ctx := context.Background()
	conn, err := postgres.Connect(ctx, c.Postgres, database, quiet)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	tx, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback(ctx)
	_, err = tx.Exec(ctx, sql)
	return err
}

// TestRolesTakeBack has process-data, which may not write to raw, take a batch back
// out of it.
func TestRolesTakeBack(t *testing.T) {
	t.Parallel()
	cfg := setup(t, "key: id")
	cfg.Spec = parse(t, strings.Replace(specText("key: id"), "at_most: 100%", "at_most: 10%", 1))
	cfg = cfg.from(t, header+"1,a,10,yes\n2,b,x,no\n3,c,y,yes\n")
	as := roles(t, cfg)
	if _, err := LoadRaw(t.Context(), as["load"]); err != nil {
		t.Fatal(err)
	}
	_, err := Process(t.Context(), as["clean"])
	var lost *LossError
	if !errors.As(err, &lost) {
		t.Fatalf("got %v, want a LossError", err)
	}
	raw := connect(t, cfg, cfg.Postgres.Raw)
	if got := query(t, raw, "SELECT (SELECT count(*) FROM things), (SELECT count(*) FROM things_batches)"); !slices.Equal(got, []string{"0|0"}) {
		t.Errorf("raw has %v rows and batches, want none", got)
	}
	// A temporary table of the caller's must not come before the function's.
	c := as["clean"]
	admin := connect(t, cfg, cfg.Postgres.Raw)
	if _, err := admin.Exec(t.Context(), "GRANT TEMPORARY ON DATABASE "+cfg.Postgres.Raw+" TO mlops_clean; INSERT INTO things (_batch, _line) VALUES (1, 1)"); err != nil {
		t.Fatal(err)
	}
	if err := attempt(c, cfg.Postgres.Raw, `CREATE TEMP TABLE things (_batch int); INSERT INTO things VALUES (1);
		SELECT _things_take_back(1);
		DO $$ BEGIN IF (SELECT count(*) FROM pg_temp.things) = 0 THEN RAISE 'it changed the caller''s table'; END IF;
			IF (SELECT count(*) FROM public.things) = 1 THEN RAISE 'it left its own'; END IF; END $$`); err != nil {
		t.Error(err)
	}
}

// TestRolesAfterUpgrade gives the steps of a release of before, whose only role has
// made everything, their own roles; and again after all was restored from a backup,
// which has neither owners nor rights.
func TestRolesAfterUpgrade(t *testing.T) {
	t.Parallel()
	cfg := setup(t, "key: id\ngroup: who").from(t, someThings)
	as := roles(t, cfg)
	owner := as["owner"]
	before := map[string]Config{}
	for name := range as {
		before[name] = owner
	}
	ctx := t.Context()
	eachAs(t, before) // everything belongs to the one role
	for _, conn := range []*pgx.Conn{connect(t, cfg, cfg.Postgres.Raw), connect(t, cfg, cfg.Postgres.Clean)} {
		for _, sql := range []string{
			"REASSIGN OWNED BY mlops_load, mlops_clean TO owner_of_" + cfg.Postgres.Raw,
			"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM mlops_load, mlops_clean, mlops_split, mlops_train, mlops_promote, mlops_serve, mlops_score, mlops_read",
			"DROP FUNCTION IF EXISTS _things_take_back(integer)",
			"CREATE SCHEMA _mlops_before AUTHORIZATION owner_of_" + cfg.Postgres.Raw,
			"CREATE VIEW theirs AS SELECT 1 AS x", // of somebody who administers the server
			"CREATE TABLE alike (x int); CREATE TABLE alike_batches (x int); CREATE TABLE alike_rejected (x int)",
			"ALTER TABLE alike OWNER TO owner_of_" + cfg.Postgres.Raw,
		} {
			if _, err := conn.Exec(ctx, sql); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := attempt(as["train"], cfg.Postgres.Clean, "SELECT * FROM things"); postgres.Code(err) != denied {
		t.Fatalf("before: got %v, want it denied", err)
	}
	for i, admin := range []postgres.Config{owner.Postgres, cfg.Postgres, owner.Postgres} { // after a restore by the owner, at an upgrade by an administrator
		if err := Share(ctx, admin, quiet); err != nil {
			t.Fatalf("run %d: %v", i, err)
		}
	}
	for _, d := range []struct{ name, role string }{{cfg.Postgres.Raw, "mlops_load"}, {cfg.Postgres.Clean, "mlops_clean"}} {
		conn := connect(t, cfg, d.name)
		want := []string{d.role, "postgres|theirs"}
		got := query(t, conn, `SELECT DISTINCT relowner::regrole::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relname <> 'theirs' AND relname !~ 'alike_'`)
		got = append(got, query(t, conn, `SELECT relowner::regrole, relname FROM pg_class WHERE relname = 'theirs'`)...)
		if !slices.Equal(got, want) {
			t.Errorf("%s belongs to %v, want %v", d.name, got, want)
		}
	}
	for name, c := range as {
		as[name] = c.from(t, otherThings)
	}
	eachAs(t, as)
	// The spec changes: clean is rebuilt in a schema of its own.
	for name, c := range as {
		c.Spec = parse(t, strings.Replace(specText("key: id\ngroup: who"), `missing: ["?"]`, `missing: ["?", "b"]`, 1))
		as[name] = c
	}
	eachAs(t, as)
	// The role of before still does everything, for a release that is rolled back.
	eachAs(t, before)
	if err := Forget(ctx, owner); err != nil {
		t.Errorf("forgetting: %v", err)
	}
	var left bytes.Buffer
	conn := connect(t, cfg, cfg.Postgres.Raw)
	if _, err := conn.PgConn().CopyTo(ctx, &left, `COPY (SELECT relname FROM pg_class WHERE relname ~ 'things' UNION ALL SELECT proname FROM pg_proc WHERE proname ~ 'things') TO STDOUT`); err != nil || left.Len() > 0 {
		t.Errorf("forgetting left %s, %v", left.String(), err)
	}
}

// The gate writes the history, whoever asks reads it, and nobody else sees it.
func TestRolesOfTheHistory(t *testing.T) {
	t.Parallel()
	cfg := setup(t, "key: id")
	as := roles(t, cfg)
	open := func(role string) *history.Log {
		session := postgres.NewSession(as[role].Postgres, cfg.Postgres.Clean, "", quiet)
		t.Cleanup(session.Close)
		return history.New(session)
	}
	e := history.Event{Model: "m", Kind: history.Promoted, By: "test", To: 1, Why: "the first"}
	for range 2 { // sharing again takes nothing away
		if err := open("promote").Announce(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		if _, err := open("promote").Settle(t.Context(), "m", 1); err != nil {
			t.Fatal(err)
		}
		for _, role := range []string{"read", "owner"} {
			if events, err := open(role).List(t.Context(), "m", 0); err != nil || len(events) == 0 {
				t.Errorf("%s reads %d events, %v", role, len(events), err)
			}
		}
		for _, role := range []string{"load", "clean", "split", "train"} {
			if _, err := open(role).List(t.Context(), "m", 0); postgres.Code(err) != denied {
				t.Errorf("%s reads the history: %v", role, err)
			}
		}
		other := e
		other.Why = "another"
		if err := open("read").Add(t.Context(), other); postgres.Code(err) != denied {
			t.Errorf("read writes the history: %v", err)
		}
		if err := Share(t.Context(), as["owner"].Postgres, quiet); err != nil {
			t.Fatal(err)
		}
	}
}
