// Package dataset is the data set's YAML: one file that says where the records
// come from, what their columns are, what is predicted, how the rows are split,
// which features are made and which candidates are trained. Every step, the
// server and the page are driven by it; no other code names a column.
package dataset

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Spec is one data set, as its YAML says it. A Spec that Parse returned is
// valid: every name it refers to exists and every number is in its range.
type Spec struct {
	Name        string `yaml:"name"`        // table name in the databases raw and clean
	Title       string `yaml:"title"`       // one line for people
	Description string `yaml:"description"` // what is predicted, for people
	Model       string `yaml:"model"`       // registered model's name
	Task        string `yaml:"task"`        // one of Tasks; empty: Binary
	Synthetic   bool   `yaml:"synthetic"`   // the rows are made up: SYNTHETIC=1 sets it on the data set that it makes

	Source  Source   `yaml:"source"`
	Missing []string `yaml:"missing"` // markers of a missing value, besides the empty field

	Rejects  Rejects  `yaml:"rejects"`   // how many rows a step may lose
	OnChange string   `yaml:"on_change"` // what happens to a row with a known key and other values: onChangeReject (the default) or onChangeReplace
	Key      string   `yaml:"key"`       // column that identifies a row; empty: digest and line number do
	Group    string   `yaml:"group"`     // column whose rows must stay in one split; empty: each row alone
	Order    string   `yaml:"order"`     // column that orders the rows of a group; features with history look at the earlier ones
	Columns  []Column `yaml:"columns"`

	Target      Target      `yaml:"target"`
	AllowLeak   []string    `yaml:"allow_leak"`   // columns that may give the answer away: training stops if one of the others seems to
	AllowCopies bool        `yaml:"allow_copies"` // rows that are copies of others are right: training stops on them else
	Cohort      []Exclusion `yaml:"cohort"`
	Split       Split       `yaml:"split"`
	Features    []Feature   `yaml:"features"`
	Weights     Weights     `yaml:"weights"`   // how much a row counts in training
	Threshold   Threshold   `yaml:"threshold"` // of a binary task
	Interval    *Percent    `yaml:"interval"`  // of a regression: share of the values that a prediction's interval should hold
	Samples     string      `yaml:"samples"`   // shown to everyone by /model: "synthetic" (made up; the default) or "real" rows
	Metrics     []string    `yaml:"metrics"`   // logged, in this order; the first decides promotion
	Slices      []string    `yaml:"slices"`    // columns by whose values the models are measured too
	Candidates  []Candidate `yaml:"candidates"`
	Search      *Search     `yaml:"search"`  // looks for one more candidate
	Promote     Promote     `yaml:"promote"` // when a candidate takes the place of the version in production

	text     []byte
	columns  map[string]int
	required []int // columns
	earlier  bool  // a feature looks at earlier rows
}

// Source says where the table is found when nobody names another place.
type Source struct {
	URL     string   `yaml:"url"`     // public address
	SHA256  string   `yaml:"sha256"`  // of the table's bytes at URL, checked when it comes from there
	Member  string   `yaml:"member"`  // the table's name in an archive with several
	Local   []string `yaml:"local"`   // paths tried before URL, from the project's root
	Package string   `yaml:"package"` // path of the table in an installed Python package
	Cite    string   `yaml:"cite"`

	Separator string `yaml:"separator"` // between fields: "," ";" "|" or a tab ("tab" for short); empty: the comma, in a file named .tsv the tab
	Encoding  string `yaml:"encoding"`  // of the table's text, one of Encodings; empty: UTF-8, or UTF-16 where the table says so at its start
	Skip      int    `yaml:"skip"`      // lines before the header that are none of the table's: a title, comments
	Header    string `yaml:"header"`    // NoHeader where the first line is a record: the columns are all of the table's then, in its order
	Ignore    Ignore `yaml:"ignore"`    // columns of the table that are left out

	// How the table spells numbers. Records to predict spell them as JSON does.
	Decimal   string `yaml:"decimal"`   // between a number's whole and its fraction: "." or ","; empty: "."
	Thousands string `yaml:"thousands"` // between groups of three digits, such as ","; empty: none

	// Bounds of a load: a table that exceeds one of them stops it.
	MaxLines int  `yaml:"max_lines"` // 0: DefaultMaxLines
	MaxSize  Size `yaml:"max_size"`  // of the table, unpacked; 0: DefaultMaxSize
	MaxRatio int  `yaml:"max_ratio"` // of the table's size to that of the archive; 0: DefaultMaxRatio
}

// maxSkip bounds the lines before a table's header.
const maxSkip = 1000

// NoHeader is what Source.Header says of a table without a header.
const NoHeader = "none"

// Ignore names columns of the table that are left out, by their header.
type Ignore struct {
	All   bool // every column that the spec does not list
	Names []string
}

// Leaves reports whether a column of the table is left out, by its header. Only one that the
// spec does not list can be.
func (s *Source) Leaves(header string) bool {
	return s.Ignore.All || slices.Contains(s.Ignore.Names, header)
}

