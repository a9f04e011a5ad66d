// Package progress is what running tasks report, and shows it to a person. On a
// terminal each running task has a line with how far it is and how long it has
// taken, updated in place; the lines of ended tasks stay above. Elsewhere it
// writes plain log lines: one when a task starts, one when it ends, one about its
// progress at most every five seconds, and never nothing for longer than that
// while a task runs.
package progress

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

// A plain log reports a task's progress at most once per logInterval, and what
// runs after maxSilence without a line. A terminal is redrawn per redrawInterval.
const (
	logInterval    = 5 * time.Second
	maxSilence     = 4 * time.Second
	redrawInterval = 100 * time.Millisecond
)

// Reporter shows events. Its methods may be called from several goroutines.
type Reporter struct {
	out      io.Writer
	terminal bool
	color    bool
	width    func() int // columns of the terminal
	now      func() time.Time

	mu     sync.Mutex
	tasks  []*task   // running, in the order in which they started
	drawn  int       // lines on the terminal that are redrawn
	wrote  time.Time // when the plain log got its last line
	frame  int
	stop   chan struct{}
	closed sync.WaitGroup
}

// task is a running task.
type task struct {
	path, name string
	started    time.Time
	progress   *Progress
	message    string
	told       time.Time // when a plain log last reported on it
}

// line is the task's name, how far it is, what it last said and how long it has
// been running.
func (t *task) line(now time.Time) string {
	line := t.name
	if t.progress != nil {
		line += "  " + amount(*t.progress)
	}
	if t.message != "" {
		line += "  " + t.message
	}
	return line + "  " + clock(now.Sub(t.started))
}

// New returns a Reporter that writes to out, as a terminal if out is one and
// its kind (the variable TERM) is not "dumb". color is whether it may use color;
// a caller that follows no-color.org passes false if NO_COLOR is set and not
// empty. Close must be called at the end.
func New(out *os.File, termKind string, color bool) *Reporter {
	fd := int(out.Fd())
	r := newReporter(out, term.IsTerminal(fd) && termKind != "dumb", color)
	r.width = func() int {
		if w, _, err := term.GetSize(fd); err == nil && w > 0 {
			return w
		}
		return 80
	}
	r.closed.Add(1)
	go r.tick()
	return r
}

func newReporter(out io.Writer, terminal, color bool) *Reporter {
	return &Reporter{
		wrote: time.Now(), out: out, terminal: terminal, color: color && terminal, now: time.Now,
		width: func() int { return 80 }, stop: make(chan struct{}),
	}
}

// tick keeps the terminal, or the plain log, up to date.
func (r *Reporter) tick() {
	defer r.closed.Done()
	ticks := time.NewTicker(redrawInterval)
	defer ticks.Stop()
	for {
		select {
		case <-ticks.C:
			r.mu.Lock()
			if r.terminal {
				r.frame++
				r.draw("")
			} else {
				r.breakSilence()
			}
			r.mu.Unlock()
		case <-r.stop:
			return
		}
	}
}

// breakSilence writes what runs to a plain log that got no line for a while.
func (r *Reporter) breakSilence() {
	if len(r.tasks) == 0 || r.now().Sub(r.wrote) < maxSilence {
		return
	}
	var words []string
	for _, t := range r.tasks {
		words = append(words, t.line(r.now()))
		t.told = r.now()
	}
	r.print("… " + strings.Join(words, ", "))
}

// Close stops the redrawing and removes the lines of tasks that are still running.
func (r *Reporter) Close() {
	close(r.stop)
	r.closed.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tasks = nil
	r.draw("")
}

// Print writes a line above those that are redrawn, as Printable has it.
func (r *Reporter) Print(line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.print(Printable(line))
}

func (r *Reporter) print(line string) {
	if r.terminal {
		r.draw(line + "\n")
		return
	}
	r.wrote = r.now()
	fmt.Fprintf(r.out, "%s %s\n", r.wrote.Format("15:04:05"), line)
}

