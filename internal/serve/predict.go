package serve

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"sync"

	"mlops/internal/model"
)

const (
	maxBody = 32 << 20  // bytes of a request's body
	chunk   = 256       // records scored at a time; bounds the memory of a large request
	piece   = 256 << 10 // bytes of an answer from which on it is sent in pieces
)

// scratch are the buffers of one request; a pool keeps them for the next.
type scratch struct {
	body    []byte
	vectors []float32 // up to chunk vectors
	scores  []float32 // one a record
	answer  []byte
	decoder decoder
}

// maxKept bounds what a buffer may hold on to between requests, so that one
// large request does not cost memory for ever.
const maxKept = 1 << 20

var scratches = sync.Pool{New: func() any { return new(scratch) }}

func (s *scratch) free() {
	if cap(s.body) > maxKept || 4*cap(s.scores) > maxKept {
		return
	}
	d := &s.decoder
	d.text, d.spec, d.encoder = nil, nil, nil // a version that was swapped out may go
	scratches.Put(s)
}

// predict answers POST /predict.
func (s *Server) predict(w http.ResponseWriter, r *http.Request) {
	served := s.served.Load()
	if served == nil {
		s.noModel("No model to answer with").write(w)
		return
	}
	if !isJSON(r.Header.Get("Content-Type")) {
		problem{Type: problemMedia, Status: http.StatusUnsupportedMediaType, Detail: "the body must be application/json"}.write(w)
		return
	}
	if c := r.Header.Get("Content-Encoding"); c != "" && c != "identity" {
		problem{Type: problemMedia, Status: http.StatusUnsupportedMediaType, Detail: "the body must come as it is, without a Content-Encoding"}.write(w)
		return
	}
	buf := scratches.Get().(*scratch)
	defer buf.free()

	var err error
	if buf.body, err = readBody(w, r, buf.body[:0]); err != nil {
		bodyProblem(err, len(buf.body)).write(w)
		return
	}
	if err := buf.score(served.model); err != nil {
		var bad *fieldError
		if errors.As(err, &bad) {
			requestProblem(bad).write(w)
			return
		}
		problem{Status: http.StatusInternalServerError}.write(w)
		return
	}
	if buf.decoder.unknown > 0 {
		s.metrics.unknown.Add(float64(buf.decoder.unknown))
	}
	w.Header()["Content-Type"] = jsonType
	positives := buf.write(w, served)
	s.metrics.labels[1].Add(float64(positives))
	s.metrics.labels[0].Add(float64(len(buf.scores) - positives))
}

// write answers with the scores and returns how many of them are positive. What
// is large goes out in pieces: millions of empty records fit into a body, and
// their answer takes ten times its space.
func (s *scratch) write(w http.ResponseWriter, served *served) (positives int) {
	threshold := served.model.Serving.Threshold
	out := append(s.answer[:0], served.prefix...)
	whole := true
	for i, p := range s.scores {
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
	s.answer = append(out, "]}\n"...)
	if whole {
		w.Header()["Content-Length"] = []string{strconv.Itoa(len(s.answer))}
	}
	w.Write(s.answer)
	return positives
}

var jsonType = []string{"application/json"}

// score decodes the body and leaves one probability a record in scores. All
// records are read before any is answered, so nothing is scored in part.
func (s *scratch) score(m *model.Model) error {
	width := m.Encoder.Width()
	if cap(s.vectors) < width*chunk {
		s.vectors = make([]float32, width*chunk)
	}
	vectors := s.vectors[:width*chunk]
	s.scores = s.scores[:0]
	n := 0 // vectors filled
	flush := func() {
		at := len(s.scores)
		s.scores = append(s.scores, zeros[:n]...)
		m.Trees.ScoreBatch(vectors[:n*width], s.scores[at:])
		n = 0
	}
	err := s.decoder.decode(s.body, m.Encoder, func() []float32 {
		if n == chunk {
			flush()
		}
		n++
		return vectors[(n-1)*width : n*width]
	})
	if err != nil {
		return err
	}
	flush()
	return nil
}

var zeros [chunk]float32

// readBody reads a whole body into buf, which it may let grow.
func readBody(w http.ResponseWriter, r *http.Request, buf []byte) ([]byte, error) {
	if r.ContentLength > maxBody {
		return buf, &http.MaxBytesError{Limit: maxBody}
	}
	// What a client announces is taken at its word up to maxKept; past that only
	// what has come costs memory.
	if n := min(int(r.ContentLength), maxKept); n > cap(buf) {
		buf = make([]byte, 0, n)
	}
	body := http.MaxBytesReader(w, r.Body, maxBody)
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := body.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if err == io.EOF {
			return buf, nil
		}
		if err != nil {
			return buf, err
		}
	}
}

// isJSON accepts application/json with parameters, and no type at all, which
// is what quick scripts send.
func isJSON(contentType string) bool {
	if contentType == "" || contentType == "application/json" {
		return true
	}
	t, _, err := mime.ParseMediaType(contentType)
	return err == nil && t == "application/json"
}
