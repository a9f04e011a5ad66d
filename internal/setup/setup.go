// Package setup creates what a release's services need before they can work:
// Postgres' roles and databases, the buckets, source files that come with the
// release, and the first run of the pipeline. Each part first checks what exists,
// so setup may be interrupted at any point and run again.
package setup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"mlops/internal/ingest"
	"mlops/internal/mlflow"
	"mlops/internal/postgres"
	"mlops/internal/registry"
	"mlops/internal/retry"
	"mlops/internal/signature"
	"mlops/internal/source"
)

// Config says what to create. Empty parts are skipped: the release then uses a
// service that was set up elsewhere.
type Config struct {
	Postgres  postgres.Config // of a role that may create roles and databases; empty ConnString: none
	Roles     []postgres.Role
	Databases []postgres.Database

	S3      source.S3 // empty Endpoint: none
	Buckets []string
	Users   []User   // of MinIO only; S3 is its administrator then
	Sources []string // folders whose files go into SourceBucket

	SourceBucket string // for the files that load-raw-data reads; empty: "sources"

	MLflow      *mlflow.Client // of its administrator; nil: MLflow has no login
	MLflowUsers []MLflowUser

	Figures string // role that may read how versions of a model did, in the database mlflow; empty: none

	Signer   *signature.Signer // of model versions; nil: they are not signed
	Registry func() (*registry.Registry, error)

	// First returns the first run; nil: none. It is called last, so that an error
	// in the data set doesn't keep the services from their databases.
	First func() (*FirstRun, error)

	Patience time.Duration // how long to wait for each service; 0: 10 min
	Log      *slog.Logger
}

// FirstRun is the run of the pipeline that brings a new release to its first
// model.
type FirstRun struct {
	Registry  *registry.Registry // says whether a version is in production already
	Workflows Workflows
}

// Workflows starts the pipeline. Start does nothing if it was started before.
type Workflows interface {
	Start(ctx context.Context) (started bool, err error)
}

// Run creates everything that the Config names. S3 comes before Postgres, so that
// a pod that waited for its database finds the buckets and users too.
func Run(ctx context.Context, c Config) error {
	if c.Patience == 0 {
		c.Patience = 10 * time.Minute
	}
	if c.SourceBucket == "" {
		c.SourceBucket = "sources"
	}
	if c.S3.Endpoint != "" {
		if err := buckets(ctx, c); err != nil {
			return err
		}
		if len(c.Users) > 0 {
			if err := users(ctx, c); err != nil {
				return err
			}
		}
	}
	if c.Postgres.ConnString != "" {
		if err := databases(ctx, c); err != nil {
			return err
		}
	}
	if c.MLflow != nil {
		if err := logins(ctx, c); err != nil {
			return err
		}
	}
	if c.Figures != "" {
		if err := figures(ctx, c); err != nil {
			return err
		}
	}
	if c.Signer != nil {
		if err := adopt(ctx, c); err != nil {
			return err
		}
	}
	if c.First != nil {
		return first(ctx, c)
	}
	return nil
}

func databases(ctx context.Context, c Config) error {
	cfg := c.Postgres
	cfg.Patience = c.Patience
	session := postgres.NewSession(cfg, "postgres", "", c.Log)
	defer session.Close()
	conn, err := session.Conn(ctx)
	if err != nil {
		return err
	}
	if err := postgres.Prepare(ctx, conn, c.Roles, c.Databases); err != nil {
		return err
	}
	if slices.ContainsFunc(c.Roles, func(r postgres.Role) bool { return r.Name == postgres.LoadRole }) {
		if err := ingest.Share(ctx, cfg, c.Log); err != nil {
			return err
		}
	}
	c.Log.Info("databases are ready", "databases", len(c.Databases), "roles", len(c.Roles))
	return nil
}

// first starts the pipeline if nothing is in production.
func first(ctx context.Context, c Config) error {
	run, err := c.First()
	if err != nil {
		return err
	}
	var version registry.Version
	err = waitFor(ctx, c.Log, c.Patience, "MLflow", func(ctx context.Context) (err error) {
		version, err = run.Registry.Production(ctx)
		if errors.Is(err, registry.ErrNoVersion) {
			version, err = registry.Version{}, nil
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("looking up the version in production: %w", err)
	}
	if version.Number != 0 {
		c.Log.Info("no first run needed: a model is in production", "model", version.Name, "version", version.Number)
		return nil
	}
	started, err := run.Workflows.Start(ctx)
	if err != nil {
		return err
	}
	if started {
		c.Log.Info("started the pipeline's first run", "workflow", firstName)
	} else {
		c.Log.Info("the pipeline's first run was started earlier", "workflow", firstName)
	}
	return nil
}

// waitFor calls work until it succeeds, the context ends or the patience does.
func waitFor(ctx context.Context, log *slog.Logger, patience time.Duration, what string, work func(context.Context) error) error {
	err := retry.Do(ctx, retry.Policy{Patience: patience, TryLimit: 10 * time.Second, Log: log, Message: "waiting for " + what}, work)
	var exhausted *retry.ExhaustedError
	if errors.As(err, &exhausted) {
		return fmt.Errorf("%s did not respond for %v: %w", what, exhausted.Waited.Round(time.Second), exhausted.Err)
	}
	return err
}
