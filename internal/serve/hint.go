package serve

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"mime"
	"slices"
	"strconv"
	"strings"

	"mlops/internal/api"
	"mlops/internal/dataset"
)

// This file recognizes what clients send instead of records, and says how to send it.
// None of it runs for a request that can be scored.

// pandasRecords is how a pandas table becomes records.
const pandasRecords = `df.to_json(orient="records")`

// unfit is an error about the body as a whole.
func (d *decoder) unfit(format string, args ...any) error {
	return &syntaxError{fmt.Sprintf(format, args...), true}
}

// howTo says what a body looks like, with the data set's first columns.
func (d *decoder) howTo() string {
	var members []string
	for i := range d.spec.Columns {
		if c := &d.spec.Columns[i]; len(members) < 2 && !d.spec.Ignored(i) {
			members = append(members, fmt.Sprintf("%q: %s", c.Name, exampleOf(c)))
		}
	}
	return fmt.Sprintf(`send one record as {%s, ...}, an array of records, or {"instances": [...]}`, strings.Join(members, ", "))
}

// exampleOf is a value of a column in JSON.
func exampleOf(c *dataset.Column) string {
	switch {
	case c.Type == dataset.Boolean:
		return "true"
	case c.Type == dataset.Date:
		return `"2024-01-31"`
	case c.Type != dataset.Category && c.Min != nil:
		return strconv.FormatFloat(*c.Min, 'f', -1, 64)
	case c.Type != dataset.Category:
		return "1"
	case len(c.Values) > 0:
		return strconv.Quote(c.Values[0])
	case len(c.Codes) > 0:
		return strconv.Quote(slices.Min(slices.Collect(maps.Keys(c.Codes))))
	}
	return `"..."`
}

// strange is the error of a body that begins neither an object nor an array.
func (d *decoder) strange() error {
	rest := d.text[d.pos:]
	begins := func(with string) bool { return bytes.HasPrefix(rest, []byte(with)) }
	switch {
	case len(rest) == 0:
		return d.unfit("the body is empty; %s", d.howTo())
	case begins("\xef\xbb\xbf"):
		return d.unfit(`the body begins with a byte order mark, which JSON doesn't have: leave its first three bytes out (Python: open the file with encoding="utf-8-sig")`)
	case begins("\xff\xfe"), begins("\xfe\xff"):
		return d.unfit("the body is UTF-16; send UTF-8 without a byte order mark")
	case begins("\x1f\x8b"), begins("\x28\xb5\x2f\xfd"), begins("PK\x03\x04"):
		return d.unfit("the body is compressed; say so in Content-Encoding (gzip or zstd), or send plain JSON")
	case begins("PAR1"):
		return d.unfit("the body is a Parquet file; send records as JSON (pandas: %s)", pandasRecords)
	case begins("<"):
		return d.unfit("the body is neither an object nor an array but looks like XML or HTML; %s", d.howTo())
	case begins("'"):
		return d.unfit("the body begins with a single quote: take the quotes around the JSON away, which a shell may have left there")
	case d.isCSV(rest):
		return d.unfit("the body looks like CSV; send it with the Content-Type text/csv, or records as JSON (pandas: %s)", pandasRecords)
	case rest[0] == '"':
		var text string
		if json.Unmarshal(rest, &text) == nil && strings.ContainsAny(strings.TrimSpace(text)[:min(1, len(strings.TrimSpace(text)))], "{[") {
			return d.unfit("the body is a string that holds JSON: it was encoded twice; send the object itself (Python: json=record, not json=json.dumps(record))")
		}
	case d.isForm(rest):
		return d.unfit("the body looks like a form; %s", d.howTo())
	}
	return d.syntax("the body is neither an object nor an array; %s", d.howTo())
}

// isCSV reports whether the first line of a body is a header with a column's name.
func (d *decoder) isCSV(text []byte) bool {
	header, _, several := bytes.Cut(text[:min(len(text), smallBody)], []byte("\n"))
	names := bytes.Split(header, []byte{api.Separator(header)})
	return (several || len(names) > 1) && slices.ContainsFunc(names, func(name []byte) bool {
		return d.spec.Column(string(bytes.Trim(name, "\" \r"))) >= 0
	})
}

