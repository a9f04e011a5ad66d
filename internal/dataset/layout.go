package dataset

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// layout is a date's form, as a column's format says it: DD.MM.YYYY HH:mm.
type layout struct {
	format string
	parts  []string // of the words in layoutParts, and texts that stand for themselves
	count  *counted // instead of parts, where a date is a number
}

// counted is a form in which a date is a number: of steps since a moment.
type counted struct {
	from  time.Time
	milli float64 // milliseconds of a step
}

// countedFormats are those in which a date is a number: seconds and milliseconds since 1970,
// and a spreadsheet's days since 1899-12-30, which are right from March 1900 on.
var countedFormats = map[string]*counted{
	"unix":    {time.Unix(0, 0).UTC(), 1000},
	"unix_ms": {time.Unix(0, 0).UTC(), 1},
	"excel":   {time.Date(1899, time.December, 30, 0, 0, 0, 0, time.UTC), 24 * 60 * 60 * 1000},
}

// Counted reports whether dates of a format are numbers.
func Counted(format string) bool { return countedFormats[format] != nil }

// parse reads a date to the millisecond.
func (c *counted) parse(text []byte) (time.Time, bool) {
	x, ok := ParseNumber(text)
	milli := math.Floor(x*c.milli + 0.5)
	if !ok || !(math.Abs(milli) < 1e15) {
		return time.Time{}, false
	}
	t := time.UnixMilli(c.from.UnixMilli() + int64(milli)).UTC()
	return t, t.Year() >= 1 && t.Year() <= 9999
}

// layoutParts are the words of a format, longer ones before those they begin with.
var layoutParts = []string{"YYYY", "YY", "MMMM", "MMM", "MM", "M", "DD", "D", "HH", "H", "hh", "h", "mm", "ss", "AM", "Qn"}

var monthNames, shortMonthNames = func() (long, short []string) {
	for m := time.January; m <= time.December; m++ {
		long, short = append(long, m.String()), append(short, m.String()[:3])
	}
	return long, short
}()

// newLayout reads a format. The error says what is wrong with it.
func newLayout(format string) (*layout, error) {
	if c := countedFormats[format]; c != nil {
		return &layout{format: format, count: c}, nil
	}
	l := &layout{format: format}
	given := map[byte]int{} // the place of each kind of part
	for rest := format; rest != ""; {
		part := ""
		for _, p := range layoutParts {
			if strings.HasPrefix(rest, p) {
				part = p
				break
			}
		}
		if part == "" {
			if c := rest[0]; c == '%' {
				return nil, fmt.Errorf("format %q: write %q; %s", format, fromStrptime.Replace(format), layoutHelp)
			} else if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' && c != 'T' || c >= '0' && c <= '9' {
				return nil, fmt.Errorf("format %q: %q means nothing; %s", format, rest[:1], layoutHelp)
			}
			part = rest[:1]
		} else {
			kind := part[0]
			if kind == 'h' {
				kind = 'H'
			}
			if _, twice := given[kind]; twice {
				return nil, fmt.Errorf("format %q has a part twice; %s", format, layoutHelp)
			}
			given[kind] = len(l.parts)
		}
		l.parts = append(l.parts, part)
		rest = rest[len(part):]
	}
	year, y := given['Y']
	month, m := given['M']
	day, d := given['D']
	_, quarter := given['Q']
	_, hour := given['H']
	_, minute := given['m']
	_, second := given['s']
	half, am := given['A']
	twelve := slices.ContainsFunc(l.parts, func(p string) bool { return p == "hh" || p == "h" })
	switch {
	case !y || m == quarter || d && !m || hour && !d:
		return nil, fmt.Errorf("format %q needs a year, a month and a day, or a year with a month or a quarter alone; %s", format, layoutHelp)
	case year < day && day < month && l.parts[year] == "YYYY":
		return nil, fmt.Errorf("format %q has the day between year and month, which reads as another date in ISO 8601", format)
	case minute && !hour, second && !minute, am != twelve, am && half < given['H']:
		return nil, fmt.Errorf("format %q: minutes need hours, seconds need minutes, hh needs AM behind it and AM needs hh; %s", format, layoutHelp)
	}
	return l, nil
}

const layoutHelp = "a format is made of YYYY or YY, MM (MMM for Jan, MMMM for January), DD, HH, mm and ss, or hh with AM, such as DD.MM.YYYY HH:mm; or of a month or a quarter alone, such as YYYY-MM or YYYY Qn (1998 Q1), which is its first day; or it is unix, unix_ms or excel, for numbers of seconds or milliseconds since 1970, or a spreadsheet's days"

var fromStrptime = strings.NewReplacer("%Y", "YYYY", "%y", "YY", "%m", "MM", "%d", "DD", "%b", "MMM", "%B", "MMMM", "%H", "HH", "%I", "hh", "%M", "mm", "%S", "ss", "%p", "AM", "%%", "%")

