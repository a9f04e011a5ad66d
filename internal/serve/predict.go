package serve

import (
	"fmt"
	"net/http"
	"runtime"
	"strconv"
	"sync"

	"mlops/internal/api"
	"mlops/internal/model"
)

const (
	chunk     = 256       // records scored at a time; bounds the memory of a large request
	flushSize = 256 << 10 // bytes of a response beyond which it is sent in pieces
)

// predict responds to POST /predict.
func (s *Server) predict(w http.ResponseWriter, r *http.Request) {
	served := s.served.Load()
	if served == nil {
		fail(w, s.noModel("No model is loaded"))
		return
	}
	if !isJSON(r.Header.Get("Content-Type")) {
		fail(w, api.Problem{Type: api.UnsupportedMedia, Status: http.StatusUnsupportedMediaType, Detail: wrongType(r.Header.Get("Content-Type"))})
		return
	}
	if c := r.Header.Get("Content-Encoding"); c != "" && c != "identity" {
		fail(w, api.Problem{Type: api.UnsupportedMedia, Status: http.StatusUnsupportedMediaType, Detail: fmt.Sprintf("the body has the Content-Encoding %q; send it uncompressed", clip([]byte(c)))})
		return
	}
	x := newExchange(&s.memory)
	defer x.free()
	if r.URL.RawQuery != "" {
		var err error
		if x.explained, err = explainParameter(r.URL.RawQuery); err != nil {
			fail(w, explainProblem(err))
			return
		}
		if err := served.model.Trees.Explainable(); x.explained != nil && err != nil {
			fail(w, explainProblem(err))
			return
		}
	}
	if err := x.read(w, r); err != nil {
		fail(w, bodyProblem(err, len(x.body)))
		return
	}
	x.earlier = served.model.Earlier
	unknown, err := s.admit(x, served.model)
	if err != nil {
		fail(w, scoreProblem(err))
		return
	}
	if unknown > 0 {
		s.metrics.UnknownValues.Add(float64(unknown))
	}
	w.Header()["Content-Type"] = jsonType
	if served.task == nil {
		positives := x.write(w, served)
		s.predictions[1].Add(float64(positives))
		s.predictions[0].Add(float64(len(x.scores) - len(x.excluded) - positives))
	} else {
		x.writeTask(w, served)
	}
	for _, e := range x.excluded {
		served.excluded[e.rule].count.Inc()
	}
	if len(x.warnings) > 0 {
		served.warned.add(x.warnings)
	}
}

// admit scores a request once it has a slot. It holds the slot only for what keeps
// a processor busy: reading and responding wait for the client, which may be slow.
func (s *Server) admit(x *exchange, m *model.Model) (unknown int, err error) {
	if err := x.reserve(m.Trees.Outputs()); err != nil {
		return 0, err
	}
	if x.explained != nil {
		if err := x.explained.reserve(x, m.Encoder.Width()); err != nil {
			return 0, err
		}
	}
	slots := s.small
	if len(x.body) > smallBody {
		slots = s.large
	}
	if !slots.acquire() {
		return 0, errBusy
	}
	defer slots.release()
	return s.score(x, m)
}

// write responds with the scores, or the reasons for none, and returns how many are
// positive. A large response goes out in pieces: millions of empty records fit into
// a body, and the response to them takes ten times its size.
func (x *exchange) write(w http.ResponseWriter, served *served) (positives int) {
	threshold := served.model.Serving.Threshold
	out := append(x.response[:0], served.prefix...)
	whole := true
	warnings, excluded := x.warnings, x.excluded
	x.explained.begin(x.body, served)
	for i, p := range x.scores {
		if i > 0 {
			out = append(out, ',')
		}
		x.explained.next()
		if len(out) > flushSize {
			whole = false
			if _, err := w.Write(out); err != nil {
				// The client is gone: what is left is counted, and not written for nobody.
				x.response = out[:0]
				return positives + x.positives(i, excluded, threshold)
			}
			out = out[:0]
		}
		if len(excluded) > 0 && int(excluded[0].record) == i {
			out = append(out, served.excluded[excluded[0].rule].prediction...)
			excluded = excluded[1:]
			continue
		}
		if float64(p) >= threshold {
			positives++
			out = append(out, `{"label":1,"probability":`...)
		} else {
			out = append(out, `{"label":0,"probability":`...)
		}
		out = strconv.AppendFloat(out, float64(p), 'g', -1, 32)
		if len(warnings) > 0 && int(warnings[0].record) == i {
			out, warnings = appendWarnings(out, warnings, x.body, served.model.Encoder)
		}
		if x.explained != nil {
			out = x.explained.append(out, i, served, nil)
		}
		out = append(out, '}')
	}
	x.response = append(out, "]}\n"...)
	if whole {
		w.Header()["Content-Length"] = []string{strconv.Itoa(len(x.response))}
	}
	w.Write(x.response)
	return positives
}

// positives counts the positive predictions from the i-th record on; excluded are the
// records from there on that have none.
func (x *exchange) positives(i int, excluded []exclusion, threshold float64) (n int) {
	for ; i < len(x.scores); i++ {
		if len(excluded) > 0 && int(excluded[0].record) == i {
			excluded = excluded[1:]
		} else if float64(x.scores[i]) >= threshold {
			n++
		}
	}
	return n
}

var jsonType = []string{api.MediaType}

// workspace is what scoring a request needs besides its exchange.
type workspace struct {
	vectors []float32 // up to chunk vectors
	decoder decoder
}

var workspaces = sync.Pool{New: func() any { return new(workspace) }}

// score decodes the body and leaves the model's outputs per record in x.scores. It
// reads all records before any response begins, so no request is answered in part.
// It returns how many values training had not seen.
func score(x *exchange, m *model.Model) (unknown int, err error) {
	ws := workspaces.Get().(*workspace)
	width := m.Encoder.Width()
	if cap(ws.vectors) < width*chunk {
		ws.vectors = make([]float32, width*chunk)
	}
	vectors := ws.vectors[:width*chunk]
	n := 0 // vectors filled
	flush := func() {
		at := len(x.scores)
		for range m.Trees.Outputs() {
			x.scores = append(x.scores, zeros[:n]...)
		}
		m.Trees.ScoreBatch(vectors[:n*width], x.scores[at:])
		if x.explained != nil {
			x.explained.keep(vectors[:n*width], width)
		}
		n = 0
	}
	ws.decoder.exchange = x
	err = ws.decoder.decode(x.body, m.Encoder, func() []float32 {
		if n == chunk {
			flush()
			if len(x.body) > smallBody {
				runtime.Gosched() // small requests need not wait for the end of a large one
			}
		}
		n++
		return vectors[(n-1)*width : n*width]
	})
	if err == nil {
		flush()
		if x.explained != nil {
			err = x.explain(m)
		}
	}
	unknown = ws.decoder.unknown
	ws.decoder.release() // a version that was replaced can be collected
	workspaces.Put(ws)
	return unknown, err
}

var zeros [chunk]float32