// Rejects bounds what a data step may reject before the pipeline stops.
type Rejects struct {
	AtMost *Percent `yaml:"at_most"` // of the lines in a load, of the raw rows in clean; defaultRejects where it is not set
}

// SyntheticSuffix ends the name of a data set of made-up rows.
const SyntheticSuffix = "_synthetic"

// defaultRejects is the share of rows that a step may reject where the spec does
// not say.
const defaultRejects Percent = 5

// What a spec's on_change says.
const (
	onChangeReject  = "reject"
	onChangeReplace = "replace"
)

// Percent is a share from 0 to 100, written with its sign: 5%, 0.5%.
type Percent float64

func (p Percent) String() string { return strconv.FormatFloat(float64(p), 'f', -1, 64) + "%" }

// Of returns the most rows of n that the share allows.
func (p Percent) Of(n int64) int64 { return int64(float64(p) * float64(n) / 100) }

// Type is the kind of a column's values.
type Type string

const (
	Integer  Type = "integer"  // int64; bigint in clean
	Number   Type = "number"   // float64; double precision in clean
	Category Type = "category" // text
	Boolean  Type = "boolean"  // "true" or "false"; boolean in clean
	Date     Type = "date"     // a day, maybe with a time of day; timestamp in clean
)

// Types are all of them.
var Types = []Type{Integer, Number, Category, Boolean, Date}

// Column is one column of the table, in the file's order.
type Column struct {
	Name   string            `yaml:"name"`
	From   *string           `yaml:"from"` // its header in the table, where that is not the name
	Type   Type              `yaml:"type"`
	Label  string            `yaml:"label"`  // for people; the name where empty
	Form   string            `yaml:"form"`   // the group it stands in on the page; empty: not asked for
	Values []string          `yaml:"values"` // usual values of a category, offered by the page; others are allowed
	Codes  map[string]string `yaml:"codes"`  // usual codes of a category with their meaning
	Names  []Range           `yaml:"names"`  // of a category: what people call its values, where they are too many to list
	Min    *float64          `yaml:"min"`    // a smaller number can't be cleaned
	Max    *float64          `yaml:"max"`    // a larger number can't be cleaned

	// Required refuses rows and records to predict without a value.
	Required bool `yaml:"required"`

	// Unit is a text that the table writes before or behind each number: %, $, EUR,
	// kg. It is no part of the value.
	Unit string `yaml:"unit"`

	Missing  []string `yaml:"missing"`  // markers of a missing value in this column, besides those of all columns
	Format   string   `yaml:"format"`   // how the table writes a date: DD.MM.YYYY; ISO 8601 is always read
	Earliest string   `yaml:"earliest"` // an earlier date can't be cleaned
	Latest   string   `yaml:"latest"`   // a later date can't be cleaned

	member       string
	markers      []string  // of a missing value, the table's and the column's
	missing      []float64 // those that are numbers, where the column's values may be
	missingDates []string  // those that are dates, where the column's values are
	layout       *layout   // of Format

	// The cohort's rule that leaves a row out, by the column's canonical value.
	excluded map[string]int

	only map[string]bool // the values that the column takes; nil: any
}

// Header is what the column is called in the table.
func (c *Column) Header() string {
	if c.From != nil {
		return *c.From
	}
	return c.Name
}

// Markers are the texts that stand for no value in the column, besides the empty one.
func (c *Column) Markers() []string { return c.markers }

// Member is how a JSON object names the column: in quotes, with a colon.
func (c *Column) Member() string { return c.member }

// Target is what is predicted. A row whose target is missing is not trained on.
type Target struct {
	Column   string   `yaml:"column"`
	Positive []string `yaml:"positive"` // of a binary task: values that count as 1
	Negative []string `yaml:"negative"` // and those that count as 0: a row with another value can't be cleaned; none: every other
	Classes  []string `yaml:"classes"`  // of several classes: all of them; a row with another value can't be cleaned
	Labels   struct {
		Positive string `yaml:"positive"`
		Negative string `yaml:"negative"`
	} `yaml:"labels"`

	index map[string]int // the number of a class
}

// Exclusion leaves rows out when features are made; they stay in clean. A record
// to predict gets no score but the reason.
type Exclusion struct {
	Column  string   `yaml:"column"`
	Values  []string `yaml:"values"`
	Because string   `yaml:"because"`
}

