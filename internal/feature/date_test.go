package feature

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mlops/internal/dataset"
)

// kindsSpec has booleans and dates in every place that takes a value; %[1]q and
// %[2]q are a boolean and a date, %[3]q a date that marks a missing value.
const kindsSpec = `name: kinds
model: kinds
task: binary
missing: [NA]
columns:
  - {name: flag, type: boolean}
  - {name: "on", type: date, format: MM/DD/YYYY, missing: [%[3]q]}
  - {name: off, type: date}
  - {name: y, type: boolean}
target: {column: y, positive: [%[1]q]}
cohort:
  - {column: flag, values: [%[1]q], because: a flag}
  - {column: "on", values: [%[2]q], because: a day}
split: {salts: [s], train: 70, validation: 15, test: 15}
features:
  - {number: flag}
  - {category: flag, name: level}
  - {name: hits, count: [flag, "on"], of: [%[1]q, %[2]q]}
  - {date: "on", part: year}
  - {date: "on", part: month}
  - {date: "on", part: day}
  - {date: "on", part: weekday}
  - {date: "on", part: hour}
  - {days_from: "on", to: off}
  - {days_from: off, to: "on", name: back}
  - {days_from: "on", to: 2000-01-01, name: until}
threshold: {fixed: 0.5}
candidates: [{name: one, rounds: 1}]
`

// cases returns a text as it is, in small and in capital letters and with blanks.
func cases(texts ...string) []string {
	var all []string
	for _, t := range texts {
		all = append(all, t, strings.ToUpper(t), strings.ToUpper(t[:1])+t[1:], " "+t+"\t")
	}
	return all
}

func spellingsOfBoolean(b bool) []string {
	if b {
		return append(cases("true", "t", "yes", "y", "on"), "1", "1.0", "01", "1e0", "+1")
	}
	return append(cases("false", "f", "no", "n", "off"), "0", "0.0", "00", "-0")
}

func spellingsOfDate(t time.Time) []string {
	if t.Hour()+t.Minute() > 0 {
		return []string{
			t.Format("2006-01-02T15:04:05"), t.Format("2006-01-02 15:04"), t.Format("2006/1/2 15:04:05.000"), t.Format("20060102T15:04:05Z"),
			t.In(time.FixedZone("", 2*60*60)).Format("2006-01-02T15:04:05-07:00"), t.In(time.FixedZone("", -90*60)).Format("2006-01-02 15:04:05 -0700"),
		}
	}
	return []string{
		t.Format("2006-01-02"), t.Format("20060102"), t.Format("2006/1/2"), t.Format(" 2006.01.02 "), t.Format("01/02/2006"), t.Format("1/2/2006"),
		t.Format("2006-01-02T15:04:05"), t.Format("2006-01-02 15:04"), t.Format("2006-01-02T15:04:05.000000Z"), t.Format("2006-01-02 15:04:05 UTC"),
	}
}

