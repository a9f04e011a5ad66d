package protocol

import (
	"bytes"
	"encoding/json"
	"strings"
)

// The Open Inference Protocol, version 2, over REST
// (https://github.com/open-inference/open-inference-protocol): one tensor per column.

// Tensor describes a tensor, or holds one.
type Tensor struct {
	Name     string          `json:"name"`
	Shape    []int           `json:"shape"`
	Datatype string          `json:"datatype"`
	Data     json.RawMessage `json:"data,omitempty"`
}

// Types of tensors.
const (
	Bytes = "BYTES"
	Bool  = "BOOL"
	Int64 = "INT64"
	FP32  = "FP32"
	FP64  = "FP64"
)

// Metadata describes a model.
type Metadata struct {
	Name     string   `json:"name"`
	Versions []string `json:"versions"`
	Platform string   `json:"platform"`
	Inputs   []Tensor `json:"inputs"`
	Outputs  []Tensor `json:"outputs"`
}

// ServerMetadata describes a server.
type ServerMetadata struct {
	Name       string   `json:"name"`
	Version    string   `json:"version"`
	Extensions []string `json:"extensions"`
}

// Inference is the response to a request.
type Inference struct {
	ModelName    string   `json:"model_name"`
	ModelVersion string   `json:"model_version"`
	ID           string   `json:"id,omitempty"`
	Outputs      []Tensor `json:"outputs"`
}

// InferenceRequest is what a request says besides its records.
type InferenceRequest struct {
	ID      string
	Outputs []string // the tensors that are wanted; nil: all
}

// Infer returns the records of a request to infer: each input tensor is a column, of
// shape [n] or [n, 1].
func Infer(body []byte, most int) ([]byte, InferenceRequest, error) {
	var request InferenceRequest
	body, err := check(body)
	if err != nil {
		return nil, request, err
	}
	var in struct {
		ID         string          `json:"id"`
		Parameters map[string]any  `json:"parameters"`
		Inputs     json.RawMessage `json:"inputs"`
		Outputs    []struct {
			Name       string         `json:"name"`
			Parameters map[string]any `json:"parameters"`
		} `json:"outputs"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, request, bad("not a request of the Open Inference Protocol: %v", err)
	}
	request.ID = in.ID
	for _, o := range in.Outputs {
		if binary, _ := o.Parameters["binary_data"].(bool); binary {
			return nil, request, bad("output %q: binary tensors are not supported; leave binary_data out", o.Name)
		}
		request.Outputs = append(request.Outputs, o.Name)
	}
	if first(in.Inputs) != '[' {
		return nil, request, bad("inputs is missing, or not an array of tensors")
	}
	var names [][]byte
	var values [][][]byte
	err = items(bytes.TrimLeft(in.Inputs, " \n\r\t"), func(i int, text []byte) error {
		var t struct {
			Tensor
			Parameters map[string]any `json:"parameters"`
		}
		if err := json.Unmarshal(text, &t); err != nil {
			return bad("input %d is not a tensor: %v", i, err)
		}
		if _, ok := t.Parameters["binary_data_size"]; ok {
			return bad("input %q: binary tensors are not supported; send data as JSON", t.Name)
		}
		if !known(t.Datatype) {
			return bad("input %q: datatype %q is not known", t.Name, t.Datatype)
		}
		if n := len(t.Shape); n != 1 && !(n == 2 && t.Shape[1] == 1) {
			return bad("input %q has the shape %v, want [n] or [n, 1]: one tensor per column", t.Name, t.Shape)
		}
		if first(t.Data) != '[' {
			return bad("input %q has no data, or none that is an array", t.Name)
		}
		var column [][]byte
		if err := items(t.Data, func(_ int, v []byte) error {
			if v[0] != '[' {
				column = append(column, v)
				return nil
			}
			return items(v, func(_ int, v []byte) error { column = append(column, v); return nil })
		}); err != nil {
			return err
		}
		if len(column) != t.Shape[0] {
			return bad("input %q has %d values, and the shape %v", t.Name, len(column), t.Shape)
		}
		if len(values) > 0 && len(column) != len(values[0]) {
			return bad("input %q has %d values, the first one %d: each tensor is a column of the same records", t.Name, len(column), len(values[0]))
		}
		name, err := json.Marshal(t.Name)
		if err != nil {
			return err
		}
		names, values = append(names, name), append(values, column)
		return nil
	})
	if err != nil {
		return nil, request, err
	}
	if len(names) == 0 || len(values[0]) == 0 {
		return []byte("[]"), request, nil
	}
	r := &records{most: most}
	err = r.columns(names, values)
	return r.out, request, err
}

// known reports whether the protocol has a type.
func known(datatype string) bool {
	switch datatype {
	case Bool, Bytes:
		return true
	}
	kind := strings.TrimRight(datatype, "0123456789")
	switch size := datatype[len(kind):]; kind {
	case "INT", "UINT":
		return size == "8" || size == "16" || size == "32" || size == "64"
	case "FP":
		return size == "16" || size == "32" || size == "64"
	}
	return false
}
