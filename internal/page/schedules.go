package page

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/robfig/cron/v3"

	"mlops/internal/metrics"
)

// WatchSchedules adds when workflows are due to the page's metrics, by a folder's files
// schedules, a line per workflow with its name and a cron expression, and timezone. They
// are read again at each scrape; without them there are none.
func (s *Server) WatchSchedules(dir string) {
	said := ""
	s.metrics.WatchSchedules(func() []metrics.Schedule {
		list, err := readSchedules(dir)
		text := ""
		if err != nil {
			text = err.Error()
		}
		if text != said && text != "" {
			s.log.Warn("schedules can't be read", "error", text)
		}
		said = text
		return list
	})
}

// WatchCertificates adds the ends of a folder's certificates to the page's metrics; see
// metrics.Page.WatchCertificates.
func (s *Server) WatchCertificates(dir string) { s.metrics.WatchCertificates(dir, s.log) }

// readSchedules returns the schedules that can be read, and what is wrong with the others.
func readSchedules(dir string) ([]metrics.Schedule, error) {
	text, err := os.ReadFile(filepath.Join(dir, "schedules"))
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	zone, err := os.ReadFile(filepath.Join(dir, "timezone"))
	if err != nil {
		return nil, err
	}
	var list []metrics.Schedule
	var bad error
	for lines := bufio.NewScanner(strings.NewReader(string(text))); lines.Scan(); {
		workflow, when, _ := strings.Cut(strings.TrimSpace(lines.Text()), " ")
		if workflow == "" {
			continue
		}
		spec := when
		if !strings.HasPrefix(when, "@every") {
			spec = "CRON_TZ=" + strings.TrimSpace(string(zone)) + " " + when
		}
		schedule, err := cron.ParseStandard(spec)
		if err != nil {
			bad = fmt.Errorf("schedule of %s: %q: %w", workflow, when, err)
			continue
		}
		list = append(list, metrics.Schedule{Workflow: workflow, Text: spec, Next: schedule.Next})
	}
	return list, bad
}
