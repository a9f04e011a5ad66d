package serve

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"mlops/internal/api"
	"mlops/internal/dataset"
	"mlops/internal/protocol"
)

// format is how a body has its records or predictions.
type format uint8

const (
	jsonFormat  format = iota
	linesFormat        // JSON lines
	csvFormat          // with a header
)

// mediaTypes of formats, in the header's form.
var mediaTypes = [...][]string{jsonFormat: {api.MediaType}, linesFormat: {"application/x-ndjson"}, csvFormat: {"text/csv; charset=utf-8"}}

// spellings are the values of the parameter numbers of text/csv.
var spellings = map[string]dataset.Spelling{api.NumbersTable: dataset.TableSpelling, api.NumbersPoint: dataset.PointSpelling}

// formatOf returns the format of a media type without parameters.
func formatOf(mediaType string) (f format, ok bool) {
	switch mediaType {
	case api.MediaType:
		return jsonFormat, true
	case "application/x-ndjson", "application/jsonl", "application/jsonlines":
		return linesFormat, true
	case "text/csv", "application/csv":
		return csvFormat, true
	}
	return 0, false
}

// envelope is how a protocol wraps records and predictions. The zero value is that of
// POST /predict.
type envelope struct {
	// open returns the records in a JSON body, in at most so many bytes; nil: they are
	// the body.
	open func(x *exchange, body []byte, most int) ([]byte, error)

	bare    bool // the response does not name the version, and is JSON
	tensors bool // the response is the Open Inference Protocol's
	kserve  bool // errors also have the member that KServe's clients read
}

// fail responds with a problem.
func (e *envelope) fail(w http.ResponseWriter, p api.Problem) {
	if e.kserve {
		p.Message = p.Detail
		if p.Message == "" {
			p.Message = p.Title
		}
	}
	fail(w, p)
}

// frame is what is around the predictions of a JSON response.
type frame struct {
	open      []byte
	separator byte
	close     []byte
}

var (
	bareFrame  = frame{[]byte(`{"predictions":[`), ',', []byte("]}\n")}
	linesFrame = frame{nil, '\n', []byte("\n")}
)

// predict responds to POST /predict.
func (s *Server) predict(w http.ResponseWriter, r *http.Request) { s.answer(w, r, &envelope{}) }

// answer responds to a request for predictions in the envelope of its protocol. All
// protocols share this path: what differs is unwrapped before the records are decoded,
// and wrapped after they are scored.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, e *envelope) {
	served := s.served.Load()
	if served == nil {
		e.fail(w, s.noModel("No model is loaded"))
		return
	}
	refused := false // because the body is too large
	defer func() {
		if refused {
			discard(w, r)
		}
	}()
	x := newExchange(&s.memory)
	defer x.free()
	if problem := x.negotiate(r, e, served); problem != nil {
		e.fail(w, *problem)
		return
	}
	body, announced := r.Body, r.ContentLength
	if c := r.Header.Get("Content-Encoding"); c != "" && c != "identity" {
		unpacked, err := x.unpack(c, body)
		if err != nil {
			e.fail(w, bodyProblem(err, 0))
			return
		}
		defer unpacked.Close()
		body, announced = unpacked, -1
	}
	if err := x.read(w, body, announced); err != nil {
		refused = tooLarge(err)
		e.fail(w, bodyProblem(err, len(x.body)))
		return
	}
	if x.in == linesFormat || e.open != nil && x.in == jsonFormat {
		if err := x.unwrap(e); err != nil {
			e.fail(w, scoreProblem(err))
			return
		}
	}
	if err := served.gives(x.inference.Outputs); err != nil {
		e.fail(w, scoreProblem(err))
		return
	}
	if served.model.Spec.LooksBack() {
		s.findEarlier(r.Context(), x, served)
	}
	if s.shadow != nil {
		x.copied = s.shadow.pick(served)
	}
	unknown, err := s.admit(x, served.model)
	if err != nil {
		e.fail(w, scoreProblem(err))
		return
	}
	if unknown > 0 {
		s.metrics.UnknownValues.Add(float64(unknown))
	}
	if len(x.scores) > chunk {
		if packed := pack(w, r.Header.Get("Accept-Encoding")); packed != nil {
			defer packed.Close()
			w = packed
		}
	}
	s.respond(w, x, e, served)
	if n := len(x.scores) / served.model.Trees.Outputs(); n > 0 {
		s.metrics.Records.Add(n)
	}
	switch {
	case served.scores == nil:
	case len(x.excluded) == 0:
		served.scores.Add(x.scores)
	default:
		x.each(1, func(_ int, score []float32) { served.scores.Add(score) }, nil)
	}
	for _, e := range x.excluded {
		served.excluded[e.rule].count.Inc()
	}
	if len(x.warnings) > 0 {
		served.warned.add(x.warnings)
	}
	if x.copied != nil {
		s.shadow.send(x)
	}
}

