package loadtest

import (
	"context"
	"strings"
	"time"
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
	target, err := cfg.prepare()
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
		stage := cfg.stage(ctx, target, i)
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

// maxLateness is how long after its time a stage's request at a fixed rate may still
// begin. Later ones are counted and left out: sent anyway, they would arrive in bursts,
// which is another load than a fixed rate.
const maxLateness = 10 * time.Millisecond

// prepare returns where requests go and what they are.
func (c *Config) prepare() (*prepared, error) {
	t := Target{Name: "predict", Method: "POST", URL: c.Target + c.Path, Bodies: c.Bodies}
	if c.Key != "" {
		t.Headers = map[string]string{"Authorization": "Bearer " + c.Key}
	}
	p, err := t.prepare(Span(c.Timeout))
	if err != nil {
		return nil, err
	}
	p.check, p.accepts = c.Answer, nil
	return p, nil
}

// stage runs the i-th stage as a session of its own, and waits for its end.
func (c *Config) stage(ctx context.Context, target *prepared, i int) Stage {
	p := Plan{Model: ClosedModel, Think: Span(c.Think), Timeout: Span(c.Timeout), Connections: c.Most}
	var stage Stage
	segment := Segment{For: Span(c.Duration)}
	if len(c.Rates) > 0 {
		p.Model, p.Arrivals, stage.Rate, segment.Level = OpenModel, Even, c.Rates[i], c.Rates[i]
	} else {
		stage.Users, segment.Level = c.Users[i], float64(c.Users[i])
	}
	p.Shape = []Segment{segment}
	s := newSession(p, []*prepared{target}, []int{0})
	s.share = c.Share
	if p.Model == OpenModel {
		s.patience, s.missed = maxLateness, &Missed{}
	}
	s.start(ctx)
	<-s.Done()
	s.fill(&stage)
	return stage
}

// fill makes a stage of a session of one target that has ended.
func (s *Session) fill(to *Stage) {
	t := s.tallies[0]
	to.Began, to.Connections, to.Missed = s.began.UTC(), s.opened.Load(), s.missed
	to.Latency, to.counted = t.latency.latency(), t.latency.all()
	to.Errors, to.Failures = s.causes.byKind()
	to.Versions = s.versions.all()
	to.Failed = t.failed.Load()
	to.Requests = to.Failed + t.latency.n.Load()
	if s.plan.Model == OpenModel && t.service.n.Load() > 0 {
		sent := t.service.latency()
		to.Sent, to.sent = &sent, t.service.all()
	}
	succeeded := t.latency.n.Load() - s.afterwards.Load()
	to.Seconds = length(s.plan.Shape).Seconds()
	if took := s.ended.Sub(s.began); s.aborted && took.Seconds() < to.Seconds {
		to.Seconds = took.Seconds()
	}
	to.PerSecond = float64(succeeded) / to.Seconds
	to.Generator = s.own
	to.Warnings = to.Generator.warnings()
}

func (h *histogram) latency() Latency {
	return Latency{
		Mean: milliseconds(h.mean()),
		P50:  milliseconds(h.quantile(0.50)),
		P95:  milliseconds(h.quantile(0.95)),
		P99:  milliseconds(h.quantile(0.99)),
		Max:  milliseconds(h.quantile(1)),
	}
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
