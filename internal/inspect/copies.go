package inspect

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"mlops/internal/dataset"
)

const (
	// manyCopies is the share of rows that are copies of others, from which on it is said.
	manyCopies = 0.05
	// steps is how many parts the middle nine tenths of a column's values are cut into:
	// values in one part are nearly the same.
	steps = 200
	// mostHashed is about how many rows are looked at when it is asked whether rows agree
	// by chance.
	mostHashed = 100_000
	// leftOut is how many columns are left out for that, one after the other.
	leftOut = 8
)

// Copies tells rows that are copies of others: the target is the same, and nearly the same
// value is in every column. The result has the same number for copies, and is nil where
// there are few of them, or where rows agree by chance: then more of them agree in all
// columns but one. y is what Spec.Label says of each row, and value what one of so many
// columns has in a row, as Column.Values has it.
func Copies(spec *dataset.Spec, columns int, value func(column, row int) float32, y []float32) []uint64 {
	if columns < 3 || len(y) == 0 {
		return nil
	}
	type cut struct {
		width  float64
		values int
	}
	cuts, values := make([]cut, columns), make([]float32, len(y))
	for i := range cuts {
		for row := range values {
			values[row] = value(i, row)
		}
		cuts[i].width, cuts[i].values = parts(values)
	}
	target := cut{}
	if spec.Task == dataset.Regression {
		target.width, _ = parts(y)
	}
	of := func(column, row int) uint64 {
		return part(value(column, row), cuts[column].width) * (2*uint64(column) + 0x9e3779b97f4a7c15)
	}
	ids := make([]uint64, len(y))
	for row := range ids {
		ids[row] = Scatter(part(y[row], target.width))
		for i := range columns {
			ids[row] += Scatter(of(i, row))
		}
	}

	// One row of each that is looked at; all copies of a row are, or none.
	share := uint64(1 + len(y)/mostHashed)
	first := map[uint64]int{}
	looked := 0
	for row, id := range ids {
		if Scatter(id)%share == 0 {
			looked++
			if _, ok := first[id]; !ok {
				first[id] = row
			}
		}
	}
	if looked == 0 || float64(looked-len(first)) < manyCopies*float64(looked) {
		return nil
	}
	order := make([]int, columns)
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(cuts[b].values, cuts[a].values) })
	for _, i := range order[:min(leftOut, len(order))] {
		without := make(map[uint64]int, len(first))
		for id, row := range first {
			without[id-Scatter(of(i, row))]++
		}
		near := 0 // rows that agree with another one in all columns but this
		for _, n := range without {
			if n > 1 {
				near += n
			}
		}
		if float64(near)*float64(share)/float64(len(first)) > 0.75*float64(looked-len(first))/float64(looked) {
			return nil
		}
	}
	return ids
}

// parts returns how wide the parts of a column's values are that count as the same, 0 where
// only equal values do, and how many different values there are.
func parts(values []float32) (width float64, distinct int) {
	sorted := slices.DeleteFunc(slices.Clone(values), func(v float32) bool { return v != v })
	if len(sorted) == 0 {
		return 0, 0
	}
	slices.Sort(sorted)
	width = float64(sorted[len(sorted)*19/20]-sorted[len(sorted)/20]) / steps
	return width, len(slices.Compact(sorted))
}

// part is the number of the part that a value is in.
func part(v float32, width float64) uint64 {
	switch {
	case v != v:
		return 1 << 63
	case width > 0:
		return uint64(int64(math.Floor(float64(v) / width)))
	}
	return uint64(math.Float32bits(v))
}

// Scatter spreads the bits of a number as SplitMix64's output function does, so that sums
// of several tell them apart.
func Scatter(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// copied warns of test rows that are copies of training rows.
func copied(spec *dataset.Spec, features []Feature, train, test Part) *Finding {
	width := len(features)
	ids := Copies(spec, width, func(column, row int) float32 {
		if n := len(train.Y); row >= n {
			return test.X[(row-n)*width+column]
		}
		return train.X[row*width+column]
	}, slices.Concat(train.Y, test.Y))
	if ids == nil {
		return nil
	}
	known := map[uint64]bool{}
	for _, id := range ids[:len(train.Y)] {
		known[id] = true
	}
	n := 0
	for _, id := range ids[len(train.Y):] {
		if known[id] {
			n++
		}
	}
	share := float64(n) / float64(len(test.Y))
	if share < manyCopies {
		return nil
	}
	return &Finding{Level: Warning, Kind: "copies", Split: dataset.Test, Value: share, Text: fmt.Sprintf(
		"%d of the %d test rows (%.0f %%) are copies of training rows: the same %s, and nearly the same value in every feature; the figures say how well rows are remembered. Remove the copies from the table, or say group: a column whose value they share",
		n, len(test.Y), 100*share, spec.Target.Column)}
}
