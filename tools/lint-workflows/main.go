// Lint-workflows checks the Argo manifests of a folder with Argo's own
// validation, as `argo lint --offline` does, and with the local runner's. It
// prints a line for each mistake and exits with 1 if there is any. Argo's
// validation has many dependencies, so the demo does without it.
package main

import (
	"fmt"
	"io"
	"os"

	wfv1 "github.com/argoproj/argo-workflows/v3/pkg/apis/workflow/v1alpha1"
	"github.com/argoproj/argo-workflows/v3/workflow/templateresolution"
	"github.com/argoproj/argo-workflows/v3/workflow/validate"

	"mlops/internal/workflow"
)

func main() {
	dir := "workflows"
	switch len(os.Args) {
	case 1:
	case 2:
		dir = os.Args[1]
	default:
		fmt.Fprintln(os.Stderr, "usage: lint-workflows [folder]")
		os.Exit(2)
	}
	if !lint(dir, os.Stdout, os.Stderr) {
		os.Exit(1)
	}
}

// lint reports whether all manifests in dir are in order. Mistakes go to wrong,
// the sum of it to out.
func lint(dir string, out, wrong io.Writer) bool {
	set, err := workflow.Load(dir)
	if err != nil {
		fmt.Fprintln(wrong, err)
		return false
	}
	ok := true
	all := templates(set.Templates())
	for _, name := range set.Names() {
		// Lint is what Argo's own lint sets; without it, a default that is
		// missing would be refused as if the workflow were being submitted.
		err := validate.ValidateWorkflowTemplate(all, &templateresolution.NullClusterWorkflowTemplateGetter{}, all[name], nil, validate.ValidateOpts{Lint: true})
		if err != nil {
			fmt.Fprintf(wrong, "%s: %v\n", set.File(name), err)
			ok = false
		}
	}
	if ok {
		fmt.Fprintf(out, "%d workflows in %s are valid for Argo and for the local runner\n", len(all), dir)
	}
	return ok
}

// templates finds a WorkflowTemplate by name for Argo's validation.
type templates map[string]*wfv1.WorkflowTemplate

func (t templates) Get(name string) (*wfv1.WorkflowTemplate, error) {
	if found := t[name]; found != nil {
		return found, nil
	}
	return nil, fmt.Errorf("no WorkflowTemplate %q", name)
}
