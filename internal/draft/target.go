package draft

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/text/unicode/norm"

	"mlops/internal/dataset"
	"mlops/internal/progress"
)

// affirmative are texts that mean yes, or the event that one predicts.
var affirmative = []string{"yes", "ja", "oui", "si", "sí", "sim", "wahr", "vrai", "vero", "verdadero", "verdadeiro", "tak", "ano", "evet", "da", "x", "y", "true", "t", "1", "1.0", "positive", "pos", "churn", "churned", "default", "bad", "fraud", "spam", "malignant", "dead", "died", "canceled", "cancelled", "won", "success", "approved", "sick", "abnormal", "present"}

// outcome is what a table's target is to a model.
type outcome struct {
	task    string
	whyTask string // by which rule

	positive []string  // of a binary task
	negative []string  // likewise; none: any other value
	labels   [2]string // positive, negative
	whyOne   string    // why these values are positive

	classes []string // of a task of several
	rare    []value  // values that are left out by a cohort
	whyRare string   // and why; empty: they have too few rows to be learnt
	least   int64    // rows of an outcome that each split has some of
	scarce  bool     // an outcome has few rows, so that the smaller splits get more of them
}

// value is one of a column's values, in whichever spellings.
type value struct {
	spellings []string
	rows      int64
}

const (
	// countable is up to how many different whole numbers are taken for classes: a
	// grade or a rating, not an amount.
	countable = 10
	// maxClasses is how many classes a spec may have.
	maxClasses = 200
	// classRows is how many rows of a class the smallest split should have on average.
	classRows = 8
	// scarceRows is below how many rows an outcome is scarce: the smaller splits get more.
	scarceRows = 200
)

// chooseTarget finds the target that the user named, or guesses one.
func (d *Draft) chooseTarget(o Options) error {
	if o.Target == "" {
		if err := d.guessTarget(); err != nil {
			return err
		}
	} else {
		for _, c := range d.columns {
			if c.name == o.Target || c.as == o.Target {
				d.target = c
			}
		}
		if d.target == nil {
			return d.noColumn(o.Target)
		}
	}
	c := d.target
	c.keepWords(d.spell, o)
	if c.drop != "" {
		return &Error{fmt.Sprintf("column %q can't be the target: %s", c.name, c.drop)}
	}
	var err error
	switch {
	case len(o.Positive) > 0 && o.Task != "" && o.Task != dataset.Binary:
		return &Error{fmt.Sprintf("values that count as 1 go with task: binary, not %s", o.Task)}
	case len(o.Positive) > 0:
		d.outcome, err = c.named(o.Positive)
	default:
		d.outcome, err = d.outcomeOf(c, o.Task)
	}
	if wrong := (*Error)(nil); errors.As(err, &wrong) {
		for _, n := range slices.Concat(c.notes, []string{c.unsure}) { // why it is no number
			if n != "" {
				wrong.Reason += "\n" + n
			}
		}
	}
	if err != nil {
		return err
	}
	c.kind = d.outcome.kind(c)
	c.out = "it is the target"
	c.notes = slices.DeleteFunc(c.notes, func(n string) bool { return strings.Contains(n, valuesToModel) }) // its outcome joins them
	return nil
}

var targetName = regexp.MustCompile(`(?i)^(target|label|class|y|outcome|response|churn(ed)?|exited|attrition|survived|default(ed)?|deposit|income|fraud|is_?fraud|is_?cancell?ed|cancell?ed|readmitted|diagnosis|died|death.*|output|subscribed|converted|purchased?|revenue|bad|good_?bad|risk|credit_?risk|loan_?status|status|approved|won|winner|y_?true|result|.*\?)$`)

