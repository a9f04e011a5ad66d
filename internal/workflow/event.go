package workflow

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"mlops/internal/progress"
)

// parseProgress returns what a log line says about progress, or nil.
func parseProgress(line string) *progress.Progress {
	if !strings.Contains(line, `"progress"`) {
		return nil
	}
	var l struct {
		Msg   string  `json:"msg"`
		Done  float64 `json:"done"`
		Total float64 `json:"total"`
		Unit  string  `json:"unit"`
	}
	if json.Unmarshal([]byte(line), &l) != nil || l.Msg != "progress" {
		return nil
	}
	return &progress.Progress{Done: int64(l.Done), Total: int64(l.Total), Unit: l.Unit}
}

// readable turns a JSON log line into "ERROR message key=value ..." and leaves
// every other line as it is.
func readable(line string) string {
	var fields map[string]any
	if json.Unmarshal([]byte(line), &fields) != nil {
		return line
	}
	msg, ok := fields["msg"].(string)
	if !ok {
		return line
	}
	words := []string{msg}
	if level, ok := fields["level"].(string); ok {
		words = []string{level, msg}
	}
	for _, key := range sortedKeys(fields) {
		if !slices.Contains([]string{"time", "level", "msg"}, key) {
			words = append(words, fmt.Sprintf("%s=%v", key, fields[key]))
		}
	}
	return strings.Join(words, " ")
}

// Task is a task that a run came to: one container, or a task that was not run.
type Task struct {
	Name     string // as Argo displays it
	Path     string
	Workflow string // the WorkflowTemplate that holds Template
	Template string
	Image    string            // empty if the task runs no container
	Args     []string          // after the image's program
	Env      map[string]string // the manifest's plain variables
	State    progress.State
	Tries    int
	Started  time.Time // of the first try
	Ended    time.Time
	Outputs  map[string]string // output parameters

	command string // the program's path in the image
	order   []int  // place in the manifests, for sorting
}

// TaskError says how a task failed in the end.
type TaskError struct {
	Task     string // as Argo displays it
	Workflow string
	Template string
	Program  string // path on this machine; empty if none was started
	ExitCode int    // 128+n if signal n killed it; -1 if it was not started or ran too long
	Tries    int
	Reason   string   // "exit code 2", "ran longer than 5m0s"
	Tail     []string // the last lines of its log
	Log      string   // path of its whole log
}

func (e *TaskError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "task %s (template %s/%s", e.Task, e.Workflow, e.Template)
	if e.Program != "" {
		fmt.Fprintf(&b, ", program %s", e.Program)
	}
	fmt.Fprintf(&b, ") failed: %s", e.Reason)
	if e.Tries > 1 {
		fmt.Fprintf(&b, " (%d tries)", e.Tries)
	}
	for _, line := range telling(e.Tail) {
		b.WriteString("\n  " + readable(line))
	}
	if e.Log != "" {
		b.WriteString("\n  whole log: " + e.Log)
	}
	return b.String()
}

// telling returns the lines of a log's end that explain it: where the program says
// what went wrong, that and its warnings; else all of them.
func telling(tail []string) []string {
	said := func(line string) (level string) {
		var fields struct{ Level string }
		_ = json.Unmarshal([]byte(line), &fields) // another program's line has no level
		return fields.Level
	}
	if !slices.ContainsFunc(tail, func(line string) bool { return said(line) == "ERROR" }) {
		return tail
	}
	return slices.DeleteFunc(slices.Clone(tail), func(line string) bool { return said(line) == "INFO" })
}
