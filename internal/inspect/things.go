package inspect

import (
	"cmp"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"

	"mlops/internal/dataset"
	"mlops/internal/progress"
)

// MostOthers is in how many columns pairs of rows are compared, at most.
const MostOthers = 50

const (
	// fewestThings is how many values a column needs to be the group: with fewer, a split
	// would get too few of them.
	fewestThings = 20
	// mostRows is how many rows a value has on average, at most: a column of fewer values
	// is rather a property of the rows than what they are about.
	mostRows = 50
	// leastPairs and mostPairs bound the pairs of rows that are compared for a column.
	leastPairs, mostPairs = 50, 2000
	// same is the share of pairs with the same value that agree in another column, from
	// which on the value is taken to determine it. Where more than common of any two rows
	// agree, that says nothing.
	same, common = 0.99, 0.9
	// alike is how similar the targets of rows with the same value are, from which on they
	// are taken for rows of one thing: 0 is as any two rows, 1 the same target.
	alike = 0.5
	// mostCompared is about how many training rows are looked at.
	mostCompared = 20_000
)

// property is a name of codes that rows have in common without being of one thing.
var property = regexp.MustCompile(`(?i)(^|[_ .-])(code|zip|zipcode|postcode|postal|plz|phone|type|class|category|cat|region|year|month|week|weekday|dow|day|hour|date|time)$|(?-i:[a-z](Code|Zip|Type|Year|Month|Week|Day|Hour)$)`)

// thing is a name of what several rows may be about.
var thing = regexp.MustCompile(`(?i)^(subjects?|subj|speaker|singer|reader|writer|author|artist|driver|rider|pilot|operator|judge|rater|interviewer|seller|buyer|vendor|supplier|host|guest|individual|indiv|person|people|patients?|pat|child|children|kid|mother|mom|father|participant|respondent|respond|student|pupil|teacher|prof|professor|doctor|physician|hospital|clinic|school|class_?room|family|fam|household|hh|firm|company|business|shop|store|branch|customer|client|account|user|member|player|team|club|worker|employee|animal|dog|cat|cow|pig|rat|mouse|mice|bird|fish|plant|tree|plot|field|farm|site|station|device|sensor|machine|engine|vehicle|car|truck|ship|village|town|city|district|county|state|province|country|nation|case|unit|entity|specimen|sample|batch|litter|cage|item|product|article|kunde|kundin|patientin|schüler|schülerin|mitarbeiter|filiale|schule|betrieb|haushalt|maschine|gerät|stadt|cliente|paziente|paciente|élève|école|magasin|médecin|ville|id)s?([_ .-]?(id|no|nr|num|number|name))?$|[_ .-](id|no|nr)$|(?-i:[a-z](Id|ID|Nr|No)$)`)

// Column is one column of rows: a number per row, NaN where the value is missing. Equal
// values have equal numbers.
type Column struct {
	Name   string
	Values []float32
}

// MayBeThings reports whether a column of so many different values in so many rows may be
// what several rows are about each.
func MayBeThings(name string, values, rows int64) bool {
	return MayBeEvents(values, rows) && !property.MatchString(name)
}

// Things says what the rows with the same value of a column have in common that rows with
// the next greater value don't: at least two other columns, or one or the target where the
// name speaks for it too. Then they are several records of one patient, child or firm, and
// belong in one split. It is empty if that is not so. y is what Spec.Label says of each
// row, c has no missing value.
func Things(spec *dataset.Spec, c Column, others []Column, y []float32) string {
	if len(y) == 0 || slices.Min(c.Values) >= 1500 && slices.Max(c.Values) <= 2100 {
		return "" // years
	}
	within, between := pairs(c, others, y)
	if len(within) < leastPairs || len(between) < leastPairs {
		return ""
	}
	var determined []string
	for _, o := range others[:min(MostOthers, len(others))] {
		if agree(o.Values, within) < same || follows(o.Values, between) {
			continue
		}
		if base := agreement(o.Values); base <= common && agree(o.Values, between) <= (1+base)/2 { // last, as it looks at every row
			determined = append(determined, o.Name)
		}
	}
	target := alikeTargets(spec, y, within, between)
	switch {
	case len(determined) >= 2 && target:
		return fmt.Sprintf("have the same %s, and alike %s", progress.Columns(determined), spec.Target.Column)
	case len(determined) >= 2:
		return "have the same " + progress.Columns(determined)
	case len(determined) == 1 && thing.MatchString(c.Name):
		return "have the same " + determined[0]
	case target && thing.MatchString(c.Name):
		return fmt.Sprintf("have alike %s, which those of neighboring values have not", spec.Target.Column)
	}
	return ""
}

