// Package api is the wire contract of the inference server: the bodies of
// GET /model and POST /predict, its problem types, and a client. The server and
// everything that talks to it use these types, so they can't drift apart.
package api

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// MediaType is the media type of every body that is not a problem.
const MediaType = "application/json"

// ModelHeader names, in a response whose body has no place for it (CSV, JSON lines), the
// version that scored it: "readmission/3".
const ModelHeader = "Mlops-Model"

// Version names a version of a registered model.
type Version struct {
	Name      string `json:"name"`
	Number    string `json:"version"`
	RunID     string `json:"run_id"`
	Candidate string `json:"candidate,omitempty"` // set by GET /model only
}

// Model is the body of GET /model: the version that is served, and what a client
// needs to build a form for it.
type Model struct {
	Model     Version            `json:"model"`
	LoadedAt  time.Time          `json:"loaded_at"`          // when the server began to serve it
	CreatedAt time.Time          `json:"created_at"`         // when it was trained
	Task      string             `json:"task,omitempty"`     // Binary (also if empty), Multiclass or Regression
	Threshold float64            `json:"threshold"`          // of a binary task: records with at least this probability are labelled positive
	Interval  *Interval          `json:"interval,omitempty"` // of a regression
	Metrics   map[string]float64 `json:"metrics"`            // by "<split>_<metric>"; undefined ones are left out
	Dataset   Dataset            `json:"dataset"`
	Samples   []Sample           `json:"samples"`
	Refused   *Refusal           `json:"refused"` // a newer version that the server does not serve

	// Synthetic says that the version was trained on made-up rows: its scores say nothing
	// about the real world.
	Synthetic bool `json:"synthetic"`

	// TestOutputs are 101 quantiles of what the version gives for the test rows, ascending;
	// none of several classes, or if they aren't known.
	TestOutputs []float32 `json:"test_outputs,omitempty"`

	// NoWarnings says why predictions carry no warnings; empty if they do.
	NoWarnings string `json:"no_warnings,omitempty"`

	Challenger *Challenger `json:"challenger,omitempty"` // nil: the server compares none

	Links Links `json:"links"`
}

// Links are paths of the server that say more about the served version.
type Links struct {
	Card    string `json:"card,omitempty"` // empty: the version has none
	History string `json:"history"`
}

// Challenger is a version that scores a share of the requests as well, whose scores
// nobody is told, and how they differ from those of the served version.
type Challenger struct {
	Model    *Version   `json:"model,omitempty"` // nil: there is none, or it is refused
	Refused  *Refusal   `json:"refused,omitempty"`
	LoadedAt *time.Time `json:"loaded_at,omitempty"`
	Since    *time.Time `json:"since,omitempty"` // the comparison with the served version began
	Share    float64    `json:"share"`           // of the requests

	SameVectors bool `json:"same_vectors"` // else it has other features, and encodes the records itself

	Records int64  `json:"records"` // compared
	Dropped int64  `json:"dropped"` // not scored, since the server had too much to do
	Skipped int64  `json:"skipped"` // not scored, since their request had too many
	Failed  int64  `json:"failed"`  // it could not score
	Failure string `json:"last_failure,omitempty"`

	Agreement    *float64    `json:"agreement,omitempty"` // share of the records with the same label, or with a value inside the interval
	Labels       []LabelPair `json:"labels,omitempty"`    // the most frequent first
	Difference   *Difference `json:"difference,omitempty"`
	Microseconds float64     `json:"microseconds_per_record,omitempty"` // that it took
}

// LabelPair counts records by what both versions predict.
type LabelPair struct {
	Production string `json:"production"`
	Challenger string `json:"challenger"`
	Records    int64  `json:"records"`
}

// Difference is how far the challenger's probabilities or values are from those of the
// served version; of several classes it is the share of probability that is elsewhere.
// All but Mean are without sign.
type Difference struct {
	Mean     float64 `json:"mean"` // challenger less production
	Absolute float64 `json:"mean_absolute"`
	Median   float64 `json:"median"`
	P90      float64 `json:"p90"`
	P99      float64 `json:"p99"`
	Largest  float64 `json:"largest"`
}

// Tasks.
const (
	Binary     = "binary"
	Multiclass = "multiclass"
	Regression = "regression"
)

// Interval is what is known of a regression's intervals.
type Interval struct {
	Coverage  float64 `json:"coverage"`      // share of the values that they should hold
	HalfWidth float64 `json:"half_width"`    // reach to either side of a prediction
	Test      float64 `json:"test_coverage"` // share of the test rows that they held
}

