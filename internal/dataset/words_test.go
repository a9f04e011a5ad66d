package dataset

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWords(t *testing.T) {
	t.Parallel()
	s, err := Parse([]byte(`name: stays
title: Stays
model: stays
key: id
group: patient
order: id
columns:
  - {name: id, type: integer}
  - {name: patient, type: integer}
  - {name: days, type: integer, label: Days in hospital}
  - {name: code, type: category}
  - {name: begun, type: date, label: Admitted}
  - {name: ended, type: date}
  - {name: back, type: category}
target: {column: back, positive: ["yes"], labels: {positive: back, negative: away}}
split: {salts: [a], train: 60, validation: 20, test: 20}
threshold: {fixed: 0.5}
features:
  - {number: days}
  - {category: code}
  - {name: ärger_total, number: days}
  - {date: begun, part: weekday}
  - {days_from: begun, to: ended}
  - {history: count}
  - {history: sum, number: days}
  - {history: last, category: code}
  - {history: change, number: days}
  - {history: same, category: code}
  - {history: days_since, date: begun}
candidates:
  - {name: one, rounds: 10}
`))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i := range s.Features {
		got = append(got, s.Words(&s.Features[i]))
	}
	want := []string{
		"Days in hospital", "code", "Ärger total", "Admitted, weekday", "Days from Admitted to ended", "Earlier records",
		"Days in hospital, all earlier records together", "code, in the record before", "Days in hospital, change since the record before",
		"code, same as in the record before", "Admitted, days since the record before",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("words (-want +got):\n%s", diff)
	}
}
