package dataset

import (
	"strings"
	"testing"
	"time"
)

// asItIs is a spec that uses the keys by which a table is read as it is.
const asItIs = `name: files
model: files
task: binary
missing: ["NA"]
source: {separator: tab, encoding: Latin-1, decimal: ",", ignore: ["", comment]}
columns:
  - {name: size, from: "Größe (cm)", type: number, missing: ["-1"]}
  - {name: index, from: " ", type: integer}
  - {name: member, type: boolean, missing: [unknown, "9"]}
  - {name: admitted, type: date, format: DD.MM.YYYY, earliest: 2000-01-01, latest: 31.12.2030, missing: ["01.01.1900"]}
  - {name: discharged, type: date, format: DD.MM.YYYY HH:mm}
  - {name: y, type: boolean}
target: {column: y, positive: [Yes]}
cohort: [{column: member, values: [1], because: a test}]
split: {salts: [s], train: 70, validation: 15, test: 15}
features:
  - {number: size}
  - {number: member}
  - {category: member, name: member_level}
  - {date: admitted, part: month}
  - {days_from: admitted, to: discharged}
  - {days_from: admitted, to: 2025-01-01, name: age}
threshold: {fixed: 0.5}
candidates: [{name: one, rounds: 1}]
`

func TestFileKeys(t *testing.T) {
	_, err := Parse([]byte(strings.Replace(asItIs, `[{name: index, from: " "`, `x`, 1)))
	if err == nil || !strings.Contains(err.Error(), `column "" is listed under columns: it can't be ignored too`) {
		t.Errorf("a column that is listed and ignored: %v", err)
	}
	s, err := Parse([]byte(strings.Replace(asItIs, `["", comment]`, "[comment]", 1)))
	if err != nil {
		t.Fatal(err)
	}
	if s.Source.Separates() != '\t' {
		t.Errorf("separator %q, want a tab", s.Source.Separates())
	}
	if got := s.Columns[0].Header() + "|" + s.Columns[1].Header() + "|" + s.Columns[2].Header(); got != "Größe (cm)||member" {
		t.Errorf("headers %q", got)
	}
	if got := s.Features[3].Name + " " + s.Features[4].Name; got != "admitted_month days_from_admitted_to_discharged" {
		t.Errorf("names of features: %s", got)
	}
	if s.Target.Positive[0] != "true" || s.Cohort[0].Values[0] != "true" || s.Columns[3].Latest != "2030-12-31" {
		t.Errorf("positive %q, cohort %q, latest %s", s.Target.Positive, s.Cohort[0].Values, s.Columns[3].Latest)
	}
	if s, err = Parse([]byte(strings.Replace(asItIs, `["", comment]`, "all", 1))); err != nil || !s.Source.Ignore.All {
		t.Errorf("ignore: all: %v", err)
	}
}

func TestValuesOfBooleansAndDates(t *testing.T) {
	s, err := Parse([]byte(strings.Replace(asItIs, `["", comment]`, "all", 1)))
	if err != nil {
		t.Fatal(err)
	}
	const missing = "(missing)"
	tests := []struct{ column, field, want string }{
		{"member", "True", "true"}, {"member", " yes ", "true"}, {"member", "Y", "true"}, {"member", "1", "true"}, {"member", "1.0", "true"}, {"member", "T", "true"}, {"member", "ON", "true"},
		{"member", "FALSE", "false"}, {"member", "no", "false"}, {"member", "n", "false"}, {"member", "0", "false"}, {"member", "-0.0", "false"}, {"member", "off", "false"},
		{"member", "unknown", missing}, {"member", "9", missing}, {"member", "9.0", missing}, {"member", "NA", missing}, {"member", "", missing},
		{"member", "2", "error: not a boolean"}, {"member", "maybe", "error: not a boolean"}, {"member", "yesterday", "error: not a boolean"},
		{"size", "-1.0", missing}, {"index", "-1", "-1"},
		{"admitted", "31.01.2024", "2024-01-31"}, {"admitted", "1.2.2024", "2024-02-01"}, {"admitted", "2024-01-31", "2024-01-31"}, {"admitted", "20240131", "2024-01-31"},
		{"admitted", "2024-01-31T00:00:00Z", "2024-01-31"}, {"admitted", "2024-01-31 13:45", "2024-01-31T13:45:00"}, {"admitted", "2024/1/31", "2024-01-31"},
		{"admitted", "2024-01-31T13:45:10.250", "2024-01-31T13:45:10.25"}, {"admitted", "2024-01-31T00:30:00+02:00", "2024-01-30T22:30:00"}, {"admitted", "2024-01-31 00:00:00 UTC", "2024-01-31"},
		{"admitted", "01.01.1900", missing}, {"admitted", "1900-01-01", missing}, {"admitted", "NA", missing},
		{"admitted", "31.12.1999", "error: before 2000-01-01"}, {"admitted", "2031-01-01", "error: after 2030-12-31"},
		{"admitted", "30.02.2024", "error: not a date of the form DD.MM.YYYY"}, {"admitted", "01/31/2024", "error: not a date"}, {"admitted", "2024-13-01", "error: not a date"},
		{"admitted", "2024-01-31T25:00", "error: not a date"}, {"admitted", "2024", "error: not a date"}, {"admitted", "31.01.2024 10:00", "error: not a date"},
		{"discharged", "31.01.2024 10:05", "2024-01-31T10:05:00"},
	}
	for _, test := range tests {
		v, err := s.Value(s.Column(test.column), []byte(test.field))
		got := string(v)
		switch {
		case err != nil:
			got = "error: " + err.Error()
			if strings.HasPrefix(test.want, "error: ") && strings.Contains(got, strings.TrimPrefix(test.want, "error: ")) {
				got = test.want
			}
		case v == nil:
			got = missing
		}
		if got != test.want {
			t.Errorf("%s %q: got %q, want %q", test.column, test.field, got, test.want)
		}
	}
}

