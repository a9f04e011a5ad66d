package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"mlops/internal/dataset"
	"mlops/internal/program"
)

// LoadTest runs the load tester's page against the demo's inference server until it is
// interrupted, or against another server if target is set. Its program gets the
// arguments as they are, and the environment.
func LoadTest(ctx context.Context, c *Config, out io.Writer, environ []string, path, target string, args []string) error {
	key := ""
	if target == "" {
		records, err := c.State.Records()
		if err != nil {
			return err
		}
		alive := map[string]string{}
		for _, r := range records {
			if name, ok := strings.CutPrefix(r.Name, "inference-"); ok && r.Alive() {
				alive[name] = localhost(r)
			}
		}
		own := ""
		if spec, err := dataset.Read(c.Spec); err == nil {
			own = spec.Name
		}
		if target, err = chooseServer(alive, own); err != nil {
			return program.Inputf("%w in %s; make demo starts one, and -target names another server", err, c.State.Dir)
		}
		if key, err = c.State.APIKey(false); err != nil {
			return err
		}
	}
	fmt.Fprintf(out, "the page http://localhost:8089 loads %s until it is interrupted (Ctrl-C)\n", target)
	cmd := exec.CommandContext(ctx, path, append([]string{"serve", "-any-target", "-target=" + target}, args...)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
	cmd.Stdout, cmd.Stderr = out, os.Stderr
	cmd.Env = environ
	if key = strings.TrimSpace(key); key != "" {
		cmd.Env = append(slices.Clone(environ), "MLOPS_API_KEY="+key)
	}
	if err := cmd.Run(); err != nil && ctx.Err() == nil {
		return fmt.Errorf("the load tester ended: %w", err)
	}
	return nil
}

// chooseServer returns the address of one of the servers that run, by their data sets: that
// of the data set asked for, else the only one.
func chooseServer(alive map[string]string, own string) (string, error) {
	if target := alive[own]; target != "" {
		return target, nil
	}
	switch names := slices.Sorted(maps.Keys(alive)); len(names) {
	case 0:
		return "", errors.New("no demo runs")
	case 1:
		return alive[names[0]], nil
	default:
		return "", fmt.Errorf("demos of %s run, and none of %s", strings.Join(names, ", "), own)
	}
}
