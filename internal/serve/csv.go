package serve

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"unicode/utf8"

	"mlops/internal/api"
	"mlops/internal/feature"
)

// csv reads records as a table (RFC 4180): a header with the columns' names, in the
// request's or the table's own spelling, then a record per line.
func (d *decoder) csv(next func() []float32) error {
	if bytes.HasPrefix(d.text, []byte("\xef\xbb\xbf")) {
		d.pos = 3
	}
	if len(bytes.TrimSpace(d.text[d.pos:])) == 0 {
		return d.unfit("the body is empty; the first line has the columns' names")
	}
	line, _, _ := bytes.Cut(d.text[d.pos:], []byte{'\n'})
	separator := api.Separator(line)
	columns, err := d.header(separator)
	if err != nil {
		return err
	}
	for d.pos < len(d.text) {
		if d.blank() {
			continue
		}
		vector := d.begin(next)
		for i := 0; ; i++ {
			text, start, last, err := d.field(separator)
			if err != nil {
				return err
			}
			if i < len(columns) && columns[i] >= 0 {
				c, after := columns[i], d.pos
				d.seen[c] = true
				d.pos = start + len(text) // where the value ends, for warnings
				plain, err := d.spec.Plain(c, text, d.numbers)
				switch {
				case err == nil:
					err = d.take(vector, c, plain, false, start)
				case d.spec.Ignored(c): // take minds if it looks for earlier rows by it
					err = d.take(vector, c, text, false, start)
				default:
					err = d.wrongValue(&d.spec.Columns[c], text, err)
				}
				if err != nil {
					return err
				}
				d.pos = after
			}
			if !last {
				continue
			}
			if i+1 != len(columns) {
				d.pos = start // the line that the record ends on, not the next
				fields := "fields"
				if i == 0 {
					fields = "field"
				}
				return d.syntax("record %d has %d %s, the header %d", d.record, i+1, fields, len(columns))
			}
			break
		}
		if err := d.end(); err != nil {
			return err
		}
	}
	if d.record == 0 {
		return d.unfit("the request has a header and no record")
	}
	return nil
}

// header reads the first line, and returns the columns by place; -1 where there is none.
func (d *decoder) header(separator byte) ([]int, error) {
	var columns []int
	for {
		text, _, last, err := d.field(separator)
		if err != nil {
			return nil, err
		}
		name := string(bytes.TrimSpace(text))
		c := d.spec.Column(name)
		for i := 0; c < 0 && i < len(d.spec.Columns); i++ {
			if d.spec.Columns[i].Header() == name {
				c = i
			}
		}
		detail := ""
		switch {
		case c < 0 && d.spec.Source.Leaves(name) && d.alike(name) == "":
			// The load leaves this column out too.
		case c < 0 && name == "":
			detail = "column " + strconv.Itoa(len(columns)+1) + " of the header has no name (pandas writes its index so: to_csv(index=False))"
		case c < 0:
			detail = "there is no column with this name"
			if meant := d.alike(name); meant != "" {
				detail += "; did you mean " + strconv.Quote(meant) + "?"
			}
		case slices.Contains(columns, c):
			detail = "given twice"
		}
		if detail != "" {
			if err := d.wrong(clip([]byte(name)), detail); err != nil {
				return nil, err
			}
			c = -1
		}
		if columns = append(columns, c); last {
			return columns, nil
		}
	}
}

// blank reads over a line without anything in it, and reports whether there was one.
func (d *decoder) blank() bool {
	rest := d.text[d.pos:]
	switch {
	case rest[0] == '\n':
		d.pos++
	case bytes.HasPrefix(rest, []byte("\r\n")):
		d.pos += 2
	default:
		return false
	}
	return true
}

// field reads a field and the separator or line end behind it. start is where its text
// begins in the body, also where quotes in it had to be resolved.
func (d *decoder) field(separator byte) (text []byte, start int, last bool, err error) {
	if d.at() == '"' {
		return d.quotedField(separator)
	}
	start = d.pos
	for i, b := range d.text[start:] {
		if b == separator || b == '\n' {
			d.pos = start + i + 1
			return d.checked(d.text[start:start+i], start, b == '\n')
		}
	}
	d.pos = len(d.text)
	return d.checked(d.text[start:], start, true)
}

// checked refuses text that is not UTF-8.
func (d *decoder) checked(text []byte, start int, last bool) ([]byte, int, bool, error) {
	if last && len(text) > 0 && text[len(text)-1] == '\r' {
		text = text[:len(text)-1]
	}
	if !utf8.Valid(text) {
		return nil, 0, false, d.syntax("a field is not valid UTF-8; convert the file (iconv -f WINDOWS-1252 -t UTF-8)")
	}
	return text, start, last, nil
}

// quotedField reads a field in quotes.
func (d *decoder) quotedField(separator byte) (text []byte, start int, last bool, err error) {
	d.pos++
	start = d.pos
	double := false
	for {
		i := bytes.IndexByte(d.text[d.pos:], '"')
		if i < 0 {
			return nil, 0, false, d.syntax("a quoted field is not terminated")
		}
		if d.pos += i + 1; d.at() != '"' || d.pos >= len(d.text) {
			break
		}
		double = true
		d.pos++
	}
	text = d.text[start : d.pos-1]
	if double {
		d.scratch = append(d.scratch[:0], bytes.ReplaceAll(text, []byte(`""`), []byte(`"`))...)
		text = d.scratch
	}
	if d.at() == '\r' {
		d.pos++
	}
	switch {
	case d.pos >= len(d.text):
		last = true
	case d.at() == '\n':
		last = true
		d.pos++
	case d.at() == separator:
		d.pos++
	default:
		return nil, 0, false, d.syntax("text follows the closing quote of a field")
	}
	return d.checked(text, start, last)
}

