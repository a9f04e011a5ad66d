package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"time"

	"mlops/internal/api"
	"mlops/internal/dataset"
	"mlops/internal/mlflow"
	"mlops/internal/program"
	"mlops/internal/registry"
	"mlops/internal/retry"
	"mlops/internal/train"
	"mlops/internal/xgboost"
	"mlops/loadtest"
)

// earlierRounds is how often two servers take turns, for earlierTime each: they differ by
// little, and the machine may have other work.
const (
	earlierRounds = 15
	earlierTime   = 2 * time.Second
)

// earlierRows measures what looking earlier rows up costs a server: against a version
// whose features look at the record alone, against the same version when the record
// brings its earlier ones, and when Postgres is asked instead of memory.
func earlierRows(ctx context.Context, log *slog.Logger) ([]figure, error) {
	s, lib, err := newEarlierSite(ctx, log)
	if err != nil {
		return nil, err
	}
	defer s.close()
	looking, given, err := s.lookingVersion(ctx, lib)
	if err != nil {
		return nil, err
	}
	name := s.spec.Model
	alone, err := s.oneRowVersion(ctx, lib)
	if err != nil {
		return nil, err
	}
	password, _ := s.admin.User.Password()
	pg := []string{"MLOPS_MODEL=" + name, "PGHOST=" + s.admin.Hostname(), "PGPORT=" + s.admin.Port(), "PGUSER=" + s.admin.User.Username(), "PGPASSWORD=" + password}
	held, err := s.oursFrom(ctx, api.EarlierFromPostgres, pg...)
	if err != nil {
		return nil, err
	}
	defer held.stop()
	asking, err := s.oursFrom(ctx, api.EarlierAsked, append(pg, "MLOPS_EARLIER_MEMORY=1Ki")...)
	if err != nil {
		return nil, err
	}
	defer asking.stop()
	plain, err := s.ours(ctx)
	if err != nil {
		return nil, err
	}
	defer plain.stop()

	var found []figure
	compare := func(what, reach, a, b string, c contest, users int) error {
		c.rounds, c.cfg.Duration = earlierRounds, earlierTime
		our, their, err := s.turns(ctx, c, loadtest.Config{Users: []int{users}, Bodies: looking, Duration: earlierTime})
		if err != nil {
			return err
		}
		found = append(found, figure{Name: fmt.Sprintf("%s, %d connections", what, users), Value: ratio(our, their, perSecond), Reach: reach,
			How: fmt.Sprintf("median of %d pairs of %v: %s; %s", earlierRounds, earlierTime, describe(a, our), describe(b, their))})
		return nil
	}
	err = errors.Join(
		compare("requests/s with lookups against a version that looks at the record alone", "at least 0.9", "looked up", "alone", contest{ours: held, theirs: plain, cfg: loadtest.Config{Bodies: alone}}, 100),
		compare("requests/s with lookups against the same version without, history: []", "at least 0.9", "looked up", "not", contest{ours: held, theirs: held, cfg: loadtest.Config{Bodies: given}}, 100),
		compare("requests/s when Postgres is asked against rows held in memory", "", "asked", "held", contest{ours: asking, theirs: held, cfg: loadtest.Config{Bodies: looking}}, 1),
		compare("requests/s when Postgres is asked against rows held in memory", "", "asked", "held", contest{ours: asking, theirs: held, cfg: loadtest.Config{Bodies: looking}}, 100),
	)
	if err != nil {
		return found, err
	}
	client := api.NewClient(held.base, http.DefaultClient)
	m, err := client.Model(ctx)
	if err != nil {
		return found, err
	}
	e := m.Dataset.Earlier
	return append(found,
		figure{Name: "memory of earlier rows per group", Value: float64(e.Bytes) / float64(e.Groups), Unit: "B", How: fmt.Sprintf("%d rows of %d groups in %.1f MiB", e.Rows, e.Groups, mib(e.Bytes))},
		figure{Name: "memory of the server with earlier rows, under all this load", Value: held.stop(), Unit: "MiB", Reach: "at most 96", How: "peak of its resident memory"}), nil
}

