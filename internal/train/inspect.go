package train

import (
	"fmt"
	"slices"

	"mlops/internal/dataset"
	"mlops/internal/ingest"
	"mlops/internal/inspect"
)

// Inspect looks for what makes a model of the rows doubtful or worthless. arrivals says
// when each row of the data set came, in the order in which they were read; it may be
// nil. Training rows that were read in another order are brought into that of their
// arrival.
func (d *Data) Inspect(spec *dataset.Spec, arrivals []ingest.Arrival) ([]inspect.Finding, error) {
	d.arrange(arrivals)
	parts := map[string]inspect.Part{}
	for split, p := range d.Parts {
		parts[split] = inspect.Part{X: p.X, Y: p.Y}
	}
	train := parts[dataset.Train]
	train.Batch, train.Fold = batchesOf(d.places, arrivals), d.folds
	parts[dataset.Train] = train
	found, err := inspect.Rows(spec, inspect.FeaturesOf(spec, d.Encoder), parts)
	found = append(inspect.OfFeatures(spec, d.computed), found...)
	return append(found, inspect.Target(&spec.Target, d.targets)...), err
}

// batchesOf returns the batch of each place.
func batchesOf(places []int64, arrivals []ingest.Arrival) []int32 {
	if len(arrivals) == 0 {
		return nil
	}
	of := make([]int32, len(places))
	for i, place := range places {
		of[i] = arrivals[place].Batch
	}
	return of
}

// arrange brings the training rows into the order in which they came.
func (d *Data) arrange(arrivals []ingest.Arrival) {
	earlier := func(a, b int64) int { return arrivals[a].Compare(arrivals[b]) }
	if len(arrivals) == 0 || slices.IsSortedFunc(d.places, earlier) {
		return
	}
	from := make([]int, len(d.places)) // the row that belongs at each index
	for i := range from {
		from[i] = i
	}
	slices.SortFunc(from, func(a, b int) int { return earlier(d.places[a], d.places[b]) })
	p, width := d.Parts[dataset.Train], d.Encoder.Width()
	p.weight, p.groups.Of = inOrder(p.weight, from), inOrder(p.groups.Of, from)
	row := func(i int) []float32 { return p.X[i*width : (i+1)*width] }
	held := make([]float32, width)
	// Each cycle of the permutation is moved with one row held.
	for start := range from {
		if from[start] == start {
			continue
		}
		copy(held, row(start))
		y, place, fold := p.Y[start], d.places[start], d.folds[start]
		at := start
		for from[at] != start {
			next := from[at]
			copy(row(at), row(next))
			p.Y[at], d.places[at], d.folds[at] = p.Y[next], d.places[next], d.folds[next]
			from[at], at = at, next
		}
		copy(row(at), held)
		p.Y[at], d.places[at], d.folds[at] = y, place, fold
		from[at] = at
	}
}

// inOrder returns what belongs at each index; nothing if there is nothing.
func inOrder[T any](of []T, from []int) []T {
	if len(of) == 0 {
		return nil
	}
	out := make([]T, len(of))
	for i, at := range from {
		out[i] = of[at]
	}
	return out
}

// Order says what is odd about the order of the rows that features look back at.
func Order(spec *dataset.Spec, d ingest.Displaced) []inspect.Finding {
	var found []inspect.Finding
	add := func(rows int64, text string) {
		if rows > 0 {
			found = append(found, inspect.Finding{Level: inspect.Warning, Kind: "order", Value: float64(rows), Text: text})
		}
	}
	add(d.Late, fmt.Sprintf("%d rows came in a later batch than rows that follow them by %s, such as: %s; each takes its place in the order, so that earlier trainings saw the rows after it without it", d.Late, spec.Order, d.Example))
	add(d.Unplaced, fmt.Sprintf("%d rows have no %s: they count as the last of their group and see all rows that have one", d.Unplaced, spec.Order))
	add(d.Alone, fmt.Sprintf("%d rows have no %s: they have no earlier rows", d.Alone, spec.Group))
	add(d.Tied, fmt.Sprintf("%d rows share their %s with another row of their group: neither counts as earlier", d.Tied, spec.Order))
	return found
}
