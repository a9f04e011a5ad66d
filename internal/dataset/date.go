package dataset

import (
	"bytes"
	"slices"
	"strings"
	"time"
)

// A date's canonical form is 2024-01-31, with a time of day 2024-01-31T13:45:00
// or 2024-01-31T13:45:00.25, in UTC where its text names an offset. The forms
// sort as the dates do.

// AppendDate appends the canonical form of a date. Its time of day is left out at
// midnight, and what is smaller than a microsecond always.
func AppendDate(b []byte, t time.Time) []byte {
	year, month, day := t.Date()
	b = append(b, digits(year, 4)...)
	b = append(append(b, '-'), digits(int(month), 2)...)
	b = append(append(b, '-'), digits(day, 2)...)
	hour, minute, second := t.Clock()
	micro := t.Nanosecond() / 1000
	if hour == 0 && minute == 0 && second == 0 && micro == 0 {
		return b
	}
	b = append(append(b, 'T'), digits(hour, 2)...)
	b = append(append(b, ':'), digits(minute, 2)...)
	b = append(append(b, ':'), digits(second, 2)...)
	if micro != 0 {
		b = append(b, '.')
		b = append(b, bytes.TrimRight(digits(micro, 6), "0")...)
	}
	return b
}

// digits writes a number of at most n digits with zeros in front.
func digits(x, n int) []byte {
	text := make([]byte, n)
	for i := n - 1; i >= 0; i-- {
		text[i] = byte('0' + x%10)
		x /= 10
	}
	return text
}

// ParseDate reads a date of ISO 8601 (2024-01-31, 20240131, 2024-01-31T13:45:00,
// 20240131T134500, 2024-01-31 13:45, an offset such as Z or +02:00 at its end). The year comes
// first, so that / and . may stand for the dashes, and a month or a day may have
// one digit. A week (2024-W05, 2024W05) is its Monday, unless its day is named (2024-W05-3).
func ParseDate(text []byte) (time.Time, bool) {
	s := scanner{text: text}
	var d [3]int // year, month, day
	var ok, basic bool
	if d[0], ok = s.number(4, 4); !ok {
		return time.Time{}, false
	}
	if rest := bytes.TrimPrefix(text[s.at:], []byte("-")); len(rest) > 0 && (rest[0] == 'W' || rest[0] == 'w') {
		return s.week(d[0])
	}
	switch sep := s.peek(); sep {
	case '-', '/', '.':
		for i := 1; i < 3; i++ {
			if !s.skip(sep) {
				return time.Time{}, false
			}
			if d[i], ok = s.number(1, 2); !ok {
				return time.Time{}, false
			}
		}
	default:
		basic = true
		for i := 1; i < 3; i++ {
			if d[i], ok = s.number(2, 2); !ok {
				return time.Time{}, false
			}
		}
	}
	if s.at == len(text) {
		return moment(d, [4]int{}, 0)
	}
	if !s.skip('T') && !s.skip('t') && !s.skip(' ') {
		return time.Time{}, false
	}
	for s.skip(' ') {
	}
	var clock [4]int // hour, minute, second, nanosecond
	for i := range 3 {
		if i > 0 && !s.skip(':') {
			if digit := s.peek() >= '0' && s.peek() <= '9'; !basic || !digit {
				if i == 2 {
					break // no seconds
				}
				return time.Time{}, false
			}
		}
		if clock[i], ok = s.number(2, 2); !ok {
			return time.Time{}, false
		}
		if i == 2 && (s.skip('.') || s.skip(',')) {
			if clock[3], ok = s.fraction(); !ok {
				return time.Time{}, false
			}
		}
	}
	offset, ok := s.offset()
	if !ok || s.at < len(text) {
		return time.Time{}, false
	}
	return moment(d, clock, offset)
}

// week reads what follows the year of an ISO week date, to the end.
func (s *scanner) week(year int) (time.Time, bool) {
	extended := s.skip('-')
	s.at++ // W
	week, ok := s.number(2, 2)
	day := 1
	if ok && s.at < len(s.text) {
		if ok = s.skip('-') == extended; ok {
			day, ok = s.number(1, 1)
		}
	}
	if !ok || s.at < len(s.text) || year < 1 || day < 1 || day > 7 {
		return time.Time{}, false
	}
	fourth := time.Date(year, time.January, 4, 0, 0, 0, 0, time.UTC) // is in the first week
	t := fourth.AddDate(0, 0, 7*(week-1)+day-1-int(fourth.Weekday()+6)%7)
	y, w := t.ISOWeek()
	return t, y == year && w == week && t.Year() >= 1 && t.Year() <= 9999
}