// respond writes the predictions.
func (s *Server) respond(w http.ResponseWriter, x *exchange, e *envelope, served *served) {
	w.Header()["Content-Type"] = mediaTypes[x.out]
	if x.out != jsonFormat {
		w.Header().Set(api.ModelHeader, served.version.Name+"/"+strconv.Itoa(served.version.Number)) // the body has no place for it
	}
	if e.tensors || x.out == csvFormat {
		x.tally(served)
		if e.tensors {
			x.writeTensors(w, served)
		} else {
			x.writeCSV(w, served)
		}
		return
	}
	if served.task == nil {
		served.count(x, x.write(w, served))
	} else {
		x.writeTask(w, served)
	}
}

// count counts the predictions of a binary task.
func (s *served) count(x *exchange, positives int) {
	for label, n := range [2]int{len(x.scores) - len(x.excluded) - positives, positives} {
		if n > 0 {
			s.labels[label].Add(n)
		}
	}
}

// negotiate settles the formats of body and response, and whether predictions are
// explained.
func (x *exchange) negotiate(r *http.Request, e *envelope, served *served) *api.Problem {
	x.in, x.out, x.frame, x.numbers = jsonFormat, jsonFormat, &served.frame, dataset.EitherSpelling
	if e.tensors && r.Header.Get("Inference-Header-Content-Length") != "" {
		return &api.Problem{Type: api.UnsupportedMedia, Status: http.StatusUnsupportedMediaType,
			Detail: "binary tensors are not supported: send data as JSON (with Python's tritonclient, set_data_from_numpy(..., binary_data=False))"}
	}
	contentType := r.Header.Get("Content-Type")
	if contentType != "" && contentType != api.MediaType { // no type is what quick scripts send
		t, parameters, err := mime.ParseMediaType(contentType)
		var ok bool
		if x.in, ok = formatOf(t); err != nil || !ok || x.in != jsonFormat && e.tensors {
			return &api.Problem{Type: api.UnsupportedMedia, Status: http.StatusUnsupportedMediaType, Detail: wrongType(contentType)}
		}
		x.out = x.in
		if numbers := parameters["numbers"]; numbers != "" {
			if x.numbers, ok = spellings[numbers]; !ok {
				return &api.Problem{Type: api.UnsupportedMedia, Status: http.StatusUnsupportedMediaType,
					Detail: fmt.Sprintf("numbers is %q in Content-Type; it must be %s or %s", numbers, api.NumbersTable, api.NumbersPoint)}
			}
		}
	}
	if accept := r.Header.Get("Accept"); accept != "" && accept != "*/*" {
		for part := range strings.SplitSeq(accept, ",") {
			t, _, _ := strings.Cut(part, ";")
			if f, ok := formatOf(strings.TrimSpace(t)); ok {
				x.out = f
				break
			}
		}
	}
	switch {
	case e.bare:
		x.out, x.frame = jsonFormat, &bareFrame
	case e.tensors:
		x.out = jsonFormat
	case x.out == linesFormat:
		x.frame = &linesFrame
	}
	if r.URL.RawQuery == "" {
		return nil
	}
	explain, top, err := explainParameter(r.URL.RawQuery)
	switch {
	case err != nil || !explain:
	case x.in == csvFormat || x.out == csvFormat || e.tensors:
		err = errors.New("contributions are nested: send records as JSON or JSON lines, and accept one of them")
	default:
		err = served.model.Trees.Explainable()
		x.explain(top)
	}
	if err != nil {
		p := explainProblem(err)
		return &p
	}
	return nil
}

