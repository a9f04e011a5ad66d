package draft

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"mlops/internal/dataset"
	"mlops/internal/progress"
)

// write renders the draft. Everything that was inferred has a comment that begins
// with "guessed:" and says by what.
func (d *Draft) write() []byte {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	if d.schema != "" {
		line("# yaml-language-server: $schema=%s", shorten(d.schema, 1000))
	}
	line("# Drafted by `mlops init` from %s: %s, %d columns.", shorten(d.Source, 200), progress.Counted(d.Rows, "row"), len(d.columns))
	line("# Lines that say \"guessed\" were inferred from the table: read them, and correct what is wrong.")
	line("# Then: mlops check %s %s", shellQuote(cmp.Or(d.file, d.Name+".yaml")), shellQuote(shorten(d.Source, 200)))
	if d.rejected > 0 {
		line("#")
		line("# %s of the table's records could not be read, for example line %d: %s.", progress.Count(d.rejected), d.lostLine, shorten(d.lost, 200))
	}
	line("name: %s", d.Name)
	line("title: %s", quote(d.target.name+" in "+d.Name))
	line("description: %s", quote(d.about()))
	line("model: %s", strings.ReplaceAll(d.Name, "_", "-"))
	line("task: %s%s", d.outcome.task, comment(d.outcome.whyTask))
	d.writeSource(line)
	if d.key != nil {
		line("\nkey: %s # guessed: %s", quote(d.key.as), clean(d.whyKey))
	}
	if d.group != nil {
		line("\ngroup: %s # guessed: %s", quote(d.group.as), clean(d.whyGroup))
	}
	line("\ncolumns:")
	for _, c := range d.columns {
		if c.drop == "" {
			d.writeColumn(line, c)
		}
	}
	d.writeTarget(line)
	var leaks []string
	for _, c := range d.columns {
		if c.allowed && c.drop == "" {
			leaks = append(leaks, c.as)
		}
	}
	if len(leaks) > 0 {
		line("\nallow_leak: [%s] # named by the user", quoteAll(leaks))
	}
	train, rest := d.shares()
	if d.timed {
		line("\nsplit: # %s: the latest rows are the test, by about the shares of a hash", clean(d.whyInTime()))
		line("  by: %s", quote(d.inTime.column))
		line("  validation_from: %s", quote(d.inTime.validation))
		line("  test_from: %s", quote(d.inTime.test))
		line("  # By a hash, which mixes earlier and later rows: {salts: [%s-%d], train: %d, validation: %d, test: %d}", d.Name, d.salt, train, rest, rest)
	} else {
		line("\nsplit: # guessed: by the number of rows")
		why := ""
		if d.salt > 1 {
			why = fmt.Sprintf(" # guessed: the first of %s-1, %s-2, ... with enough rows of each outcome in every split", d.Name, d.Name)
		}
		line("  salts: [%s-%d]%s", d.Name, d.salt, why)
		line("  train: %d", train)
		line("  validation: %d", rest)
		line("  test: %d", rest)
	}
	d.writeFeatures(line)
	if d.outcome.task == dataset.Binary {
		line("\nthreshold: {maximize: f1}")
	}
	line("\nmetrics: [%s]", strings.Join(dataset.DefaultMetrics(d.outcome.task), ", "))
	d.writeCandidates(line)
	return []byte(b.String())
}

// smallTable is below how many rows a table is small: it is split so that the smaller
// parts have more.
const smallTable = 5_000

// shares are the percentages of the training rows, and of the validation and test rows.
func (d *Draft) shares() (train, rest int) { return sharesOf(d.Rows, d.outcome.scarce) }

// smallRest is the percentage of the validation rows where there are few.
const smallRest = 20

// sharesOf are those of a table of so many rows; scarce says that an outcome has few.
func sharesOf(rows int64, scarce bool) (train, rest int) {
	if rows < smallTable || scarce {
		return 100 - 2*smallRest, smallRest
	}
	return 70, 15
}

// whyInTime says why the rows are split by time, with who says so.
func (d *Draft) whyInTime() string {
	if d.inTime.alike == 0 {
		return d.inTime.reason
	}
	return "guessed: " + d.inTime.reason
}

// about says what the model predicts.
func (d *Draft) about() string {
	switch d.outcome.task {
	case dataset.Multiclass:
		return fmt.Sprintf("Which of %d classes %s is.", len(d.outcome.classes), d.target.name)
	case dataset.Regression:
		return fmt.Sprintf("The value of %s.", d.target.name)
	}
	return fmt.Sprintf("Whether %s is %s.", d.target.name, d.outcome.labels[0])
}