// Dataset is the part of a data set's YAML that clients need.
type Dataset struct {
	Name        string   `json:"name"`
	Title       string   `json:"title"`
	Description string   `json:"description"`
	Cite        string   `json:"cite,omitempty"`
	Missing     []string `json:"missing"` // markers of a missing value, besides the empty string
	Target      Target   `json:"target"`
	Columns     []Column `json:"columns"` // in the table's order, without the key and the target

	// File is set if the data set's tables aren't written as requests are.
	File *File `json:"file,omitempty"`

	// Earlier is set if the model looks at earlier records.
	Earlier *Earlier `json:"history,omitempty"`

	// Cohort are the rules by which records are left out: these get no score. A
	// rule on the target holds in training only.
	Cohort []Exclusion `json:"cohort,omitempty"`
}

// File says how the data set's tables are written. What is empty is as in a request.
type File struct {
	Encoding  string `json:"encoding,omitempty"`  // other than UTF-8
	Decimal   string `json:"decimal,omitempty"`   // between a number's whole and its fraction
	Thousands string `json:"thousands,omitempty"` // between groups of three digits
}

// Encoding is that of the data set's tables, by its name in a spec; empty: UTF-8.
func (d *Dataset) Encoding() string {
	if d.File == nil {
		return ""
	}
	return d.File.Encoding
}

// TextCSV is the media type of a table. Its parameter numbers says how the numbers of a
// table are spelled whose data set has a File: as that says, or with a decimal point.
// Without it either will do, unless a number could be read both ways.
const (
	TextCSV      = "text/csv"
	NumbersTable = "table"
	NumbersPoint = "point"
)

// Unused reports whether the served version's predictions don't depend on a column. A version
// that doesn't say what training saw may use any.
func (d *Dataset) Unused(c Column) bool {
	if c.Seen != nil || c.Required || d.Earlier != nil && (c.Name == d.Earlier.Group || c.Name == d.Earlier.Order) {
		return false
	}
	if slices.ContainsFunc(d.Cohort, func(e Exclusion) bool { return e.Column == c.Name }) {
		return false
	}
	return slices.ContainsFunc(d.Columns, func(c Column) bool { return c.Seen != nil })
}

// Exclusion leaves out records that have one of the values in the column.
type Exclusion struct {
	Column  string   `json:"column"`
	Values  []string `json:"values"`
	Because string   `json:"because"`
}

// Target is the column that is predicted.
type Target struct {
	Column  string   `json:"column"`
	Labels  Labels   `json:"labels"`            // of a binary task
	Classes []string `json:"classes,omitempty"` // of several classes
}

// Labels are the target's two outcomes in words.
type Labels struct {
	Positive string `json:"positive"`
	Negative string `json:"negative"`
}

// Word returns the words for a prediction's label.
func (l Labels) Word(label int) string {
	if label == 1 {
		return l.Positive
	}
	return l.Negative
}

// Types of columns.
const (
	Category = "category"
	Integer  = "integer"
	Number   = "number"
	Boolean  = "boolean"
	Date     = "date"
)

// Column is one column of the data set.
type Column struct {
	Name   string   `json:"name"`
	Type   string   `json:"type"`             // Category, Integer, Number, Boolean or Date
	Label  string   `json:"label"`            // for people; the name if empty
	Form   string   `json:"form,omitempty"`   // the form's group that it belongs to; empty: not on the form
	Values []string `json:"values,omitempty"` // usual values of a category; others are allowed
	Codes  []Code   `json:"codes,omitempty"`  // usual codes of a category and their meanings
	Names  []Range  `json:"names,omitempty"`  // of a category with many codes: what people call them; the first that fits counts
	Min    *float64 `json:"min,omitempty"`
	Max    *float64 `json:"max,omitempty"`

	Missing  []string `json:"missing,omitempty"`  // markers of a missing value in this column, besides the data set's
	Format   string   `json:"format,omitempty"`   // of dates in the table; ISO 8601 is always read
	Earliest string   `json:"earliest,omitempty"` // date
	Latest   string   `json:"latest,omitempty"`   // date

	Required bool  `json:"required,omitempty"` // a record without a value is refused
	Seen     *Seen `json:"seen,omitempty"`     // what training saw; nil if no feature uses the column, or it isn't known
}

// Seen is what the training rows had in a column.
type Seen struct {
	Missing float64  `json:"missing"`          // share of the rows without a value, from 0 to 1
	Min     *float64 `json:"min,omitempty"`    // of numbers
	Max     *float64 `json:"max,omitempty"`    // of numbers
	Levels  int      `json:"levels,omitempty"` // how many values a category had

	// Typical is the value that a record without one is scored with; nil if it is
	// scored as missing, or with a rare value that is nobody's to know.
	Typical *string `json:"typical,omitempty"`
}

