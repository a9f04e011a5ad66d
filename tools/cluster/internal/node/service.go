package node

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"mlops/tools/cluster/internal/host"
)

// service is one process of the node.
type service struct {
	name  string
	argv  []string
	env   []string
	group string                          // control group of its process, below the cluster's; empty: processGroup
	files []string                        // that it reads when it starts; a changed one restarts it
	ready func(ctx context.Context) error // nil once it serves
	limit time.Duration                   // for the start
	grace time.Duration                   // between SIGTERM and SIGKILL
}

// record is what the state keeps about a running service.
type record struct {
	Name         string `json:"name"`
	host.Process        // the one that was started
	Since        time.Time
	Digest       string `json:"digest"` // of everything that a restart would change
}

func (n *Node) recordPath(name string) string { return n.path("run", name+".json") }

// record returns the record of a service, or nil.
func (n *Node) record(name string) (*record, error) {
	text, err := os.ReadFile(n.recordPath(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading service's record: %w", err)
	}
	var r record
	if json.Unmarshal(text, &r) != nil {
		return nil, nil // truncated by a crash; the service is then found by its command line
	}
	return &r, nil
}

func (s *service) digest() (string, error) {
	h := sha256.New()
	for _, list := range [][]string{s.argv, s.env} {
		for _, x := range list {
			fmt.Fprintf(h, "%s\x00", x)
		}
		fmt.Fprint(h, "\x01")
	}
	for _, f := range s.files {
		text, err := os.ReadFile(f)
		if err != nil {
			return "", fmt.Errorf("reading the files of %s: %w", s.name, err)
		}
		fmt.Fprintf(h, "%s %d\x00", f, len(text))
		h.Write(text)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// runs reports whether the service runs with its current version and configuration.
func (n *Node) runs(s *service) (bool, error) {
	digest, err := s.digest()
	if err != nil {
		return false, err
	}
	r, err := n.record(s.name)
	return err == nil && r != nil && r.Digest == digest && r.Alive(), err
}

// start starts the service unless it runs as it should; a service that doesn't was
// stopped before. It doesn't wait until the service is ready.
func (n *Node) start(s *service) (started bool, err error) {
	if ok, err := n.runs(s); ok || err != nil {
		return false, err
	}
	digest, err := s.digest()
	if err != nil {
		return false, err
	}
	out, err := os.OpenFile(n.logPath(s.name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return false, fmt.Errorf("starting %s: %w", s.name, err)
	}
	defer out.Close()
	if err := host.CloseInherited(); err != nil {
		return false, fmt.Errorf("starting %s: %w", s.name, err)
	}
	cmd := exec.Command(s.argv[0], s.argv[1:]...)
	cmd.Dir = "/"
	cmd.Env = append(n.environ(), s.env...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return false, fmt.Errorf("starting %s: %w", s.name, err)
	}
	go func() { _ = cmd.Wait() }() // so that it leaves no zombie
	r := &record{Name: s.name, Since: time.Now(), Digest: digest}
	if r.Process, err = host.Identify(cmd.Process.Pid); err == nil {
		err = n.cgroup.Join(cmp.Or(s.group, processGroup), cmd.Process.Pid)
	}
	var text []byte
	if err == nil {
		text, err = json.MarshalIndent(r, "", "  ")
	}
	if err == nil {
		err = writeFile(n.recordPath(s.name), append(text, '\n'))
	}
	if err != nil {
		cmd.Process.Kill()
		return false, fmt.Errorf("starting %s: %w; the end of %s:\n%s", s.name, err, n.logPath(s.name), tail(n.logPath(s.name), 15))
	}
	return true, nil
}

// environ returns a service's environment. It inherits nothing, so that a service
// doesn't depend on the shell it was started from.
func (n *Node) environ() []string {
	return []string{n.mark(), "LANG=C.UTF-8", "HOME=/root", "PATH=" + n.build.Bin() + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
}

// await waits until the service is ready.
func (n *Node) await(ctx context.Context, s *service) error {
	r, err := n.record(s.name)
	if err != nil || r == nil {
		return fmt.Errorf("starting %s: no record of it: %w", s.name, err)
	}
	limit := time.After(s.limit)
	for {
		last := s.ready(ctx)
		if last == nil {
			return nil
		}
		if !r.Alive() {
			return fmt.Errorf("starting %s: it ended; the end of %s:\n%s", s.name, n.logPath(s.name), tail(n.logPath(s.name), 15))
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("starting %s: %w", s.name, ctx.Err())
		case <-limit:
			return fmt.Errorf("starting %s: not ready after %v (%w); the end of %s:\n%s", s.name, s.limit, last, n.logPath(s.name), tail(n.logPath(s.name), 15))
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// stop stops the service and deletes its record.
func (n *Node) stop(s *service) error {
	r, err := n.record(s.name)
	if err != nil {
		return err
	}
	var ps []host.Process
	if r != nil && r.Alive() {
		ps = append(ps, r.Process)
	} else {
		// A command that was killed right after it had started the service left no record.
		// The third argument tells the nodes apart.
		want := s.argv[slices.Index(s.argv, "--")+1:]
		want = want[:min(3, len(want))]
		ps = host.Named(func(argv []string) bool {
			return len(argv) >= len(want) && slices.Equal(argv[:len(want)], want)
		})
	}
	if err := host.End(ps, syscall.SIGTERM, s.grace); err != nil {
		return fmt.Errorf("stopping %s: %w", s.name, err)
	}
	if err := os.Remove(n.recordPath(s.name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("deleting the record of %s: %w", s.name, err)
	}
	return nil
}

// maxLog is the size in bytes above which `cluster up` copies a log and truncates
// it. Lines written between the two are lost.
const maxLog = 32 << 20

// trimLogs truncates the services' long logs. The services append to them, so they
// don't notice.
func (n *Node) trimLogs() error {
	for _, s := range n.services() {
		path := n.logPath(s.name)
		if fi, err := os.Stat(path); err != nil || fi.Size() <= maxLog {
			continue
		}
		text, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(path+".old", text, 0o600)
		}
		if err == nil {
			err = os.Truncate(path, 0)
		}
		if err != nil {
			return fmt.Errorf("truncating a log: %w", err)
		}
	}
	return nil
}

// tail returns the last n lines of a file, indented.
func tail(path string, n int) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return "  (" + err.Error() + ")"
	}
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	var b strings.Builder
	for _, l := range lines[max(0, len(lines)-n):] {
		fmt.Fprintf(&b, "  %s\n", l)
	}
	return strings.TrimRight(b.String(), "\n")
}
