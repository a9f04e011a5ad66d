package serve

import (
	"slices"

	"mlops/internal/api"
	"mlops/internal/dataset"
	"mlops/internal/feature"
)

// decoder reads the records of a request straight into feature vectors, without
// maps or intermediate values. It accepts one record (an object), an array of
// records, or {"instances": [...]}, in strict JSON (RFC 8259).
//
// A decoder serves one request at a time; the next one uses its buffers again.
type decoder struct {
	text    []byte
	pos     int
	spec    *dataset.Spec
	encoder *feature.Encoder

	record  int              // index of the record being read, for errors
	rule    int              // the cohort's rule that leaves the record out; -1 if none does
	before  int              // unknown at the record's begin
	table   bool             // the body is CSV
	numbers dataset.Spelling // of a CSV body
	single  bool             // the body is one object
	within  bool             // a record is being read
	vector  []float32        // of the record being read
	seen    []bool           // columns that the record has set
	scratch []byte           // a string with its escapes resolved
	unknown int              // values that a feature has no level for
	errs    []api.FieldError // what is wrong so far, at most maxErrors
	notJSON bool             // one of errs is a word that JSON doesn't have, such as NaN

	back     lookBack
	absent   []int     // columns that the record says have no value
	exchange *exchange // takes warnings and excluded records; nil if nobody wants them
}

// release forgets the last request's text and model.
func (d *decoder) release() {
	d.text, d.spec, d.encoder, d.vector, d.exchange = nil, nil, nil, nil, nil
}

// decode reads text and puts each record into the vector that next returns for it.
// If the request is wrong, the error is a *requestError with everything that is, up
// to maxErrors.
func (d *decoder) decode(text []byte, encoder *feature.Encoder, next func() []float32) error {
	d.text, d.pos, d.record, d.unknown = text, 0, 0, 0
	d.single, d.within, d.notJSON, d.errs, d.vector = false, false, false, d.errs[:0], nil
	d.encoder, d.spec = encoder, encoder.Spec()
	d.back.prepare(encoder)
	if n := len(d.spec.Columns); cap(d.seen) < n {
		d.seen = make([]bool, n)
	} else {
		d.seen = d.seen[:n]
	}
	var err error
	if d.table { // called by name, so that next stays on the stack
		err = d.csv(next)
	} else {
		err = d.body(next)
	}
	if err == nil && len(d.errs) == 0 {
		return nil
	}
	return d.failure(err)
}

// body reads the whole text.
func (d *decoder) body(next func() []float32) error {
	var err error
	switch d.peek() {
	case '{':
		err = d.object(next)
	case '[':
		err = d.array(next)
	default:
		return d.strange()
	}
	if err != nil {
		return err
	}
	if d.peek(); d.pos < len(d.text) {
		return d.trailing()
	}
	if d.record == 0 {
		return d.unfit("the request has no record; %s", d.howTo())
	}
	return nil
}

// array reads records up to the closing bracket.
func (d *decoder) array(next func() []float32) error {
	d.pos++ // [
	if d.peek() == ']' {
		d.pos++
		return nil
	}
	for {
		if d.peek() != '{' {
			return d.notObject()
		}
		if err := d.fields(next); err != nil {
			return err
		}
		switch d.peek() {
		case ',':
			d.pos++
		case ']':
			d.pos++
			return nil
		default:
			return d.syntax("expected , or ] after record %d", d.record-1)
		}
	}
}

// object reads one record, or {"instances": [...]}.
func (d *decoder) object(next func() []float32) error {
	d.pos++ // {
	start := d.pos
	if d.peek() == '"' && d.spec.Column("instances") < 0 {
		key, err := d.str()
		if err != nil {
			return err
		}
		if string(key) == "instances" {
			return d.instances(next)
		}
	}
	d.pos, d.single = start-1, true
	return d.fields(next)
}

// instances reads the rest of {"instances": [...]} after the name.
func (d *decoder) instances(next func() []float32) error {
	if d.peek() != ':' {
		return d.syntax("expected : after instances")
	}
	d.pos++
	if d.peek() != '[' {
		return d.syntax("instances is not an array; send one record alone, without instances")
	}
	if err := d.array(next); err != nil {
		return err
	}
	if d.peek() != '}' {
		return d.syntax("expected } after the array of instances, which must be alone in its object")
	}
	d.pos++
	return nil
}

// fields reads a record from its opening brace on.
func (d *decoder) fields(next func() []float32) error {
	d.pos++ // {
	if err := d.members(d.begin(next)); err != nil {
		return err
	}
	return d.end()
}

// begin begins a record, and returns the vector that its values go to. Once something
// is wrong, nothing is scored any more, and the rest is read into the same vector.
func (d *decoder) begin(next func() []float32) []float32 {
	if len(d.errs) == 0 || d.vector == nil {
		d.vector = next()
	}
	vector := d.vector
	if d.back.on {
		vector = d.back.work
		d.back.begin()
	}
	d.encoder.Reset(vector)
	clear(d.seen)
	d.absent, d.within = d.absent[:0], true
	d.rule, d.before = -1, d.unknown
	return vector
}