// writeTarget writes the target, and the cohort that leaves its rare values out.
func (d *Draft) writeTarget(line func(string, ...any)) {
	o := &d.outcome
	line("\ntarget:")
	line("  column: %s%s", quote(d.target.as), comment(d.whyTarget))
	switch o.task {
	case dataset.Binary:
		line("  positive: [%s]%s", quoteAll(o.positive), comment(o.whyOne))
		if len(o.negative) > 0 {
			line("  negative: [%s] # a row with another value is rejected", quoteAll(o.negative))
		}
		line("  labels: {positive: %s, negative: %s}", quote(o.labels[0]), quote(o.labels[1]))
	case dataset.Multiclass:
		line("  classes: [%s] # guessed: all values with at least %d rows", quoteAll(o.classes), o.least)
	}
	if n := d.target.rows - d.target.present; n > 0 {
		line("  # %s without a target: loaded, and not trained on.", progress.Counted(n, "row"))
	}
	if len(o.rare) == 0 {
		return
	}
	var words []string
	var rows int64
	for _, v := range o.rare {
		rows += v.rows
		words = append(words, v.spellings...)
	}
	why, because := o.whyRare, o.whyRare
	if why == "" {
		why, because = fmt.Sprintf("each has fewer than %d rows, or too few in a split, to learn from and to test on", o.least), "too few rows have this outcome"
	}
	line("\ncohort: # guessed: %s; %s left out", why, progress.Counted(rows, "row"))
	line("  - column: %s", quote(d.target.as))
	line("    values: [%s]", quoteAll(words))
	line("    because: %s", because)
}

// kind is the type of the target's column.
func (o *outcome) kind(c *column) dataset.Type {
	switch numeric := c.kind == dataset.Integer || c.kind == dataset.Number; {
	case o.task == dataset.Regression && !numeric: // codes by their name
		return dataset.Integer
	case o.task == dataset.Regression:
		return c.kind
	case o.task == dataset.Multiclass && numeric:
		return dataset.Integer
	case c.kind == dataset.Integer || c.kind == dataset.Number && len(c.counts) <= 20:
		return c.kind
	}
	return dataset.Category // by the words that the table has
}

// parts are the parts of a column's dates that vary.
func (d *Draft) parts(c *column) []string {
	seen := map[string]map[float64]bool{}
	for v := range c.counts {
		t, ok := dataset.ParseDateIn(c.dateFormat, []byte(v))
		if !ok {
			continue
		}
		for _, part := range dataset.Parts {
			if seen[part] == nil {
				seen[part] = map[float64]bool{}
			}
			seen[part][dataset.Part(t, part)] = true
		}
	}
	var parts []string
	for _, part := range dataset.Parts {
		if len(seen[part]) > 1 {
			parts = append(parts, part)
		}
	}
	return parts
}

// writeSource says how the table is written, where that is not as usual.
func (d *Draft) writeSource(line func(string, ...any)) {
	var lines []string
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf("  "+format, args...)) }
	if d.member != "" {
		add("member: %s # guessed: the largest file in the archive", quote(d.member))
	}
	if d.separator != ',' {
		add("separator: %s # guessed: by the header", map[byte]string{';': `";"`, '|': `"|"`, '\t': "tab"}[d.separator])
	}
	if d.encoding != "" {
		add("encoding: %s # guessed: by the first line that is not UTF-8", d.encoding)
	}
	if d.skip > 0 {
		add("skip: %d # guessed: the lines before the header are a title, comments or the like", d.skip)
	}
	if d.noHeader {
		add("header: none # guessed: the first line looks like a record")
	}
	if s := d.spell; s.decimal != "" {
		add("decimal: %q # guessed: %s", s.decimal, clean(s.guess))
	}
	if s := d.spell; s.thousands != "" {
		add("thousands: %s # guessed: %s", quote(s.thousands), clean(s.guess))
	}
	var names, why []string
	for _, c := range d.columns {
		if c.drop != "" && !slices.Contains(names, quote(c.name)) {
			names = append(names, quote(c.name))
			why = append(why, c.drop)
		}
	}
	if len(names) > 0 {
		add("ignore: [%s] # guessed: %s", strings.Join(names, ", "), clean(strings.Join(why, "; ")))
	}
	if len(lines) > 0 {
		line("\nsource:\n%s", strings.Join(lines, "\n"))
	}
}

