// Package profile describes the rows of a data set: for each column how much is
// missing, how its values are spread and how often the target is positive with
// them, as a table for the terminal and as a page that needs nothing but itself.
// Its memory does not grow with the rows.
package profile

import (
	"cmp"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"time"

	"mlops/internal/dataset"
	"mlops/internal/inspect"
)

const (
	maxLevels = 5_000     // values of a column that are counted exactly
	allLevels = 250_000   // the same over all columns
	fewLevels = 200       // of these at least, in a table of many columns
	sampled   = 10_000    // values per column from which quantiles and histograms are made, and rows by which columns are judged
	samples   = 1_000_000 // the same over all columns: a table of many columns has fewer of each
	maxBars   = 20        // of a histogram
	topLevels = 15        // of a category
)

// Builder takes rows in, one at a time.
type Builder struct {
	spec     *dataset.Spec
	least    int64 // rows of a level that the profile names
	rows     int64
	excluded int64
	labeled  int64
	positive int64
	columns  []*builder
	random   *rand.Rand
	sampled  int64 // values per column that are kept
	levels   int   // of a column that are counted exactly
	group    int   // place of the group's column, or -1

	// Labels and folds of the rows by which columns are judged; a column's values of
	// them are in its builder.
	labels []float32
	folds  []uint8
}

// builder is what is kept of one column.
type builder struct {
	numeric  bool
	missing  count
	present  int64
	levels   map[string]*level
	overflow bool
	min, max float64
	mean, m2 float64
	sample   []point
	judged   []float32 // numbers, or places of levels; NaN where missing
}

// level is the rows of one value, and its place among the values as they came.
type level struct {
	count
	place int32
}

// count is rows, those of them that have a label, and the sum of these labels.
type count struct {
	rows, labeled int64
	sum           float64
}

func (c *count) add(label float32, known bool) {
	c.rows++
	if known {
		c.labeled++
		c.sum += float64(label)
	}
}

// rate is the mean label of the rows that have one: of a binary task the share of
// positive rows, of a regression the mean of the target. Of classes there is none.
func (c count) rate() float64 {
	if c.labeled == 0 {
		return math.NaN()
	}
	return c.sum / float64(c.labeled)
}

// point is one value of the sample; label is NaN where it has none.
type point struct {
	value float64
	label float32
}

// New returns a builder for the rows of a spec. The profile names levels that at
// least that many rows have; the rarer ones, which may name a person, are only
// counted.
func New(spec *dataset.Spec, least int64) *Builder {
	b := &Builder{
		spec: spec, least: least, random: rand.New(rand.NewPCG(1, 2)), group: spec.Column(spec.Group),
		levels:  min(maxLevels, max(fewLevels, allLevels/max(1, len(spec.Columns)))),
		sampled: min(sampled, max(500, samples/int64(max(1, len(spec.Columns))))),
	}
	for i := range spec.Columns {
		t := spec.Columns[i].Type
		b.columns = append(b.columns, &builder{
			numeric: t != dataset.Category && t != dataset.Boolean,
			levels:  map[string]*level{}, min: math.Inf(1), max: math.Inf(-1),
		})
	}
	return b
}

// Add takes one row in. fields holds one cleaned value per column of the spec, nil
// where it is missing. Rows outside the cohort are counted and otherwise left out.
func (b *Builder) Add(fields [][]byte) {
	b.rows++
	if b.spec.Excluded(fields) {
		b.excluded++
		return
	}
	label, known := b.spec.Label(fields)
	if known {
		b.labeled++
		if label == 1 && b.spec.Task == dataset.Binary {
			b.positive++
		}
	}
	at := -1
	if known {
		at = b.judge(label, fields)
	}
	if b.spec.Task == dataset.Multiclass { // classes have no mean
		label, known = 0, false
	}
	for i, v := range fields {
		c := b.columns[i]
		value := math.NaN()
		if v == nil {
			c.missing.add(label, known)
		} else {
			c.present++
			n, place := c.levels[string(v)], int32(len(c.levels))
			if n == nil && len(c.levels) < b.levels {
				n = &level{place: place}
				c.levels[string(v)] = n
			}
			if n != nil {
				n.add(label, known)
				place = n.place
			} else {
				c.overflow = true
			}
			if !c.numeric {
				value = float64(place)
			} else if x, ok := numberOf(b.spec.Columns[i].Type, v); ok {
				c.number(x, label, known, b.random, b.sampled)
				value = x
			}
		}
		switch {
		case at < 0:
		case at < len(c.judged):
			c.judged[at] = float32(value)
		default:
			c.judged = append(c.judged, float32(value))
		}
	}
}