// TestOneBooleanOrDateOneMeaning is TestOneValueOneMeaning for booleans and dates.
func TestOneBooleanOrDateOneMeaning(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	pick := func(all []string) string { return all[rng.IntN(len(all))] }
	for range 200 {
		flag := rng.IntN(2) == 0
		day := time.Date(1950+rng.IntN(100), time.Month(1+rng.IntN(12)), 1+rng.IntN(28), 0, 0, 0, 0, time.UTC)
		if rng.IntN(2) == 0 {
			day = day.Add(time.Duration(1+rng.IntN(24*60-1)) * time.Minute)
		}
		later := day.AddDate(0, 0, rng.IntN(2000)-1000)
		missing := day.AddDate(0, 0, 1).Truncate(24 * time.Hour)
		text := fmt.Sprintf(kindsSpec, strings.TrimSpace(pick(spellingsOfBoolean(flag))), pick(spellingsOfDate(day)), pick(spellingsOfDate(missing)))
		s, err := dataset.Parse([]byte(text))
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		value := func(column int, text string) []byte {
			t.Helper()
			v, err := s.Value(column, []byte(text))
			if err != nil {
				t.Fatalf("column %d, %q: %v", column, text, err)
			}
			return v
		}
		f := NewFitter(s)
		for _, b := range []bool{true, false} {
			f.Add([][]byte{value(0, pick(spellingsOfBoolean(b))), value(1, pick(spellingsOfDate(day))), value(2, later.Format(pick([]string{"2006-01-02", "20060102", "2006/1/2"}))), value(3, "1")})
		}
		e, err := f.Encoder()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"false", "true"}, e.Features[1].Levels); diff != "" {
			t.Fatalf("levels (-want +got):\n%s", diff)
		}
		number := float32(0)
		if flag {
			number = 1
		}
		days := func(from, to time.Time) float32 {
			return float32(to.Truncate(24*time.Hour).Sub(from.Truncate(24*time.Hour)).Hours() / 24)
		}
		weekday := float32(day.Weekday())
		if weekday == 0 {
			weekday = 7
		}
		want := []float32{number, number, 2, float32(day.Year()), float32(day.Month()), float32(day.Day()), weekday, float32(day.Hour()),
			days(day, later), days(later, day), days(day, time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC))}
		for _, b := range spellingsOfBoolean(flag) {
			for _, d := range spellingsOfDate(day) {
				row := [][]byte{value(0, b), value(1, d), value(2, later.Format(pick([]string{"2006-01-02", "20060102", "2006/1/2"}))), value(3, b)}
				if label, known := s.Label(row); label != 1 || !known || !s.Excluded(row) {
					t.Fatalf("%q and %q: label %v, %v, excluded %v; want 1, true, true", b, d, label, known, s.Excluded(row))
				}
				vector := make([]float32, e.Width())
				e.Encode(vector, row)
				if diff := differ(want, vector); diff != "" {
					t.Fatalf("%q and %q (-want +got):\n%s", b, d, diff)
				}
				// As a request has it, in any order.
				texts := []string{b, d, later.Format(pick([]string{"2006-01-02", "20060102", "2006/1/2"}))}
				e.Reset(vector)
				for _, c := range rng.Perm(3) {
					text, ok := e.Literal(c, []byte(texts[c]))
					if !ok {
						t.Fatalf("column %d does not take %s", c, texts[c])
					}
					if _, known := e.SetUsual(vector, c, text); !known {
						e.Set(vector, c, value(c, string(text)))
					}
				}
				if diff := differ(want, vector); diff != "" {
					t.Fatalf("%q and %q in a request (-want +got):\n%s", b, d, diff)
				}
				if !s.SameCell(0, []byte(b), row[0]) || !s.SameCell(1, []byte(d), row[1]) {
					t.Fatalf("%q or %q is not the same cell as %s, %s", b, d, row[0], row[1])
				}
			}
		}
		for _, d := range spellingsOfDate(missing) {
			if v := value(1, d); v != nil {
				t.Fatalf("%q: got %s, want missing", d, v)
			}
		}
		if v, ok := e.Literal(0, []byte("true")); !ok || string(v) != "true" {
			t.Fatalf("JSON true: %s, %v", v, ok)
		}
	}
}

// TestDaysNeedBothDates has a record with one of the two dates only.
func TestDaysNeedBothDates(t *testing.T) {
	s, err := dataset.Parse([]byte(fmt.Sprintf(kindsSpec, "yes", "2024-02-29", "1900-01-01")))
	if err != nil {
		t.Fatal(err)
	}
	f := NewFitter(s)
	for range 100 {
		f.Add([][]byte{[]byte("true"), []byte("2024-01-01"), []byte("2024-01-02"), nil})
	}
	e, err := f.Encoder()
	if err != nil {
		t.Fatal(err)
	}
	for c, name := range []string{1: "on", 2: "off"} {
		if name == "" {
			continue
		}
		fields := make([][]byte, 4)
		fields[c] = []byte("2024-03-01T23:00:00")
		vector := make([]float32, e.Width())
		e.Encode(vector, fields)
		for _, i := range []int{8, 9} {
			if !math.IsNaN(float64(vector[i])) {
				t.Errorf("%s alone gives %s %v, want NaN", name, e.Features[i].Name, vector[i])
			}
		}
	}
	for _, day := range []string{"0001-01-01", "9999-12-31"} {
		d, _ := dataset.ParseDate([]byte(day))
		if got, held := heldDay(holdDay(dayOf(d))); !held || got != dayOf(d) {
			t.Errorf("%s: held %d, %v; want %d", day, got, held, dayOf(d))
		}
	}
	if !slices.Equal([]string{"year", "month", "day", "weekday", "hour"}, dataset.Parts) {
		t.Errorf("parts %v: the test has others", dataset.Parts)
	}
}
