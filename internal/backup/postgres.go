package backup

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
)

// Postgres dumps and restores databases with Postgres' own programs.
type Postgres struct {
	// Run runs pg_dump, pg_restore or psql with a login that may create databases.
	Run func(ctx context.Context, in io.Reader, out io.Writer, argv ...string) error
}

// Local runs Postgres' programs as processes of their own. They find the server and
// their login in the environment, in libpq's variables.
func Local(env []string) Postgres {
	return Postgres{func(ctx context.Context, in io.Reader, out io.Writer, argv ...string) error {
		var said bytes.Buffer
		cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
		cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = env, in, out, &said
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%s: %w: %s", argv[0], err, strings.TrimSpace(said.String()))
		}
		return nil
	}}
}

// Dump implements Databases. Who owns what is not in the dump.
func (d Postgres) Dump(ctx context.Context, database string, to io.Writer) error {
	return d.Run(ctx, nil, to, "pg_dump", "-Fc", "-Z", "3", "--no-owner", "--no-privileges", database)
}

// Restore implements Databases: it fills a database beside the one there is,
// and gives it its name at the end. The mark is the database's comment. MLflow's users keep the passwords that this
// release's Secrets have.
func (d Postgres) Restore(ctx context.Context, database, backup string, from io.Reader) error {
	owner, err := d.ask(ctx, "postgres", "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = '"+database+"'")
	if err != nil {
		return err
	}
	if owner == "" {
		return fmt.Errorf("the release has no database %s: install it first", database)
	}
	fresh, old := database+"_restoring", database+"_replaced"
	for _, sql := range []string{
		"DROP DATABASE IF EXISTS " + fresh + " WITH (FORCE)",
		"CREATE DATABASE " + fresh + " OWNER \"" + owner + "\" ENCODING 'UTF8' TEMPLATE template0",
		"REVOKE ALL ON DATABASE " + fresh + " FROM PUBLIC",
	} {
		if _, err := d.ask(ctx, "postgres", sql); err != nil {
			return err
		}
	}
	err = d.Run(ctx, from, io.Discard, "pg_restore", "-d", fresh, "--no-owner", "--no-privileges", "--role", owner, "--single-transaction", "--exit-on-error")
	if err != nil {
		return err
	}
	if database == "mlflow" {
		if err := d.keepPasswords(ctx, database, fresh); err != nil {
			return err
		}
	}
	for _, sql := range []string{
		"COMMENT ON DATABASE " + fresh + " IS " + mark(backup),
		"DROP DATABASE IF EXISTS " + old + " WITH (FORCE)",
		"ALTER DATABASE " + database + " ALLOW_CONNECTIONS false", // until it has its other name
		"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname IN ('" + database + "', '" + fresh + "')",
		"BEGIN; ALTER DATABASE " + database + " RENAME TO " + old + "; ALTER DATABASE " + fresh + " RENAME TO " + database + "; COMMIT",
		"DROP DATABASE IF EXISTS " + old + " WITH (FORCE)",
	} {
		if _, err := d.ask(ctx, "postgres", sql); err != nil {
			return err
		}
	}
	return nil
}

// mark is the comment of a database that came from a backup, as a literal of SQL.
func mark(backup string) string {
	return "'" + strings.ReplaceAll("from backup "+backup+", by a restore that has not ended", "'", "''") + "'"
}

// Marked implements Databases.
func (d Postgres) Marked(ctx context.Context, names []string, backup string) ([]string, error) {
	found, err := d.ask(ctx, "postgres", "SELECT datname FROM pg_database WHERE shobj_description(oid, 'pg_database') = "+mark(backup))
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(strings.Fields(found), func(name string) bool { return !slices.Contains(names, name) }), nil
}

// Finish implements Databases.
func (d Postgres) Finish(ctx context.Context, names []string) error {
	for _, name := range names {
		if _, err := d.ask(ctx, "postgres", "COMMENT ON DATABASE "+name+" IS NULL"); err != nil {
			return err
		}
	}
	return nil
}

// keepPasswords copies the passwords of MLflow's users from one database to another.
func (d Postgres) keepPasswords(ctx context.Context, from, to string) error {
	for _, database := range []string{from, to} {
		there, err := d.ask(ctx, database, "SELECT to_regclass('public.users') IS NOT NULL")
		if err != nil || there != "t" {
			return err // MLflow without a login
		}
	}
	sql, err := d.ask(ctx, from, "SELECT format('UPDATE users SET password_hash = %L WHERE username = %L;', password_hash, username) FROM users")
	if err != nil || sql == "" {
		return err
	}
	_, err = d.ask(ctx, to, sql)
	return err
}

// ask runs SQL and returns what it selects, as text.
func (d Postgres) ask(ctx context.Context, database, sql string) (string, error) {
	var out bytes.Buffer
	err := d.Run(ctx, strings.NewReader(sql), &out, "psql", "-d", database, "-qAtX", "-v", "ON_ERROR_STOP=1", "-f", "-")
	return strings.TrimSpace(out.String()), err
}

// Contents says what a release's databases hold, such as "rows of diabetes, 3 model
// versions"; empty: nothing that a restore would replace. Databases that the release
// does not have hold nothing.
func (d Postgres) Contents(ctx context.Context, names []string) (string, error) {
	var all []string
	for _, name := range names {
		switch name {
		case "raw", "clean":
			tables, err := d.ask(ctx, name, "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
			if err != nil {
				return "", err
			}
			for table := range strings.Lines(tables) {
				table = strings.TrimSpace(table)
				some, err := d.ask(ctx, name, `SELECT EXISTS (SELECT FROM "`+strings.ReplaceAll(table, `"`, `""`)+`")`)
				if err != nil {
					return "", err
				}
				if some == "t" {
					all = append(all, fmt.Sprintf("table %s of database %s", table, name))
				}
			}
		case "mlflow":
			there, err := d.ask(ctx, name, "SELECT to_regclass('public.model_versions') IS NOT NULL")
			if err != nil {
				return "", err
			}
			if there != "t" {
				continue
			}
			n, err := d.ask(ctx, name, "SELECT count(*) FROM model_versions")
			if err != nil {
				return "", err
			}
			if n != "0" {
				all = append(all, n+" model versions")
			}
		}
	}
	if len(all) > 3 {
		all = append(all[:3], fmt.Sprintf("%d more", len(all)-3))
	}
	return strings.Join(all, ", "), nil
}
