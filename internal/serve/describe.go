package serve

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"mlops/internal/api"
	"mlops/internal/dataset"
)

// describe responds to GET /model.
func (s *Server) describe(w http.ResponseWriter, _ *http.Request) {
	served := s.served.Load()
	if served == nil {
		fail(w, s.noModel("No model is loaded"))
		return
	}
	m := served.description
	if r := s.refused.Load(); r != nil {
		m.Refused = &r.Refusal
	}
	body, err := json.Marshal(m)
	if err != nil {
		fail(w, api.Problem{Status: http.StatusInternalServerError})
		return
	}
	w.Header()["Content-Type"] = jsonType
	w.Header().Set("Cache-Control", "no-store")
	w.Write(append(body, '\n'))
}

// description is what GET /model says of a served version.
func description(s *served) api.Model {
	spec, serving := s.model.Spec, s.model.Serving
	m := api.Model{
		Model:     wireVersion(s.version),
		LoadedAt:  s.loadedAt,
		CreatedAt: serving.Created,
		Threshold: serving.Threshold,
		Metrics:   serving.Metrics,
		Dataset: api.Dataset{
			Name:        spec.Name,
			Title:       spec.Title,
			Description: spec.Description,
			Cite:        spec.Source.Cite,
			Missing:     spec.Missing,
			Target: api.Target{
				Column: spec.Target.Column,
				Labels: api.Labels{Positive: spec.Target.Labels.Positive, Negative: spec.Target.Labels.Negative},
			},
			Columns: columns(spec),
		},
	}
	m.Model.Candidate = serving.Candidate
	for _, sample := range serving.Samples {
		m.Samples = append(m.Samples, api.Sample{Record: sample.Record, Probability: sample.Probability})
	}
	return m
}

// columns are the columns that a client may set, in the table's order.
func columns(spec *dataset.Spec) []api.Column {
	var list []api.Column
	for i := range spec.Columns {
		if spec.Ignored(i) {
			continue
		}
		c := &spec.Columns[i]
		list = append(list, api.Column{
			Name: c.Name, Type: string(c.Type), Label: c.Label, Form: c.Form,
			Values: c.Values, Codes: codes(c.Codes), Min: c.Min, Max: c.Max,
		})
	}
	return list
}

// codes lists the names of codes: in numeric order if all codes are numbers.
func codes(names map[string]string) []api.Code {
	var list []api.Code
	for code, name := range names {
		list = append(list, api.Code{Code: code, Name: name})
	}
	slices.SortFunc(list, func(a, b api.Code) int {
		x, errX := strconv.Atoi(a.Code)
		y, errY := strconv.Atoi(b.Code)
		if errX == nil && errY == nil {
			return x - y
		}
		return strings.Compare(a.Code, b.Code)
	})
	return list
}
