package api

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"mlops/internal/progress"
)

// Events is the body of GET /model/history: what was in production, the newest first.
type Events struct {
	Model   string    `json:"model"`
	Written time.Time `json:"written"` // by the gate, with its last decision
	Total   int       `json:"total"`   // events that there are; more than are listed here if there are many
	Events  []Event   `json:"events"`

	Read    time.Time `json:"read"`              // when the server got it from the registry
	Stale   string    `json:"stale,omitempty"`   // why there may be a newer one; empty: there is none
	Missing string    `json:"missing,omitempty"` // why there are no events; empty: there are
}

// Event is a promotion, a refusal, a rollback or a pin.
type Event struct {
	At      time.Time `json:"at"`
	Kind    string    `json:"event"`
	By      string    `json:"by"`   // a workflow or a person
	From    int       `json:"from"` // number of the version in production before; 0: none
	To      int       `json:"to"`   // and afterwards
	Why     string    `json:"why"`
	Figures *Figures  `json:"figures,omitempty"` // nil: nothing was compared
}

// Figures are what versions scored on the same validation rows when they were compared.
type Figures struct {
	Metric string   `json:"metric"`
	Rows   int      `json:"rows"`
	From   *float64 `json:"from,omitempty"` // nil: it could not be scored, or there was none
	To     *float64 `json:"to,omitempty"`

	// 95 % intervals by draws of the rows: low and high. None in lines from before they
	// were kept.
	FromInterval []float64 `json:"from_interval,omitempty"`
	ToInterval   []float64 `json:"to_interval,omitempty"`

	Rival *Rival `json:"rival,omitempty"` // the best candidate that is neither
}

// Rival is a version that was compared with the one in production, and not promoted.
type Rival struct {
	Version  int       `json:"version"`
	Value    float64   `json:"value"`
	Interval []float64 `json:"interval,omitempty"`
}

// Words says the figures of an event: what versions from and to scored, with their
// intervals, and the best of the others.
func (f *Figures) Words(from, to int) string {
	var parts []string
	say := func(version int, value *float64, interval []float64, what string) {
		if version == 0 || value == nil {
			return
		}
		text := fmt.Sprintf("version %d%s %s", version, what, progress.Figure(*value))
		if len(interval) == 2 {
			text += " (" + progress.Figure(interval[0]) + " to " + progress.Figure(interval[1]) + ")"
		}
		parts = append(parts, text)
	}
	say(to, f.To, f.ToInterval, "")
	if from != to {
		say(from, f.From, f.FromInterval, " before it")
	}
	if r := f.Rival; r != nil {
		say(r.Version, &r.Value, r.Interval, ", the best of the others,")
	}
	if len(parts) == 0 {
		return ""
	}
	return fmt.Sprintf("%s on %s: %s", f.Metric, progress.Counted(int64(f.Rows), "validation row"), strings.Join(parts, "; "))
}

// Change says which version was in production before an event and which is after it.
func (e *Event) Change() string {
	switch {
	case e.To == 0:
		return "none"
	case e.From != 0 && e.From != e.To:
		return fmt.Sprintf("%d → %d", e.From, e.To)
	}
	return strconv.Itoa(e.To)
}
