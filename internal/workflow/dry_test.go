package workflow

import (
	"context"
	"fmt"
	"time"

	"mlops/internal/progress"
)

// dryRun returns the tasks that Run would run, with their arguments, and runs
// none. outputs is what the steps would write: the output parameters of
// a template by "workflow/template".
func dryRun(set *Set, workflow string, parameters map[string]string, outputs map[string]map[string]string) (Result, error) {
	return runWith(context.Background(), Options{Set: set, Workflow: workflow, Parameters: parameters}, dry(outputs))
}

// dry is an executor that runs nothing.
type dry map[string]map[string]string

func (d dry) try(_ context.Context, t *Task, outputs []output, _ time.Duration, _ func(progress.Event)) (map[string]string, *failure) {
	written := map[string]string{}
	for _, o := range outputs {
		value, ok := d[t.Workflow+"/"+t.Template][o.name]
		if !ok {
			return nil, &failure{state: progress.Errored, exitCode: -1, reason: fmt.Sprintf("output %s of %s/%s is not given", o.name, t.Workflow, t.Template)}
		}
		written[o.name] = value
	}
	return written, nil
}
