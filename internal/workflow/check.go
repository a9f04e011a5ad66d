package workflow

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	wfv1 "github.com/argoproj/argo-workflows/v3/pkg/apis/workflow/v1alpha1"
	"github.com/argoproj/argo-workflows/v3/util/intstr"
)

// outputsFolder is where a container writes its output parameters on a cluster.
const outputsFolder = "/mlops/outputs/"

// check follows every reference of a set and parses every condition, so that a
// mistake shows before the first task runs.
func (s *Set) check() []error {
	var errs []error
	for _, name := range s.Names() {
		m := s.workflows[name]
		report := func(place string, err error) {
			errs = append(errs, fmt.Errorf("%s: %s: %w", m.file, place, err))
		}
		if entry := m.templates[m.argo.Spec.Entrypoint]; entry == nil {
			report("spec.entrypoint", fmt.Errorf("no template %q", m.argo.Spec.Entrypoint))
		} else {
			given := m.argo.Spec.Arguments.Parameters
			for _, in := range entry.Inputs.Parameters {
				if in.Value == nil && in.Default == nil && !slices.ContainsFunc(given, func(p wfv1.Parameter) bool { return p.Name == in.Name }) {
					report("spec.arguments", fmt.Errorf("template %s needs parameter %q", entry.Name, in.Name))
				}
			}
		}
		for _, p := range m.argo.Spec.Arguments.Parameters {
			if p.Value != nil && strings.Contains(p.Value.String(), "{{") {
				report("spec.arguments.parameters["+p.Name+"]", errors.New("a default can't refer to anything"))
			}
		}
		for i := range m.argo.Spec.Templates {
			t := m.templates[m.argo.Spec.Templates[i].Name]
			s.checkTemplate(t, func(field string, err error) {
				report("spec.templates["+t.Name+"]"+field, err)
			})
		}
	}
	if len(errs) > 0 {
		return errs
	}
	return s.checkRecursion()
}

func (s *Set) checkTemplate(t *template, report func(field string, err error)) {
	if (t.Container == nil) == (t.DAG == nil) {
		report("", errors.New("want exactly one of container and dag"))
		return
	}
	if t.Container != nil {
		s.checkContainer(t, report)
		return
	}
	if t.RetryStrategy != nil {
		report(".retryStrategy", errors.New("the local runner can honour it on a container only"))
	}
	if t.ActiveDeadlineSeconds != nil {
		report(".activeDeadlineSeconds", errors.New("is for a container only"))
	}
	s.checkDAG(t, report)
}

func (s *Set) checkContainer(t *template, report func(field string, err error)) {
	if t.Parallelism != nil {
		report(".parallelism", errors.New("is for a dag only"))
	}
	c := t.Container
	// Without a command in the manifest, Argo looks it up in the image's
	// registry; our images are in none.
	if len(c.Command) == 0 || path.Base(c.Command[0]) != program(c.Image) {
		report(".container.command", fmt.Errorf("is %q, want it to start with the program that the image %q is named after", c.Command, c.Image))
	}
	if strings.Contains(c.Image, "{{") {
		report(".container.image", errors.New("can't refer to anything"))
	}
	for _, o := range t.Outputs.Parameters {
		place := ".outputs.parameters[" + o.Name + "]"
		if o.ValueFrom == nil || o.ValueFrom.Path == "" || o.ValueFrom.Parameter != "" {
			report(place, errors.New("want valueFrom.path"))
			continue
		}
		if p := o.ValueFrom.Path; path.Dir(p)+"/" != outputsFolder || path.Clean(p) != p {
			report(place+".valueFrom.path", fmt.Errorf("is %q, want a file in %s", p, outputsFolder))
		}
	}
	if r := t.RetryStrategy; r != nil {
		if _, err := newRetries(r); err != nil {
			report(".retryStrategy", err)
		}
	}
	if _, err := intstr.Int32(t.ActiveDeadlineSeconds); err != nil {
		report(".activeDeadlineSeconds", err)
	}
	known := inputNames(t.Template)
	if err := checkReferences(containerText(c), known); err != nil {
		report(".container", err)
	}
}

