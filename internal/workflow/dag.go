package workflow

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"

	wfv1 "github.com/argoproj/argo-workflows/v3/pkg/apis/workflow/v1alpha1"

	"mlops/internal/progress"
)

// progressOf is the progress of a dag's task.
type progressOf struct {
	state   progress.State // empty while it runs
	left    int            // units that have not ended
	outputs map[string]string
	items   []map[string]string // instead, of a task that fans out: the outputs of each item, nil until it has ended well
}

// unit is one template to run for a task: the task itself or one item of it.
type unit struct {
	task string
	item int // -1 if the task does not fan out
	at   node
	tmpl *template
	args map[string]string
}

type ended struct {
	task string
	item int
	outcome
}

// dag runs a dag's tasks, each as soon as those that it depends on have ended.
// A task that fails keeps its dependents from running, and nothing else: that is
// what Argo's controller does with a dag whose failFast is not set.
func (r *run) dag(ctx context.Context, at node, t *template, scope map[string]string) outcome {
	tasks := map[string]*progressOf{}
	ends := make(chan ended)
	var queue []unit
	active := 0
	for {
		for _, task := range t.tasks {
			if tasks[task.Name] == nil && allEnded(task.needs.tasks, tasks) {
				p, units := r.decide(at, t, task, tasks, scope)
				tasks[task.Name] = p
				queue = append(queue, units...)
			}
		}
		for len(queue) > 0 && (!t.HasParallelism() || active < int(*t.Parallelism)) {
			u := queue[0]
			queue = queue[1:]
			wait := r.begin(ctx, u.at, u.tmpl, u.args)
			active++
			go func() { ends <- ended{u.task, u.item, wait()} }()
		}
		if active == 0 {
			break
		}
		e := <-ends
		active--
		p := tasks[e.task]
		p.left--
		switch {
		case e.item < 0:
			p.outputs = e.outputs
		case e.state == progress.Succeeded:
			p.items[e.item] = e.outputs
		}
		// The worst state of the units is the task's.
		if e.state.Bad() {
			p.state = e.state
		} else if p.left == 0 && p.state == "" {
			p.state = e.state
		}
	}
	return r.endDAG(at, t, tasks, scope)
}

// allEnded reports whether every one of the tasks has ended with all its units.
func allEnded(names []string, tasks map[string]*progressOf) bool {
	for _, name := range names {
		if p := tasks[name]; p == nil || p.left > 0 {
			return false
		}
	}
	return true
}

// decide says what happens to a task whose dependencies have ended: it is not
// run, or it is one unit or several.
func (r *run) decide(at node, t *template, task *dagTask, tasks map[string]*progressOf, scope map[string]string) (*progressOf, []unit) {
	here := at.child(task.Name, task.index)
	callee, err := r.set.callee(t, task)
	if err != nil {
		return &progressOf{state: r.refuse(here, t, err).state}, nil
	}
	notRun := func(state progress.State, why string) (*progressOf, []unit) {
		r.record(Task{Name: here.name, Path: here.path, Workflow: callee.in.argo.Name, Template: callee.Name, State: state, order: here.order}, why)
		return &progressOf{state: state}, nil
	}
	refused := func(err error) (*progressOf, []unit) {
		return &progressOf{state: r.refuse(here, callee, err).state}, nil
	}
	met, err := task.needs.met(resultsOf(task.needs.tasks, tasks))
	if err != nil {
		return refused(err)
	}
	if !met {
		return notRun(progress.Omitted, "its dependencies were not met")
	}
	known := r.scopeOf(t, tasks, scope)
	when, err := substitute(task.When, known)
	if err != nil {
		return refused(err)
	}
	run, err := evalWhen(when)
	if err != nil {
		return refused(err)
	}
	if !run {
		return notRun(progress.Skipped, "when "+when+" is false")
	}
	items := task.WithItems
	if task.WithParam != "" {
		list, err := substitute(task.WithParam, known)
		if err != nil {
			return refused(err)
		}
		if items, err = parseItems(list); err != nil {
			return refused(err)
		}
	}
	if task.WithParam == "" && len(items) == 0 {
		args, err := taskArguments(task, known)
		if err != nil {
			return refused(err)
		}
		return &progressOf{left: 1}, []unit{{task.Name, -1, here, callee, args}}
	}
	if len(items) == 0 {
		return notRun(progress.Skipped, "its list is empty")
	}
	units := make([]unit, 0, len(items))
	for i, item := range items {
		known["item"] = fmt.Sprintf("%v", item)
		args, err := taskArguments(task, known)
		if err != nil {
			return refused(err)
		}
		units = append(units, unit{task.Name, i, at.child(itemName(task.Name, i, item), task.index, i), callee, args})
	}
	return &progressOf{left: len(units), items: make([]map[string]string, len(units))}, units
}

