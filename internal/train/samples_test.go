package train

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mlops/internal/dataset"
	"mlops/internal/feature"
)

// people is a table in which a few rows have what nobody else has.
func people(t *testing.T, samples string) (*dataset.Spec, dataset.Rows, map[string]bool) {
	t.Helper()
	spec, err := dataset.Parse([]byte(`name: people
title: People
description: People to test with.
model: people
task: binary
samples: ` + samples + `
key: id
columns:
  - {name: id, type: integer}
  - {name: name, type: category}
  - {name: town, type: category}
  - {name: age, type: integer}
  - {name: income, type: number}
  - {name: note, type: category}
  - {name: good, type: category}
target:
  column: good
  positive: ["yes"]
  labels: {positive: good, negative: bad}
split: {salts: [s1], train: 60, validation: 20, test: 20}
features:
  - {number: age}
  - {number: income}
  - {category: town}
threshold: {maximize: f1}
metrics: [auc]
candidates:
  - {name: one, rounds: 5}
`))
	if err != nil {
		t.Fatal(err)
	}
	const n = 2000
	real := map[string]bool{}
	var all [][][]byte
	for i := range n {
		f := [][]byte{fmt.Append(nil, i), fmt.Appendf(nil, "person %d", i), []byte([]string{"Bern", "Genf", "Chur"}[i*7%3]), fmt.Append(nil, 20+i*31%60),
			fmt.Appendf(nil, "%.2f", 1000+float64(i*97%5000)/3), nil, []byte([]string{"yes", "no"}[i*13%2])}
		if i%400 == 0 { // who can be told apart
			f[2], f[3], f[4], f[5] = []byte("a farm"), []byte("117"), []byte("9999999.99"), []byte("the mayor")
		}
		all = append(all, f)
		real[string(f[2])+" "+string(f[3])+" "+string(f[4])] = true
	}
	return spec, func(_ context.Context, row func(string, [][]byte) error) error {
		for i, f := range all {
			if err := row([]string{dataset.Train, dataset.Train, dataset.Train, dataset.Validation, dataset.Test}[i%5], slices.Clone(f)); err != nil {
				return err
			}
		}
		return nil
	}, real
}

// Made-up records look like the rows and are nobody's.
func TestMadeUpSamples(t *testing.T) {
	spec, rows, real := people(t, "synthetic")
	d, err := Prepare(t.Context(), spec, rows)
	if err != nil {
		t.Fatal(err)
	}
	if len(d.samples) != wantSamples {
		t.Fatalf("%d samples, want %d", len(d.samples), wantSamples)
	}
	towns := map[string]bool{}
	for _, s := range d.samples {
		r := s.record
		if real[r["town"]+" "+r["age"]+" "+r["income"]] {
			t.Errorf("%v is a row of the table", r)
		}
		for _, column := range []string{"id", "name", "note", "good"} {
			if v, ok := r[column]; ok {
				t.Errorf("column %s is %q: it tells people apart, or is not to be predicted from", column, v)
			}
		}
		if age, err := strconv.Atoi(r["age"]); err != nil || age < 20 || age > 79 {
			t.Errorf("age %q", r["age"])
		}
		if income, err := strconv.ParseFloat(r["income"], 64); err != nil || income < 1000 || income > 2700 {
			t.Errorf("income %q", r["income"])
		}
		towns[r["town"]] = true
	}
	if want := map[string]bool{"Bern": true, "Genf": true, "Chur": true}; !cmp.Equal(want, towns) {
		t.Errorf("towns (-want +got):\n%s", cmp.Diff(want, towns))
	}
	again, err := Prepare(t.Context(), spec, rows)
	if err != nil {
		t.Fatal(err)
	}
	for i := range d.samples {
		if diff := cmp.Diff(d.samples[i].record, again.samples[i].record); diff != "" {
			t.Errorf("the same rows give another record (-first +second):\n%s", diff)
		}
	}
}

// Real ones are there only if the spec says so.
func TestRealSamples(t *testing.T) {
	spec, rows, real := people(t, "real")
	d, err := Prepare(t.Context(), spec, rows)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range d.samples {
		if r := s.record; !real[r["town"]+" "+r["age"]+" "+r["income"]] {
			t.Errorf("%v is no row of the table", r)
		}
	}
}