// guessTarget takes the one column of two values whose name is that of a target.
func (d *Draft) guessTarget() error {
	var two, named []*column
	for _, c := range d.columns {
		if c.exact && c.values == 2 {
			two = append(two, c)
			if targetName.MatchString(strings.TrimSpace(c.name)) || strings.Contains(strings.ToLower(c.name), "default") {
				named = append(named, c)
			}
		}
	}
	if len(named) == 1 {
		d.target = named[0]
		d.whyTarget = fmt.Sprintf("guessed: the only column with two values and a target's name; there are %d with two values", len(two))
		return nil
	}
	candidates := named
	if len(candidates) == 0 {
		candidates = two
	}
	if len(candidates) == 0 {
		return &Error{"no column has exactly two values, so there is no target to guess; name it with --target"}
	}
	if len(named) == 0 && d.columns[len(d.columns)-1] == two[len(two)-1] && len(two) == 1 {
		d.target, d.whyTarget = two[0], "guessed: the only column with two values"
		return nil
	}
	var words []string
	for _, c := range slices.Backward(candidates) {
		words = append(words, "  --target "+shellQuote(c.name)+"   # "+progress.OneLine(strings.Join(c.some(2), ", ")))
		if len(words) == 12 {
			break
		}
	}
	return &Error{"what is to be predicted? Several columns have two values; name one:\n" + strings.Join(words, "\n")}
}

// values are those of the column that don't stand for a missing one, the rarest first.
// Spellings that differ by case only, and 1 and 1.0, are one.
func (c *column) outcomes() []value {
	folded := map[string]*value{}
	for v, k := range c.counts {
		if slices.ContainsFunc(c.missing, func(m marked) bool { return m.value == v }) {
			continue
		}
		key := strings.ToLower(norm.NFC.String(v))
		if x, ok := dataset.ParseNumber([]byte(v)); ok && x == math.Trunc(x) {
			key = strconv.FormatFloat(x, 'f', -1, 64)
		}
		if folded[key] == nil {
			folded[key] = &value{}
		}
		folded[key].spellings = append(folded[key].spellings, v)
		folded[key].rows += k.n
	}
	all := make([]value, 0, len(folded))
	for _, v := range folded {
		slices.Sort(v.spellings)
		all = append(all, *v)
	}
	slices.SortFunc(all, func(a, b value) int {
		return cmp.Or(cmp.Compare(a.rows, b.rows), strings.Compare(a.spellings[0], b.spellings[0]))
	})
	return all
}