func (s *Set) checkDAG(t *template, report func(field string, err error)) {
	byName := map[string]*dagTask{}
	for i := range t.DAG.Tasks {
		task := &dagTask{DAGTask: t.DAG.Tasks[i], index: i}
		if byName[task.Name] != nil {
			report(".dag.tasks["+task.Name+"]", errors.New("defined twice"))
			return
		}
		byName[task.Name] = task
	}
	ok := true
	for i := range t.DAG.Tasks {
		task := byName[t.DAG.Tasks[i].Name]
		needs, err := parseDepends(task.Depends, task.Dependencies)
		if err == nil {
			for _, name := range needs.tasks {
				if byName[name] == nil {
					err = fmt.Errorf("no task %q", name)
				}
			}
		}
		if err != nil {
			report(".dag.tasks["+task.Name+"].depends", err)
			ok = false
			continue
		}
		task.needs = needs
	}
	if !ok {
		return
	}
	if err := sortTasks(t, byName); err != nil {
		report(".dag", err)
		return
	}
	for _, task := range t.tasks {
		place := ".dag.tasks[" + task.Name + "]"
		for _, e := range s.checkTask(t, task, byName) {
			report(place, e)
		}
	}
	known := inputNames(t.Template)
	s.addOutputs(t, known, sortedKeys(byName), byName)
	for _, o := range t.Outputs.Parameters {
		place := ".outputs.parameters[" + o.Name + "]"
		if o.ValueFrom == nil || o.ValueFrom.Parameter == "" || o.ValueFrom.Path != "" || o.ValueFrom.Default != nil {
			report(place, errors.New("want valueFrom.parameter"))
		} else if err := checkReferences(o.ValueFrom.Parameter, known); err != nil {
			report(place+".valueFrom.parameter", err)
		}
	}
}

// checkTask checks a task's template, arguments and references. A task may
// refer to the outputs of the tasks that it depends on, directly or not.
func (s *Set) checkTask(t *template, task *dagTask, byName map[string]*dagTask) []error {
	callee, err := s.callee(t, task)
	if err != nil {
		return []error{err}
	}
	var errs []error
	given := task.Arguments.Parameters
	for _, in := range callee.Inputs.Parameters {
		if in.Value == nil && in.Default == nil && !slices.ContainsFunc(given, func(p wfv1.Parameter) bool { return p.Name == in.Name }) {
			errs = append(errs, fmt.Errorf("arguments: template %s needs parameter %q", callee.Name, in.Name))
		}
	}
	inputs := inputNames(callee.Template)
	for _, p := range given {
		if !inputs["inputs.parameters."+p.Name] {
			errs = append(errs, fmt.Errorf("arguments: template %s has no parameter %q", callee.Name, p.Name))
		}
		if p.Value == nil {
			errs = append(errs, fmt.Errorf("arguments.parameters[%s]: no value", p.Name))
		}
	}
	known := inputNames(t.Template)
	s.addOutputs(t, known, ancestors(task, byName), byName)
	fansOut := task.WithParam != "" || len(task.WithItems) > 0
	if fansOut {
		// With both, Argo's outcome depends on whether the list can be read when
		// the condition is false; nobody should have to know that.
		if task.When != "" {
			errs = append(errs, errors.New("when: the local runner can't honour it together with withParam or withItems"))
		}
		if task.WithParam != "" && len(task.WithItems) > 0 {
			errs = append(errs, errors.New("want at most one of withParam and withItems"))
		}
		for i, item := range task.WithItems {
			if err := checkItem(item); err != nil {
				errs = append(errs, fmt.Errorf("withItems[%d]: %w", i, err))
			}
		}
	}
	if err := checkWhen(task.When); err != nil {
		errs = append(errs, err)
	}
	// The list itself can't refer to an item of it.
	if err := checkReferences(map[string]any{"when": task.When, "withParam": task.WithParam}, known); err != nil {
		errs = append(errs, err)
	}
	if fansOut {
		known["item"] = true
	}
	if err := checkReferences(task.Arguments, known); err != nil {
		errs = append(errs, fmt.Errorf("arguments: %w", err))
	}
	return errs
}

