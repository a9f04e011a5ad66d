package serve

import (
	"net/http"
	"runtime"
	"strconv"
	"sync"

	"mlops/internal/model"
)

const (
	chunk     = 256       // records scored at a time; bounds the memory of a large request
	flushSize = 256 << 10 // bytes of a response beyond which it is sent in pieces
	firstSize = 8 << 10   // bytes of a response up to which its buffer is not counted
	roomy     = 16 << 10  // bytes that nearly every record's part of a response fits into
)

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
	out := append(x.response[:0], x.frame.open...)
	whole := true
	warnings, excluded := x.warnings, x.excluded
	x.explained.begin(x.body, served)
	for i, p := range x.scores {
		if i > 0 {
			out = append(out, x.frame.separator)
		}
		x.explained.next()
		var full bool
		if out, full = x.room(out); full {
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
			out, warnings = x.appendWarnings(out, warnings, served)
		}
		if x.explained != nil {
			out = x.explained.append(out, i, served, nil)
		}
		out = append(out, '}')
	}
	x.response = append(out, x.frame.close...)
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

var jsonType = mediaTypes[jsonFormat]

// workspace is what scoring a request needs besides its exchange.
type workspace struct {
	vectors []float32 // up to chunk vectors
	decoder decoder
}

var workspaces = sync.Pool{New: func() any { return new(workspace) }}

// score decodes the body and leaves the model's outputs per record in x.scores. It
// reads all records before any response begins, so no request is answered in part.
// It returns how many values a feature had no level for.
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
		if x.copied != nil {
			x.copied.keep(vectors[:n*width], width)
		}
		n = 0
	}
	ws.decoder.exchange, ws.decoder.table, ws.decoder.numbers = x, x.in == csvFormat, x.numbers
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
			err = x.contributions(m)
		}
	}
	unknown = ws.decoder.unknown
	ws.decoder.release() // a version that was replaced can be collected
	workspaces.Put(ws)
	return unknown, err
}

var zeros [chunk]float32
