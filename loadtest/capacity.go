package loadtest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

// Search says how Capacity looks for the most load that a server sustains.
type Search struct {
	Rate   bool    // look for requests per second instead of users
	From   float64 // the first level tried; default 1 user or 10 requests per second
	Most   float64 // the highest; default 10,000 users or a million requests per second
	Repeat int     // how often the search is done; default 5
	// OnTry is called after each stage, if set.
	OnTry func(Stage)
}

// Capacity is the most users or requests per second at which a server keeps its
// objective.
type Capacity struct {
	Unit      string    `json:"unit"`
	Found     []float64 `json:"found"` // by each search, ascending
	Median    float64   `json:"median"`
	Low       float64   `json:"low"`
	High      float64   `json:"high"`
	Sure      float64   `json:"sure"`      // the probability with which Low to High holds the median of all searches
	Unlimited bool      `json:"unlimited"` // the highest level was sustained in some search
	Stages    []Stage   `json:"stages"`    // of all levels tried
}

// relative is how closely a search ends: the level that is not sustained is at most
// this part above the one that is (or one user).
const relative = 0.05

// FindCapacity searches Repeat times: it doubles the level until a stage is not
// sustained and then halves the gap. The objective is cfg's MaxErrors and P99, and each
// stage lasts cfg's Duration.
func FindCapacity(ctx context.Context, cfg Config, s Search) (Capacity, error) {
	if cfg.Bodies == nil {
		var err error
		if cfg, err = cfg.defaults(); err != nil {
			return Capacity{}, err
		}
		if cfg.Bodies, err = Samples(ctx, cfg.Target, cfg.Key); err != nil {
			return Capacity{}, err
		}
	}
	return s.find(func(level float64) (Stage, bool, error) {
		cfg := cfg
		cfg.Users, cfg.Rates = []int{int(level)}, nil
		if s.Rate {
			cfg.Users, cfg.Rates = nil, []float64{level}
		}
		r, err := Run(ctx, cfg)
		switch {
		case err != nil:
			return Stage{}, false, err
		case r.Stopped:
			return Stage{}, false, errStopped
		}
		return r.Stages[0], r.Passed(), nil
	})
}

// FindPlanCapacity is FindCapacity for the targets of a plan, of whatever server, which
// was checked and loaded. Each level is held for a while in place of the plan's shape. The
// objective is the plan's thresholds, or fewer than 20 % failed requests if it has none. At
// a rate, a request that can't begin within 10 ms of its time counts as failed, as it does
// in a stage: sent later, it would be another load than the one that is tried.
func FindPlanCapacity(ctx context.Context, p Plan, each time.Duration, s Search) (Capacity, error) {
	s.Rate = p.Model == OpenModel
	if p.Thresholds == (Thresholds{}) {
		p.Thresholds.Errors = new(0.2)
	}
	return s.find(func(level float64) (Stage, bool, error) {
		p := p
		p.Shape = []Segment{{Level: level, For: Span(each)}}
		session, err := ready(p)
		if err != nil {
			return Stage{}, false, err
		}
		if s.Rate {
			session.patience = maxLateness
		}
		session.start(ctx)
		<-session.Done()
		r := session.Result()
		if r.Stopped {
			return Stage{}, false, errStopped
		}
		l := r.Total.Latency
		stage := Stage{
			Began: r.Began, Seconds: r.Total.Seconds, Requests: r.Total.Requests, Failed: r.Total.Failed, PerSecond: r.Total.PerSecond,
			Latency: Latency{Mean: l.Mean, P50: l.P50, P95: l.P95, P99: l.P99, Max: l.Max}, Connections: r.Opened, Sustained: r.Passed(), Generator: r.Generator, Warnings: r.Warnings,
		}
		stage.Errors, stage.Failures = session.causes.byKind()
		stage.Versions = session.versions.all()
		if stage.Rate = level; !s.Rate {
			stage.Users, stage.Rate = int(level), 0
		}
		return stage, stage.Sustained, nil
	})
}

var errStopped = errors.New("the search was stopped")

// find searches with the stages that try goes through, of which it says whether the
// objective was kept.
func (s Search) find(try func(level float64) (Stage, bool, error)) (Capacity, error) {
	c := Capacity{Unit: "users"}
	s.From = max(s.From, 1)
	if s.Rate {
		c.Unit, s.From = "requests per second", max(s.From, 10)
		if s.Most == 0 {
			s.Most = maxRate
		}
	}
	if s.Most == 0 {
		s.Most = maxUsers
	}
	if s.Repeat == 0 {
		s.Repeat = 5
	}
	if s.Repeat < 1 || s.Most < s.From {
		return c, fmt.Errorf("can't search %d times from %v to %v", s.Repeat, s.From, s.Most)
	}
	for range s.Repeat {
		found, unlimited, err := highest(func(level float64) (bool, error) {
			stage, kept, err := try(level)
			if err != nil {
				return false, err
			}
			c.Stages = append(c.Stages, stage)
			if s.OnTry != nil {
				s.OnTry(stage)
			}
			return kept, nil
		}, s.From, s.Most, !s.Rate)
		if err != nil {
			return c, err
		}
		c.Found = append(c.Found, found)
		c.Unlimited = c.Unlimited || unlimited
	}
	slices.Sort(c.Found)
	c.Median, c.Low, c.High = c.Found[(len(c.Found)-1)/2], c.Found[0], c.Found[len(c.Found)-1]
	// The median lies outside of the smallest and largest of n only if all are on one
	// side of it.
	c.Sure = 1 - math.Pow(2, 1-float64(len(c.Found)))
	return c, nil
}

// highest returns the highest level that passes, 0 if not even the first does, and
// whether the highest one allowed does.
func highest(try func(level float64) (bool, error), from, most float64, whole bool) (level float64, unlimited bool, err error) {
	passed, failed := 0.0, 0.0
	for next := from; failed == 0; next = min(2*next, most) {
		ok, err := try(next)
		switch {
		case err != nil:
			return 0, false, err
		case !ok:
			failed = next
		case next == most:
			return most, true, nil
		default:
			passed = next
		}
	}
	for passed > 0 && failed-passed > relative*failed {
		middle := (passed + failed) / 2
		if whole {
			if middle = math.Floor(middle); middle <= passed {
				break
			}
		}
		ok, err := try(middle)
		switch {
		case err != nil:
			return 0, false, err
		case ok:
			passed = middle
		default:
			failed = middle
		}
	}
	return passed, false, nil
}

// Sum states the capacity in a line.
func (c *Capacity) Sum() string {
	if c.Median == 0 && !c.Unlimited {
		return "the objective was not kept at the lowest level tried"
	}
	text := fmt.Sprintf("keeps the objective up to %.5g %s (median of %d searches; %.5g to %.5g, an interval for the median at %.0f %%)", c.Median, c.Unit, len(c.Found), c.Low, c.High, 100*c.Sure)
	if len(c.Found) == 1 {
		text = fmt.Sprintf("keeps the objective up to %.5g %s (one search)", c.Median, c.Unit)
	}
	if c.Unlimited {
		text += "; the highest level allowed was kept, so it may be more"
	}
	return text
}
