package api

import (
	"encoding/json"
	"errors"
)

// Prediction is the score of one record, or the reason why it has none.
type Prediction struct {
	Label       int     // of a binary task: 1 if positive, else 0
	Probability float64 // of a binary task

	Class         string             // of several classes: the most probable one, "label" in JSON
	Probabilities map[string]float64 // of several classes: of each of them

	Value    *float64    // of a regression
	Interval *[2]float64 // of a regression: where the true value is, with the coverage that GET /model says

	Warnings []Warning // in what the record is unlike the training rows

	Contributions *Contributions // why, if the request asked for it

	// Excluded is the reason why the cohort leaves the record out; empty if it is
	// scored. It stands alone in its object.
	Excluded string
}

// wirePrediction is a prediction in JSON; label is a number or, of several classes, a
// text.
type wirePrediction struct {
	Label         json.RawMessage    `json:"label,omitempty"`
	Probability   *float64           `json:"probability,omitempty"`
	Probabilities map[string]float64 `json:"probabilities,omitempty"`
	Value         *float64           `json:"value,omitempty"`
	Interval      *[2]float64        `json:"interval,omitempty"`
	Warnings      []Warning          `json:"warnings,omitempty"`
	Contributions *Contributions     `json:"contributions,omitempty"`
	Excluded      string             `json:"excluded,omitempty"`
}

var errNoScore = errors.New("a prediction without a label or a probability, or without a value or its interval, and no reason why it is excluded")

// UnmarshalJSON reads a prediction. One without a score has to say why, so that
// nothing is taken for a probability of 0.
func (p *Prediction) UnmarshalJSON(data []byte) error {
	var w wirePrediction
	if err := json.Unmarshal(data, &w); err != nil {
		return err
	}
	*p = Prediction{Warnings: w.Warnings, Contributions: w.Contributions, Excluded: w.Excluded}
	binary, classes, value := w.Probability != nil, w.Probabilities != nil, w.Value != nil
	switch {
	case w.Excluded != "":
		if w.Label != nil || binary || classes || value || w.Interval != nil {
			return errNoScore
		}
		return nil
	case w.Label != nil && binary && !classes && !value:
		p.Probability = *w.Probability
		return json.Unmarshal(w.Label, &p.Label)
	case w.Label != nil && classes && !binary && !value:
		p.Probabilities = w.Probabilities
		if err := json.Unmarshal(w.Label, &p.Class); err != nil {
			return err
		}
		if _, ok := p.Probabilities[p.Class]; !ok {
			return errors.New("a prediction whose label has no probability")
		}
		return nil
	case w.Label == nil && value && !binary && !classes && w.Interval != nil:
		p.Value, p.Interval = w.Value, w.Interval
		return nil
	}
	return errNoScore
}

// MarshalJSON writes a prediction as the server does.
func (p Prediction) MarshalJSON() ([]byte, error) {
	w := wirePrediction{Warnings: p.Warnings, Contributions: p.Contributions, Excluded: p.Excluded}
	var err error
	switch {
	case p.Excluded != "":
		w.Warnings, w.Contributions = nil, nil
	case p.Probabilities != nil:
		w.Label, err = json.Marshal(p.Class)
		w.Probabilities = p.Probabilities
	case p.Value != nil:
		w.Value, w.Interval = p.Value, p.Interval
	default:
		w.Label, err = json.Marshal(p.Label)
		w.Probability = &p.Probability
	}
	if err != nil {
		return nil, err
	}
	return json.Marshal(w)
}
