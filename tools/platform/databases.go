package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"

	"mlops/internal/kube"
)

// databases dumps and restores the databases of a release's own Postgres, with the
// programs in its pod.
type databases struct {
	release *kube.Release
	pod     string
}

// Dump implements backup.Databases. Who owns what is not in the dump.
func (d databases) Dump(ctx context.Context, database string, to io.Writer) error {
	return d.run(ctx, nil, to, "pg_dump", "-U", "postgres", "-Fc", "-Z", "3", "--no-owner", "--no-privileges", database)
}

// Restore implements backup.Databases: it fills a database beside the one there is,
// and gives it its name at the end. MLflow's users keep the passwords that this
// release's Secrets have.
func (d databases) Restore(ctx context.Context, database string, from io.Reader) error {
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
	} {
		if _, err := d.ask(ctx, "postgres", sql); err != nil {
			return err
		}
	}
	err = d.run(ctx, from, io.Discard, "pg_restore", "-U", "postgres", "-d", fresh, "--no-owner", "--no-privileges", "--role", owner, "--single-transaction", "--exit-on-error")
	if err != nil {
		return err
	}
	if database == "mlflow" {
		if err := d.keepPasswords(ctx, database, fresh); err != nil {
			return err
		}
	}
	for _, sql := range []string{
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

// keepPasswords copies the passwords of MLflow's users from one database to another.
func (d databases) keepPasswords(ctx context.Context, from, to string) error {
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
func (d databases) ask(ctx context.Context, database, sql string) (string, error) {
	var out bytes.Buffer
	err := d.run(ctx, strings.NewReader(sql), &out, "psql", "-U", "postgres", "-d", database, "-qAtX", "-v", "ON_ERROR_STOP=1", "-f", "-")
	return strings.TrimSpace(out.String()), err
}

func (d databases) run(ctx context.Context, in io.Reader, out io.Writer, argv ...string) error {
	return d.release.Exec(ctx, d.pod, "postgres", in, out, argv...)
}
