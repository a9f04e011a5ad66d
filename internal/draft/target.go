package draft

import (
	"fmt"
	"slices"
	"strings"
)

// affirmative are texts that mean yes, or the event that one predicts.
var affirmative = []string{"yes", "ja", "oui", "si", "sí", "sim", "y", "true", "t", "1", "1.0", "positive", "pos", "churn", "churned", "default", "bad", "fraud", "spam", "malignant", "dead", "died", "canceled", "cancelled", "won", "success", "approved", "sick", "abnormal", "present"}

// positiveOf guesses which values of a binary target count as 1.
func positiveOf(c *column) (positive []string, labels [2]string, why string, err error) {
	folded := map[string][]string{} // spellings of each class
	rows := map[string]int64{}
	for v, k := range c.counts {
		if slices.ContainsFunc(c.missing, func(m marked) bool { return m.value == v }) {
			continue
		}
		key := strings.ToLower(v)
		if alias, ok := map[string]string{"1.0": "1", "0.0": "0"}[key]; ok {
			key = alias
		}
		folded[key] = append(folded[key], v)
		rows[key] += k.n
	}
	var classes []string
	for k := range folded {
		slices.Sort(folded[k])
		classes = append(classes, k)
	}
	slices.SortFunc(classes, func(a, b string) int {
		if rows[a] != rows[b] {
			return int(rows[a] - rows[b])
		}
		return strings.Compare(a, b)
	})
	if c.full || len(classes) != 2 {
		return nil, labels, "", &NotBinary{Column: c.name, Classes: classes, Rows: rows, Spellings: folded, Many: c.full || len(classes) > 20}
	}
	yes := classes[0]
	why = fmt.Sprintf("the rarer value: %s rows against %s", comma(rows[classes[0]]), comma(rows[classes[1]]))
	for _, k := range classes {
		if slices.Contains(affirmative, k) {
			other := classes[0]
			if other == k {
				other = classes[1]
			}
			// Of 1 and 2, which are codes, neither says yes.
			if !slices.Contains(affirmative, other) && !(k == "1" && other == "2") {
				yes, why = k, fmt.Sprintf("it says yes: %s rows against %s of %q", comma(rows[k]), comma(rows[other]), folded[other][0])
			}
			break
		}
	}
	no := classes[0]
	if no == yes {
		no = classes[1]
	}
	return folded[yes], [2]string{folded[yes][0], folded[no][0]}, why, nil
}

// NotBinary says that a target has not two values.
type NotBinary struct {
	Column    string
	Classes   []string
	Rows      map[string]int64
	Spellings map[string][]string
	Many      bool
}

func (e *NotBinary) Error() string {
	switch {
	case len(e.Classes) == 0:
		return fmt.Sprintf("the target %q has no value", e.Column)
	case len(e.Classes) == 1 && !e.Many:
		return fmt.Sprintf("the target %q has one value only: %q", e.Column, e.Spellings[e.Classes[0]][0])
	case e.Many:
		return fmt.Sprintf("the target %q has too many values to be a class, and only binary targets can be trained on: add a column to the table that says yes or no (such as %s above a limit), and name that", e.Column, e.Column)
	}
	var words []string
	for _, k := range slices.Backward(e.Classes) {
		words = append(words, fmt.Sprintf("%q (%s rows)", e.Spellings[k][0], comma(e.Rows[k])))
	}
	return fmt.Sprintf("the target %q has %d values, and only binary targets can be trained on: %s. Say which of them count as 1 against all others, such as --positive %s (several: give --positive again)",
		e.Column, len(e.Classes), strings.Join(words, ", "), shellQuote(e.Spellings[e.Classes[0]][0]))
}

func shellQuote(s string) string {
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-./=:,+@", r))
	}) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
