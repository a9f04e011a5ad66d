package evaluate

// ReportSchema is raised when a Report's members change their meaning.
const ReportSchema = 1

// Report is what is known of how good a model is: the artifact evaluation.json of its
// run. Figures are named as in MLflow, without the split; see Figures of each task.
type Report struct {
	Schema    int      `json:"schema"`
	Model     string   `json:"model"`
	Dataset   string   `json:"dataset"`
	Candidate string   `json:"candidate"`
	Task      string   `json:"task"`
	Trees     int      `json:"trees"`
	Threshold *float64 `json:"threshold,omitempty"` // of a binary task
	Metrics   []string `json:"metrics"`             // the spec's; the first decides promotion
	Classes   []string `json:"classes,omitempty"`   // of the confusion matrices; of a binary task in words, the negative first

	Intervals  Intervals   `json:"intervals"`
	SplitRule  string      `json:"split_rule"` // what decides a row's split, in words
	Splits     []Split     `json:"splits"`     // train, validation and test
	Slices     []Slice     `json:"slices"`     // of validation and test; empty if the spec names none
	Importance *Importance `json:"importance,omitempty"`
}

// Intervals says how the intervals came about.
type Intervals struct {
	Method     string  `json:"method"`
	Confidence float64 `json:"confidence"`
	Group      string  `json:"group,omitempty"` // column whose rows were drawn together; none: each row by itself
}

// Split is one split of the rows, measured.
type Split struct {
	Split       string              `json:"split"`
	Rows        int                 `json:"rows"` // that were measured
	Of          int                 `json:"of"`   // rows of the split; of training rows an even choice is measured
	Groups      int                 `json:"groups"`
	Draws       int                 `json:"draws"`           // of the bootstrap
	Times       int                 `json:"times,omitempty"` // different ones of a split by time, if blocks of them were drawn too
	Block       int                 `json:"block,omitempty"` // times that were drawn together
	Figures     map[string]Estimate `json:"figures"`
	Confusion   [][]int             `json:"confusion,omitempty"`   // rows by true, then by predicted class; binary at the threshold
	Calibration []Bin               `json:"calibration,omitempty"` // of a binary task: tenths of the rows by score
}

// Bin is the rows of one tenth by score.
type Bin struct {
	Predicted float64 `json:"predicted"` // mean
	Actual    float64 `json:"actual"`    // share of positive rows
}

// Slice is the rows of a split that have one value in a column.
type Slice struct {
	Column  string              `json:"column"`
	Level   string              `json:"level"`
	Split   string              `json:"split"`
	Rows    int                 `json:"rows"`
	Figures map[string]Estimate `json:"figures"`
	Warning string              `json:"warning,omitempty"` // why the figures say little
}

// Importance is what a model goes by.
type Importance struct {
	Gain        []Weight    `json:"gain"` // by feature: mean gain of its splits, as a share of all features'
	Permutation Permutation `json:"permutation"`

	Contributions Contributions `json:"contributions"`
}

// Contributions are how far the columns of the table move the margin of a row, up or down,
// on average: the mean of the absolute contributions (Shapley values), of several classes
// over the classes too.
type Contributions struct {
	Scale   string   `json:"scale"` // of the margin, such as "log-odds"
	Rows    int      `json:"rows"`  // of the validation split
	Columns []Weight `json:"columns"`
}

// Weight is how much a name counts.
type Weight struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
}

// Permutation is how much worse the model gets when a column of the table is shuffled
// between rows.
type Permutation struct {
	Metric  string   `json:"metric"` // the first of the spec's
	Rows    int      `json:"rows"`   // of the validation split
	Columns []Weight `json:"columns"`
}
