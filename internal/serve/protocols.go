package serve

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/gorilla/mux"

	"mlops/internal/api"
	"mlops/internal/dataset"
	"mlops/internal/protocol"
	release "mlops/internal/versions"
)

// Other protocols than our own: MLflow's scoring protocol, the Open Inference Protocol
// (V2), KServe's V1. Records, errors, limits and keys are those of POST /predict.

var (
	mlflowEnvelope = envelope{bare: true, open: func(_ *exchange, body []byte, most int) ([]byte, error) {
		return protocol.Invocations(body, most)
	}}
	v1Envelope = envelope{bare: true, kserve: true}
	v2Envelope = envelope{tensors: true, kserve: true, open: func(x *exchange, body []byte, most int) (records []byte, err error) {
		records, x.inference, err = protocol.Infer(body, most)
		return records, err
	}}
)

// protocols adds the routes of the other protocols.
func (s *Server) protocols(r *mux.Router) {
	get := func(path, name string, h http.HandlerFunc) {
		r.HandleFunc(path, s.observe(name, h)).Methods(http.MethodGet, http.MethodHead)
	}
	post := func(path string, e *envelope) {
		r.HandleFunc(path, s.observe("predict", func(w http.ResponseWriter, r *http.Request) {
			if s.named(w, r, e) {
				s.answer(w, r, e)
			}
		})).Methods(http.MethodPost)
	}
	post("/invocations", &mlflowEnvelope)
	for _, path := range []string{"/ping", "/health"} {
		r.HandleFunc(path, s.guard("ping", s.ready)).Methods(http.MethodGet, http.MethodHead)
	}
	get("/version", "protocol", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprint(w, release.Platform)
	})

	post("/v1/models/{name}:predict", &v1Envelope)
	get("/v1/models", "protocol", func(w http.ResponseWriter, _ *http.Request) {
		s.reply(w, map[string]any{"models": []string{s.options.Model}})
	})
	get("/v1/models/{name:[^/:]+}", "protocol", func(w http.ResponseWriter, r *http.Request) {
		if s.named(w, r, &v1Envelope) {
			s.reply(w, map[string]any{"name": s.options.Model, "ready": s.served.Load() != nil})
		}
	})

	get("/v2", "protocol", func(w http.ResponseWriter, _ *http.Request) {
		s.reply(w, protocol.ServerMetadata{Name: "mlops", Version: release.Platform, Extensions: []string{}})
	})
	get("/v2/health/live", "protocol", func(w http.ResponseWriter, _ *http.Request) { s.reply(w, map[string]any{"live": true}) })
	get("/v2/health/ready", "protocol", func(w http.ResponseWriter, _ *http.Request) {
		if s.draining.Load() || s.served.Load() == nil { // it can't infer
			v2Envelope.fail(w, s.noModel("Not ready"))
			return
		}
		s.reply(w, map[string]any{"ready": true})
	})
	for _, path := range []string{"/v2/models/{name}", "/v2/models/{name}/versions/{version}"} {
		post(path+"/infer", &v2Envelope)
		get(path, "protocol", s.v2Metadata)
		get(path+"/ready", "protocol", func(w http.ResponseWriter, r *http.Request) {
			if s.named(w, r, &v2Envelope) {
				s.v2Ready(w)
			}
		})
	}
}

// named reports whether the path names the model and version that are served, or none,
// and else responds that there is no such model.
func (s *Server) named(w http.ResponseWriter, r *http.Request, e *envelope) bool {
	vars := mux.Vars(r)
	detail := ""
	if name, ok := vars["name"]; ok && name != s.options.Model {
		detail = fmt.Sprintf("no model is called %q here; this server serves %q", clip([]byte(name)), s.options.Model)
	} else if version, ok := vars["version"]; ok {
		if served := s.served.Load(); served != nil && version != strconv.Itoa(served.version.Number) {
			detail = fmt.Sprintf("version %q is not served; it is version %d that is in production", clip([]byte(version)), served.version.Number)
		}
	}
	if detail != "" {
		e.fail(w, api.Problem{Type: api.NotFound, Status: http.StatusNotFound, Detail: detail})
		return false
	}
	return true
}

func (s *Server) reply(w http.ResponseWriter, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		fail(w, api.Problem{Status: http.StatusInternalServerError})
		return
	}
	w.Header()["Content-Type"] = jsonType
	w.Write(append(body, '\n'))
}

func (s *Server) v2Ready(w http.ResponseWriter) {
	if s.served.Load() == nil {
		v2Envelope.fail(w, s.noModel("Not ready"))
		return
	}
	s.reply(w, map[string]any{"name": s.options.Model, "ready": true})
}

// v2Metadata responds with the tensors that the model takes and gives.
func (s *Server) v2Metadata(w http.ResponseWriter, r *http.Request) {
	if !s.named(w, r, &v2Envelope) {
		return
	}
	served := s.served.Load()
	if served == nil {
		v2Envelope.fail(w, s.noModel("No model is loaded"))
		return
	}
	spec := served.model.Spec
	m := protocol.Metadata{Name: s.options.Model, Versions: []string{strconv.Itoa(served.version.Number)}, Platform: "mlops_xgboost"}
	for i := range spec.Columns {
		c := &spec.Columns[i]
		if spec.Ignored(i) && !(spec.LooksBack() && (c.Name == spec.Group || c.Name == spec.Order)) {
			continue
		}
		datatype := protocol.Bytes
		switch c.Type {
		case dataset.Integer:
			datatype = protocol.Int64
		case dataset.Number:
			datatype = protocol.FP64
		case dataset.Boolean:
			datatype = protocol.Bool
		}
		m.Inputs = append(m.Inputs, protocol.Tensor{Name: c.Name, Shape: []int{-1, 1}, Datatype: datatype})
	}
	for _, t := range served.tensors() {
		t.Shape[0] = -1
		m.Outputs = append(m.Outputs, t)
	}
	s.reply(w, m)
}

