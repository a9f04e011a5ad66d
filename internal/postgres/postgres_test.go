package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

var quiet = slog.New(slog.DiscardHandler)

// server returns a Config of the test server, or skips.
func server(t *testing.T) Config {
	t.Helper()
	url := os.Getenv("MLOPS_TEST_POSTGRES")
	if url == "" {
		t.Skip("SKIPPED, NOT PASSED: MLOPS_TEST_POSTGRES names no server")
	}
	return Config{ConnString: url, Patience: 2 * time.Second}
}

func connectTo(t *testing.T, cfg Config) *pgx.Conn {
	t.Helper()
	conn, err := Connect(context.Background(), cfg, "postgres", quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func TestConnString(t *testing.T) {
	tests := []struct{ why, host, port, user, password, want string }{
		{"all of them", "db", "5432", "me", "secret", "host='db' port='5432' user='me' password='secret'"},
		{"what is empty is libpq's default", "", "", "me", "", "user='me'"},
		{"quotes and backslashes", "db", "", "", `a'b\c d`, `host='db' password='a\'b\\c d'`},
	}
	for _, tt := range tests {
		got := ConnString(tt.host, tt.port, tt.user, tt.password)
		if got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.why, got, tt.want)
		}
		if c, err := pgx.ParseConfig(got); err != nil || tt.password != "" && c.Password != tt.password {
			t.Errorf("%s: does not come back: %v", tt.why, err)
		}
	}
}

func TestTransient(t *testing.T) {
	pe := func(code string) error { return fmt.Errorf("copying: %w", &pgconn.PgError{Code: code}) }
	tests := []struct {
		why  string
		err  error
		want bool
	}{
		{"no error", nil, false},
		{"connection refused", &net.OpError{Op: "dial", Err: errors.New("refused")}, true},
		{"the server is gone", fmt.Errorf("reading: %w", io.ErrUnexpectedEOF), true},
		{"it is starting", pe("57P03"), true},
		{"it is stopping", pe("57P01"), true},
		{"a deadlock", pe("40P01"), true},
		{"a serialization failure", pe("40001"), true},
		{"a connection exception", pe("08006"), true},
		{"a transaction that did nothing for too long", pe("25P03"), true},
		{"a statement that ran for too long", pe("57014"), false},
		{"a unique index", pe("23505"), false},
		{"a wrong password", pe("28P01"), false},
		{"no such database", pe("3D000"), false},
		{"a full disk", pe("53100"), false},
		{"the caller ended it", context.Canceled, false},
		{"patience has ended already", &Unreachable{Err: io.EOF}, false},
		{"anything else", errors.New("bug"), false},
	}
	for _, tt := range tests {
		if got := transient(tt.err); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.why, got, tt.want)
		}
	}
}

func TestConnectGivesUp(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	l.Close() // nobody listens there now
	cfg := Config{ConnString: ConnString("127.0.0.1", port, "me", "secret"), Patience: 300 * time.Millisecond}
	_, err = Connect(context.Background(), cfg, "raw", quiet)
	var gone *Unreachable
	if !errors.As(err, &gone) {
		t.Fatalf("got %v, want *Unreachable", err)
	}
	if s := err.Error(); !strings.Contains(s, "127.0.0.1:"+port+"/raw could not be reached for 300ms") || strings.Contains(s, "secret") {
		t.Errorf("got %q", s)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Connect(ctx, cfg, "raw", quiet); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: got %v", err)
	}
	if _, err := Connect(context.Background(), Config{ConnString: "host='a password=secret"}, "raw", quiet); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("a bad connection string: got %v", err)
	}
}

