package progress

import "time"

// State of a task. Failed and Errored differ as in Argo: Failed is a program that
// failed, Errored one that could not be started or left no output.
type State string

const (
	Running   State = "Running"
	Succeeded State = "Succeeded"
	Failed    State = "Failed"
	Errored   State = "Errored"
	Skipped   State = "Skipped" // its when is false, or its list is empty
	Omitted   State = "Omitted" // its depends is not met
)

// Ended reports whether a task ran to an end, good or bad.
func (s State) Ended() bool { return s == Succeeded || s.Bad() }

// Bad reports whether a task ran and failed.
func (s State) Bad() bool { return s == Failed || s == Errored }

// Event is what a running task reports: it starts, logs a line, makes progress,
// waits for another try, or ends (any State but Running).
type Event struct {
	Time     time.Time
	Task     string // as Argo displays it: "train(1:deep)"
	Path     string // with the tasks around it: "pipeline.train-model.train(1:deep)"
	Template string
	State    State
	Try      int           // from 1; 0 if the task never ran
	Elapsed  time.Duration // since the task's first try started
	Progress *Progress     // if the task said how far it is
	Line     string        // if it logged anything else
	Message  string        // why it failed, was skipped or waits, for people
}

// Progress is how far a task is.
type Progress struct {
	Done, Total int64  // Total 0: unknown
	Unit        string // "rows", "rounds"
}