// isForm reports whether a body begins with a column's name and =, as a form does.
func (d *decoder) isForm(text []byte) bool {
	name, _, ok := bytes.Cut(text[:min(len(text), smallBody)], []byte("="))
	return ok && d.spec.Column(string(bytes.TrimSpace(name))) >= 0
}

// notObject is the error of an entry of an array that is no object.
func (d *decoder) notObject() error {
	switch d.peek() {
	case '[':
		return d.syntax("record %d is not an object but an array; each value needs its column's name (pandas: %s)", d.record, pandasRecords)
	case '"':
		return d.syntax("record %d is not an object but a string; send the object itself, not its JSON as text", d.record)
	case ']':
		return d.syntax("record %d is not an object: there is a comma before the ]", d.record)
	}
	return d.syntax("record %d is not an object", d.record)
}

// noName is the error of a member that does not begin with a name.
func (d *decoder) noName() error {
	switch d.peek() {
	case '\'':
		return d.syntax("a name is in single quotes, as Python prints a dict; JSON has double quotes (Python: json.dumps(record), or json=record with requests)")
	case '}':
		return d.syntax("expected a column's name in quotes; there is a comma before the }")
	}
	return d.syntax("expected a column's name in quotes")
}

// trailing is the error of text behind the JSON value.
func (d *decoder) trailing() error {
	if d.peek() == '{' {
		return d.syntax("unexpected text after the end of the JSON value; put several records into an array, [{...}, {...}], or send JSON lines as application/x-ndjson")
	}
	return d.syntax("unexpected text after the end of the JSON value")
}

// noColumn notes a member whose name is no column's. If the body is an object with
// records somewhere inside it, that is the error instead.
func (d *decoder) noColumn(name string) error {
	detail := "there is no column with this name"
	if meant := d.alike(name); meant != "" {
		detail += fmt.Sprintf("; did you mean %q?", meant)
	}
	b := d.peek()
	if !d.single || b != '[' && b != '{' || slices.Contains(d.seen, true) {
		if name == "instances" {
			return d.skip(name, detail+`; {"instances": [...]} has to be alone in its object`)
		}
		for i := range d.spec.Columns {
			if c := &d.spec.Columns[i]; c.Header() == name {
				return d.skip(name, fmt.Sprintf("is what the table calls the column %q; a request calls it that", c.Name))
			}
		}
		return d.skip(name, detail)
	}
	inside := "[" // what the value begins with
	if i := d.pos + 1; b == '[' {
		if i += len(d.text[i:]) - len(bytes.TrimLeft(d.text[i:], " \t\r\n")); i < len(d.text) {
			inside = string(d.text[i : i+1])
		}
	}
	const alone = `send them alone, as an array or as {"instances": [...]}`
	switch {
	case name == "instances":
		return d.unfit(`{"instances": [...]} has to be alone in its object`)
	case name == "dataframe_split", name == "columns", name == "index" && b == '[', name == "data" && inside != "{":
		return d.unfit(`the body looks like a table by rows and columns (pandas' orient="split"); send records: %s, as an array or as {"instances": [...]}`, pandasRecords)
	case name == "schema":
		return d.unfit(`the body looks like pandas' orient="table"; send records: %s`, pandasRecords)
	case name == "dataframe_records":
		return d.unfit("the records are inside dataframe_records, as MLflow takes them; %s", alone)
	case name == "inputs" && inside != "{":
		return d.unfit(`the body has inputs, as a tensor server takes them; send records with the columns' names, as an array or as {"instances": [...]}`)
	case b == '[' && inside == "{":
		return d.unfit("the records are inside %q, which is not a column; %s", name, alone)
	case b == '{' && isDigits(name):
		return d.unfit(`the body looks like records by their number (pandas' orient="index"); send an array: %s`, pandasRecords)
	case b == '{':
		return d.unfit("the record is inside %q, which is not a column; send it alone", name)
	}
	return d.skip(name, detail)
}

