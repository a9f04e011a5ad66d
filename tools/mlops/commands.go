package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"mlops/internal/demo"
	"mlops/internal/draft"
	"mlops/internal/local"
	"mlops/internal/prepare"
	"mlops/internal/program"
	"mlops/internal/progress"
)

// work is a command's action.
type work = func(ctx context.Context, out io.Writer, args []string) error

// commands are all, in the order in which help lists them.
func commands() []command {
	return slices.Concat(demoCommands(), []command{predictCommand(), scoreBatchCommand()}, historyCommands(), keyCommands(), developerCommands())
}

// asNextBatch is how the table would be added to each data set of one's own that the demo
// knows.
func asNextBatch(c *demo.Config, table string) string {
	specs, err := demo.Specs(c.State)
	if err != nil {
		return ""
	}
	var text strings.Builder
	for _, spec := range specs {
		if spec != c.Spec {
			fmt.Fprintf(&text, "\nor, as the next batch of a data set that the demo knows: make demo %s %s", draft.MakeVariable("SPEC", spec), draft.MakeVariable("DATASET", table))
		}
	}
	return text.String()
}

func demoCommands() []command {
	return []command{{
		name:  "demo up",
		short: "run the whole platform on this machine, without Kubernetes, to a served model",
		long: `
Starts Postgres, MLflow, the inference server and the web page on this machine, runs
the pipeline (load, clean, split, train, promote) and returns once the promoted model
is served. Run it again at any time: it does only what is new. With -target and no
-spec, it drafts the YAML of the table first, as mlops init does.`,
		define: func(f *flag.FlagSet) work {
			in := newInputs()
			in.spec(f)
			f.StringVar(&in.dataset, "dataset", os.Getenv("DATASET"), "path or `URL` of the data set's table, instead of the places the YAML names (also: DATASET)")
			what := &drafted{}
			what.flags(f)
			bin := f.String("bin", "", "`folder` of the demo's programs if they are compiled already (make demo sets it)")
			return func(ctx context.Context, out io.Writer, _ []string) error {
				c, err := in.config()
				if err != nil {
					return err
				}
				c.Bin, c.Synthetic = *bin, os.Getenv("SYNTHETIC") == "1"
				if what.target != "" && in.specPath == "" {
					if err := draftForDemo(ctx, out, c, what); err != nil {
						return err
					}
				}
				d := progress.New(os.Stdout, os.Getenv("TERM"), os.Getenv("NO_COLOR") == "")
				answer, err := demo.Up(ctx, c, d)
				d.Close()
				if err == nil {
					fmt.Fprint(out, answer)
				}
				if program.Code(err) == program.BadInput && in.dataset != "" && in.specPath == "" && what.target == "" {
					err = fmt.Errorf("%w\n%s was taken for a table of the shipped data set; for one of your own name the column to predict: make demo %s TARGET=COLUMN%s", err, in.dataset, draft.MakeVariable("DATASET", in.dataset), asNextBatch(c, in.dataset))
				}
				return err
			}
		},
	}, {
		name:  "demo down",
		short: "stop the demo; -purge=1 deletes its data, -purge=all its caches too",
		long: `
Stops every service that the demo started and keeps the data, so that the next
demo up continues from it.`,
		define: func(f *flag.FlagSet) work {
			in := newInputs()
			f.StringVar(&in.purge, "purge", os.Getenv("PURGE"), "what to delete: 1 for databases, artifacts and copies of models, `all` for the caches too (also: PURGE)")
			return func(_ context.Context, out io.Writer, _ []string) error {
				c, err := in.config()
				if err != nil {
					return err
				}
				return demo.Down(c, out)
			}
		},
	}, {
		name:  "status",
		short: "one screen: services or pods, rows, runs, the version in production",
		long: `
Shows what runs, how many rows were loaded, cleaned and rejected, the last training
runs and the model version in production. It changes nothing. The platform on
Kubernetes is shown too if it was installed from here.`,
		define: func(f *flag.FlagSet) work {
			in := newInputs()
			return func(ctx context.Context, out io.Writer, _ []string) error {
				c, err := in.config()
				if err != nil {
					return err
				}
				if err := platformStatus(ctx, c, out); err != nil {
					return err
				}
				return demo.Status(ctx, c, out)
			}
		},
	}, loadTestCommand(), initCommand(), {
		name:  "check",
		args:  "SPEC [FILE]",
		short: "report what would go wrong with a table and its YAML",
		long: `
Reads the data set's YAML (SPEC) and reports everything that is wrong with it, with
line numbers. Then opens its table (FILE, a path or URL; without FILE, the first of
the YAML's local paths that exists) and reads all of it as the load and the cleaning
would: the rows that they would reject, by reason and with an example, the target's
values, and splits with too few rows. STOP marks what would stop a run, and the
command then ends with exit code 2. Nothing is stored, and no service is needed. If
the demo is running and has rows of the data set, the table is compared with them too:
known keys, changed rows, rows that are gone, and columns whose values changed.`,
		define: func(*flag.FlagSet) work {
			return func(ctx context.Context, out io.Writer, args []string) error {
				switch len(args) {
				case 1:
					return check(ctx, out, args[0], "", demoRows)
				case 2:
					return check(ctx, out, args[0], args[1], demoRows)
				}
				return program.Inputf("check takes a data set's YAML and, at most, a table: mlops check SPEC [FILE]")
			}
		},
	}, {
		name:  "forget",
		args:  "SPEC",
		short: "remove one data set's rows and ledgers from the demo; its models stay",
		long: `
Removes the rows of one data set (SPEC is its YAML) from the databases raw and clean of
the demo, with their ledgers and what the demo keeps of its table. Says how many rows go
and asks first. Models, and what serves them, stay.`,
		define: func(f *flag.FlagSet) work {
			in := newInputs()
			yes := f.Bool("yes", os.Getenv("YES") == "1", "do not ask (also: YES=1)")
			return func(ctx context.Context, out io.Writer, args []string) error {
				if n := len(args); n > 1 && (args[n-1] == "--yes" || args[n-1] == "-yes") {
					*yes, args = true, args[:n-1] // after SPEC too
				}
				if len(args) == 1 {
					in.specPath = args[0]
				}
				if len(args) > 1 || in.specPath == "" {
					return program.Inputf("forget takes a data set's YAML: mlops forget SPEC")
				}
				c, err := in.config()
				if err != nil {
					return err
				}
				return demo.Forget(ctx, c, os.Stdin, out, *yes)
			}
		},
	}}
}

