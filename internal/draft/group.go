package draft

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"

	"mlops/internal/dataset"
	"mlops/internal/inspect"
	"mlops/internal/progress"
)

// codeLike is a value with a number and hardly anything else, such as S07.
var codeLike = regexp.MustCompile(`^\p{L}{0,8}[-_. #]?[0-9]+$`)

// groupByRows chooses a group that no name of a column tells: what several rows are about
// each, by what they have in common (inspect.Things). It reports whether there is one. Of
// several, it is the one with the most values.
func (d *Draft) groupByRows() bool {
	if d.group != nil {
		return false
	}
	name, why := d.sample.group(d.Rows, func(at int) int64 {
		for _, c := range d.columns {
			if c.drop == "" && c.as == d.Spec.Columns[at].Name && c.out == "" && c.present == d.Rows {
				return c.values
			}
		}
		return 0
	})
	for _, c := range d.columns {
		if name != "" && c.drop == "" && c.as == name {
			d.group, c.out = c, "it is the group"
			d.whyGroup = fmt.Sprintf("%s different values, and the rows of one %s: they must not be in two splits", progress.Count(c.values), why)
		}
	}
	return name != ""
}

// group is the column that says what several rows are about each, with the reason: of
// several, the one with the most values. Both are empty if there is none. rows are those of
// the table, and distinct says how many values a column has in them, 0 if it can't be the
// group.
func (s *sample) group(rows int64, distinct func(at int) int64) (name, why string) {
	type candidate struct {
		name     string
		distinct int64
	}
	var all []candidate
	for i := range s.spec.Columns {
		c := &s.spec.Columns[i]
		if c.Name == s.spec.Key || c.Name == s.spec.Target.Column || c.Type != dataset.Integer && c.Type != dataset.Category {
			continue
		}
		if n := distinct(i); inspect.MayBeThings(c.Name, n, rows) {
			all = append(all, candidate{c.Name, n})
		}
	}
	slices.SortStableFunc(all, func(a, b candidate) int { return cmp.Compare(b.distinct, a.distinct) })
	for _, c := range all {
		if why := s.things(c.name); why != "" {
			return c.name, why
		}
	}
	return "", ""
}

// things says what the rows with the same value of a column have in common, if they are of
// one thing. Of words, such as names of people, more is asked than of numbers and codes with
// one.
func (s *sample) things(name string) string {
	at, key := s.spec.Column(name), s.spec.Column(s.spec.Key)
	words := slices.ContainsFunc(s.rows, func(r sampled) bool {
		_, number := dataset.ParseNumber(r.value(at))
		return !number && !codeLike.Match(r.value(at))
	})
	var others []inspect.Column
	for i := range s.spec.Columns {
		if len(others) == inspect.MostOthers {
			break
		}
		computed := slices.ContainsFunc(s.fromTarget(), func(c inspect.Computed) bool { return c.Column == s.spec.Columns[i].Name })
		if i != at && i != key && !computed && s.spec.Columns[i].Name != s.spec.Target.Column {
			others = append(others, s.other(i))
		}
	}
	y := s.labels()
	if words {
		return inspect.NamedThings(s.spec, s.column(at), others, y)
	}
	return inspect.Things(s.spec, s.column(at), others, y)
}

// copies warns of rows that are copies of others.
func (s *sample) copies() string {
	if s.spec.Group != "" || s.spec.AllowCopies {
		return "" // those of one group may be alike
	}
	y := s.labels()
	var columns []inspect.Column
	but := ""
	for i := range s.spec.Columns {
		switch s.spec.Columns[i].Name {
		case s.spec.Target.Column:
		case s.spec.Key:
			but = " but " + s.spec.Key
		default:
			c := s.other(i)
			if s.spec.Columns[i].Type == dataset.Number {
				c = s.measures(i)
			}
			columns = append(columns, c)
		}
	}
	ids, alike := inspect.Copies(s.spec, len(columns), func(column, row int) float32 { return columns[column].Values[row] }, y)
	if ids == nil {
		return ""
	}
	x, _, _, features, err := encoded(s)
	if err != nil {
		return "" // the same error ended the inspection
	}
	width := len(features)
	level := inspect.Recall(s.spec, features, func(row int) []float32 { return x[row*width : (row+1)*width] }, y, ids, alike).Level()
	if level == "" {
		return ""
	}
	seen := map[uint64]bool{}
	for _, id := range ids {
		seen[id] = true
	}
	rest := ""
	if s.spec.Key == "" {
		rest = " (only rows that are equal to the last digit share a split)"
	}
	text := fmt.Sprintf("%s of %s rows are copies of others: the same value, or nearly, in every column%s. Copies in training and test make the figures too good%s: remove them from the table",
		progress.Count(int64(len(ids)-len(seen))), progress.Count(int64(len(ids))), but, rest)
	if level == inspect.Stop {
		text += "; if they are right, say allow_copies: true, or training may stop"
	}
	return text
}

