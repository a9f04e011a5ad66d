package retry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

var errRefused = errors.New("refused")

func TestDo(t *testing.T) {
	t.Parallel()
	s := time.Second
	for _, tt := range []struct {
		why    string
		policy Policy
		errs   []error // of the tries; the last one repeats
		starts []time.Duration
		want   string
	}{
		{"at once", Policy{}, []error{nil}, []time.Duration{0}, ""},
		{"waits double up to the cap", Policy{Wait: s, MaxWait: 3 * s}, []error{errRefused, errRefused, errRefused, errRefused, nil}, []time.Duration{0, s, 3 * s, 6 * s, 9 * s}, ""},
		{"a steady wait", Policy{Wait: s, Factor: 1}, []error{errRefused, errRefused, nil}, []time.Duration{0, s, 2 * s}, ""},
		{"a first wait above the cap", Policy{Wait: 8 * s}, []error{errRefused, errRefused, nil}, []time.Duration{0, 8 * s, 16 * s}, ""},
		{"tries end", Policy{Tries: 2, Wait: s}, []error{errRefused}, []time.Duration{0, s}, "refused"},
		{"the last try starts when the patience ends", Policy{Patience: 4 * s, Wait: s}, []error{errRefused}, []time.Duration{0, s, 3 * s, 4 * s}, "refused"},
		{"a wait longer than the patience", Policy{Patience: 4 * s, Wait: 5 * s}, []error{errRefused}, []time.Duration{0}, "refused"},
		{"permanent", Policy{Tries: 5}, []error{errRefused, fmt.Errorf("reading: %w", Permanent(errors.New("no such bucket")))}, []time.Duration{0, s / 2}, "no such bucket"},
		{"later than the wait", Policy{Wait: s}, []error{Later(errRefused, 7*s), errRefused, nil}, []time.Duration{0, 7 * s, 9 * s}, ""},
		{"later than the patience", Policy{Wait: s, Patience: 5 * s}, []error{Later(errRefused, 6*s)}, []time.Duration{0}, "refused"},
	} {
		t.Run(tt.why, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				var starts []time.Duration
				err := Do(t.Context(), tt.policy, func(context.Context) error {
					starts = append(starts, time.Since(began))
					return tt.errs[min(len(starts), len(tt.errs))-1]
				})
				if got := fmt.Sprint(err); got != tt.want && (err != nil || tt.want != "") {
					t.Errorf("got error %v, want %q", err, tt.want)
				}
				if diff := cmp.Diff(tt.starts, starts); diff != "" {
					t.Errorf("tries (-want +got):\n%s", diff)
				}
				var exhausted *ExhaustedError
				if errors.As(err, &exhausted) != (tt.want == "refused") {
					t.Errorf("got %T, want an ExhaustedError only if a bound ended the tries", err)
				}
				if exhausted != nil && (exhausted.Tries != len(starts) || exhausted.Waited != starts[len(starts)-1] || !errors.Is(err, errRefused)) {
					t.Errorf("got %+v", exhausted)
				}
			})
		})
	}
}

func TestDoVariesTheWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		seen := map[time.Duration]bool{}
		for range 100 {
			began, tries := time.Now(), 0
			Do(t.Context(), Policy{Wait: time.Second, Jitter: 0.25}, func(context.Context) error {
				if tries++; tries == 1 {
					return errRefused
				}
				return nil
			})
			took := time.Since(began)
			if took < 750*time.Millisecond || took > 1250*time.Millisecond {
				t.Fatalf("got a wait of %v, want one within a quarter of 1s", took)
			}
			seen[took] = true
		}
		if len(seen) < 50 {
			t.Errorf("got %d different waits in 100", len(seen))
		}
	})
}

func TestDoEndsWithTheContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		told := errors.New("told to stop")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(3*time.Second, func() { cancel(told) })
		began := time.Now()
		err := Do(ctx, Policy{Wait: time.Hour}, func(context.Context) error { return errRefused })
		if !errors.Is(err, told) || !errors.Is(err, errRefused) || time.Since(began) != 3*time.Second {
			t.Errorf("while it waited: got %v after %v, want both causes after 3s", err, time.Since(began))
		}
		if err := Do(ctx, Policy{}, func(ctx context.Context) error { return ctx.Err() }); err != told {
			t.Errorf("in a try: got %v, want %v alone", err, told)
		}
	})
}

func TestDoBoundsATry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		err := Do(t.Context(), Policy{Tries: 2, TryLimit: time.Second}, func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		})
		var exhausted *ExhaustedError
		if !errors.As(err, &exhausted) || exhausted.Waited != 2500*time.Millisecond {
			t.Errorf("got %v (%+v), want two tries of 1s with 500ms between them", err, exhausted)
		}
	})
}

func TestDoLogs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}}))
		Do(t.Context(), Policy{Tries: 3, Wait: time.Second, Log: log, Level: slog.LevelWarn, Message: "waiting", Keys: func() []any { return []any{"bytes", 7} }},
			func(context.Context) error { return errRefused })
		want := "level=WARN msg=waiting try=1 waited=0s next_in=1s error=refused bytes=7\n" +
			"level=WARN msg=waiting try=2 waited=1s next_in=2s error=refused bytes=7\n"
		if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(out.String(), "\n")); diff != "" {
			t.Errorf("log (-want +got):\n%s", diff)
		}
	})
}

func TestMarksOfNil(t *testing.T) {
	t.Parallel()
	if Permanent(nil) != nil || Later(nil, time.Second) != nil || Later(errRefused, 0) != errRefused {
		t.Error("a mark on nothing: got an error")
	}
}
