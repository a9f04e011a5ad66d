package dataset

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// Split says which rows train, validate and test. It shares the groups out by a hash of
// the group key and a salt, or, with By, the rows by what one column says: those before
// ValidationFrom train, those from TestFrom on test. Either way each row's split follows
// from its own values, so that no batch moves a row.
type Split struct {
	Salts      []string `yaml:"salts"` // the first is the one that is used; the others serve to measure how much scores vary
	Train      int      `yaml:"train"` // percent
	Validation int      `yaml:"validation"`
	Test       int      `yaml:"test"`

	By             string `yaml:"by"`              // a date, or a number such as a year
	ValidationFrom string `yaml:"validation_from"` // in the column's canonical form
	TestFrom       string `yaml:"test_from"`

	sound bool // the column and its boundaries were checked
}

// ByTime reports whether a column's value decides a row's split, and not a hash.
func (s *Spec) ByTime() bool { return s.Split.By != "" }

// SplitOf returns the split of a row by its value in the column that decides, in
// canonical form.
func (s *Spec) SplitOf(value []byte) string {
	switch {
	case s.CompareTimes(value, []byte(s.Split.TestFrom)) >= 0:
		return Test
	case s.CompareTimes(value, []byte(s.Split.ValidationFrom)) >= 0:
		return Validation
	}
	return Train
}

// CompareTimes compares two canonical values of the column that decides the split.
func (s *Spec) CompareTimes(a, b []byte) int {
	switch s.Columns[s.Column(s.Split.By)].Type {
	case Integer:
		x, _ := strconv.ParseInt(string(a), 10, 64) // canonical ones are numbers
		y, _ := strconv.ParseInt(string(b), 10, 64)
		return cmp.Compare(x, y)
	case Number:
		x, _ := strconv.ParseFloat(string(a), 64)
		y, _ := strconv.ParseFloat(string(b), 64)
		return cmp.Compare(x, y)
	}
	return bytes.Compare(a, b) // dates sort as their texts
}

// Time returns a canonical value of the column that decides the split as a number: of a
// date seconds, else what it says.
func (s *Spec) Time(value []byte) float64 {
	if s.Columns[s.Column(s.Split.By)].Type == Date {
		t, _ := ParseDate(value) // canonical ones are dates
		return float64(t.UnixMicro()) / 1e6
	}
	x, _ := strconv.ParseFloat(string(value), 64)
	return x
}

// SplitRule says in words what decides a row's split.
func (s *Spec) SplitRule() string {
	if s.ByTime() {
		return fmt.Sprintf("by %s: validation from %s, test from %s", s.Split.By, s.Split.ValidationFrom, s.Split.TestFrom)
	}
	of := "row"
	switch {
	case s.Group != "":
		of = s.Group
	case s.Key != "":
		of = s.Key
	}
	return fmt.Sprintf("by a hash of each %s, salt %s: %d %% train, %d %% validation, %d %% test", of, s.Split.Salts[0], s.Split.Train, s.Split.Validation, s.Split.Test)
}

// EnlargeSplit says how the spec gives a split more of the rows.
func (s *Spec) EnlargeSplit(split string) string {
	if !s.ByTime() {
		return fmt.Sprintf("give split.%s a larger share", split)
	}
	switch split {
	case Train:
		return "move split.validation_from to later"
	case Validation:
		return "move split.validation_from to earlier, or split.test_from to later"
	}
	return "move split.test_from to earlier"
}

func (c *checker) split(s *Spec) {
	hashed := len(s.Split.Salts) > 0 || s.Split.Train != 0 || s.Split.Validation != 0 || s.Split.Test != 0
	switch {
	case s.Split.By == "" && s.Split.ValidationFrom+s.Split.TestFrom != "":
		c.bad(at("split"), "split.validation_from and split.test_from go with split.by, the column whose values they are")
		return
	case s.Split.By != "" && hashed:
		c.bad(at("split"), "rows are split either by %s (by, validation_from, test_from) or by a hash (salts, train, validation, test): leave one of them out", s.Split.By)
		return
	case s.Split.By != "":
		c.splitByTime(s)
		return
	}
	if len(s.Split.Salts) == 0 || s.Split.Salts[0] == "" {
		c.bad(at("split", "salts"), "split.salts is empty")
	}
	for _, p := range []struct {
		name  string
		share int
	}{{"train", s.Split.Train}, {"validation", s.Split.Validation}, {"test", s.Split.Test}} {
		if p.share <= 0 {
			c.bad(at("split", p.name), "split.%s is %d percent; every part needs rows", p.name, p.share)
		}
	}
	if sum := s.Split.Train + s.Split.Validation + s.Split.Test; sum != 100 && c.sound(at("split"), "train", "validation", "test") {
		c.bad(at("split"), "train, validation and test make %d percent, not 100", sum)
	}
}

// splitByTime checks a split by a column, and puts its boundaries into the column's
// canonical form.
func (c *checker) splitByTime(s *Spec) {
	name := s.Split.By
	i := s.Column(name)
	if i < 0 {
		c.bad(at("split", "by"), "no column is called %q%s", name, meant(name, slices.Collect(maps.Keys(s.columns))))
		return
	}
	col := &s.Columns[i]
	switch {
	case col.Type != Date && col.Type != Integer && col.Type != Number:
		c.bad(at("split", "by"), "column %q is a %s: rows are split by a date, or by a number such as a year", name, col.Type)
		return
	case name == s.Target.Column:
		c.bad(at("split", "by"), "column %q is the target: rows split by it would have other answers in training than in the test", name)
		return
	}
	sound := true
	for _, b := range []struct {
		key   string
		value *string
	}{{"validation_from", &s.Split.ValidationFrom}, {"test_from", &s.Split.TestFrom}} {
		here := at("split", b.key)
		if *b.value == "" {
			c.bad(here, "split.%s is missing: the least %s of the %s rows", b.key, name, map[bool]string{true: "validation", false: "test"}[b.key == "validation_from"])
			sound = false
			continue
		}
		v, err := s.Value(i, []byte(*b.value))
		switch {
		case err != nil:
			c.bad(here, "%v: column %q never holds it", err, name)
			sound = false
		case v == nil:
			c.bad(here, "%q stands for a missing value of column %q", *b.value, name)
			sound = false
		default:
			*b.value = string(v)
		}
	}
	if !sound || !c.sound(at("split"), "by", "validation_from", "test_from") {
		return
	}
	if s.CompareTimes([]byte(s.Split.ValidationFrom), []byte(s.Split.TestFrom)) >= 0 {
		c.bad(at("split", "test_from"), "test_from %s is not after validation_from %s: training rows come first, then those to validate on, the test rows last", s.Split.TestFrom, s.Split.ValidationFrom)
		return
	}
	s.Split.sound = true
}