// judge decides whether a row with a label is among those by which columns are
// judged, and in which place; -1 if it isn't.
func (b *Builder) judge(label float32, fields [][]byte) int {
	fold := inspect.FoldOf(fields, b.group, int(b.labeled-1))
	if int64(len(b.labels)) < b.sampled {
		b.labels, b.folds = append(b.labels, label), append(b.folds, fold)
		return len(b.labels) - 1
	}
	at := b.random.Int64N(b.labeled)
	if at >= b.sampled {
		return -1
	}
	b.labels[at], b.folds[at] = label, fold
	return int(at)
}

// numberOf is a value as a number; a date is its seconds since 1970.
func numberOf(t dataset.Type, v []byte) (float64, bool) {
	if t == dataset.Integer || t == dataset.Number {
		return dataset.ParseNumber(v)
	}
	when, ok := dataset.ParseDate(v)
	return float64(when.Unix()), ok
}

func (c *builder) number(x float64, label float32, known bool, random *rand.Rand, most int64) {
	c.min, c.max = min(c.min, x), max(c.max, x)
	d := x - c.mean
	c.mean += d / float64(c.present)
	c.m2 += d * (x - c.mean)
	p := point{x, float32(math.NaN())}
	if known {
		p.label = label
	}
	if int64(len(c.sample)) < most {
		c.sample = append(c.sample, p)
	} else if i := random.Int64N(c.present); i < most {
		c.sample[i] = p
	}
}

// Profile describes the rows that were added.
type Profile struct {
	Title     string
	Name      string
	Target    string
	Task      string
	Words     [2]string // of the outcomes: positive, negative
	Rows      int64
	Excluded  int64 // outside the cohort
	Labeled   int64
	Positive  int64
	Low, High float64 // of a regression: the target of all but the lowest and the highest twentieth of the rows
	Columns   []Column
	Warnings  []string
}

// Column is one column of a profile.
type Column struct {
	Name     string
	Type     dataset.Type
	Role     string // target, key, group, or feature; empty: it is none of these
	Out      string // why a draft leaves it out; empty: it doesn't, or it isn't known
	Missing  int64
	Present  int64
	Distinct int64
	More     bool // Distinct is a lower bound
	Numeric  bool
	Min, Max, Mean, Deviation,
	Quarter, Median, ThreeQuarters float64
	Bars        []Bar // of a histogram, or the most frequent levels
	Others      Bar   // levels that are not among Bars
	MissingRate float64
	Alone       float64 // what this column tells by itself, as Profile.Measure names it; NaN where it can't be said
	Warnings    []string
	scale       scale   // of the labels
	gives       float64 // Alone, of several classes that of the one which the column tells worst
}

// Bar is the rows of a range or a level.
type Bar struct {
	Label string
	Rows  int64
	Rate  float64 // share of positive rows, or mean target; NaN where none has a label, and of classes
}

// Profile returns what the rows are like.
func (b *Builder) Profile() *Profile {
	s := b.spec
	p := &Profile{
		Title: s.Title, Name: s.Name, Target: s.Target.Column, Task: s.Task, Words: [2]string{s.Target.Labels.Positive, s.Target.Labels.Negative},
		Rows: b.rows, Excluded: b.excluded, Labeled: b.labeled, Positive: b.positive,
	}
	line := scale{0, 1}
	if s.Task == dataset.Regression && len(b.labels) > 0 {
		sorted := slices.Sorted(slices.Values(b.labels))
		line = scale{float64(sorted[len(sorted)/20]), float64(sorted[len(sorted)-1-len(sorted)/20])}
		p.Low, p.High = line.low, line.high
	}
	roles := map[string]string{}
	for i := range s.Features {
		for _, name := range s.Features[i].Columns() {
			roles[name] = "feature"
		}
	}
	roles[s.Key], roles[s.Group], roles[s.Target.Column] = "key", "group", "target"
	p.Columns = make([]Column, len(s.Columns))
	var wait sync.WaitGroup
	turn := make(chan struct{}, runtime.GOMAXPROCS(0))
	for i := range s.Columns {
		turn <- struct{}{}
		wait.Go(func() {
			c := b.columns[i].describe(&s.Columns[i], b.least)
			if c.Role = roles[c.Name]; c.Role == "key" || c.Role == "group" {
				c.Bars, c.Others, c.Numeric = nil, Bar{}, false // of identifiers only their number tells
			} else if c.Role != "target" && c.Present > 0 {
				c.Alone, c.gives = b.alone(b.columns[i])
			}
			c.scale = line
			p.Columns[i] = c
			<-turn
		})
	}
	wait.Wait()
	for i := range p.Columns {
		p.Columns[i].warn(p)
	}
	p.warn()
	return p
}