func TestLayouts(t *testing.T) {
	tests := []struct{ format, text, want string }{
		{"MM/DD/YYYY", "1/5/2013", "2013-01-05"},
		{"DD/MM/YY", "05/01/13", "2013-01-05"},
		{"D-MMM-YY", "5-jan-99", "1999-01-05"},
		{"MMMM D, YYYY", "January 5, 2013", "2013-01-05"},
		{"YYYYMMDD", "20130105", "2013-01-05"},
		{"DDMMYYYY", "05012013", "2013-01-05"},
		{"MM/DD/YYYY hh:mm:ss AM", "11/12/2013 05:33:00 PM", "2013-11-12T17:33:00"},
		{"MM/DD/YYYY hh:mm AM", "11/12/2013 12:05 am", "2013-11-12T00:05:00"},
		{"YYYY-MM-DDTHH:mm:ss", "2013-01-05T06:07:08.5", "2013-01-05T06:07:08.5"},
		{"YYYY-MM", "2013-05", "2013-05-01"},
		{"MMM YYYY", "may 2013", "2013-05-01"},
		{"YYYY MMMM", "2013 October", "2013-10-01"},
		{"YYYY Qn", "1998 Q1", "1998-01-01"},
		{"YYYY-Qn", "1998-q4", "1998-10-01"},
		{"YYYYQn", "1998Q2", "1998-04-01"},
		{"Qn/YYYY", "Q3/1998", "1998-07-01"},
		{"unix", "1600000000", "2020-09-13T12:26:40"},
		{"unix", "1.6e9", "2020-09-13T12:26:40"},
		{"unix", "-86400", "1969-12-31"},
		{"unix", "253402300800", ""}, // in the year 10000
		{"unix", "2020-09-13", ""},
		{"unix_ms", "1600000000250", "2020-09-13T12:26:40.25"},
		{"excel", "44197", "2021-01-01"},
		{"excel", "44197.5", "2021-01-01T12:00:00"},
		{"YYYY Qn", "1998 Q5", ""},
		{"YYYY Qn", "1998 Q0", ""},
		{"YYYY Qn", "1998 1", ""},
		{"YYYY-MM", "2013-13", ""},
		{"DD.MM.YYYY", "5.1.2013 ", ""},
		{"DDMMYYYY", "5012013", ""},
		{"MM/DD/YYYY", "13/01/2013", ""},
	}
	for _, test := range tests {
		l, err := newLayout(test.format)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if d, ok := l.parse([]byte(test.text)); ok {
			got = string(AppendDate(nil, d))
		}
		if got != test.want {
			t.Errorf("%s as %s: got %q, want %q", test.text, test.format, got, test.want)
		}
	}
	for format, want := range map[string]string{
		"%d.%m.%Y": `write "DD.MM.YYYY"`, "YYYY-DD-MM": "another date", "DD.MM": "needs a year", "YYYY": "a month or a quarter alone", "YYYY-DD": "needs a year", "YYYY-MM Qn": "needs a year", "DD YYYY Qn": "needs a year", "YYYY-MM HH:mm": "needs a year", "DD.MM.YYYY mm": "minutes need hours",
		"DD.MM.YYYY hh:mm": "needs AM", "dd.mm.yyyy": `"d" means nothing`, "DD.MM.YYYY DD": "twice",
	} {
		if _, err := newLayout(format); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q in it", format, err, want)
		}
	}
}

// TestWeeks reads the weeks of ISO 8601: the examples of years that begin in another one.
func TestWeeks(t *testing.T) {
	for text, want := range map[string]string{
		"2024-W05": "2024-01-29", "2024W05": "2024-01-29", "2024-W05-3": "2024-01-31", "2024W053": "2024-01-31", "2009-W53-7": "2010-01-03", "2009-W01": "2008-12-29", "2024-w05": "2024-01-29",
		"2024-W53": "", "2024-W00": "", "2024-W5": "", "2024-W05-8": "", "2024-W05-0": "", "2024W05-3": "", "2024-W053": "", "2024-W05 10:00": "", "2024-W": "", "2024W": "",
	} {
		got := ""
		if d, ok := ParseDate([]byte(text)); ok {
			got = string(AppendDate(nil, d))
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
}

// TestDatesAgreeWithTime writes and reads dates across the years.
func TestDatesAgreeWithTime(t *testing.T) {
	for d := time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC); d.Year() <= 9999; d = d.Add(1000*time.Hour + 7*time.Second + 250*time.Millisecond) {
		text := AppendDate(nil, d)
		back, ok := ParseDate(text)
		if !ok || !back.Equal(d) {
			t.Fatalf("%v is written as %s and read as %v, %v", d, text, back, ok)
		}
	}
}
