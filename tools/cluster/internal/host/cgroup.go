package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/moby/sys/mountinfo"
)

// Cgroup is a control group below the root of every hierarchy. cgroup v2 has one
// hierarchy, v1 has one per controller.
type Cgroup struct {
	dirs []string // one per hierarchy
	v2   bool     // there is no v1 hierarchy
}

// OpenCgroup finds the hierarchies. It creates nothing.
func OpenCgroup(name string) (*Cgroup, error) {
	mounts, err := mountinfo.GetMounts(nil)
	if err != nil {
		return nil, fmt.Errorf("reading mounts: %w", err)
	}
	c := &Cgroup{v2: true}
	for _, m := range mounts {
		if m.FSType == "cgroup" || m.FSType == "cgroup2" {
			if dir := filepath.Join(m.Mountpoint, name); !slices.Contains(c.dirs, dir) {
				c.dirs = append(c.dirs, dir)
			}
			c.v2 = c.v2 && m.FSType == "cgroup2"
		}
	}
	if len(c.dirs) == 0 {
		return nil, errors.New("no cgroup file system is mounted on this machine, so containers can't run")
	}
	return c, nil
}

// Make creates the group, with all processors and memory of its parent, and sub
// below it.
func (c *Cgroup) Make(sub string) error {
	for _, d := range c.dirs {
		for _, dir := range []string{d, filepath.Join(d, sub)} {
			if c.v2 {
				enableAll(filepath.Dir(dir))
			}
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return fmt.Errorf("creating a cgroup: %w", err)
			}
			// A new v1 group has no processors and memory, and accepts no process until it does.
			for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
				own, err := os.ReadFile(filepath.Join(dir, file))
				if c.v2 || err != nil || strings.TrimSpace(string(own)) != "" {
					continue
				}
				text, err := os.ReadFile(filepath.Join(filepath.Dir(dir), file))
				if err == nil {
					err = os.WriteFile(filepath.Join(dir, file), text, 0o644)
				}
				if err != nil {
					return fmt.Errorf("assigning processors to a cgroup: %w", err)
				}
			}
		}
	}
	return nil
}

// enableAll enables all controllers of a v2 group for its children, one by one, so
// that one that can't be enabled (because of a real-time process, say) doesn't
// affect the others.
func enableAll(dir string) {
	text, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return
	}
	for _, name := range strings.Fields(string(text)) {
		_ = os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+name), 0o644)
	}
}

// Join moves a process into the group's sub.
func (c *Cgroup) Join(sub string, pid int) error {
	for _, d := range c.dirs {
		if err := os.WriteFile(filepath.Join(d, sub, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0o644); err != nil {
			return fmt.Errorf("moving a process into its cgroup: %w", err)
		}
	}
	return nil
}

// Processes returns the processes in the group's sub and all groups below it.
func (c *Cgroup) Processes(sub string) []Process {
	seen := map[int]bool{}
	var ps []Process
	for _, d := range c.dirs {
		_ = filepath.WalkDir(filepath.Join(d, sub), func(path string, e fs.DirEntry, err error) error {
			if err != nil || !e.IsDir() {
				return nil
			}
			text, _ := os.ReadFile(filepath.Join(path, "cgroup.procs"))
			for _, f := range strings.Fields(string(text)) {
				pid, err := strconv.Atoi(f)
				if err != nil || seen[pid] || pid == os.Getpid() {
					continue
				}
				seen[pid] = true
				if p, err := Identify(pid); err == nil && p.Alive() {
					ps = append(ps, p)
				}
			}
			return nil
		})
	}
	return ps
}

// Kill kills all processes in the group's sub, including those started meanwhile.
func (c *Cgroup) Kill(sub string) (int, error) {
	killed := map[Process]bool{}
	for end := time.Now().Add(15 * time.Second); ; {
		ps := c.Processes(sub)
		if len(ps) == 0 {
			return len(killed), nil
		}
		for _, p := range ps {
			killed[p] = true
			_ = p.Signal(syscall.SIGKILL)
		}
		if time.Now().After(end) {
			return len(killed), fmt.Errorf("%d processes still run after SIGKILL", len(ps))
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// Remove deletes the group and all groups below it. They must contain no process.
func (c *Cgroup) Remove() error {
	for _, d := range c.dirs {
		var dirs []string
		_ = filepath.WalkDir(d, func(path string, e fs.DirEntry, err error) error {
			if err == nil && e.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
		for _, dir := range slices.Backward(dirs) {
			err := rmdir(dir)
			if err != nil {
				return fmt.Errorf("deleting a cgroup: %w", err)
			}
		}
	}
	return nil
}

// rmdir deletes a group and waits briefly if its last process has just ended.
func rmdir(dir string) error {
	var err error
	for range 100 {
		if err = os.Remove(dir); err == nil || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return err
}
