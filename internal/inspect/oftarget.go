package inspect

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"strconv"
	"strings"

	"mlops/internal/dataset"
)

const (
	// mostLevelColumns is how many columns are looked at for what the rows of a value have
	// in common, and mostTallies for how many values, over all of them.
	mostLevelColumns, mostTallies = 50, 100_000
	// mostKept bounds the numbers of the rows that are kept.
	mostKept = 1 << 20
	// leastLevels is how many values of a column, and leastMixed how many rows, have to tell:
	// those whose rows don't all have the same target.
	leastLevels, leastMixed = 10, 30
	// byAccident is how improbable it has to be that a number is by accident what the target
	// gives, in so many values of a column.
	byAccident = 1e-9
	// ownRow is up to how many rows of a value their mean has each row's own target in it.
	ownRow = 100
)

// OfTarget finds columns of numbers that were computed from the target: its mean, sum,
// least or greatest among the rows with the same value of another column, with or without
// the row itself, or how far the row is from that. It has to see every row that training
// could use; its memory does not grow with them.
type OfTarget struct {
	spec      *dataset.Spec
	target    int
	numbers   []int // columns that may be computed
	levels    []*byLevel
	questions []question
	mean      []float64 // sum of each question's values
	seen      uint64
	every     uint64 // one row in so many is kept
	kept      []keptRow
}

// question is what of the target numbers may be computed from: its value, or whether it is
// of a class.
type question struct {
	of   func(label float32) float64
	what string // for people
	is   bool   // whether it is a class
}

// byLevel tallies the target by the values of one column, exactly for the values that are kept.
type byLevel struct {
	column int
	every  uint64 // one value in so many is kept, by its hash
	of     map[uint64]*tally
}

// tally is of the rows with one value of a column.
type tally struct {
	rows        float64
	sum         []float64 // by question
	least, most float64   // of the first question
}

type keptRow struct {
	number uint64
	label  float32
	hashes []uint64  // by column of levels; 0 where the value is missing
	values []float64 // by column of numbers; NaN where it is missing
}

// NewOfTarget returns one for the rows of a spec, which has a target.
func NewOfTarget(spec *dataset.Spec) *OfTarget {
	t := &OfTarget{spec: spec, target: spec.Column(spec.Target.Column), every: 1, questions: questionsOf(spec)}
	var last []int
	for i := range spec.Columns {
		c := &spec.Columns[i]
		if i == t.target || c.Name == spec.Key {
			continue
		}
		if c.Type == dataset.Number || c.Type == dataset.Integer {
			t.numbers = append(t.numbers, i)
		}
		if c.Type == dataset.Number {
			last = append(last, i)
			continue
		}
		t.levels = append(t.levels, &byLevel{column: i, every: 1, of: map[uint64]*tally{}})
	}
	for _, i := range last {
		t.levels = append(t.levels, &byLevel{column: i, every: 1, of: map[uint64]*tally{}})
	}
	t.levels = t.levels[:min(len(t.levels), mostLevelColumns)]
	t.mean = make([]float64, len(t.questions))
	return t
}

func questionsOf(spec *dataset.Spec) []question {
	column := spec.Target.Column
	switch spec.Task {
	case dataset.Regression:
		return []question{{func(y float32) float64 { return float64(y) }, column, false}}
	case dataset.Multiclass:
		var all []question
		numbers := make([]float64, 0, len(spec.Target.Classes))
		for k, class := range spec.Target.Classes {
			if x, ok := dataset.ParseNumber([]byte(class)); ok {
				numbers = append(numbers, x)
			}
			if k < mostClasses {
				all = append(all, question{func(y float32) float64 {
					if int(y) == k {
						return 1
					}
					return 0
				}, fmt.Sprintf("%s = %q", column, class), true})
			}
		}
		if len(numbers) == len(spec.Target.Classes) {
			all = append([]question{{func(y float32) float64 { return numbers[int(y)] }, column, false}}, all...)
		}
		return all
	}
	words := make([]string, len(spec.Target.Positive))
	for i, p := range spec.Target.Positive {
		words[i] = strconv.Quote(p)
	}
	return []question{{func(y float32) float64 { return float64(y) }, column + " = " + strings.Join(words, " or "), true}}
}

