package workflow

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"time"

	"mlops/internal/progress"
)

// processes runs containers as programs of this machine.
type processes struct {
	program func(image string) (string, bool)
	env     []string
	dir     string
	grace   time.Duration

	programEnv func(image string) []string // may be nil
}

// tailLines is how many lines of a log an error shows.
const tailLines = 8

// unsafe are the characters of a task's path that its files' names don't take.
var unsafe = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

func (p processes) try(ctx context.Context, t *Task, outputs []output, deadline time.Duration, say func(progress.Event)) (map[string]string, *failure) {
	base := filepath.Join(p.dir, strings.Trim(unsafe.ReplaceAllString(t.Path, "-"), "-"))
	fail := &failure{state: progress.Errored, exitCode: -1, log: base + ".log"}
	errored := func(format string, args ...any) (map[string]string, *failure) {
		fail.reason = fmt.Sprintf(format, args...)
		return nil, fail
	}
	path, ok := p.program(t.Image)
	if !ok {
		return errored("no program on this machine for image %s", t.Image)
	}
	fail.program = path

	// Each try starts with an empty folder, as in a new pod.
	folder := base + ".outputs"
	if err := os.RemoveAll(folder); err != nil {
		return errored("emptying the folder of its outputs: %v", err)
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return errored("making the folder of its outputs: %v", err)
	}
	flags := os.O_CREATE | os.O_WRONLY | os.O_APPEND
	if t.Tries == 1 {
		flags |= os.O_TRUNC
	}
	log, err := os.OpenFile(fail.log, flags, 0o644)
	if err != nil {
		return errored("opening its log: %v", err)
	}
	defer log.Close()

	if deadline > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, deadline, fmt.Errorf("ran longer than %s", deadline))
		defer cancel()
	}
	lines := &lineWriter{log: log, say: say}
	err = p.start(ctx, path, t, folder, lines)
	lines.flush()
	fail.tail = lines.tail
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil && err != nil:
		fail.state, fail.reason = progress.Failed, context.Cause(ctx).Error()
		return nil, fail
	case errors.As(err, &exit) && exit.Exited():
		fail.state, fail.exitCode, fail.reason = progress.Failed, exit.ExitCode(), fmt.Sprintf("exit code %d", exit.ExitCode())
		return nil, fail
	case errors.As(err, &exit):
		// A cluster reports a killed container by the shell's rule.
		status, _ := exit.Sys().(syscall.WaitStatus)
		fail.state, fail.exitCode, fail.reason = progress.Failed, 128+int(status.Signal()), "killed by signal: "+status.Signal().String()
		return nil, fail
	case err != nil:
		return errored("%v", err)
	}
	fail.exitCode = 0
	written := map[string]string{}
	for _, o := range outputs {
		text, err := os.ReadFile(filepath.Join(folder, o.file))
		if err != nil {
			if !errors.Is(err, os.ErrNotExist) {
				return errored("reading output %s: %v", o.name, err)
			}
			if o.fallback == nil {
				return errored("it succeeded but did not write its output %s", o.name)
			}
			text = []byte(*o.fallback)
		}
		written[o.name] = strings.TrimSuffix(string(text), "\n") // as Argo does
	}
	return written, nil
}

// start runs the program in a process group of its own and waits for its end.
// When ctx ends the group gets SIGTERM, and SIGKILL after the grace period.
func (p processes) start(ctx context.Context, path string, t *Task, folder string, lines *lineWriter) error {
	// On Linux the child is killed when the thread that started it ends, which
	// must therefore be this one until the child has ended.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	cmd := exec.CommandContext(ctx, path, t.Args...)
	for _, name := range sortedKeys(t.Env) {
		cmd.Env = append(cmd.Env, name+"="+t.Env[name])
	}
	cmd.Env = append(cmd.Env, p.env...) // the last of a name counts
	if p.programEnv != nil {
		cmd.Env = append(cmd.Env, p.programEnv(t.Image)...)
	}
	cmd.Env = append(cmd.Env, "MLOPS_OUTPUTS="+folder)
	cmd.SysProcAttr = processAttributes()
	// A pipe of our own: one of exec's would make Wait wait for whoever else has
	// it open.
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	defer read.Close()
	cmd.Stdout, cmd.Stderr = write, write
	ended := make(chan struct{})
	cmd.Cancel = func() error {
		group := -cmd.Process.Pid
		go func() {
			select {
			case <-time.After(p.grace):
				syscall.Kill(group, syscall.SIGKILL)
			case <-ended:
			}
		}()
		if err := syscall.Kill(group, syscall.SIGTERM); !errors.Is(err, syscall.ESRCH) {
			return err
		}
		return os.ErrProcessDone
	}
	err = cmd.Start()
	write.Close()
	if err != nil {
		return err
	}
	copied := make(chan error, 1)
	go func() {
		_, err := io.Copy(lines, read)
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			io.Copy(io.Discard, read) // the program must not wait for a reader
			copied <- err
			return
		}
		copied <- nil
	}()
	err = cmd.Wait()
	close(ended)
	// As in a container, processes that the first one left behind end with it.
	// One that has left the group too may keep the pipe open, but nobody waits
	// for that.
	syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	read.SetReadDeadline(time.Now().Add(time.Second))
	if copyErr := <-copied; err == nil {
		err = copyErr
	}
	return err
}

// lineWriter takes what a program prints: all of it goes to the log, each line
// to the observer, the last ones are kept.
type lineWriter struct {
	log  io.Writer
	say  func(progress.Event)
	part []byte // of a line that has not ended
	tail []string
}

// maxLine is the length in bytes up to which a line is looked at as one.
const maxLine = 64 << 10

func (w *lineWriter) Write(p []byte) (int, error) {
	if n, err := w.log.Write(p); err != nil {
		return n, fmt.Errorf("writing the log: %w", err)
	}
	w.part = append(w.part, p...)
	for {
		i := bytes.IndexByte(w.part, '\n')
		switch {
		case i >= 0:
			w.line(string(bytes.TrimSuffix(w.part[:i], []byte("\r"))))
			w.part = w.part[i+1:]
		case len(w.part) >= maxLine:
			w.flush()
		default:
			return len(p), nil
		}
	}
}

// flush takes the rest as a line.
func (w *lineWriter) flush() {
	if len(w.part) > 0 {
		w.line(string(w.part))
		w.part = nil
	}
}

func (w *lineWriter) line(text string) {
	if p := parseProgress(text); p != nil {
		w.say(progress.Event{Progress: p})
		return
	}
	if w.tail = append(w.tail, text); len(w.tail) > tailLines {
		w.tail = w.tail[1:]
	}
	w.say(progress.Event{Line: text})
}
