package main

import (
	"context"
	"log/slog"
	"net"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"mlops/internal/ingest"
	"mlops/internal/kube"
	"mlops/internal/postgres"
)

// shareDatabases gives the steps' roles the tables of restored databases, and their
// rights on them: a dump has neither.
func shareDatabases(ctx context.Context, r *kube.Release, say func(string)) error {
	owner, err := r.Secret(ctx, "postgres-app")
	if apierrors.IsNotFound(err) {
		return nil // one role of somebody else's does everything
	}
	if err != nil {
		return err
	}
	f, err := r.Forward(ctx, r.Service("postgres"), 5432, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	host, port, err := net.SplitHostPort(f.Address)
	if err != nil {
		return err
	}
	cfg := postgres.Config{ConnString: postgres.ConnString(host, port, owner["PGUSER"], owner["PGPASSWORD"]) + " sslmode=prefer"}
	return ingest.Share(ctx, cfg, slog.New(slog.NewTextHandler(sayWriter(say), nil)))
}
