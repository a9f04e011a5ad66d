package inspect

import (
	"fmt"
	"math"
	"slices"

	"mlops/internal/dataset"
)

// conversion is from one unit to another: the number times factor, plus offset.
type conversion struct {
	factor, offset float64
	units          string
}

// conversions are those between units that people confuse. Each is looked for both ways.
var conversions = []conversion{
	{10, 0, "cm and mm"},
	{100, 0, "m and cm, or shares and percentages"},
	{1000, 0, "kg and g, km and m, or thousands"},
	{1e6, 0, "in millions or not"},
	{2.20462, 0, "kg and pounds"},
	{453.592, 0, "pounds and g"},
	{28.3495, 0, "ounces and g"},
	{2.54, 0, "inches and cm"},
	{25.4, 0, "inches and mm"},
	{3.28084, 0, "m and feet"},
	{30.48, 0, "feet and cm"},
	{39.3701, 0, "m and inches"},
	{1.609344, 0, "miles and km"},
	{10.7639, 0, "m² and square feet"},
	{3.78541, 0, "gallons and liters"},
	{4.184, 0, "kcal and kJ"},
	{18.0156, 0, "mmol/L and mg/dL (glucose)"},
	{38.67, 0, "mmol/L and mg/dL (cholesterol)"},
	{88.4, 0, "mg/dL and µmol/L (creatinine)"},
	{60, 0, "hours and minutes, or minutes and seconds"},
	{3600, 0, "hours and seconds"},
	{24, 0, "days and hours"},
	{12, 0, "years and months"},
	{365.25, 0, "years and days"},
	{1.8, 32, "°C and °F"},
	{1, 273.15, "°C and kelvins"},
}

const (
	// apart is the Kolmogorov-Smirnov distance of numbers in two units, at least: where they
	// overlap more, a shift is as good an explanation.
	apart = 0.8
	// converted is how far they may be from one another after the conversion, besides what
	// chance explains, and mostConverted with it: a few numbers are like many others.
	converted, mostConverted = 0.05, 0.25
	// leastInUnit and leastValues are how many rows, and different numbers, of a unit tell it.
	leastInUnit, leastValues = 20, 8
	// farApart is by how much of the conversion two heaps of one column have to be apart, and
	// leastFactor the conversion of two heaps that are not different things.
	farApart, leastFactor = 0.25, 6
	// steady is the distance of the first and the second half of numbers in one unit, at
	// most: what grows by itself may double.
	steady = 0.4
)

// unitsOf finds the conversion that makes other numbers of some; both are sorted. ok says
// whether there is one, and back whether it is the other way round.
func unitsOf(before, after []float32) (c conversion, back, ok bool) {
	if len(before) < leastInUnit || len(after) < leastInUnit || different(before) < leastValues || different(after) < leastValues {
		return c, false, false
	}
	if distance(before, after, 1, 0) < apart {
		return c, false, false
	}
	n, m := float64(len(before)), float64(len(after))
	best := min(mostConverted, converted+1.36*math.Sqrt((n+m)/(n*m))) // the quantile of 95 %, by Smirnov
	for _, k := range conversions {
		if d := distance(before, after, k.factor, k.offset); d < best {
			best, c, back, ok = d, k, false, true
		}
		if d := distance(after, before, k.factor, k.offset); d < best {
			best, c, back, ok = d, k, true, true
		}
	}
	return c, back, ok
}

// different is how many different values there are, up to leastValues.
func different(sorted []float32) int {
	n := 0
	for i, v := range sorted {
		if i == 0 || v != sorted[i-1] {
			if n++; n == leastValues {
				break
			}
		}
	}
	return n
}

// distance is the greatest one of two cumulative distributions, that of a converted.
func distance(a, b []float32, factor, offset float64) float64 {
	d, i, j := 0.0, 0, 0
	for i < len(a) && j < len(b) {
		at := math.Min(float64(a[i])*factor+offset, float64(b[j]))
		at += 2e-6 * math.Abs(at) // of 32 bits
		for i < len(a) && float64(a[i])*factor+offset <= at {
			i++
		}
		for j < len(b) && float64(b[j]) <= at {
			j++
		}
		d = math.Max(d, math.Abs(float64(i)/float64(len(a))-float64(j)/float64(len(b))))
	}
	return d
}

