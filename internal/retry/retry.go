// Package retry repeats work that failed for a transient reason.
//
// It is small on purpose. cenkalti/backoff, the usual library, ends up to one
// pause before the time it was given instead of shortening the last pause,
// can't tell its caller which bound ended the tries, and drops the cause and
// starts its pauses again when a server says how long to wait. Each of these is
// visible to our users: in "could not be reached for 1m0s", in the number of tries
// that an error states, and in how clients treat a server under load.
package retry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"
)

// Policy bounds the tries. Without Tries and Patience they end only with the
// context or a permanent error.
type Policy struct {
	Tries    int           // at most so many; 0: no limit
	Patience time.Duration // no try starts later than this after the first one; 0: no limit
	TryLimit time.Duration // for one try; 0: no limit

	Wait    time.Duration // before the second try; 0: 500 ms
	Factor  float64       // by which the wait grows with each try; 0: 2
	MaxWait time.Duration // which the wait doesn't exceed; 0: 5 s
	Jitter  float64       // share by which a wait varies at random, so that clients that failed together don't return together

	Log     *slog.Logger // gets each failed try that is followed by another; nil: none
	Level   slog.Level
	Message string       // of the log line: "waiting for Postgres"
	Keys    func() []any // further keys of the log line and their values; nil: none
}

// ExhaustedError says that a bound of the policy ended the tries. Its text is
// the last try's error; callers add what matters to their users.
type ExhaustedError struct {
	Tries  int
	Waited time.Duration // since the first try
	Err    error         // of the last try
}

func (e *ExhaustedError) Error() string { return e.Err.Error() }
func (e *ExhaustedError) Unwrap() error { return e.Err }

// permanentError is an error that another try can't fix.
type permanentError struct{ error }

func (e permanentError) Unwrap() error { return e.error }

// Permanent marks an error as one that another try can't fix. Permanent(nil)
// is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return permanentError{err}
}

// laterError is an error that says when to try again.
type laterError struct {
	error
	after time.Duration
}

func (e laterError) Unwrap() error { return e.error }

// Later marks an error as one after which the next try should not start before a
// time, as in HTTP's Retry-After. A shorter wait is prolonged to it.
func Later(err error, after time.Duration) error {
	if err == nil || after <= 0 {
		return err
	}
	return laterError{err, after}
}

// Do calls work until it succeeds. Otherwise it returns the error of the last try:
//   - without its mark if it is permanent,
//   - after the context's cause if the context has ended,
//   - in an *ExhaustedError if the policy allows no further try.
func Do(ctx context.Context, p Policy, work func(ctx context.Context) error) error {
	began := time.Now()
	wait := p.Wait
	if wait == 0 {
		wait = 500 * time.Millisecond
	}
	for try := 1; ; try++ {
		err := once(ctx, p.TryLimit, work)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return stopped(ctx, err)
		}
		var permanent permanentError
		if errors.As(err, &permanent) {
			return permanent.error
		}
		waited := time.Since(began)
		pause, ok := nextPause(p, wait, waited, err)
		if p.Tries > 0 && try >= p.Tries || !ok {
			return &ExhaustedError{Tries: try, Waited: waited, Err: unmarked(err)}
		}
		if p.Log != nil {
			keys := []any{"try", try, "waited", waited.Round(time.Millisecond).String(), "next_in", pause.Round(time.Millisecond).String(), "error", err.Error()}
			if p.Keys != nil {
				keys = append(keys, p.Keys()...)
			}
			p.Log.Log(ctx, p.Level, p.Message, keys...)
		}
		if !Sleep(ctx, pause) {
			return stopped(ctx, err)
		}
		wait = grow(p, wait)
	}
}

func once(ctx context.Context, limit time.Duration, work func(ctx context.Context) error) error {
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	return work(ctx)
}

// nextPause returns the wait, varied, prolonged to what the error says, and
// shortened so that the last try starts when the patience ends. ok is false if it
// has ended, if the error says to return only after that, or if the wait alone is
// longer than all of it.
func nextPause(p Policy, wait, waited time.Duration, err error) (pause time.Duration, ok bool) {
	pause = time.Duration(float64(wait) * (1 + p.Jitter*(2*rand.Float64()-1)))
	var later laterError
	if errors.As(err, &later) {
		pause = max(pause, later.after)
	}
	if p.Patience == 0 {
		return pause, true
	}
	left := p.Patience - waited
	if left <= 0 || later.after > left || wait > p.Patience {
		return 0, false
	}
	return min(pause, left), true
}

func grow(p Policy, wait time.Duration) time.Duration {
	factor, limit := p.Factor, p.MaxWait
	if factor == 0 {
		factor = 2
	}
	if limit == 0 {
		limit = 5 * time.Second
	}
	return max(wait, min(time.Duration(factor*float64(wait)), limit)) // a first wait above the limit stays
}

// stopped returns the context's cause together with the last error.
func stopped(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	if err = unmarked(err); errors.Is(err, cause) || errors.Is(err, ctx.Err()) {
		return cause
	}
	return fmt.Errorf("%w (last error: %w)", cause, err)
}

// unmarked returns the error without Later's mark if that is its outermost layer.
func unmarked(err error) error {
	if later, ok := err.(laterError); ok { //lint:ignore errorlint the outermost layer is meant
		return later.error
	}
	return err
}

// Sleep waits for d and reports whether it did, or false once the context ends.
func Sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
