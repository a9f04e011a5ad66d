package metrics

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Schedule is when a workflow is to start again and again.
type Schedule struct {
	Workflow string
	Text     string                          // tells it from an earlier schedule of the workflow
	Next     func(after time.Time) time.Time // zero: never
}

var (
	scheduleNext = prometheus.NewDesc("mlops_schedule_next_timestamp_seconds", "Unix time at which a workflow's schedule starts it next.", []string{"workflow"}, nil)
	scheduleDue  = prometheus.NewDesc("mlops_schedule_due_timestamp_seconds", "Unix time at which a workflow's schedule last was to start it, since the page knows the schedule; 0 before.", []string{"workflow"}, nil)
)

// WatchSchedules adds when workflows are due, by schedules that are read at each scrape.
func (m *Page) WatchSchedules(read func() []Schedule) {
	c := &scheduleCollector{read: read, now: time.Now, known: map[string]dueTime{}}
	c.follow()
	m.registry.MustRegister(c)
}

// scheduleCollector follows schedules from when it first saw them.
type scheduleCollector struct {
	read func() []Schedule
	now  func() time.Time

	mu    sync.Mutex
	known map[string]dueTime // by workflow and text
}

// dueTime is when a schedule last was due, or else when it was first seen.
type dueTime struct {
	at  time.Time
	due bool
}

func (c *scheduleCollector) Describe(to chan<- *prometheus.Desc) {
	to <- scheduleNext
	to <- scheduleDue
}

// follow brings the due times up to now.
func (c *scheduleCollector) follow() []Schedule {
	list, now := c.read(), c.now()
	known := make(map[string]dueTime, len(list))
	for _, s := range list {
		key := s.Workflow + " " + s.Text
		d, ok := c.known[key]
		if !ok {
			d.at = now
		}
		for next := s.Next(d.at); !next.IsZero() && !next.After(now); next = s.Next(next) {
			d = dueTime{next, true}
		}
		known[key] = d
	}
	c.known = known
	return list
}

func (c *scheduleCollector) Collect(to chan<- prometheus.Metric) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.follow() {
		d := c.known[s.Workflow+" "+s.Text]
		if next := s.Next(d.at); !next.IsZero() {
			to <- prometheus.MustNewConstMetric(scheduleNext, prometheus.GaugeValue, float64(next.Unix()), s.Workflow)
		}
		due := 0.0
		if d.due {
			due = float64(d.at.Unix())
		}
		to <- prometheus.MustNewConstMetric(scheduleDue, prometheus.GaugeValue, due, s.Workflow)
	}
}