// callee returns the template that a task runs: of the same manifest, or by
// templateRef of another.
func (s *Set) callee(t *template, task *dagTask) (*template, error) {
	if task.TemplateRef != nil {
		if task.Template != "" {
			return nil, errors.New("want one of template and templateRef")
		}
		m := s.workflows[task.TemplateRef.Name]
		if m == nil {
			return nil, fmt.Errorf("templateRef.name: no WorkflowTemplate %q", task.TemplateRef.Name)
		}
		if c := m.templates[task.TemplateRef.Template]; c != nil {
			return c, nil
		}
		return nil, fmt.Errorf("templateRef.template: no template %q in %s", task.TemplateRef.Template, m.file)
	}
	if c := t.in.templates[task.Template]; c != nil {
		return c, nil
	}
	return nil, fmt.Errorf("template: no template %q", task.Template)
}

// addOutputs adds the names of the output parameters of tasks to known. Of a task
// that fans out, each names the list of all items' values.
func (s *Set) addOutputs(t *template, known map[string]bool, tasks []string, byName map[string]*dagTask) {
	for _, name := range tasks {
		callee, err := s.callee(t, byName[name])
		if err != nil {
			continue // reported where the task itself is checked
		}
		for _, o := range callee.Outputs.Parameters {
			known["tasks."+name+".outputs.parameters."+o.Name] = true
		}
	}
}

func inputNames(t *wfv1.Template) map[string]bool {
	known := map[string]bool{}
	for _, p := range t.Inputs.Parameters {
		known["inputs.parameters."+p.Name] = true
	}
	return known
}

// ancestors returns the tasks that a task depends on, directly or not.
func ancestors(task *dagTask, byName map[string]*dagTask) []string {
	seen := map[string]bool{}
	var visit func(*dagTask)
	visit = func(t *dagTask) {
		for _, name := range t.needs.tasks {
			if !seen[name] {
				seen[name] = true
				visit(byName[name])
			}
		}
	}
	visit(task)
	return sortedKeys(seen)
}

// sortTasks puts a dag's tasks into t.tasks, each after those it depends on and
// otherwise as in the manifest. A cycle is an error that names its tasks.
func sortTasks(t *template, byName map[string]*dagTask) error {
	placed := map[string]bool{}
	t.tasks = nil
	for len(t.tasks) < len(t.DAG.Tasks) {
		var left []string
		before := len(t.tasks)
		for i := range t.DAG.Tasks {
			task := byName[t.DAG.Tasks[i].Name]
			if placed[task.Name] {
				continue
			}
			if slices.ContainsFunc(task.needs.tasks, func(n string) bool { return !placed[n] }) {
				left = append(left, task.Name)
				continue
			}
			placed[task.Name] = true
			t.tasks = append(t.tasks, task)
		}
		if len(t.tasks) == before {
			return fmt.Errorf("tasks wait for each other: %s", strings.Join(left, ", "))
		}
	}
	return nil
}

// checkRecursion refuses a template that reaches itself again: Argo runs it
// until a depth is reached; we have no use for it.
func (s *Set) checkRecursion() []error {
	var errs []error
	const open, closed = 1, 2
	state := map[*template]int{}
	var visit func(t *template)
	visit = func(t *template) {
		state[t] = open
		for _, task := range t.tasks {
			callee, err := s.callee(t, task)
			if err != nil {
				continue
			}
			switch state[callee] {
			case open:
				errs = append(errs, fmt.Errorf("%s: spec.templates[%s].dag.tasks[%s]: template %s runs itself", t.in.file, t.Name, task.Name, callee.Name))
			case closed:
			default:
				visit(callee)
			}
		}
		state[t] = closed
	}
	for _, name := range s.Names() {
		m := s.workflows[name]
		for i := range m.argo.Spec.Templates {
			if t := m.templates[m.argo.Spec.Templates[i].Name]; state[t] == 0 {
				visit(t)
			}
		}
	}
	return errs
}

// program returns the name that an image has without registry and tag:
// "train-model" for "mlops.local/train-model:1.2.3".
func program(image string) string {
	name, _, _ := strings.Cut(path.Base(image), "@")
	name, _, _ = strings.Cut(name, ":")
	return name
}
