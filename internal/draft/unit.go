package draft

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"mlops/internal/progress"
)

// words that a draft takes for units behind a number, and currencies on either side.
// Other words may be the codes of a category: Q1, term_36.
var (
	unitWords = []string{"kg", "g", "mg", "lb", "lbs", "oz", "t", "km", "m", "cm", "mm", "m²", "km²", "sqm", "sqft", "sq ft", "ha", "acres", "m³", "mi", "miles", "ft", "in", "min", "mins", "minutes", "h", "hr", "hrs", "hours", "s", "sec", "secs", "seconds", "ms", "d", "day", "days", "weeks", "month", "months", "mo", "year", "years", "yr", "yrs", "KB", "MB", "GB", "TB", "Hz", "kHz", "MHz", "GHz", "W", "kW", "kWh", "MWh", "V", "A", "mA", "mAh", "bhp", "hp", "HP", "cc", "CC", "rpm", "Nm", "l", "L", "ml", "mL", "kmpl", "km/kg", "km/h", "mph", "mpg", "C", "F", "ppm", "pcs", "pts", "bps", "dB", "mmHg", "mg/dL", "g/dL", "mmol/L", "kcal", "bar", "mbar", "hPa", "kPa", "psi", "m/s", "mm/s", "mg/dl", "g/dl", "mmol/l", "ng/ml", "ng/mL", "U/l", "U/L",
		"Std", "Std.", "Stunden", "Tag", "Tage", "Woche", "Wochen", "Monat", "Monate", "Jahr", "Jahre", "Minuten", "Sekunden", "Stk", "Stk.", "Stück",
		"heures", "jour", "jours", "semaines", "mois", "an", "ans", "ore", "giorni", "settimane", "mesi", "anni", "horas", "días", "semanas", "meses", "años"}
	currency = []string{"USD", "EUR", "GBP", "CHF", "JPY", "CNY", "INR", "CAD", "AUD", "SEK", "NOK", "DKK", "PLN", "BRL", "US$", "A$", "C$", "R$", "Rs", "Rp", "kr", "zł", "Kč"}
)

// maxUnits is how many different units of a column are counted: one is a unit, more are
// none.
const maxUnits = 4

// unitTally is what a column's cells are without the unit around the number.
type unitTally struct {
	units    map[string]*tally
	with     tallies // of the cells that have one, as they are
	stripped tallies // of the same cells without it
}

// add takes in a cell that is no number, if it is one with a unit.
func (u *unitTally) add(k kinds, n int64, cell []byte, line int64) {
	if k&(number|marker) != 0 {
		return
	}
	plain, unit := withoutUnit(cell)
	if unit == "" {
		return
	}
	if u.units == nil {
		u.units = map[string]*tally{}
	}
	if u.units[unit] == nil && len(u.units) < maxUnits {
		u.units[unit] = &tally{}
	}
	if of := u.units[unit]; of != nil {
		of.add(&count{n, line}, string(cell))
	}
	u.with.add(k, n, cell, line)
	of := classify(plain)
	u.stripped.add(of, n, cell, line)
}

// withoutUnit parts a cell into a number and the unit before or behind it; unit is
// empty where there is none that is known to be one.
func withoutUnit(cell []byte) (plain []byte, unit string) {
	isDigit := func(r rune) bool { return r >= '0' && r <= '9' }
	first, last := bytes.IndexFunc(cell, isDigit), bytes.LastIndexFunc(cell, isDigit)
	if first < 0 {
		return cell, ""
	}
	if behind := bytes.TrimSpace(cell[last+1:]); len(behind) > 0 {
		if !isUnit(string(behind)) && !slices.Contains(unitWords, string(behind)) {
			return cell, ""
		}
		return bytes.TrimSpace(cell[:last+1]), string(behind)
	}
	start := cell[:first]
	sign := ""
	if r, size := utf8.DecodeRune(start); r == '-' || r == '+' {
		sign, start = string(r), start[size:]
	} else if end := len(start) - 1; end >= 0 && (start[end] == '-' || start[end] == '+') {
		sign, start = string(start[end]), start[:end]
	}
	if before := bytes.TrimSpace(start); len(before) > 0 && isUnit(string(before)) {
		return append([]byte(sign), cell[first:]...), string(before)
	}
	return cell, ""
}

// isUnit reports whether a text beside a number is a currency, or a sign such as %.
func isUnit(s string) bool {
	if slices.Contains(currency, s) {
		return true
	}
	r, size := utf8.DecodeRuneInString(s)
	return r == '%' || unicode.Is(unicode.Sc, r) && size == len(s) || r == '°' && len(s) <= 3 || s == "‰"
}

// takeUnit finds the one unit of a column of numbers, and then looks at its cells
// without it.
func (c *column) takeUnit() {
	u := &c.united
	if len(u.units) != 1 {
		return
	}
	without := c.tallies
	for i := range without {
		without[i].n += u.stripped[i].n - u.with[i].n
		if s := u.stripped[i]; s.n > 0 && (without[i].line == 0 || s.line < without[i].line) {
			without[i].line, without[i].example = s.line, s.example
		}
	}
	numbers := without.of(number).n + without.of(commaGroups).n + without.of(decimalComma).n + without.of(pointGroups).n + without.of(blankGroups).n
	for name, of := range u.units {
		n := of.n
		// Some numbers may stand without it; what is neither is left to the usual rules.
		if filled := c.rows - c.blank; n*2 >= filled && numbers*10 >= filled*8 {
			c.tallies, c.unit = without, name
		}
	}
}

// severalUnits says that nearly all values are numbers with one of several units; "" if not.
func (c *column) severalUnits() string {
	var cells int64
	var words []string
	for _, name := range slices.SortedFunc(maps.Keys(c.united.units), func(a, b string) int {
		return cmp.Or(cmp.Compare(c.united.units[b].n, c.united.units[a].n), strings.Compare(a, b))
	}) {
		of := c.united.units[name]
		cells += of.n
		words = append(words, fmt.Sprintf("%s (%s, such as line %s: %q)", name, progress.Counted(of.n, "cell"), progress.Count(of.line), of.example))
	}
	numbers := c.united.stripped.of(number).n + c.united.stripped.of(commaGroups).n + c.united.stripped.of(decimalComma).n
	if len(words) < 2 || cells*10 < c.present*9 || numbers*10 < c.present*9 {
		return ""
	}
	last := len(words) - 1
	return fmt.Sprintf("numbers in %d units: %s and %s; it is taken as text until the table has one of them", len(words), strings.Join(words[:last], ", "), words[last])
}

// kindsOf classifies one of the column's values, without its unit.
func (c *column) kindsOf(v string) kinds {
	if c.unit != "" {
		if plain, unit := withoutUnit([]byte(v)); unit == c.unit {
			return classify(plain)
		}
	}
	return classify([]byte(v))
}
