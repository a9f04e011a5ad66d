package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"mlops/internal/prepare"
	"mlops/internal/program"
	"mlops/internal/progress"
	"mlops/internal/workflow"
)

// ScoreBatch runs the workflow score-batch on the running demo; from and to are its
// parameters. It writes the report.
func ScoreBatch(ctx context.Context, c *Config, d *progress.Reporter, out io.Writer, from, to string) error {
	if !strings.Contains(from, "://") && from != "" {
		// A file wins over a table of its name.
		if path, err := filepath.Abs(from); err == nil {
			if _, err := os.Stat(path); err == nil {
				from = path
			}
		}
	}
	sets, err := knownSets(c.State)
	if err != nil {
		return err
	}
	records, err := c.State.Records()
	if err != nil {
		return err
	}
	env := []string{c.State.Marker()}
	for _, e := range c.Environ { // with AWS_..., for s3://
		if !strings.HasPrefix(e, "PG") && !strings.HasPrefix(e, "MLFLOW_") && !strings.HasPrefix(e, "MLOPS_") {
			env = append(env, e)
		}
	}
	serving, server, err := Server(c)
	if err != nil {
		return err
	}
	pg := 0
	for _, r := range records {
		if r.Name == "postgres" && r.Alive() {
			pg = r.Port
		}
	}
	if pg == 0 {
		return program.Inputf("no demo runs in %s; make demo starts one", c.State.Dir)
	}
	for _, k := range sets {
		if k.Name == serving {
			env = append(env, "MLOPS_SPEC="+k.Spec)
		}
	}
	key, err := c.State.APIKey(false)
	if err != nil {
		return err
	}
	env = append(env, "MLOPS_API_KEY="+strings.TrimSpace(key), "PGHOST=127.0.0.1", fmt.Sprintf("PGPORT=%d", pg))
	secrets, err := c.State.Secrets()
	if err != nil {
		return err
	}
	set, err := workflow.Load(filepath.Join(c.Root, "workflows"))
	if err != nil {
		return program.Input(err)
	}
	bin := c.State.Path("bin")
	if err := d.Do("program", func(log *slog.Logger) (string, error) {
		return "", prepare.Programs(ctx, log, c.State.BuildEnv(), c.Root, bin, "./images/score-batch")
	}); err != nil {
		return err
	}
	result, err := workflow.Run(ctx, workflow.Options{
		Set: set, Workflow: "score-batch",
		Parameters: map[string]string{"from": from, "to": to, "server": server},
		Program:    func(image string) (string, bool) { return filepath.Join(bin, imageName(image)), true },
		Env:        env, ProgramEnv: func(image string) []string { return secrets.StepEnv(imageName(image)) },
		LogDir: c.State.Path("log", "score-batch-"+serving), Grace: grace, Observe: d.Observe,
	})
	if err != nil {
		return ofTask(err)
	}
	for _, task := range result.Tasks {
		if report := task.Outputs["report"]; report != "" {
			fmt.Fprintln(out, report)
		}
	}
	return nil
}

// ofTask is the error of a workflow: of the kind program.Input if one of its tasks says that
// its input is wrong.
func ofTask(err error) error {
	var failed *workflow.TaskError
	if errors.As(err, &failed) && failed.ExitCode == program.BadInput {
		return program.Input(err)
	}
	return err
}