// tensors are those of a response, without data.
func (s *served) tensors() []protocol.Tensor {
	tensor := func(name, datatype string, width int) protocol.Tensor {
		return protocol.Tensor{Name: name, Shape: []int{0, width}, Datatype: datatype}
	}
	var list []protocol.Tensor
	switch t := s.task; {
	case t == nil:
		list = []protocol.Tensor{tensor("label", protocol.Int64, 1), tensor("probability", protocol.FP32, 1)}
	case t.classes == nil:
		list = []protocol.Tensor{tensor("value", protocol.FP32, 1), tensor("interval", protocol.FP64, 2)}
	default:
		list = []protocol.Tensor{tensor("label", protocol.Bytes, 1), tensor("probabilities", protocol.FP32, t.outputs)}
	}
	return append(list, tensor("excluded", protocol.Bytes, 1), tensor("warnings", protocol.Bytes, 1))
}

// gives checks that a response has the outputs that a request asks for.
func (s *served) gives(outputs []string) error {
	if len(outputs) == 0 {
		return nil
	}
	var names []string
	for _, t := range s.tensors() {
		names = append(names, t.Name)
	}
	for _, name := range outputs {
		if !slices.Contains(names, name) {
			return &requestError{notJSON: true, detail: fmt.Sprintf("there is no output %q, only %s", name, strings.Join(names, ", "))}
		}
	}
	return nil
}

// writeTensors responds with a tensor for each part of a prediction. A record that the
// cohort leaves out has the label -1 or "", null for numbers, and the reason in
// excluded; warnings are JSON texts, "" where there is none.
func (x *exchange) writeTensors(w http.ResponseWriter, served *served) {
	t, outputs := served.task, served.model.Trees.Outputs()
	records := len(x.scores) / outputs
	p := &pieces{w: w, exchange: x, out: x.response[:0]}
	p.out = fmt.Appendf(p.out, `{"model_name":%s,"model_version":"%d"`, quoted(served.version.Name), served.version.Number)
	if x.inference.ID != "" {
		p.out = append(append(p.out, `,"id":`...), quoted(x.inference.ID)...)
	}
	p.out = append(p.out, `,"outputs":[`...)
	separator := ""
	for _, tensor := range served.tensors() {
		if x.inference.Outputs != nil && !slices.Contains(x.inference.Outputs, tensor.Name) {
			continue
		}
		p.out = fmt.Appendf(p.out, `%s{"name":"%s","shape":[%d,%d],"datatype":"%s","data":[`, separator, tensor.Name, records, tensor.Shape[1], tensor.Datatype)
		separator = ","
		warnings := x.warnings
		next := func(i int) {
			p.flush()
			if i > 0 {
				p.out = append(p.out, ',')
			}
		}
		x.each(outputs, func(i int, scores []float32) {
			next(i)
			switch tensor.Name {
			case "label":
				switch {
				case t != nil:
					p.out = append(p.out, t.classes[t.best(scores)]...)
				case float64(scores[0]) >= served.model.Serving.Threshold:
					p.out = append(p.out, '1')
				default:
					p.out = append(p.out, '0')
				}
			case "interval":
				v := finite(scores[0])
				p.out = append(appendNumber(p.out, v-t.halfWidth), ',')
				p.out = appendNumber(p.out, v+t.halfWidth)
			case "excluded":
				p.out = append(p.out, `""`...)
			case "warnings":
				if len(warnings) == 0 || int(warnings[0].record) != i {
					p.out = append(p.out, `""`...)
					break
				}
				var texts []api.Warning
				texts, warnings = x.warningsOf(warnings, served)
				text, err := json.Marshal(texts)
				if err != nil {
					panic(err) // strings
				}
				p.out = append(p.out, quoted(string(text))...)
			default:
				for k, score := range scores {
					if k > 0 {
						p.out = append(p.out, ',')
					}
					p.out = strconv.AppendFloat(p.out, finite(score), 'g', -1, 32)
				}
			}
		}, func(i, rule int) {
			next(i)
			switch {
			case tensor.Name == "excluded":
				p.out = append(p.out, quoted(served.model.Spec.Cohort[rule].Because)...)
			case tensor.Datatype == protocol.Bytes:
				p.out = append(p.out, `""`...)
			case tensor.Name == "label":
				p.out = append(p.out, "-1"...)
			default:
				p.out = append(p.out, "null"...)
				for range tensor.Shape[1] - 1 {
					p.out = append(p.out, ",null"...)
				}
			}
		})
		p.out = append(p.out, "]}"...)
	}
	p.out = append(p.out, "]}\n"...)
	p.end()
	x.response = p.out[:0]
}

// finite is a value as JSON can have it.
func finite(v float32) float64 { return float64(min(max(v, -math.MaxFloat32), math.MaxFloat32)) }
