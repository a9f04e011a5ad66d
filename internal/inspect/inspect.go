// Package inspect looks for what makes a model of some rows doubtful or worthless
// before it is trained: too few rows of a class, features that say nothing, a feature
// that gives the answer away, rows that change from the first to the last.
package inspect

import (
	"fmt"
	"hash/fnv"
	"slices"
	"strings"

	"mlops/internal/dataset"
	"mlops/internal/evaluate"
	"mlops/internal/feature"
)

// Level is how bad a finding is.
type Level string

const (
	Stop    Level = "stop"    // a model of these rows could not be trusted: nothing is trained
	Warning Level = "warning" // worth knowing
)

// Finding is one thing that was found.
type Finding struct {
	Level   Level   `json:"level"`
	Kind    string  `json:"kind"` // target, few, empty, constant, leak, group, copies or drift
	Feature string  `json:"feature,omitempty"`
	Split   string  `json:"split,omitempty"`
	Value   float64 `json:"value"` // rows of the rarer class, AUC or share of variance, or the stability index
	Text    string  `json:"text"`  // a sentence for people, with the remedy
}

// String is the finding for people, in one line.
func (f Finding) String() string { return string(f.Level) + ": " + f.Text }

// Error says that findings stop the pipeline.
type Error struct{ Findings []Finding }

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("these rows can't be trained on")
	for _, f := range e.Findings {
		if f.Level == Stop {
			b.WriteString("\n  " + f.Text)
		}
	}
	return b.String()
}

// Check returns an *Error if a finding stops the pipeline.
func Check(found []Finding) error {
	if slices.ContainsFunc(found, func(f Finding) bool { return f.Level == Stop }) {
		return &Error{found}
	}
	return nil
}

// Feature is one column of the encoded rows.
type Feature struct {
	Name    string
	Columns []string // of the spec that it is made of
	Codes   int      // of a category: its values are 0 to Codes-1; 0: a number
	Levels  []string // of a category: the texts of its first codes, which may be fewer
}

// Part is the encoded rows of one split, in the order in which they arrived: len(Y)
// vectors of as many values as there are features. NaN is missing.
type Part struct {
	X []float32
	Y []float32 // what Spec.Label says of each row

	// Of the training rows; both may be nil.
	Batch []int32 // in which a row came, counted from 0, ascending
	Fold  []uint8 // below Folds, the same for the rows of one group
}

// Folds is in how many parts rows are cut to look at each by what the others tell.
const Folds = 5

const (
	// Fewest rows of the rarer class with which a split says anything at all: with
	// five, the AUC's interval is some 0.4 wide.
	Fewest = 5
	// scarce is the same for a word of warning: an interval of about 0.2.
	scarce = 30
	// LeakAUC is the AUC of a single feature, by Alone, above which it is taken to
	// give the answer away.
	LeakAUC = 0.98
	// shifted is the population stability index above which a distribution is by
	// convention called another one.
	shifted = 0.25
)

// Rows inspects what a data set's candidates are about to be trained on.
func Rows(spec *dataset.Spec, features []Feature, parts map[string]Part) ([]Finding, error) {
	var found []Finding
	for _, split := range []string{dataset.Train, dataset.Validation, dataset.Test} {
		found = append(found, few(spec, split, parts[split].Y)...)
	}
	if Check(found) != nil {
		return found, nil // nothing can be measured
	}
	train := parts[dataset.Train]
	stretches := stretchesOf(train.Batch, len(train.Y))
	sameTarget := steadyTarget(train.Y, stretches)
	var drifts []moved
	drifted := map[string]bool{}
	sortedBy := "" // where the order is the table's and not that of batches
	oneBatch := len(train.Batch) == 0 || train.Batch[0] == train.Batch[len(train.Batch)-1]
	for i, f := range features {
		values := column(train.X, i, len(features))
		if one := plain(f, values); one != nil {
			found = append(found, *one)
			continue
		}
		leak, err := Leak(spec, f, values, train.Y, train.Fold)
		if err != nil {
			return nil, err
		}
		if leak != nil {
			found = append(found, *leak)
		}
		if drift := drift("feature", f, values, stretches, sameTarget && measured(spec, f)); drift != nil {
			drifts = append(drifts, *drift)
			drifted[f.Name] = true
			if sortedBy == "" && oneBatch && inOrder(values) {
				sortedBy = f.Name
			}
		}
	}
	exchanged(drifts)
	inUnits(drifts)
	var changes []Finding
	var dates []moved
	for _, m := range drifts {
		if m.to.batches && !m.exchanged && ofDate(spec, m.feature) {
			dates = append(dates, m)
		} else {
			changes = append(changes, *m.found)
		}
	}
	found = append(found, explained(changes, sortedBy)...)
	if dates := laterDates(dates, stretches); dates != nil {
		found = append(found, *dates)
	}
	if against := relation(spec, features, train.X, train.Y, stretches, drifted); against != nil {
		found = append(found, *against)
	} else if turned := turned(spec, features, train.X, train.Y, stretches); turned != nil {
		found = append(found, *turned)
	}
	if Check(found) == nil { // else a single feature tells
		if joint := Joint(spec, features, train.X, train.Y, train.Fold); joint != nil {
			found = append(found, *joint)
		}
	}
	if group := ungrouped(spec, features, train); group != nil {
		found = append(found, *group)
	}
	if copies := copied(spec, features, train, parts[dataset.Test]); copies != nil {
		found = append(found, *copies)
	}
	return sorted(found), nil
}

