package dataset

import (
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"sort"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"
)

var (
	tableName  = regexp.MustCompile(`^[a-z][a-z0-9_]{0,39}$`)
	columnName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.\- ]{0,62}$`)
	modelName  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.\-]{0,99}$`)
	digest     = regexp.MustCompile(`^[0-9a-f]{64}$`)
	suffixes   = regexp.MustCompile(`_(rejected|batches|replaced|split)$`) // our own tables beside a data set's
)

// checker collects what is wrong with a spec, with the line that says it.
type checker struct {
	root     *yaml.Node
	garbled  map[*yaml.Node]bool // values that could not be read
	isName   func(string) bool   // whether a column may have a name
	problems []Problem
}

// line finds the line of the node at path (keys and indexes), or of its nearest
// parent that is there, and whether all on the way could be read.
func (c *checker) line(path ...any) (line int, read bool) {
	n := c.root
	line = n.Line
	if c.garbled[n] {
		return line, false
	}
	for _, step := range path {
		var next *yaml.Node
		switch step := step.(type) {
		case string:
			if n.Kind == yaml.MappingNode {
				for i := 0; i+1 < len(n.Content); i += 2 {
					if n.Content[i].Value == step {
						line, next = n.Content[i].Line, n.Content[i+1]
					}
				}
			}
		case int:
			if n.Kind == yaml.SequenceNode && step < len(n.Content) {
				next = n.Content[step]
				line = next.Line
			}
		}
		if next == nil {
			return line, true
		}
		if next.Kind == yaml.AliasNode {
			next = next.Alias
		}
		if n = next; c.garbled[n] {
			return line, false
		}
	}
	return line, true
}

// bad notes what is wrong at a path. What is said of a value that could not be read is a
// consequence of that, and left out.
func (c *checker) bad(at []any, format string, args ...any) {
	if line, read := c.line(at...); read {
		c.problems = append(c.problems, Problem{line, fmt.Sprintf(format, args...)})
	}
}

// sound reports whether the values of some keys could be read, so that they may be
// compared with one another.
func (c *checker) sound(at []any, keys ...string) bool {
	return !slices.ContainsFunc(keys, func(key string) bool {
		_, read := c.line(append(slices.Clone(at), key)...)
		return !read
	})
}

func (c *checker) sort() {
	sort.SliceStable(c.problems, func(i, j int) bool { return c.problems[i].Line < c.problems[j].Line })
}

func at(path ...any) []any { return path }

// finite reports whether a model can take the number.
func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(float64(float32(x)), 0) }

func (c *checker) check(s *Spec) {
	if !tableName.MatchString(s.Name) {
		c.bad(at("name"), "name %q must be a table's name: small letters, digits and _, at most 40, a letter first", s.Name)
	} else if strings.HasPrefix(s.Name, "pg_") {
		c.bad(at("name"), "name %q starts with pg_, as Postgres' own tables do", s.Name)
	} else if suffixes.MatchString(s.Name) {
		c.bad(at("name"), "name %q ends like one of the tables kept beside a data set", s.Name)
	}
	if !modelName.MatchString(s.Model) {
		c.bad(at("model"), "model %q must be a registered model's name: letters, digits, ., - and _", s.Model)
	}
	c.task(s)
	if s.Title == "" {
		s.Title = s.Name
	}
	trimAll(s.Missing)
	c.columns(s)
	switch s.OnChange {
	case "":
		s.OnChange = onChangeReject
	case onChangeReject:
	case onChangeReplace:
		if s.Key == "" {
			c.bad(at("on_change"), "on_change: replace needs a key: without one nothing says which row another replaces")
		}
	default:
		c.bad(at("on_change"), "on_change %q is not known; it can be: %s, %s%s", s.OnChange, onChangeReject, onChangeReplace, meant(s.OnChange, []string{onChangeReject, onChangeReplace}))
	}
	c.source(s)
	c.target(s)
	for i, name := range s.AllowLeak {
		c.column(s, at("allow_leak", i), name)
	}
	for i := range s.Cohort {
		e := &s.Cohort[i]
		if col := c.column(s, at("cohort", i, "column"), e.Column); col != nil {
			c.values(s, at("cohort", i, "values"), e.Column, e.Values)
			if col.excluded == nil {
				col.excluded = make(map[string]int, len(e.Values))
			}
			for _, v := range e.Values {
				if _, before := col.excluded[v]; !before {
					col.excluded[v] = i
				}
			}
		}
		if len(e.Values) == 0 {
			c.bad(at("cohort", i, "values"), "values is empty: this leaves no row out")
		}
		if e.Because == "" {
			c.bad(at("cohort", i, "because"), "because is missing: say why these rows are left out")
		}
	}
	if s.Task == Multiclass && s.Column(s.Target.Column) >= 0 {
		c.classes(s)
	}
	if at := s.Column(s.Target.Column); at >= 0 && len(s.Target.Negative) > 0 {
		s.Columns[at].takeOnly(s.Target.Positive, s.Target.Negative)
	}
	c.split(s)
	c.features(s)
	c.earlier(s)
	c.weights(s)
	c.threshold(s)
	c.metrics(s)
	c.slices(s)
	c.candidates(s)
	c.search(s)
	c.promote(s)
}

