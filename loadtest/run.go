package loadtest

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Run loads a server stage by stage and reports what came back. When the context
// ends, no more requests are sent, those under way are waited for, and the report
// says that it was stopped; so a caller may load a server for as long as it does
// something to it. An error means that nothing could be sent at all.
func Run(ctx context.Context, cfg Config) (Report, error) {
	cfg, err := cfg.defaults()
	if err != nil {
		return Report{}, err
	}
	cfg.Target = strings.TrimRight(cfg.Target, "/")
	if cfg.Bodies == nil {
		if cfg.Bodies, err = Samples(ctx, cfg.Target); err != nil {
			return Report{}, err
		}
	}
	to, requests, err := prepare(&cfg)
	if err != nil {
		return Report{}, err
	}
	report := newReport(cfg)
	stages := len(cfg.Users) + len(cfg.Rates)
	for i := 0; i < stages && ctx.Err() == nil; i++ {
		l := &load{cfg: &cfg, to: to, requests: requests}
		if len(cfg.Rates) > 0 {
			l.rate = cfg.Rates[i]
		} else {
			l.users = cfg.Users[i]
		}
		stage := l.run(ctx)
		stage.Held = stage.held(cfg.MaxErrors)
		report.Stages = append(report.Stages, stage)
		if cfg.OnStage != nil {
			cfg.OnStage(stage)
		}
	}
	report.Stopped = ctx.Err() != nil
	report.judge()
	return report, nil
}

// load is one stage while it runs.
type load struct {
	cfg      *Config
	to       *endpoint
	requests []request
	users    int     // either users
	rate     float64 // or a rate

	end    time.Time // no request begins after it
	count  tally
	tardy  atomic.Int64 // requests of a rate that this program was late for
	opened atomic.Int64 // connections
}

func (l *load) run(ctx context.Context) Stage {
	before := usageNow()
	start := time.Now()
	l.end = start.Add(l.cfg.Duration)
	l.count.window = l.end
	var all sync.WaitGroup
	var plan *schedule
	if l.rate > 0 {
		plan = newSchedule(start, l.rate, l.cfg.Duration)
		for range l.cfg.Most {
			all.Go(func() { l.worker(ctx, plan) })
		}
	} else {
		for i := range l.users {
			all.Go(func() { l.user(ctx, i) })
		}
	}
	all.Wait()
	s := l.count.stage(start)
	s.Users, s.Rate = l.users, l.rate
	s.Connections = l.opened.Load()
	s.Seconds = l.cfg.Duration.Seconds()
	well := l.count.inWindow.Load()
	if ctx.Err() != nil && time.Now().Before(l.end) {
		s.Seconds = time.Since(start).Seconds()
		well = s.Requests - s.Failed
	}
	s.PerSecond = float64(well) / s.Seconds
	if plan != nil {
		s.Missed = &Missed{Busy: plan.missed(), Late: l.tardy.Load()}
	}
	s.Generator = before.since()
	s.Warnings = s.Generator.warnings()
	return s
}

func (l *load) client() *client {
	return &client{endpoint: l.to, opened: func() { l.opened.Add(1) }}
}

// unreachablePause is how long a user whose connection could not be opened waits
// before the next request. Without it, one that is refused at once would fill the
// report with failures while the others wait for answers.
const unreachablePause = 100 * time.Millisecond

// user is a closed loop: the number of requests under way is the number of users.
func (l *load) user(ctx context.Context, number int) {
	c := l.client()
	defer c.close()
	if l.cfg.Think > 0 { // not all at the same moment
		pause(ctx, time.Duration(float64(l.cfg.Think)*float64(number)/float64(l.users)))
	}
	seen := l.count.seen()
	for n := number; ctx.Err() == nil; n++ {
		start := time.Now()
		if !start.Before(l.end) {
			return
		}
		version, err := c.ask(&l.requests[n%len(l.requests)])
		seen.add(start, start, version, err)
		wait := l.cfg.Think
		if f, ok := err.(*failure); ok && f.kind == NotConnected {
			wait = max(wait, unreachablePause)
		}
		if wait > 0 {
			pause(ctx, min(wait, time.Until(l.end)))
		}
	}
}

// worker sends one request of the schedule after the other. As many workers as
// there may be connections wait in a row; when all are waiting for answers, the
// requests that become due are missed.
func (l *load) worker(ctx context.Context, plan *schedule) {
	c := l.client()
	defer c.close()
	seen := l.count.seen()
	for ctx.Err() == nil {
		i, due, ok := plan.take(time.Now())
		if !ok {
			return
		}
		pause(ctx, time.Until(due))
		if ctx.Err() != nil {
			return // not due any more
		}
		sent := time.Now()
		if sent.Sub(due) > late {
			l.tardy.Add(1)
			continue
		}
		version, err := c.ask(&l.requests[i%int64(len(l.requests))])
		seen.add(due, sent, version, err)
	}
}

// pause waits, or until the context ends.
func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