// words says what the units may be, of numbers before and after.
func (c conversion) words(back bool) string {
	times := fmt.Sprintf("times %g", c.factor)
	if back {
		times = fmt.Sprintf("divided by %g", c.factor)
	}
	switch {
	case c.offset != 0 && c.factor == 1:
		times = map[bool]string{false: "plus ", true: "less "}[back] + fmt.Sprint(c.offset)
	case c.offset != 0 && back:
		times = fmt.Sprintf("less %g, divided by %g", c.offset, c.factor)
	case c.offset != 0:
		times += fmt.Sprintf(", plus %g", c.offset)
	}
	return fmt.Sprintf("%s, as if they were in another unit (%s)", times, c.units)
}

// Mixed says of each column of numbers whether it is in two units, by what they are: in two
// heaps of which one is the other converted, or from some row on. They are in the order of
// the table, with the target of each row; NaN is missing. The text of a column is empty if
// it is not. isTarget is the column that is the target, -1 if none is.
func Mixed(columns [][]float32, y []float32, isTarget int) []string {
	texts := make([]string, len(columns))
	found := map[int]change{}
	for i, values := range columns {
		if texts[i] = heaps(slices.DeleteFunc(slices.Clone(values), func(v float32) bool { return v != v })); texts[i] != "" {
			continue
		}
		if c, ok := fromSomeRow(values); ok && (i == isTarget || steadyTarget(y, []stretch{{from: c.from, to: c.row}, {from: c.row, to: c.to}})) {
			found[i] = c
		}
	}
	for i, c := range found {
		if !sortedRows(columns, found, c) {
			texts[i] = c.text
		}
	}
	return texts
}

// change is a row from which on numbers are in another unit, with what is said of it.
type change struct {
	from, row, to int // the rows that were compared begin, are in another unit, and end
	text          string
}

// sortedRows reports whether as many columns change at a row as those that a conversion
// explains: then other things begin there, as in a table that is sorted by a diagnosis.
func sortedRows(columns [][]float32, found map[int]change, c change) bool {
	others := 0
	for i, values := range columns {
		if _, explained := found[i]; explained || inOrder(values) {
			continue
		}
		before, after := ordered(values[c.from:c.row]), ordered(values[c.row:c.to])
		if min(len(before), len(after)) >= LeastForDrift && distance(before, after, 1, 0) > steady {
			others++
		}
	}
	return others >= len(found)
}

// heaps finds two heaps of numbers above 0 that are far from one another.
func heaps(known []float32) string {
	sorted := slices.Clone(known)
	slices.Sort(sorted)
	zero, _ := slices.BinarySearch(sorted, 0)
	negative := zero
	for zero < len(sorted) && sorted[zero] == 0 {
		zero++
	}
	if sorted = sorted[zero:]; negative > 0 || len(sorted) < 2*leastInUnit {
		return ""
	}
	at, widest := 0, 0.0
	for i := leastInUnit; i <= len(sorted)-leastInUnit; i++ {
		if gap := math.Log(float64(sorted[i]) / float64(sorted[i-1])); gap > widest {
			at, widest = i, gap
		}
	}
	if at == 0 {
		return ""
	}
	low, high := sorted[:at], sorted[at:]
	c, back, ok := unitsOf(low, high)
	if !ok || back || c.offset != 0 || c.factor < leastFactor || widest < farApart*math.Log(c.factor) {
		return ""
	}
	return fmt.Sprintf("%d values are from %g to %g, and %d from %g to %g, which are the others %s: convert one of them in the table",
		len(low), low[0], low[len(low)-1], len(high), high[0], high[len(high)-1], c.words(false))
}

// parts of a table in which a change of the unit is looked for.
const unitParts = 20

// fromSomeRow finds the row from which on numbers are in another unit.
func fromSomeRow(values []float32) (c change, ok bool) {
	var known []float32
	var rows []int
	for i, v := range values {
		if v == v {
			known, rows = append(known, v), append(rows, i)
		}
	}
	if c, ok = inTwoParts(known, rows); !ok {
		return withJump(known, rows)
	}
	c.to = len(values)
	return c, true
}