// values puts values that the spec names of a column into their canonical form,
// in place. Those that the column can't hold would never match.
func (c *checker) values(s *Spec, where []any, column string, values []string) {
	for i, text := range values {
		here := append(slices.Clone(where), i)
		v, err := s.Value(s.Column(column), []byte(text))
		switch {
		case err != nil:
			c.bad(here, "%v: column %q never holds it", err, column)
		case v == nil:
			c.bad(here, "%q stands for a missing value of column %q", text, column)
		default:
			values[i] = string(v)
		}
	}
}

// column checks that a column of that name exists and returns it, or nil.
func (c *checker) column(s *Spec, where []any, name string) *Column {
	i := s.Column(name)
	if i < 0 {
		c.bad(where, "no column is called %q%s", name, meant(name, slices.Collect(maps.Keys(s.columns))))
		return nil
	}
	return &s.Columns[i]
}

func (c *checker) target(s *Spec) {
	t := &s.Target
	if t.Column == "" {
		c.bad(at("target", "column"), "target.column is missing")
		return
	}
	col := c.column(s, at("target", "column"), t.Column)
	if col == nil {
		return
	}
	if s.Task != Binary {
		if len(t.Positive) > 0 {
			c.bad(at("target", "positive"), "positive goes with task: binary")
		}
		if len(t.Negative) > 0 {
			c.bad(at("target", "negative"), "negative goes with task: binary")
		}
		if t.Labels.Positive != "" || t.Labels.Negative != "" {
			c.bad(at("target", "labels"), "labels are the words for both outcomes of task: binary")
		}
	}
	if s.Task != Multiclass && len(t.Classes) > 0 {
		c.bad(at("target", "classes"), "classes go with task: multiclass")
	}
	if s.Task == Regression && col.Type != Integer && col.Type != Number {
		c.bad(at("target", "column"), "column %q is a %s: a regression predicts a column of type integer or number", t.Column, col.Type)
	}
	if s.Task != Binary {
		return
	}
	if len(t.Positive) == 0 {
		c.bad(at("target", "positive"), "target.positive is empty: say which values count as 1")
	}
	c.values(s, at("target", "positive"), t.Column, t.Positive)
	if len(t.Negative) > 0 {
		c.values(s, at("target", "negative"), t.Column, t.Negative)
		for i, v := range t.Negative {
			if slices.Contains(t.Positive, v) {
				c.bad(at("target", "negative", i), "%q is positive and negative", v)
			}
		}
	}
	if t.Labels.Positive == "" {
		t.Labels.Positive = t.Column
	}
	if t.Labels.Negative == "" {
		t.Labels.Negative = "not " + t.Labels.Positive
	}
}