// Add takes in one cleaned row that training could use, with what Spec.Label says of it.
func (t *OfTarget) Add(fields [][]byte, label float32) {
	number := t.seen
	t.seen++
	if len(t.numbers) == 0 || len(t.levels) == 0 {
		return
	}
	answers := make([]float64, len(t.questions))
	for q, question := range t.questions {
		answers[q] = question.of(label)
		t.mean[q] += answers[q]
	}
	most := max(200, mostTallies/len(t.levels)/len(t.questions))
	hashes := make([]uint64, len(t.levels))
	for i, l := range t.levels {
		value := fields[l.column]
		if value == nil {
			continue
		}
		hashes[i] = hashOf(value)
		if hashes[i]%l.every == 0 {
			l.add(hashes[i], answers, most)
		}
	}
	if Scatter(number)%t.every != 0 {
		return
	}
	row := keptRow{number: number, label: label, hashes: hashes, values: make([]float64, len(t.numbers))}
	for i, column := range t.numbers {
		x, ok := dataset.ParseNumber(fields[column])
		if !ok {
			x = math.NaN()
		}
		row.values[i] = x
	}
	t.kept = append(t.kept, row)
	for len(t.kept)*(len(t.numbers)+len(t.levels)) > mostKept {
		t.every *= 2
		t.kept = slices.DeleteFunc(t.kept, func(r keptRow) bool { return Scatter(r.number)%t.every != 0 })
	}
}

// hashOf is FNV-1a, mixed, and never 0.
func hashOf(value []byte) uint64 {
	h := fnv.New64a()
	h.Write(value)
	return Scatter(h.Sum64()) | 1<<63
}

func (l *byLevel) add(hash uint64, answers []float64, most int) {
	of := l.of[hash]
	if of == nil {
		of = &tally{sum: make([]float64, len(answers)), least: math.Inf(1), most: math.Inf(-1)}
		l.of[hash] = of
	}
	of.rows++
	for q, a := range answers {
		of.sum[q] += a
	}
	of.least, of.most = min(of.least, answers[0]), max(of.most, answers[0])
	for len(l.of) > most {
		l.every *= 2
		for h := range l.of {
			if h%l.every != 0 {
				delete(l.of, h)
			}
		}
	}
}

// Computed is a column that was computed from the target.
type Computed struct {
	Column string
	What   string // it is, for people
	Finding
}

// Found returns the columns that were computed from the target.
func (t *OfTarget) Found() []Computed {
	best := map[int]Computed{}
	for at, l := range t.levels {
		rows := t.telling(at)
		if len(rows) < leastMixed {
			continue
		}
		for i, column := range t.numbers {
			if column == l.column {
				continue
			}
			if f := t.computed(l, rows, i); f != nil && f.Value > best[column].Value {
				best[column] = *f
			}
		}
	}
	all := make([]Computed, 0, len(best))
	for _, c := range best {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b Computed) int { return cmp.Compare(t.spec.Column(a.Column), t.spec.Column(b.Column)) })
	return all
}

// OfFeatures are the findings about columns that a feature is made of, unless the spec allows
// them.
func OfFeatures(spec *dataset.Spec, computed []Computed) (found []Finding) {
	for _, c := range computed {
		used := slices.ContainsFunc(spec.Features, func(f dataset.Feature) bool { return slices.Contains(f.Columns(), c.Column) })
		if used && !slices.Contains(spec.AllowLeak, c.Column) {
			found = append(found, c.Finding)
		}
	}
	return found
}

// tellingRow is a kept row with the tally of its value.
type tellingRow struct {
	*keptRow
	*tally
}

// telling are the kept rows whose value's rows have different targets.
func (t *OfTarget) telling(at int) (rows []tellingRow) {
	l := t.levels[at]
	for i := range t.kept {
		if of := l.of[t.kept[i].hashes[at]]; of != nil && of.rows >= 2 {
			rows = append(rows, tellingRow{&t.kept[i], of})
		}
	}
	return rows
}

