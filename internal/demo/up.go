package demo

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"mlops/internal/api"
	"mlops/internal/dataset"
	"mlops/internal/host"
	"mlops/internal/local"
	"mlops/internal/mlflow"
	"mlops/internal/origin"
	"mlops/internal/overview"
	"mlops/internal/postgres"
	"mlops/internal/prepare"
	"mlops/internal/program"
	"mlops/internal/progress"
	"mlops/internal/registry"
	"mlops/internal/workflow"
)

// known is what the state keeps of each data set it has seen.
type known struct {
	Name  string `json:"name"`
	Model string `json:"model"`
	Spec  string `json:"spec"`  // path
	Table string `json:"table"` // URL of the one that was loaded last; empty: the spec's own address
}

// Up brings everything up, runs the pipeline, waits until the promoted version is
// served, and returns what to tell the user.
func Up(ctx context.Context, c *Config, d *progress.Reporter) (string, error) {
	began := time.Now()
	spec, err := dataset.Read(c.Spec)
	if err != nil {
		return "", program.Input(err)
	}
	var made *origin.Invented
	if c.Synthetic {
		if c.Dataset != "" {
			return "", program.Inputf("DATASET names a table and SYNTHETIC=1 asks for made-up rows: leave one of them out")
		}
		if made, err = origin.Invent(spec, c.State.Path("synthetic")); err != nil {
			return "", err
		}
		spec = made.Spec
	}
	set, err := workflow.Load(filepath.Join(c.Root, "workflows"))
	if err != nil {
		return "", program.Input(err)
	}
	lock, err := host.TryLock(c.State.Path("lock"), "make demo")
	if err != nil {
		return "", err
	}
	defer lock.Unlock()
	if n, err := c.State.Sweep(); err != nil {
		return "", err
	} else if n > 0 {
		d.Print(fmt.Sprintf("ended %d processes that a killed command had left", n))
	}

	s, err := bringUp(ctx, c, d, spec, made)
	if err != nil {
		return "", err
	}
	if err := s.pipeline(ctx, c, d, set); err != nil {
		return "", err
	}
	var view *api.Model
	err = d.Do("serving", func(*slog.Logger) (string, error) {
		if view, err = s.awaitServed(ctx); err != nil {
			return "", err
		}
		return fmt.Sprintf("version %s of %s", view.Model.Number, view.Model.Name), nil
	})
	if err != nil {
		return "", err
	}
	return s.answer(ctx, view, time.Since(began))
}

// places are where the demo looks for a data set's table.
func (c *Config) places(site, name string) (origin.Places, error) {
	p := origin.Places{Dataset: c.Dataset, Root: c.Root, Site: site}
	sets, err := knownSets(c.State)
	if err != nil {
		return p, err
	}
	for _, k := range sets {
		if k.Name == name {
			p.Last = k.Table
		}
	}
	return p, nil
}

// services are those of one demo.
type services struct {
	spec      *dataset.Spec
	specPath  string
	table     origin.Table
	venv      *prepare.Venv
	bin       string // folder of our programs
	postgres  *local.Postgres
	mlflow    *local.Record
	inference *local.Record
	key       string // an API key; empty: none is asked for
	ui        *local.Record
	journey   overview.Journey // of the rows through the pipeline
}

// backends starts Postgres and MLflow while our programs are compiled.
func (s *services) backends(ctx context.Context, c *Config, d *progress.Reporter) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		err := d.Do("virtual environment", func(log *slog.Logger) (said string, err error) {
			s.venv, err = openVenv(ctx, c, log)
			return "", err
		})
		if err != nil {
			return err
		}
		err = d.Do("table", func(*slog.Logger) (_ string, err error) {
			if s.spec.Synthetic && s.table.URL != "" {
				return s.table.From, nil
			}
			places, err := c.places(s.venv.Site, s.spec.Name)
			if err != nil {
				return "", err
			}
			s.table, err = places.Find(ctx, s.spec)
			return s.table.From, err
		})
		if err != nil {
			return err
		}
		err = d.Do("Postgres", func(log *slog.Logger) (_ string, err error) {
			if s.postgres, err = c.State.Postgres(ctx, log, s.venv); err != nil {
				return "", err
			}
			return portOf(s.postgres.Record), nil
		})
		if err != nil {
			return err
		}
		return d.Do("MLflow", func(log *slog.Logger) (_ string, err error) {
			if s.mlflow, err = c.State.MLflow(ctx, log, s.venv, s.postgres); err != nil {
				return "", err
			}
			return portOf(s.mlflow), grantFigures(ctx, s.postgres)
		})
	})
	group.Go(func() error {
		if s.bin = c.Bin; s.bin != "" {
			return nil
		}
		return d.Do("programs", func(log *slog.Logger) (_ string, err error) {
			if s.bin, err = prepare.BinFolder(c.Root, c.State.Path("bin")); err != nil {
				return "", err
			}
			return "", prepare.Programs(ctx, log, c.State.BuildEnv(), c.Root, s.bin, prepare.Demo...)
		})
	})
	return group.Wait()
}