func (c *checker) features(s *Spec) {
	if len(s.Features) == 0 {
		c.bad(at("features"), "features is empty")
	}
	names := map[string]bool{}
	for i := range s.Features {
		f := &s.Features[i]
		here := at("features", i)
		set := 0
		for _, is := range []bool{f.Number != "", f.Category != "", f.Ranges != "", len(f.Count) > 0, f.Date != "", f.DaysFrom != ""} {
			if is {
				set++
			}
		}
		if f.Earlier == EarlierCount {
			if set != 0 {
				c.bad(here, "history: count takes nothing more than a name: it counts the earlier rows")
				continue
			}
		} else if set != 1 {
			if !c.sound(here, "number", "category", "ranges", "count", "date", "days_from") {
				continue
			}
			c.bad(here, "a feature has exactly one of number, category, ranges, count, date and days_from")
			continue
		}
		for _, name := range f.Columns() {
			if col := c.column(s, here, name); col != nil {
				c.featureType(here, f, col)
			}
			if name == s.Target.Column {
				c.bad(here, "column %q is the target: as a feature it tells the answer", name)
			}
			if name == s.Group {
				c.bad(here, "column %q is the group: it says which rows belong together and is ignored in a prediction, so it can't be a feature too; if it tells something besides, add a copy of the column to the table under another name, and make the feature of that", name)
			}
			if name == s.Key {
				c.bad(here, "column %q is the key: as a feature it tells nothing about new rows", name)
			}
		}
		if f.Name == "" {
			if len(f.Count) > 0 {
				c.bad(here, "a count needs a name")
				continue
			}
			f.Name = f.usualName()
		}
		if names[f.Name] {
			c.bad(here, "feature %q is there twice", f.Name)
		}
		if strings.ContainsAny(f.Name, "[]<") || strings.ContainsFunc(f.Name, unicode.IsControl) || len(f.Name) > 200 {
			c.bad(here, "feature name %q: XGBoost takes no [, ] and <; at most 200 bytes", f.Name)
		}
		for v, x := range f.Values {
			if !finite(x) {
				c.bad(at("features", i, "values", v), "%g is not a number that a model takes", x)
			}
		}
		names[f.Name] = true
		if f.Number == "" && len(f.Values) > 0 {
			c.bad(here, "values goes with number")
		}
		if f.FoldBelow != 0 && f.Category == "" {
			c.bad(here, "fold_below goes with category")
		}
		if f.FoldBelow < 0 {
			c.bad(here, "fold_below is %d", f.FoldBelow)
		}
		c.dateFeature(here, s, f)
		c.earlierFeature(here, f)
		if (len(f.Table) > 0) != (f.Ranges != "") {
			c.bad(here, "ranges and table go together")
		}
		for j, r := range f.Table {
			c.rangeEntry(at("features", i, "table", j), r)
		}
		if isCount := len(f.Count) > 0; isCount != (len(f.Of)+len(f.NotOf) > 0) || len(f.Of) > 0 && len(f.NotOf) > 0 {
			c.bad(here, "count goes with one of of and not_of")
		}
	}
}

// featureType checks that a feature can be made of a column of that type.
func (c *checker) featureType(here []any, f *Feature, col *Column) {
	switch {
	case (f.Date != "" || f.DaysFrom != "") && col.Type != Date:
		c.bad(here, "column %q is a %s, not a date", col.Name, col.Type)
	case f.Number != "" && col.Type == Category && len(f.Values) == 0:
		c.bad(here, "column %q is a category: as a number it needs values", col.Name)
	case col.Type == Date && (f.Number != "" || f.Category != "" || f.Ranges != ""):
		c.bad(here, "column %q is a date: a feature takes a part of it ({date: %s, part: month}) or counts days ({days_from: %s, to: 2024-01-31})", col.Name, col.Name, col.Name)
	case col.Type == Boolean && f.Ranges != "":
		c.bad(here, "column %q is a boolean: ranges are for numbers and texts", col.Name)
	}
}

