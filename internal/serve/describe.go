package serve

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"mlops/internal/api"
	"mlops/internal/dataset"
	"mlops/internal/feature"
	"mlops/internal/headers"
	"mlops/internal/model"
)

// describe responds to GET /model.
func (s *Server) describe(w http.ResponseWriter, r *http.Request) {
	served := s.served.Load()
	if served == nil {
		fail(w, s.noModel("No model is loaded"))
		return
	}
	m := served.description
	if r := s.refused.Load(); r != nil {
		m.Refused = &r.Refusal
	}
	m.Dataset.Earlier = s.describeEarlier(served)
	if s.shadow != nil {
		m.Challenger = s.shadow.describe()
	}
	body, err := json.Marshal(m)
	if err != nil {
		fail(w, api.Problem{Status: http.StatusInternalServerError})
		return
	}
	sum := sha256.Sum256(body)
	tag := `"` + hex.EncodeToString(sum[:8]) + `"`
	w.Header().Set("ETag", tag)
	w.Header().Set("Cache-Control", "no-store")
	if headers.Unmodified(r, tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.Header()["Content-Type"] = jsonType
	w.Write(append(body, '\n'))
}

// description is what GET /model says of a served version.
func description(s *served) api.Model {
	spec, serving := s.model.Spec, s.model.Serving
	m := api.Model{
		Model:     wireVersion(s.version),
		LoadedAt:  s.loadedAt,
		CreatedAt: serving.Created,
		Task:      spec.Task,
		Threshold: serving.Threshold,
		Metrics:   serving.Metrics,
		Synthetic: spec.Synthetic,

		TestOutputs: serving.TestOutputs,
		Links:       api.Links{History: pathEvents},
		Dataset: api.Dataset{
			Name:        spec.Name,
			Title:       spec.Title,
			Description: spec.Description,
			Cite:        spec.Source.Cite,
			Missing:     spec.Missing,
			Target: api.Target{
				Column:  spec.Target.Column,
				Labels:  api.Labels{Positive: spec.Target.Labels.Positive, Negative: spec.Target.Labels.Negative},
				Classes: spec.Target.Classes,
			},
			Columns: columns(s.model.Encoder),
		},
	}
	if s.model.Encoder.Seen == nil {
		m.NoWarnings = "the version was trained before training kept what it saw; the next one has them"
	}
	if file := (api.File{Encoding: spec.Source.Encoding, Decimal: spec.Source.Decimal, Thousands: spec.Source.Thousands}); file != (api.File{}) {
		m.Dataset.File = &file
	}
	for _, e := range spec.Cohort {
		m.Dataset.Cohort = append(m.Dataset.Cohort, api.Exclusion{Column: e.Column, Values: e.Values, Because: e.Because})
	}
	if s.hasCard() {
		m.Links.Card = pathCard
	}
	m.Model.Candidate = serving.Candidate
	for _, sample := range serving.Samples {
		m.Samples = append(m.Samples, wireSample(spec, sample))
	}
	if i := serving.Interval; i != nil {
		m.Interval = &api.Interval{Coverage: i.Coverage, HalfWidth: i.HalfWidth, Test: i.Test}
	}
	return m
}

// wireSample is a sample as the API shows it.
func wireSample(spec *dataset.Spec, s model.Sample) api.Sample {
	out := api.Sample{Record: s.Record, Earlier: earlierOf(s.Earlier), Probability: s.Probability, Value: s.Value}
	if s.Probabilities != nil {
		out.Probabilities = make(map[string]float64, len(s.Probabilities))
		for k, p := range s.Probabilities {
			out.Probabilities[spec.Target.Classes[k]] = p
		}
	}
	return out
}

// columns are the columns that a client may set, in the table's order.
func columns(e *feature.Encoder) []api.Column {
	spec := e.Spec()
	var list []api.Column
	for i := range spec.Columns {
		if spec.Ignored(i) {
			continue
		}
		c := &spec.Columns[i]
		var names []api.Range
		for _, r := range c.Names {
			names = append(names, api.Range(r))
		}
		list = append(list, api.Column{
			Name: c.Name, Type: string(c.Type), Label: c.Label, Form: c.Form,
			Values: c.Values, Codes: codes(c.Codes), Names: names, Min: c.Min, Max: c.Max,
			Missing: c.Missing, Format: c.Format, Earliest: c.Earliest, Latest: c.Latest, Required: c.Required, Seen: seen(e, c.Name),
		})
	}
	return list
}

// seen is what training saw of a column, nil if no feature uses it or it isn't known.
func seen(e *feature.Encoder, column string) *api.Seen {
	s := e.Seen.Of(column)
	if s == nil {
		return nil
	}
	return &api.Seen{Missing: float64(s.Missing) / float64(e.Seen.Rows), Min: s.Min, Max: s.Max, Levels: s.Levels, Typical: s.Typical}
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
