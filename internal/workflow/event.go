package workflow

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// State of a task. Failed and Errored differ as in Argo: a program that failed,
// and one that could not be started or left no output.
type State string

const (
	Running   State = "Running"
	Succeeded State = "Succeeded"
	Failed    State = "Failed"
	Errored   State = "Errored"
	Skipped   State = "Skipped" // its when is false, or its list is empty
	Omitted   State = "Omitted" // its depends is not met
)

// ended reports whether a task ran to an end, good or bad.
func (s State) ended() bool { return s == Succeeded || s.bad() }

func (s State) bad() bool { return s == Failed || s == Errored }

// Event is something that a running workflow tells: a task starts, logs a line,
// moves on, waits for another try, or ends (any State but Running).
type Event struct {
	Time     time.Time
	Task     string // as Argo displays it: "train(1:deep)"
	Path     string // with what it is in: "pipeline.train-model.train(1:deep)"
	Template string
	State    State
	Try      int           // from 1; 0 where the task never ran
	Elapsed  time.Duration // since the task's first try started
	Progress *Progress     // where a step told how far it is
	Line     string        // where it logged anything else
	Message  string        // why it failed, was skipped or waits, for people
}

// Progress is how far a step is, from its log line "progress".
type Progress struct {
	Done, Total int64  // Total 0: not known
	Unit        string // "rows", "trees"
}

// parseProgress returns what a log line says about progress, or nil.
func parseProgress(line string) *Progress {
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
	return &Progress{Done: int64(l.Done), Total: int64(l.Total), Unit: l.Unit}
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
	Image    string            // empty where the task runs no container
	Args     []string          // after the image's program
	Env      map[string]string // the manifest's plain variables
	State    State
	Tries    int
	Started  time.Time // of the first try
	Ended    time.Time
	Outputs  map[string]string // output parameters

	command string // the program's path in the image
	order   []int  // place in the manifests, for sorting
}

// TaskError says how a task failed for good.
type TaskError struct {
	Task     string // as Argo displays it
	Workflow string
	Template string
	Program  string // path on this machine; empty where none was started
	ExitCode int    // 128+n where signal n killed it; -1 where it was not started or ran too long
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
	for _, line := range e.Tail {
		b.WriteString("\n  " + readable(line))
	}
	if e.Log != "" {
		b.WriteString("\n  whole log: " + e.Log)
	}
	return b.String()
}
