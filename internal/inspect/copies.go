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
// columns but one. alike has the same number for rows that agree in all columns, whatever
// their target. y is what Spec.Label says of each row, and value what one of so many
// columns has in a row, as Column.Values has it.
func Copies(spec *dataset.Spec, columns int, value func(column, row int) float32, y []float32) (ids, alike []uint64) {
	if columns < 3 || len(y) == 0 {
		return nil, nil
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
	ids, alike = make([]uint64, len(y)), make([]uint64, len(y))
	for row := range ids {
		for i := range columns {
			alike[row] += Scatter(of(i, row))
		}
		ids[row] = alike[row] + Scatter(part(y[row], target.width))
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
		return nil, nil
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
			return nil, nil
		}
	}
	return ids, alike
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

// Recalled is how much rows say of the target of others that are alike in all columns.
type Recalled struct {
	Beyond float64 // share of the error that small trees make of such rows: 0 where rows agree by chance, 1 where they are copies
	Worth  float64 // share of the target's variance in all rows
}

// Recall measures what rows that are alike say of each other beyond what trees say that saw
// none of them. People who give the same answers have other outcomes as often as their
// answers make likely; copies have the same. ids and alike are as Copies returns them, and x
// has one vector per row.
func Recall(spec *dataset.Spec, features []Feature, x func(row int) []float32, y []float32, ids, alike []uint64) Recalled {
	outcome := func(v float32) float32 { return v }
	if spec.Task == dataset.Multiclass {
		outcome = outcomeOf(spec, y)
	}
	var few, labels []float32
	var cells, copies []uint64
	var halves [2][]int
	for every := uint64(1 + (len(y)-1)/mostTogether); len(labels) == 0 && every > 0; every /= 2 {
		for row, cell := range alike {
			if h := Scatter(cell + 1); h%every == 0 {
				half := h >> 63
				halves[half] = append(halves[half], len(labels))
				few, labels, cells = append(few, x(row)...), append(labels, outcome(y[row])), append(cells, cell)
				copies = append(copies, ids[row])
			}
		}
	}
	type cell struct{ rows, mean, squares, off float64 }
	var within, off, rows, copied, all, total float64
	for half := range halves {
		measured := halves[half]
		g := boost(features, few, labels, halves[1-half], measured, spec.Task == dataset.Regression)
		if g == nil {
			return Recalled{}
		}
		scores, mean := g.scores(nil), 0.0
		known, of := map[uint64]*cell{}, map[uint64]float64{}
		for i, row := range measured {
			y, p := float64(g.y[i]), scores[i]
			if !g.values {
				p = 1 / (1 + math.Exp(-p))
			}
			c := known[cells[row]]
			if c == nil {
				c = &cell{}
				known[cells[row]] = c
			}
			c.rows++
			of[copies[row]]++
			d := y - c.mean
			c.mean += d / c.rows
			c.squares += d * (y - c.mean)
			c.off += (y - p) * (y - p)
			mean += y / float64(len(measured))
		}
		for _, y := range g.y {
			total += (float64(y) - mean) * (float64(y) - mean)
			all++
		}
		for _, n := range of {
			if n > 1 {
				copied += n
			}
		}
		for _, c := range known {
			if c.rows > 1 {
				within, off, rows = within+c.rows*c.squares/(c.rows-1), off+c.off, rows+c.rows
			}
		}
	}
	if off == 0 || total == 0 {
		return Recalled{}
	}
	r := Recalled{Beyond: 1 - within/off}
	r.Worth = r.Beyond * copied / all * min(1, off/rows/(total/all)) // trees may do worse than the mean
	return r
}

// Copies stop training if what they say is nearly all that trees can't tell, and so much of
// the target's variance: of 1,065 targets of real tables none is beyond both. From the lower
// bounds on they are a warning.
const (
	stopBeyond, stopWorth = 0.9, 0.2
	saidBeyond, saidWorth = 0.5, 0.05
)

// Level is how bad such copies are; "" if they are none, or hardly matter.
func (r Recalled) Level() Level {
	switch {
	case r.Beyond >= stopBeyond && r.Worth >= stopWorth:
		return Stop
	case r.Beyond >= saidBeyond && r.Worth >= saidWorth:
		return Warning
	}
	return ""
}

// copied finds test rows that are copies of training rows, unless the spec allows them.
func copied(spec *dataset.Spec, features []Feature, train, test Part) *Finding {
	if spec.AllowCopies {
		return nil
	}
	width := len(features)
	vector := func(row int) []float32 {
		of := train.X
		if n := len(train.Y); row >= n {
			row, of = row-n, test.X
		}
		return of[row*width : (row+1)*width]
	}
	y := slices.Concat(train.Y, test.Y)
	ids, alike := Copies(spec, width, func(column, row int) float32 { return vector(row)[column] }, y)
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
	recalled := Recall(spec, features, vector, y, ids, alike)
	if recalled.Level() == "" {
		return nil
	}
	return &Finding{Level: recalled.Level(), Kind: "copies", Split: dataset.Test, Value: share, Text: fmt.Sprintf(
		"%d of the %d test rows (%.0f %%) are copies of training rows: the same %s, which their values don't explain, and nearly the same value in every feature; the figures say how well rows are remembered. Remove the copies from the table, or say group: a column whose value they share; if they are right, allow_copies: true",
		n, len(test.Y), 100*share, spec.Target.Column)}
}
