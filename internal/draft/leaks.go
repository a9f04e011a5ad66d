package draft

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"

	"mlops/internal/dataset"
)

// leaks leaves out columns that tell the target by themselves, as training would stop
// on them, and those that go with one or look as if they were filled in afterwards. It
// reports whether there are any.
func (d *Draft) leaks() (any bool, err error) {
	leave := func(name, why string) bool {
		for _, c := range d.columns {
			if c.drop == "" && c.as == name && c.out == "" {
				c.out = "suspected leak: " + why + "; put it back if it is known before the outcome is"
				d.companions(c)
				return true
			}
		}
		return false
	}
	for {
		found, err := d.sample.inspect()
		if err != nil {
			return any, err
		}
		left := false
		for i, leak := range found.leaks {
			for _, name := range found.features[i].Columns {
				left = leave(name, fmt.Sprintf("it tells the target by itself (%s %.3f)", d.Profile.Measure(), leak.Value)) || left
			}
		}
		if d.outcome.task == dataset.Binary {
			for name, why := range d.sample.afterwards(d.outcome.labels) {
				left = leave(name, why) || left
			}
		}
		for _, c := range d.Profile.Columns {
			if c.Alone > likely && d.sameWords(c.Name, d.target.as) {
				left = leave(c.Name, fmt.Sprintf("it is named like the target and nearly tells it (%s %.3f)", d.Profile.Measure(), c.Alone)) || left
			}
		}
		d.Together = found.together
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
// outcome is known. It returns the reasons by column.
func (s *sample) afterwards(labels [2]string) map[string]string {
	var rows [2]float64 // negative, positive
	given := make([][2]float64, len(s.spec.Columns))
	for _, r := range s.rows {
		rows[int(r.label)]++
		for i, end := range r.ends {
			if end >= 0 {
				given[i][int(r.label)]++
			}
		}
	}
	why := map[string]string{}
	if rows[0] == 0 || rows[1] == 0 {
		return why
	}
	for i, n := range given {
		name := s.spec.Columns[i].Name
		negative, positive := n[0]/rows[0], n[1]/rows[1]
		most, label := 1, labels[0]
		if n[0] > n[1] {
			most, label = 0, labels[1]
		}
		switch base := rows[most] / (rows[0] + rows[1]); {
		case (1+math.Abs(positive-negative))/2 > likely:
			why[name] = fmt.Sprintf("it has a value in %.0f%% of the rows that are %s and in %.0f%% of the others, as if filled in afterwards", 100*max(positive, negative), label, 100*min(positive, negative))
		case n[1-most] == 0 && n[most]*math.Log(base) < math.Log(chance):
			why[name] = fmt.Sprintf("all %s rows that have a value are %s, as if it were filled in afterwards", comma(int64(n[most])), label)
		}
	}
	return why
}

// companion is what the name of a column adds to that of one that it goes with.
var companion = regexp.MustCompile(`^(date|time|datetime|timestamp|day|days|month|year|on|at|reason|type|code|category|cat|group|status|state|flag|desc|description|text|label|name|value|score|prob|probability|amount|id|no|number|by|detail|details|comment|comments|note|notes)$`)

// companions leaves out columns whose names say that they belong to one that is a leak
// or the target: the date or the reason of a status is known no sooner than the status.
func (d *Draft) companions(of *column) {
	stem := tokens(of.name)
	if len(strings.Join(stem, "")) < 4 {
		return
	}
	for _, c := range d.columns {
		words := tokens(c.name)
		if c == of || c.out != "" || c.drop != "" || len(words) <= len(stem) || !slices.Equal(words[:len(stem)], stem) {
			continue
		}
		if !slices.ContainsFunc(words[len(stem):], func(w string) bool { return !companion.MatchString(w) }) {
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
