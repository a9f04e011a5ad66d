package serve

import (
	"encoding/json"
	"sort"
	"strconv"
	"time"

	"mlops/internal/dataset"
	"mlops/internal/model"
)

// description is the answer of GET /model, from which the page is built.
type description struct {
	Model struct {
		version
		Candidate string `json:"candidate"`
	} `json:"model"`
	LoadedAt  time.Time          `json:"loaded_at"`
	CreatedAt time.Time          `json:"created_at"`
	Threshold float64            `json:"threshold"`
	Metrics   map[string]float64 `json:"metrics"`
	Dataset   datasetView        `json:"dataset"`
	Samples   []model.Sample     `json:"samples"`
}

type datasetView struct {
	Name        string       `json:"name"`
	Title       string       `json:"title"`
	Description string       `json:"description"`
	Cite        string       `json:"cite,omitempty"`
	Missing     []string     `json:"missing"` // markers of a missing value, besides the empty field
	Target      targetView   `json:"target"`
	Columns     []columnView `json:"columns"`
}

type targetView struct {
	Column string `json:"column"`
	Labels struct {
		Positive string `json:"positive"`
		Negative string `json:"negative"`
	} `json:"labels"`
}

type columnView struct {
	Name   string       `json:"name"`
	Type   dataset.Type `json:"type"`
	Label  string       `json:"label"`
	Form   string       `json:"form,omitempty"`
	Values []string     `json:"values,omitempty"`
	Codes  []codeView   `json:"codes,omitempty"`
	Min    *float64     `json:"min,omitempty"`
	Max    *float64     `json:"max,omitempty"`
}

type codeView struct {
	Code string `json:"code"`
	Name string `json:"name"`
}

// describe writes what does not change while a version is served.
func describe(s *served) ([]byte, error) {
	spec, serving := s.model.Spec, s.model.Serving
	d := description{
		LoadedAt:  s.loadedAt,
		CreatedAt: serving.Created,
		Threshold: serving.Threshold,
		Metrics:   serving.Metrics,
		Samples:   serving.Samples,
		Dataset: datasetView{
			Name:        spec.Name,
			Title:       spec.Title,
			Description: spec.Description,
			Cite:        spec.Source.Cite,
			Missing:     spec.Missing,
			Target:      targetView{Column: spec.Target.Column},
		},
	}
	d.Model.version, d.Model.Candidate = wire(s.version), serving.Candidate
	d.Dataset.Target.Labels.Positive = spec.Target.Labels.Positive
	d.Dataset.Target.Labels.Negative = spec.Target.Labels.Negative
	for i := range spec.Columns {
		if spec.Ignored(i) {
			continue
		}
		c := &spec.Columns[i]
		d.Dataset.Columns = append(d.Dataset.Columns, columnView{
			Name: c.Name, Type: c.Type, Label: c.Label, Form: c.Form,
			Values: c.Values, Codes: codes(c.Codes), Min: c.Min, Max: c.Max,
		})
	}
	return json.Marshal(d)
}

// codes lists code names, in the codes' order as numbers where they are numbers.
func codes(names map[string]string) []codeView {
	var out []codeView
	for code, name := range names {
		out = append(out, codeView{code, name})
	}
	sort.Slice(out, func(i, j int) bool {
		a, errA := strconv.Atoi(out[i].Code)
		b, errB := strconv.Atoi(out[j].Code)
		if errA == nil && errB == nil {
			return a < b
		}
		return out[i].Code < out[j].Code
	})
	return out
}
