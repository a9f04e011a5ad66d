package workflow

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	wfv1 "github.com/argoproj/argo-workflows/v3/pkg/apis/workflow/v1alpha1"
	argotemplate "github.com/argoproj/argo-workflows/v3/util/template"
	apiv1 "k8s.io/api/core/v1"
)

// containerFields is the part of a container in which {{ }} is filled in.
type containerFields struct {
	Command []string          `json:"command"`
	Args    []string          `json:"args"`
	Env     map[string]string `json:"env"`
}

// containerText returns the command, arguments and plain environment of a
// container; variables whose value only a cluster has are left out.
func containerText(c *apiv1.Container) containerFields {
	f := containerFields{Command: c.Command, Args: c.Args, Env: map[string]string{}}
	for _, e := range c.Env {
		if e.ValueFrom == nil {
			f.Env[e.Name] = e.Value
		}
	}
	return f
}

// substitute fills the {{ }} in every string of v from scope, as Argo does: in
// v's JSON, with Argo's code. A reference that scope doesn't have is an error
// that names it.
func substitute[T any](v T, scope map[string]string) (T, error) {
	var filled T
	text, err := json.Marshal(v)
	if err != nil {
		return filled, err
	}
	replaced, err := argotemplate.Replace(string(text), scope, false)
	if err != nil {
		return filled, err
	}
	err = json.Unmarshal([]byte(replaced), &filled)
	return filled, err
}

// checkReferences returns an error for the first {{ }} in v that is not known.
func checkReferences(v any, known map[string]bool) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if strings.Contains(string(text), "{{=") {
		return fmt.Errorf("{{= }}: the local runner can't honour expressions")
	}
	return argotemplate.Validate(string(text), func(tag string) error {
		if name := strings.TrimSpace(tag); !known[name] {
			return fmt.Errorf("{{%s}} can't be resolved; known here: %s", name, describe(known))
		}
		return nil
	})
}

func describe(known map[string]bool) string {
	if len(known) == 0 {
		return "none"
	}
	return strings.Join(sortedKeys(known), ", ")
}

// checkItem returns an error for an item that is not a string, number or bool.
func checkItem(item wfv1.Item) error {
	switch item.GetType() {
	case wfv1.String, wfv1.Number, wfv1.Bool:
		return nil
	}
	return fmt.Errorf("%v: the local runner can honour strings, numbers and booleans only", item)
}

// itemName is the name that Argo gives the task for an item.
func itemName(task string, index int, item wfv1.Item) string {
	return fmt.Sprintf("%s(%d:%s)", task, index, strings.NewReplacer("(", "", ")", "").Replace(fmt.Sprintf("%v", item)))
}

// inputs returns the values of a template's input parameters: the argument,
// else the manifest's value, else its default.
func inputs(t *template, args map[string]string) (map[string]string, error) {
	scope := map[string]string{}
	for _, p := range t.Inputs.Parameters {
		value, ok := args[p.Name]
		switch {
		case ok:
		case p.Value != nil:
			value = p.Value.String()
		case p.Default != nil:
			value = p.Default.String()
		default:
			return nil, fmt.Errorf("template %s: parameter %q has no value", t.Name, p.Name)
		}
		scope["inputs.parameters."+p.Name] = value
	}
	return scope, nil
}

// arguments returns the values that an entrypoint gets: the manifest's with
// given over them.
func arguments(m *manifest, given map[string]string) (map[string]string, error) {
	args := map[string]string{}
	var names []string
	for _, p := range m.argo.Spec.Arguments.Parameters {
		names = append(names, p.Name)
		value, ok := given[p.Name]
		if !ok {
			if p.Value == nil {
				return nil, fmt.Errorf("workflow %s: parameter %q has no value", m.argo.Name, p.Name)
			}
			value = p.Value.String()
		}
		if len(p.Enum) > 0 && !slices.ContainsFunc(p.Enum, func(e wfv1.AnyString) bool { return e.String() == value }) {
			return nil, fmt.Errorf("workflow %s: parameter %s is %q, want one of %v", m.argo.Name, p.Name, value, p.Enum)
		}
		args[p.Name] = value
	}
	for _, name := range sortedKeys(given) {
		if !slices.Contains(names, name) {
			return nil, fmt.Errorf("workflow %s has no parameter %q, only %v", m.argo.Name, name, names)
		}
	}
	return args, nil
}
