package postgres

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Role is a user of the server.
type Role struct {
	Name, Password string
	Of             []string // roles whose rights it has too
	Limits         *Limits  // nil: as they are
}

// Limits bound what a role takes of the server. Times are Postgres', such as
// "10min"; "0" is no bound.
type Limits struct {
	Connections       int    `json:"connections"`              // at a time; -1: no bound
	Statement         string `json:"statementTimeout"`         // how long a statement may run
	IdleInTransaction string `json:"idleInTransactionTimeout"` // how long a transaction may do nothing
	Lock              string `json:"lockTimeout"`              // how long a statement may wait for a lock
}

// Database is a database that one role owns and no other may enter.
type Database struct{ Name, Owner string }

// Prepare creates missing roles and databases and sets the roles' passwords. It
// may be interrupted at any point and run again; a second one at the same time
// waits. conn must belong to a superuser, or to a role that may create roles and
// databases.
func Prepare(ctx context.Context, conn *pgx.Conn, roles []Role, databases []Database) (err error) {
	// Two that change one role at the same time would fail.
	key := lockKey("preparing roles and databases")
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1)", key); err != nil {
		return fmt.Errorf("preparing roles and databases: %w", err)
	}
	defer func() {
		if _, unlock := conn.Exec(context.WithoutCancel(ctx), "SELECT pg_advisory_unlock($1)", key); err == nil && unlock != nil {
			err = fmt.Errorf("preparing roles and databases: %w", unlock)
		}
	}()
	for _, r := range roles {
		if err := prepareRole(ctx, conn, r); err != nil {
			return fmt.Errorf("preparing role %s: %w", r.Name, err)
		}
	}
	for _, d := range databases {
		if err := prepareDatabase(ctx, conn, d); err != nil {
			return fmt.Errorf("preparing database %s: %w", d.Name, err)
		}
	}
	return nil
}

func prepareRole(ctx context.Context, conn *pgx.Conn, r Role) error {
	var exists bool
	if err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", r.Name).Scan(&exists); err != nil {
		return err
	}
	verb := "CREATE"
	if exists {
		verb = "ALTER"
	}
	verifier, err := scram(r.Password)
	if err != nil {
		return err
	}
	// These statements take no parameters. They contain a verifier instead of the
	// password, since the server's log may show statements.
	name := pgx.Identifier{r.Name}.Sanitize()
	if _, err := conn.Exec(ctx, fmt.Sprintf("%s ROLE %s LOGIN PASSWORD '%s'", verb, name, verifier)); err != nil {
		return err
	}
	// Without superuser rights a role can give a database only to roles that it is a member of.
	if _, err := conn.Exec(ctx, fmt.Sprintf("GRANT %s TO CURRENT_USER", name)); err != nil {
		return err
	}
	if l := r.Limits; l != nil {
		if _, err := conn.Exec(ctx, fmt.Sprintf("ALTER ROLE %s CONNECTION LIMIT %d", name, l.Connections)); err != nil {
			return err
		}
		for _, set := range [][2]string{
			{"statement_timeout", l.Statement},
			{"idle_in_transaction_session_timeout", l.IdleInTransaction},
			{"lock_timeout", l.Lock},
		} {
			if _, err := conn.Exec(ctx, fmt.Sprintf("ALTER ROLE %s SET %s = '%s'", name, set[0], strings.ReplaceAll(set[1], "'", "''"))); err != nil {
				return err
			}
		}
	}
	for _, of := range r.Of {
		if _, err := conn.Exec(ctx, fmt.Sprintf("GRANT %s TO %s", pgx.Identifier{of}.Sanitize(), name)); err != nil {
			return err
		}
	}
	return nil
}

func prepareDatabase(ctx context.Context, conn *pgx.Conn, d Database) error {
	var exists bool
	if err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", d.Name).Scan(&exists); err != nil {
		return err
	}
	name := pgx.Identifier{d.Name}.Sanitize()
	if !exists {
		// template0 allows any encoding; the server's default may not be UTF-8.
		if _, err := conn.Exec(ctx, fmt.Sprintf("CREATE DATABASE %s OWNER %s ENCODING 'UTF8' TEMPLATE template0", name, pgx.Identifier{d.Owner}.Sanitize())); err != nil {
			return err
		}
	}
	_, err := conn.Exec(ctx, fmt.Sprintf("REVOKE ALL ON DATABASE %s FROM PUBLIC", name))
	return err
}

// scram returns what Postgres stores of a password: a SCRAM-SHA-256 verifier in
// the format of pg_authid.rolpassword (RFC 5803, RFC 7677).
func scram(password string) (string, error) {
	const rounds = 4096
	salt := make([]byte, 16)
	rand.Read(salt)
	salted, err := pbkdf2.Key(sha256.New, password, salt, rounds, sha256.Size)
	if err != nil {
		return "", err
	}
	client := sha256.Sum256(sign(salted, "Client Key"))
	server := sign(salted, "Server Key")
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", rounds, b64(salt), b64(client[:]), b64(server)), nil
}

func sign(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
