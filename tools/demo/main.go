// Command demo runs the whole platform on this machine without Kubernetes: it is
// behind `make demo`, `make demo-down`, `make status` and the services that
// `make test` starts.
//
//	demo up                  services, pipeline, a served model
//	demo down                stops them; PURGE=1 deletes the data, PURGE=all the caches too
//	demo status              one screen
//	demo check [-rows N]     asks a running demo whether all it serves is right
//	demo scratch [-services] -- command...
//	                         runs a command with a state of its own, which ends with it
//
// It reads the environment: MLOPS_HOME (the state; default $HOME/.mlops, for root
// /var/lib/mlops), MLOPS_CACHE_HOME (what states share; default cache in
// MLOPS_HOME), SPEC (a data set's YAML), DATASET (path or URL of its table),
// PURGE, PYTHON (an interpreter), TERM and NO_COLOR.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"mlops/internal/local"
	"mlops/internal/program"
	"mlops/internal/progress"
)

// config is all that the commands take from outside.
type config struct {
	root    string // the project's folder
	spec    string // path of the data set's YAML
	dataset string // path or URL; empty: found
	purge   string
	pythons []string
	state   *local.State
	environ []string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		var failed *commandError
		var exit *exec.ExitError
		if errors.As(err, &failed) && errors.As(failed, &exit) && exit.ExitCode() > 0 {
			os.Exit(exit.ExitCode())
		}
		os.Exit(program.Code(err))
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return program.Inputf("want a command: up, down, status, check or scratch")
	}
	c, err := configure()
	if err != nil {
		return err
	}
	flags := flag.NewFlagSet("demo "+args[0], flag.ContinueOnError)
	switch args[0] {
	case "up", "down", "status":
		if err := flags.Parse(args[1:]); err != nil {
			return program.Input(err)
		}
		if flags.NArg() > 0 {
			return program.Inputf("%s takes no arguments, got %q", args[0], flags.Args())
		}
		switch args[0] {
		case "status":
			return status(ctx, c, os.Stdout)
		case "down":
			return down(c, os.Stdout)
		}
		d := progress.New(os.Stdout, os.Getenv("TERM"), os.Getenv("NO_COLOR") == "")
		answer, err := up(ctx, c, d)
		d.Close()
		if err == nil {
			fmt.Print(answer)
		}
		return err
	case "check":
		rows := flags.Int64("rows", 0, "lines that the source has; 0: not checked")
		auc := flags.Float64("auc", 0, "least AUC on the test rows")
		if err := flags.Parse(args[1:]); err != nil {
			return program.Input(err)
		}
		return check(ctx, c, os.Stdout, *rows, *auc)
	case "scratch":
		services := flags.Bool("services", false, "start Postgres, MLflow and MinIO for tests and name them in the environment (MLOPS_TEST_*)")
		if err := flags.Parse(args[1:]); err != nil {
			return program.Input(err)
		}
		d := progress.New(os.Stdout, os.Getenv("TERM"), os.Getenv("NO_COLOR") == "")
		return scratch(ctx, c, d, *services, flags.Args())
	}
	return program.Inputf("no command %q, only up, down, status, check and scratch", args[0])
}

func configure() (*config, error) {
	root, err := local.Root()
	if err != nil {
		return nil, err
	}
	home, err := local.Home(os.Getenv("MLOPS_HOME"))
	if err != nil {
		return nil, err
	}
	if os.Geteuid() == 0 {
		syscall.Umask(0o022) // Postgres runs as somebody else, who has to read its programs
	}
	c := &config{root: root, dataset: os.Getenv("DATASET"), purge: os.Getenv("PURGE"), environ: os.Environ()}
	if c.state, err = local.OpenState(home, os.Getenv("MLOPS_CACHE_HOME"), c.environ); err != nil {
		return nil, err
	}
	c.spec = program.EnvOr("SPEC", filepath.Join("workflows", "datasets", "diabetes.yaml"))
	if !filepath.IsAbs(c.spec) {
		c.spec = filepath.Join(root, c.spec)
	}
	c.pythons = local.Pythons(os.Getenv("PYTHON"))
	return c, nil
}

// grace is how long a step has to end when the demo is stopped.
const grace = 10 * time.Second
