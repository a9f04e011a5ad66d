package draft

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/text/unicode/norm"

	"mlops/internal/progress"
)

// Words that say yes and no, in any of the languages.
var (
	yesWords = []string{"yes", "y", "true", "t", "1", "ja", "j", "oui", "o", "si", "sí", "s", "sim", "wahr", "vrai", "vero", "verdadero", "verdadeiro", "tak", "ano", "evet", "da"}
	noWords  = []string{"no", "n", "false", "f", "0", "nein", "non", "não", "nao", "falsch", "faux", "falso", "nie", "ne", "hayır", "hayir", "nej", "nee"}
)

// yesOrNo folds the values of a target that say yes, and those that say no, whichever words
// they use: Yes, Y and TRUE are one outcome. others are the values that say neither. ok is
// false unless there are several spellings of one, or others that stand for a missing value,
// and few rows of others. all are the values by their rows, the rarest first.
func yesOrNo(all []value) (yes, no value, others []value, ok bool) {
	var rows, spellings int64
	for _, v := range all {
		rows += v.rows
		into := &yes
		switch word := bareWord(v.spellings[0]); {
		case slices.Contains(yesWords, word):
		case slices.Contains(noWords, word):
			into = &no
		default:
			others = append(others, v)
			continue
		}
		into.spellings = append(into.spellings, v.spellings...)
		into.rows += v.rows
		spellings++
	}
	slices.Sort(yes.spellings)
	slices.Sort(no.spellings)
	if yes.rows == 0 || no.rows == 0 || len(others) > maxOthers || (rows-yes.rows-no.rows)*4 > rows {
		return yes, no, others, false
	}
	unknown := !slices.ContainsFunc(others, func(v value) bool { return !v.unknown() })
	return yes, no, others, spellings > 2 || len(others) > 0 && unknown
}

// maxOthers is how many values of a target may say neither yes nor no.
const maxOthers = 5

// unknown reports whether a value says that none is known.
func (v *value) unknown() bool { return slices.Contains(hints, strings.ToLower(v.spellings[0])) }

// truth makes a binary task of a target that says yes and no in several spellings. Of the
// values that say neither, those that say that it is not known are missing ones, and the rows
// of the rest are left out.
func (o *outcome) truth(c *column, yes, no value, others []value) {
	o.task, o.whyTask = "binary", "guessed: the target says yes and no, in several spellings"
	o.positive, o.negative, o.labels = yes.spellings, no.spellings, [2]string{c.mostUsed(yes), c.mostUsed(no)}
	o.whyOne = fmt.Sprintf("guessed: they say yes: %s against %s", progress.Counted(yes.rows, "row"), progress.Count(no.rows))
	for _, v := range others {
		if !v.unknown() {
			o.rare = append(o.rare, v)
			continue
		}
		for _, s := range v.spellings {
			c.missing = append(c.missing, marked{value: s, count: *c.counts[s]})
			c.present -= c.counts[s].n
			c.values--
		}
	}
	slices.SortFunc(c.missing, func(a, b marked) int { return strings.Compare(a.value, b.value) })
	if o.rare != nil {
		o.whyRare = "the value says neither yes nor no"
		c.notes = append(c.notes, fmt.Sprintf("%s say neither yes nor no, and their rows are left out: --task multiclass makes classes of all values", listed(o.rare)))
	}
	o.folded(c)
}

// folded notes which spellings count as one.
func (o *outcome) folded(c *column) {
	for k, spellings := range [][]string{o.positive, o.negative} {
		if len(spellings) < 2 {
			continue
		}
		var words []string
		for _, s := range spellings {
			words = append(words, fmt.Sprintf("%q (%s)", s, progress.Counted(c.counts[s].n, "row")))
		}
		last := len(words) - 1
		c.notes = append(c.notes, fmt.Sprintf("%s and %s count as one outcome, %s", strings.Join(words[:last], ", "), words[last], o.labels[k]))
	}
}

// mostUsed is the spelling of a value that most rows have.
func (c *column) mostUsed(v value) string {
	return slices.MaxFunc(v.spellings, func(a, b string) int {
		return cmp.Or(cmp.Compare(c.counts[a].n, c.counts[b].n), -strings.Compare(a, b))
	})
}

// bareWord is a text without marks around it and capitals.
func bareWord(v string) string {
	return strings.Trim(strings.ToLower(norm.NFC.String(v)), " .'\"\u00a0")
}