// parseItems reads the list of a withParam.
func parseItems(list string) ([]wfv1.Item, error) {
	var items []wfv1.Item
	if err := json.Unmarshal([]byte(list), &items); err != nil {
		return nil, fmt.Errorf("withParam %q is not a JSON list: %w", list, err)
	}
	for i, item := range items {
		if err := checkItem(item); err != nil {
			return nil, fmt.Errorf("withParam[%d]: %w", i, err)
		}
	}
	return items, nil
}

func taskArguments(task *dagTask, known map[string]string) (map[string]string, error) {
	values := map[string]string{}
	for _, p := range task.Arguments.Parameters {
		values[p.Name] = p.Value.String()
	}
	return substitute(values, known)
}

func resultsOf(names []string, tasks map[string]*progressOf) map[string]results {
	all := map[string]results{}
	for _, name := range names {
		s := tasks[name].state
		all[name] = results{
			Succeeded: s == progress.Succeeded, Failed: s == progress.Failed, Errored: s == progress.Errored,
			Skipped: s == progress.Skipped, Omitted: s == progress.Omitted,
		}
	}
	return all
}

// scopeOf returns what {{ }} can name in a dag: its inputs and the outputs of
// the tasks that have ended. Those of a task that was not run are empty, as in
// Argo.
func (r *run) scopeOf(t *template, tasks map[string]*progressOf, scope map[string]string) map[string]string {
	known := maps.Clone(scope)
	for _, task := range t.tasks {
		p := tasks[task.Name]
		if p == nil || p.left > 0 {
			continue
		}
		prefix := "tasks." + task.Name + ".outputs.parameters."
		for name, list := range joined(p.items) {
			known[prefix+name] = list
		}
		for name, value := range p.outputs {
			known[prefix+name] = value
		}
		if callee, err := r.set.callee(t, task); err == nil && (p.state == progress.Skipped || p.state == progress.Omitted) {
			for _, o := range callee.Outputs.Parameters {
				known[prefix+o.Name] = ""
			}
		}
	}
	return known
}

// joined returns the output parameters of a task's items, each as the JSON list of the
// values of those that succeeded, in the items' order. As in Argo, the values are strings
// unless every one of them is a JSON list or object.
func joined(items []map[string]string) map[string]string {
	values := map[string][]string{}
	for _, outputs := range items {
		for name, v := range outputs {
			values[name] = append(values[name], v)
		}
	}
	lists := map[string]string{}
	for name, list := range values {
		var whole any = list
		parsed := make([]any, len(list))
		for i, v := range list {
			err := json.Unmarshal([]byte(v), &parsed[i])
			_, isList := parsed[i].([]any)
			_, isObject := parsed[i].(map[string]any)
			if err != nil || !isList && !isObject {
				parsed = nil
				break
			}
		}
		if parsed != nil {
			whole = parsed
		}
		text, err := json.Marshal(whole)
		if err != nil {
			continue // what was read as JSON can be written
		}
		lists[name] = string(text)
	}
	return lists
}

// endDAG returns how a dag ended, as Argo does: by its last tasks (those that no
// other depends on). One that did not run takes the state of those before it.
func (r *run) endDAG(at node, t *template, tasks map[string]*progressOf, scope map[string]string) outcome {
	state := map[string]progress.State{}
	last := map[string]bool{}
	for _, task := range t.tasks {
		last[task.Name] = true
		own := tasks[task.Name].state
		if !own.Ended() {
			own = progress.Succeeded
			for _, name := range task.needs.tasks {
				if state[name].Bad() {
					own = state[name]
				}
			}
		}
		state[task.Name] = own
		for _, name := range task.needs.tasks {
			last[name] = false
		}
	}
	for _, task := range t.tasks {
		if last[task.Name] && state[task.Name].Bad() {
			return outcome{state: state[task.Name]}
		}
	}
	known := r.scopeOf(t, tasks, scope)
	written := map[string]string{}
	for _, o := range t.Outputs.Parameters {
		value, err := substitute(o.ValueFrom.Parameter, known)
		if err != nil {
			return r.refuse(at, t, fmt.Errorf("output %s: %w", o.Name, err))
		}
		written[o.Name] = value
	}
	return outcome{state: progress.Succeeded, outputs: written}
}
