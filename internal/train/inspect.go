package train

import (
	"hash/fnv"

	"mlops/internal/dataset"
	"mlops/internal/inspect"
)

// Inspect looks for what makes a model of the rows doubtful or worthless. batches are
// the rows of each batch in which they came, in order; it may be nil.
func (d *Data) Inspect(spec *dataset.Spec, batches []int64) ([]inspect.Finding, error) {
	features := make([]inspect.Feature, len(d.Encoder.Features))
	for i := range features {
		f := &d.Encoder.Features[i]
		features[i] = inspect.Feature{Name: f.Name, Columns: spec.Features[i].Columns()}
		if f.Categorical {
			features[i].Codes, features[i].Levels = f.Codes(), f.Levels
		}
	}
	parts := map[string]inspect.Part{}
	for split, p := range d.Parts {
		parts[split] = inspect.Part{X: p.X, Y: p.Y}
	}
	train := parts[dataset.Train]
	train.Batch, train.Fold = batchesOf(d.places, batches), d.folds
	parts[dataset.Train] = train
	found, err := inspect.Rows(spec, features, parts)
	return append(found, inspect.Target(&spec.Target, d.targets)...), err
}

// batchesOf returns the batch of each place.
func batchesOf(places, batches []int64) []int32 {
	if len(batches) == 0 {
		return nil
	}
	of := make([]int32, len(places))
	batch, end := 0, batches[0]
	for i, place := range places {
		for place >= end && batch+1 < len(batches) {
			batch++
			end += batches[batch]
		}
		of[i] = int32(batch)
	}
	return of
}

// foldOf is the fold of a row: that of its group where it has one, else that of its
// number.
func foldOf(fields [][]byte, group, number int) uint8 {
	if group < 0 || fields[group] == nil {
		return uint8(number % inspect.Folds)
	}
	h := fnv.New32a()
	h.Write(fields[group])
	return uint8(h.Sum32() % inspect.Folds)
}
