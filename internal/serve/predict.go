package serve

import (
	"net/http"
	"runtime"
	"strconv"
	"sync"

	"mlops/internal/api"
	"mlops/internal/model"
)

const (
	chunk = 256       // records scored at a time; bounds the memory of a large request
	piece = 256 << 10 // bytes of an answer from which on it is sent in pieces
)

// predict answers POST /predict.
func (s *Server) predict(w http.ResponseWriter, r *http.Request) {
	served := s.served.Load()
	if served == nil {
		fail(w, s.noModel("No model is loaded"))
		return
	}
	if !isJSON(r.Header.Get("Content-Type")) {
		fail(w, api.Problem{Type: api.UnsupportedMedia, Status: http.StatusUnsupportedMediaType, Detail: "the body must be application/json"})
		return
	}
	if c := r.Header.Get("Content-Encoding"); c != "" && c != "identity" {
		fail(w, api.Problem{Type: api.UnsupportedMedia, Status: http.StatusUnsupportedMediaType, Detail: "the body must not have a Content-Encoding"})
		return
	}
	x := newExchange(&s.memory)
	defer x.free()
	if err := x.read(w, r); err != nil {
		fail(w, bodyProblem(err, len(x.body)))
		return
	}
	unknown, err := s.admit(x, served.model)
	if err != nil {
		fail(w, scoreProblem(err))
		return
	}
	if unknown > 0 {
		s.metrics.unknown.Add(float64(unknown))
	}
	w.Header()["Content-Type"] = jsonType
	positives := x.write(w, served)
	s.metrics.labels[1].Add(float64(positives))
	s.metrics.labels[0].Add(float64(len(x.scores) - positives))
}

// admit scores a request once it is its turn. Its place is only for what keeps a
// processor busy: reading and answering wait for the client, who may be slow.
func (s *Server) admit(x *exchange, m *model.Model) (unknown int, err error) {
	if err := x.reserve(); err != nil {
		return 0, err
	}
	lane := s.few
	if len(x.body) > small {
		lane = s.many
	}
	if !lane.enter() {
		return 0, errBusy
	}
	defer lane.leave()
	return s.score(x, m)
}

// write answers with the scores and returns how many of them are positive. What
// is large goes out in pieces: millions of empty records fit into a body, and
// their answer takes ten times its space.
func (x *exchange) write(w http.ResponseWriter, served *served) (positives int) {
	threshold := served.model.Serving.Threshold
	out := append(x.answer[:0], served.prefix...)
	whole := true
	for i, p := range x.scores {
		if i > 0 {
			out = append(out, ',')
		}
		if len(out) > piece {
			whole = false
			w.Write(out) // of no effect once the client has gone
			out = out[:0]
		}
		if float64(p) >= threshold {
			positives++
			out = append(out, `{"label":1,"probability":`...)
		} else {
			out = append(out, `{"label":0,"probability":`...)
		}
		out = strconv.AppendFloat(out, float64(p), 'g', -1, 32)
		out = append(out, '}')
	}
	x.answer = append(out, "]}\n"...)
	if whole {
		w.Header()["Content-Length"] = []string{strconv.Itoa(len(x.answer))}
	}
	w.Write(x.answer)
	return positives
}

var jsonType = []string{api.MediaType}

// bench is what a request that is being scored needs besides.
type bench struct {
	vectors []float32 // up to chunk vectors
	decoder decoder
}

var benches = sync.Pool{New: func() any { return new(bench) }}

// score decodes the body and leaves one probability a record in x.scores. All
// records are read before any is answered, so nothing is scored in part. It
// returns how many values training had not seen.
func score(x *exchange, m *model.Model) (unknown int, err error) {
	b := benches.Get().(*bench)
	width := m.Encoder.Width()
	if cap(b.vectors) < width*chunk {
		b.vectors = make([]float32, width*chunk)
	}
	vectors := b.vectors[:width*chunk]
	n := 0 // vectors filled
	flush := func() {
		at := len(x.scores)
		x.scores = append(x.scores, zeros[:n]...)
		m.Trees.ScoreBatch(vectors[:n*width], x.scores[at:])
		n = 0
	}
	err = b.decoder.decode(x.body, m.Encoder, func() []float32 {
		if n == chunk {
			flush()
			if len(x.body) > small {
				runtime.Gosched() // a small request need not wait for the end of a large one
			}
		}
		n++
		return vectors[(n-1)*width : n*width]
	})
	if err == nil {
		flush()
	}
	unknown = b.decoder.unknown
	b.decoder.release() // a version that was swapped out may go
	benches.Put(b)
	return unknown, err
}

var zeros [chunk]float32
