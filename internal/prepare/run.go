package prepare

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Command is a program to run as part of a build.
type Command struct {
	Dir  string   // empty: the current one
	Env  []string // all of it
	Line func(line string) (seen bool)
	Argv []string
}

// lastLines is how many lines of a failed command its error holds.
const lastLines = 25

// Run runs the command, which ends with ctx and with this process. Line, if set,
// gets each line that the command prints; the error of a failed command holds the
// last ones for which it did not return true.
func (c Command) Run(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, c.Argv[0], c.Argv[1:]...)
	cmd.Dir, cmd.Env = c.Dir, c.Env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	r, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	var last []string
	read := make(chan struct{})
	go func() {
		defer close(read)
		sc := bufio.NewScanner(r)
		sc.Buffer(nil, 1<<20)
		for sc.Scan() {
			if c.Line != nil && c.Line(sc.Text()) {
				continue
			}
			if last = append(last, "  "+sc.Text()); len(last) > lastLines {
				last = last[1:]
			}
		}
		io.Copy(io.Discard, r)
	}()
	err := cmd.Run()
	w.Close()
	<-read
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", filepath.Base(c.Argv[0]), err, strings.Join(last, "\n"))
	}
	return nil
}
