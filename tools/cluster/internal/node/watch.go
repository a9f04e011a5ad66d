package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"mlops/tools/cluster/internal/host"
)

// watcherName is the service that starts the others again.
const watcherName = "watcher"

// watcher is this program, watching. A new build of it replaces the running one.
func (n *Node) watcher() *service {
	self, err := os.Executable()
	if err != nil {
		self = os.Args[0]
	}
	return &service{
		name:  watcherName,
		argv:  []string{self, "watch"},
		env:   []string{"MLOPS_HOME=" + n.home, "MLOPS_CACHE_HOME=" + filepath.Dir(filepath.Dir(n.build.Dir))},
		files: []string{self},
		ready: n.running(watcherName),
		limit: time.Minute, grace: 5 * time.Second,
	}
}

const (
	watchPause = time.Second     // between two looks
	maxBackoff = time.Minute     // before a service that ends at once is started again
	calmAfter  = 2 * time.Minute // a service that ran as long as this is started again at once
)

// Watch starts services again that have ended without having been stopped, until the
// context ends. It leaves the node alone while another command changes it.
func (n *Node) Watch(ctx context.Context) error {
	starts := map[string]*backoff{}
	tick := time.NewTicker(watchPause)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := n.revive(starts, time.Now()); err != nil {
			n.log.Error("starting services again", "error", err)
		}
	}
}

// revive starts what has ended.
func (n *Node) revive(starts map[string]*backoff, now time.Time) error {
	lock, err := host.TryLock(n.path("lock"), "cluster watch")
	var held *host.HeldError
	if errors.As(err, &held) {
		return nil
	}
	if err != nil {
		return err
	}
	defer lock.Unlock()
	var errs []error
	for _, s := range n.services() {
		if s.name == watcherName {
			continue
		}
		r, err := n.record(s.name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if r == nil || r.Alive() { // stopped on purpose, or well
			continue
		}
		b := starts[s.name]
		if b == nil {
			b = &backoff{}
			starts[s.name] = b
		}
		if !b.allows(now, r.Since) {
			continue
		}
		if _, err := n.start(s); err != nil {
			errs = append(errs, err)
			continue
		}
		n.log.Warn("service had ended and was started again", "service", s.name, "process", r.PID, "ran", now.Sub(r.Since).Round(time.Second), "log", n.logPath(s.name))
	}
	return errors.Join(errs...)
}

// backoff delays the starts of a service that keeps ending.
type backoff struct {
	pause time.Duration
	next  time.Time
}

// allows reports whether a service that was started at since, and has ended, may be
// started now; the next time it has to wait longer, unless it ran for long.
func (b *backoff) allows(now, since time.Time) bool {
	if b.next.IsZero() && now.Sub(since) >= calmAfter || !b.next.IsZero() && now.Sub(b.next) >= calmAfter {
		*b = backoff{}
	}
	if now.Before(b.next) {
		return false
	}
	b.pause = min(max(time.Second, 2*b.pause), maxBackoff)
	b.next = now.Add(b.pause)
	return true
}

// kill ends one service's process at once, as a fault would.
func (n *Node) kill(name string) error {
	r, err := n.record(name)
	if err != nil {
		return err
	}
	if r == nil || !r.Alive() {
		return fmt.Errorf("service %s does not run", name)
	}
	p, err := os.FindProcess(r.PID)
	if err == nil {
		err = p.Kill()
	}
	if err != nil {
		return fmt.Errorf("killing %s: %w", name, err)
	}
	return nil
}