// members reads what is between the braces of a record, and the closing one.
func (d *decoder) members(vector []float32) error {
	if d.peek() == '}' {
		d.pos++
		return nil
	}
	for guess := 0; ; guess++ {
		c, err := d.member(guess)
		switch {
		case err != nil || c == noColumn:
		case c == earlierMember:
			err = d.earlierRecords()
		case d.seen[c]:
			guess = c
			err = d.skip(d.spec.Columns[c].Name, "given twice")
		default:
			guess = c
			d.seen[c] = true
			err = d.value(vector, c)
		}
		if err != nil {
			return err
		}
		switch d.peek() {
		case ',':
			d.pos++
		case '}':
			d.pos++
			return nil
		default:
			return d.syntax("expected , or } in record %d", d.record)
		}
	}
}

// end ends a record after its closing brace.
func (d *decoder) end() error {
	for _, c := range d.spec.Required() {
		detail := "is required, and not given"
		if d.seen[c] {
			if !slices.Contains(d.absent, c) {
				continue
			}
			detail = "is required, and has no value"
		}
		if err := d.wrong(d.spec.Columns[c].Name, detail); err != nil {
			return err
		}
	}
	if d.back.on {
		if err := d.checkPlaces(); err != nil {
			return err
		}
	}
	d.within = false
	if len(d.errs) > 0 { // nothing will be scored
		d.record++
		return nil
	}
	if d.rule >= 0 {
		d.unknown = d.before // counts scored records only
		err := d.exchange.exclude(d.record, d.rule)
		d.record++
		return err
	}
	err := d.warnRecord()
	if err == nil && d.back.on {
		err = d.lookBack()
	}
	d.record++
	return err
}

// screen notes the cohort's rule that leaves the record out because of a value, the
// first of several in the spec's order. A value that is wrong is left to value. The
// target says how a record ended, which is what is asked.
func (d *decoder) screen(c int, text []byte, literal bool) {
	col := &d.spec.Columns[c]
	if col.Name == d.spec.Target.Column {
		return
	}
	if literal {
		var ok bool
		if text, ok = d.encoder.Literal(c, text); !ok {
			return
		}
	}
	v, err := d.spec.Value(c, text)
	if err != nil || v == nil {
		return
	}
	if rule := col.Excludes(v); rule >= 0 && (d.rule < 0 || rule < d.rule) {
		d.rule = rule
	}
}

// member reads a column's name and the colon, and returns the column. Most requests
// have the columns in the table's order, so it tries the guess first. It reads over
// a member that is no column, and returns noColumn.
func (d *decoder) member(guess int) (column int, err error) {
	if d.peek() != '"' {
		return 0, d.noName()
	}
	if guess < len(d.spec.Columns) {
		want, rest := d.spec.Columns[guess].Member(), d.text[d.pos:]
		if len(rest) >= len(want) && string(rest[:len(want)]) == want {
			d.pos += len(want)
			return guess, nil
		}
	}
	key, err := d.str()
	if err != nil {
		return 0, err
	}
	c := d.spec.Column(string(key))
	name := ""
	if c < 0 {
		name = clip(key) // the text of key may be used again
	}
	if d.peek() != ':' {
		return 0, d.syntax("expected : after %q", clip(key))
	}
	d.pos++
	if c < 0 && d.back.on && !d.back.within && name == dataset.EarlierMember {
		return earlierMember, nil
	}
	if c < 0 {
		return noColumn, d.noColumn(name)
	}
	return c, nil
}

// value reads the value of column c into the vector.
func (d *decoder) value(vector []float32, c int) error {
	col := &d.spec.Columns[c]
	var text []byte
	var err error
	var literal bool
	b, start := d.peek(), d.pos
	switch {
	case b == '"':
		text, err = d.str()
	case b == '-' || b >= '0' && b <= '9':
		text, err = d.number()
		literal = true
	case b == 'n':
		if err = d.literal("null"); err == nil {
			d.absent = append(d.absent, c)
			return nil
		}
	case b == 't' || b == 'f':
		word := "true"
		if b == 'f' {
			word = "false"
		}
		text, err = []byte(word), d.literal(word)
		literal = true
	case b == '{' || b == '[':
		return d.nested(col)
	default:
		err = d.syntax("expected a value for %q", col.Name)
	}
	if err != nil {
		return d.noValue(col, start, err)
	}
	return d.take(vector, c, text, literal, start)
}

// take puts a value of column c into the vector: the content of a string, or where
// literal is set a JSON number or boolean. It begins at start in the body.
func (d *decoder) take(vector []float32, c int, text []byte, literal bool, start int) error {
	col := &d.spec.Columns[c]
	if d.back.on && (c == d.back.group || c == d.back.order) {
		if err := d.where(c, text, literal); err != nil {
			return err
		}
	}
	if col.InCohort() && !d.back.within {
		d.screen(c, text, literal)
	}
	if odd, known := d.encoder.SetUsual(vector, c, text); known {
		if odd != 0 {
			return d.warn(c, odd, start)
		}
		return nil
	}
	if d.spec.Ignored(c) {
		return nil
	}
	if literal {
		var ok bool
		if text, ok = d.encoder.Literal(c, text); !ok {
			return d.wrong(col.Name, "is a boolean; it must be a number or a string")
		}
	}
	value, err := d.spec.Value(c, text)
	if err != nil {
		return d.wrongValue(col, text, err)
	}
	if value == nil {
		return d.warn(c, feature.Missing, start)
	}
	unknown, odd := d.encoder.Set(vector, c, value)
	d.unknown += unknown
	if odd != 0 {
		return d.warn(c, odd, start)
	}
	return nil
}
