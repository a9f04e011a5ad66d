package demo

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"mlops/internal/host"
	"mlops/internal/local"
	"mlops/internal/program"
)

// Down stops all services of the state, dependents first, and deletes what
// Config.Purge names.
func Down(c *Config, out io.Writer) error {
	switch c.Purge {
	case "", "0", "1", "all":
	default:
		return program.Inputf("PURGE=%s: want 1 (databases, artifacts, copies of models) or all (the caches too)", c.Purge)
	}
	lock, err := host.TryLock(c.State.Path("lock"), "make demo-down")
	if err != nil {
		return err
	}
	defer lock.Unlock()
	stopped, err := stopAll(c.State)
	for _, line := range stopped {
		fmt.Fprintln(out, line)
	}
	if err != nil {
		return err
	}
	if len(stopped) == 0 {
		fmt.Fprintf(out, "nothing is running in %s\n", c.State.Dir)
	}
	if c.Purge == "1" || c.Purge == "all" {
		if err := c.State.Purge(c.Purge == "all"); err != nil {
			return err
		}
		fmt.Fprintf(out, "deleted the data in %s\n", c.State.Dir)
	}
	return nil
}

// stopAll stops every service of the state and what killed commands left, and
// says what it stopped.
func stopAll(s *local.State) ([]string, error) {
	records, err := s.Records()
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(records, func(a, b *local.Record) int { return needed(a.Name) - needed(b.Name) })
	var said []string
	for _, r := range records {
		did, err := s.Down(r)
		if err != nil {
			return said, err
		}
		if did {
			said = append(said, fmt.Sprintf("stopped %s (process %d, port %d)", r.Name, r.PID, r.Port))
		}
	}
	n, err := s.Sweep()
	if n > 0 {
		said = append(said, fmt.Sprintf("ended %d processes that a killed command had left", n))
	}
	return said, err
}

// needed is greater for services that others need.
func needed(name string) int {
	switch {
	case name == "postgres":
		return 3
	case name == "mlflow", name == "minio":
		return 2
	case strings.HasPrefix(name, "inference-"):
		return 1
	}
	return 0
}
