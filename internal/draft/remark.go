package draft

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"mlops/internal/dataset"
	"mlops/internal/progress"
)

const (
	// sureNaming is the share of the rows with a value that names the target which have the same
	// outcome, at least, and mostLeft what is left of the other one, compared with all rows.
	sureNaming, mostLeft = 0.95, 0.25
	// shortestWord is how many letters a word has that names something.
	shortestWord = 4
)

// plainWords are those that a target's name and values have besides what they are about.
var plainWords = []string{"target", "class", "label", "outcome", "result", "status", "value", "within", "days", "next", "month", "months", "year", "years", "yes", "true", "false", "none", "other", "category", "type", "group", "level", "score", "flag", "code", "grade", "good", "poor", "high", "medium", "small", "large", "male", "female", "positive", "negative", "normal", "abnormal"}

// remarks warns of values of a category that name the target and have one outcome, such as a
// clerk's remark: whoever wrote "patient died" knew it.
func (s *sample) remarks() (texts []string) {
	if s.spec.Task != dataset.Binary {
		return nil
	}
	target := s.spec.Column(s.spec.Target.Column)
	var names []string
	add := func(text string) {
		for _, w := range wordsOf(text) {
			if len([]rune(w)) >= shortestWord && !slices.Contains(plainWords, w) && !slices.Contains(yesWords, w) && !slices.Contains(noWords, w) {
				names = append(names, w)
			}
		}
	}
	add(s.spec.Columns[target].Header())
	for _, v := range s.spec.Target.Positive {
		add(v)
	}
	if len(names) == 0 {
		return nil
	}
	used, share := s.used(), s.positiveShare()
	for i := range s.spec.Columns {
		c := &s.spec.Columns[i]
		if i == target || c.Type != dataset.Category || !used[c.Name] {
			continue
		}
		naming, levels, rows := map[string]bool{}, 0, [2]int{}
		example := ""
		for r := range s.rows {
			v := s.rows[r].value(i)
			if v == nil {
				continue
			}
			is, seen := naming[string(v)]
			if !seen {
				is = slices.ContainsFunc(wordsOf(string(v)), func(w string) bool {
					return slices.ContainsFunc(names, func(name string) bool { return sameStem(w, name) })
				})
				naming[string(v)] = is
				if is {
					levels++
				}
			}
			if is {
				if example == "" {
					example = string(v)
				}
				rows[int(s.rows[r].label)]++
			}
		}
		most, n := 0, rows[0]+rows[1]
		if rows[1] > rows[0] {
			most = 1
		}
		base := share
		if most == 0 {
			base = 1 - share
		}
		expected := float64(n) * (1 - base) // of the other outcome
		if levels == len(naming) || float64(rows[most]) < sureNaming*float64(n) || expected < -math.Log(chance) || float64(rows[1-most]) > mostLeft*expected {
			continue
		}
		more := ""
		if levels > 1 {
			more = fmt.Sprintf(" or %s that name %s too", progress.Counted(int64(levels-1), "value"), s.spec.Columns[target].Header())
		}
		texts = append(texts, fmt.Sprintf("%s: of the %s with %q%s, %s are %s, of all rows %.3g %%: was it written when the outcome was known? Then leave the column out, or these words",
			c.Name, s.counted(n), shorten(example, 60), more, progress.Count(int64(rows[most])), []string{"negative", "positive"}[most], 100*base))
	}
	return texts
}

// wordsOf are the words of a text, in lower case.
func wordsOf(text string) []string {
	return strings.FieldsFunc(strings.ToLower(norm.NFC.String(text)), func(r rune) bool { return !unicode.IsLetter(r) })
}

// sameStem reports whether two words are one but for their ends: died and died, complained and
// complaint, Kündigung and gekündigt.
func sameStem(a, b string) bool {
	if a == b {
		return true
	}
	x, y := []rune(a), []rune(b)
	longest := 0
	for i := range x {
		for j := range y {
			n := 0
			for i+n < len(x) && j+n < len(y) && x[i+n] == y[j+n] {
				n++
			}
			longest = max(longest, n)
		}
	}
	return longest >= 5 && 3*longest >= 2*min(len(x), len(y))
}