// NamedThings is Things for a column of words: that rows of one city have the same region
// is no reason, and only alike targets and a name of things are.
func NamedThings(spec *dataset.Spec, c Column, others []Column, y []float32) string {
	if !thing.MatchString(c.Name) || len(y) == 0 {
		return ""
	}
	within, between := pairs(c, others, y)
	if len(within) < leastPairs || len(between) < leastPairs {
		return ""
	}
	if !alikeTargets(spec, y, within, between) {
		return ""
	}
	return fmt.Sprintf("have alike %s", spec.Target.Column)
}

// MayBeEvents reports whether dates of so many different values in so many rows may be those
// of events with several rows each.
func MayBeEvents(values, rows int64) bool {
	return values >= fewestThings && values*mostRows >= rows && values*3 <= rows*2
}

// AlikeWithin reports whether rows with the same value of a column, which has no missing
// ones, have alike targets, and those with the next value have not. It is false if rows with
// the same value of one of parts, which the column determines, such as a date's weekday, are
// half as much alike: then the target follows that.
func AlikeWithin(spec *dataset.Spec, c Column, parts []Column, y []float32) bool {
	within, between := pairs(c, nil, y)
	if len(within) < leastPairs || len(between) < leastPairs || !alikeTargets(spec, y, within, between) {
		return false
	}
	near := likeness(y, within, spec.Task)
	return !slices.ContainsFunc(parts, func(part Column) bool {
		same, _ := pairs(part, nil, y)
		return len(same) >= leastPairs && likeness(y, same, spec.Task) >= near/2
	})
}

// alikeTargets reports whether the targets of rows with the same value are alike, and those
// of rows with neighboring values much less so.
func alikeTargets(spec *dataset.Spec, y []float32, within, between [][2]int) bool {
	near := likeness(y, within, spec.Task)
	return near >= alike && likeness(y, between, spec.Task) <= near/2
}

// ungrouped warns of a feature that several records of one thing have in common, in a data
// set without a group.
func ungrouped(spec *dataset.Spec, features []Feature, train Part) *Finding {
	if spec.Group != "" || spec.ByTime() { // which puts a group on both sides on purpose
		return nil
	}
	type candidate struct {
		at, distinct int
		rows         []int
	}
	var all []candidate
	for i, f := range features {
		if f.Codes > 0 {
			continue
		}
		rows, distinct := someRows(train.X[i:], len(features), len(train.Y))
		if MayBeThings(f.Name, int64(distinct), int64(len(rows))) {
			all = append(all, candidate{i, distinct, rows})
		}
	}
	// As in a draft: of several, the one with the most values.
	slices.SortStableFunc(all, func(a, b candidate) int { return cmp.Compare(b.distinct, a.distinct) })
	for _, c := range all {
		i, f, rows, distinct := c.at, features[c.at], c.rows, c.distinct
		of := func(i int) Column {
			c := Column{features[i].Name, make([]float32, len(rows))}
			for at, row := range rows {
				c.Values[at] = train.X[row*len(features)+i]
			}
			return c
		}
		var others []Column
		for j := 0; j < len(features) && len(others) < MostOthers; j++ {
			if !slices.Equal(features[j].Columns, f.Columns) {
				others = append(others, of(j))
			}
		}
		y := make([]float32, len(rows))
		for at, row := range rows {
			y[at] = train.Y[row]
		}
		if why := Things(spec, of(i), others, y); why != "" {
			return &Finding{Level: Warning, Kind: "group", Feature: f.Name, Value: float64(distinct), Text: GroupWarning(strings.Join(f.Columns, ", "), why)}
		}
	}
	return nil
}

// someRows chooses about mostCompared of n rows by the value that each has in a column,
// whose values are in steps of width: all rows with a value or none. It returns how many
// values these have, and no rows if a value is missing or no whole number.
func someRows(x []float32, width, n int) (rows []int, distinct int) {
	parts := uint32(1 + n/mostCompared)
	seen := map[float32]bool{}
	for row := range n {
		v := x[row*width]
		if v != float32(math.Trunc(float64(v))) { // or NaN
			return nil, 0
		}
		if math.Float32bits(v)*2_654_435_761>>16%parts == 0 {
			rows = append(rows, row)
			seen[v] = true
		}
	}
	return rows, len(seen)
}