func bringUp(ctx context.Context, c *Config, d *progress.Reporter, spec *dataset.Spec, made *origin.Invented) (*services, error) {
	s := &services{spec: spec, specPath: c.Spec}
	if made != nil {
		s.specPath, s.table = made.Path, made.Table
	}
	if err := s.backends(ctx, c, d); err != nil {
		return nil, err
	}
	if spec.Synthetic {
		d.Print(origin.Warning)
	}
	if s.table.Last {
		d.Print("no DATASET was given, and none was found where the YAML says: this run uses the table that was loaded last, " + s.table.From)
	}
	text, err := json.Marshal(known{spec.Name, spec.Model, s.specPath, s.table.URL})
	if err == nil {
		err = os.WriteFile(c.State.Path("datasets", spec.Name+".json"), text, 0o600)
	}
	if err != nil {
		return nil, fmt.Errorf("keeping the data set's name: %w", err)
	}
	_, signers, err := c.State.SigningKeys()
	if err != nil {
		return nil, err
	}
	keys, err := s.useKeys(c)
	if err != nil {
		return nil, err
	}
	hosts := cmp.Or(c.variable("MLOPS_HOSTS"), "localhost")
	// They are up before there is a model: the server then answers 503 and takes
	// each promoted version into service by itself.
	err = d.Do("inference server", func(log *slog.Logger) (_ string, err error) {
		s.inference, err = c.State.Program(ctx, log, "inference-"+spec.Name, filepath.Join(s.bin, "inference"), 8000, "/healthz", func(int) []string {
			// Its role may read the view of earlier rows, and nothing else.
			env := append(s.postgres.StepsEnv(), s.postgres.StepEnv("inference")...)
			return append(env, "MLOPS_HOSTS="+hosts, "MLOPS_SHADOW="+c.variable("MLOPS_SHADOW"), "MLOPS_MODEL="+spec.Model, "MLFLOW_TRACKING_URI="+s.mlflow.URL(), "MLOPS_CACHE="+c.State.Path("models", spec.Name), "MLOPS_SIGNERS="+string(signers), "MLOPS_API_KEYS="+keys)
		})
		if err != nil {
			return "", err
		}
		return portOf(s.inference), nil
	})
	if err != nil {
		return nil, err
	}
	err = d.Do("page", func(log *slog.Logger) (_ string, err error) {
		s.ui, err = c.State.Program(ctx, log, "ui-"+spec.Name, filepath.Join(s.bin, "ui"), 8501, "/healthz", func(int) []string {
			// Its role may read how versions did, and nothing else.
			env := append(s.postgres.StepsEnv(), s.postgres.StepEnv("ui")...)
			return append(env, "MLOPS_HOSTS="+hosts, "MLOPS_INFERENCE="+s.inference.URL(), "MLOPS_API_KEYS="+keys, "MLOPS_API_KEY="+s.key,
				fmt.Sprintf("MLOPS_LINKS=MLflow=:%d/#/models/{model}/versions/{version}", s.mlflow.Port))
		})
		if err != nil {
			return "", err
		}
		return portOf(s.ui), nil
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// variable is what the user's shell says, empty if nothing.
func (c *Config) variable(name string) (value string) {
	for _, e := range c.Environ {
		if v, ok := strings.CutPrefix(e, name+"="); ok {
			value = v
		}
	}
	return value
}

// useKeys returns what servers read API keys from, if the user's MLOPS_API_KEYS names a
// file of them: that and the file with the demo's own.
func (s *services) useKeys(c *Config) (string, error) {
	file := c.variable("MLOPS_API_KEYS")
	if file == "" {
		return "", nil
	}
	file, err := filepath.Abs(file)
	if err == nil {
		_, err = os.Stat(file)
	}
	if err != nil {
		return "", program.Inputf("MLOPS_API_KEYS: %w; make one: mlops key new --file FILE NAME", err)
	}
	s.key, err = c.State.APIKey(true)
	return file + string(filepath.ListSeparator) + c.State.OwnAPIKeys(), err
}

// pipeline runs the workflow of that name to its end.
func (s *services) pipeline(ctx context.Context, c *Config, d *progress.Reporter, set *workflow.Set) error {
	env := []string{c.State.Marker()}
	for _, e := range c.Environ {
		// What the user's shell says about other databases and servers must not
		// reach the steps.
		if !strings.HasPrefix(e, "PG") && !strings.HasPrefix(e, "MLFLOW_") && !strings.HasPrefix(e, "MLOPS_") {
			env = append(env, e)
		}
	}
	key, signers, err := c.State.SigningKeys()
	if err != nil {
		return err
	}
	env = append(env, "MLOPS_SIGNING_KEY="+string(key), "MLOPS_SIGNERS="+string(signers))
	env = append(env, s.postgres.StepsEnv()...)
	env = append(env, "MLFLOW_TRACKING_URI="+s.mlflow.URL(), "MLOPS_SPEC="+s.specPath, "MLOPS_XGBOOST="+s.venv.XGBoost(), "MLOPS_BY=make demo", "MLOPS_COMMIT="+prepare.Commit(ctx, c.Root))
	logs := c.State.Path("log", "pipeline-"+s.spec.Name)
	if err := os.RemoveAll(logs); err != nil {
		return fmt.Errorf("clearing the last run's logs: %w", err)
	}
	result, err := workflow.Run(ctx, workflow.Options{
		Set: set, Workflow: "pipeline",
		Parameters: map[string]string{"source": s.table.URL, "all": "true"},
		Program: func(image string) (string, bool) {
			path := filepath.Join(s.bin, imageName(image))
			fi, err := os.Stat(path)
			return path, err == nil && fi.Mode().IsRegular()
		},
		Env: env, ProgramEnv: func(image string) []string { return s.postgres.StepEnv(imageName(image)) },
		LogDir: logs, Grace: grace, Observe: d.Observe,
	})
	if err != nil {
		return ofTask(err)
	}
	for _, task := range result.Tasks {
		if err := s.journey.Add(task.Outputs); err != nil {
			return err
		}
	}
	return nil
}

// imageName is "train-model" for "mlops.local/train-model:1.2.3".
func imageName(image string) string {
	name := image[strings.LastIndexByte(image, '/')+1:]
	name, _, _ = strings.Cut(name, "@")
	name, _, _ = strings.Cut(name, ":")
	return name
}

// serveLimit is how long the server may take to serve the promoted version: it
// polls every second, and replays the samples first.
const serveLimit = time.Minute

// awaitServed returns what the server says of its model once that is the version
// in production.
func (s *services) awaitServed(ctx context.Context) (*api.Model, error) {
	client, err := mlflow.New(s.mlflow.URL(), mlflow.Options{UserAgent: "mlops-demo"})
	if err != nil {
		return nil, err
	}
	want, err := registry.New(client, s.spec.Model).Production(ctx)
	if errors.Is(err, registry.ErrNoVersion) {
		return nil, fmt.Errorf("the pipeline has ended, but no version of %s is in production", s.spec.Model)
	}
	if err != nil {
		return nil, err
	}
	inference := api.NewClient(s.inference.URL(), nil).WithKey(s.key)
	var last error
	for end := time.Now().Add(serveLimit); time.Now().Before(end); {
		var view *api.Model
		if last = inference.Ready(ctx); last == nil {
			view, last = inference.Model(ctx)
		}
		if last == nil && view.Model.Number == fmt.Sprint(want.Number) {
			return view, nil
		}
		if last == nil {
			last = fmt.Errorf("it serves version %s", view.Model.Number)
			if r := view.Refused; r != nil {
				last = fmt.Errorf("%w and has refused version %s: %s", last, r.Version, r.Reason)
			}
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
	return nil, fmt.Errorf("the server does not serve version %d of %s: %w", want.Number, s.spec.Model, last)
}

// grantFigures lets the page read how versions did.
func grantFigures(ctx context.Context, p *local.Postgres) error {
	conn, err := pgx.Connect(ctx, p.Admin("mlflow"))
	if err != nil {
		return fmt.Errorf("connecting to MLflow's database: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return postgres.GrantFigures(ctx, conn, postgres.FiguresRole)
}
