package draft

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"

	"mlops/internal/dataset"
	"mlops/internal/progress"
)

// leaks leaves out columns that tell the target by themselves, as training would stop
// on them, and those that go with one or look as if they were filled in afterwards. It
// reports whether there are any.
func (d *Draft) leaks() (any bool, err error) {
	leave := func(name, why string) bool {
		for _, c := range d.columns {
			if c.drop == "" && c.as == name && c.out == "" && !c.allowed {
				c.out = "suspected leak: " + why + "; put it back if it is known before the outcome is"
				d.companions(c)
				return true
			}
		}
		return false
	}
	for _, c := range d.sample.fromTarget() {
		any = leave(c.Column, fmt.Sprintf("it is %s, so that the target of each row is in it", c.What)) || any
	}
	if any {
		if err := d.parse(); err != nil {
			return any, err
		}
		d.sample.spec = d.Spec // of the same columns
	}
	for {
		found, err := d.sample.inspect()
		if err != nil {
			return any, err
		}
		left := false
		for i, leak := range found.leaks {
			for _, name := range found.features[i].Columns {
				left = leave(name, fmt.Sprintf("it predicts the target by itself (%s %.3f)", d.Profile.Measure(), leak.Value)) || left
			}
		}
		for name, why := range d.afterwards() {
			left = leave(name, why) || left
		}
		for _, c := range d.Profile.Columns {
			if c.Alone > likely && d.sameWords(c.Name, d.target.as) {
				left = leave(c.Name, fmt.Sprintf("it is named like the target and nearly tells it (%s %.3f)", d.Profile.Measure(), c.Alone)) || left
			}
		}
		d.Together, d.halves = found.together, found.halves
		if !left {
			return any, nil
		}
		any = true
		if err := d.parse(); err != nil {
			return any, err
		}
		d.sample.spec = d.Spec // of the same columns
	}
}

const (
	// likely is the AUC from which on a column is left out if something else speaks
	// against it too.
	likely = 0.9
	// chance is how improbable it has to be that all rows with a value have the same
	// outcome.
	chance = 1e-6
)

// afterwards finds columns that have a value for nearly all rows of one outcome and
// nearly none of the other, or only for rows of one outcome: what is filled in once the
// outcome is known. It returns the reasons by column. Of several classes, each is one
// outcome and all others are the other.
func (d *Draft) afterwards() map[string]string {
	why := map[string]string{}
	switch d.outcome.task {
	case dataset.Binary:
		d.sample.afterwards(why, 1, [2]string{d.outcome.labels[1], d.outcome.labels[0]})
	case dataset.Multiclass:
		for k, class := range d.Spec.Target.Classes[:min(len(d.Spec.Target.Classes), 20)] {
			d.sample.afterwards(why, float32(k), [2]string{"not " + class, class})
		}
	}
	return why
}

// afterwards compares the rows that have another label with those that have it; words
// are of these outcomes.
func (s *sample) afterwards(why map[string]string, label float32, words [2]string) {
	var rows [2]float64 // of others, of the label
	given := make([][2]float64, len(s.spec.Columns))
	for _, r := range s.rows {
		is := 0
		if r.label == label {
			is = 1
		}
		rows[is]++
		for i, end := range r.ends {
			if end >= 0 {
				given[i][is]++
			}
		}
	}
	if rows[0] == 0 || rows[1] == 0 {
		return
	}
	for i, n := range given {
		name := s.spec.Columns[i].Name
		negative, positive := n[0]/rows[0], n[1]/rows[1]
		most := 1
		if n[0] > n[1] {
			most = 0
		}
		switch base := rows[most] / (rows[0] + rows[1]); {
		case (1+math.Abs(positive-negative))/2 > likely:
			why[name] = fmt.Sprintf("it has a value in %.0f%% of the rows that are %s and in %.0f%% of the others, as if filled in afterwards", 100*max(positive, negative), words[most], 100*min(positive, negative))
		case n[1-most] == 0 && n[most]*math.Log(base) < math.Log(chance):
			why[name] = fmt.Sprintf("all %s that have a value are %s, as if it were filled in afterwards", progress.Counted(int64(n[most]), "row"), words[most])
		}
	}
}

// companion is what the name of a column adds to that of one that it goes with.
var companion = regexp.MustCompile(`^(date|time|datetime|timestamp|day|days|month|year|on|at|reason|type|code|category|cat|group|status|state|flag|desc|description|text|label|name|value|score|prob|probability|amount|id|no|number|by|confidence|gold|pred|predicted|prediction|proba|predict|detail|details|comment|comments|note|notes)$`)

// companionFirst is what a name has before that of a column, if it is known no sooner or was said by
// an earlier model.
var companionFirst = regexp.MustCompile(`^(date|datetime|timestamp|reason|of|for|prob|probability|proba|predicted|prediction|pred|predict|fitted|forecast|yhat)$`)

// companions leaves out columns whose names say that they belong to one that is a leak
// or the target: the date or the reason of a status is known no sooner than the status.
func (d *Draft) companions(of *column) {
	stem := tokens(of.name)
	if len(strings.Join(stem, "")) < 4 {
		return
	}
	for _, c := range d.columns {
		words := tokens(c.name)
		added := len(words) - len(stem)
		if c == of || c.allowed || c.out != "" || c.drop != "" || added < 1 {
			continue
		}
		all := func(words []string, are *regexp.Regexp) bool {
			return !slices.ContainsFunc(words, func(w string) bool { return !are.MatchString(w) })
		}
		if slices.Equal(words[:len(stem)], stem) && all(words[len(stem):], companion) || slices.Equal(words[added:], stem) && all(words[:added], companionFirst) {
			c.out = fmt.Sprintf("suspected leak: by its name it goes with %s; put it back if it is known before the outcome is", of.name)
		}
	}
}

// maxNamesakes is how many columns may share a word that says what they are of; in a
// wide table a fifth of them.
const maxNamesakes = 3

// sameWords reports whether two names share a word that few others have: column_1 and
// column_9 have only what all columns are called by.
func (d *Draft) sameWords(a, b string) bool {
	of := tokens(b)
	return slices.ContainsFunc(tokens(a), func(w string) bool {
		if len(w) < 4 || companion.MatchString(w) || !slices.Contains(of, w) {
			return false
		}
		namesakes := 0
		for _, c := range d.columns {
			if slices.Contains(tokens(c.as), w) {
				namesakes++
			}
		}
		return namesakes <= max(maxNamesakes, len(d.columns)/5) && !d.noHeader
	})
}

var word = regexp.MustCompile(`[A-Z]+[a-z0-9]*|[a-z0-9]+|[^\x00-\x7f]+`)

// tokens are the words of a name, in lower case: reservation_status, ReservationStatus
// and "Reservation status" have the same two.
func tokens(name string) []string {
	words := word.FindAllString(name, -1)
	for i, w := range words {
		words[i] = strings.ToLower(w)
	}
	return words
}