// sorted has what stops the pipeline first.
func sorted(found []Finding) []Finding {
	slices.SortStableFunc(found, func(a, b Finding) int { return strings.Compare(string(a.Level), string(b.Level)) })
	return found
}

// Leak finds a feature that gives the answer away by itself, unless the spec allows
// it; nil if it does not. Training stops on one, and a draft leaves its columns out.
func Leak(spec *dataset.Spec, f Feature, values, y []float32, folds []uint8) (*Finding, error) {
	var most, value float64
	var what string
	var err error
	switch spec.Task {
	case dataset.Regression:
		most, what = LeakR2, "explains %.4f of the target's variance"
		value = Explained(values, y, f.Codes, folds)
	case dataset.Multiclass:
		most, what = LeakAUC, "has an AUC of at least %.4f for each class"
		value, _, err = Classes(values, y, f.Codes, folds, len(spec.Target.Classes))
	default:
		most, what = LeakAUC, "has an AUC of %.4f"
		value, err = Alone(values, y, f.Codes, folds)
	}
	if err != nil {
		return nil, fmt.Errorf("inspecting feature %s: %w", f.Name, err)
	}
	if allowed(spec, f) {
		return nil, nil
	}
	if value <= most {
		if spec.Task != dataset.Regression || !bands(values, y) {
			return nil, nil
		}
		what = "explains %.4f of the target's variance, and each of its values has the rows from one target to another"
	}
	return &Finding{Level: Stop, Kind: "leak", Feature: f.Name, Value: value, Text: fmt.Sprintf(
		"feature %s alone "+what+": it seems to give the answer away; leave it out if it is only known afterwards, else say allow_leak: [%s]",
		f.Name, value, strings.Join(f.Columns, ", "))}, nil
}

func allowed(spec *dataset.Spec, f Feature) bool {
	return slices.ContainsFunc(f.Columns, func(c string) bool { return slices.Contains(spec.AllowLeak, c) })
}

func column(x []float32, i, width int) []float32 {
	values := make([]float32, 0, len(x)/width)
	for at := i; at < len(x); at += width {
		values = append(values, x[at])
	}
	return values
}

// few looks at the classes of a split.
func few(spec *dataset.Spec, split string, y []float32) []Finding {
	switch spec.Task {
	case dataset.Multiclass:
		counts := make([]int, len(spec.Target.Classes))
		for _, label := range y {
			counts[int(label)]++
		}
		return FewOfClasses(spec, split, len(y), counts)
	case dataset.Regression:
		if len(y) == 0 {
			return FewValues(spec, split, 0, 0, 0)
		}
		return FewValues(spec, split, len(y), slices.Min(y), slices.Max(y))
	}
	positive := 0
	for _, label := range y {
		if label == 1 {
			positive++
		}
	}
	return Few(spec, split, len(y), positive)
}

// Few looks at the classes of a split of so many rows: training stops if the rarer one has
// hardly any row.
func Few(spec *dataset.Spec, split string, rows, positive int) []Finding {
	rarer, name := positive, "positive"
	if negative := rows - positive; negative < positive {
		rarer, name = negative, "negative"
	}
	f := Finding{Kind: "few", Split: split, Value: float64(rarer), Text: fmt.Sprintf("the %s rows are %d, and only %d of them %s (%s)", split, rows, rarer, name, spec.Target.Column)}
	switch {
	case rarer < Fewest:
		f.Level = Stop
		f.Text += fmt.Sprintf("; at least %d are needed: bring more rows, or %s", Fewest, spec.EnlargeSplit(split))
	case rarer < scarce:
		f.Level = Warning
		f.Text += "; its figures are rough"
	default:
		return nil
	}
	return []Finding{f}
}