// newEarlierSite is newSite for the spec as it is, without peers.
func newEarlierSite(ctx context.Context, log *slog.Logger) (_ *site, _ *xgboost.Library, err error) {
	b, lib, err := openFilled(ctx, log)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	s := &site{bench: b}
	address, err := program.Env("MLOPS_TEST_MLFLOW")
	if err != nil {
		return nil, nil, err
	}
	if s.client, err = mlflow.New(address, mlflow.Options{UserAgent: "mlops-bench"}); err != nil {
		return nil, nil, err
	}
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-o", b.dir+"/", "./images/inference")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, nil, fmt.Errorf("building the server: %w\n%s", err, out)
	}
	return s, lib, nil
}

// lookingVersion registers a version that looks at earlier rows, and returns records
// whose earlier ones are looked up, and the same ones saying that there are none.
func (s *site) lookingVersion(ctx context.Context, lib *xgboost.Library) (looking, given []loadtest.Body, err error) {
	if err := s.promote(ctx, lib); err != nil {
		return nil, nil, err
	}
	group, order := s.spec.Column(s.spec.Group), s.spec.Column(s.spec.Order)
	err = s.rows("")(ctx, func(split string, fields [][]byte) error {
		if split == dataset.Train || s.spec.Excluded(fields) || len(looking) == wantRecords {
			return nil
		}
		text, err := recordJSON(s.spec, fields)
		if err != nil {
			return err
		}
		rest := bytes.TrimPrefix(text, []byte("{"))
		looking = append(looking, loadtest.Body{Records: 1, JSON: fmt.Appendf(nil, `{"%s":%s,"%s":%s,%s`, s.spec.Order, fields[order], s.spec.Group, fields[group], rest)})
		given = append(given, loadtest.Body{Records: 1, JSON: fmt.Appendf(nil, `{"history":[],%s`, rest)})
		return nil
	})
	return looking, given, err
}

// oneRowVersion registers a version of features of the record alone, under a name of its
// own, and returns its records. The spec is that one afterwards.
func (s *site) oneRowVersion(ctx context.Context, lib *xgboost.Library) ([]loadtest.Body, error) {
	if err := s.oneRow(); err != nil {
		return nil, err
	}
	s.spec.Model = "one-row"
	if err := s.promote(ctx, lib); err != nil {
		return nil, err
	}
	return bodies(s.records), nil
}

// promote trains a version of the spec and puts it into production.
func (s *site) promote(ctx context.Context, lib *xgboost.Library) error {
	data, err := train.Prepare(ctx, s.spec, s.rows(""))
	if err != nil {
		return err
	}
	if s.records, err = s.bench.records(ctx, data.Encoder); err != nil {
		return err
	}
	files, err := s.version(ctx, lib, data, s.records, true)
	if err != nil {
		return err
	}
	number, err := s.register(ctx, s.client, files)
	if err != nil {
		return err
	}
	return s.client.SetAlias(ctx, s.spec.Model, registry.Production, number)
}

// oursFrom starts our server and waits until it has its earlier rows from there.
func (s *site) oursFrom(ctx context.Context, from string, env ...string) (*server, error) {
	server, err := s.ours(ctx, env...)
	if err != nil {
		return nil, err
	}
	client := api.NewClient(server.base, http.DefaultClient)
	policy := retry.Policy{Patience: 2 * time.Minute, Wait: 200 * time.Millisecond, Factor: 1}
	err = retry.Do(ctx, policy, func(ctx context.Context) error {
		m, err := client.Model(ctx)
		if err != nil {
			return err
		}
		if e := m.Dataset.Earlier; e == nil || e.From != from {
			return fmt.Errorf("the server has earlier rows from %+v, want %s", e, from)
		}
		return nil
	})
	if err != nil {
		server.stop()
		return nil, err
	}
	return server, nil
}
