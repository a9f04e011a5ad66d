package history_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"mlops/internal/history"
	"mlops/internal/postgres"
)

func open(t *testing.T) *history.Log {
	t.Helper()
	url := os.Getenv("MLOPS_TEST_POSTGRES")
	if url == "" {
		t.Skip("SKIPPED, NOT PASSED: MLOPS_TEST_POSTGRES names no server")
	}
	session := postgres.NewSession(postgres.Config{ConnString: url}, "postgres", "", slog.New(slog.DiscardHandler))
	t.Cleanup(session.Close)
	return history.New(session)
}

func kinds(t *testing.T, l *history.Log, model string) (kinds []history.Kind) {
	t.Helper()
	events, err := l.List(t.Context(), model, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		kinds = append(kinds, e.Kind)
	}
	return kinds
}

func model() string { return fmt.Sprintf("model-%d", time.Now().UnixNano()) }

func TestAnnouncedIsNotYetHistory(t *testing.T) {
	l, m := open(t), model()
	e := history.Event{Model: m, Kind: history.Promoted, By: "test", From: 1, To: 2, Why: "better"}
	if err := l.Announce(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	if got := kinds(t, l, m); len(got) != 0 {
		t.Errorf("announced only: %v", got)
	}
	// It did not happen: version 1 is still in production.
	if got, err := l.Settle(t.Context(), m, 1); err != nil || got != nil {
		t.Errorf("settled %+v, %v, want nothing", got, err)
	}
	if got, err := l.Settle(t.Context(), m, 2); err != nil || got != nil {
		t.Errorf("settled %+v, %v, what was dropped before", got, err)
	}
	if err := l.Announce(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	if err := l.Announce(t.Context(), e); err != nil { // a second try
		t.Fatal(err)
	}
	got, err := l.Settle(t.Context(), m, 2)
	if err != nil || got == nil || got.From != 1 || got.To != 2 || got.Why != "better" || got.By != "test" || got.At.IsZero() {
		t.Errorf("settled %+v, %v", got, err)
	}
	if got := kinds(t, l, m); len(got) != 1 || got[0] != history.Promoted {
		t.Errorf("history %v, want one promotion", got)
	}
}

func TestTheSameIsSaidOnce(t *testing.T) {
	l, m := open(t), model()
	auc := 0.7
	e := history.Event{Model: m, Kind: history.Kept, By: "test", From: 1, To: 1, Why: "still the best", Figures: &history.Figures{Metric: "auc", Rows: 9, From: &auc}}
	for _, why := range []string{"still the best", "still the best", "a better one is pinned", "still the best"} {
		e.Why = why
		if err := l.Add(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	events, err := l.List(t.Context(), m, 2)
	if err != nil || len(events) != 2 || events[1].Why != "a better one is pinned" {
		t.Fatalf("the last two: %+v, %v", events, err)
	}
	if f := events[0].Figures; f == nil || f.Metric != "auc" || f.Rows != 9 || f.From == nil || *f.From != auc || f.To != nil {
		t.Errorf("figures %+v", f)
	}
	if got := kinds(t, l, m); len(got) != 3 {
		t.Errorf("history %v, want 3 events", got)
	}
}

// Many that find no table make it once.
func TestMadeOnce(t *testing.T) {
	var group sync.WaitGroup
	for range 8 {
		l, m := open(t), model()
		group.Go(func() {
			if err := l.Add(t.Context(), history.Event{Model: m, Kind: history.Kept, By: "test", Why: "x"}); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
}

// A database that comes back from a dump has neither owners nor rights: its owner, no
// superuser, has made all of it anew and gives the history to the gate's role again.
func TestShareByTheOwner(t *testing.T) {
	url := os.Getenv("MLOPS_TEST_POSTGRES")
	if url == "" {
		t.Skip("SKIPPED, NOT PASSED: MLOPS_TEST_POSTGRES names no server")
	}
	config, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	connect := func(database, user, password string) *pgx.Conn {
		c := config.Copy()
		c.Database = database
		if user != "" {
			c.User, c.Password = user, password
		}
		conn, err := pgx.ConnectConfig(context.Background(), c) // also when t has ended
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close(context.Background()) })
		return conn
	}
	admin := connect(config.Database, "", "")
	name := fmt.Sprintf("shared_%d", time.Now().UnixNano())
	for _, role := range []string{postgres.PromoteRole, postgres.TrainRole, postgres.ReadRole} {
		if _, err := admin.Exec(t.Context(), "DO $$ BEGIN CREATE ROLE "+role+"; EXCEPTION WHEN duplicate_object THEN NULL; END $$"); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		admin := connect(config.Database, "", "")
		admin.Exec(context.Background(), "DROP DATABASE "+name+" WITH (FORCE)")
		admin.Exec(context.Background(), "DROP ROLE "+name)
	})
	for _, sql := range []string{"CREATE ROLE " + name + " LOGIN PASSWORD 'secret'", "GRANT " + postgres.PromoteRole + ", " + postgres.TrainRole + " TO " + name, "CREATE DATABASE " + name + " OWNER " + name} {
		if _, err := admin.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	owner := connect(name, name, "secret")
	for range 2 { // it may be repeated
		if err := history.Share(t.Context(), owner); err != nil {
			t.Fatal(err)
		}
	}
	var schema, table string
	if err := owner.QueryRow(t.Context(), "SELECT pg_get_userbyid(nspowner), pg_get_userbyid(relowner) FROM pg_namespace n JOIN pg_class c ON c.relnamespace = n.oid WHERE nspname = 'registry' AND relname = 'history'").Scan(&schema, &table); err != nil || schema != postgres.PromoteRole || table != schema {
		t.Errorf("the schema is %s's and the table %s's, %v; want %s's", schema, table, err, postgres.PromoteRole)
	}
	// Training's role may note a version's files, once, and nothing else.
	for _, tt := range []struct {
		sql     string
		allowed bool
	}{
		{"INSERT INTO registry.trained (run_id, model, files) VALUES ('a', 'm', '{}')", true},
		{"SELECT files FROM registry.trained", true},
		{"UPDATE registry.trained SET files = '{}'", false},
		{"DELETE FROM registry.trained", false},
		{"SELECT why FROM registry.history", false},
	} {
		err := pgx.BeginFunc(t.Context(), owner, func(tx pgx.Tx) error {
			if _, err := tx.Exec(t.Context(), "SET LOCAL ROLE "+postgres.TrainRole); err != nil {
				return err
			}
			_, err := tx.Exec(t.Context(), tt.sql)
			return err
		})
		if (err == nil) != tt.allowed {
			t.Errorf("%s: %v, want allowed: %t", tt.sql, err, tt.allowed)
		}
	}
}

func TestTrained(t *testing.T) {
	l, m := open(t), model()
	run := "run of " + m
	if files, since, err := l.Trained(t.Context(), m, run); err != nil || files != nil || !since.IsZero() {
		t.Fatalf("before anything was noted: %v, %v, %v", files, since, err)
	}
	files := map[string]string{"model.ubj": "12", "spec.yaml": "34"}
	for range 2 { // the second after a COMMIT whose answer was lost
		if err := l.NoteTrained(t.Context(), m, run, files); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.NoteTrained(t.Context(), m, run, map[string]string{"model.ubj": "56"}); err == nil {
		t.Error("a run's files were noted anew")
	}
	for id, want := range map[string]map[string]string{run: files, "another": nil} {
		got, since, err := l.Trained(t.Context(), m, id)
		if err != nil || !maps.Equal(got, want) || time.Since(since) > time.Hour {
			t.Errorf("%s: %v since %v, %v; want %v", id, got, since, err, want)
		}
	}
}