// moment makes a date of its parts, which have to exist. offset is in minutes.
func moment(d [3]int, clock [4]int, offset int) (time.Time, bool) {
	if d[0] < 1 || d[1] < 1 || d[1] > 12 || d[2] < 1 || clock[0] > 23 || clock[1] > 59 || clock[2] > 59 {
		return time.Time{}, false
	}
	t := time.Date(d[0], time.Month(d[1]), d[2], clock[0], clock[1], clock[2], clock[3], time.UTC)
	if t.Day() != d[2] { // 31 April is 1 May to Go
		return time.Time{}, false
	}
	if offset != 0 {
		t = t.Add(-time.Duration(offset) * time.Minute)
	}
	return t, t.Year() >= 1 && t.Year() <= 9999
}

// scanner reads the parts of a date.
type scanner struct {
	text []byte
	at   int
}

func (s *scanner) peek() byte {
	if s.at < len(s.text) {
		return s.text[s.at]
	}
	return 0
}

func (s *scanner) skip(c byte) bool {
	if s.at < len(s.text) && s.text[s.at] == c {
		s.at++
		return true
	}
	return false
}

// number reads a number of least to most digits.
func (s *scanner) number(least, most int) (int, bool) {
	x, n := 0, 0
	for ; n < most && s.at < len(s.text) && s.text[s.at] >= '0' && s.text[s.at] <= '9'; n++ {
		x = 10*x + int(s.text[s.at]-'0')
		s.at++
	}
	return x, n >= least
}

// fraction reads the digits of a fraction of a second, as nanoseconds.
func (s *scanner) fraction() (int, bool) {
	x, n := 0, 0
	for ; s.peek() >= '0' && s.peek() <= '9'; n++ {
		if n < 9 {
			x = 10*x + int(s.peek()-'0')
		}
		s.at++
	}
	for i := n; i < 9; i++ {
		x *= 10
	}
	return x, n > 0
}

// offset reads an offset from UTC, in minutes: none, Z, UTC, +02, +0200 or +02:00.
func (s *scanner) offset() (int, bool) {
	for s.skip(' ') {
	}
	if s.at == len(s.text) || s.skip('Z') || s.skip('z') {
		return 0, true
	}
	if bytes.Equal(s.text[s.at:], []byte("UTC")) {
		s.at = len(s.text)
		return 0, true
	}
	sign := 1
	if !s.skip('+') {
		if sign = -1; !s.skip('-') {
			return 0, false
		}
	}
	hours, ok := s.number(2, 2)
	if !ok || hours > 14 {
		return 0, false
	}
	s.skip(':')
	minutes, ok := s.number(2, 2)
	return sign * (60*hours + minutes), (ok || minutes == 0) && minutes < 60
}

// word reads letters and returns which of the words they are, from 1.
func (s *scanner) word(words []string) (int, bool) {
	for i, w := range words {
		if len(s.text)-s.at >= len(w) && strings.EqualFold(string(s.text[s.at:s.at+len(w)]), w) {
			s.at += len(w)
			return i + 1, true
		}
	}
	return 0, false
}

// scanDate reads a date in the column's format, or in ISO 8601.
func (c *Column) scanDate(field []byte) (time.Time, bool) {
	if c.layout != nil {
		if t, ok := c.layout.parse(field); ok {
			return t, true
		}
	}
	return ParseDate(field)
}

func (c *Column) date(field []byte) ([]byte, error) {
	t, ok := c.scanDate(field)
	if !ok {
		if c.layout != nil {
			return nil, wrong(field, "not a date of the form %s", c.layout.format)
		}
		return nil, wrong(field, "not a date in ISO 8601 (2024-01-31)")
	}
	v := AppendDate(make([]byte, 0, 32), t)
	if slices.Contains(c.missingDates, string(v)) {
		return nil, nil
	}
	switch {
	case c.Earliest != "" && string(v) < c.Earliest:
		return nil, wrong(field, "before %s", c.Earliest)
	case c.Latest != "" && string(v) > c.Latest:
		return nil, wrong(field, "after %s", c.Latest)
	}
	if bytes.Equal(v, field) {
		return field, nil
	}
	return v, nil
}

// Parts of a date that a feature may take.
var Parts = []string{"year", "month", "day", "weekday", "hour"}

// Part returns one of Parts of a date: weekday is 1 on Monday and 7 on Sunday.
func Part(t time.Time, part string) float64 {
	switch part {
	case "year":
		return float64(t.Year())
	case "month":
		return float64(t.Month())
	case "day":
		return float64(t.Day())
	case "weekday":
		return float64((t.Weekday()+6)%7 + 1)
	case "hour":
		return float64(t.Hour())
	}
	return 0
}
