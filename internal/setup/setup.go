// Package setup makes what the services of a release share before they can
// work: Postgres' roles and databases, the buckets, source files that came with
// the release, and the first run of the pipeline. All of it looks first at what
// is there, so it may be cut off anywhere and run again.
package setup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"mlops/internal/mlflow"
	"mlops/internal/postgres"
	"mlops/internal/registry"
	"mlops/internal/source"
)

// Config says what is to be made. What is empty is left out: the release uses a
// service that somebody else has set up.
type Config struct {
	Postgres  postgres.Config // of a role that may make roles and databases; empty ConnString: none
	Roles     []postgres.Role
	Databases []postgres.Database

	S3      source.S3 // empty Endpoint: none
	Buckets []string
	Users   []User   // of MinIO only; S3 is its administrator then
	Sources []string // folders whose files go into SourceBucket

	SourceBucket string // of the files that load-raw-data reads; empty: "sources"

	MLflow      *mlflow.Client // of its administrator; nil: MLflow has no login
	MLflowUsers []MLflowUser

	// First returns the first run; nil: none. It is asked for at the end: what is
	// wrong with the data set must not keep the services from their databases.
	First func() (*FirstRun, error)

	Patience time.Duration // how long each service is waited for; 0: 10 min
	Log      *slog.Logger
}

// FirstRun is the run of the pipeline that brings a new release to its first
// model.
type FirstRun struct {
	Registry  *registry.Registry // asked whether a version is in production already
	Workflows Workflows
}

// Workflows starts the pipeline. Start does nothing where it was started before.
type Workflows interface {
	Start(ctx context.Context) (started bool, err error)
}

// Run does all of it. S3 comes before Postgres: a pod that waited for its database then
// finds the buckets and users too.
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
	c.Log.Info("the databases are there", "databases", len(c.Databases), "roles", len(c.Roles))
	return nil
}

// first starts the pipeline where nothing is in production.
func first(ctx context.Context, c Config) error {
	run, err := c.First()
	if err != nil {
		return err
	}
	var version registry.Version
	err = retry(ctx, c.Log, c.Patience, "MLflow", func(ctx context.Context) (err error) {
		version, err = run.Registry.Production(ctx)
		if errors.Is(err, registry.ErrNoVersion) {
			version, err = registry.Version{}, nil
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("asking what is in production: %w", err)
	}
	if version.Version != "" {
		c.Log.Info("a model is in production, so no first run is started", "model", version.Name, "version", version.Version)
		return nil
	}
	started, err := run.Workflows.Start(ctx)
	if err != nil {
		return err
	}
	if started {
		c.Log.Info("the pipeline's first run is started", "workflow", FirstName)
	} else {
		c.Log.Info("the pipeline's first run was started before", "workflow", FirstName)
	}
	return nil
}

// retry does work until it succeeds, the context ends or patience does.
func retry(ctx context.Context, log *slog.Logger, patience time.Duration, what string, work func(context.Context) error) error {
	began := time.Now()
	for wait := 500 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		try, cancel := context.WithTimeout(ctx, 10*time.Second)
		err := work(try)
		cancel()
		waited := time.Since(began).Round(time.Second)
		var bad permanent
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.As(err, &bad):
			return bad.error
		case waited >= patience:
			return fmt.Errorf("%s did not answer for %v: %w", what, waited, err)
		}
		log.Info("waiting for "+what, "waited", waited.String(), "because", err.Error())
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(wait):
		}
	}
}

// permanent is an error that waiting does not mend.
type permanent struct{ error }