// parse reads a date of the layout. A number may lack the zero in front where
// another character follows it.
func (l *layout) parse(text []byte) (time.Time, bool) {
	if l.count != nil {
		return l.count.parse(text)
	}
	s := scanner{text: text}
	d := [3]int{0, 1, 1}
	var clock [4]int
	ok := true
	for i, p := range l.parts {
		least := 2
		if i+1 == len(l.parts) || len(l.parts[i+1]) == 1 && !slices.Contains(layoutParts, l.parts[i+1]) {
			least = 1
		}
		switch p {
		case "YYYY":
			d[0], ok = s.number(4, 4)
		case "YY":
			d[0], ok = s.number(2, 2)
			if d[0] += 1900; d[0] < 1969 { // as in POSIX
				d[0] += 100
			}
		case "MMMM":
			d[1], ok = s.word(monthNames)
		case "MMM":
			d[1], ok = s.word(shortMonthNames)
		case "MM", "M":
			d[1], ok = s.number(least, 2)
		case "DD", "D":
			d[2], ok = s.number(least, 2)
		case "HH", "H":
			clock[0], ok = s.number(least, 2)
		case "hh", "h":
			clock[0], ok = s.number(least, 2)
			ok = ok && clock[0] >= 1 && clock[0] <= 12
			clock[0] %= 12
		case "mm":
			clock[1], ok = s.number(2, 2)
		case "ss":
			if clock[2], ok = s.number(2, 2); ok && s.skip('.') {
				clock[3], ok = s.fraction()
			}
		case "Qn":
			var n int
			if ok = s.skip('Q') || s.skip('q'); ok {
				n, ok = s.number(1, 1)
			}
			ok = ok && n >= 1 && n <= 4
			d[1] = 3*n - 2
		case "AM":
			var half int
			if half, ok = s.word([]string{"AM", "PM"}); half == 2 {
				clock[0] += 12
			}
		default:
			ok = s.skip(p[0])
		}
		if !ok {
			return time.Time{}, false
		}
	}
	if s.at < len(text) {
		return time.Time{}, false
	}
	return moment(d, clock, 0)
}

// commonFormats are those that tables have besides ISO 8601, without and with a time
// of day behind them.
var commonFormats = func() (list []*layout) {
	for _, day := range []string{"DD.MM.YYYY", "DD/MM/YYYY", "MM/DD/YYYY", "DD-MM-YYYY", "MM-DD-YYYY", "DD.MM.YY", "DD/MM/YY", "MM/DD/YY", "DD-MMM-YYYY", "DD-MMM-YY", "DD MMM YYYY", "MMM DD, YYYY", "DD MMMM YYYY", "MMMM DD, YYYY"} {
		for _, clock := range []string{"", " HH:mm", " HH:mm:ss", " hh:mm AM", " hh:mm:ss AM"} {
			l, err := newLayout(day + clock)
			if err != nil {
				panic(err) // they are all valid
			}
			list = append(list, l)
		}
	}
	for _, whole := range wholeMonths {
		l, err := newLayout(whole)
		if err != nil {
			panic(err)
		}
		list = append(list, l)
	}
	return list
}()

// wholeMonths are the common formats of months and quarters.
var wholeMonths = []string{"YYYY-MM", "YYYY/MM", "MM/YYYY", "MM-YYYY", "MMM YYYY", "MMM-YYYY", "YYYY MMM", "MMMM YYYY", "YYYY MMMM",
	"YYYY Qn", "YYYY-Qn", "YYYYQn", "Qn YYYY", "Qn-YYYY", "Qn/YYYY"}

// ParseDateIn reads a date of a format, as a column of that format does.
func ParseDateIn(format string, text []byte) (time.Time, bool) {
	if c := countedFormats[format]; c != nil {
		if t, ok := c.parse(text); ok {
			return t, true
		}
		return ParseDate(text)
	}
	i := slices.IndexFunc(commonFormats, func(l *layout) bool { return l.format == format })
	if i < 0 {
		return ParseDate(text)
	}
	if t, ok := commonFormats[i].parse(text); ok {
		return t, true
	}
	return ParseDate(text)
}

// Formats returns the formats in which a text is a date: "" is ISO 8601, and several
// mean that the text alone does not tell.
func Formats(text []byte) []string {
	text = bytes.TrimSpace(text)
	if _, ok := ParseDate(text); ok {
		return []string{""}
	}
	var list []string
	for _, l := range commonFormats {
		// Codes such as 4711-03 are no months.
		if t, ok := l.parse(text); ok && (!slices.Contains(wholeMonths, l.format) || t.Year() >= 1500 && t.Year() < 2200) {
			list = append(list, l.format)
		}
	}
	return list
}