// statistic is what a number may be computed as from the targets of the rows with the same
// value; the second word is of whether the target is a class.
type statistic struct {
	of      func(r tellingRow, q int, y float64) float64
	words   string
	classes string
	own     bool // the row's own target can be told from it, however many rows there are
	extreme bool // it is one row's target
}

// leastExtreme is how many rows a value has at least whose extreme tells.
const leastExtreme = 3

var statistics = []statistic{
	{func(r tellingRow, q int, _ float64) float64 { return r.sum[q] / r.rows }, "the mean of %s", "the share of %s", false, false},
	{func(r tellingRow, q int, _ float64) float64 { return 100 * r.sum[q] / r.rows }, "100 times the mean of %s", "the percentage of %s", false, false},
	{func(r tellingRow, q int, _ float64) float64 { return 1 - r.sum[q]/r.rows }, "", "the share of rows without %s", false, false},
	{func(r tellingRow, q int, _ float64) float64 { return r.sum[q] }, "the sum of %s", "the number of rows with %s", false, false},
	{func(r tellingRow, q int, _ float64) float64 { return r.rows - r.sum[q] }, "", "the number of rows without %s", false, false},
	{func(r tellingRow, q int, _ float64) float64 { return r.least }, "the least %s", "", false, true},
	{func(r tellingRow, q int, _ float64) float64 { return r.most }, "the greatest %s", "", false, true},
	{func(r tellingRow, q int, y float64) float64 { return (r.sum[q] - y) / (r.rows - 1) }, "the mean of %s in the other rows", "the share of %s in the other rows", true, false},
	{func(r tellingRow, q int, y float64) float64 { return r.sum[q] - y }, "the sum of %s in the other rows", "the number of other rows with %s", true, false},
	{func(r tellingRow, q int, y float64) float64 { return y - r.sum[q]/r.rows }, "%s less its mean", "whether %s, less its share", true, false},
	{func(r tellingRow, q int, y float64) float64 { return y * r.rows / r.sum[q] }, "%s divided by its mean", "", true, false},
}

// computed finds out whether a column of numbers is a statistic of the target.
func (t *OfTarget) computed(l *byLevel, rows []tellingRow, number int) *Computed {
	allowed := precision(rows, number)
	follows := inOrderOf(rows, slices.Index(t.numbers, l.column), number)
	for q, question := range t.questions {
		mean := t.mean[q] / float64(t.seen)
		smoothed := statistic{words: "the mean of %s, drawn towards that of all rows", classes: "the share of %s, drawn towards that of all rows"}
		if weight, ok := weightOf(rows, number, q, mean); ok {
			smoothed.of = func(r tellingRow, q int, _ float64) float64 { return (r.sum[q] + weight*mean) / (r.rows + weight) }
		}
		for _, s := range append(slices.Clone(statistics), smoothed) {
			words := s.words
			if question.is {
				words = s.classes
			}
			if words == "" || s.of == nil || s.extreme && (q > 0 || follows) {
				continue
			}
			expected := func(r tellingRow) float64 { return s.of(r, q, question.of(r.label)) }
			least := 0.0
			if s.extreme {
				least = leastExtreme
			}
			share, size := agreeing(rows, number, q, least, expected, allowed)
			if share == 0 {
				continue
			}
			column, level := t.spec.Columns[t.numbers[number]].Name, t.spec.Columns[l.column].Name
			what := fmt.Sprintf("%s among the rows with the same %s, in %s of the rows", fmt.Sprintf(words, question.what), level, percent(share))
			f := &Computed{column, what, Finding{Level: Stop, Kind: "leak", Feature: column, Value: share, Text: fmt.Sprintf(
				"%s is %s: the target of each row is in it, so that it tells more here than it will of new rows, and group: %s doesn't mend that; leave it out, or else say allow_leak: [%[1]s]",
				column, what, level)}}
			if !s.own && size > ownRow {
				f.Level = Warning
			}
			return f
		}
	}
	return nil
}

