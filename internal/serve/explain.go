package serve

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	"mlops/internal/api"
	"mlops/internal/evaluate"
	"mlops/internal/feature"
	"mlops/internal/model"
)

// maxExplained is how many records of a request are explained: an explanation is
// a hundred times as long as a prediction, and takes longer.
const maxExplained = 1000

// explanation is what an explained request needs besides its exchange.
type explanation struct {
	top     int       // entries that are listed; 0: all
	vectors []float32 // of the records
	values  []float64 // by record: what each feature contributes, then the expected margin
	columns []float64 // of the record being written
	order   []int
	at      locator
}

// explainParameter reads ?explain=: whether predictions are explained, and how many
// entries are listed, 0 for all.
func explainParameter(query string) (explain bool, top int, err error) {
	text, ok := strings.CutPrefix(query, "explain=")
	if !ok || strings.ContainsAny(text, "&;%+") {
		values, err := url.ParseQuery(query)
		if err != nil {
			return false, 0, err
		}
		text = values.Get("explain")
	}
	switch text {
	case "", "false", "0":
		return false, 0, nil
	case "true":
		return true, 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return false, 0, fmt.Errorf("explain is %q; it must be true, false, or how many features and columns to list", text)
	}
	return true, n, nil
}

// explain has the request's predictions explained.
func (x *exchange) explain(top int) {
	if x.explained = x.spare; x.explained == nil {
		x.explained = &explanation{}
	}
	x.explained.top, x.spare = top, nil
}

// size is how many bytes of memory the buffers take that are used again.
func (e *explanation) size() int64 {
	if e == nil {
		return 0
	}
	return int64(4*cap(e.vectors) + 8*(cap(e.values)+cap(e.columns)+cap(e.order)) + 16*cap(e.at.values))
}

// release forgets a request and its model, and keeps the buffers.
func (e *explanation) release() {
	e.vectors, e.values = e.vectors[:0], e.values[:0]
	e.at.d.release()
}

// reserve makes room for the explanation of the records that scores are reserved for.
func (e *explanation) reserve(x *exchange, width int) error {
	return x.hold(int64(min(cap(x.scores), maxExplained)) * int64(4*width+8*(width+1)))
}

// keep keeps vectors, unless there are more than are explained.
func (e *explanation) keep(vectors []float32, width int) {
	if len(e.vectors) <= maxExplained*width {
		e.vectors = append(e.vectors, vectors...)
	}
}

// contributions computes those of the records that were scored.
func (x *exchange) contributions(m *model.Model) error {
	e, outputs, width := x.explained, m.Trees.Outputs(), m.Encoder.Width()
	records := len(x.scores) / outputs
	if records > maxExplained {
		return &requestError{detail: fmt.Sprintf("the request has %d records; at most %d are explained at a time", records, maxExplained)}
	}
	n := records * (width + 1)
	e.values = slices.Grow(e.values[:0], n)[:n]
	clear(e.values) // excluded records have none
	excluded := x.excluded
	for i := range records {
		if len(excluded) > 0 && int(excluded[0].record) == i {
			excluded = excluded[1:]
			continue
		}
		output := 0
		if outputs > 1 {
			output = evaluate.Best(x.scores[i*outputs : (i+1)*outputs])
		}
		m.Trees.Contributions(e.vectors[i*width:(i+1)*width], output, e.values[i*(width+1):(i+1)*(width+1)])
		if i%16 == 15 {
			runtime.Gosched() // plain requests need not wait for the end of this one
		}
	}
	return nil
}

// wording is how a version's contributions are written.
type wording struct {
	open     []byte // begins the member
	features []featureWording
	columns  []columnWording
}

type featureWording struct {
	open    []byte   // up to the value
	levels  [][]byte // by code
	columns []int    // of wording that share its contribution
}

type columnWording struct {
	open   []byte // up to the value
	column int    // of the spec; -1 for the earlier records
	codes  map[string][]byte
	ranges bool // what codes doesn't name, the column's Names do
}

// wording returns how the served version's contributions are written.
func (s *served) wording() *wording {
	s.worded.once.Do(func() { s.worded.wording = newWording(s.model) })
	return s.worded.wording
}

// worded is made when a version is first asked to explain.
type worded struct {
	once    sync.Once
	wording *wording
}

func quoted(text string) []byte {
	b, err := json.Marshal(text)
	if err != nil {
		panic(err) // a string
	}
	return b
}