// Range names the values that are numbers in [From, To), or that begin with Prefix.
type Range struct {
	Name   string   `json:"name"`
	From   *float64 `json:"from,omitempty"`
	To     *float64 `json:"to,omitempty"`
	Prefix string   `json:"prefix,omitempty"`
}

// Code is a coded value and its meaning.
type Code struct {
	Code string `json:"code"`
	Name string `json:"name"`
}

// Record is a row as the table has it: column name to text. Reading it accepts
// numbers as their text, and null as the empty string, which is a missing value.
type Record map[string]string

// UnmarshalJSON reads an object whose values are strings, numbers, booleans or null.
func (r *Record) UnmarshalJSON(data []byte) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return err
	}
	if fields == nil {
		*r = nil
		return nil
	}
	*r = make(Record, len(fields))
	for name, raw := range fields {
		var text string
		if err := json.Unmarshal(raw, &text); err != nil {
			if text = string(raw); strings.ContainsAny(text[:1], "{[") {
				return fmt.Errorf("record: %s is neither a string nor a number", name)
			}
		}
		(*r)[name] = text
	}
	return nil
}

// Sample is a record of the test split with the prediction that was stored for
// it when the model was trained.
type Sample struct {
	Record      Record   `json:"record"`
	Earlier     []Record `json:"history,omitempty"` // earlier records of its group, the newest last
	Probability float64  `json:"probability"`       // of a binary task

	Probabilities map[string]float64 `json:"probabilities,omitempty"` // of several classes
	Value         *float64           `json:"value,omitempty"`         // of a regression
}

// EarlierMember is the member of a record to predict that holds the earlier ones.
const EarlierMember = "history"

// Body is the sample as a request has it. Where a model looks at earlier records, it
// says so too if there are none.
func (s Sample) Body(looksBack bool) any {
	if !looksBack {
		return s.Record
	}
	body := map[string]any{EarlierMember: append([]Record{}, s.Earlier...)}
	for name, value := range s.Record {
		body[name] = value
	}
	return body
}

// Example is a sample as a request for people to read: without the columns that the
// predictions don't depend on, such as one that a draft left out as a leak.
func (d *Dataset) Example(s Sample) any {
	record := make(Record, len(s.Record))
	for name, value := range s.Record {
		if !slices.ContainsFunc(d.Columns, func(c Column) bool { return c.Name == name && d.Unused(c) }) {
			record[name] = value
		}
	}
	s.Record = record
	return s.Body(d.Earlier != nil)
}

// Earlier says by what a model finds the earlier records of a record.
type Earlier struct {
	Group string `json:"group"` // column
	Order string `json:"order"` // column

	// What the server holds to look them up; 0 if it has nothing.
	Groups int   `json:"groups"`
	Rows   int   `json:"rows"`
	Bytes  int64 `json:"bytes"`

	From  string    `json:"from"`            // where it has them from: one of EarlierFrom...
	AsOf  time.Time `json:"as_of"`           // when they were last known to be all that there are
	Stale string    `json:"stale,omitempty"` // why newer rows may be missing; empty: none is, for longer than a minute
}

// Where a server has earlier records from.
const (
	EarlierFromVersion  = "version"  // the rows that the version was trained with
	EarlierFromCopy     = "copy"     // a local copy of rows read from Postgres
	EarlierFromPostgres = "postgres" // rows read from Postgres, which it follows
	EarlierAsked        = "asked"    // none: it asks Postgres for each request
	EarlierFromNobody   = "nobody"   // none, and nobody to ask
)

// Refusal says why the server does not serve a newer version.
type Refusal struct {
	Version string    `json:"version"`
	Reason  string    `json:"reason"`
	At      time.Time `json:"at"` // when it was first refused
}

// Predictions is the body of a POST /predict that succeeded.
type Predictions struct {
	Model       Version      `json:"model"`
	Predictions []Prediction `json:"predictions"` // one per record, in the request's order
}

// Warning says in what a record is unlike the training rows.
type Warning struct {
	Column string `json:"column"` // empty if it is about the whole record
	Kind   string `json:"kind"`   // one of the kinds below
	Detail string `json:"detail"`
}

// Kinds of warnings.
const (
	UnseenLevel = "unseen_level" // no training row has this value of a category
	OutOfRange  = "out_of_range" // the number is below or above those of all training rows
	NotGiven    = "missing"      // no value, though every training row has one
	HardlyGiven = "hardly_given" // hardly any column of the record has a value

	// EarlierUnavailable: nobody knows the record's earlier ones, so it is scored as
	// the first of its group.
	EarlierUnavailable = "history_unavailable"
)