// outcomeOf decides what the target is to a model: two values are a binary task, words
// several classes, and numbers a value, unless they are few whole numbers with enough
// rows each. wanted is the task that the user named, if any.
func (d *Draft) outcomeOf(c *column, wanted string) (o outcome, err error) {
	all := slices.DeleteFunc(c.outcomes(), func(v value) bool { return c.lossOf > 0 && c.kindsOf(v.spellings[0])&text != 0 }) // their rows are rejected
	numeric := c.kind == dataset.Number || c.kind == dataset.Integer || c.tallies.of(integer).n == c.present
	amounts := numeric && len(all) > 2 && !codeName.MatchString(c.name)
	o.scarce = !amounts && slices.ContainsFunc(all, func(v value) bool { return v.rows < scarceRows && v.rows >= leastRows(smallRest) })
	_, rest := sharesOf(d.Rows, o.scarce)
	o.least = leastRows(rest)
	least := o.least
	defer func() { o.scarce = o.scarce && o.task != dataset.Regression }()
	yes, no, others, truth := yesOrNo(all)
	enough := slices.DeleteFunc(slices.Clone(all), func(v value) bool { return v.rows < least })
	switch {
	case len(all) == 0:
		return o, &Error{fmt.Sprintf("the target %q has no value", c.name)}
	case len(all) == 1 && !c.full && c.rows > c.present:
		return o, &Error{fmt.Sprintf("the target %q has one value only, %q, and %s without one: such rows are not trained on; if an empty cell means no, write a word there", c.name, all[0].spellings[0], progress.Counted(c.rows-c.present, "row"))}
	case len(all) == 1 && !c.full:
		return o, &Error{fmt.Sprintf("the target %q has one value only: %q", c.name, all[0].spellings[0])}
	case c.kind == dataset.Date:
		return o, &Error{fmt.Sprintf("the target %q is a date, which can't be predicted: add a column to the table that says yes or no, or how many days it is from another date, and name that", c.name)}
	case truth && (wanted == "" || wanted == dataset.Binary) && !c.full && yes.rows >= least && no.rows >= least:
		o.truth(c, yes, no, others)
		return o, nil
	case wanted != "":
		o.task, o.whyTask = wanted, "named by the user"
	case len(all) == 2 && !c.full:
		o.task, o.whyTask = dataset.Binary, "guessed: the target has two values"
	case numeric && !c.full && len(enough) == 2 && averaged(all, enough):
		o.task, o.whyTask = dataset.Binary, fmt.Sprintf("guessed: the target has two values, and %q in one row, as their mean would be", all[0].spellings[0])
	case numeric && !c.full && len(enough) == 2 && coded(all, least):
		o.task, o.whyTask = dataset.Binary, fmt.Sprintf("guessed: the target has two values, and %q in %s, which looks like a code for something else", all[0].spellings[0], progress.Counted(all[0].rows, "row"))
	case c.kind == dataset.Number && c.tallies.of(fraction).n > 0:
		o.task, o.whyTask = dataset.Regression, "guessed: the target is a number, and not a whole one in every row"
	case numeric && codeName.MatchString(c.name) && !c.full && len(enough) >= 3 && len(all) <= maxClasses:
		o.task, o.whyTask = dataset.Multiclass, fmt.Sprintf("guessed: %d different whole numbers, and a name of codes; task: regression predicts them as amounts (--task regression)", len(all))
	case numeric && !c.full && len(all) <= countable && len(enough) == len(all):
		o.task, o.whyTask = dataset.Multiclass, fmt.Sprintf("guessed: %d different whole numbers, each in at least %d rows; task: regression predicts them as amounts (--task regression)", len(all), least)
	case numeric:
		o.task, o.whyTask = dataset.Regression, fmt.Sprintf("guessed: %s, %s different", map[bool]string{true: "whole numbers", false: "numbers"}[c.kind != dataset.Number], progress.Count(c.values))
		if len(all) <= countable {
			o.whyTask += fmt.Sprintf(", and %q in only %d rows, too few for a class of its own", all[0].spellings[0], all[0].rows)
		}
	default:
		o.task, o.whyTask = dataset.Multiclass, fmt.Sprintf("guessed: the target is one of %s words", progress.Count(int64(len(all))))
		if len(enough) == 2 {
			o.task = dataset.Binary
		}
	}
	switch o.task {
	case dataset.Binary:
		return o, o.two(c, all, least)
	case dataset.Multiclass:
		return o, o.several(c, all, least)
	}
	if !numeric {
		return o, &Error{fmt.Sprintf("the target %q is text, for example %q: task regression needs numbers", c.name, all[0].spellings[0])}
	}
	return o, nil
}

// averaged reports whether there is one more value than the two, in one row and between
// them, as in a line with the means of the columns.
func averaged(all, two []value) bool {
	if len(all) != 3 || all[0].rows != 1 {
		return false
	}
	a, okA := dataset.ParseNumber([]byte(two[0].spellings[0]))
	b, okB := dataset.ParseNumber([]byte(two[1].spellings[0]))
	x, ok := dataset.ParseNumber([]byte(all[0].spellings[0]))
	return okA && okB && ok && x != math.Trunc(x) && min(a, b) < x && x < max(a, b)
}

// coded reports whether the values that hardly any row has are codes, as 9 is for unknown
// beside 0 and 1: none of them goes on from the two that the others have.
func coded(all []value, least int64) bool {
	var two []float64
	for _, v := range all {
		if x, ok := dataset.ParseNumber([]byte(v.spellings[0])); ok && v.rows >= least {
			two = append(two, x)
		}
	}
	slices.Sort(two)
	if len(two) != 2 || two[1]-two[0] != 1 || len(all) > 2+3 {
		return false
	}
	return !slices.ContainsFunc(all, func(v value) bool {
		x, ok := dataset.ParseNumber([]byte(v.spellings[0]))
		return v.rows < least && (!ok || x != math.Trunc(x) || x > two[0]-5 && x < two[1]+5)
	})
}

