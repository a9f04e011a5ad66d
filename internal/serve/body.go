package serve

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"sync"

	"mlops/internal/dataset"
	"mlops/internal/feature"
	"mlops/internal/protocol"
)

const (
	maxBody     = 32 << 20 // bytes of a request body
	smallBody   = 64 << 10 // bytes up to which a body, and its request, counts as small
	maxPooled   = 1 << 20  // bytes of all buffers of an exchange that is used again
	firstBuffer = 4 << 10  // bytes of the first buffer for a body of unknown length
)

var errTooLarge = errors.New("the body is too large")

// exchange holds what one request has in memory, from its first byte to the last
// of its response. Exchanges of modest size are used again.
type exchange struct {
	memory *memory
	held   int64 // bytes taken from the memory

	body     []byte
	scores   []float32   // the model's outputs, by record
	warnings []warning   // by record
	excluded []exclusion // by record
	response []byte

	earlier    *feature.Snapshot // looked up for records that bring none; may be nil
	unanswered bool              // because Postgres did not answer

	explained *explanation     // nil: predictions are not explained
	spare     *explanation     // of an earlier request, with its buffers
	copied    *job             // for the challenger; nil: it does not score this request
	in, out   format           // of the body and of the response
	numbers   dataset.Spelling // of a CSV body
	frame     *frame           // of a JSON response

	inference protocol.InferenceRequest // of the Open Inference Protocol
}

// exclusion is a record that the cohort leaves out. Its score counts for nothing.
type exclusion struct{ record, rule int32 }

const exclusionSize = 8 // bytes

// exclude notes a record that the cohort leaves out, and takes its warnings back.
// Records come in their order.
func (x *exchange) exclude(record, rule int) error {
	if x == nil {
		return nil
	}
	for n := len(x.warnings); n > 0 && int(x.warnings[n-1].record) == record; n-- {
		x.warnings = x.warnings[:n-1]
	}
	if n := len(x.excluded); n == cap(x.excluded) {
		grown := max(64, 2*n)
		if err := x.hold(int64(grown-n) * exclusionSize); err != nil {
			return err
		}
		x.excluded = append(make([]exclusion, 0, grown), x.excluded...)
	}
	x.excluded = append(x.excluded, exclusion{int32(record), int32(rule)})
	return nil
}

var exchanges = sync.Pool{New: func() any { return new(exchange) }}

// newExchange returns an exchange. Buffers that it brings along are empty, and count as
// held.
func newExchange(m *memory) *exchange {
	x := exchanges.Get().(*exchange)
	x.memory = m
	x.scores, x.warnings, x.excluded = x.scores[:0], x.warnings[:0], x.excluded[:0]
	has := int64(cap(x.body)+4*cap(x.scores)+warningSize*cap(x.warnings)+exclusionSize*cap(x.excluded)+cap(x.response)) + x.spare.size()
	if m.take(0, has) != nil {
		return &exchange{memory: m} // begin without buffers instead of failing
	}
	x.held = has
	return x
}

// free returns what the request held.
func (x *exchange) free() {
	x.memory.give(x.held)
	x.copied = nil
	if x.explained != nil {
		x.explained.release()
		x.spare = x.explained
	}
	if x.held <= maxPooled {
		x.memory, x.held, x.earlier, x.unanswered, x.explained, x.frame = nil, 0, nil, false, nil, nil
		x.inference = protocol.InferenceRequest{}
		exchanges.Put(x)
	}
}

func (x *exchange) hold(n int64) error {
	err := x.memory.take(x.held, n)
	switch {
	case err == nil:
		x.held += n
	case errors.Is(err, errBusy):
		x.memory.refused.Add(1)
	}
	return err
}

// read reads a whole body. The announced length, -1 if unknown, is trusted as long as it is small;
// beyond that a buffer is at most twice as large as what has arrived.
func (x *exchange) read(w http.ResponseWriter, from io.ReadCloser, announced int64) error {
	if announced > maxBody {
		return errTooLarge
	}
	if announced > maxPooled { // better refused before it is sent than afterwards
		if err := x.hold(announced); err != nil {
			return err
		}
		x.held -= announced
		x.memory.give(announced)
	}
	buf := x.body[:0]
	defer func() { x.body = buf }()
	whole, want := maxBody+1, firstBuffer // one byte more than the body, to see its end
	if announced >= 0 {
		whole = int(announced) + 1
		want = min(whole, smallBody)
	}
	body := http.MaxBytesReader(w, from, maxBody)
	for {
		if n := want - cap(buf); n > 0 {
			if err := x.hold(int64(n)); err != nil {
				return err
			}
			buf = append(make([]byte, 0, want), buf...)
		}
		n, err := body.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if len(buf) == cap(buf) {
			if cap(buf) >= whole { // longer than announced: can't happen over HTTP
				whole = maxBody + 1
			}
			want = min(2*cap(buf)+1, whole)
		}
	}
}

// maxDiscarded is how much is read of a body that is too large.
const maxDiscarded = 4 * maxBody

// tooLarge reports whether a body could not be read because it is too large.
func tooLarge(err error) bool {
	var limit *http.MaxBytesError
	return errors.Is(err, errTooLarge) || errors.As(err, &limit)
}

// discard reads what is left of a body that was refused. Most clients send all of a body
// before they read the response: they would see the connection reset, and not why. One
// that waits for a go-ahead (Expect) sends none.
func discard(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Expect") != "" || r.ContentLength > maxDiscarded || http.NewResponseController(w).Flush() != nil {
		return
	}
	_, _ = io.CopyN(io.Discard, r.Body, maxDiscarded) // the response is on its way, whatever goes wrong
}

// room returns the buffer of a response with room for another record, counted as held.
// It reports whether what is in the buffer has to be sent first: it is a piece already, or
// others have the memory that it would grow by.
func (x *exchange) room(out []byte) (_ []byte, full bool) {
	size := cap(out)
	switch {
	case len(out) <= firstSize:
		return out, false
	case len(out) > flushSize:
		return out, true
	case size-len(out) >= roomy:
		return out, false
	}
	grown := min(2*size, flushSize) + roomy
	n := int64(grown - size)
	if n <= 0 || x.memory.take(x.held, n) != nil {
		return out, true
	}
	x.held += n
	return append(make([]byte, 0, grown), out...), false
}

// reserve makes room for the scores of all records that the body can hold, so many
// outputs each, and for the first of their response.
func (x *exchange) reserve(outputs int) error {
	perRecord := len(`{"label":0,"probability":0.123456789},`)
	if outputs > 1 {
		perRecord *= outputs
	}
	records := min(bytes.Count(x.body, []byte{'{'}), len(x.body)/len("{},")+1)
	if x.in == csvFormat {
		records = bytes.Count(x.body, []byte{'\n'})
	}
	if n := records*outputs - cap(x.scores); n > 0 {
		if err := x.hold(4 * int64(n)); err != nil {
			return err
		}
		x.scores = make([]float32, 0, records*outputs)
	}
	if n := min(records*perRecord, flushSize) + roomy - cap(x.response); n > 0 && records > chunk {
		if err := x.hold(int64(n)); err != nil {
			return err
		}
		x.response = make([]byte, 0, n+cap(x.response))
	}
	return nil
}