// units warns of columns of numbers that are in two units.
func (s *sample) units() (all []string) {
	var names []string
	var columns [][]float32
	target := -1
	for i := range s.spec.Columns {
		c := &s.spec.Columns[i]
		isTarget := c.Name == s.spec.Target.Column
		if c.Type != dataset.Number && c.Type != dataset.Integer || c.Name == s.spec.Key || c.Name == s.spec.Group || s.spec.Task != dataset.Regression && isTarget {
			continue
		}
		if isTarget {
			target = len(columns)
		}
		names, columns = append(names, c.Name), append(columns, s.measures(i).Values)
	}
	for i, text := range inspect.Mixed(columns, s.labels(), target) {
		if text != "" {
			all = append(all, fmt.Sprintf("%s may be in two units: %s", names[i], text))
		}
	}
	return all
}

// measures is a column of numbers as they are.
func (s *sample) measures(at int) inspect.Column {
	c := inspect.Column{Name: s.spec.Columns[at].Name, Values: make([]float32, len(s.rows))}
	for i := range s.rows {
		x, ok := dataset.ParseNumber(s.rows[i].value(at))
		if !ok {
			x = math.NaN()
		}
		c.Values[i] = float32(x)
	}
	return c
}

// other is a column that pairs of rows are compared in, made once for all candidates.
func (s *sample) other(at int) inspect.Column {
	if s.others == nil {
		s.others = map[int]inspect.Column{}
	}
	c, ok := s.others[at]
	if !ok {
		c = s.column(at)
		s.others[at] = c
	}
	return c
}

// column is one column of the sample: its numbers where it has whole ones that fit, else
// the place of each value in their order.
func (s *sample) column(at int) inspect.Column {
	c := inspect.Column{Name: s.spec.Columns[at].Name, Values: make([]float32, len(s.rows))}
	for i := range s.rows {
		v := s.rows[i].value(at)
		if v == nil {
			c.Values[i] = float32(math.NaN())
			continue
		}
		x, number := dataset.ParseNumber(v)
		if !number || x != math.Trunc(x) || math.Abs(x) >= 1<<24 {
			s.rank(at, c.Values)
			break
		}
		c.Values[i] = float32(x)
	}
	return c
}

// rank fills in the place of each value of a column in their order.
func (s *sample) rank(at int, into []float32) {
	place := map[string]float32{}
	for i := range s.rows {
		if v := s.rows[i].value(at); v != nil {
			place[string(v)] = 0
		}
	}
	ordered := slices.SortedFunc(maps.Keys(place), func(a, b string) int {
		x, _ := dataset.ParseNumber([]byte(a))
		y, _ := dataset.ParseNumber([]byte(b))
		return cmp.Or(cmp.Compare(x, y), cmp.Compare(len(a), len(b)), strings.Compare(a, b))
	})
	for i, v := range ordered {
		place[v] = float32(i)
	}
	for i := range s.rows {
		into[i] = float32(math.NaN())
		if v := s.rows[i].value(at); v != nil {
			into[i] = place[string(v)]
		}
	}
}

// value is the text of one column, nil if it is missing.
func (r *sampled) value(at int) []byte {
	if r.ends[at] < 0 {
		return nil
	}
	start := int32(0)
	if at > 0 {
		if start = r.ends[at-1]; start < 0 {
			start = ^start
		}
	}
	return r.text[start:r.ends[at]]
}

// Related looks among a table's cleaned rows for those that belong together, although the
// spec's splits part them.
type Related struct{ sample *sample }

// NewRelated returns one for the rows of a spec, which has a target.
func NewRelated(spec *dataset.Spec) *Related { return &Related{newSample(spec)} }

// Add takes one cleaned row in.
func (t *Related) Add(fields [][]byte) { t.sample.add(fields) }

// Warnings says which column is a group, with the reason, by which date the target hardly
// changes, and which features give the answer away.
func (t *Related) Warnings() (all []string, err error) {
	if t.sample.spec.Target.Column == "" {
		return nil, nil
	}
	found, err := t.sample.inspect()
	if err != nil {
		return nil, err
	}
	for _, leak := range append(inspect.OfFeatures(t.sample.spec, t.sample.fromTarget()), found.leaks...) {
		all = append(all, leak.Text)
	}
	if found.together != nil {
		all = append(all, found.together.Text)
	}
	if found.halves != nil {
		all = append(all, found.halves.Text)
	}
	all = append(all, t.sample.units()...)
	all = append(all, t.sample.same()...)
	all = append(all, t.sample.outcomes()...)
	if w := t.group(); w != "" {
		all = append(all, w)
	}
	if t.sample.spec.ByTime() {
		return all, nil
	}
	train, rest := sharesOf(int64(len(t.sample.rows)), false)
	if found := t.sample.inTime(train, rest); found != nil {
		all = append(all, found.warning())
	} else if w := t.sample.twoColumns(); w != "" {
		all = append(all, w)
	}
	if w := t.sample.atOnce(); w != "" {
		all = append(all, w)
	}
	if w := t.sample.copies(); w != "" {
		all = append(all, w)
	}
	return all, nil
}

func (t *Related) group() string {
	if spec := t.sample.spec; spec.Group != "" || spec.ByTime() { // which puts a group on both sides on purpose
		return ""
	}
	if name, why := t.sample.group(int64(len(t.sample.rows)), t.sample.distinct); name != "" {
		return inspect.GroupWarning(name, why)
	}
	return ""
}
