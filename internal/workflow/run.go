package workflow

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/argoproj/argo-workflows/v3/util/intstr"

	"mlops/internal/progress"
	"mlops/internal/retry"
)

// Options say what to run, and with what.
type Options struct {
	Set        *Set
	Workflow   string            // name of a WorkflowTemplate
	Parameters map[string]string // over the defaults in spec.arguments

	// Program returns the path of the local program that replaces an image.
	Program func(image string) (path string, ok bool)
	// Env is the whole environment of the programs ("NAME=value"). A variable
	// that a manifest sets too is taken from here; MLOPS_OUTPUTS is always the
	// runner's.
	Env []string
	// ProgramEnv returns what Env lacks for the program that replaces an image, as
	// the Secrets that only its container names; nil: nothing.
	ProgramEnv func(image string) []string
	// LogDir gets each task's whole log (<path of the task>.log) and its folder
	// of output parameters. It is made if it is missing; each run should have
	// its own.
	LogDir string

	Parallel int                  // programs at once; 0: as many as CPUs
	Grace    time.Duration        // from SIGTERM to SIGKILL; 0: 30 s, as on a cluster
	Observe  func(progress.Event) // called by one goroutine at a time; may be nil
}

// Result is what a run did.
type Result struct {
	Outputs map[string]string // output parameters of the workflow's entrypoint
	Tasks   []Task            // in the order of the manifests
}

// Run runs a workflow to its end. If tasks fail, everything that does not depend on
// them still runs, as under Argo, and the error joins a TaskError for each. When
// ctx ends, the programs are asked to stop and Run returns its cause. The result
// holds what was run.
func Run(ctx context.Context, o Options) (Result, error) {
	if o.Set == nil || o.LogDir == "" || o.Program == nil {
		return Result{}, errors.New("running a workflow needs Options.Set, LogDir and Program")
	}
	dir, err := filepath.Abs(o.LogDir)
	if err != nil {
		return Result{}, fmt.Errorf("finding the folder of the logs: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Result{}, fmt.Errorf("making the folder of the logs: %w", err)
	}
	grace := o.Grace
	if grace <= 0 {
		grace = 30 * time.Second
	}
	p := processes{program: o.Program, env: o.Env, programEnv: o.ProgramEnv, dir: dir, grace: grace}
	return runWith(ctx, o, p)
}

// executor runs one try of a container and returns its output parameters. say
// gets the events of the try; Time, Task and the like are filled in by it.
type executor interface {
	try(ctx context.Context, t *Task, outputs []output, deadline time.Duration, say func(progress.Event)) (map[string]string, *failure)
}

// output is an output parameter: its name, its file's name and its default.
type output struct {
	name, file string
	fallback   *string
}

// failure is how one try failed.
type failure struct {
	state    progress.State // Failed or Errored
	exitCode int
	program  string
	reason   string
	tail     []string
	log      string
}

// message is what Argo calls so: the reason, and the end of the log.
func (f *failure) message() string { return f.reason + ": " + strings.Join(f.tail, "\n") }

// run is a running workflow.
type run struct {
	set     *Set
	exec    executor
	slots   *slots
	observe func(progress.Event)

	mu    sync.Mutex
	tasks []Task
	errs  []error
}

// outcome is how a template ended.
type outcome struct {
	state   progress.State
	outputs map[string]string
}

// node is where a template runs: Argo's name of it and its place in the order.
type node struct {
	name, path string
	order      []int
}

func (n node) child(name string, index ...int) node {
	return node{name: name, path: n.path + "." + name, order: slices.Concat(n.order, index)}
}

func runWith(ctx context.Context, o Options, exec executor) (Result, error) {
	m := o.Set.workflows[o.Workflow]
	if m == nil {
		return Result{}, fmt.Errorf("no workflow %q, only %v", o.Workflow, o.Set.Names())
	}
	args, err := arguments(m, o.Parameters)
	if err != nil {
		return Result{}, err
	}
	parallel := o.Parallel
	if parallel <= 0 {
		parallel = runtime.NumCPU()
	}
	if s := m.argo.Spec.ActiveDeadlineSeconds; s != nil {
		limit := time.Duration(*s) * time.Second
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, limit, fmt.Errorf("ran longer than %s", limit))
		defer cancel()
	}
	r := &run{set: o.Set, exec: exec, slots: newSlots(parallel), observe: o.Observe}
	wait := r.begin(ctx, node{name: o.Workflow, path: o.Workflow}, m.templates[m.argo.Spec.Entrypoint], args)
	end := wait()

	slices.SortStableFunc(r.tasks, func(a, b Task) int { return slices.Compare(a.order, b.order) })
	result := Result{Outputs: end.outputs, Tasks: r.tasks}
	if ctx.Err() != nil && end.state != progress.Succeeded {
		return result, fmt.Errorf("workflow %s: %w", o.Workflow, context.Cause(ctx))
	}
	if end.state.Bad() {
		return result, fmt.Errorf("workflow %s: %w", o.Workflow, errors.Join(r.errs...))
	}
	return result, nil
}