// AlikeInTime is how similar the targets of rows are that are next to each other in time
// but not of one group: 0 is as any two rows, 1 the same target. It is 0 where there are too
// few rows to say. when has the rows' order in time; group has no values where there is no
// group.
func AlikeInTime(spec *dataset.Spec, when, group Column, y []float32) float64 {
	_, between := pairs(when, nil, y)
	between = slices.DeleteFunc(between, func(p [2]int) bool {
		return when.Values[p[0]] != when.Values[p[0]] || when.Values[p[1]] != when.Values[p[1]] || group.Values != nil && equal(group.Values[p[0]], group.Values[p[1]])
	})
	if len(between) < leastPairs {
		return 0
	}
	return likeness(y, between, spec.Task)
}

// GroupWarning is the sentence about a column that looks like the group of a spec without
// one; why is what Things says.
func GroupWarning(column, why string) string {
	return fmt.Sprintf("the rows with the same %s %s: if they are several records of one thing, say group: %[1]s, or those of one are in two splits and the figures are too good", column, why)
}

// pairs returns pairs of rows with the same value of the column, and pairs of rows with
// neighboring ones. Rows that are the same in every other column are one row that comes
// twice, and no pair.
func pairs(c Column, others []Column, y []float32) (within, between [][2]int) {
	rows := make([]int, len(y))
	for i := range rows {
		rows[i] = i
	}
	slices.SortStableFunc(rows, func(a, b int) int { return cmp.Compare(c.Values[a], c.Values[b]) }) // NaN first
	twice := func(a, b int) bool {
		return len(others) > 0 && y[a] == y[b] && !slices.ContainsFunc(others, func(o Column) bool { return !equal(o.Values[a], o.Values[b]) })
	}
	step, n := max(1, len(rows)/mostPairs), 0
	var last []int
	for len(rows) > 0 {
		end := slices.IndexFunc(rows, func(r int) bool { return !equal(c.Values[r], c.Values[rows[0]]) })
		if end < 0 {
			end = len(rows)
		}
		block := rows[:end]
		for _, r := range block[1:] {
			if n++; n%step == 0 && !twice(block[0], r) {
				within = append(within, [2]int{block[0], r})
			}
		}
		if last != nil {
			between = append(between, [2]int{last[len(last)-1], block[0]})
			if len(block) > 1 && len(last) > 1 {
				between = append(between, [2]int{last[0], block[len(block)-1]})
			}
		}
		last, rows = block, rows[end:]
	}
	return within, between
}

// follows reports whether a column rises or falls with the one that the pairs are in the
// order of, as a diameter does with an area: then it is computed from that.
func follows(values []float32, between [][2]int) bool {
	up, down := 0, 0
	for _, p := range between {
		switch a, b := values[p[0]], values[p[1]]; {
		case a < b:
			up++
		case a > b:
			down++
		}
	}
	return max(up, down)*10 >= (up+down)*9
}

func equal(a, b float32) bool { return a == b || a != a && b != b }

// agree is the share of the pairs of rows that have the same value.
func agree(values []float32, pairs [][2]int) float64 {
	n := 0
	for _, p := range pairs {
		if equal(values[p[0]], values[p[1]]) {
			n++
		}
	}
	return float64(n) / float64(len(pairs))
}

// agreement is how probable it is that any two rows have the same value.
func agreement(values []float32) float64 {
	counts, missing := map[float32]float64{}, 0.0
	for _, v := range values {
		if v != v {
			missing++
			continue
		}
		counts[v]++
	}
	n := float64(len(values))
	sum := missing / n * missing / n
	for _, c := range counts {
		sum += c / n * c / n
	}
	return sum
}

// likeness is how similar the targets of pairs of rows are: the intraclass correlation of
// values, Cohen's kappa of classes. Any two rows have 0, equal targets 1.
func likeness(y []float32, pairs [][2]int, task string) float64 {
	expected, differ := 1-agreement(y), 0.0
	if task == dataset.Regression {
		var sum, squares float64
		for _, v := range y {
			sum, squares = sum+float64(v), squares+float64(v)*float64(v)
		}
		n := float64(len(y))
		expected = 2 * (squares/n - sum/n*sum/n)
	}
	for _, p := range pairs {
		d := float64(y[p[0]]) - float64(y[p[1]])
		if task != dataset.Regression && d != 0 {
			d = 1
		}
		differ += d * d
	}
	if expected <= 0 {
		return 0
	}
	return 1 - differ/float64(len(pairs))/expected
}