// TestConnectWaits starts to listen only after Connect has begun.
func TestConnectWaits(t *testing.T) {
	cfg := server(t)
	to, err := pgx.ParseConfig(cfg.ConnString)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	host, port, _ := net.SplitHostPort(l.Addr().String())
	go func() {
		for first := true; ; first = false {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if first { // like a server that is still starting
				c.Close()
				continue
			}
			go func() {
				defer c.Close()
				s, err := net.Dial("tcp", net.JoinHostPort(to.Host, fmt.Sprint(to.Port)))
				if err != nil {
					return
				}
				defer s.Close()
				go io.Copy(s, c)
				io.Copy(c, s)
			}()
		}
	}()
	conn, err := Connect(context.Background(), Config{ConnString: ConnString(host, port, to.User, to.Password) + " sslmode=disable", Patience: 20 * time.Second}, "postgres", quiet)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close(context.Background())
}

func TestConnectNoDatabase(t *testing.T) {
	cfg := server(t)
	cfg.Patience = time.Hour // it must not be waited for
	_, err := Connect(context.Background(), cfg, "no_such_database", quiet)
	if Code(err) != "3D000" {
		t.Errorf("got %v, want that there is no such database", err)
	}
}

func TestLock(t *testing.T) {
	cfg := server(t)
	ctx := context.Background()
	name := fmt.Sprintf("test %d", time.Now().UnixNano())
	first, second := connectTo(t, cfg), connectTo(t, cfg)
	if ok, err := TryLock(ctx, first, name); err != nil || !ok {
		t.Fatalf("a free lock: got %v, %v", ok, err)
	}
	if ok, err := TryLock(ctx, second, name); err != nil || ok {
		t.Fatalf("a taken lock: got %v, %v", ok, err)
	}
	if ok, err := TryLock(ctx, second, name+"x"); err != nil || !ok {
		t.Fatalf("another lock: got %v, %v", ok, err)
	}
	var said strings.Builder
	err := Lock(ctx, second, name, 300*time.Millisecond, slog.New(slog.NewTextHandler(&said, nil)))
	var busy *Busy
	if !errors.As(err, &busy) {
		t.Fatalf("got %v, want *Busy", err)
	}
	who := fmt.Sprintf("Postgres session %d of postgres from", first.PgConn().PID())
	if !strings.Contains(err.Error(), who) || !strings.Contains(said.String(), who) {
		t.Errorf("neither the error nor the log may leave out %q: %v; %s", who, err, said.String())
	}
	got := make(chan error)
	go func() { got <- Lock(ctx, second, name, time.Minute, quiet) }()
	first.Close(ctx) // as when the other run is killed
	if err := <-got; err != nil {
		t.Errorf("the lock did not come free: %v", err)
	}
}

func TestSessionDo(t *testing.T) {
	cfg := server(t)
	ctx := context.Background()
	other := connectTo(t, cfg)
	name := fmt.Sprintf("session %d", time.Now().UnixNano())
	s := NewSession(cfg, "postgres", name, quiet)
	defer s.Close()

	runs := 0
	err := s.Do(ctx, "working", func(ctx context.Context, conn *pgx.Conn) error {
		if ok, err := TryLock(ctx, other, name); err != nil || ok {
			t.Errorf("run %d works without its lock: %v", runs+1, err)
		}
		if runs++; runs == 1 {
			if _, err := other.Exec(ctx, "SELECT pg_terminate_backend($1, 5000)", conn.PgConn().PID()); err != nil {
				t.Fatal(err)
			}
		}
		_, err := conn.Exec(ctx, "SELECT 1")
		return err
	})
	if err != nil || runs != 2 {
		t.Errorf("a lost connection: got %v after %d runs, want 2", err, runs)
	}

	runs = 0
	err = s.Do(ctx, "working", func(ctx context.Context, conn *pgx.Conn) error {
		runs++
		_, err := conn.Exec(ctx, "SELECT 1/0")
		return err
	})
	if Code(err) != "22012" || runs != 1 {
		t.Errorf("a permanent error: got %v after %d runs, want 1", err, runs)
	}

	runs = 0
	err = s.Do(ctx, "working", func(ctx context.Context, conn *pgx.Conn) error {
		runs++
		return &pgconn.PgError{Code: "40001", Message: "again"}
	})
	if err == nil || !strings.Contains(err.Error(), "working (tried 5 times)") || runs != 5 {
		t.Errorf("an error that stays: got %v after %d runs, want 5", err, runs)
	}
}
