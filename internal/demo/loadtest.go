package demo

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"
)

// LoadTest runs the load tester's page against the demo's inference server until it is
// interrupted, or against another server if target is set. Its program gets the
// arguments as they are, and the environment.
func LoadTest(ctx context.Context, c *Config, out io.Writer, environ []string, path, target string, args []string) error {
	key := ""
	if target == "" {
		var err error
		if _, target, err = Server(c); err != nil {
			return fmt.Errorf("%w, and -target names another server", err)
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