// inOrderOf reports whether a number only rises, or only falls, with the number by whose
// values the rows are grouped: a logarithm of a price is of the price, though a target that was
// computed from it, such as the price less inflation, may have it as its extreme.
func inOrderOf(rows []tellingRow, level, number int) bool {
	if level < 0 {
		return false // the values are no numbers
	}
	sorted := slices.SortedFunc(slices.Values(rows), func(a, b tellingRow) int {
		return cmp.Or(cmp.Compare(a.values[level], b.values[level]), cmp.Compare(a.values[number], b.values[number]))
	})
	rises, falls := 0, 0
	for i := 1; i < len(sorted); i++ {
		switch a, b := sorted[i-1].values, sorted[i].values; {
		case b[number] > a[number]:
			rises++
		case b[number] < a[number]:
			falls++
		}
	}
	return min(rises, falls) == 0
}

// precision is how far a column's numbers may be from what they are computed as, by the
// digits that they have behind the point.
func precision(rows []tellingRow, number int) float64 {
	for digits := range 6 {
		scale := math.Pow(10, float64(digits))
		if !slices.ContainsFunc(rows, func(r tellingRow) bool {
			x := r.values[number] * scale
			return x == x && math.Abs(x-math.Round(x)) > 1e-9*math.Max(1, math.Abs(x))
		}) {
			return 0.501 / scale
		}
	}
	return 1e-6
}

// weightOf is the number of rows that the mean of all rows counts for in a smoothed mean,
// by the median of some rows.
func weightOf(rows []tellingRow, number, q int, mean float64) (float64, bool) {
	var weights []float64
	for _, r := range rows {
		c := r.values[number]
		if w := (r.sum[q] - c*r.rows) / (c - mean); !math.IsNaN(w) && !math.IsInf(w, 0) {
			weights = append(weights, w)
		}
		if len(weights) == 101 {
			break
		}
	}
	if len(weights) < leastMixed {
		return 0, false
	}
	slices.Sort(weights)
	weight := weights[len(weights)/2]
	if whole := math.Round(weight); whole > 0 && math.Abs(weight/whole-1) < 0.02 {
		weight = whole
	}
	return weight, weight > 0.01
}

// agreeing is the share of rows whose number is what is expected, and how many rows have a
// value in the middle. It is 0 if too many differ, too few tell, or as much by chance.
func agreeing(rows []tellingRow, number, q int, least float64, expected func(tellingRow) float64, allowed float64) (share, size float64) {
	is := func(r tellingRow, want float64) bool {
		slack := allowed
		if want == math.Trunc(want) {
			slack = 0 // nothing was rounded
		}
		return math.Abs(r.values[number]-want) <= slack+1e-6*math.Max(1, math.Abs(want))
	}
	var mixed []tellingRow
	differ, values := 0, map[*tally]bool{}
	var of, squares float64
	rounded := false
	for _, r := range rows {
		if c := r.values[number]; c != c || r.rows < least || r.least == r.most && q == 0 || q > 0 && (r.sum[q] == 0 || r.sum[q] == r.rows) {
			continue
		}
		mixed = append(mixed, r)
		values[r.tally] = true
		want := expected(r)
		of, squares = of+want, squares+want*want
		rounded = rounded || want != math.Trunc(want)
		if !is(r, want) {
			if differ++; len(mixed) == 40 && differ > 10 {
				return 0, 0
			}
		}
	}
	if len(mixed) < leastMixed || len(values) < leastLevels || float64(differ) > (1-nearlyAll)*float64(len(mixed)) {
		return 0, 0
	}
	n := float64(len(mixed))
	if deviation := math.Sqrt(squares/n - of/n*of/n); rounded && allowed > deviation/4 {
		return 0, 0 // rounded so coarsely that it tells nothing
	}
	// The same with what is expected of other rows.
	chance, sizes := 1.0, make([]float64, 0, len(mixed))
	for i, r := range mixed {
		other := i
		for range 8 { // of another value
			if other = (other + len(mixed)/2 + 1) % len(mixed); mixed[other].tally != r.tally {
				break
			}
		}
		if is(r, expected(mixed[other])) {
			chance++
		}
		sizes = append(sizes, r.rows)
	}
	if chance /= float64(len(mixed)); chance > byChance || float64(len(values))*math.Log(chance) > math.Log(byAccident) {
		return 0, 0
	}
	slices.Sort(sizes)
	return 1 - float64(differ)/float64(len(mixed)), sizes[len(sizes)/2]
}