// Observe shows an event, whose texts may be anything.
func (r *Reporter) Observe(e Event) {
	e.Task, e.Message = Printable(e.Task), Printable(e.Message)
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.find(e)
	if e.State != Running {
		r.remove(e.Path)
		r.print(r.end(t, e))
		return
	}
	switch {
	case t == nil:
		t = &task{path: e.Path, name: e.Task, started: r.now().Add(-e.Elapsed), told: r.now()}
		r.tasks = append(r.tasks, t)
		if !r.terminal {
			r.print(t.name + " started")
		}
	case e.Progress != nil:
		t.progress = e.Progress
		if !r.terminal && r.now().Sub(t.told) >= logInterval {
			t.told = r.now()
			r.print(fmt.Sprintf("%s %s after %s", t.name, amount(*t.progress), clock(e.Elapsed)))
		}
	case e.Message != "":
		t.message, t.progress = e.Message, nil
		r.print(r.paint(yellow, "!") + " " + t.name + "  " + e.Message)
	case e.Line == "":
		t.message = "" // the next try
	}
	if r.terminal {
		r.draw("")
	}
}

func (r *Reporter) find(e Event) *task {
	for _, t := range r.tasks {
		if t.path == e.Path {
			return t
		}
	}
	return nil
}

func (r *Reporter) remove(path string) {
	for i, t := range r.tasks {
		if t.path == path {
			r.tasks = append(r.tasks[:i], r.tasks[i+1:]...)
			return
		}
	}
}

// end is the line that stays when a task has ended.
func (r *Reporter) end(t *task, e Event) string {
	var words []string
	if e.State == Succeeded {
		words = []string{r.paint(green, "✓") + " " + e.Task}
		if t != nil && t.progress != nil {
			words = append(words, amount(*t.progress))
		}
		if e.Message != "" {
			words = append(words, e.Message)
		}
	} else {
		mark := r.paint(red, "✗")
		if e.State == Skipped || e.State == Omitted {
			mark = r.paint(dim, "–")
		}
		words = []string{mark + " " + e.Task, strings.ToLower(string(e.State))}
		if e.Message != "" {
			words = append(words, e.Message)
		}
	}
	if e.Try > 0 || e.Elapsed > 0 {
		words = append(words, r.paint(dim, clock(e.Elapsed)))
	}
	return strings.Join(words, "  ")
}

var spinner = []string{"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"}

// draw replaces the lines of the running tasks, and writes above before them.
func (r *Reporter) draw(above string) {
	if !r.terminal {
		return
	}
	var b strings.Builder
	if r.drawn > 0 {
		fmt.Fprintf(&b, "\r\x1b[%dA", r.drawn) // up to the first of them
	}
	b.WriteString("\x1b[J") // and away with all below
	b.WriteString(above)
	for _, t := range r.tasks {
		// A line that wraps would be counted as one and redrawn wrong.
		b.WriteString(r.paint(cyan, spinner[r.frame%len(spinner)]) + " " + cut(t.line(r.now()), r.width()-3) + "\n")
	}
	r.drawn = len(r.tasks)
	_, _ = io.WriteString(r.out, b.String()) // a terminal that is gone is no reason to stop the work
}

const (
	red    = "31"
	green  = "32"
	yellow = "33"
	cyan   = "36"
	dim    = "2"
)

func (r *Reporter) paint(code, text string) string {
	if !r.color {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// cut shortens text to at most width characters.
func cut(text string, width int) string {
	runes := []rune(strings.Map(func(c rune) rune {
		if c == '\n' || c == '\t' {
			return ' '
		}
		return c
	}, Printable(text)))
	if width < 1 || len(runes) <= width {
		return string(runes)
	}
	return string(runes[:width-1]) + "…"
}

// amount is "30,000 rows" or "30,000 of 101,766 rows (29 %)".
func amount(p Progress) string {
	done := Count(p.Done)
	if p.Total > 0 && p.Done != p.Total {
		done += fmt.Sprintf(" of %s %s (%d %%)", Count(p.Total), p.Unit, int(100*float64(p.Done)/float64(p.Total)))
		return done
	}
	return strings.TrimSpace(done + " " + p.Unit)
}

// clock writes a duration for people: "0.4 s", "12 s", "3 min 05 s", "1 h 02 min".
func clock(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Truncate(100*time.Millisecond).Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min %02d s", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%d h %02d min", int(d.Hours()), int(d.Minutes())%60)
}
