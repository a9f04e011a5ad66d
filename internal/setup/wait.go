package setup

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"mlops/internal/postgres"
	"mlops/internal/probe"
)

// Wait waits until all targets respond: postgres://HOST:PORT/DATABASE (to which
// the user must be able to connect), http://… or https://… (with 2xx) and
// tcp://HOST:PORT. Meanwhile it logs what it waits for and why.
func Wait(ctx context.Context, log *slog.Logger, targets []string, user, password string, patience time.Duration) error {
	for _, t := range targets {
		try, err := attempt(t, user, password)
		if err != nil {
			return err
		}
		if err := waitFor(ctx, log, patience, t, try); err != nil {
			return fmt.Errorf("waiting for %s: %w", t, err)
		}
		log.Info("service responds", "service", t)
	}
	return nil
}

// attempt returns a function that tries a target once.
func attempt(target, user, password string) (func(context.Context) error, error) {
	u, err := url.Parse(target)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("%q is not a postgres://, http://, https:// or tcp:// address", target)
	}
	switch u.Scheme {
	case "postgres":
		text := postgres.ConnString(u.Hostname(), u.Port(), user, password) + " dbname='" + strings.TrimPrefix(u.Path, "/") + "'"
		config, err := pgx.ParseConfig(text)
		if err != nil {
			// pgx's own error may quote the connection string, password and all.
			return nil, fmt.Errorf("%q is not the address of a database", target)
		}
		return func(ctx context.Context) error {
			c, err := pgx.ConnectConfig(ctx, config)
			if err != nil {
				return postgres.Cause(err)
			}
			return c.Close(ctx)
		}, nil
	case "http", "https":
		return func(ctx context.Context) error {
			return probe.HTTP(ctx, target)
		}, nil
	case "tcp":
		return func(ctx context.Context) error {
			c, err := new(net.Dialer).DialContext(ctx, "tcp", u.Host)
			if err != nil {
				return err
			}
			return c.Close()
		}, nil
	}
	return nil, fmt.Errorf("%q is not a postgres://, http://, https:// or tcp:// address", target)
}