// leastRows is how many rows a class needs so that each split has some, if the smallest has
// so many percent of all.
func leastRows(rest int) int64 { return int64(math.Ceil(classRows * 100 / float64(rest))) }

// two makes a binary task of two values; others that hardly any row has are left out.
func (o *outcome) two(c *column, all []value, least int64) error {
	if common := slices.DeleteFunc(slices.Clone(all), func(v value) bool { return v.rows < least }); len(all) > 2 && len(common) == 2 && !c.full {
		o.rare = slices.DeleteFunc(all, func(v value) bool { return v.rows >= least })
		o.whyTask += fmt.Sprintf(", and only two are in at least %d rows", least)
		all = common
	}
	if len(all) != 2 || c.full {
		return &Error{fmt.Sprintf("the target %q has %s values: %s. Say which of them count as 1 against all others, such as --positive %s (several: give --positive again)",
			c.name, progress.Count(c.values), listed(all), shellQuote(all[0].spellings[0]))}
	}
	rarer, other := all[0], all[1]
	yes, no := rarer, other
	o.whyOne = fmt.Sprintf("guessed: the rarer value: %s against %s", progress.Counted(rarer.rows, "row"), progress.Count(other.rows))
	says := func(v value) bool { return slices.Contains(affirmative, strings.ToLower(v.spellings[0])) }
	is := func(v value, s string) bool {
		x, ok := dataset.ParseNumber([]byte(v.spellings[0]))
		return ok && s == strconv.FormatFloat(x, 'f', -1, 64)
	}
	for _, pair := range [][2]value{{rarer, other}, {other, rarer}} {
		// Of 1 and 2, which are codes, neither says yes.
		if says(pair[0]) && !says(pair[1]) && !(is(pair[0], "1") && is(pair[1], "2")) {
			yes, no = pair[0], pair[1]
			o.whyOne = fmt.Sprintf("guessed: it says yes: %s against %s of %q", progress.Counted(yes.rows, "row"), progress.Count(no.rows), no.spellings[0])
			break
		}
	}
	o.positive, o.negative, o.labels = yes.spellings, no.spellings, [2]string{yes.spellings[0], no.spellings[0]}
	if c.kind != dataset.Integer && c.kind != dataset.Number {
		o.folded(c)
	}
	return nil
}

// several makes a task of several classes of the values that enough rows have.
func (o *outcome) several(c *column, all []value, least int64) error {
	var rows, lost int64
	alike := map[string][]string{} // classes by what is left of them without marks and capitals
	for _, v := range all {
		rows += v.rows
		if v.rows < least {
			lost += v.rows
			o.rare = append(o.rare, v)
			continue
		}
		whole := c.kind == dataset.Integer || c.kind == dataset.Number
		if bare := bareWord(v.spellings[0]); bare != "" && !whole {
			alike[bare] = append(alike[bare], v.spellings...)
		}
		for _, s := range v.spellings {
			if whole {
				s = canonical(s)
			}
			if !slices.Contains(o.classes, s) {
				o.classes = append(o.classes, s)
			}
		}
	}
	for _, bare := range slices.Sorted(maps.Keys(alike)) {
		if words := alike[bare]; len(words) > 1 {
			slices.Sort(words)
			c.notes = append(c.notes, fmt.Sprintf("%s differ only in how they are spelled, and are classes of their own: if they are one, write them one way in the table", quoteEach(words)))
		}
	}
	slices.SortFunc(o.classes, func(a, b string) int {
		x, one := dataset.ParseNumber([]byte(a))
		y, two := dataset.ParseNumber([]byte(b))
		if one && two {
			return cmp.Compare(x, y)
		}
		return strings.Compare(a, b)
	})
	switch {
	case c.full || len(o.classes) > maxClasses:
		return &Error{fmt.Sprintf("the target %q has %s different values, too many for classes (%d at most), and they are not numbers; for example %q: name another target, or say which values count as 1 against all others (--positive)", c.name, progress.Count(c.values), maxClasses, all[0].spellings[0])}
	case all[len(all)-1].rows < least:
		return &Error{fmt.Sprintf("the target %q has %s values, and none of them in at least %d rows, which each split needs some of: %s. Name another target, or bring more rows",
			c.name, progress.Count(c.values), least, listed(all))}
	case len(o.classes) < 3 || lost*2 > rows:
		return &Error{fmt.Sprintf("the target %q has %s values, and only %d of them in at least %d rows, which each split needs some of: %s. Bring more rows, or say which of them count as 1 against all others, such as --positive %s",
			c.name, progress.Count(c.values), len(o.classes), least, listed(all), shellQuote(all[len(all)-1].spellings[0]))}
	}
	return nil
}