// developerCommands are for those who change the platform.
func developerCommands() []command {
	return []command{{
		name:      "check-demo",
		short:     "verify everything that a running demo serves",
		developer: true,
		long: `
Verifies a running demo: the alias and tag in MLflow against the version served, the
stored scores against /predict, the page, and that the rows add up.`,
		define: func(f *flag.FlagSet) work {
			in := newInputs()
			in.spec(f)
			rows := f.Int64("rows", 0, "number of `lines` in the source; 0: not checked")
			auc := f.Float64("auc", 0, "least AUC on the test rows")
			return func(ctx context.Context, out io.Writer, _ []string) error {
				c, err := in.config()
				if err != nil {
					return err
				}
				return demo.Check(ctx, c, out, *rows, *auc)
			}
		},
	}, {
		name:      "scratch",
		args:      "-- COMMAND [ARGUMENTS]",
		short:     "run a command with a home of its own, which is deleted afterwards",
		developer: true,
		long: `
Runs a command with an MLOPS_HOME of its own and the shared caches. When the command
ends, everything that runs in that home is stopped and the home is deleted.`,
		define: func(f *flag.FlagSet) work {
			in := newInputs()
			services := f.Bool("services", false, "start Postgres, MLflow and MinIO, and name them in MLOPS_TEST_*")
			noSync := f.Bool("no-sync", false, "with -services: Postgres does not wait for the disk; for tests, whose data ends with them")
			return func(ctx context.Context, _ io.Writer, args []string) error {
				c, err := in.config()
				if err != nil {
					return err
				}
				d := progress.New(os.Stdout, os.Getenv("TERM"), os.Getenv("NO_COLOR") == "")
				return demo.Scratch(ctx, c, d, demo.ScratchOptions{Services: *services, NoSync: *noSync}, args)
			}
		},
	}}
}

// inputs are what several commands take.
type inputs struct{ specPath, dataset, purge string }

func newInputs() *inputs { return &inputs{specPath: os.Getenv("SPEC")} }

func (in *inputs) spec(f *flag.FlagSet) {
	f.StringVar(&in.specPath, "spec", in.specPath, "the data set's YAML `file` (also: SPEC; default: the diabetes example)")
}

// config finds the project's folder and opens the state.
func (in *inputs) config() (*demo.Config, error) {
	root, err := prepare.Root()
	if err != nil {
		return nil, err
	}
	home, err := prepare.Home(os.Getenv("MLOPS_HOME"))
	if err != nil {
		return nil, err
	}
	if os.Geteuid() == 0 {
		syscall.Umask(0o022) // Postgres runs as another user, who has to read its programs
	}
	c := &demo.Config{Root: root, Spec: in.specPath, Dataset: in.dataset, Purge: in.purge, Environ: os.Environ()}
	if c.State, err = local.OpenState(home, os.Getenv("MLOPS_CACHE_HOME"), c.Environ); err != nil {
		return nil, err
	}
	if c.Spec == "" {
		c.Spec = filepath.Join("workflows", "datasets", "diabetes.yaml")
	}
	if !filepath.IsAbs(c.Spec) {
		c.Spec = filepath.Join(root, c.Spec)
	}
	c.Pythons = prepare.Pythons(os.Getenv("PYTHON"))
	return c, nil
}

// platformStatus shows the platform on Kubernetes if `make up` installed one from
// this home, or NAMESPACE names its namespace. That needs Kubernetes' client, which is a
// program of its own.
func platformStatus(ctx context.Context, c *demo.Config, out io.Writer) error {
	if _, err := os.Stat(c.State.Path("platform.json")); err != nil && os.Getenv("NAMESPACE") == "" {
		return nil
	}
	tool := filepath.Join(c.Root, "bin", "platform")
	if _, err := os.Stat(tool); err != nil {
		fmt.Fprintf(out, "A platform on Kubernetes was installed from here; make status shows it.\n\n")
		return nil
	}
	cmd := exec.CommandContext(ctx, tool, "status")
	cmd.Dir, cmd.Stdout, cmd.Stderr = c.Root, out, os.Stderr
	if err := cmd.Run(); err != nil {
		fmt.Fprintf(out, "bin/platform status: %v\n", err)
	}
	fmt.Fprintln(out)
	return nil
}
