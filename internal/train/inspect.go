package train

import (
	"mlops/internal/dataset"
	"mlops/internal/inspect"
)

// Inspect looks for what makes a model of the rows doubtful or worthless. batches are
// the rows of each batch in which they came, in order; it may be nil.
func (d *Data) Inspect(spec *dataset.Spec, batches []int64) ([]inspect.Finding, error) {
	parts := map[string]inspect.Part{}
	for split, p := range d.Parts {
		parts[split] = inspect.Part{X: p.X, Y: p.Y}
	}
	train := parts[dataset.Train]
	train.Batch, train.Fold = batchesOf(d.places, batches), d.folds
	parts[dataset.Train] = train
	found, err := inspect.Rows(spec, inspect.FeaturesOf(spec, d.Encoder), parts)
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