func newWording(m *model.Model) *wording {
	spec := m.Spec
	w := &wording{open: fmt.Appendf(nil, `,"contributions":{"scale":"%s"`, m.Trees.Scale())}
	names, of := spec.Contributors()
	for _, name := range names {
		c, label := columnWording{column: spec.Column(name)}, "Earlier records"
		if c.column >= 0 {
			column := &spec.Columns[c.column]
			label = cmp.Or(column.Label, name)
			c.ranges = len(column.Names) > 0
			if len(column.Codes) > 0 || c.ranges {
				c.codes = map[string][]byte{}
				for code, text := range column.Codes {
					c.codes[code] = fmt.Appendf(nil, `,"name":%s`, quoted(text))
				}
			}
		}
		c.open = fmt.Appendf(nil, `{"column":%s,"label":%s,"value":`, quoted(name), quoted(label))
		w.columns = append(w.columns, c)
	}
	for i := range spec.Features {
		f, fitted := &spec.Features[i], &m.Encoder.Features[i]
		names := f.Columns()
		label := spec.Words(f)
		list, err := json.Marshal(append([]string{}, names...))
		if err != nil {
			panic(err) // strings
		}
		fw := featureWording{open: fmt.Appendf(nil, `{"feature":%s,"label":%s,"columns":%s,"value":`, quoted(fitted.Name), quoted(label), list)}
		for _, level := range fitted.Levels {
			text, name := quoted(level), ""
			if f.Category != "" {
				name = spec.Columns[spec.Column(f.Category)].NameOf(level)
			}
			if name != "" {
				text = fmt.Appendf(text, `,"name":%s`, quoted(name))
			}
			fw.levels = append(fw.levels, text)
		}
		if fitted.Folded {
			fw.levels = append(fw.levels, []byte(`null,"name":"a rare value"`))
		}
		fw.columns = of[i]
		w.features = append(w.features, fw)
	}
	return w
}

// append appends the contributions to the prediction of record i.
func (e *explanation) append(out []byte, i int, s *served, class []byte) []byte {
	w, width := s.wording(), s.model.Encoder.Width()
	values := e.values[i*(width+1) : (i+1)*(width+1)]
	vector := e.vectors[i*width : (i+1)*width]
	e.columns = append(e.columns[:0], make([]float64, len(w.columns))...)
	margin := 0.0
	for j, v := range values {
		margin += v
		if j < width {
			to := w.features[j].columns
			for _, c := range to {
				e.columns[c] += v / float64(len(to))
			}
		}
	}
	out = append(out, w.open...)
	if class != nil {
		out = append(append(out, `,"of":`...), class...)
	}
	out = appendNumber(append(out, `,"base":`...), values[width])
	out = appendNumber(append(out, `,"margin":`...), margin)
	out = append(out, `,"features":[`...)
	out = e.list(out, values[:width], `"other_features"`, func(out []byte, j int) []byte {
		f := &w.features[j]
		return f.appendValue(append(out, f.open...), vector[j])
	})
	out = append(out, `,"columns":[`...)
	out = e.list(out, e.columns, `"other_columns"`, func(out []byte, j int) []byte {
		c := &w.columns[j]
		return c.appendValue(append(out, c.open...), &e.at, s.model.Encoder)
	})
	return append(out, '}')
}

// list appends the largest values with what open says of each, the end of the array,
// and the sum of what is not listed.
func (e *explanation) list(out []byte, values []float64, others string, open func([]byte, int) []byte) []byte {
	e.order = e.order[:0]
	for j := range values {
		e.order = append(e.order, j)
	}
	listed := len(e.order)
	if e.top > 0 {
		listed = min(listed, e.top)
	}
	largest(e.order, values, listed)
	for n, j := range e.order[:listed] {
		if n > 0 {
			out = append(out, ',')
		}
		out = appendNumber(append(open(out, j), `,"contribution":`...), values[j])
		out = append(out, '}')
	}
	out = append(out, ']')
	if rest := e.order[listed:]; len(rest) > 0 {
		sum := 0.0
		for _, j := range rest {
			sum += values[j]
		}
		out = append(append(append(out, ','), others...), `:{"count":`...)
		out = strconv.AppendInt(out, int64(len(rest)), 10)
		out = appendNumber(append(out, `,"contribution":`...), sum)
		out = append(out, '}')
	}
	return out
}

