package train

import (
	"mlops/internal/dataset"
	"mlops/internal/inspect"
)

// Inspect looks for what makes a model of the rows doubtful or worthless.
func (d *Data) Inspect(spec *dataset.Spec) ([]inspect.Finding, error) {
	features := make([]inspect.Feature, len(d.Encoder.Features))
	for i := range features {
		f := &d.Encoder.Features[i]
		features[i] = inspect.Feature{Name: f.Name, Columns: spec.Features[i].Columns()}
		if f.Categorical {
			features[i].Codes = f.Codes()
		}
	}
	parts := map[string]inspect.Part{}
	for split, p := range d.Parts {
		parts[split] = inspect.Part{X: p.X, Y: p.Y}
	}
	return inspect.Rows(spec, features, parts)
}
