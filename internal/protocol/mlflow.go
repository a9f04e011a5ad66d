package protocol

import (
	"bytes"
	"encoding/json"
)

// Invocations returns the records of a request to MLflow's POST /invocations
// (https://mlflow.org/docs/latest/genai/serving/ and mlflow.pyfunc.scoring_server):
// {"dataframe_split": {"columns", "data"}}, {"dataframe_records": [...]},
// {"instances": [...]} or {"inputs": {column: [...]}}. They take at most most bytes.
func Invocations(body []byte, most int) ([]byte, error) {
	body, err := check(body)
	if err != nil {
		return nil, err
	}
	if first(body) != '{' {
		return nil, bad("the body is %s; MLflow's protocol takes an object with dataframe_split, dataframe_records, instances or inputs", kind(bytes.TrimLeft(body, " \n\r\t")))
	}
	var form string
	var found []byte
	err = members(bytes.TrimLeft(body, " \n\r\t"), func(name string, value []byte) error {
		switch name {
		case "dataframe_split", "dataframe_records", "instances", "inputs":
			if form != "" {
				return bad("the body has both %s and %s; send one of them", form, name)
			}
			form, found = name, value
		case "params":
			if empty := bytes.Join(bytes.Fields(value), nil); string(empty) != "{}" && string(empty) != "null" {
				return bad("params are not supported: the model has none")
			}
		case "signature_name":
		default:
			return bad("%q is not known; MLflow's protocol has dataframe_split, dataframe_records, instances and inputs", name)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	r := &records{most: most}
	switch {
	case form == "":
		return nil, bad("the body has none of dataframe_split, dataframe_records, instances and inputs")
	case form == "dataframe_split":
		return r.split(found)
	case form == "inputs" && found[0] == '{':
		return r.inputs(found)
	}
	return r.list(form, found)
}

// list takes an array of records.
func (r *records) list(form string, array []byte) ([]byte, error) {
	if array[0] != '[' {
		return nil, bad("%s is %s, want an array of records", form, kind(array))
	}
	err := items(array, func(i int, value []byte) error {
		if value[0] != '{' {
			return bad("%s: entry %d is %s, want a record: an object with the columns' names", form, i, kind(value))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	r.add(array)
	return r.out, r.err
}

// split takes a table as pandas' to_dict(orient="split") writes it.
func (r *records) split(object []byte) ([]byte, error) {
	if object[0] != '{' {
		return nil, bad("dataframe_split is %s, want an object with columns and data", kind(object))
	}
	var names [][]byte
	var data []byte
	err := members(object, func(name string, value []byte) error {
		switch name {
		case "columns":
			if value[0] != '[' {
				return bad("dataframe_split: columns is %s, want an array of names", kind(value))
			}
			return items(value, func(i int, name []byte) error {
				if name[0] != '"' {
					return bad("dataframe_split: column %d is %s, want its name", i, kind(name))
				}
				names = append(names, name)
				return nil
			})
		case "data":
			data = value
		case "index":
		default:
			return bad("dataframe_split: %q is not known, only columns, index and data", name)
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case names == nil || data == nil || data[0] != '[':
		return nil, bad("dataframe_split needs columns, an array of names, and data, an array of rows")
	}
	r.add([]byte{'['})
	err = items(data, func(i int, row []byte) error {
		if row[0] != '[' {
			return bad("dataframe_split: row %d is %s, want an array of %d values", i, kind(row), len(names))
		}
		separator := []byte(",{")
		if i == 0 {
			separator = separator[1:]
		}
		n := 0
		if err := items(row, func(j int, value []byte) error {
			if n = j + 1; j < len(names) {
				r.add(separator, names[j], []byte{':'}, value)
				separator = []byte{','}
			}
			return r.err
		}); err != nil {
			return err
		}
		if n != len(names) {
			return bad("dataframe_split: row %d has %d values for %d columns", i, n, len(names))
		}
		r.add([]byte{'}'})
		return r.err
	})
	if err != nil {
		return nil, err
	}
	r.add([]byte{']'})
	return r.out, r.err
}

// inputs takes an object with an array of values per column.
func (r *records) inputs(object []byte) ([]byte, error) {
	var names [][]byte
	var values [][][]byte
	err := members(object, func(name string, value []byte) error {
		if value[0] != '[' {
			return bad("inputs: %q is %s, want an array of values", name, kind(value))
		}
		var column [][]byte
		if err := items(value, func(_ int, v []byte) error { column = append(column, v); return nil }); err != nil {
			return err
		}
		if len(values) > 0 && len(column) != len(values[0]) {
			return bad("inputs: %q has %d values, the first column %d", name, len(column), len(values[0]))
		}
		text, err := json.Marshal(name)
		if err != nil {
			return err
		}
		names, values = append(names, text), append(values, column)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(names) == 0 || len(values[0]) == 0 {
		return []byte("[]"), nil
	}
	err = r.columns(names, values)
	return r.out, err
}

// Lines returns the records of JSON lines (https://jsonlines.org), one per line, as an
// array that has each on the line where it was.
func Lines(body []byte, most int) ([]byte, error) {
	r := &records{most: most}
	r.add([]byte{'['})
	some := false
	for len(body) > 0 && r.err == nil {
		line := body
		if end := bytes.IndexByte(body, '\n'); end >= 0 {
			line, body = body[:end], body[end+1:]
		} else {
			body = nil
		}
		if blank := len(bytes.TrimSpace(line)) == 0; !blank {
			if some {
				r.add([]byte{','})
			}
			some = true
		}
		r.add(line, []byte{'\n'})
	}
	r.add([]byte{']'})
	return r.out, r.err
}