// leaveOut leaves classes out that a split has too few rows of, unless hardly any would be
// left.
func (o *outcome) leaveOut(c *column, classes []string) {
	if len(o.classes)-len(classes) < 3 {
		return
	}
	for _, v := range c.outcomes() {
		kept := slices.DeleteFunc(slices.Clone(v.spellings), func(s string) bool {
			return !slices.Contains(classes, s) && !slices.Contains(classes, canonical(s))
		})
		rows := int64(0)
		for _, s := range kept {
			rows += c.counts[s].n
		}
		if rows > 0 {
			o.rare = append(o.rare, value{kept, rows})
		}
	}
	o.classes = slices.DeleteFunc(slices.Clone(o.classes), func(s string) bool { return slices.Contains(classes, s) })
}

// quoteEach lists texts in quotes, so that one sees in what they differ.
func quoteEach(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = strconv.QuoteToASCII(w)
		if norm.NFC.IsNormalString(w) {
			quoted[i] = strconv.Quote(w)
		}
	}
	last := len(quoted) - 1
	return strings.Join(quoted[:last], ", ") + " and " + quoted[last]
}

// canonical is a whole number as every spec writes it.
func canonical(s string) string {
	if x, ok := dataset.ParseNumber([]byte(s)); ok {
		return strconv.FormatFloat(x, 'f', -1, 64)
	}
	return s
}

// listed names values with their rows, the most frequent first.
func listed(all []value) string {
	var words []string
	for _, v := range slices.Backward(all) {
		if len(words) == 10 {
			words = append(words, fmt.Sprintf("and %s more", progress.Count(int64(len(all)-10))))
			break
		}
		words = append(words, fmt.Sprintf("%q (%s)", shorten(v.spellings[0], 40), progress.Counted(v.rows, "row")))
	}
	return strings.Join(words, ", ")
}

// named makes a binary task of the values that the user says count as 1.
func (c *column) named(positive []string) (o outcome, err error) {
	for _, p := range positive {
		if c.of(p).n == 0 {
			return o, &Error{fmt.Sprintf("no row has %s = %q; there are: %s", c.name, p, strings.Join(c.some(10), ", "))}
		}
	}
	var other string
	for _, v := range c.some(1000) {
		if !slices.Contains(positive, v) && !slices.ContainsFunc(c.missing, func(m marked) bool { return m.value == v }) {
			other = v
			break
		}
	}
	if other == "" {
		return o, &Error{fmt.Sprintf("every value of %s counts as 1: there is nothing to tell them from", c.name)}
	}
	o = outcome{task: dataset.Binary, whyTask: "one value against the others, as named by the user", positive: positive, whyOne: "named by the user", labels: [2]string{strings.Join(positive, " or "), "any other"}}
	if len(c.options) == len(positive)+1 {
		o.labels[1], o.negative = other, []string{other}
	}
	return o, nil
}

// MakeVariable sets a variable of make in a line for a shell, whatever the value: a file may be
// named so that a line with its bare name would run something.
func MakeVariable(name, value string) string {
	return name + "=" + shellQuote(strings.ReplaceAll(value, "$", "$$"))
}

func shellQuote(s string) string {
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-./=:,+@", r))
	}) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