// plain finds a feature that has nothing to learn from.
func plain(f Feature, values []float32) *Finding {
	n, first, varies := 0, float32(0), false
	for _, v := range values {
		if v != v {
			continue
		}
		if n == 0 {
			first = v
		}
		varies = varies || v != first
		n++
	}
	switch {
	case n == 0:
		return &Finding{Level: Warning, Kind: "empty", Feature: f.Name, Text: fmt.Sprintf("feature %s is missing in all %d training rows: leave it out", f.Name, len(values))}
	case !varies && n == len(values):
		return &Finding{Level: Warning, Kind: "constant", Feature: f.Name, Text: fmt.Sprintf("feature %s has the same value in all %d training rows: leave it out", f.Name, len(values))}
	}
	return nil
}

const (
	bins  = 64 // of a number's values, of which each has about as many rows
	prior = 10 // rows of the mean that each bin or level starts with, so that rare ones prove nothing
)

// Alone is the AUC that a single feature reaches: as a number in either direction, or
// by the share of positive rows among the other folds' rows with the same value, so
// that a value of one row tells nothing of itself. codes is as Feature.Codes. The rows
// of one group share a fold, as what only names the group must not tell its other
// rows; nil: every row is a group of its own. It is the one judgement of a single
// feature: what training stops on, what a draft leaves out and what a profile shows.
func Alone(values, y []float32, codes int, folds []uint8) (float64, error) {
	if folds == nil {
		folds = make([]uint8, len(values))
		for i := range folds {
			folds[i] = uint8(i % Folds)
		}
	}
	cuts, groups := groupsOf(values, codes, bins)
	group := make([]int, len(values))
	for i, v := range values {
		group[i] = groupOf(v, cuts, codes, groups)
	}
	best := 0.0
	if codes == 0 {
		var with, labels []float32
		for i, v := range values {
			if v == v {
				with, labels = append(with, v), append(labels, y[i])
			}
		}
		if 2*len(with) >= len(values) {
			if r, err := evaluate.Rank(with, labels); err == nil { // an error: one class only
				best = max(r.AUC(), 1-r.AUC())
			}
		}
	}
	type tally struct{ rows, positive float64 }
	all, total := make([][Folds]tally, groups), tally{}
	for i, g := range group {
		t := &all[g][folds[i]]
		t.rows++
		t.positive += float64(y[i])
		total.rows++
		total.positive += float64(y[i])
	}
	mean := total.positive / total.rows
	scores := make([]float64, len(values))
	for i, g := range group {
		n, positive := float64(prior), prior*mean
		for fold, t := range all[g] {
			if fold != int(folds[i]) {
				n, positive = n+t.rows, positive+t.positive
			}
		}
		scores[i] = positive / n
	}
	r, err := evaluate.Rank(scores, y)
	if err != nil {
		return 0, err
	}
	return max(best, r.AUC()), nil
}

// groupsOf parts values: a category's codes, or a number between cuts that leave about
// as many values in each of at most n groups. The last group is of missing values.
func groupsOf(values []float32, codes, n int) (cuts []float32, groups int) {
	if codes > 0 {
		return nil, codes + 1
	}
	cuts = quantiles(values, n)
	return cuts, len(cuts) + 2
}

// groupOf is the group of one value.
func groupOf(v float32, cuts []float32, codes, groups int) int {
	switch {
	case v != v:
		return groups - 1
	case codes == 0:
		g, _ := slices.BinarySearch(cuts, v)
		return g
	}
	return int(v)
}

// FoldOf is the fold of a row: that of its group where it has one, else that of its
// number among the rows. fields has one value per column of the spec, group is the
// place of the group's column, -1 if there is none.
func FoldOf(fields [][]byte, group, number int) uint8 {
	if group < 0 || fields[group] == nil {
		return uint8(number % Folds)
	}
	h := fnv.New32a()
	h.Write(fields[group])
	return uint8(h.Sum32() % Folds)
}

// FeaturesOf describes the columns of the vectors that an encoder makes.
func FeaturesOf(spec *dataset.Spec, e *feature.Encoder) []Feature {
	all := make([]Feature, len(e.Features))
	for i := range all {
		f := &e.Features[i]
		all[i] = Feature{Name: f.Name, Columns: spec.Features[i].Columns()}
		if f.Categorical {
			all[i].Codes, all[i].Levels = f.Codes(), f.Levels
		}
	}
	return all
}

// quantiles returns up to n-1 different values that part the values into n parts of
// about as many rows.
func quantiles(values []float32, n int) []float32 {
	sorted := slices.DeleteFunc(slices.Clone(values), func(v float32) bool { return v != v })
	slices.Sort(sorted)
	var cuts []float32
	for i := 1; i < n && len(sorted) > 0; i++ {
		cuts = append(cuts, sorted[i*len(sorted)/n])
	}
	return slices.Compact(cuts)
}