// A made-up record has a value in each required column, which is nobody's: where the
// rows' own could point to a person, it is made up.
func TestMadeUpSamplesHaveRequiredValues(t *testing.T) {
	t.Parallel()
	spec, err := dataset.Parse([]byte(`name: people
model: people
task: binary
missing: ["0", "made up"]
columns:
  - {name: name, type: category, required: true}
  - {name: age, type: integer, min: 0, max: 120, required: true}
  - {name: good, type: category}
target: {column: good, positive: ["yes"]}
split: {salts: [s1], train: 60, validation: 20, test: 20}
features:
  - {number: age}
threshold: {maximize: f1}
candidates:
  - {name: one, rounds: 5}
`))
	if err != nil {
		t.Fatal(err)
	}
	m := newMaker(spec)
	for i := range rareLevel - 1 {
		m.add([][]byte{fmt.Appendf(nil, "person %d", i), fmt.Append(nil, 40+i), []byte("yes")})
	}
	encoder, err := feature.NewFitter(spec).Encoder()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"name": "another", "age": "1"}
	for _, s := range m.make(10, encoder) {
		if diff := cmp.Diff(want, s.record); diff != "" {
			t.Fatalf("record (-want +got):\n%s", diff)
		}
	}
}

// No made-up record is one that the cohort leaves out, even where its value was drawn
// between two that the rows have.
func TestMadeUpSamplesInCohort(t *testing.T) {
	t.Parallel()
	spec, err := dataset.Parse([]byte(`name: ages
model: ages
task: binary
columns:
  - {name: age, type: integer}
  - {name: good, type: category}
target: {column: good, positive: ["yes"]}
cohort:
  - {column: age, values: [1, 2, 3, 4, 5, 6, 7, 8, 9], because: not seen}
split: {salts: [s1], train: 60, validation: 20, test: 20}
features:
  - {number: age}
threshold: {maximize: f1}
candidates:
  - {name: one, rounds: 5}
`))
	if err != nil {
		t.Fatal(err)
	}
	m := newMaker(spec)
	for i := range rareLevel {
		m.add([][]byte{[]byte([]string{"0", "10"}[i%2]), []byte("yes")})
	}
	encoder, err := feature.NewFitter(spec).Encoder()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range m.make(1000, encoder) {
		if age := s.record["age"]; age != "0" && age != "10" {
			t.Fatalf("age %q", age)
		}
	}
}

// Booleans and dates are made up too: of the usual days, and none of a row's time.
func TestMadeUpBooleansAndDates(t *testing.T) {
	t.Parallel()
	spec, err := dataset.Parse([]byte(`name: stays
model: stays
task: binary
columns:
  - {name: smoker, type: boolean}
  - {name: seldom, type: boolean, required: true}
  - {name: admitted, type: date}
  - {name: moved, type: date, earliest: 1990-05-01, required: true}
  - {name: good, type: category}
target: {column: good, positive: ["yes"]}
split: {salts: [s1], train: 60, validation: 20, test: 20}
features:
  - {number: smoker}
threshold: {maximize: f1}
candidates:
  - {name: one, rounds: 5}
`))
	if err != nil {
		t.Fatal(err)
	}
	m := newMaker(spec)
	for i := range 1000 {
		row := [][]byte{[]byte(strconv.FormatBool(i%2 == 0)), nil, fmt.Appendf(nil, "2024-%02d-%02dT13:45:%02d", 1+i%12, 1+i%28, i%60), nil, []byte("yes")}
		if i == 0 {
			row[1], row[2] = []byte("true"), []byte("1066-10-14")
		}
		m.add(row)
	}
	encoder, err := feature.NewFitter(spec).Encoder()
	if err != nil {
		t.Fatal(err)
	}
	smokers := map[string]int{}
	for _, s := range m.make(200, encoder) {
		r := s.record
		smokers[r["smoker"]]++
		if r["admitted"] < "2024-01-01" || r["admitted"] > "2024-12-31" || len(r["admitted"]) != len("2024-01-31") {
			t.Errorf("admitted %q", r["admitted"])
		}
		if r["seldom"] != "false" || r["moved"] != "2000-01-01" {
			t.Errorf("seldom %q, moved %q: want values that no row has", r["seldom"], r["moved"])
		}
	}
	if len(smokers) != 2 || smokers["true"] < 60 || smokers["false"] < 60 {
		t.Errorf("smokers %v", smokers)
	}
}
