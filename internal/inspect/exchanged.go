package inspect

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"mlops/internal/dataset"
)

// moved is a feature whose values changed from the first stretch of rows to another.
type moved struct {
	feature       Feature
	found         *Finding
	to            stretch
	before, after []float32 // at most mostTogether of each
	measures      bool      // as of drift
	unit          string    // as if the values were in another unit; empty: they are not
	exchanged     bool      // with another feature's
}

// thinned are at most mostTogether of some values.
func thinned(values []float32) []float32 {
	var all []float32
	for _, row := range spaced(len(values), mostTogether) {
		all = append(all, values[row])
	}
	return all
}

// exchanged says of features that changed in the same stretch which two have each other's
// earlier values, as after columns were exchanged. Of a batch of measurements, nothing good
// can be learnt then.
func exchanged(all []moved) {
	told := make([]bool, len(all))
	for i := range all {
		for k := i + 1; k < len(all); k++ {
			a, b := &all[i], &all[k]
			if told[i] || told[k] || a.to.name != b.to.name || !hasValuesOf(a, b) || !hasValuesOf(b, a) || hasValuesOf(a, a) || hasValuesOf(b, b) {
				continue
			}
			told[i], told[k] = true, true
			for _, pair := range [][2]*moved{{a, b}, {b, a}} {
				of, other := pair[0], pair[1]
				of.exchanged = true
				of.found.Text += fmt.Sprintf("; its values are those that %s had before, and the other way round: the two columns look exchanged", other.feature.Name)
				if of.to.batches && a.measures && b.measures {
					of.found.Level = Stop
					of.found.Text += "; correct them " + replaceRows + "; if both are right, say min and max of the columns, between which all values are"
				}
			}
		}
	}
}

// hasValuesOf reports whether the later values of b are distributed as the earlier ones of a.
func hasValuesOf(a, b *moved) bool {
	if (a.feature.Codes == 0) != (b.feature.Codes == 0) {
		return false
	}
	n, m := float64(len(a.before)), float64(len(b.after))
	most := min(mostConverted, converted+1.36*math.Sqrt((n+m)/(n*m)))
	if a.feature.Codes > 0 {
		shares := a.feature.shares(a.before)
		between := 0.0
		for level, share := range b.feature.shares(b.after) {
			between += math.Min(share, shares[level])
		}
		return 1-between < most
	}
	before, after := ordered(a.before), ordered(b.after)
	return different(before) >= leastValues && different(after) >= leastValues && distance(before, after, 1, 0) < most
}

// shares are those of a category's levels whose text is known.
func (f *Feature) shares(values []float32) map[string]float64 {
	all := map[string]float64{}
	for _, v := range values {
		if v == v && int(v) < len(f.Levels) {
			all[f.Levels[int(v)]] += 1 / float64(len(values))
		}
	}
	return all
}

// respelled says that the new levels of a category are earlier ones in another spelling:
// without their leading zeros, in other capitals, with blanks.
func respelled(f Feature, before, after []float64) string {
	was := map[string]string{}
	for code, level := range f.Levels {
		if before[code] > 0 {
			was[spelled(level)] = level
		}
	}
	same, added, most, example := 0.0, 0.0, 0.0, ""
	for code, level := range f.Levels {
		if before[code] > 0 || after[code] == 0 {
			continue
		}
		added += after[code]
		if old, ok := was[spelled(level)]; ok {
			same += after[code]
			if after[code] > most {
				most, example = after[code], fmt.Sprintf("%s for %s", dataset.Quote([]byte(level)), dataset.Quote([]byte(old)))
			}
		}
	}
	if same == 0 || same < 0.9*added {
		return ""
	}
	return fmt.Sprintf("; new values are earlier ones in another spelling, such as %s: write them as before, or a model takes them for others", example)
}

// spelled is what the spellings of a level have in common.
func spelled(level string) string {
	s := strings.ToLower(strings.Join(strings.Fields(level), " "))
	if number := strings.TrimLeft(strings.TrimSuffix(s, ".0"), "0"); number != "" && !slices.ContainsFunc([]byte(number), func(c byte) bool { return c < '0' || c > '9' }) {
		return number
	}
	return s
}
