package progress

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// clockAt returns a reporter with a clock that the test sets.
func clockAt(terminal, color bool) (*Reporter, *bytes.Buffer, *time.Time) {
	var out bytes.Buffer
	r := newReporter(&out, terminal, color)
	now := time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
	r.now = func() time.Time { return now }
	return r, &out, &now
}

func event(state State, elapsed time.Duration) Event {
	return Event{Task: "load", Path: "pipeline.load", State: state, Try: 1, Elapsed: elapsed}
}

func rows(done int64, elapsed time.Duration) Event {
	e := event(Running, elapsed)
	e.Progress = &Progress{Done: done, Total: 101766, Unit: "rows"}
	return e
}

func TestPlainLog(t *testing.T) {
	r, out, now := clockAt(false, true)
	pass := func(d time.Duration) { *now = now.Add(d) }
	r.Observe(event(Running, 0))
	pass(time.Second)
	r.Observe(rows(1000, time.Second)) // within five seconds: not told
	pass(4 * time.Second)
	r.Observe(rows(15000, 5*time.Second))
	pass(time.Second)
	r.Observe(rows(30000, 6*time.Second)) // again within five seconds
	line := event(Running, 6*time.Second)
	line.Line = `{"msg":"anything"}`
	r.Observe(line) // the steps' own log stays in its file
	retry := event(Running, 6*time.Second)
	retry.Message = "exit code 1; tries again in 5s"
	r.Observe(retry)
	pass(5 * time.Second)
	r.Observe(event(Running, 11*time.Second)) // the second try
	r.Observe(rows(101766, 11*time.Second))
	r.Observe(event(Succeeded, 12*time.Second))
	r.Observe(Event{Task: "promote", Path: "pipeline.promote", State: Omitted, Message: "its dependencies were not met"})
	r.breakSilence() // nothing runs
	r.Print("ready")
	want := []string{
		"15:04:05 load started",
		"15:04:10 load 15,000 of 101,766 rows (14 %) after 5.0 s",
		"15:04:11 ! load  exit code 1; tries again in 5s",
		"15:04:16 load 101,766 rows after 11 s",
		"15:04:16 ✓ load  101,766 rows  12 s",
		"15:04:16 – promote  omitted  its dependencies were not met",
		"15:04:16 ready",
	}
	if diff := cmp.Diff(want, strings.Split(strings.TrimSpace(out.String()), "\n")); diff != "" {
		t.Errorf("plain log (-want +got):\n%s", diff)
	}
}

func TestPlainLogIsNotSilent(t *testing.T) {
	r, out, now := clockAt(false, false)
	pass := func(d time.Duration) { *now = now.Add(d) }
	r.wrote = *now
	r.Observe(event(Running, 0))
	pass(3 * time.Second)
	r.breakSilence()
	pass(time.Second)
	r.breakSilence()
	r.breakSilence()
	r.Observe(rows(1000, 4*time.Second)) // reported with the line before
	other := event(Running, 0)
	other.Task, other.Path = "page", "pipeline.page"
	r.Observe(other)
	pass(4 * time.Second)
	r.breakSilence()
	want := []string{
		"15:04:05 load started",
		"15:04:09 … load  4.0 s",
		"15:04:09 page started",
		"15:04:13 … load  1,000 of 101,766 rows (0 %)  8.0 s, page  4.0 s",
	}
	if diff := cmp.Diff(want, strings.Split(strings.TrimSpace(out.String()), "\n")); diff != "" {
		t.Errorf("plain log (-want +got):\n%s", diff)
	}
}

// screen plays what was written to a terminal and returns the lines on it.
func screen(t *testing.T, written string) []string {
	t.Helper()
	lines := []string{""}
	at := 0
	for written != "" {
		var up int
		switch {
		case strings.HasPrefix(written, "\x1b[J"):
			lines = lines[:at+1]
			lines[at] = ""
			written = written[3:]
		case strings.HasPrefix(written, "\x1b["):
			end := strings.IndexByte(written, 'A')
			for _, c := range written[2:end] {
				up = up*10 + int(c-'0')
			}
			if at -= up; at < 0 {
				t.Fatalf("went %d lines above the first", -at)
			}
			written = written[end+1:]
		case written[0] == '\n':
			if at++; at == len(lines) {
				lines = append(lines, "")
			}
			written = written[1:]
		case written[0] == '\r':
			written = written[1:]
		default:
			lines[at] += written[:1]
			written = written[1:]
		}
	}
	return lines
}