// Feature is one input of the model. Exactly one of Number, Category, Ranges,
// Count, Date and DaysFrom is set; none with EarlierCount.
type Feature struct {
	Name string `yaml:"name"` // the column's name where empty (for Count it is required)

	// Number takes the column as a number, a boolean as 0 or 1; Values turns a
	// category's value into one ("[0-10)": 5).
	Number string             `yaml:"number"`
	Values map[string]float64 `yaml:"values"`

	// Category takes the column's value as it is. FoldBelow folds the levels
	// with fewer training rows into one, which then also takes levels never seen.
	Category  string `yaml:"category"`
	FoldBelow int    `yaml:"fold_below"`

	// Ranges looks the column's value up in Table and takes the entry's name as
	// a category.
	Ranges string  `yaml:"ranges"`
	Table  []Range `yaml:"table"`

	// Count is how many of these columns hold one of Of; with Not set, how many
	// hold a value that is none of Of (missing ones never count).
	Count []string `yaml:"count"`
	Of    []string `yaml:"of"`
	NotOf []string `yaml:"not_of"`

	// Date takes a part of a date: one of Parts.
	Date string `yaml:"date"`
	Part string `yaml:"part"`

	// DaysFrom is how many days To is after the column, without regard to times of
	// day: To is another date column or a date.
	DaysFrom string `yaml:"days_from"`
	To       string `yaml:"to"`

	// Earlier makes the feature of the group's earlier rows, cohort or not, instead
	// of the row itself: one of EarlierKinds. The other keys say what is looked at
	// in each of them.
	Earlier string `yaml:"history"`
}

// Range is an entry of a look-up: values that are numbers in [From, To), or
// that start with Prefix. The first entry that fits gives the name.
type Range struct {
	Name   string   `yaml:"name"`
	From   *float64 `yaml:"from"`
	To     *float64 `yaml:"to"`
	Prefix string   `yaml:"prefix"`
}

// NameOf returns the name of the first range that a value is in; empty if there is none.
func NameOf(ranges []Range, value string) string {
	x, number := ParseNumber([]byte(value))
	for _, r := range ranges {
		if r.Prefix != "" && strings.HasPrefix(value, r.Prefix) || r.From != nil && number && x >= *r.From && x < *r.To {
			return r.Name
		}
	}
	return ""
}

// NameOf is what people call a value of the column; empty if the spec doesn't say.
func (c *Column) NameOf(value string) string {
	return cmp.Or(c.Codes[value], NameOf(c.Names, value))
}

// Text returns the YAML that the spec was read from, byte for byte.
func (s *Spec) Text() []byte { return s.text }

// Digest returns the SHA-256 of Text in hex.
func (s *Spec) Digest() string {
	d := sha256.Sum256(s.text)
	return hex.EncodeToString(d[:])
}

// Column returns the index of the column with that name in Columns, or -1.
func (s *Spec) Column(name string) int {
	if i, ok := s.columns[name]; ok {
		return i
	}
	return -1
}

// Required returns the columns that a record has to have a value in.
func (s *Spec) Required() []int { return s.required }

// RealSamples reports whether real rows are stored with a version and shown to
// everyone, and not made-up ones.
func (s *Spec) RealSamples() bool { return s.Samples == "real" }

// AtMost returns the share of rows that a data step may reject.
func (s *Spec) AtMost() Percent {
	if s.Rejects.AtMost == nil {
		return defaultRejects
	}
	return *s.Rejects.AtMost
}

// Replaces reports whether a row with a known key and other values takes the
// place of the one that is there.
func (s *Spec) Replaces() bool { return s.OnChange == onChangeReplace }

// Candidate returns the candidate with that name, or nil. The one that is searched for
// has no parameters yet.
func (s *Spec) Candidate(name string) *Candidate {
	for i := range s.Candidates {
		if s.Candidates[i].Name == name {
			return &s.Candidates[i]
		}
	}
	if s.Search != nil && name == SearchName {
		return s.Search.candidate()
	}
	return nil
}

// UnmarshalYAML reads a share such as 5%.
func (p *Percent) UnmarshalYAML(n *yaml.Node) error {
	number, signed := strings.CutSuffix(n.Value, "%")
	x, ok := ParseNumber([]byte(strings.TrimSpace(number)))
	if n.Kind != yaml.ScalarNode || !signed || !ok || x < 0 || x > 100 {
		return &yaml.TypeError{Errors: []string{fmt.Sprintf("line %d: %q is not a share; write it as 5%%, from 0%% to 100%%", n.Line, n.Value)}}
	}
	*p = Percent(x)
	return nil
}

// UnmarshalYAML reads a list of names, or the word all.
func (i *Ignore) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode && n.Value == "all" {
		i.All = true
		return nil
	}
	if n.Kind == yaml.SequenceNode {
		for _, e := range n.Content {
			if e.Kind == yaml.AliasNode {
				e = e.Alias
			}
			if e.Kind != yaml.ScalarNode || e.ShortTag() == "!!null" && e.Value == "" {
				return &yaml.TypeError{Errors: []string{fmt.Sprintf("line %d: an entry of ignore is not a name", e.Line)}}
			}
			i.Names = append(i.Names, strings.TrimSpace(e.Value))
		}
		return nil
	}
	return &yaml.TypeError{Errors: []string{fmt.Sprintf("line %d: ignore is a list of the table's columns, or all (every column that is not listed)", n.Line)}}
}
