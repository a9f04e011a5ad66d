package api

import "encoding/json"

// Contributions are why a prediction is what it is: what each feature of the model, and
// each column of the record, adds to the margin (Shapley values). Base and all of the
// features, or all of the columns, add up to it.
type Contributions struct {
	// Scale is what the margin is measured in: "log-odds" of a probability, "log" of a
	// value, the "value" itself, or the "score" of the class Of.
	Scale string `json:"scale"`

	Of     string  `json:"of,omitempty"` // of several classes: the one that is explained, which is the label
	Base   float64 `json:"base"`         // the margin over the training rows
	Margin float64 `json:"margin"`       // of the record

	// Both with the largest first, whatever the sign.
	Features []FeatureContribution `json:"features"`
	Columns  []ColumnContribution  `json:"columns"`

	OtherFeatures *Rest `json:"other_features,omitempty"` // those that are not listed
	OtherColumns  *Rest `json:"other_columns,omitempty"`
}

// FeatureContribution is what a feature contributes.
type FeatureContribution struct {
	Feature      string          `json:"feature"`
	Label        string          `json:"label"`          // for people
	Columns      []string        `json:"columns"`        // that it is made of
	Value        json.RawMessage `json:"value"`          // a number, a level, or null
	Name         string          `json:"name,omitempty"` // what a coded level means
	Contribution float64         `json:"contribution"`
}

// ColumnContribution is what a column contributes by all features that are made of it.
// A feature of several columns counts in equal parts for each; features of earlier
// records count as a column of their own, called history.
type ColumnContribution struct {
	Column       string          `json:"column"`
	Label        string          `json:"label"`          // for people
	Value        json.RawMessage `json:"value"`          // as the request has it, or null
	Name         string          `json:"name,omitempty"` // what a code means
	Contribution float64         `json:"contribution"`
}

// Rest is the sum of contributions that are not listed.
type Rest struct {
	Count        int     `json:"count"`
	Contribution float64 `json:"contribution"`
}