func TestTerminal(t *testing.T) {
	r, out, now := clockAt(true, false)
	start := func(name string) {
		r.Observe(Event{Task: name, Path: "p." + name, State: Running, Try: 1})
	}
	start("train(0:a)")
	start("train(1:b)")
	*now = now.Add(65 * time.Second)
	r.Observe(Event{Task: "train(1:b)", Path: "p.train(1:b)", State: Running, Try: 1,
		Progress: &Progress{Done: 120, Total: 500, Unit: "trees"}})
	want := []string{"⠋ train(0:a)  1 min 05 s", "⠋ train(1:b)  120 of 500 trees (24 %)  1 min 05 s", ""}
	if diff := cmp.Diff(want, screen(t, out.String())); diff != "" {
		t.Errorf("two tasks that run (-want +got):\n%s", diff)
	}
	r.Observe(Event{Task: "train(1:b)", Path: "p.train(1:b)", State: Failed, Try: 3, Message: "exit code 2", Elapsed: 66 * time.Second})
	want = []string{"✗ train(1:b)  failed  exit code 2  1 min 06 s", "⠋ train(0:a)  1 min 05 s", ""}
	if diff := cmp.Diff(want, screen(t, out.String())); diff != "" {
		t.Errorf("one ended, one runs (-want +got):\n%s", diff)
	}
	r.width = func() int { return 20 }
	r.frame++
	r.draw("")
	if got := screen(t, out.String())[1]; got != "⠙ train(0:a)  1 mi…" {
		t.Errorf("a narrow terminal shows %q", got)
	}
	r.Close()
	want = []string{"✗ train(1:b)  failed  exit code 2  1 min 06 s", ""}
	if diff := cmp.Diff(want, screen(t, out.String())); diff != "" {
		t.Errorf("after Close (-want +got):\n%s", diff)
	}
}

func TestColor(t *testing.T) {
	for _, test := range []struct {
		why             string
		terminal, color bool
		want            bool
	}{
		{"a terminal may have color", true, true, true},
		{"NO_COLOR is kept to", true, false, false},
		{"a file gets none", false, true, false},
	} {
		r, out, _ := clockAt(test.terminal, test.color)
		r.Observe(event(Succeeded, time.Second))
		if got := strings.Contains(out.String(), "\x1b[32m"); got != test.want {
			t.Errorf("%s: color %v, want %v", test.why, got, test.want)
		}
	}
}

func TestClock(t *testing.T) {
	for _, test := range []struct {
		d    time.Duration
		want string
	}{
		{0, "0.0 s"},
		{9990 * time.Millisecond, "9.9 s"},
		{59900 * time.Millisecond, "59 s"},
		{time.Minute, "1 min 00 s"},
		{3725 * time.Second, "1 h 02 min"},
	} {
		if got := clock(test.d); got != test.want {
			t.Errorf("clock(%s) = %q, want %q", test.d, got, test.want)
		}
	}
}

func TestThousands(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 101766: "101,766", 1234567: "1,234,567", -1000: "-1,000"} {
		if got := Count(n); got != want {
			t.Errorf("Count(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestFigure(t *testing.T) {
	t.Parallel()
	for x, want := range map[float64]string{0.6854321: "0.6854", 0: "0.0000", 1: "1.0000", -0.5: "-0.5000", 12.34567: "12.3457", 16740.565822: "16740.6", 0.000817123: "0.0008171", 3.2e-9: "3.2e-09"} {
		if got := Figure(x); got != want {
			t.Errorf("%v: got %q, want %q", x, got, want)
		}
	}
}