// largest moves the n indices of the largest absolute values to the front, in descending
// order; of equal values the first comes first. Before, order counts from 0.
func largest(order []int, values []float64, n int) {
	const few = 10 // so many are found sooner than all are sorted
	if n > few {
		slices.SortFunc(order, func(a, b int) int {
			return cmp.Or(cmp.Compare(math.Abs(values[b]), math.Abs(values[a])), a-b)
		})
		return
	}
	if n == 0 {
		return
	}
	for j, at := range order {
		v := math.Abs(values[at])
		if j >= n {
			if v <= math.Abs(values[order[n-1]]) {
				continue
			}
			order[j], j = order[n-1], n-1 // the last one of the largest goes to the rest
		}
		for ; j > 0 && v > math.Abs(values[order[j-1]]); j-- {
			order[j] = order[j-1]
		}
		order[j] = at
	}
}

func appendNumber(out []byte, v float64) []byte { return strconv.AppendFloat(out, v, 'g', 9, 64) }

func (f *featureWording) appendValue(out []byte, v float32) []byte {
	switch {
	case v != v:
		return append(out, "null"...)
	case int(v) >= 0 && int(v) < len(f.levels):
		return append(out, f.levels[int(v)]...)
	}
	return strconv.AppendFloat(out, float64(v), 'g', -1, 32)
}

func (c *columnWording) appendValue(out []byte, at *locator, e *feature.Encoder) []byte {
	if c.column < 0 {
		return append(out, "null"...)
	}
	text := at.value(c.column)
	if text == nil {
		return append(out, "null"...)
	}
	out = append(out, text...)
	if c.codes == nil {
		return out
	}
	code := codeOf(e, c.column, text)
	name, ok := c.codes[code]
	if !ok && c.ranges && code != "" {
		if called := e.Spec().Columns[c.column].NameOf(code); called != "" {
			name = fmt.Appendf(nil, `,"name":%s`, quoted(called))
		}
	}
	return append(out, name...)
}

// codeOf is a value of a column as the table has it.
func codeOf(e *feature.Encoder, column int, text []byte) string {
	if text[0] == '"' && bytes.IndexByte(text, '\\') < 0 {
		text = text[1 : len(text)-1]
	} else if text[0] == '"' {
		var s string
		if json.Unmarshal(text, &s) != nil {
			return ""
		}
		text = []byte(s)
	} else {
		var ok bool
		if text, ok = e.Literal(column, text); !ok {
			return ""
		}
	}
	value, err := e.Spec().Value(column, text)
	if err != nil {
		return ""
	}
	return string(value)
}

// locator finds the values of a body's records, one record after another. The body has
// been decoded, so it has no mistakes.
type locator struct {
	d      decoder
	values [][2]int // by column, begin and end in the body; zeros where it is not given
}

// begin and next follow the records of the body while the response is written; nothing
// happens where there is nothing to explain.
func (e *explanation) begin(body []byte, s *served) {
	if e != nil {
		e.at.begin(body, s.model.Encoder)
	}
}

func (e *explanation) next() {
	if e != nil {
		e.at.next()
	}
}

// begin prepares for a body.
func (l *locator) begin(body []byte, e *feature.Encoder) {
	d := &l.d
	d.text, d.pos, d.encoder, d.spec = body, 0, e, e.Spec()
	d.back.on = e.LooksBack()
	l.values = slices.Grow(l.values[:0], len(d.spec.Columns))[:len(d.spec.Columns)]
	if d.peek() == '{' && d.spec.Column("instances") < 0 {
		if d.pos++; d.peek() == '"' {
			if key, err := d.str(); err == nil && string(key) == "instances" {
				d.peek()
				d.pos++ // :
			} else {
				d.pos = 0
			}
		} else {
			d.pos = 0
		}
	}
	if d.peek() == '[' {
		d.pos++
	}
}

// next goes to the next record.
func (l *locator) next() {
	d := &l.d
	clear(l.values)
	if d.peek() == ',' {
		d.pos++
	}
	d.peek()
	d.pos++ // {
	for guess := 0; ; {
		switch d.peek() {
		case ',':
			d.pos++
		case '"':
		default:
			d.pos++ // }
			return
		}
		c, err := d.member(guess)
		if err != nil {
			return
		}
		d.peek()
		start := d.pos
		if d.over("") != nil {
			return
		}
		if c >= 0 {
			l.values[c] = [2]int{start, d.pos}
			guess = c + 1
		}
	}
}

// value is the JSON text of a column's value, nil if the record has none.
func (l *locator) value(column int) []byte {
	at := l.values[column]
	text := l.d.text[at[0]:at[1]]
	if len(text) == 0 || string(text) == "null" {
		return nil
	}
	return text
}

// explainProblem is the response to a request that can't be explained.
func explainProblem(why error) api.Problem {
	return api.Problem{Type: api.NotExplained, Title: "The predictions can't be explained", Status: http.StatusUnprocessableEntity, Detail: why.Error()}
}