// nested notes a column whose value is an object or an array.
func (d *decoder) nested(c *dataset.Column) error {
	detail := "is an object or an array; it must be a number or a string"
	inside := bytes.TrimLeft(d.text[d.pos+1:min(len(d.text), d.pos+64)], " \t\r\n")
	name, _, _ := bytes.Cut(bytes.TrimPrefix(inside, []byte{'"'}), []byte{'"'})
	byIndex := d.at() == '{' && isDigits(string(name))
	if d.single && (byIndex || d.at() == '[' && len(inside) > 0 && !bytes.ContainsAny(inside[:1], "[{]")) {
		detail += "; a table by columns has to be sent as records (pandas: " + pandasRecords + ")"
	}
	return d.skip(c.Name, detail)
}

// alike returns the column whose name differs only in capitals, blanks and marks, "" if
// there is none.
func (d *decoder) alike(name string) string {
	plain := func(s string) string {
		return strings.ToLower(strings.NewReplacer(" ", "", "_", "", "-", "", ".", "").Replace(s))
	}
	want := plain(name)
	for i := range d.spec.Columns {
		if c := &d.spec.Columns[i]; plain(c.Name) == want {
			return c.Name
		}
	}
	return ""
}

func isDigits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// noValue notes a value that is a word of another language, so that the rest is read
// on. Any other value that can't be read ends the reading with err.
func (d *decoder) noValue(c *dataset.Column, start int, err error) error {
	end := d.pos
	d.pos = start
	if d.at() == '\'' {
		return d.syntax("text of column %q is in single quotes; JSON has double quotes (Python: json.dumps(record), or json=record with requests)", c.Name)
	}
	d.bare()
	word := string(d.text[start:d.pos])
	detail := ""
	switch lower := strings.ToLower(strings.TrimLeft(word, "+-")); lower {
	case "nan", "na", "none", "nil", "undefined":
		detail = word + " is not JSON; send null for a missing value"
	case "inf", "infinity":
		detail = word + " is not JSON, and no number that a model takes; send null for a missing value"
	case "true", "false", "null":
		detail = word + " is not JSON, which writes it " + lower
	default:
		d.pos = end
		return err
	}
	d.notJSON = true
	return d.wrong(c.Name, detail)
}

// wrongValue notes a value that is none of its column's.
func (d *decoder) wrongValue(c *dataset.Column, text []byte, err error) error {
	detail := err.Error()
	switch strings.ToLower(strings.Trim(string(text[:min(len(text), 20)]), " +-")) {
	case "nan", "na", "n/a", "none", "null", "inf", "infinity":
		detail += "; send null for a missing value"
	}
	if c.Type == dataset.Boolean && strings.HasSuffix(detail, "not a boolean") {
		detail += "; send true or false"
	}
	return d.wrong(c.Name, detail)
}

// wrongType is the response to a body that is not announced as JSON.
func wrongType(contentType string) string {
	is := fmt.Sprintf("the Content-Type is %q", clip([]byte(contentType)))
	t, _, _ := mime.ParseMediaType(contentType)
	switch t {
	case "application/x-www-form-urlencoded":
		return is + ", which curl and browsers send by themselves; send JSON, with curl: -H 'Content-Type: " + api.MediaType + "'"
	case "multipart/form-data":
		return is + "; send the records as the body itself, not as a file or a field of a form, as " + api.MediaType
	case "text/csv", "application/csv", "application/x-ndjson", "application/jsonl", "application/jsonlines":
		return is + ", which this protocol does not have; send " + api.MediaType
	case "text/tab-separated-values", "application/vnd.apache.parquet":
		return is + "; send records as " + api.MediaType + " (pandas: " + pandasRecords + ") or text/csv"
	}
	return is + "; send " + api.MediaType + ", text/csv or application/x-ndjson"
}