// maxUnwrapped is how many times as long as its body records may become: the names of
// columns are repeated in each.
const maxUnwrapped = 64

// unwrap makes the body an array of records.
func (x *exchange) unwrap(e *envelope) error {
	most := min(maxBody, 4096+maxUnwrapped*len(x.body))
	if err := x.hold(int64(most)); err != nil {
		return err
	}
	var records []byte
	var err error
	if x.in == linesFormat {
		records, err = protocol.Lines(x.body, most)
		if err == nil && e.open != nil {
			err = &protocol.Error{Detail: "this protocol has no JSON lines; send application/json or text/csv"}
		}
	} else {
		records, err = e.open(x, x.body, most)
	}
	unused := int64(most - cap(records) + cap(x.body)) // the body is let go
	x.held -= unused
	x.memory.give(unused)
	x.body = records
	if bad, ok := errors.AsType[*protocol.Error](err); ok {
		return &requestError{detail: bad.Detail, notJSON: true}
	}
	if errors.Is(err, protocol.ErrTooLarge) {
		return errTooLarge
	}
	return err
}

// tally counts predictions by what is predicted, for responses whose writing doesn't.
func (x *exchange) tally(served *served) {
	if t := served.task; t != nil {
		counts := make([]int, len(t.predicted))
		x.each(t.outputs, func(_ int, scores []float32) { counts[t.best(scores)]++ }, nil)
		for k, n := range counts {
			t.predicted[k].Add(n)
		}
		return
	}
	served.count(x, x.positives(0, x.excluded, served.model.Serving.Threshold))
}

// each calls scored with the outputs of each record that has a score, and excluded with
// the rule that leaves out each other one.
func (x *exchange) each(outputs int, scored func(i int, scores []float32), excluded func(i, rule int)) {
	left := x.excluded
	for i := range len(x.scores) / outputs {
		if len(left) > 0 && int(left[0].record) == i {
			if excluded != nil {
				excluded(i, int(left[0].rule))
			}
			left = left[1:]
			continue
		}
		scored(i, x.scores[i*outputs:(i+1)*outputs])
	}
}

// pieces writes a long response in pieces.
type pieces struct {
	w        http.ResponseWriter
	exchange *exchange
	out      []byte
	cut      bool // some of it has been written
	gone     bool // the client
}

// flush makes room for another record, and writes what there is if there is none.
func (p *pieces) flush() {
	var full bool
	if p.out, full = p.exchange.room(p.out); !full {
		return
	}
	p.cut = true
	if !p.gone {
		_, err := p.w.Write(p.out)
		p.gone = err != nil
	}
	p.out = p.out[:0]
}

// end writes the rest.
func (p *pieces) end() {
	if !p.cut {
		p.w.Header()["Content-Length"] = []string{strconv.Itoa(len(p.out))}
	}
	if !p.gone {
		p.w.Write(p.out)
	}
}

// errRatio means that a body is so much larger than what was sent that it can only be
// meant to harm.
var errRatio = fmt.Errorf("the body unpacks to more than %d times its size", maxRatio)

// errPacked is a body that can't be unpacked.
type errPacked struct{ error }

// maxRatio bounds how much larger than what was sent a body may become, beyond the
// first megabyte.
const maxRatio = 250

// ratioReader reads what a body unpacks to, within maxRatio.
type ratioReader struct {
	packed   *countingReader
	unpacked io.Reader
	n        int64
}

func (r *ratioReader) Read(p []byte) (int, error) {
	n, err := r.unpacked.Read(p)
	if r.n += int64(n); r.n > 1<<20 && r.n > maxRatio*r.packed.n {
		return n, errRatio
	}
	if err != nil && err != io.EOF && r.packed.err == nil {
		err = errPacked{err}
	}
	return n, err
}

// countingReader counts what it reads, and remembers its own error.
type countingReader struct {
	io.Reader
	n   int64
	err error
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += int64(n)
	if err != nil && err != io.EOF {
		c.err = err
	}
	return n, err
}