// alone is what a column tells of the target by itself, and by what it is suspected to
// give it away; NaN where the rows have one outcome only.
func (b *Builder) alone(c *builder) (alone, gives float64) {
	none := math.NaN()
	codes := 0
	if !c.numeric {
		codes = len(c.levels) + 1 // the last is of the values beyond those that are counted
	}
	switch b.spec.Task {
	case dataset.Regression:
		if len(b.labels) == 0 || slices.Min(b.labels) == slices.Max(b.labels) {
			return none, none
		}
		r2 := inspect.Explained(c.judged, b.labels, codes, b.folds)
		return r2, r2
	case dataset.Multiclass:
		least, mean, err := inspect.Classes(c.judged, b.labels, codes, b.folds, len(b.spec.Target.Classes))
		if err != nil {
			return none, none
		}
		return mean, least
	}
	auc, err := inspect.Alone(c.judged, b.labels, codes, b.folds)
	if err != nil {
		return none, none
	}
	return auc, auc
}

func (c *builder) describe(col *dataset.Column, least int64) Column {
	d := Column{
		Name: col.Name, Type: col.Type, Missing: c.missing.rows, Present: c.present, MissingRate: c.missing.rate(),
		Distinct: int64(len(c.levels)), More: c.overflow, Numeric: c.numeric, Alone: math.NaN(),
	}
	if c.numeric && c.present > 0 {
		d.Min, d.Max, d.Mean = c.min, c.max, c.mean
		d.Deviation = math.Sqrt(c.m2 / float64(c.present))
		slices.SortFunc(c.sample, func(a, b point) int { return cmp.Compare(a.value, b.value) })
		at := func(q float64) float64 { return c.sample[int(q*float64(len(c.sample)-1))].value }
		d.Quarter, d.Median, d.ThreeQuarters = at(0.25), at(0.5), at(0.75)
	}
	if c.numeric && (len(c.levels) > maxBars || c.overflow) {
		d.Bars = c.histogram(col.Type)
		return d
	}
	type named struct {
		value string
		count
	}
	var all []named
	for v, n := range c.levels {
		all = append(all, named{v, n.count})
	}
	if c.numeric {
		slices.SortFunc(all, func(a, b named) int {
			x, _ := numberOf(col.Type, []byte(a.value))
			y, _ := numberOf(col.Type, []byte(b.value))
			return cmp.Compare(x, y)
		})
	} else {
		slices.SortFunc(all, func(a, b named) int { return cmp.Or(cmp.Compare(b.rows, a.rows), cmp.Compare(a.value, b.value)) })
	}
	var others count
	others.rows = c.present
	for i, l := range all {
		if i < topLevels && l.rows >= least || c.numeric {
			d.Bars = append(d.Bars, Bar{l.value, l.rows, l.rate()})
			others.rows -= l.rows
			continue
		}
		others.labeled += l.labeled
		others.sum += l.sum
	}
	d.Others = Bar{Rows: others.rows, Rate: others.rate()}
	return d
}

// histogram makes bars of equal width of the sample, the outermost hundredth at
// either end put into the first and the last.
func (c *builder) histogram(t dataset.Type) []Bar {
	n := len(c.sample)
	low, high := c.sample[n/200].value, c.sample[n-1-n/200].value
	if low == high {
		low, high = c.sample[0].value, c.sample[n-1].value
	}
	width := (high - low) / maxBars
	if t == dataset.Integer && width < 1 {
		width = 1
	}
	bars := make([]count, maxBars)
	for _, p := range c.sample {
		i := min(maxBars-1, max(0, int((p.value-low)/width)))
		bars[i].add(p.label, p.label == p.label)
	}
	scale := float64(c.present) / float64(n)
	out := make([]Bar, 0, maxBars)
	for i, b := range bars {
		from, to := low+float64(i)*width, low+float64(i+1)*width
		label := show(t, from) + " to " + show(t, to)
		switch i {
		case 0:
			label = "below " + show(t, to)
		case maxBars - 1:
			label = show(t, from) + " and above"
		}
		out = append(out, Bar{label, int64(math.Round(float64(b.rows) * scale)), b.rate()})
	}
	for len(out) > 1 && out[len(out)-1].Rows == 0 {
		out = out[:len(out)-1]
	}
	return out
}

// show writes a number, or a date, for people.
func show(t dataset.Type, x float64) string {
	if t == dataset.Date {
		return time.Unix(int64(x), 0).UTC().Format("2006-01-02")
	}
	if x == math.Trunc(x) && math.Abs(x) < 1e15 {
		return strconv.FormatFloat(x, 'f', -1, 64)
	}
	return strconv.FormatFloat(x, 'g', 4, 64)
}
