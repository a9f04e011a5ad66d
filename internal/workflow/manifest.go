// Package workflow runs the Argo WorkflowTemplates in workflows/ on this
// machine, without Kubernetes: each container becomes a local program. It reads
// the manifests with Argo's own Go types and fills in {{ }} with Argo's own
// code. It honours exactly the fields that our manifests use, skips a named list
// that only a cluster can honour, and refuses every other (fields.go), so that
// what it runs is what Argo runs. docs/decisions/0003-local-runner.md says what
// was found out about Argo for it.
package workflow

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	wfv1 "github.com/argoproj/argo-workflows/v3/pkg/apis/workflow/v1alpha1"
	goyaml "go.yaml.in/yaml/v3"
	"sigs.k8s.io/yaml"
)

// Set is the WorkflowTemplates of a folder, read and checked.
type Set struct {
	workflows map[string]*manifest
}

// manifest is one WorkflowTemplate with its file's base name.
type manifest struct {
	file      string
	argo      *wfv1.WorkflowTemplate
	templates map[string]*template
}

// template is one template of a manifest. A dag's tasks are sorted so that each
// comes after those that it depends on.
type template struct {
	*wfv1.Template
	in    *manifest
	tasks []*dagTask
}

// dagTask is a task of a dag with what its depends means.
type dagTask struct {
	wfv1.DAGTask
	index int // in the manifest
	needs condition
}

// Names returns the names of the workflows, sorted.
func (s *Set) Names() []string {
	names := make([]string, 0, len(s.workflows))
	for name := range s.workflows {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Templates returns Argo's own types of the workflows, by name.
func (s *Set) Templates() map[string]*wfv1.WorkflowTemplate {
	all := make(map[string]*wfv1.WorkflowTemplate, len(s.workflows))
	for name, m := range s.workflows {
		all[name] = m.argo
	}
	return all
}

// File returns the base name of the file that a workflow is in.
func (s *Set) File(workflow string) string {
	if m := s.workflows[workflow]; m != nil {
		return m.file
	}
	return ""
}

// Load reads every *.yaml in dir (not in its subfolders), one WorkflowTemplate a
// file, and checks that this package can honour them. The error holds everything
// that was found wrong, each a line that names the file and the field.
func Load(dir string) (*Set, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		return nil, fmt.Errorf("listing workflows in %s: %w", dir, err)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no workflows (*.yaml) in %s", dir)
	}
	set := &Set{workflows: map[string]*manifest{}}
	var wrong []error
	for _, path := range files {
		file := filepath.Base(path)
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("reading workflow: %w", err)
		}
		m, errs := parse(file, text)
		for _, err := range errs {
			wrong = append(wrong, fmt.Errorf("%s: %w", file, err))
		}
		if m == nil {
			continue
		}
		if other := set.workflows[m.argo.Name]; other != nil {
			wrong = append(wrong, fmt.Errorf("%s: metadata.name: %q is in %s already", file, m.argo.Name, other.file))
			continue
		}
		set.workflows[m.argo.Name] = m
	}
	if len(wrong) == 0 { // references can only be followed in a whole set
		wrong = set.check()
	}
	if len(wrong) > 0 {
		return nil, errors.Join(wrong...)
	}
	return set, nil
}

// parse reads one manifest. It returns nil where the text can't be read at all.
func parse(file string, text []byte) (*manifest, []error) {
	// sigs.k8s.io/yaml reads the first document and is silent about others.
	documents := goyaml.NewDecoder(bytes.NewReader(text))
	for n := 0; ; n++ {
		var node goyaml.Node
		err := documents.Decode(&node)
		if errors.Is(err, io.EOF) {
			if n != 1 {
				return nil, []error{fmt.Errorf("holds %d YAML documents, want one WorkflowTemplate", n)}
			}
			break
		}
		if err != nil {
			return nil, []error{err}
		}
	}
	var t wfv1.WorkflowTemplate
	if err := yaml.UnmarshalStrict(text, &t); err != nil {
		// The error names an unknown field, but not its place.
		return nil, append(checkFields(text), err)
	}
	if t.APIVersion != "argoproj.io/v1alpha1" || t.Kind != "WorkflowTemplate" {
		return nil, []error{fmt.Errorf("is %s %s, want argoproj.io/v1alpha1 WorkflowTemplate", t.APIVersion, t.Kind)}
	}
	if t.Name == "" {
		return nil, []error{errors.New("metadata.name: missing")}
	}
	errs := checkFields(text)
	m := &manifest{file: file, argo: &t, templates: map[string]*template{}}
	for i := range t.Spec.Templates {
		w := &template{Template: &t.Spec.Templates[i], in: m}
		if m.templates[w.Name] != nil {
			errs = append(errs, fmt.Errorf("spec.templates[%s]: defined twice", w.Name))
		}
		m.templates[w.Name] = w
	}
	return m, errs
}