// dateFeature checks the keys of features of dates.
func (c *checker) dateFeature(here []any, s *Spec, f *Feature) {
	if f.Part != "" && f.Date == "" {
		c.bad(here, "part goes with date")
	}
	if f.Date != "" && f.Earlier == EarlierDaysSince {
		if f.Part != "" {
			c.bad(here, "history: %s takes no part of a date", EarlierDaysSince)
		}
	} else if f.Date != "" && !slices.Contains(Parts, f.Part) {
		c.bad(here, "part is %q; it can be: %s%s", f.Part, strings.Join(Parts, ", "), meant(f.Part, Parts))
	}
	if f.To != "" && f.DaysFrom == "" {
		c.bad(here, "to goes with days_from")
	}
	if f.DaysFrom == "" {
		return
	}
	if t, ok := ParseDate([]byte(f.To)); ok {
		f.To = string(AppendDate(nil, t))
	} else if s.Column(f.To) < 0 {
		c.bad(here, "to is %q; it has to be a date column or a date such as 2024-01-31%s", f.To, meant(f.To, slices.Collect(maps.Keys(s.columns))))
	} else if f.To == f.DaysFrom {
		c.bad(here, "days_from and to are both %q", f.To)
	}
}

func (c *checker) rangeEntry(here []any, r Range) {
	if r.Name == "" {
		c.bad(here, "a range needs a name")
	}
	byNumber := r.From != nil && r.To != nil
	if byNumber == (r.Prefix != "") || (r.From == nil) != (r.To == nil) {
		c.bad(here, "range %q needs from and to, or prefix", r.Name)
	}
	if byNumber && !(*r.From < *r.To) && c.sound(here, "from", "to") {
		c.bad(here, "range %q: from %g is not below to %g", r.Name, *r.From, *r.To)
	}
}

func (c *checker) metrics(s *Spec) {
	if len(s.Metrics) == 0 {
		s.Metrics = slices.Clone(defaultMetrics[s.Task])
	}
	known := Metrics(s.Task)
	for i, m := range s.Metrics {
		if !slices.Contains(known, m) {
			c.bad(at("metrics", i), "metric %q is not known for task: %s; it can be: %s%s", m, s.Task, strings.Join(known, ", "), meant(m, known))
		}
	}
	if m := s.Metrics[0]; slices.Contains(known, m) && !metricOf(s.Task, m).decide {
		c.bad(at("metrics", 0), "the first metric decides promotion: it can be %s, not %q", metricNames(s.Task, true), m)
	}
}

func (c *checker) candidates(s *Spec) {
	if len(s.Candidates) == 0 {
		c.bad(at("candidates"), "candidates is empty")
	}
	names := map[string]bool{}
	for i := range s.Candidates {
		k := &s.Candidates[i]
		here := at("candidates", i)
		if !modelName.MatchString(k.Name) {
			c.bad(at("candidates", i, "name"), "candidate name %q: letters, digits, ., - and _", k.Name)
		}
		if names[k.Name] {
			c.bad(here, "candidate %q is there twice", k.Name)
		}
		names[k.Name] = true
		if k.Rounds < 1 || k.Rounds > 100000 {
			c.bad(at("candidates", i, "rounds"), "candidate %q has %d rounds; 1 to 100000", k.Name, k.Rounds)
		}
		if k.EarlyStopping < 0 {
			c.bad(at("candidates", i, "early_stopping"), "candidate %q: early_stopping is %d", k.Name, k.EarlyStopping)
		}
		for p, v := range k.Params {
			c.parameter(s, at("candidates", i, "params", p), p, v)
		}
		if k.Params["tree_method"] == "exact" && slices.ContainsFunc(s.Features, func(f Feature) bool { return f.Categorical() }) {
			c.bad(at("candidates", i, "params", "tree_method"), "tree_method exact takes no categories; hist and approx do")
		}
	}
}
