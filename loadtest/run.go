package loadtest

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"mlops/internal/retry"
)

// Run loads a server stage by stage and reports the results. When the context ends, it
// sends no more requests, waits for the responses still due, and marks the report as
// stopped; so a caller can load a server for as long as it needs to. An error means
// that nothing was sent.
func Run(ctx context.Context, cfg Config) (Report, error) {
	cfg, err := cfg.defaults()
	if err != nil {
		return Report{}, err
	}
	cfg.Target = strings.TrimRight(cfg.Target, "/")
	if cfg.Bodies == nil {
		if cfg.Bodies, err = Samples(ctx, cfg.Target, cfg.Key); err != nil {
			return Report{}, err
		}
	}
	to, requests, err := prepare(&cfg)
	if err != nil {
		return Report{}, err
	}
	cfg = cfg.Share.apply(cfg)
	report := newReport(cfg)
	stages := len(cfg.Users) + len(cfg.Rates)
	for i := 0; i < stages && ctx.Err() == nil; i++ {
		pause(ctx, time.Until(cfg.Share.begins(i, cfg.Duration)))
		if ctx.Err() != nil {
			break
		}
		l := &load{cfg: &cfg, to: to, requests: requests}
		if len(cfg.Rates) > 0 {
			l.rate = cfg.Rates[i]
		} else {
			l.users = cfg.Users[i]
		}
		stage := l.run(ctx)
		stage.Sustained = stage.sustained(cfg.MaxErrors)
		report.Stages = append(report.Stages, stage)
		if cfg.OnStage != nil {
			cfg.OnStage(stage)
		}
	}
	report.Stopped = ctx.Err() != nil
	report.sumUp()
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
	tardy  atomic.Int64 // requests at a fixed rate that this program was too late for
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
		plan = newSchedule(start, l.rate, l.cfg.Duration, l.cfg.Share)
		for range l.cfg.Most {
			all.Go(func() { l.worker(ctx, plan) })
		}
	} else {
		for i := range l.users {
			all.Go(func() { l.user(ctx, i*max(l.cfg.Share.Of, 1)+l.cfg.Share.Index) })
		}
	}
	all.Wait()
	s := l.count.stage(start)
	s.Users, s.Rate = l.users, l.rate
	s.Connections = l.opened.Load()
	s.Seconds = l.cfg.Duration.Seconds()
	succeeded := l.count.inWindow.Load()
	if ctx.Err() != nil && time.Now().Before(l.end) {
		s.Seconds = time.Since(start).Seconds()
		succeeded = s.Requests - s.Failed
	}
	s.PerSecond = float64(succeeded) / s.Seconds
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

// unreachablePause is how long a user that could not connect waits before its next
// request. Without it, one that is refused at once would fill the report with failures
// while the others wait for responses.
const unreachablePause = 100 * time.Millisecond

// user is a closed loop: each user has one request at a time.
func (l *load) user(ctx context.Context, number int) {
	c := l.client()
	defer c.close()
	if l.cfg.Think > 0 { // spread the users' starts
		pause(ctx, time.Duration(float64(l.cfg.Think)*float64(number)/float64(l.users*max(l.cfg.Share.Of, 1))))
	}
	seen := l.count.seen()
	for n := number; ctx.Err() == nil; n++ {
		start := time.Now()
		if !start.Before(l.end) {
			return
		}
		version, err := c.send(&l.requests[n%len(l.requests)])
		seen.add(start, start, version, err)
		wait := l.cfg.Think
		if f, ok := errors.AsType[*failure](err); ok && f.kind == NotConnected {
			wait = max(wait, unreachablePause)
		}
		if wait > 0 {
			pause(ctx, min(wait, time.Until(l.end)))
		}
	}
}

// worker sends one request of the schedule after another. There is a worker per
// connection; requests that fall due while all of them wait for responses are missed.
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
			return // the stage was stopped
		}
		sent := time.Now()
		if sent.Sub(due) > maxLateness {
			l.tardy.Add(1)
			continue
		}
		version, err := c.send(&l.requests[(i*int64(max(l.cfg.Share.Of, 1))+int64(l.cfg.Share.Index))%int64(len(l.requests))])
		seen.add(due, sent, version, err)
	}
}

// pause waits for d, or until the context ends.
func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	retry.Sleep(ctx, d)
}