func (d *Draft) writeColumn(line func(string, ...any), c *column) {
	fields := []string{"name: " + quote(c.as)}
	if c.as != c.name {
		fields = append(fields, "from: "+quote(c.name))
	}
	fields = append(fields, "type: "+string(c.kind))
	if c.kind == dataset.Date && c.dateFormat != "" {
		fields = append(fields, "format: "+quote(c.dateFormat))
	}
	if c.unit != "" && (c.kind == dataset.Integer || c.kind == dataset.Number) {
		fields = append(fields, "unit: "+quote(c.unit))
	}
	if len(c.missing) > 0 {
		var words []string
		for _, m := range c.missing {
			words = append(words, m.value)
		}
		fields = append(fields, "missing: ["+quoteAll(words)+"]")
	}
	if c.out == "" {
		fields = append(fields, "form: Inputs")
		if len(c.options) > 0 {
			fields = append(fields, "values: ["+quoteAll(c.options)+"]")
		}
	}
	said := "guessed: " + c.guess
	for i, m := range c.missing {
		if i == 5 {
			said += fmt.Sprintf("; and %d more markers", len(c.missing)-i)
			break
		}
		said += fmt.Sprintf("; %q stands for a missing value (%s, first on line %s)", m.value, progress.Counted(m.n, "cell"), progress.Count(m.line))
	}
	if missing := c.rows - c.present; missing > 0 && c.present > 0 {
		said += fmt.Sprintf("; %.1f%% missing", 100*float64(missing)/float64(max(1, c.rows)))
	}
	if c.lossOf > 0 {
		said += fmt.Sprintf("; %s can't be read and will be rejected, for example line %d: %q", progress.Count(c.lossOf), c.lossAt, c.lossEx)
	}
	for _, n := range c.notes {
		said += "; " + n
	}
	if c.unsure != "" {
		said += "; " + c.unsure
	}
	if c.out != "" && c != d.target && c != d.key && c != d.group {
		said += "; no feature: " + c.out
	}
	line("  - {%s} # %s", strings.Join(fields, ", "), clean(said))
}

func (d *Draft) writeFeatures(line func(string, ...any)) {
	line("\nfeatures:")
	if d.Together != nil {
		line("  # suspected leak: %s", clean(d.Together.Text))
	}
	n := 0
	var passed []string
	for _, c := range d.columns {
		used, left := d.timely(c)
		if c.out == "" || c.out == d.whyPassing {
			passed = append(passed, left...)
		}
		if c.out != "" {
			continue
		}
		n++
		switch {
		case c.kind == dataset.Date || c.kind == dataset.Integer || c.kind == dataset.Number:
			for _, l := range used {
				line("  %s", l)
			}
		case c.values > 20:
			line("  - {category: %s, fold_below: %d} # guessed: %s levels, rarer ones share one", quote(c.as), d.foldBelow(), progress.Count(c.values))
		default:
			line("  - {category: %s}", quote(c.as))
		}
	}
	if n == 0 {
		line("  [] # no column is left that a model could learn from")
	}
	if len(passed) > 0 {
		line("  # guessed: %s. Take a # away to use one:", clean(d.whyPassing))
		for _, l := range passed {
			line("  # %s", l)
		}
	}
	var left []string
	for _, c := range d.columns {
		if c.out != "" && c.out != d.whyPassing && c != d.target && c != d.key && c != d.group {
			left = append(left, fmt.Sprintf("  #   %s: %s", clean(c.name), clean(c.out)))
		}
	}
	if len(left) > 0 {
		line("  # guessed: these columns are left out")
		for _, l := range left {
			line("%s", l)
		}
	}
}

func (d *Draft) writeCandidates(line func(string, ...any)) {
	line("\ncandidates: # guessed: by the number of rows")
	type candidate struct {
		name   string
		rounds int
		params string
	}
	var all []candidate
	switch {
	case d.Rows < 2_000:
		all = []candidate{
			{"shallow", 1000, "eta: 0.03, max_depth: 2, min_child_weight: 2, subsample: 0.8, colsample_bytree: 0.8"},
			{"medium", 1000, "eta: 0.03, max_depth: 3, min_child_weight: 3, subsample: 0.8, colsample_bytree: 0.8, lambda: 2"},
			{"deep", 1000, "eta: 0.03, max_depth: 5, min_child_weight: 2, subsample: 0.8, colsample_bytree: 0.6, lambda: 2"},
		}
	case d.Rows < 20_000:
		all = []candidate{
			{"shallow", 2000, "eta: 0.05, max_depth: 3, subsample: 0.8, colsample_bytree: 0.8"},
			{"medium", 2000, "eta: 0.05, max_depth: 5, min_child_weight: 3, subsample: 0.8, colsample_bytree: 0.8"},
			{"deep", 2000, "eta: 0.03, max_depth: 7, min_child_weight: 5, subsample: 0.8, colsample_bytree: 0.6, lambda: 2"},
		}
	default:
		all = []candidate{
			{"shallow", 2000, "eta: 0.1, max_depth: 4, subsample: 0.8, colsample_bytree: 0.8"},
			{"medium", 2000, "eta: 0.05, max_depth: 6, min_child_weight: 3, subsample: 0.8, colsample_bytree: 0.8"},
			{"deep", 2000, "eta: 0.05, max_depth: 8, min_child_weight: 5, subsample: 0.8, colsample_bytree: 0.6, lambda: 2"},
		}
	}
	for _, k := range all {
		line("  - {name: %s, rounds: %d, early_stopping: 50, params: {%s}}", k.name, k.rounds, k.params)
	}
}

func comment(text string) string {
	if text == "" {
		return ""
	}
	return " # " + clean(text)
}

// clean makes a text safe in a YAML comment.
func clean(text string) string { return shorten(text, 400) }

func quoteAll(values []string) string {
	words := make([]string, len(values))
	for i, v := range values {
		words[i] = quote(v)
	}
	return strings.Join(words, ", ")
}