// writeCSV responds with a line per record. The columns excluded and warnings are
// always there, so that nobody overlooks them.
func (x *exchange) writeCSV(w http.ResponseWriter, served *served) {
	p := &pieces{w: w, exchange: x, out: x.response[:0]}
	t, outputs, blank := served.task, 1, ","
	switch {
	case t == nil:
		p.out = append(p.out, "label,probability"...)
	case t.classes == nil:
		p.out, blank = append(p.out, "value,low,high"...), ",,"
	default:
		outputs, blank = t.outputs, ""
		p.out = append(p.out, "label"...)
		for _, class := range served.model.Spec.Target.Classes {
			p.out = appendField(append(p.out, ','), "probability_"+class)
			blank += ","
		}
	}
	p.out = append(p.out, ",excluded,warnings\n"...)
	warnings := x.warnings
	x.each(outputs, func(i int, scores []float32) {
		p.flush()
		switch {
		case t == nil:
			label := byte('0')
			if float64(scores[0]) >= served.model.Serving.Threshold {
				label = '1'
			}
			p.out = strconv.AppendFloat(append(p.out, label, ','), float64(scores[0]), 'g', -1, 32)
		case t.classes == nil:
			v := finite(scores[0])
			p.out = strconv.AppendFloat(p.out, v, 'g', -1, 32)
			p.out = strconv.AppendFloat(append(p.out, ','), v-t.halfWidth, 'g', 9, 64)
			p.out = strconv.AppendFloat(append(p.out, ','), v+t.halfWidth, 'g', 9, 64)
		default:
			p.out = appendField(p.out, served.model.Spec.Target.Classes[t.best(scores)])
			for _, score := range scores {
				p.out = strconv.AppendFloat(append(p.out, ','), float64(score), 'g', -1, 32)
			}
		}
		p.out = append(p.out, ",,"...)
		if len(warnings) > 0 && int(warnings[0].record) == i {
			var texts []api.Warning
			texts, warnings = x.warningsOf(warnings, served)
			p.out = appendField(p.out, sentences(texts))
		}
		p.out = append(p.out, '\n')
	}, func(_, rule int) {
		p.flush()
		p.out = appendField(append(append(p.out, blank...), ','), served.model.Spec.Cohort[rule].Because)
		p.out = append(p.out, ",\n"...)
	})
	p.end()
	x.response = p.out[:0]
}

// sentences are warnings in one text.
func sentences(list []api.Warning) string {
	var out []byte
	for _, w := range list {
		if len(out) > 0 {
			out = append(out, "; "...)
		}
		if w.Column != "" {
			out = append(append(out, w.Column...), ": "...)
		}
		out = append(out, w.Detail...)
	}
	return string(out)
}

// appendField appends a field, in quotes where it needs them.
func appendField(out []byte, text string) []byte {
	quote := false
	for i := range len(text) {
		switch text[i] {
		case ',', '"', '\n', '\r', ';', '\t', '|':
			quote = true
		}
	}
	if !quote {
		return append(out, text...)
	}
	out = append(out, '"')
	for i := range len(text) {
		if text[i] == '"' {
			out = append(out, '"')
		}
		out = append(out, text[i])
	}
	return append(out, '"')
}

// warningsOf returns the warnings of the record that comes first in list, and the rest
// of the list.
func (x *exchange) warningsOf(list []warning, served *served) (texts []api.Warning, rest []warning) {
	record := list[0].record
	for len(list) > 0 && list[0].record == record {
		texts = append(texts, list[0].wire(x, served.model.Encoder))
		list = list[1:]
	}
	return texts, list
}

// appendWarnings appends the warnings of the record that comes first in list as a
// member of its prediction, and returns the rest of the list.
func (x *exchange) appendWarnings(out []byte, list []warning, served *served) (to []byte, rest []warning) {
	out = append(out, `,"warnings":[`...)
	record := list[0].record
	for i := 0; len(list) > 0 && list[0].record == record; i++ {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, x.warningText(&list[0], served)...)
		list = list[1:]
	}
	return append(out, ']'), list
}

// warningText is a warning in JSON. One that shows no value of the record is the same
// for many records, so it is made once per version.
func (x *exchange) warningText(w *warning, served *served) []byte {
	key := warning{column: w.column, odd: w.odd}
	switch w.odd {
	case feature.Missing:
	case feature.Scarce, feature.NoEarlier:
		key.end = w.end
	default:
		return marshalled(w.wire(x, served.model.Encoder))
	}
	if text, ok := served.warnings.Load(key); ok {
		return text.([]byte)
	}
	text := marshalled(w.wire(x, served.model.Encoder))
	served.warnings.Store(key, text)
	return text
}

func marshalled(w api.Warning) []byte {
	text, err := json.Marshal(w)
	if err != nil {
		panic(err) // strings
	}
	return text
}
