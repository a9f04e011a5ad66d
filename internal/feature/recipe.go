package feature

import (
	"maps"
	"slices"

	"mlops/internal/dataset"
)

// Recipe is what an encoder does, worked out as data, so that a program in another
// language does the same without knowing what a spec or a fitted feature means. A
// number that is missing is nil.
type Recipe struct {
	Names       []string       `json:"names"`       // of the features
	Categorical []bool         `json:"categorical"` // of each
	Blank       []*float32     `json:"blank"`       // the working vector of a record without values; longer than Names where features look at earlier rows
	Columns     []RecipeColumn `json:"columns"`     // those that a record is asked for
	Group       string         `json:"group,omitempty"`
	Order       string         `json:"order,omitempty"`
	Pasts       []RecipePast   `json:"pasts,omitempty"` // features of earlier rows
}

// RecipeColumn is what is read in one column, and what a value does.
type RecipeColumn struct {
	Name     string         `json:"name"`
	Type     dataset.Type   `json:"type"`
	Required bool           `json:"required,omitempty"`
	Markers  []string       `json:"markers,omitempty"` // of a missing value
	Unit     string         `json:"unit,omitempty"`
	Format   string         `json:"format,omitempty"` // of a date
	Min      *float64       `json:"min,omitempty"`
	Max      *float64       `json:"max,omitempty"`
	Earliest string         `json:"earliest,omitempty"`
	Latest   string         `json:"latest,omitempty"`
	Texts    []string       `json:"texts,omitempty"`    // of a category: those that a number or a boolean may mean
	Excluded map[string]int `json:"excluded,omitempty"` // number of the cohort's rule, by value
	Levels   *string        `json:"levels,omitempty"`   // FNV-1a of each level that training saw, 8 bytes each, ascending, big-endian, in base64; nil: any value is a level
	Ops      []RecipeOp     `json:"ops,omitempty"`
}

// RecipeOp is one effect of a value on the working vector; see op.
type RecipeOp struct {
	Feature int                `json:"feature"` // place in the working vector
	Kind    string             `json:"kind"`
	Codes   map[string]float32 `json:"codes,omitempty"`
	Folds   bool               `json:"folds,omitempty"`
	Other   float32            `json:"other,omitempty"`
	Ranges  []RecipeRange      `json:"ranges,omitempty"`
	Inverse bool               `json:"inverse,omitempty"`
	Typical float32            `json:"typical,omitempty"`
	Part    string             `json:"part,omitempty"`
	Day     int                `json:"day,omitempty"`
}

// RecipeRange is an entry of a look-up.
type RecipeRange struct {
	From   float64 `json:"from"`
	To     float64 `json:"to"`
	Prefix string  `json:"prefix,omitempty"`
	Code   float32 `json:"code"`
}

// RecipePast is a feature of earlier rows.
type RecipePast struct {
	Feature int    `json:"feature"`
	Kind    string `json:"kind"` // one of dataset.EarlierKinds
	Slot    int    `json:"slot"` // the value that it looks at, from the first behind the features
}

var kindNames = [...]string{number: "number", coded: "code", ranged: "range", counted: "count", dated: "date", days: "days", dayed: "day", hashed: "hash", ranked: "number"}

// Recipe returns what the encoder does.
func (e *Encoder) Recipe() Recipe {
	r := Recipe{}
	for i := range e.Features {
		r.Names = append(r.Names, e.Features[i].Name)
		r.Categorical = append(r.Categorical, e.Features[i].Categorical)
	}
	for _, x := range e.blank {
		var known *float32
		if x == x {
			known = &x
		}
		r.Blank = append(r.Blank, known)
	}
	if e.LooksBack() {
		r.Group, r.Order = e.spec.Group, e.spec.Order
	}
	for _, p := range e.pasts {
		r.Pasts = append(r.Pasts, RecipePast{p.feature, p.kind, p.slot})
	}
	for i := range e.spec.Columns {
		c := &e.spec.Columns[i]
		place := r.Group != "" && (c.Name == r.Group || c.Name == r.Order)
		if c.Name == e.spec.Target.Column || !place && !c.Required && !c.InCohort() && (len(e.columns[i]) == 0 || e.spec.Ignored(i)) {
			continue
		}
		r.Columns = append(r.Columns, e.recipeColumn(i))
	}
	return r
}

func (e *Encoder) recipeColumn(column int) RecipeColumn {
	c, l := &e.spec.Columns[column], &e.limits[column]
	r := RecipeColumn{
		Name: c.Name, Type: c.Type, Required: c.Required, Markers: c.Markers(), Unit: c.Unit,
		Format: c.Format, Min: c.Min, Max: c.Max, Earliest: c.Earliest, Latest: c.Latest,
		Texts: slices.Sorted(maps.Keys(e.literals[column].texts)),
	}
	for i := range e.spec.Cohort {
		if e.spec.Cohort[i].Column != c.Name {
			continue
		}
		for _, v := range e.spec.Cohort[i].Values {
			if v, err := e.spec.Value(column, []byte(v)); err == nil && v != nil {
				if r.Excluded == nil {
					r.Excluded = map[string]int{}
				}
				r.Excluded[string(v)] = c.Excludes(v)
			}
		}
	}
	if e.spec.Ignored(column) {
		return r
	}
	if l.leveled {
		text, _ := l.hashes.MarshalText() // it never fails
		levels := string(text)
		r.Levels = &levels
	}
	for i := range e.columns[column] {
		o := &e.columns[column][i]
		op := RecipeOp{
			Feature: o.feature, Kind: kindNames[o.kind], Codes: o.codes, Folds: o.folds, Other: o.other,
			Inverse: o.inverse, Typical: o.typical, Part: o.part, Day: o.day,
		}
		for _, s := range o.ranges {
			op.Ranges = append(op.Ranges, RecipeRange{s.from, s.to, s.prefix, s.code})
		}
		r.Ops = append(r.Ops, op)
	}
	return r
}
