// Postgres is the entrypoint of the Postgres image that is built from a wheel.
// See package pgserver.
package main

import (
	"log/slog"
	"os"

	"mlops/internal/pgserver"
)

func main() {
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	err := pgserver.Run(os.Args[1:], os.Getenv, os.Environ(), log) // returns only if it fails
	log.Error("starting postgres", "error", err)
	os.Exit(1)
}