// say passes an event on, one at a time.
func (r *run) say(e progress.Event) {
	if r.observe == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	e.Time = time.Now()
	r.observe(e)
}

// record keeps a task that has ended or will not run, and says so.
func (r *run) record(t Task, message string) {
	r.mu.Lock()
	r.tasks = append(r.tasks, t)
	r.mu.Unlock()
	e := progress.Event{Task: t.Name, Path: t.Path, Template: t.Template, State: t.State, Try: t.Tries, Message: message}
	if !t.Started.IsZero() {
		e.Elapsed = t.Ended.Sub(t.Started)
	}
	r.say(e)
}

func (r *run) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.errs = append(r.errs, err)
}

// refuse ends a task that could not be prepared.
func (r *run) refuse(at node, t *template, err error) outcome {
	r.fail(&TaskError{Task: at.name, Workflow: t.in.argo.Name, Template: t.Name, ExitCode: -1, Reason: err.Error()})
	r.record(Task{Name: at.name, Path: at.path, Workflow: t.in.argo.Name, Template: t.Name, State: progress.Errored, order: at.order}, err.Error())
	return outcome{state: progress.Errored}
}

// begin takes a template's place in the queue and returns what runs it, so that
// templates that are begun one after the other start in that order.
func (r *run) begin(ctx context.Context, at node, t *template, args map[string]string) func() outcome {
	scope, err := inputs(t, args)
	if err != nil {
		return func() outcome { return r.refuse(at, t, err) }
	}
	if t.DAG != nil {
		return func() outcome { return r.dag(ctx, at, t, scope) }
	}
	fields, err := substitute(containerText(t.Container), scope)
	if err != nil {
		return func() outcome { return r.refuse(at, t, err) }
	}
	task := Task{
		Name: at.name, Path: at.path, Workflow: t.in.argo.Name, Template: t.Name,
		Image: t.Container.Image, command: fields.Command[0],
		Args: slices.Concat(fields.Command[1:], fields.Args), Env: fields.Env, order: at.order,
	}
	turn := r.slots.ask()
	return func() outcome { return r.container(ctx, task, t, turn) }
}

// container runs a container until a try succeeds or no other is allowed.
func (r *run) container(ctx context.Context, task Task, t *template, turn *turn) outcome {
	rules, err := newRetries(t.RetryStrategy)
	if err != nil {
		return r.refuse(node{task.Name, task.Path, task.order}, t, err)
	}
	seconds, err := intstr.Int32(t.ActiveDeadlineSeconds)
	if err != nil {
		return r.refuse(node{task.Name, task.Path, task.order}, t, err)
	}
	var deadline time.Duration
	if seconds != nil {
		deadline = time.Duration(*seconds) * time.Second
	}
	var outputs []output
	for _, p := range t.Outputs.Parameters {
		o := output{name: p.Name, file: filepath.Base(p.ValueFrom.Path)}
		if d := p.ValueFrom.Default; d != nil {
			text := d.String()
			o.fallback = &text
		}
		outputs = append(outputs, o)
	}
	say := func(e progress.Event) {
		e.Task, e.Path, e.Template, e.State, e.Try = task.Name, task.Path, task.Template, progress.Running, task.Tries
		e.Elapsed = time.Since(task.Started)
		r.say(e)
	}
	for {
		if !r.slots.wait(ctx, turn) {
			task.State, task.Ended = progress.Failed, time.Now()
			r.record(task, "stopped before it started")
			return outcome{state: progress.Failed}
		}
		began := time.Now()
		if task.Tries++; task.Tries == 1 {
			task.Started = began
		}
		say(progress.Event{})
		written, failed := r.exec.try(ctx, &task, outputs, deadline, say)
		r.slots.release()
		task.Ended = time.Now()
		if failed == nil {
			task.State, task.Outputs = progress.Succeeded, written
			r.record(task, "")
			return outcome{state: progress.Succeeded, outputs: written}
		}
		if ctx.Err() != nil {
			task.State = failed.state
			r.record(task, "stopped")
			return outcome{state: failed.state}
		}
		again, pause, err := rules.again(task.Tries, lastTry{failed.exitCode, failed.state, task.Ended.Sub(began), failed.message()})
		if err != nil {
			failed.reason += fmt.Sprintf("; can't decide whether to try again: %v", err)
		}
		if !again {
			task.State = failed.state
			r.fail(&TaskError{
				Task: task.Name, Workflow: task.Workflow, Template: task.Template,
				Program: failed.program, ExitCode: failed.exitCode, Tries: task.Tries,
				Reason: failed.reason, Tail: failed.tail, Log: failed.log,
			})
			r.record(task, failed.reason)
			return outcome{state: failed.state}
		}
		say(progress.Event{Message: fmt.Sprintf("%s; tries again in %s", failed.reason, pause)})
		retry.Sleep(ctx, pause)
		turn = r.slots.ask()
	}
}