// inTwoParts finds the row from which on all numbers, at the place of rows, are those before it
// in another unit.
func inTwoParts(known []float32, rows []int) (c change, ok bool) {
	n := max(LeastForDrift, len(known)/10)
	if len(known) < 2*n || inOrder(known) || distance(ordered(known[:n]), ordered(known[len(known)-n:]), 1, 0) < apart {
		return c, false
	}
	best, at := 0.0, 0
	for part := 1; part < unitParts; part++ {
		i := len(known) * part / unitParts
		a, b := ordered(known[:i]), ordered(known[i:])
		if len(a) < LeastForDrift || len(b) < LeastForDrift {
			continue
		}
		if d := distance(a, b, 1, 0); d > best {
			best, at = d, i
		}
	}
	by, back, ok := laterUnit(known[:at], known[at:])
	if !ok {
		return c, false
	}
	before, after := ordered(known[:at]), ordered(known[at:])
	return change{0, rows[at], 0, fmt.Sprintf("the first %.0f%% of its values have the median %.4g and the others %.4g, which are the first ones %s: convert one of them in the table",
		100*float64(at)/float64(len(known)), before[len(before)/2], after[len(after)/2], by.words(back))}, true
}

// withJump finds the one row from which on numbers are in another unit at once, though they rise
// and fall by themselves, as the temperature of a year does: it compares the rows next to it.
func withJump(known []float32, rows []int) (c change, ok bool) {
	const next = LeastForDrift
	if len(known) < 4*next || inOrder(known) {
		return c, false
	}
	apartAt := func(i int) float64 { return distance(ordered(known[i-next:i]), ordered(known[i:i+next]), 1, 0) }
	best, at := 0.0, 0
	for i := next; i+next <= len(known); i += next / 4 {
		d := apartAt(i)
		if d >= apart && at > 0 && i-at > next {
			return c, false // more than one: they come and go
		}
		if d >= apart && d > best {
			best, at = d, i
		}
	}
	if at == 0 {
		return c, false
	}
	for i := max(next, at-next/4); i <= min(len(known)-next, at+next/4); i++ {
		if d := apartAt(i); d > best {
			best, at = d, i
		}
	}
	by, back, ok := laterUnit(known[at-next:at], known[at:at+next])
	if !ok {
		return c, false
	}
	before, after := ordered(known[at-next:at]), ordered(known[at:at+next])
	return change{rows[at-next], rows[at], rows[at+next-1] + 1, fmt.Sprintf("after %.0f%% of its values they change at once: the last ones before have the median %.4g and the next ones %.4g, which are those before %s: convert one of them in the table",
		100*float64(at)/float64(len(known)), before[len(before)/2], after[len(after)/2], by.words(back))}, true
}

// ordered are the numbers among some values, the smallest first.
func ordered(values []float32) []float32 {
	known := slices.DeleteFunc(slices.Clone(values), func(v float32) bool { return v != v })
	slices.Sort(known)
	return known
}

// laterUnit finds the conversion that makes later numbers of earlier ones, as unitsOf does,
// where both change little by themselves.
func laterUnit(before, after []float32) (c conversion, back, ok bool) {
	for _, part := range [][]float32{before, after} {
		if half := len(part) / 2; half == 0 || distance(ordered(part[:half]), ordered(part[half:]), 1, 0) > steady {
			return c, false, false
		}
	}
	return unitsOf(ordered(before), ordered(after))
}

// steadyTarget reports whether the target of later stretches of rows is about that of the
// first one. If it is not, the rows may be sorted by it, and differ for that reason.
func steadyTarget(y []float32, stretches []stretch) bool {
	for _, s := range stretches[min(1, len(stretches)):] {
		if first := stretches[0]; distance(ordered(y[first.from:first.to]), ordered(y[s.from:s.to]), 1, 0) > steady {
			return false
		}
	}
	return true
}

// measured reports whether a feature is a column's number as it is, and the spec does not
// say from where to where its values are right.
func measured(spec *dataset.Spec, f Feature) bool {
	if len(f.Columns) != 1 || !slices.ContainsFunc(spec.Features, func(of dataset.Feature) bool {
		return of.Number == f.Columns[0] && of.Earlier == "" && len(of.Values) == 0
	}) {
		return false
	}
	i := spec.Column(f.Columns[0])
	if i < 0 {
		return false
	}
	c := &spec.Columns[i]
	return (c.Type == dataset.Number || c.Type == dataset.Integer) && (c.Min == nil || c.Max == nil)
}
