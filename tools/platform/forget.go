package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/minio/minio-go/v7"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"mlops/internal/dataset"
	"mlops/internal/ingest"
	"mlops/internal/kube"
	"mlops/internal/mlflow"
	"mlops/internal/overview"
	"mlops/internal/postgres"
	"mlops/internal/program"
)

// forget is `make forget ON=cluster`: it removes a data set's rows and files from the
// release, and suspends the schedules that would load it again. Models stay.
func forget(ctx context.Context, c *config) error {
	if c.spec == "" {
		return program.Inputf("SPEC is empty: name the data set's YAML, make forget ON=cluster SPEC=my.yaml")
	}
	spec, err := dataset.Read(c.spec)
	if err != nil {
		return program.Input(err)
	}
	r, err := c.installed(ctx)
	if err != nil {
		return err
	}
	all, err := r.Workflows(ctx, "")
	if err != nil {
		return err
	}
	for _, w := range all {
		if !w.Status.Fulfilled() {
			return program.Inputf("workflow %s is running and may need the rows: wait until it has ended, or stop it, then forget again", w.Name)
		}
	}
	address, closed, err := r.Postgres(ctx)
	if apierrors.IsNotFound(err) {
		return program.Inputf("release %s has no Postgres of its own: drop the tables %s, %[2]s_* and _%[2]s_* in the databases raw and clean of yours with psql", r.Name, spec.Name)
	}
	if err != nil {
		return err
	}
	defer closed()
	cfg := ingest.Config{Spec: spec, Postgres: postgres.Config{ConnString: address("raw")}.Defaults(), Logger: slog.New(slog.DiscardHandler)}
	removal := &overview.Removal{Spec: spec, Place: fmt.Sprintf("release %s in namespace %s", r.Name, r.Namespace)}
	objects, err := c.removal(ctx, r, cfg, removal)
	if err != nil {
		return err
	}
	var crons []string
	if name, _ := dataSet(ctx, r); name == spec.Name {
		if crons, err = r.Schedules(ctx, "load-raw-data", "pipeline"); err != nil {
			return err
		}
	}
	for _, name := range crons {
		removal.Goes = append(removal.Goes, fmt.Sprintf("schedule %s is suspended, until the next upgrade of the release", name))
	}
	if said, err := madeOf(ctx, r, spec); err != nil {
		removal.Stays = append(removal.Stays, fmt.Sprintf("Models of %s stay (MLflow could not be asked: %v).", spec.Model, err))
	} else {
		removal.Stays = append(removal.Stays, said)
	}
	if err := removal.Ask(os.Stdin, c.out, c.yes); err != nil {
		return err
	}
	return c.do("forget", func(func(string)) (string, error) {
		for _, name := range crons {
			if err := r.Suspend(ctx, name); err != nil {
				return "", err
			}
		}
		if err := ingest.Forget(ctx, cfg); err != nil {
			return "", err
		}
		if err := deleteObjects(ctx, r, objects); err != nil {
			return "", fmt.Errorf("the rows of %s are gone, but not all of its files: %w", spec.Name, err)
		}
		return fmt.Sprintf("removed %s: its rows, files (%d) and schedules (%d)", spec.Name, len(objects), len(crons)), nil
	})
}

// removal counts what the databases hold of a data set, and returns the names of the
// objects in the bucket of sources that only it was loaded from.
func (c *config) removal(ctx context.Context, r *kube.Release, cfg ingest.Config, to *overview.Removal) (objects []string, err error) {
	var conns [2]*pgx.Conn
	for i, database := range []string{cfg.Postgres.Raw, cfg.Postgres.Clean} {
		if conns[i], err = postgres.Connect(ctx, cfg.Postgres, database, cfg.Logger); err != nil {
			return nil, err
		}
		defer conns[i].Close(context.WithoutCancel(ctx))
	}
	if to.Rows, err = ingest.Count(ctx, conns[0], conns[1], cfg.Spec); err != nil {
		return nil, err
	}
	own, err := ingest.OwnSources(ctx, conns[0], cfg.Spec)
	if err != nil {
		return nil, err
	}
	objects = inSources(own)
	for _, o := range objects {
		to.Goes = append(to.Goes, fmt.Sprintf("the file s3://%s/%s", sourceBucket, o))
	}
	return objects, nil
}

// inSources are the names of the objects in the bucket of sources among addresses.
func inSources(addresses []string) (names []string) {
	for _, a := range addresses {
		if u, err := url.Parse(a); err == nil && u.Scheme == "s3" && u.Host == sourceBucket {
			names = append(names, strings.TrimPrefix(u.Path, "/"))
		}
	}
	return names
}

// deleteObjects deletes objects of the bucket of sources in the release's own store. One
// that is gone already is no error.
func deleteObjects(ctx context.Context, r *kube.Release, names []string) error {
	if len(names) == 0 {
		return nil
	}
	store, closed, err := objects(ctx, r)
	if apierrors.IsNotFound(err) {
		return fmt.Errorf("the release has no S3 store of its own; delete them in yours: %s: %w", strings.Join(names, ", "), err)
	}
	if err != nil {
		return err
	}
	defer closed()
	var errs []error
	for _, name := range names {
		if err := store.RemoveObject(ctx, sourceBucket, name, minio.RemoveObjectOptions{}); err != nil {
			errs = append(errs, fmt.Errorf("deleting %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// madeOf asks the release's MLflow for the versions made of a data set.
func madeOf(ctx context.Context, r *kube.Release, spec *dataset.Spec) (string, error) {
	f, err := r.Forward(ctx, r.Service("mlflow"), 5000, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	user, password, err := r.MLflowLogin(ctx, "inference")
	if err != nil {
		return "", err
	}
	client, err := mlflow.New(f.URL, mlflow.Options{Transport: f.Transport, Tries: 1, UserAgent: "mlops-platform", Username: user, Password: password})
	if err != nil {
		return "", err
	}
	return overview.MadeOf(ctx, client, spec)
}
