package feature

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"mlops/internal/dataset"
)

// What SetUsual knows it must do as Spec.Value and Set do, and it must know every
// value that the spec and the training rows name.
func TestUsualValuesAreSetTheSame(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "workflows", "datasets", "diabetes.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := dataset.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	levels := []string{"No", "Steady", "Up", "Down", "?", "250", "250.83", "V58", "E878", "786", "Emergency/Trauma", "Emergency/Trouble", "Surgery-Cardiovascular/Thoracic", "Surgery-CardiovasculXr/Thoracic", "[50-60)", "None", ">8", "F", "Fe", "Fem"}
	f := NewFitter(s)
	for range 200 {
		row := make([][]byte, len(s.Columns))
		for c := range row {
			if s.Columns[c].Type == dataset.Category {
				if row[c], err = s.Value(c, []byte(levels[rng.IntN(len(levels)-4)])); err != nil {
					t.Fatal(err)
				}
			}
		}
		f.Add(row)
	}
	e, err := f.Encoder()
	if err != nil {
		t.Fatal(err)
	}
	tries := append([]string{"", " ", "No ", " No", "no", "0", "7", "-1", "1.0", "300", "999", "\x00", "N\x00", "Emergency/Trauma\x00", "Surgery-Cardiovascular/Thoracic "}, levels...)
	for _, l := range levels { // one byte less, one other, one more
		tries = append(tries, l[:len(l)-1], l[:len(l)-1]+"#", l+l[:1], l+"#")
	}
	got, want := make([]float32, e.Room()), make([]float32, e.Room())
	known := 0
	for c := range s.Columns {
		for _, try := range tries {
			e.Reset(got)
			e.Reset(want)
			odd, found := e.SetUsual(got, c, []byte(try))
			if !found {
				if diff := differ(want, got); diff != "" {
					t.Errorf("column %s, %q is not known, but the vector changed:\n%s", s.Columns[c].Name, try, diff)
				}
				continue
			}
			known++
			value, err := s.Value(c, []byte(try))
			if err != nil {
				t.Fatalf("column %s knows %q: %v", s.Columns[c].Name, try, err)
			}
			wantOdd := Missing
			if value != nil {
				var unknown int
				if unknown, wantOdd = e.Set(want, c, value); unknown > 0 {
					t.Errorf("column %s knows %q, training does not", s.Columns[c].Name, try)
				}
			}
			if odd != wantOdd {
				t.Errorf("column %s, %q: oddity %d, by Set %d", s.Columns[c].Name, try, odd, wantOdd)
			}
			if diff := differ(want, got); diff != "" || s.Ignored(c) {
				t.Errorf("column %s, %q (-want +got):\n%s", s.Columns[c].Name, try, diff)
			}
		}
		for i := range e.columns[c] {
			for v := range e.columns[c][i].codes {
				if _, _, all := e.columns[c][i].of(e.limits[c].value([]byte(v))); all && len(e.columns[c]) == 1 {
					if _, found := e.SetUsual(got, c, []byte(v)); !found {
						t.Errorf("column %s does not know %q", s.Columns[c].Name, v)
					}
				}
			}
		}
	}
	if known < 200 {
		t.Errorf("only %d values were known", known)
	}
}

// A date that a record leaves out is the median of the training rows in what looks at it
// alone; the days between two columns are missing without either.
func TestTypicalDate(t *testing.T) {
	t.Parallel()
	s, err := dataset.Parse([]byte(`name: days
model: days
task: binary
columns:
  - {name: from, type: date}
  - {name: until, type: date}
  - {name: y, type: boolean}
target: {column: y, positive: ["true"]}
split: {salts: [s], train: 70, validation: 15, test: 15}
features:
  - {date: from, part: year}
  - {date: from, part: month}
  - {days_from: from, to: 2020-01-01}
  - {days_from: from, to: until, name: between}
candidates: [{name: one, rounds: 1}]
threshold: {fixed: 0.5}
`))
	if err != nil {
		t.Fatal(err)
	}
	f := NewFitter(s)
	for _, day := range []string{"2019-03-05", "2021-05-07", "2019-04-06T10:00:00", "2018-01-01", "2020-12-31"} {
		if err := f.Add([][]byte{[]byte(day), []byte("2022-01-01"), []byte("true")}); err != nil {
			t.Fatal(err)
		}
	}
	e, err := f.Encoder()
	if err != nil {
		t.Fatal(err)
	}
	absent, given, other := make([]float32, e.Width()), make([]float32, e.Width()), make([]float32, e.Width())
	e.Encode(absent, [][]byte{nil, []byte("2022-01-01"), nil})
	e.Encode(given, [][]byte{[]byte("2019-04-06T10:00:00"), []byte("2022-01-01"), nil})
	e.Encode(other, [][]byte{[]byte("2018-01-01"), []byte("2022-01-01"), nil})
	if absent[0] != 2019 || absent[1] != 4 || absent[2] != given[2] || absent[2] != 270 {
		t.Errorf("without the date %v, with the median one %v", absent, given)
	}
	if absent[3] == absent[3] || given[3] != 1001 {
		t.Errorf("days between the dates: %v without the first, %v with it", absent[3], given[3])
	}
	if other[0] != 2018 || other[2] != 730 || other[3] != 1461 {
		t.Errorf("another date: %v", other)
	}
	text, err := e.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	again, err := Read(s, text)
	if err != nil {
		t.Fatal(err)
	}
	stored := make([]float32, e.Width())
	again.Encode(stored, [][]byte{nil, nil, nil})
	if stored[2] != 270 {
		t.Errorf("read again: %v", stored)
	}
	if said := again.Seen.Of("from").StandIn(s); said != "scored as 2019-04-06T10:00:00, the median" {
		t.Errorf("the warning says %q", said)
	}
	if said := again.Seen.Of("until").StandIn(s); said != "scored as missing" {
		t.Errorf("the warning of the other date says %q", said)
	}
}
